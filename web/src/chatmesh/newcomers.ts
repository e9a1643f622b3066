// Chats that this client does not know yet: their events wait while the chat is fetched.

import { backoff } from "./backoff";
import { isPassing } from "./errors";
import type { Chat, LogEvent } from "./types";

/** MAX_HELD bounds the events held for one chat; what is dropped shows as a hole and is synced. */
const MAX_HELD = 200;
const MAX_TRIES = 5;

export interface NewcomerOptions {
  readonly fetch: (chat: string) => Promise<Chat>;
  readonly admit: (chat: Chat, events: readonly LogEvent[]) => void;
}

export class Newcomers {
  private readonly held = new Map<string, LogEvent[]>();
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();

  constructor(private readonly options: NewcomerOptions) {}

  event(event: LogEvent): void {
    const events = this.held.get(event.chat);
    if (events) {
      if (events.length < MAX_HELD) events.push(event);
      return;
    }
    this.held.set(event.chat, [event]);
    void this.fetch(event.chat, 0);
  }

  stop(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.held.clear();
  }

  private async fetch(chat: string, tries: number): Promise<void> {
    try {
      const found = await this.options.fetch(chat);
      const events = this.held.get(chat) ?? [];
      this.held.delete(chat);
      this.options.admit(found, events);
    } catch (error) {
      // not_found: the membership was over before it was seen. Else the list brings the chat after a reconnect.
      if (!isPassing(error) || tries + 1 >= MAX_TRIES) {
        this.held.delete(chat);
        return;
      }
      const timer = setTimeout(() => {
        this.timers.delete(timer);
        void this.fetch(chat, tries + 1);
      }, 200 + backoff(tries));
      this.timers.add(timer);
    }
  }
}
