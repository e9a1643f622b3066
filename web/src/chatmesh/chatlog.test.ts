import { describe, expect, test } from "vitest";
import { change, message, seqs } from "../testing/fakes";
import { ChatLog } from "./chatlog";
import type { LogEvent, Page } from "./types";

function page(events: readonly LogEvent[], hasMore = false): Page {
  return { events, from: events[0]?.seq ?? 0, to: events.at(-1)?.seq ?? 0, hasMore };
}

function opened(...events: LogEvent[]): ChatLog {
  const log = new ChatLog(events.at(-1)?.seq ?? 0);
  log.openAt(page(events, (events[0]?.seq ?? 1) > 1));
  return log;
}

const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => message(from + at));

describe("the log of a chat", () => {
  test("events join in order", () => {
    const log = opened(message(1));
    expect(seqs(log.apply(message(2)).events)).toEqual([2]);
    expect(seqs(log.apply(change(3)).events)).toEqual([3]);
    expect(seqs(log.events)).toEqual([1, 2, 3]);
    expect(log.tail).toBe(3);
  });

  test("doubles are dropped by seq", () => {
    const log = opened(message(1), message(2));
    expect(log.apply(message(2)).events).toEqual([]);
    expect(log.apply(message(1)).events).toEqual([]);
    expect(seqs(log.events)).toEqual([1, 2]);
  });

  test("an event behind a hole waits, and joins with what fills it", () => {
    const log = opened(message(1));
    expect(log.apply(message(4))).toEqual({ events: [], hole: true });
    expect(log.apply(message(3))).toEqual({ events: [], hole: true });
    expect(log.tail).toBe(1);
    const filled = log.apply(message(2));
    expect(seqs(filled.events)).toEqual([2, 3, 4]);
    expect(filled.hole).toBe(false);
    expect(seqs(log.events)).toEqual([1, 2, 3, 4]);
  });

  test("a page of sync fills a hole and leaves the rest waiting", () => {
    const log = opened(message(1));
    log.apply(message(5));
    const filled = log.applyPage(page([message(2), message(3)], true));
    expect(seqs(filled.events)).toEqual([2, 3]);
    expect(filled.hole).toBe(true);
    expect(seqs(log.applyPage(page([message(4)])).events)).toEqual([4, 5]);
  });

  test("the server's page is believed where it leaves seqs out", () => {
    const log = opened(message(1));
    log.apply(message(9));
    expect(seqs(log.applyPage(page([message(6), message(7), message(8)])).events)).toEqual([6, 7, 8, 9]);
    expect(log.hole).toBe(false);
  });

  test("a hole can be given up", () => {
    const log = opened(message(1));
    log.apply(message(5));
    log.apply(message(6));
    expect(seqs(log.skipHole().events)).toEqual([5, 6]);
    expect(log.tail).toBe(6);
  });

  test("what waits is bounded", () => {
    const log = opened(message(1));
    for (let seq = 3; seq < 2_000; seq++) log.apply(message(seq));
    expect(log.apply(message(2)).events.length).toBe(501);
    expect(log.tail).toBe(502);
  });

  test("a log that is not open counts and keeps nothing", () => {
    const log = new ChatLog(10);
    expect(seqs(log.apply(message(11)).events)).toEqual([11]);
    expect(log.events).toEqual([]);
    expect([log.head, log.tail]).toEqual([12, 11]);
  });

  test("opening takes the newest page and what came live while it was fetched", () => {
    const log = new ChatLog(10);
    log.apply(message(11));
    log.apply(message(13));
    const applied = log.openAt(page(range(5, 12), true));
    expect(seqs(applied.events)).toEqual([12, 13]);
    expect(seqs(log.events)).toEqual([5, 6, 7, 8, 9, 10, 11, 12, 13]);
    expect([log.head, log.tail, log.hasOlder, log.hole]).toEqual([5, 13, true, false]);
  });

  test("opening anew keeps live events beyond the page", () => {
    const log = opened(...range(1, 3));
    log.apply(message(4));
    log.openAt(page(range(2, 3), true));
    expect(seqs(log.events)).toEqual([2, 3, 4]);
    expect(log.tail).toBe(4);
  });

  test("an empty chat opens to nothing", () => {
    const log = new ChatLog(0);
    log.openAt(page([]));
    expect([log.head, log.tail, log.hasOlder, log.open]).toEqual([1, 0, false, true]);
    expect(seqs(log.apply(message(1)).events)).toEqual([1]);
  });

  test("older pages go in front, and the last of them ends the search", () => {
    const log = opened(...range(101, 150));
    expect(log.hasOlder).toBe(true);
    log.prepend(page(range(51, 100), true));
    expect([log.head, log.hasOlder]).toEqual([51, true]);
    log.prepend(page(range(1, 50)));
    expect([log.head, log.hasOlder]).toEqual([1, false]);
    expect(seqs(log.events)).toEqual(seqs(range(1, 150)));
  });

  test("a page whose events were all folded away still moves the head", () => {
    const log = opened(...range(101, 110));
    log.prepend({ events: [], from: 51, to: 100, hasMore: true });
    expect([log.head, log.hasOlder]).toEqual([51, true]);
  });

  test("an event of unknown type counts, is not shown and makes the log stale", () => {
    const log = opened(message(1));
    expect(seqs(log.apply({ type: "opaque", chat: "c1", seq: 2 }).events)).toEqual([2]);
    expect([log.tail, log.stale]).toEqual([2, true]);
    expect(seqs(log.events)).toEqual([1]);
    log.refold(page([message(1, { text: "edited", edited: true })]));
    expect(log.events[0]).toMatchObject({ text: "edited", edited: true });
    expect(log.stale).toBe(false);
  });

  test("moving on forgets what lies between", () => {
    const log = opened(...range(1, 5));
    log.apply(message(5_001));
    log.moveTo(5_000);
    expect([log.tail, log.head, log.open, log.hasOlder, log.hole]).toEqual([
      5_001,
      5_002,
      false,
      true,
      false,
    ]);
    log.moveTo(7);
    expect(log.tail).toBe(5_001);
  });

  test("trimming keeps the newest events", () => {
    const log = opened(...range(1, 300));
    log.trim(100);
    expect([log.head, log.tail, log.events.length, log.hasOlder]).toEqual([201, 300, 100, true]);
  });
});
