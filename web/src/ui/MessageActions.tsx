// What can be done with a message: a row of buttons under it, and the reactions that it has.

import { useEffect, useRef } from "preact/hooks";
import { intent } from "../app/intent";
import { passing } from "../app/passing";
import { openId } from "../app/route";
import { faultSentence, mayPin, type Names, nameOf } from "../app/sentences";
import { client } from "../app/session";
import { openChat, tell } from "../app/store";
import type { MessageRow } from "../app/timeline";
import { codeOf, MAX_PINS } from "../chatmesh";
import { ask } from "./Confirm";

const EMOJI = ["👍", "❤️", "😂", "😮", "😢", "🎉"];

interface Props {
  readonly row: MessageRow;
  /** manager says whether the reader may delete what others wrote. */
  readonly manager: boolean;
  /** close ends it; back says whether the focus goes back to where it was. */
  readonly close: (back: boolean) => void;
}

export function MessageActions({ row, manager, close }: Props) {
  const chat = openChat.value;
  const closed = chat !== null && chat.blockedBy.length > 0;
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    box.current?.scrollIntoView({ block: "nearest" });
    box.current?.querySelector("button")?.focus();
  }, []);
  const begin = (kind: "edit" | "reply") => {
    const { seq, sender, text } = row;
    close(false);
    intent.value = { kind, chat: openId.peek(), seq, sender, text };
  };
  const erase = async (whose: "all" | "me") => {
    close(true);
    const text = whose === "all" ? "Nobody will be able to read it any more." : "The others still have it.";
    const title = whose === "all" ? "Delete this message for everyone?" : "Delete this message for you?";
    const chat = openId.peek();
    if (await ask({ title, text, action: "Delete", danger: true })) {
      await attempt(client.peek()?.actions.erase(chat, row.seq, whose));
    }
  };
  const pin = () => {
    close(true);
    void attempt(client.peek()?.actions.pin(openId.peek(), row.seq, row.pinned), pinFault);
  };
  const pass = () => {
    close(true);
    passing.value = { chat: openId.peek(), seq: row.seq };
  };
  return (
    <div
      ref={box}
      class="actions-row"
      role="toolbar"
      aria-label="What to do with this message"
      data-testid="message-actions"
      onKeyDown={(event) => {
        if (event.key === "Escape") close(true);
      }}
    >
      {!closed &&
        EMOJI.map((emoji) => (
          <button
            key={emoji}
            type="button"
            class="chip"
            aria-label={`React with ${emoji}`}
            data-testid="react"
            data-emoji={emoji}
            onClick={() => {
              close(true);
              void toggle(row, emoji);
            }}
          >
            {emoji}
          </button>
        ))}
      {!closed && (
        <button type="button" class="link" data-testid="reply" onClick={() => begin("reply")}>
          Reply
        </button>
      )}
      <button type="button" class="link" data-testid="pass" onClick={pass}>
        Pass on
      </button>
      {chat && mayPin(chat) && (
        <button type="button" class="link" data-testid="pin-message" onClick={pin}>
          {row.pinned ? "Unpin" : "Pin"}
        </button>
      )}
      {row.own && !row.forwarded && !closed && (
        <button type="button" class="link" data-testid="edit" onClick={() => begin("edit")}>
          Edit
        </button>
      )}
      <button type="button" class="link" data-testid="delete-me" onClick={() => void erase("me")}>
        Delete for me
      </button>
      {(row.own || manager) && (
        <button type="button" class="link" data-testid="delete-all" onClick={() => void erase("all")}>
          Delete for everyone
        </button>
      )}
    </div>
  );
}

/** Reactions are chips with their number; one that is pressed is the reader's own too. */
export function Reactions({ row, names }: { row: MessageRow; names: Names }) {
  if (row.reactions.length === 0) return null;
  return (
    <div class="reactions">
      {row.reactions.map(({ emoji, count, users }) => {
        const who = users.map((user) => nameOf(names, user)).join(", ");
        return (
          <button
            key={emoji}
            type="button"
            class="chip"
            title={who}
            aria-label={`${emoji} ${count}, by ${who}`}
            aria-pressed={isMine(users)}
            data-testid="reaction"
            data-emoji={emoji}
            onClick={() => void toggle(row, emoji)}
          >
            {emoji} {count}
          </button>
        );
      })}
    </div>
  );
}

function isMine(users: readonly string[]): boolean {
  return users.includes(client.peek()?.me.id ?? "");
}

function toggle(row: MessageRow, emoji: string): Promise<void> {
  const mine = row.reactions.some((reaction) => reaction.emoji === emoji && isMine(reaction.users));
  return attempt(client.peek()?.actions.react(openId.peek(), row.seq, emoji, mine));
}

function pinFault(code: string): string {
  if (code !== "conflict" || (openChat.peek()?.pins.length ?? 0) < MAX_PINS) return faultSentence(code);
  return `At most ${MAX_PINS} messages can be pinned. Please unpin one first.`;
}

async function attempt(deed: Promise<void> | undefined, sentence = faultSentence): Promise<void> {
  try {
    await deed;
  } catch (error) {
    tell(sentence(codeOf(error)));
  }
}
