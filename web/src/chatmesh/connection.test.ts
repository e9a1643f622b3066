import { beforeEach, describe, expect, test, vi } from "vitest";
import { settle, Wires } from "../testing/fakes";
import { Connection, PING_EVERY_MS, PONG_WITHIN_MS } from "./connection";
import { ChatError } from "./errors";

function stage(random = () => 1) {
  const wires = new Wires();
  const calls = { token: 0, renew: [] as string[], ended: 0 };
  const state = { token: "t1", renewed: "t2" };
  const connection = new Connection({
    open: wires.open,
    token: async () => {
      calls.token++;
      return state.token;
    },
    renew: async (refused) => {
      calls.renew.push(refused);
      if (state.renewed === "") throw new ChatError("invalid_token", "over");
      state.token = state.renewed;
      return state.token;
    },
    cursors: () => ({ c1: 41 }),
    random,
  });
  connection.on("ended", () => calls.ended++);
  const online = async () => {
    connection.start();
    await settle();
    wires.last.welcome();
  };
  return { wires, calls, state, connection, online };
}

describe("the connection", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  test("it says hello with token and cursors, and is online with the welcome", async () => {
    const { wires, connection } = stage();
    connection.start();
    await settle();
    expect(connection.state.phase).toBe("connecting");
    wires.last.onopen?.();
    expect(wires.last.sent).toEqual([{ type: "hello", token: "t1", cursors: { c1: 41 } }]);
    wires.last.receive({ type: "welcome" });
    expect(connection.state.phase).toBe("online");
  });

  test.each([1001, 1006, 1011, 3000, 3001, 3499])("close code %i reconnects after a wait", async (code) => {
    const { wires, connection, online } = stage();
    await online();
    wires.last.drop(code);
    expect(connection.state).toEqual({ phase: "waiting", retryAt: Date.now() + 500 });
    await vi.advanceTimersByTimeAsync(500);
    expect(wires.all.length).toBe(2);
  });

  test("waits grow to 30 s while no connection lasts, and start anew after one that did", async () => {
    const { wires, connection, online } = stage();
    await online();
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      wires.last.drop(1006);
      const wait = connection.state.phase === "waiting" ? connection.state.retryAt - Date.now() : -1;
      waits.push(wait);
      await vi.advanceTimersByTimeAsync(wait);
      wires.last.welcome();
    }
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    await vi.advanceTimersByTimeAsync(12_000);
    wires.last.drop(1006);
    expect(connection.state).toEqual({ phase: "waiting", retryAt: Date.now() + 500 });
  });

  test("3500 renews the token once and comes back with the new one", async () => {
    const { wires, calls, online } = stage();
    await online();
    wires.last.drop(3500);
    await settle();
    expect(calls.renew).toEqual(["t1"]);
    wires.last.onopen?.();
    expect(wires.last.sent[0]).toMatchObject({ type: "hello", token: "t2" });
  });

  test("3500 for the renewed token too ends the session", async () => {
    const { wires, calls, connection, online } = stage();
    await online();
    wires.last.drop(3500);
    await settle();
    wires.last.drop(3500);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([calls.renew.length, calls.ended, wires.all.length]).toEqual([1, 1, 2]);
    expect(connection.state.phase).toBe("stopped");
  });

  test("a token that cannot be renewed ends the session", async () => {
    const { wires, calls, state, online } = stage();
    await online();
    state.renewed = "";
    wires.last.drop(3500);
    await settle();
    expect(calls.ended).toBe(1);
  });

  test("3501 ends the session at once", async () => {
    const { wires, calls, online } = stage();
    await online();
    wires.last.drop(3501);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([calls.ended, calls.renew.length, wires.all.length]).toEqual([1, 0, 1]);
  });

  test.each([3502, 3999])("close code %i stops without ending the session", async (code) => {
    const { wires, calls, connection, online } = stage();
    await online();
    wires.last.drop(code);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([connection.state.phase, calls.ended, wires.all.length]).toEqual(["stopped", 0, 1]);
  });

  test("1009 names the frame on its way as the culprit, and reconnects", async () => {
    const { wires, connection, online } = stage();
    const blamed: number[] = [];
    connection.on("blame", (code) => blamed.push(code));
    await online();
    wires.last.drop(1009);
    expect(blamed).toEqual([1009]);
    expect(connection.state.phase).toBe("waiting");
  });

  test("a draining edge is left at a moment within the span that it gives", async () => {
    const { wires, connection, online } = stage(() => 0.5);
    await online();
    wires.last.receive({ type: "draining", reconnect_after_ms: 8_000 });
    expect(connection.state.phase).toBe("online");
    await vi.advanceTimersByTimeAsync(3_999);
    expect(wires.all.length).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(wires.all.length).toBe(2);
  });

  test("a draining edge that closes early does not shorten the wait", async () => {
    const { wires, connection, online } = stage(() => 0.5);
    await online();
    wires.last.receive({ type: "draining", reconnect_after_ms: 8_000 });
    const begun = Date.now();
    await vi.advanceTimersByTimeAsync(1_000);
    wires.last.drop(3000);
    expect(connection.state).toEqual({ phase: "waiting", retryAt: begun + 4_000 });
  });

  test("a silent connection is noticed by its missing pong", async () => {
    const { wires, connection, online } = stage();
    await online();
    await vi.advanceTimersByTimeAsync(PING_EVERY_MS);
    expect(wires.last.of("ping").length).toBe(1);
    await vi.advanceTimersByTimeAsync(PONG_WITHIN_MS - 1);
    expect(connection.online).toBe(true);
    await vi.advanceTimersByTimeAsync(1);
    expect(connection.state.phase).toBe("waiting");
    expect(wires.last.closed).toBe(1000);
  });

  test("a pong, or any other frame, is a sign of life", async () => {
    const { wires, connection, online } = stage();
    await online();
    for (let i = 1; i <= 3; i++) {
      await vi.advanceTimersByTimeAsync(PING_EVERY_MS);
      wires.last.answer("ping", { type: "pong" });
      expect(wires.last.of("ping").length).toBe(i);
    }
    await vi.advanceTimersByTimeAsync(PING_EVERY_MS);
    wires.last.receive({ type: "typing", chat: "c1", user: "u2" });
    await vi.advanceTimersByTimeAsync(PONG_WITHIN_MS + 1);
    expect(connection.online).toBe(true);
  });

  test("an edge that never welcomes is given up", async () => {
    const { wires, connection } = stage();
    connection.start();
    await settle();
    wires.last.onopen?.();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(connection.state.phase).toBe("waiting");
  });

  test("answers find their requests by id, errors reject them", async () => {
    const { wires, connection, online } = stage();
    await online();
    const first = connection.request({ type: "sync", chat: "c1" }, 1_000);
    const id = wires.last.of("sync")[0]?.id;
    const second = connection.request({ type: "read", chat: "c1", seq: 1 }, 1_000);
    wires.last.answer("read", { type: "error", code: "rate_limited", message: "", retry_after_ms: 70 });
    wires.last.receive({ type: "page", id, messages: [] });
    await expect(first).resolves.toMatchObject({ type: "page" });
    await expect(second).rejects.toMatchObject({ code: "rate_limited", retryAfterMs: 70 });
  });

  test("a request without an answer times out, and one over a lost connection fails", async () => {
    const { wires, connection, online } = stage();
    await online();
    const late = expect(connection.request({ type: "sync" }, 1_000)).rejects.toMatchObject({
      code: "timeout",
    });
    await vi.advanceTimersByTimeAsync(1_000);
    await late;
    const lost = expect(connection.request({ type: "sync" }, 1_000)).rejects.toMatchObject({
      code: "network",
    });
    wires.last.drop(1006);
    await lost;
    await expect(connection.request({ type: "sync" }, 1_000)).rejects.toMatchObject({ code: "network" });
  });

  test("frames and closes of an abandoned socket change nothing", async () => {
    const { wires, connection, online } = stage();
    await online();
    const old = wires.last;
    const close = old.onclose;
    old.drop(1006);
    await vi.advanceTimersByTimeAsync(500);
    wires.last.welcome();
    close?.({ code: 3501 });
    expect(connection.online).toBe(true);
  });

  test("hurry ends a wait", async () => {
    const { wires, connection, online } = stage();
    await online();
    wires.last.drop(1006);
    connection.hurry();
    await settle();
    expect(wires.all.length).toBe(2);
  });

  test("stop is final until the next start", async () => {
    const { wires, connection, online } = stage();
    await online();
    connection.stop();
    await vi.advanceTimersByTimeAsync(120_000);
    expect([connection.state.phase, wires.all.length]).toEqual(["stopped", 1]);
    await online();
    expect(connection.online).toBe(true);
  });

  test("what is not JSON is ignored", async () => {
    const { wires, connection, online } = stage();
    await online();
    wires.last.onmessage?.({ data: "{]" });
    wires.last.onmessage?.({ data: new ArrayBuffer(2) });
    wires.last.onmessage?.({ data: "[1]" });
    expect(connection.online).toBe(true);
  });
});
