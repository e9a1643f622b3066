import { describe, expect, test } from "vitest";
import { parseChat, parseEvent, parseInvitation, parsePage, parsePresence } from "./types";

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

  test("what a group shows of itself comes with its changes", () => {
    const raw = { type: "chat", chat: "c1", seq: 2, by: "u1", at: "t" };
    expect(parseEvent({ ...raw, change: "picture", picture: "https://a.example/p" })).toMatchObject({
      picture: "https://a.example/p",
    });
    expect(parseEvent({ ...raw, change: "description", description: "about" })).toMatchObject({
      description: "about",
    });
    expect(parseEvent({ ...raw, change: "invite", invite: "" })).not.toHaveProperty("invite");
  });

  test("what is pinned is named, and a chat says until when it is muted", () => {
    const raw = { type: "chat", chat: "c1", seq: 9, by: "u1", at: "t", change: "pinned", target: 4 };
    expect(parseEvent(raw)).toMatchObject({ change: "pinned", target: 4 });
    const settings = { muted_until: "2100-01-01T00:00:00Z", archived: false };
    expect(parseChat({ id: "c1", settings })?.muted_until).toBe("2100-01-01T00:00:00Z");
    expect(parseChat({ id: "c1", settings: { muted_until: null } })?.muted_until).toBe("");
    expect(parseChat({ id: "c1" })).not.toHaveProperty("muted_until");
  });

  test("an invitation needs an id, and says whether one is in already", () => {
    const group = { id: "g1", title: "Tea", members_count: 3 };
    expect(parseInvitation({ ...group, picture: "https://a.example/p" })).toEqual({
      ...group,
      member: false,
    });
    expect(parseInvitation({ ...group, member: true })?.member).toBe(true);
    expect(parseInvitation({ title: "Tea" })).toBeNull();
  });

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

  test("a page of history says up to where its messages are folded", () => {
    const raw = {
      ...{
        type: "message",
        chat: "c1",
        seq: 5,
        n: 3,
        sender: "u1",
        client_id: "a",
        text: "now",
        sent_at: "t",
      },
      ...{ edits: 2, edited_at: "t", reply_to: 3, reply: { seq: 3, sender: "u2", deleted: true } },
      reactions: [{ emoji: "👍", count: 2, users: ["u1", "u2"] }, { emoji: "" }],
    };
    const page = parsePage({ messages: [raw], from_seq: 4, to_seq: 6, folded_to: 8 });
    expect(page.foldedTo).toBe(8);
    expect(page.events[0]).toEqual({
      ...{ type: "message", chat: "c1", seq: 5, sender: "u1", client_id: "a", text: "now", sent_at: "t" },
      ...{ edited: true, folded: 8, reply_to: 3 },
      reply: { seq: 3, sender: "u2", text: "", deleted: true },
      reactions: [{ emoji: "👍", count: 2, users: ["u1", "u2"] }],
    });
  });

  test("a mark without its message is an event that only counts", () => {
    expect(parseEvent({ type: "edit", chat: "c1", seq: 4, text: "x" })).toMatchObject({ type: "opaque" });
    expect(parseEvent({ type: "deletion", chat: "c1", seq: 4, target: 2, by: "u1" })).toMatchObject({
      type: "deletion",
      target: 2,
    });
  });

  test("somebody can be away", () => {
    expect(parsePresence({ user: "u1", online: true, state: "away" })).toMatchObject({ away: true });
  });
});
