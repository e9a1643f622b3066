// The user's chats: what the list shows of each, kept right by snapshots and live events alike.

import { ChatLog } from "./chatlog";
import { fold, isLater } from "./fold";
import { Pins } from "./pins";
import type { Change, Chat, ChatKind, LogEvent, Member, Message } from "./types";
import { Unread } from "./unread";

/** Entry is one chat as it is known now. Only this file and the client change it. */
export interface Entry {
  readonly id: string;
  kind: ChatKind;
  title: string;
  peer: string;
  membersCount: number;
  /** asOf is the seq up to which title and members are known as a whole: older changes are part of them. */
  asOf: number;
  /** members is null until someone has asked for them. */
  members: readonly Member[] | null;
  lastMessage: Message | null;
  /** reads holds how far others have read, as far as this client was told. */
  readonly reads: Map<string, number>;
  readonly log: ChatLog;
  /** placed says whether the log's tail is where the chat was found, not just its beginning. */
  placed: boolean;
  readonly unread: Unread;
  readonly pins: Pins;
  /** mutedUntil is a time, or "" where this user has not muted the chat. */
  mutedUntil: string;
}

export class Chats {
  private readonly entries = new Map<string, Entry>();
  /** order holds the ids, most recently active first. */
  private order: string[] = [];

  constructor(private readonly me: string) {}

  get(id: string): Entry | undefined {
    return this.entries.get(id);
  }

  list(): Entry[] {
    return this.order.flatMap((id) => this.entries.get(id) ?? []);
  }

  cursors(): Record<string, number> {
    return Object.fromEntries([...this.entries.values()].map((entry) => [entry.id, entry.log.tail]));
  }

  /** put takes a snapshot of a chat; a new one stands first. */
  put(chat: Chat): Entry {
    const old = this.entries.get(chat.id);
    const entry = old ?? this.create(chat);
    if (!entry.placed && chat.last_seq !== undefined) this.place(entry, chat.last_seq);
    const asOf = chat.last_seq ?? entry.log.tail;
    entry.kind = chat.kind;
    if (asOf >= entry.log.tail) {
      entry.asOf = asOf;
      entry.title = chat.title;
      entry.membersCount = chat.members_count ?? chat.members?.length ?? entry.membersCount;
      if (chat.members) entry.members = chat.members;
    }
    if (chat.peer) entry.peer = chat.peer;
    if (chat.muted_until !== undefined) entry.mutedUntil = chat.muted_until;
    if (chat.members) this.takeMembers(entry, chat.members);
    if (chat.last_message) this.listed(entry, chat.last_message, asOf);
    if (old && chat.unread !== undefined) {
      old.unread.fromServer(chat.read_seq ?? 0, chat.unread, asOf);
    }
    return entry;
  }

  /** place lets the log of a chat of unknown length begin behind seq; it does nothing for other chats. */
  place(entry: Entry, seq: number): void {
    if (!entry.placed && !entry.log.open) entry.log.moveTo(seq);
    entry.placed = true;
  }

  /** sortLike moves the ids to the front in the order given, which is the server's. */
  sortLike(ids: readonly string[]): void {
    const first = new Set(ids);
    this.order = [...ids.filter((id) => this.entries.has(id)), ...this.order.filter((id) => !first.has(id))];
  }

  remove(id: string): boolean {
    this.order = this.order.filter((other) => other !== id);
    return this.entries.delete(id);
  }

  /** happened takes an event that has just joined the chat's log. */
  happened(entry: Entry, event: LogEvent): void {
    if (isLater(event) && entry.lastMessage) entry.lastMessage = fold(entry.lastMessage, event);
    entry.pins.happened(event, (seq) => held(entry, seq));
    if (event.type === "edit" || event.type === "deletion" || event.type === "reaction") return;
    this.sortLike([entry.id]);
    if (event.type === "message") {
      note(entry, event);
      entry.unread.message(event.seq, event.sender === this.me);
      this.hasRead(entry, event.sender, event.seq);
    } else if (event.type === "chat" && event.seq > entry.asOf) {
      this.changed(entry, event);
    }
  }

