// The client of one logged-in user: keeps chats, people and outbox in step with the server over one connection.

import { Actions } from "./actions";
import type { Api, NewChat } from "./api";
import { CatchUp } from "./catchup";
import { Chats, type Entry } from "./chats";
import { Connection } from "./connection";
import { ReadCursors } from "./cursors";
import { Emitter } from "./emitter";
import { ChatError } from "./errors";
import { Listing } from "./listing";
import { Newcomers } from "./newcomers";
import type { ClientEvents, ClientOptions } from "./options";
import { Outbox } from "./outbox";
import { Outgoing } from "./outgoing";
import { PeerReads } from "./peerreads";
import { People } from "./people";
import { newEnough, Refold } from "./refold";
import {
  type Chat,
  type Json,
  type LogEvent,
  parseEvent,
  parsePresence,
  peopleOf,
  seqOf,
  str,
  type User,
} from "./types";
import { Typing } from "./typing";

export const HISTORY_PAGE = 50;
/** HEADS_AFTER_MS lets the server's own catch-up come before heads of the list are taken for holes. */
const HEADS_AFTER_MS = 1_500;
const LONG_PAGE = 200;
/** BACK_PAGES bounds how far back a message is looked for: the page shows all that lies between. */
const BACK_PAGES = 25;
const KEPT_WHEN_CLOSED = 200;

export class ChatClient extends Emitter<ClientEvents> {
  readonly me: User;
  readonly chats: Chats;
  readonly people: People;
  readonly typing: Typing;
  readonly outbox: Outbox;
  readonly connection: Connection;
  readonly actions: Actions;
  readonly outgoing: Outgoing;

  private welcomes = 0;
  private readonly api: Api;
  private readonly cursors: ReadCursors;
  private readonly catchUp: CatchUp;
  private readonly newcomers: Newcomers;
  private readonly refold: Refold;
  private readonly peerReads: PeerReads;
  private readonly listing: Listing;

  constructor(options: ClientOptions) {
    super();
    const { api, me, store, tokens } = options;
    const random = options.random ?? Math.random;
    this.me = me;
    this.api = api;
    this.chats = new Chats(me.id);
    this.outbox = new Outbox(store, me.id);
    this.connection = new Connection({
      open: options.open,
      token: () => tokens.access(),
      renew: (refused) => tokens.renew(refused),
      cursors: () => this.chats.cursors(),
      random,
    });
    const request = (frame: Json, ms: number) => this.connection.request(frame, ms);
    const online = () => this.connection.online;
    this.actions = new Actions(request, (chat, seq) => this.hidden(chat, [seq]));
    this.people = new People({
      store,
      me,
      lookUp: (ids) => api.usersById(ids),
      watch: (users) => this.connection.send({ type: "watch", id: "w", users }),
    });
    this.typing = new Typing((chat) => this.emit("typing", chat));
    this.outgoing = new Outgoing({
      me: me.id,
      outbox: this.outbox,
      request,
      online,
      event: (frame) => this.event(frame),
      tail: (chat) => this.chats.get(chat)?.log.tail ?? 0,
      expect: (chat, seq) => this.catchUp.later(chat, seq),
      written: (chat) => this.typing.sent(chat),
      changed: (chat) => this.emit("log", chat),
      random,
    });
    this.cursors = new ReadCursors({ request, online, told: (chat) => this.told(chat) });
    this.catchUp = new CatchUp({
      entry: (chat) => this.chats.get(chat),
      request,
      history: (chat) => api.history(chat, HISTORY_PAGE),
      online,
      joined: (entry, events) => this.joined(entry, events),
      gone: (chat) => this.drop(chat),
      jumped: (entry) => this.jumped(entry),
    });
    this.newcomers = new Newcomers({
      fetch: (chat) => api.chat(chat),
      admit: (chat, events) => this.admit(chat, events),
    });
    this.peerReads = new PeerReads(store, me.id);
    this.refold = new Refold({
      entry: (chat) => this.chats.get(chat),
      newest: (chat, before) => api.history(chat, LONG_PAGE, before),
      changed: (chat) => this.emit("log", chat),
    });
    this.listing = new Listing({
      api,
      chats: this.chats,
      online,
      listed: (entry) => this.follow(entry),
      behind: (chat, seq) => this.catchUp.later(chat, seq, HEADS_AFTER_MS),
      gone: (chat) => this.drop(chat),
      changed: () => this.emit("chats", undefined),
      ended: () => this.end(),
    });
    this.connection.on("welcome", () => this.welcomed());
    this.connection.on("frame", (frame) => this.received(frame));
    this.connection.on("blame", () => this.outgoing.blame());
    this.connection.on("ended", () => this.end());
    this.connection.on("state", (state) => {
      if (state.phase !== "online") this.people.disconnected();
      this.emit("state", state);
    });
  }

