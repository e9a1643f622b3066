// The part of one chat's sequence that this client holds: ordered, without doubles, and aware of its holes.
//
//   1 … head-1   on the server only
//   head … tail  here, in `events`: messages as they stand and changes; what became of a message is folded into it
//   tail + 1     the next event; whatever comes later waits until the hole before it is filled

import { fold, isLater } from "./fold";
import type { LogEvent, Message, Page } from "./types";

/** MAX_WAITING bounds the events kept behind a hole: what does not fit is fetched again when the hole is filled. */
const MAX_WAITING = 500;

export interface Applied {
  /** events are those that joined the log now, in order. */
  readonly events: readonly LogEvent[];
  /** hole says that something between the tail and a later event is missing. */
  readonly hole: boolean;
}

export class ChatLog {
  events: LogEvent[] = [];
  head: number;
  tail: number;
  /** hasOlder says whether the server has more below head. */
  hasOlder: boolean;
  /** open logs keep their events; others only count them, so that memory goes to chats that are looked at. */
  open = false;
  /** stale says that a message that is held here may stand otherwise on the server. */
  stale = false;
  /** folded is the seq of the last event that changed messages before it: a page must have it in its messages. */
  private folded = 0;

  private readonly waiting = new Map<number, LogEvent>();

  /** The log begins behind `tail`: all up to there is the server's to tell. */
  constructor(tail: number) {
    this.tail = tail;
    this.head = tail + 1;
    this.hasOlder = tail > 0;
  }

  get hole(): boolean {
    return this.waiting.size > 0;
  }

  /** apply takes one live event. */
  apply(event: LogEvent): Applied {
    if (event.seq <= this.tail) return { events: [], hole: this.hole };
    if (event.seq > this.tail + 1) {
      if (this.waiting.size < MAX_WAITING) this.waiting.set(event.seq, event);
      return { events: [], hole: true };
    }
    const joined: LogEvent[] = [];
    this.join(event, joined);
    this.drain(joined);
    return { events: joined, hole: this.hole };
  }

  /**
   * applyPage takes what `sync` answered to the present tail. The server's word is final: where its events leave
   * out seqs, there is nothing for this user to see.
   */
  applyPage(page: Page): Applied {
    const joined: LogEvent[] = [];
    for (const event of page.events) {
      if (event.seq > this.tail) this.join(event, joined);
    }
    if (page.to > this.tail) this.tail = page.to;
    this.drain(joined);
    return { events: joined, hole: this.hole };
  }

  /** skipHole gives up on what is missing before the first waiting event. */
  skipHole(): Applied {
    if (this.waiting.size > 0) {
      this.tail = Math.min(...this.waiting.keys()) - 1;
      this.stale = true;
    }
    const joined: LogEvent[] = [];
    this.drain(joined);
    return { events: joined, hole: this.hole };
  }

  /**
   * openAt takes the newest page of the history and keeps events from now on. Events beyond the old tail are
   * returned as joined; those between the old tail and the page are not known here.
   */
  openAt(page: Page): Applied {
    const old = this.tail;
    const to = Math.max(page.to, page.events.length === 0 ? old : 0);
    const later = this.open && this.head <= to + 1 ? this.events.filter((event) => event.seq > to) : [];
    this.open = true;
    this.stale = this.isOld(page);
    this.events = [...page.events.filter(isKept), ...later];
    this.head = page.from || to + 1;
    this.tail = Math.max(old, to);
    this.hasOlder = page.hasMore;
    const joined = page.events.filter((event) => event.seq > old);
    this.drain(joined);
    return { events: joined, hole: this.hole };
  }

  /** prepend takes the page directly below head. */
  prepend(page: Page): void {
    const older = page.events.filter((event) => event.seq < this.head && isKept(event));
    this.events = [...older, ...this.events];
    if (this.isOld(page)) this.stale = true;
    if (page.from > 0 && page.from < this.head) this.head = page.from;
    this.hasOlder = page.hasMore && page.to > 0;
  }

  /** isOld says that the page was read before an event that has changed messages here since. */
  isOld(page: Page): boolean {
    return page.foldedTo !== undefined && page.foldedTo < this.folded;
  }

  /**
   * refold takes messages of a page of history in place of those held here, and leaves out what the page covers and does not
   * have: the user has hidden that. It does nothing with an old page, and says so by false.
   */
  refold(page: Page): boolean {
    if (this.isOld(page)) return false;
    const fresh = new Map(page.events.map((event) => [event.seq, event]));
    const covered = (seq: number) => page.foldedTo !== undefined && seq >= page.from && seq <= page.to;
    this.events = this.events.flatMap((event) => {
      const found = fresh.get(event.seq);
      return found ? [found] : covered(event.seq) ? [] : [event];
    });
    this.stale = false;
    return true;
  }

  /** hide takes messages out of this user's sight. */
  hide(seqs: readonly number[]): void {
    this.events = this.events.filter((event) => event.type !== "message" || !seqs.includes(event.seq));
  }

  /** moveTo jumps to a later tail without the events between, which stay the server's to tell. */
  moveTo(tail: number): void {
    if (tail <= this.tail) return;
    this.tail = tail;
    this.head = tail + 1;
    this.events = [];
    this.open = false;
    this.hasOlder = true;
    this.drain([]);
  }

  /** trim keeps only the newest events of an open log. */
  trim(keep: number): void {
    if (this.events.length <= keep) return;
    this.events = this.events.slice(-keep);
    this.head = this.events[0]?.seq ?? this.tail + 1;
    this.hasOlder = true;
  }

  private join(event: LogEvent, joined: LogEvent[]): void {
    this.tail = event.seq;
    this.waiting.delete(event.seq);
    joined.push(event);
    if (event.type === "opaque") this.stale = true;
    if (isLater(event)) {
      this.folded = event.seq;
      this.events = this.events.map((old) => (old.type === "message" ? fold(old, event) : old));
    }
    if (this.open && isKept(event)) {
      this.events = [...this.events, event];
      if (event.type === "message" && this.quotesUnknown(event)) this.stale = true;
    }
    if (!this.open) this.head = this.tail + 1;
  }

  /** quotesUnknown: the server's history has to say what a message answers that is not held here. */
  private quotesUnknown(message: Message): boolean {
    const { reply_to: target, reply } = message;
    return target !== undefined && !reply && !this.events.some((event) => event.seq === target);
  }

  private drain(joined: LogEvent[]): void {
    for (const seq of this.waiting.keys()) {
      if (seq <= this.tail) this.waiting.delete(seq);
    }
    for (let next = this.waiting.get(this.tail + 1); next; next = this.waiting.get(this.tail + 1)) {
      this.join(next, joined);
    }
  }
}

function isKept(event: LogEvent): boolean {
  return event.type === "message" || event.type === "chat";
}
