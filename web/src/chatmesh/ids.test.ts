import { describe, expect, test } from "vitest";
import { uuidv7 } from "./ids";

describe("uuidv7", () => {
  test("it has the form of a UUID of version 7 and the time in front", () => {
    const now = Date.UTC(2040, 0, 1);
    const id = uuidv7(now);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16)).toBe(now);
  });

  test("it is a client_id that the contract allows", () => {
    expect(uuidv7()).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
  });

  test("ids of one millisecond ascend and differ, also past the counter's end", () => {
    const now = Date.UTC(2041, 0, 1);
    const ids = Array.from({ length: 10_000 }, () => uuidv7(now));
    expect(new Set(ids).size).toBe(ids.length);
    expect([...ids].sort()).toEqual(ids);
  });

  test("ids ascend when the clock goes back", () => {
    const now = Date.UTC(2042, 0, 1);
    const [first, second] = [uuidv7(now), uuidv7(now - 60_000)];
    expect(second > first).toBe(true);
  });
});
