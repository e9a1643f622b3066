// Choosing people by their exact user names; the server has no search.

import { useState } from "preact/hooks";
import { faultSentence, nameOf } from "../app/sentences";
import { api, client } from "../app/session";
import { ChatError, codeOf, isUsername, type User } from "../chatmesh";
import { Icon } from "./Icon";

/** findPerson looks a name up; a string says why nobody can be added by it. */
export async function findPerson(
  raw: string,
  already: readonly { readonly id: string }[],
): Promise<User | string> {
  const name = raw.trim().replace(/^@/, "").toLowerCase();
  if (name === "") return "Please enter a user name.";
  if (!isUsername(name)) return "A user name has 3 to 32 small letters, digits and underscores.";
  try {
    const user = await api.userByName(name);
    if (user.id === client.peek()?.me.id) return "That is you. You are in it anyway.";
    if (already.some((other) => other.id === user.id))
      return `${nameOf(new Map([[user.id, user]]), user.id)} is already there.`;
    client.peek()?.people.know(user);
    return user;
  } catch (error) {
    if (error instanceof ChatError && error.code === "not_found")
      return `Nobody has the user name “${name}”.`;
    return faultSentence(codeOf(error));
  }
}

interface FieldProps {
  readonly label: string;
  readonly hint: string;
  readonly testid: string;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly onKeyDown?: (event: KeyboardEvent) => void;
  readonly autofocus?: boolean;
}

export function NameField({ label, hint, testid, value, onInput, onKeyDown, autofocus = false }: FieldProps) {
  return (
    <label class="field">
      <span>{label}</span>
      <input
        name={testid}
        data-testid={testid}
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        maxLength={40}
        autofocus={autofocus}
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <small>{hint}</small>
    </label>
  );
}

interface PickerProps {
  readonly people: readonly User[];
  readonly onPeople: (people: readonly User[]) => void;
  /** name is what stands in the field and is not looked up yet. */
  readonly name: string;
  readonly onName: (name: string) => void;
  readonly onFault: (sentence: string) => void;
}

export function PeoplePicker({ people, onPeople, name, onName, onFault }: PickerProps) {
  const [busy, setBusy] = useState(false);

  const add = async () => {
    if (busy) return;
    setBusy(true);
    const found = await findPerson(name, people);
    setBusy(false);
    onFault(typeof found === "string" ? found : "");
    if (typeof found === "string") return;
    onPeople([...people, found]);
    onName("");
  };

  const key = (event: KeyboardEvent) => {
    if (event.key !== "Enter" && event.key !== ",") return;
    if (event.key === "Enter" && name.trim() === "") return;
    event.preventDefault();
    void add();
  };

  return (
    <div class="picker">
      <div class="with-button">
        <NameField
          label="People"
          hint="Type a user name, then press Enter."
          testid="member-name"
          value={name}
          onInput={onName}
          onKeyDown={key}
        />
        <button type="button" class="plain" data-testid="member-add" onClick={() => void add()}>
          Add
        </button>
      </div>
      <ul class="chips" aria-label="People to add">
        {people.map((user) => (
          <li key={user.id} data-testid="member-chip">
            {user.display_name || user.username}
            <button
              type="button"
              aria-label={`Do not add ${user.display_name || user.username}`}
              onClick={() => onPeople(people.filter((other) => other.id !== user.id))}
            >
              <Icon name="close" />
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
