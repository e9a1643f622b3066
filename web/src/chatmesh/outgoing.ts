// What this user sends: kept in the outbox until the message itself stands in the log.

import { Delivery } from "./delivery";
import { ChatError } from "./errors";
import type { Outbox, OutboxItem, Passed } from "./outbox";
import { textFault, wellFormed } from "./text";
import type { Json, LogEvent } from "./types";

export interface OutgoingOptions {
  readonly me: string;
  readonly outbox: Outbox;
  readonly request: (frame: Json, timeoutMs: number) => Promise<Json>;
  readonly online: () => boolean;
  /** event takes a message as if it had come live. */
  readonly event: (frame: Json) => void;
  /** tail is the seq of the last event of a chat's log. */
  readonly tail: (chat: string) => number;
  /** expect: the log of the chat is to go up to seq soon. */
  readonly expect: (chat: string, seq: number) => void;
  /** written: this user has stopped typing in the chat. */
  readonly written: (chat: string) => void;
  readonly changed: (chat: string) => void;
  readonly random: () => number;
}

export class Outgoing {
  private readonly delivery: Delivery;

  constructor(private readonly options: OutgoingOptions) {
    const { outbox, request, online, changed, random } = options;
    const acked = (item: OutboxItem, seq: number, sentAt: string) => this.acked(item, seq, sentAt);
    this.delivery = new Delivery({ outbox, request, online, acked, changed, random });
  }

  /** send puts a text on its way, as the answer to a message unless replyTo is 0. Errors: empty, too_long, outbox_full. */
  send(chat: string, text: string, replyTo = 0): void {
    const fault = textFault(text);
    if (fault) throw new ChatError(fault, "this text cannot be sent");
    this.options.outbox.add(chat, wellFormed(text), Date.now(), replyTo);
    this.options.written(chat);
    this.go(chat);
  }

  /** pass puts a message of another chat on its way, with the text that it has when the server takes it. Error: outbox_full. */
  pass(chat: string, message: Passed): void {
    this.options.outbox.pass(chat, message);
    this.go(chat);
  }

  retry(clientId: string): void {
    const item = this.options.outbox.get(clientId);
    if (item?.state !== "failed") return;
    this.options.outbox.retry(clientId);
    this.go(item.chat);
  }

  discard(clientId: string): void {
    const item = this.options.outbox.get(clientId);
    if (item && this.options.outbox.remove(clientId)) this.options.changed(item.chat);
  }

  /** settle ends the outbox item whose message stands in the log. */
  settle(event: LogEvent): void {
    if (event.type !== "message" || event.sender !== this.options.me) return;
    if (this.options.outbox.remove(event.client_id)) this.options.changed(event.chat);
  }

  /** connected is called with each new connection. */
  connected(): void {
    this.delivery.kickAll();
  }

  blame(): void {
    this.delivery.blame();
  }

  stop(): void {
    this.delivery.stop();
  }

  private go(chat: string): void {
    this.delivery.kick(chat);
    this.options.changed(chat);
  }

  /** acked takes the ack for the event itself, but for a message that was passed on: only the server knows its text. */
  private acked(item: OutboxItem, seq: number, sentAt: string): void {
    const { chat, client_id, text, reply_to } = item;
    const { me, outbox, event, tail, expect, changed } = this.options;
    outbox.acked(client_id);
    if (item.forward) {
      expect(chat, seq);
    } else {
      const sent_at = sentAt || new Date().toISOString();
      const answer = reply_to ? { reply_to } : {};
      event({ type: "message", chat, seq, sender: me, client_id, text, sent_at, ...answer });
    }
    if (tail(chat) >= seq) outbox.remove(client_id);
    changed(chat);
  }
}
