// The pinned messages of a chat: read when it is opened, and from then on kept right by its events.

import { fold, isLater } from "./fold";
import { isJson, type LogEvent, type Message, parseEvent, seqOf, str } from "./types";

/** MAX_PINS is how many messages of a chat the server lets be pinned. */
export const MAX_PINS = 50;
/** MAX_READS bounds how often the list is read because it changed meanwhile. */
const MAX_READS = 3;

export interface Pin {
  /** seq is that of the message. */
  readonly seq: number;
  readonly by: string;
  readonly at: string;
  /** message may have a text that was cut. */
  readonly message: Message;
}

export class Pins {
  /** list holds them in the order in which they were pinned; null when it has to be read. */
  list: readonly Pin[] | null = null;
  private changes = 0;
  private loading = false;

  /** load reads the list where it has to be, again if an event has changed it meanwhile, and returns what is new. It does not fail. */
  async load(read: () => Promise<readonly Pin[]>): Promise<readonly Pin[]> {
    if (this.list !== null || this.loading) return [];
    this.loading = true;
    try {
      for (let reads = 0; reads < MAX_READS; reads++) {
        const before = this.changes;
        const list = await read();
        if (before !== this.changes) continue;
        this.list = list;
        return list;
      }
    } catch {
      // It is read with the next event, or when the chat is opened.
    } finally {
      this.loading = false;
    }
    return [];
  }

  /** happened takes an event that has just joined the log; known finds messages that are held here. */
  happened(event: LogEvent, known: (seq: number) => Message | undefined): void {
    if (event.type === "chat" && event.target !== undefined) {
      if (event.change === "pinned") this.pinned(event.target, event.by, event.at, known(event.target));
      else if (event.change === "unpinned") this.drop([event.target]);
    }
    if (!isLater(event)) return;
    this.changes++;
    const folded = this.list?.map((pin) => ({ ...pin, message: fold(pin.message, event) }));
    this.list = folded?.filter((pin) => !pin.message.deleted) ?? null;
  }

  /** drop takes messages out that are not pinned any more, or not for this user. */
  drop(seqs: readonly number[]): void {
    this.changes++;
    this.list = this.list?.filter((pin) => !seqs.includes(pin.seq)) ?? null;
  }

  /** forget: something may have happened that nobody told. */
  forget(): void {
    this.changes++;
    this.list = null;
  }

  private pinned(seq: number, by: string, at: string, message: Message | undefined): void {
    this.changes++;
    if (this.list?.some((pin) => pin.seq === seq)) return;
    this.list = (this.list && message && [...this.list, { seq, by, at, message }]) ?? null;
  }
}

/** parsePins leaves out what has no message. */
export function parsePins(raw: unknown): readonly Pin[] {
  const rows = isJson(raw) && Array.isArray(raw.pins) ? raw.pins : [];
  return rows.flatMap((row) => {
    const message = isJson(row) ? parseEvent(row.message) : null;
    if (!isJson(row) || message?.type !== "message" || message.deleted) return [];
    return [{ seq: seqOf(row.seq) || message.seq, by: str(row.by), at: str(row.at), message }];
  });
}
