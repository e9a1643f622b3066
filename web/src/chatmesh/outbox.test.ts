import { describe, expect, test } from "vitest";
import { MAX_UNSENT, MAX_UNSENT_CHARS, Outbox } from "./outbox";
import { MemoryStorage } from "./storage";

describe("the outbox", () => {
  test("what was not acked is there after a reload, with the same client_id and in order", () => {
    const store = new MemoryStorage();
    const before = new Outbox(store, "u1");
    const ids = ["a", "b", "c"].map((text) => before.add("c1", text).client_id);
    before.acked(ids[1] ?? "");
    const after = new Outbox(store, "u1");
    expect(after.of("c1").map((item) => item.client_id)).toEqual([ids[0], ids[2]]);
    expect(after.of("c1").map((item) => item.text)).toEqual(["a", "c"]);
  });

  test("what is passed on is kept by its place, not by its text", () => {
    const store = new MemoryStorage();
    const item = new Outbox(store, "u1").pass("c1", { chat: "c2", seq: 7 });
    expect(new Outbox(store, "u1").of("c1")).toEqual([item]);
    expect(item).toMatchObject({ text: "", forward: { chat: "c2", seq: 7 } });
  });

  test("users do not see each other's", () => {
    const store = new MemoryStorage();
    new Outbox(store, "u1").add("c1", "mine");
    expect(new Outbox(store, "u2").of("c1")).toEqual([]);
    expect(new Outbox(store, "u").of("c1")).toEqual([]);
  });

  test("two tabs do not overwrite each other", () => {
    const store = new MemoryStorage();
    const [one, two] = [new Outbox(store, "u1"), new Outbox(store, "u1")];
    one.add("c1", "from one");
    const second = two.add("c1", "from two");
    two.remove(second.client_id);
    expect(new Outbox(store, "u1").of("c1").map((item) => item.text)).toEqual(["from one"]);
  });

  test("an acked item stays until its event has come, but not in the browser", () => {
    const store = new MemoryStorage();
    const outbox = new Outbox(store, "u1");
    const item = outbox.add("c1", "a");
    outbox.acked(item.client_id);
    expect(outbox.get(item.client_id)?.state).toBe("acked");
    expect([outbox.unsent, store.length]).toEqual([0, 0]);
    expect(outbox.remove(item.client_id)).toBe(true);
    expect(outbox.remove(item.client_id)).toBe(false);
  });

  test("a failed item lets the next one go and can be tried again", () => {
    const outbox = new Outbox(new MemoryStorage(), "u1");
    const [first, second] = [outbox.add("c1", "a"), outbox.add("c1", "b")];
    outbox.fail(first.client_id, "forbidden");
    expect(outbox.next("c1")?.client_id).toBe(second.client_id);
    outbox.retry(first.client_id);
    expect(outbox.next("c1")).toMatchObject({ client_id: first.client_id, state: "sending", code: "" });
  });

  test("it is bounded in number and in size", () => {
    const many = new Outbox(new MemoryStorage(), "u1");
    for (let i = 0; i < MAX_UNSENT; i++) many.add("c1", "x");
    expect(() => many.add("c1", "x")).toThrow("too many messages");
    const large = new Outbox(new MemoryStorage(), "u1");
    large.add("c1", "x".repeat(MAX_UNSENT_CHARS));
    expect(() => large.add("c1", "x")).toThrow("too many messages");
  });

  test("a storage that refuses costs durability, not the message", () => {
    const store = new MemoryStorage();
    store.setItem = () => {
      throw new Error("full");
    };
    expect(new Outbox(store, "u1").add("c1", "a").state).toBe("sending");
  });

  test("what cannot be read is thrown away", () => {
    const store = new MemoryStorage();
    store.setItem("chatmesh.outbox.u1.x", "{]");
    store.setItem("chatmesh.outbox.u1.y", '{"chat":"c1"}');
    expect(new Outbox(store, "u1").unsent).toBe(0);
    expect(store.length).toBe(0);
  });

  test("clearing leaves nothing in the browser", () => {
    const store = new MemoryStorage();
    const outbox = new Outbox(store, "u1");
    outbox.add("c1", "a");
    outbox.clear();
    expect([outbox.unsent, store.length]).toEqual([0, 0]);
  });
});
