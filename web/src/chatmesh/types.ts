// The nouns of the protocol as this client sees them, and the border where raw JSON becomes them.

export interface User {
  readonly id: string;
  readonly username: string;
  readonly display_name: string;
}

/** Grant is what an account's creation, a login and a refresh answer. expires_in is in seconds. */
export interface Grant {
  readonly user?: User;
  readonly access_token: string;
  readonly refresh_token: string;
  readonly expires_in: number;
}

export type ChatKind = "direct" | "group";

export interface Member {
  readonly user_id: string;
  readonly role: string;
  /** read_seq is how far this member has read, where the server tells. */
  readonly read_seq?: number;
}

/** Message is one text of a chat. A deleted message keeps its seq and has no text. */
export interface Message {
  readonly type: "message";
  readonly chat: string;
  readonly seq: number;
  readonly sender: string;
  readonly client_id: string;
  readonly text: string;
  readonly sent_at: string;
  readonly edited?: boolean;
  readonly deleted?: boolean;
  /** reply_to is the seq of the message that this one answers. */
  readonly reply_to?: number;
  /** reply is what the server's history shows of that message; a live one comes without. */
  readonly reply?: Reply;
  readonly forwarded?: boolean;
  readonly reactions?: readonly Reaction[];
  /** folded is the seq up to which all that became of the message is in it; its own where absent. */
  readonly folded?: number;
}

export interface Reply {
  readonly seq: number;
  readonly sender: string;
  readonly text: string;
  readonly deleted: boolean;
}

export interface Reaction {
  readonly emoji: string;
  readonly count: number;
  readonly users: readonly string[];
}

interface Marking {
  readonly chat: string;
  readonly seq: number;
  /** target is the seq of the message concerned. */
  readonly target: number;
  readonly by: string;
}

/** Edit has no text where the message has been deleted since. */
export interface Edit extends Marking {
  readonly type: "edit";
  readonly text: string;
  readonly deleted?: boolean;
}

export interface Deletion extends Marking {
  readonly type: "deletion";
}

export interface Reacted extends Marking {
  readonly type: "reaction";
  readonly emoji: string;
  readonly removed?: boolean;
}

/** Mark is an event that changes a message before it. */
export type Mark = Edit | Deletion | Reacted;

/** Change is an event about the chat itself: created, member_added, member_removed, role, title … */
export interface Change {
  readonly type: "chat";
  readonly chat: string;
  readonly seq: number;
  readonly change: string;
  readonly by: string;
  readonly at: string;
  readonly user?: string;
  /** target is the seq of the message that was pinned or taken down. */
  readonly target?: number;
  readonly role?: string;
  readonly title?: string;
  readonly picture?: string;
  readonly description?: string;
  readonly invite?: string;
  readonly kind?: ChatKind;
  readonly members?: readonly Member[];
}

/** Opaque is an event of the chat's sequence whose type this client does not know: it only counts. */
export interface Opaque {
  readonly type: "opaque";
  readonly chat: string;
  readonly seq: number;
}

export type LogEvent = Message | Mark | Change | Opaque;

/** Chat is a chat as the lists and lookups of the API give it; what the server left out is absent. */
export interface Chat {
  readonly id: string;
  readonly kind: ChatKind;
  readonly title: string;
  readonly last_seq?: number;
  readonly members_count?: number;
  readonly last_message?: Message;
  readonly read_seq?: number;
  readonly unread?: number;
  /** muted_until is a time, or "" for a chat that is not muted. */
  readonly muted_until?: string;
  readonly peer?: string;
  readonly members?: readonly Member[];
}

/** Invitation is what the holder of a link sees of a group before they join. */
export interface Invitation {
  readonly id: string;
  readonly title: string;
  readonly members_count: number;
  readonly member: boolean;
}

/** peopleOf lists the users whom an event names. */
export function peopleOf(event: LogEvent): string[] {
  if (event.type === "message") return event.reply ? [event.sender, event.reply.sender] : [event.sender];
  if (event.type === "opaque") return [];
  if (event.type !== "chat") return [event.by];
  return [event.by, event.user ?? "", ...(event.members ?? []).map((member) => member.user_id)];
}

/** Page is one piece of a chat's history. from and to are the seqs that it covers, both included. */
export interface Page {
  readonly events: readonly LogEvent[];
  readonly from: number;
  readonly to: number;
  readonly hasMore: boolean;
  /** foldedTo is the seq up to which all that became of its messages is in them; absent where events are bare. */
  readonly foldedTo?: number;
}

