// The pinned messages of the open chat: how many there are, and a list from which one gets to each.

import { useRef, useState } from "preact/hooks";
import { faultSentence, nameOf } from "../app/sentences";
import { client } from "../app/session";
import { names, type OpenChat, seek } from "../app/store";
import { listTime, parseTime } from "../app/time";
import { codeOf, type Pin, quoteOf } from "../chatmesh";
import { Dialog } from "./Dialog";
import { Icon } from "./Icon";

/** Pins is nothing where no message is pinned. */
export function Pins({ chat, may }: { chat: OpenChat; may: boolean }) {
  const [open, setOpen] = useState(false);
  const count = chat.pins.length;
  if (count === 0 && !open) return null;
  const words = `${count} pinned ${count === 1 ? "message" : "messages"}`;
  return (
    <>
      <button
        type="button"
        class="round pins"
        aria-label={words}
        title={words}
        data-testid="pins"
        data-count={count}
        onClick={() => setOpen(true)}
      >
        <Icon name="pin" />
      </button>
      {open && <PinList chat={chat} may={may} close={() => setOpen(false)} />}
    </>
  );
}

interface ListProps {
  readonly chat: OpenChat;
  /** may says whether the reader may take messages down. */
  readonly may: boolean;
  readonly close: () => void;
}

function PinList({ chat, may, close }: ListProps) {
  const [fault, setFault] = useState("");
  const list = useRef<HTMLUListElement>(null);

  const go = (seq: number) => {
    close();
    void seek(seq);
  };
  const unpin = async (seq: number) => {
    setFault("");
    try {
      await client.peek()?.actions.pin(chat.id, seq, true);
      // The button that was pressed goes away with its message.
      list.current?.focus();
    } catch (error) {
      setFault(faultSentence(codeOf(error)));
    }
  };

  return (
    <Dialog title="Pinned messages" onClose={close} testid="pins-dialog">
      <p class="fault" role="alert" data-testid="pins-error">
        {fault}
      </p>
      <ul class="choices" aria-label="Pinned messages" tabIndex={-1} ref={list}>
        {[...chat.pins].reverse().map((pin) => (
          <li key={pin.seq} data-testid="pin" data-seq-of={pin.seq}>
            <Pinned pin={pin} go={() => go(pin.seq)} />
            {may && (
              <button
                type="button"
                class="round"
                aria-label="Unpin this message"
                title="Unpin"
                data-testid="unpin"
                onClick={() => void unpin(pin.seq)}
              >
                <Icon name="close" />
              </button>
            )}
          </li>
        ))}
      </ul>
      {chat.pins.length === 0 && <p>Nothing is pinned any more.</p>}
    </Dialog>
  );
}

function Pinned({ pin, go }: { pin: Pin; go: () => void }) {
  const at = parseTime(pin.message.sent_at);
  return (
    <button type="button" class="choice" title="Go to this message" data-testid="pin-go" onClick={go}>
      <span class="pinned">
        <span class="chat-top">
          <b>{nameOf(names.value, pin.message.sender)}</b>
          {at && <time dateTime={pin.message.sent_at}>{listTime(at)}</time>}
        </span>
        <span class="pinned-text" dir="auto">
          {quoteOf(pin.message.text)}
        </span>
      </span>
    </button>
  );
}
