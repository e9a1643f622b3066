import { beforeEach, describe, expect, test, vi } from "vitest";
import { change, deletion, edit, message, seqs, settle } from "../testing/fakes";
import { chat, me, stage } from "../testing/stage";
import { MemoryStorage } from "./storage";

describe("the client", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  test("hello carries the cursor of every chat in the list", async () => {
    const { wires } = await stage([chat("c1"), chat("c2", { last_seq: 9 })]);
    expect(wires.last.of("hello")[0]?.cursors).toEqual({ c1: 5, c2: 9 });
  });

  test("live messages move preview, unread and order", async () => {
    const { wires, client, entry } = await stage([chat("c1"), chat("c2")]);
    wires.last.receive({ ...message(6, { chat: "c2" }) });
    expect(entry("c2").unread.count).toBe(1);
    expect(entry("c2").lastMessage?.text).toBe("text 6");
    expect(client.chats.list().map((item) => item.id)).toEqual(["c2", "c1"]);
  });

  test("a hole is synced from the cursor, and nothing is counted twice", async () => {
    const { wires, entry } = await stage([chat("c1")]);
    wires.last.receive({ ...message(8) });
    expect(entry("c1").unread.count).toBe(0);
    await vi.advanceTimersByTimeAsync(300);
    expect(wires.last.of("sync")[0]).toMatchObject({ chat: "c1", after: 5 });
    wires.last.answer("sync", { type: "page", chat: "c1", messages: [message(6), message(7), message(8)] });
    await settle();
    expect([entry("c1").log.tail, entry("c1").unread.count]).toEqual([8, 3]);
  });

  test("events that only swapped places need no sync", async () => {
    const { wires, entry } = await stage([chat("c1")]);
    wires.last.receive({ ...message(7) });
    wires.last.receive({ ...message(6) });
    await vi.advanceTimersByTimeAsync(1_000);
    expect([entry("c1").log.tail, wires.last.of("sync").length]).toEqual([7, 0]);
  });

  test("a head of the list above the own cursor is synced", async () => {
    const { wires, client, server } = await stage([chat("c1")]);
    server.list = [chat("c1", { last_seq: 7, unread: 2 })];
    wires.last.receive({ type: "resync" });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(wires.last.of("sync")[0]).toMatchObject({ chat: "c1", after: 5 });
    wires.last.answer("sync", { type: "page", chat: "c1", messages: [message(6), message(7)] });
    await settle();
    expect(client.chats.get("c1")?.unread.count).toBe(2);
  });

  test("a chat that fell far behind begins anew at the newest page", async () => {
    const { wires, client, server, entry } = await stage([chat("c1")]);
    server.history = Array.from({ length: 1_000 }, (_, at) => message(at + 1));
    server.list = [chat("c1", { last_seq: 1_000, unread: 995 })];
    await client.open("c1");
    expect(entry("c1").log.tail).toBe(1_000);
    wires.last.receive({ type: "resync", chat: "c1" });
    server.history.push(...Array.from({ length: 1_000 }, (_, at) => message(at + 1_001)));
    for (let from = 1_001; from < 1_600; from += 200) {
      const messages = Array.from({ length: 200 }, (_, at) => message(from + at));
      wires.last.answer("sync", { type: "page", chat: "c1", messages, has_more: true });
      await settle();
    }
    expect(entry("c1").log.tail).toBe(2_000);
    expect([entry("c1").log.head, entry("c1").log.hole]).toEqual([1_951, false]);
  });

  test("a chat that sync does not find any more is gone", async () => {
    const { wires, client } = await stage([chat("c1")]);
    wires.last.receive({ type: "resync", chat: "c1" });
    wires.last.answer("sync", { type: "error", code: "not_found", message: "" });
    await settle();
    expect(client.chats.get("c1")).toBeUndefined();
  });

  test("an unknown chat is fetched, and the events that came meanwhile are applied", async () => {
    const { wires, server, entry } = await stage([]);
    server.list = [chat("c1", { last_seq: 1, read_seq: 0 })];
    wires.last.receive({ ...change(1, { change: "created", members: [] }) });
    wires.last.receive({ ...message(2) });
    await settle();
    expect(server.fetched).toEqual(["c1"]);
    expect([entry("c1").log.tail, entry("c1").unread.count]).toEqual([2, 1]);
  });

  test("whoever is removed loses the chat, and whoever is added again gets it back", async () => {
    const { wires, client, server } = await stage([chat("c1")]);
    const gone: string[] = [];
    client.on("gone", (id) => gone.push(id));
    wires.last.receive({ ...change(6, { change: "member_removed", user: me.id }) });
    expect([client.chats.list().length, gone]).toEqual([0, ["c1"]]);
    server.list = [chat("c1", { last_seq: 9 })];
    wires.last.receive({ ...change(9, { change: "member_added", user: me.id }) });
    await settle();
    expect(client.chats.get("c1")?.log.tail).toBe(9);
  });

  test("a send is shown at once, acked into the log, and not doubled by its event", async () => {
    const { wires, client, entry } = await stage([chat("c1")]);
    await client.open("c1");
    client.outgoing.send("c1", "hello");
    const frame = wires.last.of("send")[0];
    expect(frame).toMatchObject({ chat: "c1", text: "hello" });
    expect(client.outbox.of("c1").length).toBe(1);
    wires.last.answer("send", { type: "ack", chat: "c1", client_id: frame?.client_id, seq: 6, sent_at: "t" });
    await settle();
    wires.last.receive({
      ...message(6, { sender: me.id, client_id: String(frame?.client_id), text: "hello" }),
    });
    expect(seqs(entry("c1").log.events)).toEqual([6]);
    expect(client.outbox.of("c1")).toEqual([]);
  });

  test("an ack ahead of others' events shows what is missing", async () => {
    const { wires, client, entry } = await stage([chat("c1")]);
    client.outgoing.send("c1", "hello");
    const id = wires.last.of("send")[0]?.client_id;
    wires.last.answer("send", { type: "ack", chat: "c1", client_id: id, seq: 7 });
    await settle();
    expect(client.outbox.of("c1").map((item) => item.state)).toEqual(["acked"]);
    await vi.advanceTimersByTimeAsync(300);
    const own = message(7, { sender: me.id, client_id: String(id), text: "hello" });
    wires.last.answer("sync", { type: "page", chat: "c1", messages: [message(6), own] });
    await settle();
    expect(entry("c1").log.tail).toBe(7);
    expect(client.outbox.of("c1")).toEqual([]);
  });

  test("after a reload an unacked text is sent again, and a duplicate ack ends it", async () => {
    const store = new MemoryStorage();
    const before = await stage([chat("c1")], store);
    before.client.outgoing.send("c1", "hello");
    const id = before.wires.last.of("send")[0]?.client_id;
    before.client.stop();
    const after = await stage([chat("c1", { last_seq: 6, read_seq: 6 })], store);
    expect(after.wires.last.of("send")[0]).toMatchObject({ client_id: id, text: "hello" });
    after.wires.last.answer("send", { type: "ack", chat: "c1", client_id: id, seq: 6, duplicate: true });
    await settle();
    expect([after.client.outbox.of("c1"), after.client.outbox.unsent]).toEqual([[], 0]);
  });

  test("reading tells the server the newest cursor, also after a reconnect", async () => {
    const { wires, client, entry } = await stage([chat("c1", { last_seq: 8, unread: 3 })]);
    client.read("c1", 6);
    client.read("c1", 99);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(wires.last.of("read").map((frame) => frame.seq)).toEqual([6]);
    wires.last.drop(1006);
    client.read("c1", 8);
    expect(entry("c1").unread.count).toBe(0);
    await vi.advanceTimersByTimeAsync(1_000);
    wires.last.welcome();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(wires.last.of("read").map((frame) => frame.seq)).toEqual([8]);
  });

  test("a cursor of another device clears unread here", async () => {
    const { wires, entry } = await stage([chat("c1", { last_seq: 8, unread: 3 })]);
    wires.last.receive({ type: "read", chat: "c1", user: me.id, seq: 8, n: 8 });
    expect(entry("c1").unread.count).toBe(0);
    expect(entry("c1").log.tail).toBe(8);
  });

  test("how far the other one has read survives a reload, and not a log-out", async () => {
    const store = new MemoryStorage();
    const direct = chat("c1", { kind: "direct", peer: "u2" });
    const before = await stage([direct], store);
    before.wires.last.receive({ type: "read", chat: "c1", user: "u2", seq: 4, n: 4 });
    before.client.stop();
    const after = await stage([direct], store);
    expect(after.entry("c1").reads.get("u2")).toBe(4);
    after.client.forget();
    expect(store.length).toBe(0);
  });

  test("typing ends by itself and with the message", async () => {
    const { wires, client } = await stage([chat("c1")]);
    wires.last.receive({ type: "typing", chat: "c1", user: "u2" });
    expect(client.typing.of("c1")).toEqual(["u2"]);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(client.typing.of("c1")).toEqual([]);
    wires.last.receive({ type: "typing", chat: "c1", user: "u2" });
    wires.last.receive({ ...message(6) });
    expect(client.typing.of("c1")).toEqual([]);
    wires.last.receive({ type: "typing", chat: "c1", user: "u2", expires_in_ms: 6_000 });
    expect(client.typing.of("c1")).toEqual(["u2"]);
    wires.last.receive({ type: "typing", chat: "c1", user: "u2", stopped: true });
    expect(client.typing.of("c1")).toEqual([]);
  });

  test("the others are told of typing every three seconds at most", async () => {
    const { wires, client } = await stage([chat("c1")]);
    for (let i = 0; i < 60; i++) {
      client.type("c1");
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(wires.last.of("typing").length).toBe(2);
  });

  test("peers of direct chats are watched, again after each reconnect", async () => {
    const { wires } = await stage([chat("c1", { kind: "direct", peer: "u2" })]);
    expect(wires.last.of("watch").at(-1)).toMatchObject({ users: ["u2"] });
    wires.last.drop(1006);
    await vi.advanceTimersByTimeAsync(1);
    wires.last.welcome();
    expect(wires.last.of("watch").at(-1)).toMatchObject({ users: ["u2"] });
  });

  test("changes of members and title are applied once, whatever the list knew already", async () => {
    const { wires, entry } = await stage([chat("c1", { last_seq: 6, members_count: 3 })]);
    wires.last.receive({ ...change(6, { change: "member_added", user: "u3" }) });
    expect(entry("c1").membersCount).toBe(3);
    wires.last.receive({ ...change(7, { change: "member_added", user: "u4" }) });
    wires.last.receive({ ...change(8, { change: "title", title: "New" }) });
    wires.last.receive({ ...change(9, { change: "member_removed", user: "u4" }) });
    expect([entry("c1").membersCount, entry("c1").title]).toEqual([3, "New"]);
  });

  test("an event of unknown type makes an open chat look again", async () => {
    const { wires, client, server, entry } = await stage([chat("c1")]);
    server.history = [message(5)];
    await client.open("c1");
    server.history = [message(5, { text: "edited", edited: true })];
    wires.last.receive({ type: "poll_closed", chat: "c1", seq: 6, n: 3, target: 5 });
    await vi.advanceTimersByTimeAsync(500);
    expect(entry("c1").log.tail).toBe(6);
    expect(entry("c1").log.events[0]).toMatchObject({ text: "edited" });
  });

  test("frames of unknown types that are no events change nothing", async () => {
    const { wires, entry } = await stage([chat("c1")]);
    wires.last.receive({ type: "delivered", chat: "c1", seq: 6, user: "u2" });
    expect(entry("c1").log.tail).toBe(5);
  });

  test("edits and deletions change the preview, count nothing and move no chat", async () => {
    const { wires, client, entry } = await stage([chat("c1"), chat("c2")]);
    wires.last.receive({ ...message(6) });
    wires.last.receive({ ...message(6, { chat: "c2" }) });
    wires.last.receive({ ...edit(7, 6, "other words"), n: 2 });
    expect(entry("c1").lastMessage?.text).toBe("other words");
    wires.last.receive({ ...deletion(8, 6), n: 2 });
    expect(entry("c1").lastMessage).toMatchObject({ text: "", deleted: true });
    expect([entry("c1").unread.count, entry("c1").log.tail]).toEqual([1, 8]);
    expect(client.chats.list().map((item) => item.id)).toEqual(["c2", "c1"]);
  });

  test("a list that is older than the deletion does not bring the text back", async () => {
    const { wires, client, server, entry } = await stage([chat("c1", { last_message: message(5) })]);
    wires.last.receive({ ...deletion(6, 5), n: 2 });
    server.list = [chat("c1", { last_message: message(5) })];
    wires.last.receive({ type: "resync" });
    await settle();
    expect(entry("c1").lastMessage?.deleted).toBe(true);
    expect(JSON.stringify([...client.chats.list()])).not.toContain("text 5");
  });

  test("the stub of an own message ends its copy in the outbox and in the browser", async () => {
    const { wires, client, store } = await stage([chat("c1")]);
    client.outgoing.send("c1", "a secret");
    const id = client.outbox.of("c1")[0]?.client_id ?? "";
    const stub = { type: "message", chat: "c1", seq: 6, sender: "u1", client_id: id, sent_at: "t" };
    wires.last.receive({ ...stub, deleted: { seq: 7, by: "u1", at: "t" } });
    expect(client.outbox.of("c1")).toEqual([]);
    const kept = Array.from({ length: store.length }, (_, at) => store.getItem(store.key(at) ?? ""));
    expect(kept.join()).not.toContain("a secret");
  });

  test("an answer goes out with the message that it answers, also after a reload", async () => {
    const { wires, client, store } = await stage([chat("c1")]);
    client.outgoing.send("c1", "yes", 4);
    expect(wires.last.of("send")[0]).toMatchObject({ text: "yes", reply_to: 4 });
    const again = await stage([chat("c1")], store);
    expect(again.wires.last.of("send")[0]).toMatchObject({ text: "yes", reply_to: 4 });
  });

  test("what is done with a message goes to the server, and a refusal is told", async () => {
    const { wires, client } = await stage([chat("c1")]);
    const edited = client.actions.edit("c1", 4, "better");
    wires.last.answer("edit", { type: "ack", chat: "c1", seq: 6 });
    await edited;
    const reacted = client.actions.react("c1", 4, "👍", false);
    expect(wires.last.of("react")[0]).toMatchObject({ seq: 4, emoji: "👍" });
    wires.last.answer("react", { type: "error", code: "conflict", message: "too many" });
    await expect(reacted).rejects.toMatchObject({ code: "conflict" });
    expect(wires.last.of("edit")[0]).toMatchObject({ seq: 4, text: "better" });
  });

  test("what is pinned is read when a chat is opened, and followed from then on", async () => {
    const { wires, client, server, entry } = await stage([chat("c1")]);
    server.history = [message(4), message(5)];
    server.pins = [{ seq: 2, by: "u2", at: "t", message: message(2) }];
    await client.open("c1");
    await settle();
    const pinned = () => entry("c1").pins.list?.map((pin) => pin.seq);
    expect(pinned()).toEqual([2]);
    wires.last.receive({ ...change(6, { change: "pinned", target: 4 }), n: 2 });
    expect(pinned()).toEqual([2, 4]);
    wires.last.receive({ ...change(7, { change: "unpinned", target: 2 }), n: 2 });
    expect(pinned()).toEqual([4]);
    wires.last.receive({ type: "hidden", chat: "c1", seqs: [4] });
    expect(pinned()).toEqual([]);
    server.pins = [{ seq: 1, by: "u2", at: "t", message: message(1) }];
    wires.last.receive({ ...change(8, { change: "pinned", target: 1 }), n: 2 });
    await settle();
    expect(pinned()).toEqual([1]);
  });

  test("a message far back is found page by page, one that is not there is not", async () => {
    const { client, server, entry } = await stage([chat("c1", { last_seq: 1_000 })]);
    server.history = Array.from({ length: 1_000 }, (_, at) => message(at + 1)).filter(
      ({ seq }) => seq !== 40,
    );
    await client.open("c1");
    expect(await client.loadBack("c1", 980)).toBe(true);
    expect(entry("c1").log.head).toBe(951);
    expect(await client.loadBack("c1", 500)).toBe(true);
    expect(entry("c1").log.head).toBe(351);
    expect(await client.loadBack("c1", 40)).toBe(false);
    expect(entry("c1").log.events).toHaveLength(entry("c1").log.head === 1 ? 999 : 800);
  });

  test("a message that is too far back is given up", async () => {
    const { client, server, entry } = await stage([chat("c1", { last_seq: 6_000 })]);
    server.history = Array.from({ length: 6_000 }, (_, at) => message(at + 1));
    await client.open("c1");
    expect(await client.loadBack("c1", 1)).toBe(false);
    expect(entry("c1").log.events).toHaveLength(50 + 25 * 200);
  });

  test("a chat is muted by the list, on another device, and here", async () => {
    const { wires, client, server, entry } = await stage([
      chat("c1", { muted_until: "2100-01-01T00:00:00Z" }),
    ]);
    expect(entry("c1").mutedUntil).toBe("2100-01-01T00:00:00Z");
    wires.last.receive({ type: "settings", chat: "c1", muted_until: null, archived: false });
    expect(entry("c1").mutedUntil).toBe("");
    await client.mute("c1", "2200-01-01T00:00:00Z");
    expect(entry("c1").mutedUntil).toBe("2200-01-01T00:00:00Z");
    server.list = [chat("c1")];
    wires.last.receive({ type: "resync" });
    await settle();
    expect(entry("c1").mutedUntil).toBe("2200-01-01T00:00:00Z");
  });

  test("a list that was read before a chat was muted is read once more", async () => {
    const { wires, server, entry } = await stage([chat("c1", { muted_until: "" })]);
    const lists = server.lists;
    wires.last.receive({ type: "resync" });
    wires.last.receive({ type: "settings", chat: "c1", muted_until: "2100-01-01T00:00:00Z" });
    server.list = [chat("c1", { muted_until: "2100-01-01T00:00:00Z" })];
    await settle();
    expect([entry("c1").mutedUntil, server.lists - lists]).toEqual(["2100-01-01T00:00:00Z", 2]);
  });

  test("who is blocked loses sight of the other, and asks again when that is over", async () => {
    const { wires, client } = await stage([chat("c1", { kind: "direct", peer: "u2" })]);
    wires.last.receive({ type: "presence", user: "u2", online: true });
    expect(client.people.online.get("u2")?.online).toBe(true);
    wires.last.receive({ ...change(6, { change: "blocked" }), n: 1 });
    expect(client.people.online.has("u2")).toBe(false);
    const watches = wires.last.of("watch").length;
    wires.last.receive({ ...change(7, { change: "unblocked" }), n: 1 });
    expect(wires.last.of("watch").slice(watches)).toMatchObject([{ users: ["u2"] }]);
  });

  test("what is hidden on another device goes, and the list asks what is last", async () => {
    const { wires, server, entry } = await stage([chat("c1", { last_message: message(5) })]);
    const lists = server.lists;
    wires.last.receive({ type: "hidden", chat: "c1", seqs: [5] });
    expect(entry("c1").lastMessage).toBeNull();
    await settle();
    expect(server.lists).toBe(lists + 1);
  });

  test("somebody who stops typing is heeded, and so is the time that the server gives", async () => {
    const { wires, client } = await stage([chat("c1")]);
    wires.last.receive({ type: "typing", chat: "c1", user: "u2", expires_in_ms: 6_000 });
    expect(client.typing.of("c1")).toEqual(["u2"]);
    wires.last.receive({ type: "typing", chat: "c1", user: "u2", stopped: true });
    expect(client.typing.of("c1")).toEqual([]);
    wires.last.receive({ type: "typing", chat: "c1", user: "u2", expires_in_ms: 1_000 });
    await vi.advanceTimersByTimeAsync(1_001);
    expect(client.typing.of("c1")).toEqual([]);
  });
});