export interface Presence {
  readonly user_id: string;
  readonly online: boolean;
  /** away: connected, but nobody is at any of the devices. */
  readonly away?: boolean;
  readonly last_seen?: string;
}

/** Json is an object of the wire before anything is known of it. */
export type Json = { readonly [key: string]: unknown };

export function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function str(value: unknown): string {
  return typeof value === "string" ? value : "";
}

export function seqOf(value: unknown): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** parseUser accepts a bare user and `{user: …}`; null for anything else. */
export function parseUser(raw: unknown): User | null {
  const value = isJson(raw) && isJson(raw.user) ? raw.user : raw;
  if (!isJson(value) || str(value.id) === "") return null;
  return { id: str(value.id), username: str(value.username), display_name: str(value.display_name) };
}

/** parseGrant returns null unless both tokens are there. */
export function parseGrant(raw: unknown): Grant | null {
  if (!isJson(raw) || str(raw.access_token) === "" || str(raw.refresh_token) === "") return null;
  const user = parseUser(raw.user);
  return {
    ...(user ? { user } : {}),
    access_token: str(raw.access_token),
    refresh_token: str(raw.refresh_token),
    expires_in: typeof raw.expires_in === "number" ? raw.expires_in : 0,
  };
}

export function parseMembers(raw: unknown): readonly Member[] {
  return list(raw).flatMap((item) => {
    if (!isJson(item) || str(item.user_id) === "") return [];
    const read = seqOf(item.read_seq);
    return [
      { user_id: str(item.user_id), role: str(item.role) || "member", ...(read ? { read_seq: read } : {}) },
    ];
  });
}

/** parseEvent returns null for what has no place in a chat's sequence. */
export function parseEvent(raw: unknown): LogEvent | null {
  if (!isJson(raw)) return null;
  const chat = str(raw.chat);
  const seq = seqOf(raw.seq);
  if (chat === "" || seq === 0) return null;
  if (raw.type === "message") return parseMessage(raw, chat, seq);
  if (raw.type === "chat") return parseChange(raw, chat, seq);
  return parseMark(raw, chat, seq) ?? { type: "opaque", chat, seq };
}

function parseMessage(raw: Json, chat: string, seq: number): Message {
  const deleted = isJson(raw.deleted) || raw.deleted === true || typeof raw.text !== "string";
  const bare = {
    type: "message" as const,
    chat,
    seq,
    sender: str(raw.sender),
    client_id: str(raw.client_id),
    sent_at: str(raw.sent_at),
  };
  if (deleted) return { ...bare, text: "", deleted };
  const edited = seqOf(raw.edits) > 0 || typeof raw.edited_at === "string";
  const reply = parseReply(raw.reply);
  const reactions = parseReactions(raw.reactions);
  const replyTo = seqOf(raw.reply_to) || (reply?.seq ?? 0);
  return {
    ...bare,
    text: str(raw.text),
    ...(edited ? { edited } : {}),
    ...(replyTo ? { reply_to: replyTo } : {}),
    ...(reply ? { reply } : {}),
    ...(isJson(raw.forwarded) ? { forwarded: true } : {}),
    ...(reactions.length > 0 ? { reactions } : {}),
  };
}

function parseReply(raw: unknown): Reply | null {
  if (!isJson(raw) || seqOf(raw.seq) === 0) return null;
  const deleted = isJson(raw.deleted) || raw.deleted === true;
  return { seq: seqOf(raw.seq), sender: str(raw.sender), text: deleted ? "" : str(raw.text), deleted };
}

function parseReactions(raw: unknown): readonly Reaction[] {
  return list(raw).flatMap((item) => {
    if (!isJson(item) || str(item.emoji) === "" || seqOf(item.count) === 0) return [];
    const users = list(item.users).map(str);
    return [{ emoji: str(item.emoji), count: seqOf(item.count), users }];
  });
}

/** parseMark returns null for what names no message, and for types that this client does not know. */
function parseMark(raw: Json, chat: string, seq: number): Mark | null {
  const marking = { chat, seq, target: seqOf(raw.target), by: str(raw.by) };
  if (marking.target === 0) return null;
  switch (raw.type) {
    case "deletion":
      return { type: "deletion", ...marking };
    case "edit":
      if (typeof raw.text !== "string") return { type: "edit", ...marking, text: "", deleted: true };
      return { type: "edit", ...marking, text: raw.text };
    case "reaction":
      if (str(raw.emoji) === "") return null;
      return {
        type: "reaction",
        ...marking,
        emoji: str(raw.emoji),
        ...(raw.removed === true ? { removed: true } : {}),
      };
    default:
      return null;
  }
}

