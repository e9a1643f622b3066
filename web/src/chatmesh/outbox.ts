// Texts on their way: kept in the browser until the server has acked them, each under a key of its own, so that
// several tabs of one user never overwrite each other. Sending one twice is harmless: its client_id stays the same.

import { ChatError } from "./errors";
import { uuidv7 } from "./ids";
import { type KeyValue, keysWith, load, save } from "./storage";
import { isJson, seqOf, str } from "./types";

export const MAX_UNSENT = 200;
/** MAX_UNSENT_CHARS bounds all unsent texts of a user together, in UTF-16 units: browsers give about 5 million. */
export const MAX_UNSENT_CHARS = 2_000_000;

/** "acked" items wait only for their event to appear in the log. */
export type OutboxState = "sending" | "failed" | "acked";

/** Passed names a message of one chat that is passed on to another. */
export interface Passed {
  readonly chat: string;
  readonly seq: number;
}

export interface OutboxItem {
  readonly chat: string;
  readonly client_id: string;
  /** text is "" for what is passed on: no copy is kept of what its sender may delete. */
  readonly text: string;
  /** reply_to is the seq of the message that this one answers. */
  readonly reply_to?: number;
  readonly forward?: Passed;
  /** at is when it was written, in milliseconds of this machine's clock. */
  readonly at: number;
  readonly state: OutboxState;
  /** code says why it failed; "" otherwise. */
  readonly code: string;
}

export class Outbox {
  private readonly items = new Map<string, OutboxItem>();
  private readonly prefix: string;

  constructor(
    private readonly store: KeyValue,
    user: string,
  ) {
    this.prefix = `chatmesh.outbox.${user}.`;
    for (const key of keysWith(store, this.prefix).sort()) {
      const item = parseItem(load(store, key));
      if (item) this.items.set(item.client_id, item);
      else store.removeItem(key);
    }
  }

  /** of lists a chat's items in the order in which they were written. */
  of(chat: string): OutboxItem[] {
    return [...this.items.values()].filter((item) => item.chat === chat).sort(byId);
  }

  chats(): string[] {
    return [...new Set([...this.items.values()].map((item) => item.chat))];
  }

  get(clientId: string): OutboxItem | undefined {
    return this.items.get(clientId);
  }

  /** next is the first item of a chat that is to be sent: strictly one after the other keeps their order. */
  next(chat: string): OutboxItem | undefined {
    return this.of(chat).find((item) => item.state === "sending");
  }

  /** unsent counts what the server has not acked. */
  get unsent(): number {
    return this.pending().length;
  }

  /** add keeps a new text. Error: outbox_full. */
  add(chat: string, text: string, now = Date.now(), replyTo = 0): OutboxItem {
    return this.keep(chat, text, now, replyTo ? { reply_to: replyTo } : {});
  }

  /** pass keeps that a message is to be passed on. Error: outbox_full. */
  pass(chat: string, { chat: from, seq }: Passed, now = Date.now()): OutboxItem {
    return this.keep(chat, "", now, { forward: { chat: from, seq } });
  }

  fail(clientId: string, code: string): void {
    this.change(clientId, { state: "failed", code });
  }

  /** retry also renews the time, from which the patience with a failing send counts. */
  retry(clientId: string, now = Date.now()): void {
    this.change(clientId, { state: "sending", code: "", at: now });
  }

  /** acked forgets the durable copy; the item stays until its event has come. */
  acked(clientId: string): void {
    const item = this.items.get(clientId);
    if (!item) return;
    this.items.set(clientId, { ...item, state: "acked", code: "" });
    this.store.removeItem(this.prefix + clientId);
  }

  /** remove reports whether there was such an item. */
  remove(clientId: string): boolean {
    this.store.removeItem(this.prefix + clientId);
    return this.items.delete(clientId);
  }

  /** clear forgets everything, in the browser too: for a log-out by hand. */
  clear(): void {
    this.items.clear();
    for (const key of keysWith(this.store, this.prefix)) this.store.removeItem(key);
  }

  private keep(
    chat: string,
    text: string,
    now: number,
    rest: Pick<OutboxItem, "reply_to" | "forward">,
  ): OutboxItem {
    const pending = this.pending();
    const chars = pending.reduce((sum, item) => sum + item.text.length, text.length);
    if (pending.length >= MAX_UNSENT || chars > MAX_UNSENT_CHARS) {
      throw new ChatError("outbox_full", "too many messages are waiting to be sent");
    }
    const item: OutboxItem = {
      chat,
      client_id: uuidv7(now),
      text,
      ...rest,
      at: now,
      state: "sending",
      code: "",
    };
    this.put(item);
    return item;
  }

  private pending(): OutboxItem[] {
    return [...this.items.values()].filter((item) => item.state !== "acked");
  }

  private change(clientId: string, change: Partial<OutboxItem>): void {
    const item = this.items.get(clientId);
    if (item) this.put({ ...item, ...change });
  }

  private put(item: OutboxItem): void {
    this.items.set(item.client_id, item);
    save(this.store, this.prefix + item.client_id, item);
  }
}

function byId(a: OutboxItem, b: OutboxItem): number {
  return a.client_id < b.client_id ? -1 : 1;
}

function parseItem(raw: unknown): OutboxItem | null {
  if (!isJson(raw) || !str(raw.chat) || !str(raw.client_id)) return null;
  const forward = isJson(raw.forward) ? { chat: str(raw.forward.chat), seq: seqOf(raw.forward.seq) } : null;
  if (!forward && !str(raw.text)) return null;
  return {
    chat: str(raw.chat),
    client_id: str(raw.client_id),
    text: str(raw.text),
    ...(seqOf(raw.reply_to) ? { reply_to: seqOf(raw.reply_to) } : {}),
    ...(forward ? { forward } : {}),
    at: typeof raw.at === "number" ? raw.at : 0,
    state: raw.state === "failed" ? "failed" : "sending",
    code: str(raw.code),
  };
}
