import { beforeEach, describe, expect, test, vi } from "vitest";
import { settle } from "../testing/fakes";
import { Delivery, PATIENCE_MS } from "./delivery";
import { ChatError } from "./errors";
import { Outbox } from "./outbox";
import { MemoryStorage } from "./storage";
import type { Json } from "./types";

interface Attempt {
  readonly frame: Json;
  readonly resolve: (frame: Json) => void;
  readonly reject: (error: Error) => void;
}

function stage() {
  const outbox = new Outbox(new MemoryStorage(), "u1");
  const attempts: Attempt[] = [];
  const acked: number[] = [];
  const state = { online: true };
  const delivery = new Delivery({
    outbox,
    request: (frame) => new Promise((resolve, reject) => attempts.push({ frame, resolve, reject })),
    online: () => state.online,
    acked: (item, seq) => {
      outbox.remove(item.client_id);
      acked.push(seq);
    },
    changed: () => {},
    random: () => 0,
  });
  const say = (text: string, chat = "c1") => {
    const item = outbox.add(chat, text);
    delivery.kick(chat);
    return item;
  };
  const texts = () => attempts.map((attempt) => attempt.frame.text);
  const last = () => attempts.at(-1) as Attempt;
  return { outbox, attempts, acked, state, delivery, say, texts, last };
}

describe("delivery", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  test("messages of a chat go one after the other, chats at the same time", async () => {
    const { say, texts, attempts, acked } = stage();
    say("a");
    say("b");
    say("other", "c2");
    expect(texts()).toEqual(["a", "other"]);
    attempts[1]?.resolve({ seq: 7 });
    await settle();
    expect(texts()).toEqual(["a", "other"]);
    attempts[0]?.resolve({ seq: 3 });
    await settle();
    expect(texts()).toEqual(["a", "other", "b"]);
    expect(acked).toEqual([7, 3]);
  });

  test("a lost connection sends again with the same client_id", async () => {
    const { say, state, attempts, delivery } = stage();
    const item = say("a");
    state.online = false;
    attempts[0]?.reject(new ChatError("network", "lost"));
    await settle();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(attempts.length).toBe(1);
    state.online = true;
    delivery.kickAll();
    expect(attempts.map((attempt) => attempt.frame.client_id)).toEqual([item.client_id, item.client_id]);
  });

  test("rate_limited waits as long as it is told, and the order stays", async () => {
    const { say, texts, last } = stage();
    say("a");
    say("b");
    last().reject(new ChatError("rate_limited", "slow down", 1_500));
    await settle();
    await vi.advanceTimersByTimeAsync(1_499);
    expect(texts()).toEqual(["a"]);
    await vi.advanceTimersByTimeAsync(1);
    expect(texts()).toEqual(["a", "a"]);
    last().resolve({ seq: 1 });
    await settle();
    expect(texts()).toEqual(["a", "a", "b"]);
  });

  test("what can never succeed fails at once and lets the next one go", async () => {
    const { say, texts, last, outbox } = stage();
    const item = say("a");
    say("b");
    last().reject(new ChatError("forbidden", "no"));
    await settle();
    expect(outbox.get(item.client_id)).toMatchObject({ state: "failed", code: "forbidden" });
    expect(texts()).toEqual(["a", "b"]);
  });

  test("a fault that lasts is given back to the person after some patience", async () => {
    const { say, outbox, attempts } = stage();
    const item = say("a");
    for (let i = 0; i < 50 && outbox.get(item.client_id)?.state === "sending"; i++) {
      attempts.at(-1)?.reject(new ChatError("unavailable", "busy", 5_000));
      await vi.advanceTimersByTimeAsync(5_000);
    }
    expect(outbox.get(item.client_id)).toMatchObject({ state: "failed", code: "unavailable" });
    expect(Date.now() - item.at).toBeGreaterThan(PATIENCE_MS);
  });

  test("a discarded message is not sent again", async () => {
    const { say, outbox, last, texts } = stage();
    const item = say("a");
    outbox.remove(item.client_id);
    last().reject(new ChatError("unavailable", "busy"));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(texts()).toEqual(["a"]);
  });

  test("the frame that the server closed for is not sent again by itself", async () => {
    const { say, outbox, last, delivery, state } = stage();
    const item = say("a");
    state.online = false;
    delivery.blame();
    last().reject(new ChatError("network", "lost"));
    await settle();
    expect(outbox.get(item.client_id)).toMatchObject({ state: "failed", code: "too_large" });
  });

  test("an ack without a seq is no ack", async () => {
    const { say, last, acked, attempts } = stage();
    say("a");
    last().resolve({});
    await vi.advanceTimersByTimeAsync(1_000);
    expect(acked).toEqual([]);
    expect(attempts.length).toBe(2);
  });
});