function parseChange(raw: Json, chat: string, seq: number): Change {
  return {
    type: "chat",
    chat,
    seq,
    change: str(raw.change),
    by: str(raw.by),
    at: str(raw.at),
    ...(str(raw.user) ? { user: str(raw.user) } : {}),
    ...(seqOf(raw.target) ? { target: seqOf(raw.target) } : {}),
    ...(str(raw.role) ? { role: str(raw.role) } : {}),
    ...(str(raw.title) ? { title: str(raw.title) } : {}),
    ...(str(raw.picture) ? { picture: str(raw.picture) } : {}),
    ...(str(raw.description) ? { description: str(raw.description) } : {}),
    ...(str(raw.invite) ? { invite: str(raw.invite) } : {}),
    ...(raw.kind === "direct" || raw.kind === "group" ? { kind: raw.kind } : {}),
    ...(Array.isArray(raw.members) ? { members: parseMembers(raw.members) } : {}),
  };
}

/** parseChat accepts a bare chat and `{chat: …}`; null without an id. */
export function parseChat(raw: unknown): Chat | null {
  const value = isJson(raw) && isJson(raw.chat) ? raw.chat : raw;
  if (!isJson(value) || str(value.id) === "") return null;
  const last = isJson(value.last_message) ? { chat: value.id, ...value.last_message } : undefined;
  const event = parseEvent(last);
  // Every chat has an event, so 0 says that the server did not count, and then unread says nothing either.
  const counted = seqOf(value.last_seq) > 0;
  return {
    id: str(value.id),
    kind: value.kind === "group" ? "group" : "direct",
    title: str(value.title),
    ...(counted ? { last_seq: seqOf(value.last_seq) } : {}),
    ...(typeof value.members_count === "number" ? { members_count: value.members_count } : {}),
    ...(event?.type === "message" ? { last_message: event } : {}),
    ...(typeof value.read_seq === "number" ? { read_seq: seqOf(value.read_seq) } : {}),
    ...(counted && typeof value.unread === "number" ? { unread: seqOf(value.unread) } : {}),
    ...(isJson(value.settings) ? { muted_until: str(value.settings.muted_until) } : {}),
    ...(str(value.peer) ? { peer: str(value.peer) } : {}),
    ...(Array.isArray(value.members) ? { members: parseMembers(value.members) } : {}),
  };
}

/** parseInvitation returns null without an id. */
export function parseInvitation(raw: unknown): Invitation | null {
  if (!isJson(raw) || str(raw.id) === "") return null;
  return {
    id: str(raw.id),
    title: str(raw.title),
    members_count: seqOf(raw.members_count),
    member: raw.member === true,
  };
}

/**
 * parsePage reads a page of history or of `sync`. Where the server does not say what the page covers, its
 * events do; an empty page without that covers nothing (to < from).
 */
export function parsePage(raw: unknown): Page {
  const body = isJson(raw) ? raw : {};
  const events = list(body.messages)
    .map(parseEvent)
    .filter((event) => event !== null)
    .sort((a, b) => a.seq - b.seq);
  const from = seqOf(body.from_seq) || (events[0]?.seq ?? 0);
  const to = Math.max(seqOf(body.to_seq), events.at(-1)?.seq ?? 0);
  const foldedTo = seqOf(body.folded_to);
  return {
    events: foldedTo > 0 ? events.map((event) => foldedAt(event, foldedTo)) : events,
    from: events[0] ? Math.min(from, events[0].seq) : from,
    to,
    hasMore: body.has_more === true,
    ...(foldedTo > 0 ? { foldedTo } : {}),
  };
}

function foldedAt(event: LogEvent, folded: number): LogEvent {
  return event.type === "message" ? { ...event, folded } : event;
}

export function parsePresence(raw: unknown): Presence | null {
  if (!isJson(raw)) return null;
  const user = str(raw.user_id) || str(raw.user);
  if (user === "") return null;
  const seen = str(raw.last_seen);
  return {
    user_id: user,
    online: raw.online === true,
    ...(raw.state === "away" ? { away: true } : {}),
    ...(seen ? { last_seen: seen } : {}),
  };
}
