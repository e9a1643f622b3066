// Looks at open chats again after events of unknown type: such an event may have changed a message that is shown.

import type { Entry } from "./chats";
import type { Page } from "./types";

/** AFTER_MS lets several such events be answered by one look. */
const AFTER_MS = 300;

export interface RefoldOptions {
  readonly entry: (chat: string) => Entry | undefined;
  /** newest returns the newest page that ends below the seq, with all changes folded in. */
  readonly newest: (chat: string, before: number) => Promise<Page>;
  readonly changed: (chat: string) => void;
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

  stop(): void {
    for (const timer of this.timers.values()) clearTimeout(timer);
    this.timers.clear();
  }

  private async look(chat: string): Promise<void> {
    this.timers.delete(chat);
    const log = this.options.entry(chat)?.log;
    if (!log) return;
    try {
      log.refold(await this.options.newest(chat, log.tail + 1));
      this.options.changed(chat);
    } catch {
      // The old form stays until the chat is opened anew.
    }
  }
}
