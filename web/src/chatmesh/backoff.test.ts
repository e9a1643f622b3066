import { describe, expect, test } from "vitest";
import { backoff } from "./backoff";

describe("backoff", () => {
  test("the ceiling starts at half a second, doubles and ends at 30 s", () => {
    const ceilings = [0, 1, 2, 3, 4, 5, 6, 7, 1000].map((attempt) => backoff(attempt, () => 1));
    expect(ceilings).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  });

  test("the jitter is full: anything down to no wait at all", () => {
    expect(backoff(6, () => 0)).toBe(0);
    expect(backoff(6, () => 0.5)).toBe(15_000);
  });
});
