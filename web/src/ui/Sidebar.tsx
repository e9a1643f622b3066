// The left side: who I am, whether I am connected, and my chats.

import { useState } from "preact/hooks";
import { minute } from "../app/clock";
import { chatHref, openId } from "../app/route";
import { client, logOut } from "../app/session";
import { type ListRow, list, listed } from "../app/store";
import { listTime, parseTime } from "../app/time";
import type { User } from "../chatmesh";
import { Avatar } from "./Avatar";
import { ChatFilter, FILTER_FROM, matching } from "./ChatFilter";
import { ask } from "./Confirm";
import { ConnectionBadge } from "./ConnectionBadge";
import { Icon, Logo } from "./Icon";
import { NewChat } from "./NewChat";

export function Sidebar({ me }: { me: User }) {
  const [composing, setComposing] = useState(false);
  const [filter, setFilter] = useState("");
  const rows = list.value;
  const shown = matching(rows, filter);
  return (
    <nav class="sidebar" aria-label="Chats">
      <header>
        <div class="brand">
          <Logo />
          <span>chatmesh</span>
        </div>
        <button
          type="button"
          class="round"
          aria-label="New chat"
          title="New chat"
          data-testid="new-chat"
          onClick={() => setComposing(true)}
        >
          <Icon name="compose" />
        </button>
      </header>
      <ConnectionBadge />
      {rows.length >= FILTER_FROM && <ChatFilter testid="chat-filter" value={filter} onInput={setFilter} />}
      <ul class="chats" data-testid="chat-list">
        {shown.map((row) => (
          <ChatItem key={row.id} row={row} />
        ))}
      </ul>
      {!listed.value && rows.length === 0 && <Skeleton />}
      {listed.value && rows.length === 0 && (
        <div class="empty" data-testid="no-chats">
          <p>No chats yet.</p>
          <button type="button" class="primary" onClick={() => setComposing(true)}>
            Start one
          </button>
        </div>
      )}
      {filter.trim() !== "" && shown.length === 0 && <p class="empty">No chat has this title.</p>}
      <footer>
        <Avatar id={me.id} name={me.display_name || me.username} small />
        <span class="who">
          <b data-testid="me">{me.display_name || me.username}</b>
          <small>@{me.username}</small>
        </span>
        <button
          type="button"
          class="round"
          aria-label="Log out"
          title="Log out"
          data-testid="log-out"
          onClick={leave}
        >
          <Icon name="leave" />
        </button>
      </footer>
      {composing && <NewChat onClose={() => setComposing(false)} />}
    </nav>
  );
}

function ChatItem({ row }: { row: ListRow }) {
  const current = openId.value === row.id;
  const at = parseTime(row.at);
  void minute.value;
  return (
    <li>
      <a
        href={chatHref(row.id)}
        class={current ? "chat current" : "chat"}
        aria-current={current ? "page" : undefined}
        data-testid="chat-item"
        data-chat={row.id}
        data-unread={row.unread}
        data-muted={String(row.muted)}
      >
        <Avatar id={row.peer || row.id} name={row.title} group={row.group} dot={row.peer} />
        <span class="chat-text">
          <span class="chat-top">
            <b data-testid="chat-title">{row.title}</b>
            {row.muted && (
              <>
                <Icon name="muted" />
                <span class="unseen"> muted </span>
              </>
            )}
            {at && <time dateTime={row.at}>{listTime(at)}</time>}
          </span>
          <span class="chat-bottom">
            <span class={row.typing ? "preview typing" : "preview"} data-testid="chat-preview">
              {row.typing ? "typing…" : row.preview}
            </span>
            {row.unread > 0 && (
              <span class={row.muted ? "badge quiet" : "badge"} data-testid="unread">
                {row.unread > 999 ? "999+" : row.unread}
                <span class="unseen"> unread</span>
              </span>
            )}
          </span>
        </span>
      </a>
    </li>
  );
}

function Skeleton() {
  return (
    <div class="skeleton" aria-hidden="true">
      {[1, 2, 3, 4].map((n) => (
        <div key={n}>
          <i />
          <b />
        </div>
      ))}
    </div>
  );
}

async function leave(): Promise<void> {
  const unsent = client.peek()?.outbox.unsent ?? 0;
  const lost =
    unsent === 1
      ? "One message has not been sent yet and will be lost."
      : `${unsent} messages have not been sent yet and will be lost.`;
  const text = unsent > 0 ? lost : "You can log in again at any time.";
  if (await ask({ title: "Log out of chatmesh?", text, action: "Log out", danger: unsent > 0 }))
    await logOut();
}
