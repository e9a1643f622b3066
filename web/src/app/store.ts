// What the page shows, as signals: copies of the client's state, renewed at most once a frame.

import { computed, effect, signal } from "@preact/signals";
import {
  blockers,
  type ChatClient,
  type ConnectionState,
  codeOf,
  type Entry,
  type Member,
  type OutboxItem,
  type Pin,
  type Presence,
} from "../chatmesh";
import { minute } from "./clock";
import { dropIntent } from "./intent";
import { isMuted, loud } from "./mute";
import { passing } from "./passing";
import { goTo, openId } from "./route";
import { faultSentence, type Names, nameOf } from "./sentences";
import { client } from "./session";
import { type Row, timeline } from "./timeline";

export interface ListRow {
  readonly id: string;
  readonly title: string;
  readonly peer: string;
  readonly group: boolean;
  readonly preview: string;
  readonly at: string;
  readonly unread: number;
  readonly typing: boolean;
  readonly muted: boolean;
}

export interface OpenChat {
  readonly id: string;
  readonly title: string;
  readonly group: boolean;
  readonly peer: string;
  readonly members: readonly Member[];
  readonly membersCount: number;
  readonly myRole: string;
  readonly rows: readonly Row[];
  readonly tail: number;
  readonly unread: number;
  /** mutedUntil is "" where the chat is not muted; it may have passed. */
  readonly mutedUntil: string;
  /** pins holds what is pinned, as far as it is known. */
  readonly pins: readonly Pin[];
  /** blockedBy holds who of a direct chat has blocked the other; nobody can write then. */
  readonly blockedBy: readonly string[];
  readonly hasOlder: boolean;
  /** ready says whether the newest page is there. */
  readonly ready: boolean;
}

export const connection = signal<ConnectionState>({ phase: "connecting" });
export const list = signal<readonly ListRow[]>([]);
export const listed = signal(false);
export const names = signal<Names>(new Map());
export const presence = signal<ReadonlyMap<string, Presence>>(new Map());
export const typists = signal<readonly string[]>([]);
export const openChat = signal<OpenChat | null>(null);
/** openFault is the code with which opening the chat failed; "" otherwise. */
export const openFault = signal("");
export const loadingOlder = signal(false);

/** unreadTotal leaves out what comes in muted chats. */
export const unreadTotal = computed(() => loud(list.value));

/** newAfter marks, for as long as a chat is open, where its news began when it was opened. */
let newAfter = -1;
let frame: (() => void) | null = null;

/** follow shows whoever logs in, and cleans up behind whoever logs out. */
export function follow(): void {
  let undo: (() => void)[] = [];
  effect(() => {
    const current = client.value;
    for (const off of undo) off();
    undo = [];
    reset();
    if (current) undo = attach(current);
  });
  effect(() => {
    if (client.value) void show(openId.value);
  });
  effect(() => {
    const count = unreadTotal.value;
    document.title = count > 0 ? `(${count}) chatmesh` : "chatmesh";
  });
  effect(() => {
    // A chat is not muted any more by time alone.
    void minute.value;
    soon();
  });
}

function attach(current: ChatClient): (() => void)[] {
  connection.value = { phase: "connecting" };
  names.value = new Map(current.people.names);
  return [
    current.on("state", (state) => {
      connection.value = state;
      if (state.phase === "online" && openFault.peek() !== "") reopen();
      soon();
    }),
    current.on("chats", soon),
    current.on("log", soon),
    current.on("typing", soon),
    current.on("gone", (chat) => {
      if (chat === openId.peek()) goTo("");
    }),
    current.people.on("names", () => {
      names.value = new Map(current.people.names);
      soon();
    }),
    current.people.on("presence", () => {
      presence.value = new Map(current.people.online);
    }),
  ];
}

function reset(): void {
  list.value = [];
  listed.value = false;
  openChat.value = null;
  presence.value = new Map();
  names.value = new Map();
  passing.value = null;
}

/** show opens a chat: what is known of it at once, the newest page when it has come. */
async function show(id: string): Promise<void> {
  const current = client.peek();
  const before = openChat.peek();
  if (before && before.id !== id) current?.close(before.id);
  openFault.value = "";
  loadingOlder.value = false;
  if (!current || id === "") {
    openChat.value = null;
    return;
  }
  const entry = current.chats.get(id);
  newAfter = entry && entry.unread.count > 0 ? entry.unread.readSeq : -1;
  copy();
  try {
    await current.open(id);
    if (client.peek() !== current || openId.peek() !== id) return;
    const opened = current.chats.get(id);
    if (!entry && opened && opened.unread.count > 0) newAfter = opened.unread.readSeq;
  } catch (error) {
    if (client.peek() === current && openId.peek() === id) openFault.value = codeOf(error);
  }
  soon();
}

/** reopen tries again what openFault tells of. */
export function reopen(): void {
  void show(openId.peek());
}

