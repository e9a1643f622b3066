// Who the ids are: names, fetched in batches and remembered, and who is online.

import { Emitter } from "./emitter";
import { type KeyValue, load, save } from "./storage";
import { type LogEvent, type Presence, parseUser, type User } from "./types";

const BATCH = 100;
const BATCH_AFTER_MS = 30;
const MAX_REMEMBERED = 1_000;
/** AGAIN_AFTER_MS is when a name that could not be had is asked for again. */
const AGAIN_AFTER_MS = 60_000;

interface Events {
  names: undefined;
  presence: undefined;
}

export interface PeopleOptions {
  readonly store: KeyValue;
  readonly me: User;
  readonly lookUp: (ids: readonly string[]) => Promise<readonly User[]>;
  /** watch asks the server for these users' presence, now and on each change. */
  readonly watch: (users: readonly string[]) => void;
}

export class People extends Emitter<Events> {
  readonly names = new Map<string, User>();
  readonly online = new Map<string, Presence>();

  private readonly key: string;
  private readonly asked = new Map<string, number>();
  private readonly wanted = new Set<string>();
  private readonly watched = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: PeopleOptions) {
    super();
    this.key = `chatmesh.people.${options.me.id}`;
    const remembered = load(options.store, this.key);
    for (const raw of Array.isArray(remembered) ? remembered : []) {
      const user = parseUser(raw);
      if (user) this.names.set(user.id, user);
    }
    this.names.set(options.me.id, options.me);
    this.asked.set(options.me.id, Number.POSITIVE_INFINITY);
  }

  /** know takes a user that came along with another answer. */
  know(user: User): void {
    this.asked.set(user.id, Number.POSITIVE_INFINITY);
    this.learn([user]);
  }

  /** want asks for names that are not known for sure yet; remembered ones are shown meanwhile. */
  want(ids: Iterable<string>): void {
    const now = Date.now();
    for (const id of ids) {
      if (id !== "" && (this.asked.get(id) ?? 0) <= now) this.wanted.add(id);
    }
    if (this.wanted.size > 0) this.timer ??= setTimeout(() => void this.fetch(), BATCH_AFTER_MS);
  }

  /** watch adds users to those whose presence is followed; the own is not. */
  watch(users: Iterable<string>): void {
    const fresh = [...users].filter((user) => user !== this.options.me.id && !this.watched.has(user));
    for (const user of fresh) this.watched.add(user);
    if (fresh.length > 0) this.ask(fresh);
  }

  /** reconnected asks again for everything: a connection knows only its own watches. */
  reconnected(): void {
    this.ask([...this.watched]);
  }

  disconnected(): void {
    this.online.clear();
    this.emit("presence", undefined);
  }

  present(presence: Presence): void {
    this.online.set(presence.user_id, presence);
    this.emit("presence", undefined);
  }

  /** happened: whom somebody has blocked does not see their presence, and has to ask for it when that is over. */
  happened(event: LogEvent): void {
    if (event.type !== "chat" || !this.watched.has(event.by)) return;
    if (event.change === "unblocked") this.ask([event.by]);
    else if (event.change === "blocked" && this.online.delete(event.by)) this.emit("presence", undefined);
  }

  /** forget removes what the browser remembers of other people. */
  forget(): void {
    clearTimeout(this.timer);
    this.options.store.removeItem(this.key);
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private ask(users: readonly string[]): void {
    for (let i = 0; i < users.length; i += BATCH) this.options.watch(users.slice(i, i + BATCH));
  }

  private async fetch(): Promise<void> {
    const ids = [...this.wanted].slice(0, BATCH);
    for (const id of ids) {
      this.wanted.delete(id);
      this.asked.set(id, Date.now() + AGAIN_AFTER_MS);
    }
    this.timer = this.wanted.size > 0 ? setTimeout(() => void this.fetch(), BATCH_AFTER_MS) : undefined;
    try {
      const users = await this.options.lookUp(ids);
      for (const user of users) this.asked.set(user.id, Number.POSITIVE_INFINITY);
      this.learn(users);
    } catch {
      // Offline or refused: whoever shows the id wants it again, and then the wait has passed.
    }
  }

  private learn(users: readonly User[]): void {
    let news = false;
    for (const user of users) {
      const old = this.names.get(user.id);
      news ||= old?.username !== user.username || old.display_name !== user.display_name;
      this.names.set(user.id, user);
    }
    if (!news) return;
    save(this.options.store, this.key, [...this.names.values()].slice(-MAX_REMEMBERED));
    this.emit("names", undefined);
  }
}
