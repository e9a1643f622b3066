import { describe, expect, test } from "vitest";
import { change, message } from "../testing/fakes";
import { blockers } from "./blocks";

const blocked = (seq: number, by: string) => change(seq, { change: "blocked", by });
const unblocked = (seq: number, by: string) => change(seq, { change: "unblocked", by });

describe("who has blocked whom", () => {
  test("is told by the log of the chat, for each of the two", () => {
    expect(blockers([message(1)])).toEqual([]);
    expect(blockers([message(1), blocked(2, "u2")])).toEqual(["u2"]);
    expect(blockers([blocked(2, "u2"), blocked(3, "u1"), unblocked(4, "u2")])).toEqual(["u1"]);
    expect(blockers([blocked(2, "u2"), unblocked(3, "u2"), message(4)])).toEqual([]);
    expect(blockers([unblocked(2, "u2")])).toEqual([]);
  });
});
