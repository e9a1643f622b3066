// How far the other one in each direct chat has read, kept over reloads: cursors come live only.

import { type KeyValue, load, save } from "./storage";
import { isJson, seqOf } from "./types";

const MAX_CHATS = 300;

export class PeerReads {
  private readonly key: string;
  private readonly seqs = new Map<string, number>();

  constructor(
    private readonly store: KeyValue,
    user: string,
  ) {
    this.key = `chatmesh.reads.${user}`;
    const kept = load(store, this.key);
    for (const [chat, seq] of Object.entries(isJson(kept) ? kept : {})) this.seqs.set(chat, seqOf(seq));
  }

  /** of returns 0 for a chat that nothing is known of. */
  of(chat: string): number {
    return this.seqs.get(chat) ?? 0;
  }

  /** note keeps a cursor; the chats noted last are kept. */
  note(chat: string, seq: number): void {
    if (seq <= this.of(chat)) return;
    this.seqs.delete(chat);
    this.seqs.set(chat, seq);
    save(this.store, this.key, Object.fromEntries([...this.seqs].slice(-MAX_CHATS)));
  }

  forget(): void {
    this.seqs.clear();
    this.store.removeItem(this.key);
  }
}
