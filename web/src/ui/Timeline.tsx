// The messages of the open chat. It stays at the newest one, or exactly where the reader has scrolled to; it asks for
// older pages near the top, and says what has been read.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { changeSentence, mayManage } from "../app/sentences";
import { client } from "../app/session";
import { loadingOlder, loadOlder, names, type OpenChat, sought } from "../app/store";
import { clockTime, dayLabel, fullTime, parseTime } from "../app/time";
import type { Row } from "../app/timeline";
import type { User } from "../chatmesh";
import { Icon } from "./Icon";
import { MessageItem } from "./MessageItem";

/** END_PX from the end still counts as being at the end. */
const END_PX = 60;
/** OLDER_PX from the top is where the next page is asked for, before the reader gets there. */
const OLDER_PX = 600;

/**
 * Anchor is the message or change at the top of the view, and how far below the top it ends. What stands under it then
 * stays where it is, also when the row itself changes its height because it begins a cluster no more.
 */
interface Anchor {
  readonly key: string;
  readonly end: number;
}

export function Timeline({ chat, me }: { chat: OpenChat; me: User }) {
  const scroller = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const anchor = useRef<Anchor | null>(null);
  const settled = useRef(false);
  const [away, setAway] = useState(false);
  const first = chat.rows[0]?.key ?? "";
  const lastOwn = lastOwnKey(chat.rows);
  const manager = chat.group && mayManage(chat.myRole);

  const notice = () => {
    const box = scroller.current;
    if (!box) return;
    atEnd.current = box.scrollHeight - box.scrollTop - box.clientHeight < END_PX;
    setAway(!atEnd.current);
    anchor.current = atEnd.current ? null : topRow(box);
    if (box.scrollTop < OLDER_PX) void loadOlder();
    markRead();
  };

  const markRead = () => {
    const seen = atEnd.current && document.visibilityState === "visible" && document.hasFocus();
    if (seen) client.peek()?.read(chat.id, chat.tail);
  };

  /** toEnd shows the newest message. */
  const toEnd = () => {
    const box = scroller.current;
    if (box) box.scrollTop = box.scrollHeight;
    atEnd.current = true;
    anchor.current = null;
    setAway(false);
    markRead();
  };

  // After each change of the rows: back to where the reader was, before the browser paints.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the rows are what moves the view
  useLayoutEffect(() => {
    const box = scroller.current;
    if (!box) return;
    if (!settled.current) {
      settled.current = true;
      begin(box);
    } else if (atEnd.current) {
      box.scrollTop = box.scrollHeight;
    } else if (anchor.current) {
      restore(box, anchor.current);
    }
    notice();
  }, [chat.rows, first]);

  // A message that is looked for, once the rows with it are there.
  const wanted = sought.value;
  // biome-ignore lint/correctness/useExhaustiveDependencies: only what is looked for moves the view
  useLayoutEffect(() => {
    const box = scroller.current;
    if (!box || wanted?.chat !== chat.id) return;
    sought.value = null;
    reveal(box, wanted.seq);
    notice();
  }, [wanted]);

  // An own message is always shown, wherever the reader had been.
  // biome-ignore lint/correctness/useExhaustiveDependencies: only a new own message moves the view
  useLayoutEffect(() => {
    if (settled.current && lastOwn !== "") toEnd();
  }, [lastOwn]);

  useEffect(() => {
    const box = scroller.current;
    if (!box) return;
    const sizes = new ResizeObserver(() => {
      if (atEnd.current) box.scrollTop = box.scrollHeight;
    });
    sizes.observe(box);
    return () => sizes.disconnect();
  }, []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new tail is a new thing to mark
  useEffect(() => {
    globalThis.addEventListener("focus", markRead);
    document.addEventListener("visibilitychange", markRead);
    return () => {
      globalThis.removeEventListener("focus", markRead);
      document.removeEventListener("visibilitychange", markRead);
    };
  }, [chat.id, chat.tail]);

  return (
    <div class="messages-frame">
      <section
        ref={scroller}
        class="messages"
        data-testid="messages"
        aria-label="Messages"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling area must be reachable by keyboard
        tabIndex={0}
        onScroll={notice}
      >
        <div class="beginning" data-testid={chat.hasOlder ? "has-older" : "beginning"}>
          {loadingOlder.value
            ? "Loading older messages…"
            : chat.hasOlder
              ? ""
              : "This is where the conversation begins"}
        </div>
        <div role="log" aria-live="polite" aria-relevant="additions">
          <ol ref={moveByInsertion}>
            {chat.rows.map((row) => (
              <Line key={row.key} row={row} group={chat.group} manager={manager} me={me} />
            ))}
          </ol>
        </div>
      </section>
      {away && (
        <button type="button" class="to-end" data-testid="to-end" onClick={toEnd}>
          <Icon name="down" />
          {chat.unread > 0 ? (
            <span>{chat.unread} new</span>
          ) : (
            <span class="unseen">Go to the newest message</span>
          )}
        </button>
      )}
    </div>
  );
}

/**
 * moveByInsertion hides moveBefore from the renderer: Chromium leaves a row whose class changes in the frame of such a
 * move with its old style, so that a delivered message would keep the looks of one on its way.
 */
function moveByInsertion(list: HTMLOListElement | null): void {
  if (list) Object.defineProperty(list, "moveBefore", { value: undefined, configurable: true });
}

/** begin shows the end of the chat, or the first new message where not all new ones fit. */
function begin(box: HTMLElement): void {
  box.scrollTop = box.scrollHeight;
  const mark = box.querySelector<HTMLElement>("[data-row='new']");
  if (!mark) return;
  const hidden = box.getBoundingClientRect().top - mark.getBoundingClientRect().top;
  if (hidden > 0) box.scrollTop -= hidden + 24;
}

/** reveal brings a message to the middle, marks it for a moment, and puts the focus on what can be done with it. */
function reveal(box: HTMLElement, seq: number): void {
  const row = box.querySelector<HTMLElement>(`[data-testid="message"][data-seq="${seq}"]`);
  if (!row) return;
  row.scrollIntoView({ block: "center" });
  row.querySelector<HTMLElement>("[data-testid=more]")?.focus({ preventScroll: true });
  row.animate({ backgroundColor: ["var(--accent-soft)", "transparent"] }, 2_000);
}

function topRow(box: HTMLElement): Anchor | null {
  const top = box.getBoundingClientRect().top;
  for (const row of box.querySelectorAll<HTMLElement>("[data-key]:not([data-row])")) {
    const rect = row.getBoundingClientRect();
    if (rect.bottom > top) return { key: row.dataset.key ?? "", end: rect.bottom - top };
  }
  return null;
}

function restore(box: HTMLElement, anchor: Anchor): void {
  const row = box.querySelector<HTMLElement>(`[data-key="${CSS.escape(anchor.key)}"]`);
  if (!row) return;
  const end = row.getBoundingClientRect().bottom - box.getBoundingClientRect().top;
  box.scrollTop += end - anchor.end;
}

function lastOwnKey(rows: readonly Row[]): string {
  const last = rows.at(-1);
  return last?.kind === "message" && last.own ? last.key : "";
}

function Line({ row, group, manager, me }: { row: Row; group: boolean; manager: boolean; me: User }) {
  if (row.kind === "day") {
    return (
      <li class="day" data-key={row.key} data-row="day">
        <span>{dayLabel(row.at)}</span>
      </li>
    );
  }
  if (row.kind === "new") {
    return (
      <li class="news" data-key={row.key} data-row="new" data-testid="new-mark">
        <span>New messages</span>
      </li>
    );
  }
  if (row.kind === "change") {
    const at = parseTime(row.change.at);
    return (
      <li
        class="change"
        data-key={row.key}
        data-testid="system-event"
        data-seq={row.seq}
        title={at ? fullTime(at) : ""}
      >
        <span>{changeSentence(row.change, me.id, names.value)}</span>
        {at && <time dateTime={row.change.at}>{clockTime(at)}</time>}
      </li>
    );
  }
  return <MessageItem row={row} group={group} names={names.value} manager={manager} />;
}
