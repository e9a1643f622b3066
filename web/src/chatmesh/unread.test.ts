import { describe, expect, test } from "vitest";
import { Unread } from "./unread";

describe("unread", () => {
  test("live messages of others add to what the server counted", () => {
    const unread = new Unread(5, 2, 8);
    unread.message(9, false);
    unread.message(10, false);
    expect(unread.count).toBe(4);
  });

  test("a message counts once, whether it came live or with the snapshot", () => {
    const unread = new Unread(5, 3, 8);
    unread.message(7, false);
    unread.message(8, false);
    unread.message(9, false);
    unread.message(9, false);
    expect(unread.count).toBe(4);
    unread.fromServer(5, 4, 9);
    expect(unread.count).toBe(4);
  });

  test("an own message reads everything before it", () => {
    const unread = new Unread(5, 3, 8);
    unread.message(9, false);
    unread.message(10, true);
    expect([unread.count, unread.readSeq]).toEqual([0, 10]);
    unread.message(11, false);
    expect(unread.count).toBe(1);
  });

  test("reading never moves back", () => {
    const unread = new Unread(0, 0, 10);
    for (const seq of [11, 12, 13]) unread.message(seq, false);
    expect(unread.read(12)).toBe(true);
    expect(unread.read(11)).toBe(false);
    expect([unread.count, unread.readSeq]).toEqual([1, 12]);
  });

  test("a cursor inside of what only the server counted is known to be inexact", () => {
    const unread = new Unread(0, 10, 10);
    unread.read(4);
    expect(unread.exact).toBe(false);
    unread.fromServer(4, 6, 10);
    expect([unread.exact, unread.count]).toEqual([true, 6]);
  });

  test("a snapshot that has not heard of the own cursor does not bring messages back", () => {
    const unread = new Unread(0, 3, 3);
    unread.read(3);
    unread.fromServer(0, 3, 3);
    expect(unread.count).toBe(0);
    unread.message(4, false);
    unread.fromServer(0, 3, 3);
    expect(unread.count).toBe(1);
  });

  test("an old snapshot still brings the cursor of another device", () => {
    const unread = new Unread(0, 3, 10);
    unread.fromServer(10, 0, 9);
    expect([unread.count, unread.readSeq]).toEqual([0, 10]);
  });

  test("a chat that is read to its end has nothing unread", () => {
    expect(new Unread(8, 3, 8).count).toBe(0);
  });
});
