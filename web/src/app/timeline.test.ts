import { describe, expect, test } from "vitest";
import type { OutboxItem } from "../chatmesh";
import { change, message } from "../testing/fakes";
import { type MessageRow, type TimelineInput, timeline } from "./timeline";

function rows(input: Partial<TimelineInput>) {
  return timeline({
    me: "u1",
    events: [],
    outbox: [],
    head: 1,
    newAfter: -1,
    readUpTo: -1,
    pinned: new Set(),
    ...input,
  });
}

function shape(input: Partial<TimelineInput>): string[] {
  return rows(input).map((row) => {
    if (row.kind !== "message") return row.kind;
    return `${row.text}${row.first ? " first" : ""}${row.last ? " last" : ""}${row.status ? ` ${row.status}` : ""}`;
  });
}

function waiting(text: string, rest: Partial<OutboxItem> = {}): OutboxItem {
  const at = Date.parse("2026-01-01T12:30:00.000Z");
  return { chat: "c1", client_id: `out-${text}`, text, at, state: "sending", code: "", ...rest };
}

const at = (time: string) => ({ sent_at: `2026-01-${time}.000Z` });

describe("the timeline", () => {
  test("messages of one sender within five minutes stand together", () => {
    const events = [
      message(1, { text: "a", ...at("01T12:00:00") }),
      message(2, { text: "b", ...at("01T12:04:00") }),
      message(3, { text: "c", ...at("01T12:20:00") }),
      message(4, { text: "d", sender: "u3", ...at("01T12:20:01") }),
    ];
    expect(shape({ events })).toEqual(["day", "a first", "b last", "c first last", "d first last"]);
  });

  test("each day has a head, and a change of the chat parts what stood together", () => {
    const events = [
      message(1, { text: "a", ...at("01T12:00:00") }),
      change(2, { at: "2026-01-01T12:00:01.000Z" }),
      message(3, { text: "b", ...at("01T12:00:02") }),
      message(4, { text: "c", ...at("03T12:00:00") }),
    ];
    expect(shape({ events })).toEqual([
      "day",
      "a first last",
      "change",
      "b first last",
      "day",
      "c first last",
    ]);
  });

  test("opaque events are not shown", () => {
    expect(shape({ events: [{ type: "opaque", chat: "c1", seq: 1 }] })).toEqual([]);
  });

  test("the mark stands before the first new message of somebody else", () => {
    const events = [
      message(1, { text: "a" }),
      message(2, { text: "own", sender: "u1" }),
      message(3, { text: "b" }),
      message(4, { text: "c" }),
    ];
    const got = shape({ events, newAfter: 1 });
    expect(got).toEqual(["day", "a first last", "own first last", "new", "b first", "c last"]);
  });

  test("there is no mark while the first new message is not loaded", () => {
    const events = [message(50), message(51)];
    expect(shape({ events, head: 50, newAfter: 20 })).not.toContain("new");
    expect(shape({ events, head: 50, newAfter: 49 })).toContain("new");
  });

  test("own messages in a direct chat are sent or read", () => {
    const events = [1, 2, 3].map((seq) => message(seq, { text: `${seq}`, sender: "u1" }));
    expect(shape({ events, readUpTo: 2 })).toEqual(["day", "1 first read", "2 read", "3 last sent"]);
    expect(shape({ events })).toEqual(["day", "1 first", "2", "3 last"]);
  });

  test("texts on their way come last, in order, and not twice", () => {
    const events = [message(1, { text: "a", sender: "u1", client_id: "out-a" })];
    const outbox = [
      waiting("a", { state: "acked" }),
      waiting("b"),
      waiting("c", { state: "failed", code: "forbidden" }),
    ];
    expect(shape({ events, outbox })).toEqual(["day", "a first last", "b first sending", "c last failed"]);
  });

  test("what is pinned says so, and what is passed on already on its way", () => {
    const marks = (input: Partial<TimelineInput>) =>
      rows(input).flatMap((row) => (row.kind === "message" ? [[row.text, row.pinned, row.forwarded]] : []));
    const events = [message(1, { text: "a" }), message(2, { text: "b", forwarded: true })];
    const outbox = [waiting("c", { forward: { chat: "c2", seq: 7 } })];
    expect(marks({ events, outbox, pinned: new Set([1]) })).toEqual([
      ["a", true, false],
      ["b", false, true],
      ["c", false, true],
    ]);
  });

  test("a row keeps its key when its text is delivered", () => {
    const key = (input: Partial<TimelineInput>) => (rows(input).at(-1) as MessageRow).key;
    const delivered = message(9, { sender: "u1", client_id: "out-b", text: "b" });
    expect(key({ outbox: [waiting("b")] })).toBe(key({ events: [delivered] }));
  });

  test("an answer quotes what is here as it stands now, else what the history says", () => {
    const reply = { seq: 1, sender: "u3", text: "old", deleted: false };
    const answer = message(2, { reply_to: 1, reply });
    const quote = (events: Parameters<typeof rows>[0]["events"]) => {
      const row = rows({ events: events ?? [] }).at(-1);
      return row?.kind === "message" ? [row.replyTo, row.replySender, row.replyText, row.replyDeleted] : [];
    };
    expect(quote([answer])).toEqual([1, "u3", "old", false]);
    expect(quote([message(1, { text: "new" }), answer])).toEqual([1, "u2", "new", false]);
    expect(quote([message(1, { text: "", deleted: true }), answer])).toEqual([1, "u2", "", true]);
    expect(quote([message(2, { reply_to: 1 })])).toEqual([1, "", "", false]);
  });
});
