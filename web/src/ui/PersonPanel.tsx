// About the other one in a direct chat, and whether the two still write to each other.

import { faultSentence, nameOf } from "../app/sentences";
import { api } from "../app/session";
import { names, type OpenChat } from "../app/store";
import { ChatError, codeOf, type User } from "../chatmesh";
import { Avatar } from "./Avatar";
import { ask } from "./Confirm";
import { Mute } from "./Mute";
import { Panel, useFault } from "./Panel";

interface Props {
  readonly chat: OpenChat;
  readonly me: User;
  readonly onClose: () => void;
}

export function PersonPanel({ chat, me, onClose }: Props) {
  const [fault, setFault, attempt] = useFault();
  const name = nameOf(names.value, chat.peer);
  const user = names.value.get(chat.peer);
  const blocked = chat.blockedBy.includes(me.id);

  const block = async () => {
    const text = `Neither of you can write in this conversation then. ${name} sees that, but not any more whether you are online.`;
    if (!(await ask({ title: `Block ${name}?`, text, action: "Block", danger: true }))) return;
    setFault("");
    await api.block(chat.peer).catch((error) => setFault(blockFault(error)));
  };

  return (
    <Panel title="Chat info" testid="person-panel" onClose={onClose}>
      <div class="panel-title">
        <Avatar id={chat.peer} name={name} dot={chat.peer} />
        <div class="who">
          <h4 data-testid="panel-title">{name}</h4>
          {user && <small>@{user.username}</small>}
        </div>
      </div>
      <p class="fault" role="alert" data-testid="panel-error">
        {fault}
      </p>
      <Mute chat={chat} attempt={attempt} />
      {blocked ? (
        <button
          type="button"
          class="plain wide"
          data-testid="unblock"
          onClick={() => void attempt(() => api.unblock(chat.peer))}
        >
          Unblock {name}
        </button>
      ) : (
        <button type="button" class="danger quiet wide" data-testid="block" onClick={() => void block()}>
          Block {name}
        </button>
      )}
    </Panel>
  );
}

function blockFault(error: unknown): string {
  if (error instanceof ChatError && error.code === "conflict")
    return "You have blocked as many people as can be blocked. Please unblock somebody first.";
  return faultSentence(codeOf(error));
}
