import { describe, expect, test, vi } from "vitest";
import { Api } from "./api";
import { ChatError } from "./errors";
import { httpCall } from "./http";
import { MemoryStorage } from "./storage";
import { Tokens } from "./tokens";

type Answer = () => Response | Promise<Response>;

function answers(...list: Answer[]) {
  const calls: { url: string; init: RequestInit }[] = [];
  const fetch = async (url: unknown, init?: RequestInit) => {
    calls.push({ url: String(url), init: init ?? {} });
    return (list.shift() as Answer)();
  };
  return { calls, http: { base: "", fetch: fetch as typeof globalThis.fetch, timeoutMs: 1_000 } };
}

const json =
  (status: number, body: unknown, headers: Record<string, string> = {}) =>
  () =>
    new Response(JSON.stringify(body), { status, headers });

const get = { method: "GET", path: "/v1/chats" } as const;

describe("an HTTP call", () => {
  test("problem+json becomes an error with its code", async () => {
    const { http } = answers(json(409, { code: "username_taken", title: "taken" }));
    await expect(httpCall(http, get)).rejects.toMatchObject({ code: "username_taken", message: "taken" });
  });

  test.each([
    [401, "unauthorized"],
    [404, "not_found"],
    [413, "too_large"],
    [429, "rate_limited"],
    [502, "unavailable"],
    [500, "internal"],
    [400, "bad_request"],
  ])("a bare %i from a proxy has the code %s", async (status, code) => {
    const { http } = answers(() => new Response("<html>", { status }));
    await expect(httpCall(http, get)).rejects.toMatchObject({ code });
  });

  test("the time to wait is read from body and header", async () => {
    const { http } = answers(
      json(429, { code: "rate_limited", retry_after_ms: 70 }),
      json(429, { code: "rate_limited" }, { "Retry-After": "3" }),
    );
    await expect(httpCall(http, get)).rejects.toMatchObject({ retryAfterMs: 70 });
    await expect(httpCall(http, get)).rejects.toMatchObject({ retryAfterMs: 3_000 });
  });

  test("no network and no answer in time have codes of their own", async () => {
    const { http } = answers(
      () => Promise.reject(new TypeError("failed to fetch")),
      () => Promise.reject(new DOMException("late", "TimeoutError")),
    );
    await expect(httpCall(http, get)).rejects.toMatchObject({ code: "network" });
    await expect(httpCall(http, get)).rejects.toMatchObject({ code: "timeout" });
  });
});

describe("a call of a logged-in user", () => {
  function loggedIn(...list: Answer[]) {
    const { calls, http } = answers(...list);
    const refresh = vi.fn(async () => ({ access_token: "a2", refresh_token: "r2", expires_in: 900 }));
    const tokens = new Tokens(new MemoryStorage(), (_name, fn) => fn(), refresh);
    const user = { id: "u1", username: "anna", display_name: "Anna" };
    tokens.begin({ access_token: "a1", refresh_token: "r1", expires_in: 900 }, user);
    const bearers = () => calls.map((call) => new Headers(call.init.headers).get("Authorization"));
    return { api: new Api(http, tokens), calls, refresh, bearers };
  }

  test("a refused token is renewed once and the call repeated", async () => {
    const { api, refresh, bearers } = loggedIn(
      json(401, { code: "invalid_token" }),
      json(200, { chats: [] }),
    );
    expect(await api.chats(10, "")).toEqual({ chats: [], next: "" });
    expect(refresh).toHaveBeenCalledOnce();
    expect(bearers()).toEqual(["Bearer a1", "Bearer a2"]);
  });

  test("a second refusal is given to the caller", async () => {
    const refused = json(401, { code: "invalid_token" });
    const { api, refresh } = loggedIn(refused, refused);
    await expect(api.chats(10, "")).rejects.toMatchObject({ code: "invalid_token" });
    expect(refresh).toHaveBeenCalledOnce();
  });

  test("rate_limited is waited for, a long wait is not", async () => {
    const soon = json(429, { code: "rate_limited", retry_after_ms: 1 });
    const { api, calls } = loggedIn(soon, soon, json(200, { users: [] }));
    expect(await api.usersById(["u1"])).toEqual([]);
    expect(calls.length).toBe(3);
    const late = loggedIn(json(429, { code: "rate_limited", retry_after_ms: 60_000 }));
    await expect(late.api.usersById(["u1"])).rejects.toBeInstanceOf(ChatError);
  });

  test("users and chats may come bare or wrapped", async () => {
    const user = { id: "u2", username: "ben", display_name: "Ben" };
    const chat = { id: "c1", kind: "group", title: "T", last_seq: 3 };
    const { api } = loggedIn(json(200, user), json(200, { user }), json(200, chat), json(201, { chat }));
    expect(await api.userByName("ben")).toEqual(user);
    expect(await api.userByName("ben")).toEqual(user);
    expect(await api.chat("c1")).toEqual(chat);
    expect(await api.createChat({ kind: "direct", members: ["u2"] })).toEqual(chat);
  });

  test("what has no answer to read is done when it is accepted", async () => {
    const empty = () => new Response(null, { status: 204 });
    const { api, calls } = loggedIn(empty, empty, json(200, { chat: "c1", muted_until: null }));
    await api.block("u2");
    await api.unblock("u2");
    await api.mute("c1", null);
    expect(calls.map((call) => [call.init.method, call.url, call.init.body])).toEqual([
      ["PUT", "/v1/blocks/u2", null],
      ["DELETE", "/v1/blocks/u2", null],
      ["PUT", "/v1/chats/c1/settings", '{"muted_until":null}'],
    ]);
  });

  test("an answer that cannot be read is an error, not a crash", async () => {
    const { api } = loggedIn(json(200, { nothing: true }), () => new Response("<html>"));
    await expect(api.userByName("ben")).rejects.toMatchObject({ code: "internal" });
    await expect(api.chats(10, "")).rejects.toMatchObject({ code: "internal" });
  });
});
