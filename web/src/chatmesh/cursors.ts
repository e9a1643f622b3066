// The own read cursors: the newest one of each chat is told to the server, also after a lost connection.

import { codeOf, isPassing } from "./errors";
import type { Json } from "./types";

/** TELL_EVERY_MS is how often cursors are told at most: the first at once, those that follow together. */
const TELL_EVERY_MS = 300;
const AGAIN_AFTER_MS = 3_000;
const ANSWER_WITHIN_MS = 10_000;

export interface CursorOptions {
  readonly request: (frame: Json, timeoutMs: number) => Promise<Json>;
  readonly online: () => boolean;
  readonly told: (chat: string) => void;
}

export class ReadCursors {
  private readonly wanted = new Map<string, number>();
  private lastTold = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: CursorOptions) {}

  /** tell passes a cursor on; several within a moment become one. */
  tell(chat: string, seq: number): void {
    this.wanted.set(chat, Math.max(seq, this.wanted.get(chat) ?? 0));
    this.plan(Math.max(0, this.lastTold + TELL_EVERY_MS - Date.now()));
  }

  /** flush tells what is still untold: for a new connection. */
  flush(): void {
    if (this.wanted.size > 0) this.plan(0);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private plan(ms: number): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.lastTold = Date.now();
      if (this.options.online()) for (const [chat, seq] of this.wanted) void this.pass(chat, seq);
    }, ms);
  }

  private async pass(chat: string, seq: number): Promise<void> {
    try {
      await this.options.request({ type: "read", chat, seq }, ANSWER_WITHIN_MS);
      this.done(chat, seq);
      this.options.told(chat);
    } catch (error) {
      if (!isPassing(error)) this.done(chat, seq);
      else if (codeOf(error) !== "network") this.plan(AGAIN_AFTER_MS);
    }
  }

  private done(chat: string, seq: number): void {
    if (this.wanted.get(chat) === seq) this.wanted.delete(chat);
  }
}
