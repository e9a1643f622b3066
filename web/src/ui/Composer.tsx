// The box to write in. Enter sends, Shift and Enter begin a new line; what is typed survives changing the chat.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { draftOf, keepDraft } from "../app/drafts";
import { faultSentence } from "../app/sentences";
import { client } from "../app/session";
import { tell } from "../app/store";
import { codeOf, countCodePoints, MAX_TEXT, textFault } from "../chatmesh";
import { Icon } from "./Icon";

/** COUNT_FROM characters are so many that a person may want to know how many more there may be. */
const COUNT_FROM = 2_000;
const MAX_HEIGHT_PX = 220;

export function Composer({ chat, title }: { chat: string; title: string }) {
  const [text, setText] = useState(() => draftOf(chat));
  const box = useRef<HTMLTextAreaElement>(null);
  const count = text.length < COUNT_FROM ? text.length : countCodePoints(text);
  const tooLong = count > MAX_TEXT;

  useEffect(() => {
    // A touch screen would open its keyboard over what one came to read.
    if (matchMedia("(hover: hover)").matches) box.current?.focus();
  }, []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the text is what changes the box's height
  useLayoutEffect(() => {
    const area = box.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight, MAX_HEIGHT_PX)}px`;
  }, [text]);

  const input = (value: string) => {
    setText(value);
    keepDraft(chat, value);
    if (value.trim() !== "") client.peek()?.type(chat);
  };

  const send = () => {
    if (textFault(text)) return;
    try {
      client.peek()?.send(chat, text);
    } catch (error) {
      tell(faultSentence(codeOf(error)));
      return;
    }
    setText("");
    keepDraft(chat, "");
    box.current?.focus();
  };

  const key = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };

  return (
    <form
      class="composer"
      data-testid="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class={tooLong ? "box refused" : "box"}>
        <textarea
          ref={box}
          rows={1}
          aria-label={`Message to ${title}`}
          aria-invalid={tooLong}
          aria-describedby={count >= COUNT_FROM ? "count" : undefined}
          placeholder="Message"
          data-testid="send-box"
          enterkeyhint="send"
          value={text}
          onInput={(event) => input(event.currentTarget.value)}
          onKeyDown={key}
        />
        <button
          type="submit"
          class="send"
          aria-label="Send"
          data-testid="send"
          disabled={textFault(text) !== null}
        >
          <Icon name="send" />
        </button>
      </div>
      {count >= COUNT_FROM && (
        <p id="count" class={tooLong ? "count refused" : "count"} data-testid="counter" data-count={count}>
          {count.toLocaleString()} of {MAX_TEXT.toLocaleString()} characters
          {tooLong && <span role="alert">: too long to be sent</span>}
        </p>
      )}
    </form>
  );
}
