// Fetches what a chat's log misses: holes are seen by seq, and filled by `sync` from the own cursor.

import { backoff } from "./backoff";
import type { Entry } from "./chats";
import { codeOf, isPassing } from "./errors";
import { type Json, type LogEvent, type Page, parsePage } from "./types";

const PAGE = 200;
/** MAX_PAGES is how many pages are synced before it is cheaper to begin anew at the newest page. */
const MAX_PAGES = 3;
/** SETTLE_MS lets events that only swapped their places arrive. */
const SETTLE_MS = 200;
const ANSWER_WITHIN_MS = 30_000;
const MAX_EMPTY_ANSWERS = 3;

export interface CatchUpOptions {
  readonly entry: (chat: string) => Entry | undefined;
  readonly request: (frame: Json, timeoutMs: number) => Promise<Json>;
  readonly history: (chat: string) => Promise<Page>;
  readonly online: () => boolean;
  readonly joined: (entry: Entry, events: readonly LogEvent[]) => void;
  /** gone: the chat is none of this user's any more. */
  readonly gone: (chat: string) => void;
  /** jumped: the log went on at a later place, so counts must come from the server. */
  readonly jumped: (entry: Entry) => void;
}

interface Plan {
  readonly due: number;
  readonly timer: ReturnType<typeof setTimeout>;
  until: number;
}

export class CatchUp {
  private readonly plans = new Map<string, Plan>();
  private readonly running = new Set<string>();
  private readonly again = new Set<string>();
  private readonly failures = new Map<string, number>();

  constructor(private readonly options: CatchUpOptions) {}

  /** later syncs the chat after a moment, if by then its log has a hole or ends below seq. */
  later(chat: string, seq = 0, ms = SETTLE_MS): void {
    const old = this.plans.get(chat);
    const due = Date.now() + ms;
    const until = Math.max(seq, old?.until ?? 0);
    if (old && old.due <= due) {
      old.until = until;
      return;
    }
    clearTimeout(old?.timer);
    this.plans.set(chat, { due, until, timer: setTimeout(() => this.planned(chat), ms) });
  }

  /** now syncs the chat from its cursor; a call during a sync makes it run once more. */
  async now(chat: string): Promise<void> {
    if (this.running.has(chat)) {
      this.again.add(chat);
      return;
    }
    this.running.add(chat);
    try {
      await this.sync(chat);
      if (!this.options.entry(chat)?.log.hole) this.failures.delete(chat);
    } catch (error) {
      this.failed(chat, error);
    } finally {
      this.running.delete(chat);
    }
    if (this.again.delete(chat)) void this.now(chat);
  }

  stop(): void {
    for (const plan of this.plans.values()) clearTimeout(plan.timer);
    this.plans.clear();
  }

  private planned(chat: string): void {
    const until = this.plans.get(chat)?.until ?? 0;
    this.plans.delete(chat);
    const log = this.options.entry(chat)?.log;
    if (log && (log.hole || log.tail < until)) void this.now(chat);
  }

  private async sync(chat: string): Promise<void> {
    for (let pages = 0; pages < MAX_PAGES; pages++) {
      const before = this.options.entry(chat);
      if (!before) return;
      const after = before.log.tail;
      const frame = { type: "sync", chat, after, limit: PAGE };
      const page = parsePage(await this.options.request(frame, ANSWER_WITHIN_MS));
      const entry = this.options.entry(chat);
      if (!entry) return;
      this.options.joined(entry, entry.log.applyPage(page).events);
      if (!page.hasMore) return this.settle(entry);
      if (entry.log.tail === after) break;
    }
    await this.anew(chat);
  }

  /** settle looks at a hole that the server's last page did not fill: ask again, and in the end believe it. */
  private settle(entry: Entry): void {
    if (!entry.log.hole) return;
    const empty = (this.failures.get(entry.id) ?? 0) + 1;
    this.failures.set(entry.id, empty);
    if (empty < MAX_EMPTY_ANSWERS) return this.later(entry.id, 0, SETTLE_MS * 2 ** empty);
    this.failures.delete(entry.id);
    this.options.joined(entry, entry.log.skipHole().events);
  }

  private async anew(chat: string): Promise<void> {
    const page = await this.options.history(chat);
    const entry = this.options.entry(chat);
    if (!entry) return;
    const log = entry.log;
    if (log.open) {
      this.options.joined(entry, log.openAt(page).events);
    } else {
      log.moveTo(page.to);
      for (const event of page.events) if (event.type === "message") entry.lastMessage = event;
    }
    this.options.jumped(entry);
  }

  private failed(chat: string, error: unknown): void {
    const code = codeOf(error);
    if (code === "not_found" || code === "forbidden") return this.options.gone(chat);
    // Without a connection there is nothing to do: the next hello carries the cursor.
    if (!isPassing(error) || !this.options.online()) return;
    const failures = this.failures.get(chat) ?? 0;
    this.failures.set(chat, failures + 1);
    this.later(chat, Number.POSITIVE_INFINITY, SETTLE_MS + backoff(failures));
  }
}