export async function loadOlder(): Promise<void> {
  const id = openId.peek();
  if (loadingOlder.peek() || !openChat.peek()?.hasOlder) return;
  loadingOlder.value = true;
  try {
    await client.peek()?.loadOlder(id);
  } catch (error) {
    tell(faultSentence(codeOf(error)));
  } finally {
    // The rows come with the next frame; only then may scrolling ask for more.
    soon(() => {
      loadingOlder.value = false;
    });
  }
}

/** sought is the message that the open chat is to show; null when the reader is left where they are. */
export const sought = signal<{ readonly chat: string; readonly seq: number } | null>(null);

/** seek shows a message of the open chat, and loads what lies between. */
export async function seek(seq: number): Promise<void> {
  const chat = openId.peek();
  loadingOlder.value = true;
  try {
    const found = await client.peek()?.loadBack(chat, seq);
    if (openId.peek() !== chat) return;
    if (!found) tell("This message cannot be shown here: it is too far back, or gone.");
    else
      soon(() => {
        sought.value = { chat, seq };
      });
  } catch (error) {
    tell(faultSentence(codeOf(error)));
  } finally {
    soon(() => {
      loadingOlder.value = false;
    });
  }
}

/** notice is one sentence that is shown for some seconds. */
export const notice = signal("");
let noticeTimer: ReturnType<typeof setTimeout> | undefined;

export function tell(sentence: string): void {
  notice.value = sentence;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => {
    notice.value = "";
  }, 6_000);
}

const after: (() => void)[] = [];

/** soon renews the copies with the next frame; a hidden page has no frames and gets a timer. */
function soon(then?: unknown): void {
  if (typeof then === "function") after.push(then as () => void);
  if (frame) return;
  const run = () => {
    if (frame !== run) return;
    frame = null;
    copy();
    for (const next of after.splice(0)) next();
  };
  frame = run;
  requestAnimationFrame(run);
  setTimeout(run, 100);
}

function copy(): void {
  const current = client.peek();
  if (!current) return;
  listed.value = current.listed;
  list.value = current.chats.list().map((entry) => listRow(current, entry));
  const entry = current.chats.get(openId.peek());
  openChat.value = entry ? openView(current, entry) : null;
  dropIntent(openId.peek(), (seq) =>
    Boolean(
      entry?.log.events.some((event) => event.type === "message" && event.seq === seq && !event.deleted),
    ),
  );
  if (entry?.members) current.people.watch(entry.members.map((member) => member.user_id));
  typists.value = entry ? current.typing.of(entry.id) : [];
}

function titleOf(entry: Entry): string {
  if (entry.kind === "group") return entry.title || "Untitled group";
  return nameOf(names.peek(), entry.peer);
}

function listRow(current: ChatClient, entry: Entry): ListRow {
  const last = entry.lastMessage;
  return {
    id: entry.id,
    title: titleOf(entry),
    peer: entry.kind === "direct" ? entry.peer : "",
    group: entry.kind === "group",
    preview: previewOf(current, entry),
    at: last?.sent_at ?? "",
    unread: entry.unread.count,
    typing: current.typing.of(entry.id).length > 0,
    muted: isMuted(entry.mutedUntil),
  };
}

function previewOf(current: ChatClient, entry: Entry): string {
  const last = entry.lastMessage;
  if (!last) return entry.kind === "group" ? "No messages yet" : "Say hello";
  const text = last.deleted ? "Message deleted" : last.text.slice(0, 200);
  if (last.sender === current.me.id) return `You: ${text}`;
  return entry.kind === "group" ? `${nameOf(names.peek(), last.sender)}: ${text}` : text;
}

function openView(current: ChatClient, entry: Entry): OpenChat {
  const { log } = entry;
  const members = entry.members ?? [];
  const pins = entry.pins.list ?? [];
  const direct = entry.kind === "direct";
  return {
    id: entry.id,
    title: titleOf(entry),
    group: !direct,
    peer: direct ? entry.peer : "",
    members,
    membersCount: entry.membersCount,
    myRole: members.find((member) => member.user_id === current.me.id)?.role ?? "",
    rows: timeline({
      me: current.me.id,
      events: log.events,
      head: log.head,
      outbox: current.outbox.of(entry.id).map((item) => withText(current, item)),
      newAfter,
      readUpTo: direct ? (entry.reads.get(entry.peer) ?? 0) : -1,
      pinned: new Set(pins.map((pin) => pin.seq)),
    }),
    tail: log.tail,
    unread: entry.unread.count,
    mutedUntil: entry.mutedUntil,
    pins,
    blockedBy: direct ? blockers(log.events) : [],
    hasOlder: log.hasOlder,
    ready: log.open,
  };
}

/** withText lends what is passed on the text that it has here: the outbox keeps none. */
function withText(current: ChatClient, item: OutboxItem): OutboxItem {
  const { forward } = item;
  if (!forward) return item;
  const events = current.chats.get(forward.chat)?.log.events ?? [];
  const event = events.find(({ seq }) => seq === forward.seq);
  return { ...item, text: event?.type === "message" && !event.deleted ? event.text : "A message" };
}
