// Passing a message on: to which of one's other chats.

import { useState } from "preact/hooks";
import { passing } from "../app/passing";
import { goTo } from "../app/route";
import { faultSentence } from "../app/sentences";
import { client } from "../app/session";
import { list } from "../app/store";
import { codeOf, type Passed } from "../chatmesh";
import { Avatar } from "./Avatar";
import { ChatFilter, FILTER_FROM, matching } from "./ChatFilter";
import { Dialog } from "./Dialog";

/** SHOWN chats are listed at most; the others are found by their titles. */
const SHOWN = 50;

export function PassOn() {
  const message = passing.value;
  return message && <Choice key={`${message.chat} ${message.seq}`} message={message} />;
}

function Choice({ message }: { message: Passed }) {
  const [filter, setFilter] = useState("");
  const [fault, setFault] = useState("");
  const others = list.value.filter((row) => row.id !== message.chat);
  const found = matching(others, filter);
  const close = () => {
    passing.value = null;
  };
  const pass = (chat: string) => {
    try {
      client.peek()?.outgoing.pass(chat, message);
    } catch (error) {
      setFault(faultSentence(codeOf(error)));
      return;
    }
    close();
    goTo(chat);
  };
  return (
    <Dialog title="Pass on to" onClose={close} testid="pass-dialog">
      {others.length >= FILTER_FROM && <ChatFilter testid="pass-filter" value={filter} onInput={setFilter} />}
      <p class="fault" role="alert" data-testid="pass-error">
        {fault}
      </p>
      <ul class="choices" aria-label="Chats">
        {found.slice(0, SHOWN).map((row) => (
          <li key={row.id}>
            <button
              type="button"
              class="choice"
              data-testid="pass-to"
              data-chat={row.id}
              onClick={() => pass(row.id)}
            >
              <Avatar id={row.peer || row.id} name={row.title} group={row.group} small />
              <span>{row.title}</span>
            </button>
          </li>
        ))}
      </ul>
      {others.length === 0 && <p>There is no other chat yet.</p>}
      {others.length > 0 && found.length === 0 && <p>No chat has this title.</p>}
      {found.length > SHOWN && <p>There are more: find them by their titles.</p>}
    </Dialog>
  );
}
