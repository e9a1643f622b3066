import { describe, expect, test } from "vitest";
import { change } from "../testing/fakes";
import { pieces } from "./links";
import {
  blockSentence,
  changeSentence,
  faultSentence,
  mayManage,
  mayPin,
  mayRemove,
  nameOf,
  typingSentence,
} from "./sentences";
import { dayLabel, lastSeen, listTime } from "./time";

const names = new Map(
  [
    ["u1", "Anna"],
    ["u2", "Ben"],
    ["u3", "Carl"],
  ].map(([id = "", display_name = ""]) => [id, { id, username: display_name.toLowerCase(), display_name }]),
);

describe("links", () => {
  const links = (text: string) =>
    pieces(text)
      .filter((piece) => piece.href !== "")
      .map((piece) => piece.href);

  test.each([
    ["no link here", []],
    ["see https://a.example/x?y=1#z.", ["https://a.example/x?y=1#z"]],
    ["(http://a.example/b)", ["http://a.example/b"]],
    ["http://a.example/b_(c)", ["http://a.example/b_(c)"]],
    ["https://a.example, https://b.example!", ["https://a.example", "https://b.example"]],
    ["javascript:alert(1) data:text/html,x ftp://a", []],
    ["https://", []],
    ['<a href="https://a.example">', ["https://a.example"]],
  ])("%j has the links %j", (text, want) => expect(links(text)).toEqual(want));

  test("nothing of the text is lost", () => {
    const text = "a https://a.example/(b). c\nhttp://d.example";
    expect(
      pieces(text)
        .map((piece) => piece.text)
        .join(""),
    ).toBe(text);
  });
});

describe("sentences", () => {
  test.each([
    [change(1, { change: "created", by: "u1", kind: "group" }), "You created the group"],
    [change(1, { change: "created", by: "u2", kind: "direct" }), "The conversation begins"],
    [change(2, { change: "member_added", by: "u2", user: "u3" }), "Ben added Carl"],
    [change(2, { change: "member_added", by: "u2", user: "u1" }), "Ben added you"],
    [change(3, { change: "member_removed", by: "u1", user: "u3" }), "You removed Carl"],
    [change(3, { change: "member_removed", by: "u3", user: "u3" }), "Carl left"],
    [change(4, { change: "title", by: "u2", title: "Tea" }), "Ben changed the title to “Tea”"],
    [change(5, { change: "role", by: "u1", user: "u2", role: "admin" }), "You made Ben an admin"],
    [change(5, { change: "role", by: "u2", user: "u1", role: "owner" }), "You are the owner now"],
    [change(6, { change: "member_added", by: "u3", user: "u3" }), "Carl joined"],
    [change(6, { change: "picture", by: "u1", picture: "https://a.example/p" }), "You changed the picture"],
    [change(6, { change: "picture", by: "u2" }), "Ben removed the picture"],
    [change(6, { change: "description", by: "u2", description: "x" }), "Ben changed the description"],
    [change(6, { change: "description", by: "u2" }), "Ben removed the description"],
    [change(6, { change: "invite", by: "u2", invite: "digest" }), "Ben made a link to join by"],
    [change(6, { change: "invite", by: "u2" }), "Ben revoked the link to join by"],
    [change(6, { change: "pinned", by: "u2" }), "Ben pinned a message"],
    [change(6, { change: "unpinned", by: "u1" }), "You unpinned a message"],
    [change(6, { change: "blocked", by: "u1" }), "You blocked this conversation"],
    [change(6, { change: "unblocked", by: "u2" }), "Ben opened this conversation again"],
    [change(6, { change: "erased", by: "u2", user: "u2" }), "Ben deleted all their messages"],
    [change(6, { change: "later", by: "u9" }), "Former member changed the chat"],
  ])("%# a change of the chat is told", (event, want) =>
    expect(changeSentence(event, "u1", names)).toBe(want),
  );

  test("a block is told to whom has made it, and to the other", () => {
    expect(blockSentence([], "u1", names)).toBe("");
    expect(blockSentence(["u2"], "u1", names)).toBe(
      "Ben has blocked this conversation. Nobody can write here.",
    );
    expect(blockSentence(["u2", "u1"], "u1", names)).toMatch(/^You have blocked this conversation/);
  });

  test("who may pin", () => {
    const chat = { group: true, myRole: "member", blockedBy: [] };
    expect(mayPin(chat)).toBe(false);
    expect(mayPin({ ...chat, myRole: "admin" })).toBe(true);
    expect(mayPin({ ...chat, group: false })).toBe(true);
    expect(mayPin({ ...chat, group: false, blockedBy: ["u2"] })).toBe(false);
  });

  test("every fault has a sentence, an unknown one a general one", () => {
    expect(faultSentence("username_taken")).toContain("already taken");
    expect(faultSentence("whatever")).toBe("Something went wrong. Please try again.");
  });

  test("people are called by display name, else by user name", () => {
    expect(nameOf(names, "u1")).toBe("Anna");
    expect(nameOf(new Map([["u4", { id: "u4", username: "dora", display_name: "" }]]), "u4")).toBe("dora");
  });

  test("typing is told for one, two and many", () => {
    expect(typingSentence([], true, names)).toBe("");
    expect(typingSentence(["u2"], true, names)).toBe("Ben is typing…");
    expect(typingSentence(["u2", "u3"], true, names)).toBe("Ben and Carl are typing…");
    expect(typingSentence(["u1", "u2", "u3"], true, names)).toBe("several people are typing…");
  });

  test("owners remove anyone, admins plain members, members nobody", () => {
    expect([mayRemove("owner", "admin"), mayRemove("admin", "member")]).toEqual([true, true]);
    expect([mayRemove("admin", "admin"), mayRemove("admin", "owner"), mayRemove("member", "member")]).toEqual(
      [false, false, false],
    );
    expect([mayManage("owner"), mayManage("admin"), mayManage("member"), mayManage("")]).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

describe("times", () => {
  const now = new Date(2026, 5, 15, 12, 0);

  test("days are told as people say them", () => {
    expect(dayLabel(new Date(2026, 5, 15, 0, 1), now)).toBe("Today");
    expect(dayLabel(new Date(2026, 5, 14, 23, 59), now)).toBe("Yesterday");
    expect(dayLabel(new Date(2025, 5, 15), now)).toContain("2025");
  });

  test("the list is short about times", () => {
    expect(listTime(new Date(2026, 5, 14, 23, 59), now)).toBe("Yesterday");
    expect(listTime(new Date(2025, 5, 1), now)).toContain("2025");
    expect(listTime(new Date(2026, 5, 15, 9, 5), now)).toMatch(/5/);
  });

  test("last seen begins with minutes", () => {
    expect(lastSeen(new Date(now.getTime() - 20_000), now)).toBe("last seen just now");
    expect(lastSeen(new Date(now.getTime() - 5 * 60_000), now)).toBe("last seen 5 min ago");
    expect(lastSeen(new Date(2026, 5, 14, 9, 0), now)).toMatch(/^last seen yesterday at /);
  });
});
