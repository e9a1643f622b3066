// Keeps the list of chats like the server's: read once at the start, and looked at again after each reconnect.

import type { Api } from "./api";
import { backoff } from "./backoff";
import type { Chats, Entry } from "./chats";
import { codeOf, isPassing } from "./errors";
import type { Chat } from "./types";

const PAGE = 100;
/** ALWAYS chats are looked at each time; older ones only while there is news among them. */
const ALWAYS = 200;
const MAX = 2_000;

export interface ListingOptions {
  readonly api: Api;
  readonly chats: Chats;
  readonly online: () => boolean;
  readonly listed: (entry: Entry) => void;
  /** behind: the chat's log ends below the seq that the list knows. */
  readonly behind: (chat: string, seq: number) => void;
  readonly gone: (chat: string) => void;
  readonly changed: () => void;
  /** ended: the list was refused because the session is over. */
  readonly ended: () => void;
}

export class Listing {
  /** complete says whether the list has been read once. */
  complete = false;

  private running: Promise<void> | null = null;
  private again = false;
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: ListingOptions) {}

  /** refresh never fails: what fails is done again after a while, or after a reconnect. */
  refresh(): Promise<void> {
    if (this.running) this.again = true;
    this.running ??= this.read()
      .then(() => {
        this.failures = 0;
      })
      .catch((error) => this.failed(error))
      .finally(() => {
        this.running = null;
        if (this.again) void this.refresh();
        this.again = false;
      });
    return this.running;
  }

  /** renew reads once more where the list is being read: what it says may be older than what has just come. */
  renew(): void {
    if (this.running) this.again = true;
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private async read(): Promise<void> {
    const { api, chats, changed } = this.options;
    const unseen = new Set(chats.list().map((entry) => entry.id));
    const seen: string[] = [];
    let cursor = "";
    let news: boolean;
    do {
      const page = await api.chats(PAGE, cursor);
      news = !this.complete;
      for (const chat of page.chats) {
        news = this.row(chat) || news;
        seen.push(chat.id);
      }
      chats.sortLike(seen);
      changed();
      cursor = page.next;
    } while (cursor !== "" && seen.length < MAX && (news || seen.length < ALWAYS));
    this.complete = true;
    changed();
    if (cursor !== "") return;
    for (const id of seen) unseen.delete(id);
    for (const id of unseen) await this.verify(id);
  }

  /** row takes one chat of the list and reports whether it said anything new. */
  private row(chat: Chat): boolean {
    const known = this.options.chats.get(chat.id);
    this.options.listed(this.options.chats.put(chat));
    if (!known) return true;
    const last = chat.last_seq ?? 0;
    if (last > known.log.tail) this.options.behind(chat.id, last);
    return last > known.log.tail;
  }

  /** verify asks for a chat that the list no longer names: a list may lag behind, a lookup says it for sure. */
  private async verify(chat: string): Promise<void> {
    try {
      await this.options.api.chat(chat);
    } catch (error) {
      if (codeOf(error) !== "not_found") throw error;
      this.options.gone(chat);
    }
  }

  private failed(error: unknown): void {
    if (codeOf(error) === "invalid_token") return this.options.ended();
    if (!isPassing(error) || !this.options.online()) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.refresh(), 500 + backoff(this.failures++));
  }
}