  /** listed says whether the list of chats has been read once. */
  get listed(): boolean {
    return this.listing.complete;
  }

  /** start lists the chats and connects; both go on by themselves when the network fails. */
  start(): void {
    void this.listing.refresh().finally(() => this.connection.start());
  }

  stop(): void {
    this.connection.stop();
    for (const part of [this.outgoing, this.cursors, this.catchUp, this.newcomers, this.listing]) part.stop();
    this.people.stop();
    this.typing.stop();
    this.refold.stop();
  }

  /** forget removes what the browser keeps for this user, unsent texts too. */
  forget(): void {
    this.outbox.clear();
    this.people.forget();
    this.peerReads.forget();
  }

  /** open loads the newest page and the members of a chat. Errors: those of the API; not_found for a stranger. */
  async open(chat: string): Promise<void> {
    if (!this.chats.get(chat)) this.admit(await this.api.chat(chat), []);
    const entry = this.known(chat);
    const members = entry.members === null ? this.loadMembers(chat) : null;
    if (!entry.log.open) {
      const page = await newEnough(entry.log, () => this.api.history(chat, HISTORY_PAGE));
      for (const event of page.events) this.outgoing.settle(event);
      this.joined(entry, entry.log.openAt(page).events);
      this.refold.soon(entry);
      this.people.want(page.events.flatMap(peopleOf));
    }
    void this.readPins(entry);
    await members;
    this.emit("log", chat);
  }

  /** close lets go of most of what an open chat keeps. */
  close(chat: string): void {
    this.chats.get(chat)?.log.trim(KEPT_WHEN_CLOSED);
  }

  async loadOlder(chat: string, limit = HISTORY_PAGE): Promise<void> {
    const { log } = this.known(chat);
    if (!log.hasOlder) return;
    const head = log.head;
    const page = await newEnough(log, () => this.api.history(chat, limit, head));
    if (log.head === head) log.prepend(page);
    this.people.want(page.events.flatMap(peopleOf));
    this.emit("log", chat);
  }

  /** loadBack loads older pages until a message is there, and reports whether it is: it may be hidden, or too far back. */
  async loadBack(chat: string, seq: number): Promise<boolean> {
    const { log } = this.known(chat);
    for (let pages = 0; log.head > seq && log.hasOlder && pages < BACK_PAGES; pages++) {
      await this.loadOlder(chat, LONG_PAGE);
    }
    return log.events.some((event) => event.type === "message" && event.seq === seq);
  }

  async loadMembers(chat: string): Promise<void> {
    let entry = this.chats.put(await this.api.chat(chat));
    // An event that came in between made the answer an old one.
    for (let tries = 0; entry.members === null && tries < 3; tries++) {
      entry = this.chats.put(await this.api.chat(chat));
    }
    this.people.want((entry.members ?? []).map((member) => member.user_id));
    this.emit("log", chat);
    this.emit("chats", undefined);
  }

  /** create starts a chat, or finds the direct chat that exists, and returns its id. */
  async create(chat: NewChat): Promise<string> {
    const created = await this.api.createChat(chat);
    this.admit(created, []);
    return created.id;
  }

  /** type tells the others that this user is typing, not more often than they need. */
  type(chat: string): void {
    if (this.connection.online && this.typing.mayTell(chat)) this.connection.send({ type: "typing", chat });
  }

  /** read says that this user has seen everything up to seq. */
  read(chat: string, seq: number): void {
    const entry = this.chats.get(chat);
    if (!entry || seq > entry.log.tail || !entry.unread.read(seq)) return;
    this.cursors.tell(chat, seq);
    this.emit("chats", undefined);
  }

  /** mute keeps a chat silent until a time, or not at all any more with "". Errors: those of the API. */
  async mute(chat: string, until: string): Promise<void> {
    await this.api.mute(chat, until || null);
    this.muted(chat, until);
  }

  private welcomed(): void {
    this.people.reconnected();
    this.outgoing.connected();
    this.cursors.flush();
    if (this.welcomes++ > 0) this.refold.allSoon(this.chats.list());
    void this.listing.refresh();
  }

  private received(frame: Json): void {
    const chat = str(frame.chat);
    switch (frame.type) {
      case "message":
      case "chat":
        return this.event(frame);
      case "hidden":
        return this.hidden(chat, Array.isArray(frame.seqs) ? frame.seqs.map(seqOf) : []);
      case "settings":
        return this.muted(chat, str(frame.muted_until));
      case "read":
        return this.readBy(chat, str(frame.user), seqOf(frame.seq));
      case "typing":
        return this.typed(chat, frame);
      case "presence": {
        const presence = parsePresence(frame);
        if (presence) this.people.present(presence);
        return;
      }
      case "resync":
        if (chat) void this.catchUp.now(chat);
        else for (const entry of this.chats.list()) if (entry.log.hole) void this.catchUp.now(entry.id);
        void this.listing.refresh();
        return;
      default:
        // Types of later servers: those of the chat's sequence carry n, as all of its events do.
        if (typeof frame.n === "number") this.event(frame);
    }
  }