  /** hasRead notes a read cursor of another member. */
  hasRead(entry: Entry, user: string, seq: number): void {
    if (user !== this.me) entry.reads.set(user, Math.max(seq, entry.reads.get(user) ?? 0));
  }

  /** isOut says whether the event ends this user's membership. */
  isOut(event: LogEvent): boolean {
    return event.type === "chat" && event.change === "member_removed" && event.user === this.me;
  }

  /** hide takes messages out of the sight of this user, and reports whether the list has to say what is the last one now. */
  hide(entry: Entry, seqs: readonly number[]): boolean {
    entry.log.hide(seqs);
    entry.pins.drop(seqs);
    if (!entry.lastMessage || !seqs.includes(entry.lastMessage.seq)) return false;
    entry.lastMessage =
      entry.log.events.flatMap((event) => (event.type === "message" ? [event] : [])).at(-1) ?? null;
    return entry.lastMessage === null;
  }

  /** listed takes the last message of a snapshot, which may be older than what has come live. */
  private listed(entry: Entry, message: Message, asOf: number): void {
    const known = entry.lastMessage;
    const same = known?.seq === message.seq;
    if (same && (known.deleted || asOf < entry.log.tail)) return;
    note(entry, message);
  }

  private create(chat: Chat): Entry {
    const last = chat.last_seq ?? 0;
    const entry: Entry = {
      id: chat.id,
      kind: chat.kind,
      title: chat.title,
      peer: chat.peer ?? "",
      membersCount: chat.members_count ?? chat.members?.length ?? 0,
      asOf: last,
      members: chat.members ?? null,
      lastMessage: chat.last_message ?? null,
      reads: new Map(),
      log: new ChatLog(last),
      placed: chat.last_seq !== undefined,
      unread: new Unread(chat.read_seq ?? 0, chat.unread ?? 0, last),
      pins: new Pins(),
      mutedUntil: chat.muted_until ?? "",
    };
    this.entries.set(chat.id, entry);
    this.order = [chat.id, ...this.order];
    return entry;
  }

  private takeMembers(entry: Entry, members: readonly Member[]): void {
    for (const member of members) this.hasRead(entry, member.user_id, member.read_seq ?? 0);
    const other = members.find((member) => member.user_id !== this.me);
    if (entry.kind === "direct" && entry.peer === "" && other) entry.peer = other.user_id;
  }

  private changed(entry: Entry, event: Change): void {
    if (event.title !== undefined && (event.change === "title" || event.change === "created")) {
      entry.title = event.title;
    }
    if (event.user === undefined) return;
    const others = entry.members?.filter((member) => member.user_id !== event.user) ?? null;
    if (event.change === "member_removed") {
      entry.membersCount = others ? others.length : Math.max(0, entry.membersCount - 1);
      entry.members = others;
    } else if (event.change === "member_added") {
      entry.membersCount = others ? others.length + 1 : entry.membersCount + 1;
      entry.members = others && [...others, { user_id: event.user, role: event.role ?? "member" }];
    } else if (event.change === "role" && event.role !== undefined) {
      const { user, role } = event;
      entry.members =
        entry.members?.map((member) => (member.user_id === user ? { ...member, role } : member)) ?? null;
    }
  }
}

/** held finds a message as it stands here. */
function held(entry: Entry, seq: number): Message | undefined {
  const found = entry.log.events.find((event) => event.seq === seq) ?? entry.lastMessage;
  return found?.type === "message" && found.seq === seq && !found.deleted ? found : undefined;
}

function note(entry: Entry, message: Message): void {
  if (message.seq >= (entry.lastMessage?.seq ?? 0)) entry.lastMessage = message;
}
