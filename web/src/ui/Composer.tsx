// The box to write in. Enter sends, Shift and Enter begin a new line; what is typed survives changing the chat.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { draftOf, keepDraft } from "../app/drafts";
import { type Intent, intent, intentIn } from "../app/intent";
import { faultSentence, nameOf } from "../app/sentences";
import { client } from "../app/session";
import { names, tell } from "../app/store";
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

  const purpose = intentIn(chat);
  const editing = purpose?.kind === "edit";
  const edited = useRef(0);

  // The text of an edit is never kept: when it is over, what had been typed before comes back.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the text is taken when the edit begins
  useLayoutEffect(() => {
    if (editing && purpose) setText(purpose.text);
    else if (edited.current > 0) setText(draftOf(chat));
    edited.current = editing ? purpose.seq : 0;
    if (purpose) box.current?.focus();
  }, [purpose?.kind, purpose?.seq]);

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
    if (editing) return;
    keepDraft(chat, value);
    if (value.trim() !== "") client.peek()?.type(chat);
  };

  const send = () => {
    if (textFault(text)) return;
    if (editing) return void change(purpose);
    try {
      client.peek()?.outgoing.send(chat, text, purpose?.seq ?? 0);
    } catch (error) {
      tell(faultSentence(codeOf(error)));
      return;
    }
    intent.value = null;
    setText("");
    keepDraft(chat, "");
    box.current?.focus();
  };

  /** change sends an edit; where that fails, the new text stays to be sent again. */
  const change = async ({ seq, text: old }: Intent) => {
    try {
      if (text !== old) await client.peek()?.actions.edit(chat, seq, text);
      if (intent.peek()?.seq === seq) intent.value = null;
    } catch (error) {
      tell(faultSentence(codeOf(error)));
    }
  };

  const key = (event: KeyboardEvent) => {
    if (event.key === "Escape" && purpose) intent.value = null;
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
      {purpose && <Purpose purpose={purpose} />}
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
          aria-label={editing ? "Save" : "Send"}
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

function Purpose({ purpose }: { purpose: Intent }) {
  const name = nameOf(names.value, purpose.sender);
  return (
    <div class="purpose" data-testid="purpose">
      <p>
        <b>{purpose.kind === "edit" ? "Edit your message" : `Reply to ${name}`}</b>
        {purpose.kind === "reply" && <span> {purpose.text.slice(0, 200)}</span>}
      </p>
      <button
        type="button"
        class="round"
        aria-label={purpose.kind === "edit" ? "Do not edit" : "Do not reply"}
        data-testid="purpose-cancel"
        onClick={() => {
          intent.value = null;
        }}
      >
        <Icon name="close" />
      </button>
    </div>
  );
}
