import { beforeEach, describe, expect, test, vi } from "vitest";
import { ChatError } from "./errors";
import type { Lock } from "./locks";
import { MemoryStorage } from "./storage";
import { Tokens } from "./tokens";
import type { Grant, User } from "./types";

const user: User = { id: "u1", username: "anna", display_name: "Anna" };

/** Server rotates refresh tokens, and ends the session when one is used twice. */
class Server {
  calls = 0;
  over = false;
  private next = 2;
  private good = "r1";

  readonly refresh = async (token: string): Promise<Grant> => {
    this.calls++;
    await new Promise((resolve) => setTimeout(resolve, 50));
    if (token !== this.good) this.over = true;
    if (this.over) throw new ChatError("invalid_token", "over");
    this.good = `r${this.next}`;
    return { access_token: `a${this.next++}`, refresh_token: this.good, expires_in: 900 };
  };
}

/** oneLock is a lock as the tabs of one browser share it. */
function oneLock(): Lock {
  let last: Promise<unknown> = Promise.resolve();
  return (_name, fn) => {
    const mine = last.then(fn, fn);
    last = mine.catch(() => {});
    return mine;
  };
}

function tabs(count: number) {
  const [server, store, lock] = [new Server(), new MemoryStorage(), oneLock()];
  const first = new Tokens(store, lock, server.refresh);
  first.begin({ access_token: "a1", refresh_token: "r1", expires_in: 900 }, user);
  const rest = Array.from({ length: count - 1 }, () => new Tokens(store, lock, server.refresh));
  return { server, store, all: [first, ...rest] as [Tokens, ...Tokens[]] };
}

async function run<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {});
  await vi.advanceTimersByTimeAsync(1_000);
  return work;
}

describe("tokens", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  test("a fresh token is used as it is", async () => {
    const { server, all } = tabs(1);
    expect(await all[0].access()).toBe("a1");
    expect(server.calls).toBe(0);
  });

  test("a token is renewed half a minute before its end", async () => {
    const { all } = tabs(1);
    vi.advanceTimersByTime(871_000);
    expect(await run(all[0].access())).toBe("a2");
  });

  test("calls at the same time share one renewal", async () => {
    const { server, all } = tabs(1);
    const got = await run(Promise.all([1, 2, 3].map(() => all[0].renew("a1"))));
    expect(got).toEqual(["a2", "a2", "a2"]);
    expect(server.calls).toBe(1);
  });

  test("several tabs renew once between them", async () => {
    const { server, all } = tabs(3);
    const got = await run(Promise.all(all.map((tab) => tab.renew("a1"))));
    expect(got).toEqual(["a2", "a2", "a2"]);
    expect([server.calls, server.over]).toEqual([1, false]);
  });

  test("a tab that slept takes what another one has renewed", async () => {
    const { server, all } = tabs(2);
    const [one, two] = [all[0], all[1] as Tokens];
    await run(one.renew("a1"));
    expect(await run(two.renew("a1"))).toBe("a2");
    expect(await run(two.renew("a2"))).toBe("a3");
    expect([server.calls, server.over]).toEqual([2, false]);
  });

  test("without a network the session is kept", async () => {
    const store = new MemoryStorage();
    const tokens = new Tokens(store, oneLock(), () => Promise.reject(new ChatError("network", "off")));
    tokens.begin({ access_token: "a1", refresh_token: "r1", expires_in: 900 }, user);
    await expect(run(tokens.renew("a1"))).rejects.toMatchObject({ code: "network" });
    expect(tokens.session?.refresh_token).toBe("r1");
  });

  test("a refused refresh token ends the session here", async () => {
    const { server, store, all } = tabs(1);
    server.over = true;
    await expect(run(all[0].renew("a1"))).rejects.toMatchObject({ code: "invalid_token" });
    expect([all[0].session, store.length]).toEqual([null, 0]);
    await expect(all[0].access()).rejects.toMatchObject({ code: "invalid_token" });
  });

  test("a session of another user in another tab is left alone", async () => {
    const { server, store, all } = tabs(2);
    const other = { id: "u2", username: "ben", display_name: "Ben" };
    all[1]?.begin({ access_token: "b1", refresh_token: "s1", expires_in: 900 }, other);
    await expect(run(all[0].renew("a1"))).rejects.toMatchObject({ code: "invalid_token" });
    expect(server.calls).toBe(0);
    expect(store.length).toBe(1);
  });

  test("a parted session still works for its last call, and the browser has forgotten it", async () => {
    const { store, all } = tabs(1);
    const parting = all[0].part();
    expect([all[0].session, store.length]).toEqual([null, 0]);
    expect(await parting.access()).toBe("a1");
    expect(await run(parting.renew("a1"))).toBe("a2");
    expect(store.length).toBe(0);
  });

  test("a reload goes on with what the browser keeps", () => {
    const { store, all } = tabs(1);
    const again = new Tokens(store, oneLock(), () => Promise.reject(new Error("unused")));
    expect(again.session).toEqual(all[0].session);
    store.setItem("chatmesh.session", '{"access_token":1}');
    expect(again.reload()).toBeNull();
  });
});
