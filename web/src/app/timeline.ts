// Turns a chat's events and unsent texts into the rows that the conversation shows.

import {
  type Change,
  type LogEvent,
  type Message,
  type OutboxItem,
  quoteOf,
  type Reaction,
} from "../chatmesh";
import { dayKey, parseTime } from "./time";

/** CLUSTER_MS is how long messages of one sender stand together under one name and time. */
const CLUSTER_MS = 5 * 60_000;

export type Status = "" | "sending" | "failed" | "sent" | "read";

export interface MessageRow {
  readonly kind: "message";
  readonly key: string;
  /** seq is 0 until the server has given one. */
  readonly seq: number;
  readonly clientId: string;
  readonly sender: string;
  readonly own: boolean;
  readonly text: string;
  readonly deleted: boolean;
  readonly edited: boolean;
  readonly forwarded: boolean;
  readonly pinned: boolean;
  readonly reactions: readonly Reaction[];
  /** replyTo is the seq of the message that is answered, 0 for none; the other three say what is known of it. */
  readonly replyTo: number;
  readonly replySender: string;
  readonly replyText: string;
  readonly replyDeleted: boolean;
  readonly at: Date;
  readonly first: boolean;
  readonly last: boolean;
  readonly status: Status;
  /** code says why it failed. */
  readonly code: string;
}

export type Row =
  | MessageRow
  | { readonly kind: "day"; readonly key: string; readonly at: Date }
  | { readonly kind: "new"; readonly key: string }
  | { readonly kind: "change"; readonly key: string; readonly seq: number; readonly change: Change };

export interface TimelineInput {
  readonly me: string;
  readonly events: readonly LogEvent[];
  readonly outbox: readonly OutboxItem[];
  /** head is the lowest seq that is loaded. */
  readonly head: number;
  /** newAfter is the seq up to which everything had been read when the chat was opened; -1 for no mark. */
  readonly newAfter: number;
  /** readUpTo is how far the other one in a direct chat has read; -1 where that is not shown. */
  readonly readUpTo: number;
  /** pinned holds the seqs of the messages that are pinned to the chat. */
  readonly pinned: ReadonlySet<number>;
}

const NONE: readonly Reaction[] = [];

type Draft = Omit<MessageRow, "first" | "last">;

export function timeline(input: TimelineInput): Row[] {
  const rows: Row[] = [];
  const bySeq = new Map(input.events.map((event) => [event.seq, event]));
  const delivered = new Set<string>();
  let day = "";
  // The mark stands before the first new message, so that one must be loaded.
  let marked = input.newAfter < 0 || input.newAfter < input.head - 1;
  let open: Draft | null = null;
  let firstOfOpen = true;

  const flush = (last: boolean) => {
    if (open) rows.push({ ...open, first: firstOfOpen, last });
    open = null;
  };
  const mark = (row: Row) => {
    flush(true);
    rows.push(row);
    firstOfOpen = true;
  };
  const enterDay = (at: Date) => {
    const key = dayKey(at);
    if (key === day) return;
    day = key;
    mark({ kind: "day", key: `day-${key}`, at });
  };
  const message = (draft: Draft) => {
    const together = open !== null && belongs(open, draft);
    flush(!together);
    firstOfOpen = !together;
    open = draft;
  };

  for (const event of input.events) {
    if (event.type !== "message" && event.type !== "chat") continue;
    const at = parseTime(event.type === "message" ? event.sent_at : event.at);
    if (at) enterDay(at);
    if (!marked && event.seq > input.newAfter && !isOwn(event, input.me)) {
      marked = true;
      mark({ kind: "new", key: "new" });
    }
    if (event.type === "chat") {
      mark({ kind: "change", key: `s${event.seq}`, seq: event.seq, change: event });
    } else {
      delivered.add(event.client_id);
      message({ ...fromEvent(event, at ?? new Date(0), input), ...quoted(event, bySeq) });
    }
  }
  for (const item of input.outbox) {
    if (delivered.has(item.client_id)) continue;
    const at = new Date(item.at);
    enterDay(at);
    message({ ...unsent(item, at, input.me), ...quoted(item, bySeq) });
  }
  flush(true);
  return rows;
}

function isOwn(event: LogEvent, me: string): boolean {
  return event.type === "message" && event.sender === me;
}

function belongs(a: Draft, b: Draft): boolean {
  return a.sender === b.sender && Math.abs(b.at.getTime() - a.at.getTime()) < CLUSTER_MS;
}

type Quoted = Pick<MessageRow, "replyTo" | "replySender" | "replyText" | "replyDeleted">;

/** quoted says what a message answers: as it stands here, else as the server's history has it. */
function quoted(answer: Pick<Message, "reply_to" | "reply">, bySeq: ReadonlyMap<number, LogEvent>): Quoted {
  const replyTo = answer.reply_to ?? 0;
  const here = bySeq.get(replyTo);
  const known = here?.type === "message" ? here : answer.reply;
  return {
    replyTo,
    replySender: known?.sender ?? "",
    replyText: known && !known.deleted ? quoteOf(known.text) : "",
    replyDeleted: known?.deleted ?? false,
  };
}

function fromEvent(event: Message, at: Date, input: TimelineInput): Omit<Draft, keyof Quoted> {
  const own = event.sender === input.me;
  return {
    kind: "message",
    key: own && event.client_id ? event.client_id : `s${event.seq}`,
    seq: event.seq,
    clientId: event.client_id,
    sender: event.sender,
    own,
    text: event.text,
    deleted: event.deleted ?? false,
    edited: event.edited ?? false,
    forwarded: event.forwarded ?? false,
    pinned: input.pinned.has(event.seq),
    reactions: event.reactions ?? NONE,
    at,
    status: statusOf(event.seq, own, input.readUpTo),
    code: "",
  };
}

function statusOf(seq: number, own: boolean, readUpTo: number): Status {
  if (!own || readUpTo < 0) return "";
  return seq <= readUpTo ? "read" : "sent";
}

function unsent(item: OutboxItem, at: Date, me: string): Omit<Draft, keyof Quoted> {
  return {
    kind: "message",
    key: item.client_id,
    seq: 0,
    clientId: item.client_id,
    sender: me,
    own: true,
    text: item.text,
    deleted: false,
    edited: false,
    forwarded: item.forward !== undefined,
    pinned: false,
    reactions: NONE,
    at,
    status: item.state === "failed" ? "failed" : "sending",
    code: item.code,
  };
}
