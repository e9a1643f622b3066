// About a group: its title, its members, and what this user may change of them.

import { useRef, useState } from "preact/hooks";
import { goTo, inviteLink } from "../app/route";
import { mayManage, mayRemove, nameOf } from "../app/sentences";
import { api, client } from "../app/session";
import { names, type OpenChat } from "../app/store";
import type { Member, User } from "../chatmesh";
import { Avatar } from "./Avatar";
import { ask } from "./Confirm";
import { Icon } from "./Icon";
import { Mute } from "./Mute";
import { type Attempt, Panel, useFault } from "./Panel";
import { findPerson, NameField } from "./PeoplePicker";

interface Props {
  readonly chat: OpenChat;
  readonly me: User;
  readonly onClose: () => void;
}

export function GroupPanel({ chat, me, onClose }: Props) {
  const [fault, setFault, attempt] = useFault();
  const manages = mayManage(chat.myRole);

  const leave = async () => {
    const text = "You will not get its messages any more, and cannot read the old ones.";
    if (!(await ask({ title: `Leave “${chat.title}”?`, text, action: "Leave", danger: true }))) return;
    if (await attempt(() => api.removeMember(chat.id, me.id))) goTo("");
  };

  const remove = async (member: Member) => {
    const name = nameOf(names.peek(), member.user_id);
    const text = `${name} will not get any further messages of this group.`;
    if (!(await ask({ title: `Remove ${name}?`, text, action: "Remove", danger: true }))) return;
    await attempt(() => api.removeMember(chat.id, member.user_id));
  };

  return (
    <Panel title="Group info" testid="group-panel" onClose={onClose}>
      <Title chat={chat} manages={manages} attempt={attempt} />
      <p class="fault" role="alert" data-testid="panel-error">
        {fault}
      </p>
      <Mute chat={chat} attempt={attempt} />
      <h3>
        Members <span>{chat.membersCount}</span>
      </h3>
      {manages && <AddMember chat={chat} attempt={attempt} onFault={setFault} />}
      {manages && <InviteLink chat={chat} attempt={attempt} />}
      <ul class="members">
        {sorted(chat.members, me).map((member) => (
          <li key={member.user_id} data-testid="member" data-user={member.user_id} data-role={member.role}>
            <Avatar
              id={member.user_id}
              name={nameOf(names.value, member.user_id)}
              dot={member.user_id === me.id ? "" : member.user_id}
              small
            />
            <span class="who">
              <b>
                {nameOf(names.value, member.user_id)}
                {member.user_id === me.id && <span class="you"> (you)</span>}
              </b>
              <small>{handle(names.value.get(member.user_id))}</small>
            </span>
            {member.role !== "member" && <span class="role">{member.role}</span>}
            {mayRemove(chat.myRole, member.role) && member.user_id !== me.id && (
              <button
                type="button"
                class="round"
                aria-label={`Remove ${nameOf(names.value, member.user_id)}`}
                title="Remove"
                data-testid="member-remove"
                onClick={() => void remove(member)}
              >
                <Icon name="close" />
              </button>
            )}
          </li>
        ))}
      </ul>
      <button type="button" class="danger quiet wide" data-testid="leave-group" onClick={() => void leave()}>
        <Icon name="leave" /> Leave group
      </button>
    </Panel>
  );
}

function Title({ chat, manages, attempt }: { chat: OpenChat; manages: boolean; attempt: Attempt }) {
  const [title, setTitle] = useState<string | null>(null);
  const button = useRef<HTMLButtonElement>(null);
  const done = () => {
    setTitle(null);
    setTimeout(() => button.current?.focus());
  };
  const save = async (event: Event) => {
    event.preventDefault();
    const wanted = (title ?? "").trim();
    if (wanted === "") return;
    if (wanted === chat.title || (await attempt(() => api.rename(chat.id, wanted)))) done();
  };
  if (title === null) {
    return (
      <div class="panel-title">
        <Avatar id={chat.id} name={chat.title} group />
        <h4 data-testid="panel-title">{chat.title}</h4>
        {manages && (
          <button
            ref={button}
            type="button"
            class="round"
            aria-label="Change the title"
            title="Change the title"
            data-testid="rename"
            onClick={() => setTitle(chat.title)}
          >
            <Icon name="compose" />
          </button>
        )}
      </div>
    );
  }
  return (
    <form
      class="panel-form"
      onSubmit={save}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        done();
      }}
    >
      <label class="field">
        <span>Title</span>
        <input
          ref={(input) => {
            if (input && document.activeElement !== input) input.focus();
          }}
          name="title"
          maxLength={100}
          autocomplete="off"
          data-testid="rename-title"
          value={title}
          onInput={(event) => setTitle(event.currentTarget.value)}
        />
      </label>
      <div class="actions">
        <button type="button" class="plain" onClick={done}>
          Cancel
        </button>
        <button type="submit" class="primary" data-testid="rename-save">
          Save
        </button>
      </div>
    </form>
  );
}

interface AddProps {
  readonly chat: OpenChat;
  readonly attempt: Attempt;
  readonly onFault: (sentence: string) => void;
}

function AddMember({ chat, attempt, onFault }: AddProps) {
  const [name, setName] = useState("");
  const [busy, setBusy] = useState(false);
  const add = async (event: Event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    const present = chat.members.map((member) => ({ id: member.user_id }));
    const found = await findPerson(name, present);
    if (typeof found === "string") onFault(found);
    else if (await attempt(() => addTo(chat.id, found))) setName("");
    setBusy(false);
  };
  return (
    <form class="with-button" onSubmit={add}>
      <NameField
        label="Add somebody"
        hint="By their exact user name."
        testid="add-name"
        value={name}
        onInput={setName}
      />
      <button type="submit" class="plain" data-testid="add-member">
        Add
      </button>
    </form>
  );
}

/** InviteLink makes and revokes the link to join by. Only who makes it sees it, and only now: nobody keeps it. */
function InviteLink({ chat, attempt }: { chat: OpenChat; attempt: Attempt }) {
  const [link, setLink] = useState("");
  const make = () => attempt(async () => setLink(inviteLink(await api.makeInvite(chat.id))));
  const revoke = () =>
    attempt(async () => {
      await api.revokeInvite(chat.id);
      setLink("");
    });
  return (
    <div class="panel-form">
      {link !== "" && (
        <label class="field">
          <span>Whoever has this link can join</span>
          <input
            readOnly
            data-testid="invite-link"
            value={link}
            onFocus={(event) => event.currentTarget.select()}
          />
        </label>
      )}
      <div class="actions">
        <button type="button" class="plain" data-testid="invite-revoke" onClick={() => void revoke()}>
          Revoke link
        </button>
        <button type="button" class="plain" data-testid="invite-make" onClick={() => void make()}>
          New link to join
        </button>
      </div>
    </div>
  );
}

async function addTo(chat: string, user: User): Promise<void> {
  await api.addMember(chat, user.id);
  client.peek()?.people.know(user);
}

function handle(user: User | undefined): string {
  return user ? `@${user.username}` : "";
}

/** sorted puts the reader first, then roles, then names. */
function sorted(members: readonly Member[], me: User): Member[] {
  const rank = (member: Member) => {
    if (member.user_id === me.id) return 0;
    return member.role === "owner" ? 1 : member.role === "admin" ? 2 : 3;
  };
  const name = (member: Member) => nameOf(names.value, member.user_id);
  return [...members].sort((a, b) => rank(a) - rank(b) || name(a).localeCompare(name(b)));
}