  private typed(chat: string, frame: Json): void {
    const user = str(frame.user);
    if (frame.stopped === true) return this.typing.done(chat, user);
    const ms = seqOf(frame.expires_in_ms) || undefined;
    if (user !== this.me.id && this.chats.get(chat)) this.typing.seen(chat, user, ms);
    this.people.want([user]);
  }

  private hidden(chat: string, seqs: readonly number[]): void {
    const entry = this.chats.get(chat);
    if (!entry) return;
    if (this.chats.hide(entry, seqs)) void this.listing.refresh();
    this.emit("log", chat);
    this.emit("chats", undefined);
  }

  private event(frame: Json): void {
    const event = parseEvent(frame);
    if (!event) return;
    const entry = this.chats.get(event.chat);
    if (!entry) return this.newcomers.event(event);
    const applied = entry.log.apply(event);
    this.joined(entry, applied.events);
    if (applied.hole) this.catchUp.later(event.chat);
  }

  /** joined follows up on events that have just become part of a chat's log. */
  private joined(entry: Entry, events: readonly LogEvent[]): void {
    for (const event of events) {
      if (this.chats.isOut(event)) return this.drop(entry.id);
      this.chats.happened(entry, event);
      this.outgoing.settle(event);
      this.people.happened(event);
      if (event.type === "message") this.typing.done(entry.id, event.sender);
    }
    if (events.length === 0) return;
    this.people.want(events.flatMap(peopleOf));
    this.refold.soon(entry);
    if (entry.log.open) void this.readPins(entry);
    this.emit("log", entry.id);
    this.emit("chats", undefined);
  }

  private readBy(chat: string, user: string, seq: number): void {
    const entry = this.chats.get(chat);
    if (!entry || seq === 0) return;
    if (user === this.me.id) {
      entry.unread.read(seq);
      if (!entry.unread.exact) void this.listing.refresh();
      this.emit("chats", undefined);
    } else {
      this.chats.hasRead(entry, user, seq);
      if (user === entry.peer) this.peerReads.note(chat, seq);
      this.emit("log", chat);
    }
  }

  private muted(chat: string, until: string): void {
    const entry = this.chats.get(chat);
    if (entry) entry.mutedUntil = until;
    this.listing.renew();
    this.emit("chats", undefined);
  }

  private async readPins(entry: Entry): Promise<void> {
    const pins = await entry.pins.load(() => this.api.pins(entry.id));
    this.people.want(pins.flatMap((pin) => [pin.by, pin.message.sender]));
    if (pins.length > 0) this.emit("log", entry.id);
  }

  private told(chat: string): void {
    if (this.chats.get(chat)?.unread.exact === false) void this.listing.refresh();
  }

  /** jumped: counts must come from the server; the log goes on where it is. */
  private jumped(entry: Entry): void {
    entry.pins.forget();
    if (entry.log.open) void this.readPins(entry);
    this.refold.soon(entry);
    this.emit("log", entry.id);
    void this.listing.refresh();
  }

  private admit(chat: Chat, events: readonly LogEvent[]): void {
    const entry = this.chats.put(chat);
    this.follow(entry);
    if (chat.unread === undefined) void this.listing.refresh();
    if (events[0]) this.chats.place(entry, events[0].seq - 1);
    for (const event of events) {
      const applied = entry.log.apply(event);
      this.joined(entry, applied.events);
      if (applied.hole) this.catchUp.later(chat.id);
    }
    this.chats.sortLike([chat.id]);
    this.emit("chats", undefined);
  }

  /** follow wants the names that the list shows, and the presence of the other one in a direct chat. */
  private follow(entry: Entry): void {
    const ids = [entry.peer, entry.lastMessage?.sender ?? "", ...(entry.members ?? []).map((m) => m.user_id)];
    this.people.want(ids);
    if (entry.peer) this.chats.hasRead(entry, entry.peer, this.peerReads.of(entry.id));
    if (entry.kind === "direct" && entry.peer) this.people.watch([entry.peer]);
    else if (entry.kind === "direct" && !entry.members) void this.loadMembers(entry.id).catch(() => {});
  }

  private drop(chat: string): void {
    for (const item of this.outbox.of(chat)) this.outbox.remove(item.client_id);
    if (!this.chats.remove(chat)) return;
    this.emit("gone", chat);
    this.emit("chats", undefined);
  }

  private known(chat: string): Entry {
    const entry = this.chats.get(chat);
    if (!entry) throw new ChatError("not_found", "no such chat");
    return entry;
  }

  private end(): void {
    this.stop();
    this.emit("ended", undefined);
  }
}
