// A client on a stage: its server is a few lists that a test changes as it likes.

import type { Api } from "../chatmesh/api";
import { ChatClient } from "../chatmesh/client";
import { ChatError } from "../chatmesh/errors";
import type { Pin } from "../chatmesh/pins";
import { MemoryStorage } from "../chatmesh/storage";
import type { Tokens } from "../chatmesh/tokens";
import type { Chat, LogEvent, Page, User } from "../chatmesh/types";
import { settle, Wires } from "./fakes";

export const me: User = { id: "u1", username: "anna", display_name: "Anna" };

export function chat(id: string, rest: Partial<Chat> = {}): Chat {
  return { id, kind: "group", title: id, last_seq: 5, read_seq: 5, unread: 0, members_count: 2, ...rest };
}

function page(events: readonly LogEvent[], hasMore = false): Page {
  return { events, from: events[0]?.seq ?? 0, to: events.at(-1)?.seq ?? 0, hasMore };
}

/** stage is a client whose server is a few lists that a test changes as it likes. */
export async function stage(list: Chat[], store = new MemoryStorage()) {
  const server = { list, history: [] as LogEvent[], pins: [] as Pin[], lists: 0, fetched: [] as string[] };
  const find = (id: string) => server.list.find((item) => item.id === id);
  const api = {
    chats: async () => {
      server.lists++;
      return { chats: server.list, next: "" };
    },
    chat: async (id: string) => {
      server.fetched.push(id);
      const found = find(id);
      if (!found) throw new ChatError("not_found", "no such chat");
      return { ...found, members: [{ user_id: me.id, role: "owner" }] };
    },
    history: async (_id: string, limit: number, before = Number.POSITIVE_INFINITY) => {
      const all = server.history.filter((event) => event.seq < before);
      return page(all.slice(-limit), all.length > limit);
    },
    pins: async () => server.pins,
    mute: async () => {},
    usersById: async () => [],
  };
  const wires = new Wires();
  const tokens = { access: async () => "t1", renew: async () => "t2" };
  const client = new ChatClient({
    api: api as unknown as Api,
    tokens: tokens as unknown as Tokens,
    me,
    store,
    open: wires.open,
    random: () => 0,
  });
  client.start();
  await settle();
  wires.last.welcome();
  await settle();
  const entry = (id: string) => {
    const found = client.chats.get(id);
    if (!found) throw new Error(`no chat ${id}`);
    return found;
  };
  return { server, wires, client, entry, store };
}
