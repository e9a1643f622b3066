// The right side: the open chat with its head, its messages and the box to write in.

import { useEffect, useRef, useState } from "preact/hooks";
import { minute } from "../app/clock";
import { goTo, openId } from "../app/route";
import { faultSentence, mayPin, type Names, nameOf, typingSentence } from "../app/sentences";
import {
  connection,
  names,
  type OpenChat,
  openChat,
  openFault,
  presence,
  reopen,
  typists,
} from "../app/store";
import { lastSeen, parseTime } from "../app/time";
import type { User } from "../chatmesh";
import { Avatar, isAway, isOnline } from "./Avatar";
import { Blocked } from "./Blocked";
import { Composer } from "./Composer";
import { GroupPanel } from "./GroupPanel";
import { Icon, Logo } from "./Icon";
import { PersonPanel } from "./PersonPanel";
import { Pins } from "./Pins";
import { Timeline } from "./Timeline";

export function Conversation({ me }: { me: User }) {
  const chat = openChat.value;
  if (openId.value === "") return <Nothing />;
  if (!chat) return <Missing />;
  return <Open key={chat.id} chat={chat} me={me} />;
}

function Open({ chat, me }: { chat: OpenChat; me: User }) {
  const [panel, setPanel] = useState(false);
  const info = useRef<HTMLButtonElement>(null);
  const closePanel = () => {
    setPanel(false);
    info.current?.focus();
  };
  return (
    <>
      <main class="conversation" data-testid="conversation" data-chat={chat.id}>
        <header>
          <button
            type="button"
            class="round back"
            aria-label="Back to the chats"
            data-testid="back"
            onClick={() => goTo("")}
          >
            <Icon name="back" />
          </button>
          <Avatar id={chat.peer || chat.id} name={chat.title} group={chat.group} dot={chat.peer} />
          <div class="head-text">
            <h1 data-testid="conversation-title">{chat.title}</h1>
            <Subtitle chat={chat} />
          </div>
          <Pins chat={chat} may={mayPin(chat)} />
          <button
            ref={info}
            type="button"
            class="round"
            aria-label={chat.group ? "Group info" : "Chat info"}
            title={chat.group ? "Group info" : "Chat info"}
            aria-expanded={panel}
            data-testid={chat.group ? "group-info" : "chat-info"}
            onClick={() => setPanel(!panel)}
          >
            <Icon name="info" />
          </button>
        </header>
        {chat.ready ? (
          <Timeline chat={chat} me={me} />
        ) : openFault.value !== "" ? (
          <Trouble code={openFault.value} />
        ) : (
          <div class="messages waiting" data-testid="loading">
            <p>Loading messages…</p>
          </div>
        )}
        <p class="typing-line" data-testid="typing">
          {typingSentence(typists.value, true, names.value)}
        </p>
        {chat.blockedBy.length > 0 ? (
          <Blocked chat={chat} me={me} />
        ) : (
          <Composer chat={chat.id} title={chat.title} />
        )}
      </main>
      {panel && chat.group && <GroupPanel chat={chat} me={me} onClose={closePanel} />}
      {panel && !chat.group && <PersonPanel chat={chat} me={me} onClose={closePanel} />}
    </>
  );
}

function Subtitle({ chat }: { chat: OpenChat }) {
  void minute.value;
  return (
    <p class="subtitle" data-testid="subtitle">
      {chat.group ? groupLine(chat) : directLine(chat, names.value)}
    </p>
  );
}

function groupLine(chat: OpenChat): string {
  const online = chat.members.filter((member) => isOnline(member.user_id)).length;
  const count = `${chat.membersCount} ${chat.membersCount === 1 ? "member" : "members"}`;
  return online > 0 ? `${count}, ${online} online` : count;
}

function directLine(chat: OpenChat, known: Names): string {
  if (isOnline(chat.peer)) return isAway(chat.peer) ? "away" : "online";
  const seen = parseTime(presence.value.get(chat.peer)?.last_seen ?? "");
  const username = known.get(chat.peer)?.username;
  if (connection.value.phase === "online" && seen) return lastSeen(seen);
  return username ? `@${username}` : nameOf(known, chat.peer);
}

function Trouble({ code }: { code: string }) {
  return (
    <div class="messages waiting" data-testid="open-error">
      <p>{faultSentence(code)}</p>
      <button type="button" class="plain" onClick={reopen}>
        Try again
      </button>
    </div>
  );
}

/** Missing stands for a chat in the address that is not in the list: not yet, or not at all. */
function Missing() {
  const code = openFault.value;
  const heading = useRef<HTMLDivElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <main class="conversation">
      <div class="messages waiting" ref={heading} tabIndex={-1} data-testid="open-error">
        <p>
          {code === ""
            ? "Loading…"
            : code === "not_found"
              ? "You are not a member of this chat."
              : faultSentence(code)}
        </p>
        {code !== "" && (
          <button type="button" class="plain" onClick={() => goTo("")}>
            Back to the chats
          </button>
        )}
      </div>
    </main>
  );
}

function Nothing() {
  return (
    <main class="conversation nothing">
      <Logo />
      <p>Choose a chat, or start a new one.</p>
    </main>
  );
}
