// How many messages of others stand above the own read cursor.
//
// The server's number counts up to `base`; what came live above it is counted here, seq by seq, so that a message
// counts once whatever the order in which list, page and live event arrive.

export class Unread {
  readSeq: number;
  private base: number;
  private below: number;
  private above: number[] = [];
  /** exact is false when the cursor moved below base, where only the server can count. */
  exact = true;

  constructor(readSeq: number, unread: number, lastSeq: number) {
    this.readSeq = readSeq;
    this.base = lastSeq;
    this.below = unread;
    if (readSeq >= lastSeq) this.below = 0;
  }

  get count(): number {
    return this.below + this.above.length;
  }

  /** fromServer takes a newer snapshot: so much was unread above readSeq when the chat ended at lastSeq. */
  fromServer(readSeq: number, unread: number, lastSeq: number): void {
    if (lastSeq < this.base) {
      this.read(readSeq);
      return;
    }
    const ahead = this.readSeq > readSeq;
    this.readSeq = Math.max(this.readSeq, readSeq);
    this.base = lastSeq;
    this.above = this.above.filter((seq) => seq > lastSeq && seq > this.readSeq);
    this.exact = !ahead || this.readSeq >= lastSeq;
    this.below = this.readSeq >= lastSeq ? 0 : unread;
  }

  /** message counts a message at seq; an own one moves the cursor. */
  message(seq: number, own: boolean): void {
    if (own) this.read(seq);
    else if (seq > this.base && seq > this.readSeq && !this.above.includes(seq)) this.above.push(seq);
  }

  /** read moves the cursor forward, never back, and reports whether it moved. */
  read(seq: number): boolean {
    if (seq <= this.readSeq) return false;
    this.readSeq = seq;
    this.above = this.above.filter((item) => item > seq);
    if (seq >= this.base) {
      this.below = 0;
      this.exact = true;
    } else if (this.below > 0) {
      this.exact = false;
    }
    return true;
  }
}
