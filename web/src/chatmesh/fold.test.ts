import { describe, expect, test } from "vitest";
import { change, deletion, edit, message, reaction, seqs } from "../testing/fakes";
import { ChatLog } from "./chatlog";
import { fold } from "./fold";
import { type LogEvent, type Message, type Page, parsePage } from "./types";

function page(events: readonly LogEvent[], foldedTo?: number): Page {
  const ends = { from: events[0]?.seq ?? 0, to: events.at(-1)?.seq ?? 0 };
  return { events, ...ends, hasMore: false, ...(foldedTo ? { foldedTo } : {}) };
}

function opened(...events: LogEvent[]): ChatLog {
  const log = new ChatLog(events.at(-1)?.seq ?? 0);
  log.openAt(page(events));
  return log;
}

function standing(log: ChatLog, seq: number): Message {
  const found = log.events.find((event) => event.seq === seq);
  if (found?.type !== "message") throw new Error(`no message ${seq}`);
  return found;
}

describe("what becomes of a message", () => {
  test("the last edit counts, and says so", () => {
    const log = opened(message(1));
    log.apply(edit(2, 1, "second"));
    log.apply(edit(3, 1, "third"));
    expect(standing(log, 1)).toMatchObject({ text: "third", edited: true });
    expect([seqs(log.events), log.tail]).toEqual([[1], 3]);
  });

  test("events that come in disorder are folded in the order of the chat", () => {
    const log = opened(message(1));
    log.apply(edit(4, 1, "last"));
    expect(log.apply(deletion(3, 2)).hole).toBe(true);
    expect(standing(log, 1).text).toBe("text 1");
    log.apply(message(2));
    expect(standing(log, 1).text).toBe("last");
    expect(standing(log, 2)).toMatchObject({ text: "", deleted: true });
    expect([log.tail, log.hole]).toEqual([4, false]);
  });

  test("a deletion leaves nothing but the place, whatever comes after it", () => {
    const log = opened(message(1, { reply_to: 9, reactions: [{ emoji: "👍", count: 1, users: ["u1"] }] }));
    log.apply(deletion(2, 1));
    log.apply(edit(3, 1, "back again"));
    log.apply(reaction(4, 1, "👍"));
    expect(standing(log, 1)).toEqual({ ...message(1), text: "", deleted: true, folded: 2 });
    expect(JSON.stringify(log)).not.toContain("back again");
  });

  test("a deletion of the last message keeps its place and takes it as read", () => {
    const log = opened(message(1), message(2));
    log.apply(deletion(3, 2));
    expect(seqs(log.events)).toEqual([1, 2]);
    expect(standing(log, 2).deleted).toBe(true);
    expect(seqs(log.apply(message(4)).events)).toEqual([4]);
  });

  test("an edit without its text tells of a deletion", () => {
    const log = opened(message(1));
    log.apply({ ...edit(2, 1, ""), deleted: true });
    expect(standing(log, 1)).toMatchObject({ text: "", deleted: true });
  });

  test("reactions count people, once for each emoji", () => {
    const log = opened(message(1));
    log.apply(reaction(2, 1, "👍", "u2"));
    log.apply(reaction(3, 1, "👍", "u2"));
    log.apply(reaction(4, 1, "👍", "u3"));
    log.apply(reaction(5, 1, "🎉", "u3"));
    expect(standing(log, 1).reactions).toEqual([
      { emoji: "👍", count: 2, users: ["u2", "u3"] },
      { emoji: "🎉", count: 1, users: ["u3"] },
    ]);
    log.apply({ ...reaction(6, 1, "👍", "u2"), removed: true });
    log.apply({ ...reaction(7, 1, "🎉", "u3"), removed: true });
    expect(standing(log, 1).reactions).toEqual([{ emoji: "👍", count: 1, users: ["u3"] }]);
  });

  test("a deleted account takes the texts of its messages with it, up to there", () => {
    const log = opened(message(1), message(2, { sender: "u3" }));
    log.apply(
      message(3, {
        reply_to: 1,
        reply: { seq: 1, sender: "u2", text: "text 1", deleted: false },
        sender: "u3",
      }),
    );
    log.apply(change(4, { change: "erased", user: "u2", by: "u2" }));
    expect([1, 2, 3].map((seq) => standing(log, seq).deleted ?? false)).toEqual([true, false, false]);
    expect(standing(log, 3).reply).toEqual({ seq: 1, sender: "u2", text: "", deleted: true });
    expect(seqs(log.events)).toEqual([1, 2, 3, 4]);
  });

  test("a quoted text changes and goes with its message, also where that is not loaded", () => {
    const log = new ChatLog(60);
    const reply = { seq: 3, sender: "u3", text: "old", deleted: false };
    log.openAt(page([message(60, { reply_to: 3, reply })]));
    log.apply(edit(61, 3, "x".repeat(500)));
    expect(standing(log, 60).reply?.text).toBe("x".repeat(200));
    log.apply(deletion(62, 3));
    expect(standing(log, 60).reply).toEqual({ seq: 3, sender: "u3", text: "", deleted: true });
  });

  test("an edit of a message that is not loaded counts, and is in the older page when that comes", () => {
    const log = new ChatLog(60);
    log.openAt(page([message(60)]));
    log.apply(edit(61, 3, "late"));
    expect([log.tail, log.stale, seqs(log.events)]).toEqual([61, false, [60]]);
    const old = page([message(3)], 60);
    expect(log.isOld(old)).toBe(true);
    log.prepend(old);
    expect(log.stale).toBe(true);
    expect(log.refold(old)).toBe(false);
    expect(log.refold(page([message(3, { text: "late", folded: 61 }), message(60)], 61))).toBe(true);
    expect([standing(log, 3).text, log.stale]).toEqual(["late", false]);
  });

  test("what a page of history has folded in already is not folded again", () => {
    const reactions = [{ emoji: "👍", count: 1, users: ["u2"] }];
    const log = new ChatLog(1);
    log.openAt(page([message(1, { text: "newest", reactions, folded: 4 })], 4));
    log.apply(edit(2, 1, "older"));
    log.apply({ ...reaction(3, 1, "👍"), removed: true });
    log.apply(reaction(4, 1, "👍"));
    expect(standing(log, 1)).toMatchObject({ text: "newest", reactions });
    log.apply(edit(5, 1, "newer"));
    expect(standing(log, 1).text).toBe("newer");
  });

  test("a page of bare events after being away is folded into what is here", () => {
    const log = opened(message(1), message(2));
    log.apply(message(9));
    const raw = [
      { ...message(3), text: undefined, deleted: { seq: 6, by: "u2", at: "t" } },
      edit(4, 1, "while away"),
      { ...edit(5, 3, ""), text: undefined, deleted: { seq: 6, by: "u2", at: "t" } },
      deletion(6, 3),
      reaction(7, 2, "🎉"),
      { type: "poll_closed", chat: "c1", seq: 8, n: 3 },
    ];
    const applied = log.applyPage(parsePage({ messages: raw, from_seq: 3, to_seq: 8 }));
    expect(seqs(applied.events)).toEqual([3, 4, 5, 6, 7, 8, 9]);
    expect(seqs(log.events)).toEqual([1, 2, 3, 9]);
    expect(standing(log, 1).text).toBe("while away");
    expect(standing(log, 2).reactions).toHaveLength(1);
    expect(standing(log, 3)).toMatchObject({ text: "", deleted: true });
    expect([log.tail, log.hole, log.stale]).toEqual([9, false, true]);
  });

  test("a live answer to a message that is not here is looked up", () => {
    const log = opened(message(1));
    log.apply(message(2, { reply_to: 1 }));
    expect(log.stale).toBe(false);
    const late = new ChatLog(60);
    late.openAt(page([message(60)]));
    late.apply(message(61, { reply_to: 3 }));
    expect(late.stale).toBe(true);
  });

  test("what is hidden is gone from the log, and what the server leaves out too", () => {
    const log = opened(message(1), message(2), message(3));
    log.hide([2]);
    expect(seqs(log.events)).toEqual([1, 3]);
    log.refold({ ...page([message(3)], 3), from: 1 });
    expect(seqs(log.events)).toEqual([3]);
  });

  test("an event that concerns another message changes nothing", () => {
    const one = message(1);
    expect(fold(one, edit(3, 2, "x"))).toBe(one);
  });
});
