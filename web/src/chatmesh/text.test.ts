import { describe, expect, test } from "vitest";
import { countCodePoints, isPassword, isUsername, MAX_TEXT, textFault, wellFormed } from "./text";

describe("text", () => {
  test.each([
    ["", 0],
    ["abc", 3],
    ["ä€", 2],
    ["😀", 1],
    ["a😀b😀", 4],
    ["👩‍👩‍👧", 5],
    ["\ud83d", 1],
    ["\ude00\ud83d", 2],
    ["\ud83d\ud83d\ude00", 2],
  ])("%j counts %i code points, as the spread operator would", (text, want) => {
    expect(countCodePoints(text)).toBe(want);
    expect(countCodePoints(text)).toBe([...text].length);
  });

  test("the limit is counted in code points, not in UTF-16 units", () => {
    expect(textFault("😀".repeat(MAX_TEXT))).toBeNull();
    expect(textFault("😀".repeat(MAX_TEXT + 1))).toBe("too_long");
    expect(textFault("a".repeat(MAX_TEXT))).toBeNull();
    expect(textFault("a".repeat(MAX_TEXT + 1))).toBe("too_long");
  });

  test("blank text is not sent", () => {
    expect(textFault("")).toBe("empty");
    expect(textFault(" \n\t ")).toBe("empty");
    expect(textFault(" a ")).toBeNull();
  });

  test("half surrogate pairs are replaced and whole ones kept", () => {
    expect(wellFormed("a\ud83db")).toBe("a\ufffdb");
    expect(wellFormed("\ude00😀\ud83d")).toBe("\ufffd😀\ufffd");
  });

  test("user names are 3 to 32 small letters, digits and underscores", () => {
    expect(["abc", "a_1", "x".repeat(32)].every(isUsername)).toBe(true);
    expect(["ab", "x".repeat(33), "Abc", "a-b", "a b", "äbc", ""].some(isUsername)).toBe(false);
  });

  test("passwords have 8 to 256 characters", () => {
    expect(["12345678", "x".repeat(256)].every(isPassword)).toBe(true);
    expect(["1234567", "x".repeat(257)].some(isPassword)).toBe(false);
  });
});
