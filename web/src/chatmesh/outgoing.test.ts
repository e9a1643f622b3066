import { beforeEach, describe, expect, test, vi } from "vitest";
import { message, settle } from "../testing/fakes";
import { chat, me, stage } from "../testing/stage";
import { MemoryStorage } from "./storage";

const kept = (store: MemoryStorage) =>
  Array.from({ length: store.length }, (_, at) => store.getItem(store.key(at) ?? "")).join();

describe("what is passed on", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  test("goes out without its text, of which the browser keeps no copy, also after a reload", async () => {
    const store = new MemoryStorage();
    const before = await stage([chat("c1"), chat("c2")], store);
    before.server.history = [message(5, { text: "a secret" })];
    await before.client.open("c1");
    before.client.outgoing.pass("c2", { chat: "c1", seq: 5 });
    const frame = before.wires.last.of("send")[0];
    expect(frame).toMatchObject({ chat: "c2", forward: { chat: "c1", seq: 5 } });
    expect(frame).not.toHaveProperty("text");
    expect(kept(store)).not.toContain("a secret");
    before.client.stop();
    const after = await stage([chat("c1"), chat("c2")], store);
    const again = after.wires.last.of("send")[0];
    expect(again).toMatchObject({ client_id: frame?.client_id, forward: { chat: "c1", seq: 5 } });
  });

  test("stays on its way until the message itself has come, whose text the server knows", async () => {
    const { wires, client, entry, store } = await stage([chat("c1"), chat("c2")]);
    await client.open("c2");
    client.outgoing.pass("c2", { chat: "c1", seq: 5 });
    const client_id = String(wires.last.of("send")[0]?.client_id);
    wires.last.answer("send", { type: "ack", chat: "c2", client_id, seq: 6, sent_at: "t" });
    await settle();
    expect(entry("c2").log.tail).toBe(5);
    expect(client.outbox.of("c2").map((item) => item.state)).toEqual(["acked"]);
    expect(kept(store)).not.toContain(client_id);
    const passed = message(6, { chat: "c2", sender: me.id, client_id, text: "as it stands now" });
    wires.last.receive({ ...passed, forwarded: { sender: "u2", sent_at: "t" } });
    expect(entry("c2").log.events.at(-1)).toMatchObject({ text: "as it stands now", forwarded: true });
    expect(client.outbox.of("c2")).toEqual([]);
  });

  test("is synced where its event does not come by itself", async () => {
    const { wires, client } = await stage([chat("c1"), chat("c2")]);
    client.outgoing.pass("c2", { chat: "c1", seq: 5 });
    wires.last.answer("send", { type: "ack", chat: "c2", seq: 6 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(wires.last.of("sync")[0]).toMatchObject({ chat: "c2", after: 5 });
  });

  test("fails with what the server says, and can be tried again or discarded", async () => {
    const { wires, client } = await stage([chat("c1"), chat("c2")]);
    client.outgoing.pass("c2", { chat: "c1", seq: 5 });
    wires.last.answer("send", { type: "error", code: "forbidden", message: "blocked" });
    await settle();
    const [item] = client.outbox.of("c2");
    expect(item).toMatchObject({ state: "failed", code: "forbidden" });
    client.outgoing.retry(item?.client_id ?? "");
    expect(wires.last.of("send")).toHaveLength(2);
    client.outgoing.discard(item?.client_id ?? "");
    expect(client.outbox.of("c2")).toEqual([]);
  });
});
