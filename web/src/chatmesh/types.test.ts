import { describe, expect, test } from "vitest";
import { parseChat, parseEvent, parsePage, parsePresence } from "./types";

describe("the border to the server", () => {
  test("a message is read, and later fields are ignored", () => {
    const raw = {
      type: "message",
      chat: "c1",
      seq: 3,
      n: 2,
      sender: "u1",
      client_id: "x",
      text: "hi",
      sent_at: "t",
      z: 1,
    };
    expect(parseEvent(raw)).toEqual({
      type: "message",
      chat: "c1",
      seq: 3,
      sender: "u1",
      client_id: "x",
      text: "hi",
      sent_at: "t",
    });
  });

  test("a message without a text is a deleted one", () => {
    expect(parseEvent({ type: "message", chat: "c1", seq: 3, sender: "u1" })).toMatchObject({
      deleted: true,
      text: "",
    });
  });

  test("events of unknown types keep their place", () => {
    expect(parseEvent({ type: "reaction", chat: "c1", seq: 4 })).toEqual({
      type: "opaque",
      chat: "c1",
      seq: 4,
    });
  });

  test.each([
    null,
    7,
    "x",
    [],
    {},
    { type: "message", chat: "c1" },
    { type: "message", chat: "c1", seq: 1.5 },
  ])("%j is no event", (raw) => expect(parseEvent(raw)).toBeNull());

  test("a created event brings kind, title and members", () => {
    const members = [{ user_id: "u1", role: "owner" }, { user_id: "u2" }, { nobody: 1 }];
    const raw = {
      type: "chat",
      chat: "c1",
      seq: 1,
      change: "created",
      by: "u1",
      at: "t",
      kind: "group",
      title: "T",
      members,
    };
    expect(parseEvent(raw)).toMatchObject({
      kind: "group",
      title: "T",
      members: [
        { user_id: "u1", role: "owner" },
        { user_id: "u2", role: "member" },
      ],
    });
  });

  test("a page is sorted and says what it covers", () => {
    const event = (seq: number) => ({ type: "message", chat: "c1", seq, sender: "u1", text: "x" });
    const page = parsePage({ messages: [event(7), event(5)], has_more: true, from_seq: 4, to_seq: 9 });
    expect([page.from, page.to, page.hasMore, page.events.map((item) => item.seq)]).toEqual([
      4,
      9,
      true,
      [5, 7],
    ]);
  });

  test("a page that does not say what it covers covers its events", () => {
    const page = parsePage({ messages: [{ type: "message", chat: "c1", seq: 5, text: "x" }] });
    expect([page.from, page.to, page.hasMore]).toEqual([5, 5, false]);
    expect(parsePage(null)).toEqual({ events: [], from: 0, to: 0, hasMore: false });
  });

  test("a chat that the server did not count says nothing of unread", () => {
    expect(parseChat({ id: "c1", kind: "group", title: "T", last_seq: 0, unread: 0 })).toEqual({
      id: "c1",
      kind: "group",
      title: "T",
    });
  });

  test("the last message of a chat needs no chat of its own", () => {
    const chat = parseChat({ id: "c1", last_seq: 2, last_message: { type: "message", seq: 2, text: "x" } });
    expect(chat?.last_message).toMatchObject({ chat: "c1", seq: 2 });
    expect(parseChat({ id: "c1", last_message: null })?.last_message).toBeUndefined();
  });

  test("presence names its user in either form", () => {
    expect(parsePresence({ type: "presence", user: "u1", online: true })).toEqual({
      user_id: "u1",
      online: true,
    });
    expect(parsePresence({ user_id: "u1", online: false, last_seen: "t" })).toMatchObject({ last_seen: "t" });
    expect(parsePresence({ online: true })).toBeNull();
  });
});
