// Brings the outbox to the server: one message of a chat at a time, again with the same client_id until it is acked.

import { backoff, type Random } from "./backoff";
import { ChatError, codeOf, isPassing } from "./errors";
import type { Outbox, OutboxItem } from "./outbox";
import { type Json, seqOf, str } from "./types";

/** ACK_WITHIN_MS is longer than the stall that a fault may cost the backend. */
export const ACK_WITHIN_MS = 30_000;
/** PATIENCE_MS is how long a send may go on failing while connected before a person is asked. */
export const PATIENCE_MS = 120_000;

export interface DeliveryOptions {
  readonly outbox: Outbox;
  /** request fails with network when there is no connection; delivery then waits for kickAll. */
  readonly request: (frame: Json, timeoutMs: number) => Promise<Json>;
  readonly online: () => boolean;
  readonly acked: (item: OutboxItem, seq: number, sentAt: string) => void;
  /** changed is called after each change of an item's state. */
  readonly changed: (chat: string) => void;
  readonly random?: Random;
}

export class Delivery {
  /** busy holds the chats with a send on its way or a retry planned, and that retry's timer. */
  private readonly busy = new Map<string, ReturnType<typeof setTimeout> | null>();
  private readonly failures = new Map<string, number>();
  /** sent holds the client_ids that wait for an ack on the present connection. */
  private readonly sent = new Set<string>();

  constructor(private readonly options: DeliveryOptions) {}

  /** kick sends the chat's next item unless one is on its way. */
  kick(chat: string): void {
    if (this.busy.has(chat) || !this.options.online()) return;
    const item = this.options.outbox.next(chat);
    if (!item) return;
    this.busy.set(chat, null);
    void this.deliver(item);
  }

  /** kickAll is called with each new connection; waits of the old one are over. */
  kickAll(): void {
    for (const [chat, timer] of this.busy) {
      if (timer === null) continue;
      clearTimeout(timer);
      this.busy.delete(chat);
    }
    for (const chat of this.options.outbox.chats()) this.kick(chat);
  }

  /** blame fails what was on its way when the server closed because of a frame. */
  blame(): void {
    for (const clientId of this.sent) this.giveUp(clientId, "too_large");
  }

  stop(): void {
    for (const timer of this.busy.values()) if (timer !== null) clearTimeout(timer);
    this.busy.clear();
  }

  private async deliver(item: OutboxItem): Promise<void> {
    const { chat, client_id, text, reply_to, forward } = item;
    const content = forward ? { forward } : { text, ...(reply_to ? { reply_to } : {}) };
    const frame = { type: "send", chat, client_id, ...content };
    this.sent.add(item.client_id);
    try {
      const ack = await this.options.request(frame, ACK_WITHIN_MS);
      if (seqOf(ack.seq) === 0) throw new ChatError("internal", "an ack without a seq");
      this.failures.delete(item.client_id);
      this.busy.delete(item.chat);
      this.options.acked(item, seqOf(ack.seq), str(ack.sent_at));
      this.kick(item.chat);
    } catch (error) {
      this.failed(item, error);
    } finally {
      this.sent.delete(item.client_id);
    }
  }

  private failed(item: OutboxItem, error: unknown): void {
    const current = this.options.outbox.get(item.client_id);
    if (current?.state !== "sending") return this.proceed(item.chat);
    if (!isPassing(error)) {
      this.giveUp(item.client_id, codeOf(error));
      return this.proceed(item.chat);
    }
    if (!this.options.online()) return void this.busy.delete(item.chat);
    const failures = this.failures.get(item.client_id) ?? 0;
    this.failures.set(item.client_id, failures + 1);
    if (failures > 0 && Date.now() - current.at > PATIENCE_MS) {
      this.giveUp(item.client_id, codeOf(error));
      return this.proceed(item.chat);
    }
    const told = error instanceof ChatError ? error.retryAfterMs : 0;
    const wait = told + backoff(failures, this.options.random);
    this.busy.set(
      item.chat,
      setTimeout(() => this.proceed(item.chat), wait),
    );
  }

  private giveUp(clientId: string, code: string): void {
    const item = this.options.outbox.get(clientId);
    if (!item) return;
    this.failures.delete(clientId);
    this.options.outbox.fail(clientId, code);
    this.options.changed(item.chat);
  }

  private proceed(chat: string): void {
    this.busy.delete(chat);
    this.kick(chat);
  }
}
