import { describe, expect, test } from "vitest";
import { change, deletion, edit, message } from "../testing/fakes";
import { type Pin, Pins, parsePins } from "./pins";
import type { LogEvent, Message } from "./types";

const pin = (seq: number, rest: Partial<Message> = {}): Pin => ({
  seq,
  by: "u1",
  at: "2026-01-01T12:00:00.000Z",
  message: message(seq, rest),
});
const pinned = (seq: number, target: number) => change(seq, { change: "pinned", target });
const unpinned = (seq: number, target: number) => change(seq, { change: "unpinned", target });

async function holding(...list: Pin[]): Promise<Pins> {
  const pins = new Pins();
  await pins.load(async () => list);
  return pins;
}

const seqsOf = (pins: Pins) => pins.list?.map((item) => item.seq);
const none = () => undefined;

describe("the pinned messages of a chat", () => {
  test("follow what is pinned and taken down, each once", async () => {
    const pins = await holding(pin(3));
    pins.happened(pinned(8, 2), (seq) => message(seq));
    pins.happened(pinned(8, 2), (seq) => message(seq));
    expect(seqsOf(pins)).toEqual([3, 2]);
    expect(pins.list?.[1]).toMatchObject({ by: "u2", message: { text: "text 2" } });
    pins.happened(unpinned(9, 3), none);
    expect(seqsOf(pins)).toEqual([2]);
  });

  test("are read again when one is pinned that is not held here", async () => {
    const pins = await holding(pin(3));
    pins.happened(pinned(8, 2), none);
    expect(pins.list).toBeNull();
    await pins.load(async () => [pin(3), pin(2)]);
    expect(seqsOf(pins)).toEqual([3, 2]);
  });

  test("show the last text, and nothing of one that was deleted", async () => {
    const pins = await holding(pin(3, { text: "a secret" }), pin(4), pin(5, { sender: "u3" }));
    pins.happened(edit(8, 4, "new"), none);
    pins.happened(deletion(9, 3), none);
    pins.happened(change(10, { change: "erased", user: "u3" }), none);
    expect(pins.list?.map((item) => item.message.text)).toEqual(["new"]);
    expect(JSON.stringify(pins)).not.toContain("a secret");
  });

  test("lose what this user has hidden", async () => {
    const pins = await holding(pin(3), pin(4));
    pins.drop([3]);
    expect(seqsOf(pins)).toEqual([4]);
  });

  test("are read again where an event came while they were read", async () => {
    const pins = new Pins();
    const answers = [[pin(3)], [pin(3), pin(2)]];
    const read = async () => {
      if (answers.length === 2) pins.happened(pinned(8, 2), (seq) => message(seq));
      return answers.shift() ?? [];
    };
    await pins.load(read);
    expect(seqsOf(pins)).toEqual([3, 2]);
  });

  test("that cannot be read stay unknown, and can be asked for again", async () => {
    const pins = new Pins();
    expect(await pins.load(() => Promise.reject(new Error("away")))).toEqual([]);
    expect(pins.list).toBeNull();
    expect(await pins.load(async () => [pin(3)])).toHaveLength(1);
    expect(await pins.load(async () => [])).toEqual([]);
    expect(seqsOf(pins)).toEqual([3]);
  });

  test("are parsed without what has no message", () => {
    const raw = (seq: number, event: LogEvent | null) => ({ seq, by: "u1", at: "now", message: event });
    const body = { pins: [raw(3, message(3)), raw(4, null), { seq: 5 }, "x"] };
    expect(parsePins(body).map((item) => [item.seq, item.by, item.message.text])).toEqual([
      [3, "u1", "text 3"],
    ]);
    expect(parsePins(null)).toEqual([]);
  });
});
