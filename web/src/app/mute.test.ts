import { describe, expect, test } from "vitest";
import { endOf, isMuted, loud, muteWords, SPANS } from "./mute";

const now = new Date(2026, 5, 15, 12, 0);
const at = (day: number, hour: number) => new Date(2026, 5, day, hour, 30).toISOString();

describe("a muted chat", () => {
  test("is silent for an hour, for eight, or always", () => {
    const ends = SPANS.map((span) => endOf(span, now.getTime()));
    const hour = now.getTime() + 3_600_000 - 1;
    expect(ends.map((end) => isMuted(end, hour))).toEqual([true, true, true]);
    expect(ends.map((end) => isMuted(end, hour + 1))).toEqual([false, true, true]);
    expect(ends.map((end) => isMuted(end, now.getTime() + 8 * 3_600_000))).toEqual([false, false, true]);
    expect(isMuted(ends[2] ?? "", new Date(2999, 0).getTime())).toBe(true);
  });

  test("is loud again when its time has passed, and where none is set", () => {
    expect(isMuted("", now.getTime())).toBe(false);
    expect(isMuted("nonsense", now.getTime())).toBe(false);
    expect(isMuted(at(15, 11), now.getTime())).toBe(false);
    expect(muteWords(at(15, 11), now)).toBe("");
  });

  test("says until when", () => {
    expect(muteWords("", now)).toBe("");
    expect(muteWords(at(15, 13), now)).toMatch(/^until \d\d:30/);
    expect(muteWords(at(16, 13), now)).toContain("16");
    expect(muteWords("9999-12-31T23:59:59.000000Z", now)).toBe("always");
  });

  test("counts in the list, not in the title", () => {
    const rows = [
      { unread: 3, muted: false },
      { unread: 5, muted: true },
      { unread: 1, muted: false },
    ];
    expect(loud(rows)).toBe(4);
  });
});
