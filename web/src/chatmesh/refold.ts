// Looks at open chats again where a message may stand otherwise than it is shown: after events of unknown type, after a time
// without a connection, and for what a message answers that is not here.

import type { ChatLog } from "./chatlog";
import type { Entry } from "./chats";
import type { Page } from "./types";

/** AFTER_MS lets several such events be answered by one look. */
const AFTER_MS = 300;
/** MAX_LOOKS bounds how often a page is asked for that was read before the last event here. */
const MAX_LOOKS = 3;

export interface RefoldOptions {
  readonly entry: (chat: string) => Entry | undefined;
  /** newest returns the newest page that ends below the seq, with all changes folded in. */
  readonly newest: (chat: string, before: number) => Promise<Page>;
  readonly changed: (chat: string) => void;
}

/** newEnough reads a page, and again where the log has seen since what became of its messages. */
export async function newEnough(log: ChatLog, read: () => Promise<Page>): Promise<Page> {
  let page = await read();
  for (let looks = 1; log.isOld(page) && looks < MAX_LOOKS; looks++) page = await read();
  return page;
}

export class Refold {
  private readonly timers = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(private readonly options: RefoldOptions) {}

  /** soon does nothing for a chat that is not stale, not open, or to be looked at already. */
  soon(entry: Entry): void {
    if (!entry.log.stale || !entry.log.open || this.timers.has(entry.id)) return;
    this.timers.set(
      entry.id,
      setTimeout(() => void this.look(entry.id), AFTER_MS),
    );
  }

  /** allSoon looks at all open chats: what was hidden on another device is no event that would be told later. */
  allSoon(entries: readonly Entry[]): void {
    for (const entry of entries) {
      entry.log.stale = true;
      this.soon(entry);
    }
  }

  stop(): void {
    for (const timer of this.timers.values()) clearTimeout(timer);
    this.timers.clear();
  }

  private async look(chat: string): Promise<void> {
    this.timers.delete(chat);
    const log = this.options.entry(chat)?.log;
    if (!log) return;
    try {
      log.refold(await newEnough(log, () => this.options.newest(chat, log.tail + 1)));
      this.options.changed(chat);
    } catch {
      // The old form stays until the chat is opened anew.
    }
  }
}
