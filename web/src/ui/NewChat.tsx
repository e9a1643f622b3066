// Starts a chat: with one person by user name, or a group with a title and several people.

import { useState } from "preact/hooks";
import { goTo } from "../app/route";
import { faultSentence } from "../app/sentences";
import { client } from "../app/session";
import { codeOf, type User } from "../chatmesh";
import { Dialog } from "./Dialog";
import { findPerson, NameField, PeoplePicker } from "./PeoplePicker";

type Kind = "direct" | "group";

export function NewChat({ onClose }: { onClose: () => void }) {
  const [kind, setKind] = useState<Kind>("direct");
  const [name, setName] = useState("");
  const [title, setTitle] = useState("");
  const [people, setPeople] = useState<readonly User[]>([]);
  const [fault, setFault] = useState("");
  const [busy, setBusy] = useState(false);

  /** start returns the sentence of what is wrong, "" when the chat is open. */
  const start = async (): Promise<string> => {
    const current = client.peek();
    if (!current) return "";
    if (kind === "direct") {
      const other = await findPerson(name, []);
      if (typeof other === "string") return other;
      goTo(await current.create({ kind: "direct", members: [other.id] }));
      return "";
    }
    if (title.trim() === "") return "Please give the group a title.";
    let members = people;
    if (name.trim() !== "") {
      const last = await findPerson(name, people);
      if (typeof last === "string") return last;
      members = [...people, last];
    }
    if (members.length === 0) return "Please add at least one person.";
    const ids = members.map((user) => user.id);
    goTo(await current.create({ kind: "group", title: title.trim(), members: ids }));
    return "";
  };

  const submit = async (event: Event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setFault("");
    const wrong = await start().catch((error) => faultSentence(codeOf(error)));
    setBusy(false);
    setFault(wrong);
    if (wrong === "") onClose();
  };

  const turn = (to: Kind) => {
    setKind(to);
    setFault("");
  };

  return (
    <Dialog title="New chat" onClose={onClose} testid="new-chat-dialog">
      <form onSubmit={submit} noValidate>
        <fieldset class="segments">
          <legend class="unseen">Kind of chat</legend>
          <label>
            <input
              type="radio"
              name="kind"
              data-testid="kind-direct"
              checked={kind === "direct"}
              onChange={() => turn("direct")}
            />
            <span>One person</span>
          </label>
          <label>
            <input
              type="radio"
              name="kind"
              data-testid="kind-group"
              checked={kind === "group"}
              onChange={() => turn("group")}
            />
            <span>Group</span>
          </label>
        </fieldset>
        {kind === "direct" ? (
          <NameField
            label="User name"
            hint="Exactly as they signed up."
            testid="direct-name"
            value={name}
            onInput={setName}
            autofocus
          />
        ) : (
          <>
            <label class="field">
              <span>Title</span>
              <input
                name="title"
                data-testid="group-title"
                maxLength={100}
                autocomplete="off"
                value={title}
                onInput={(event) => setTitle(event.currentTarget.value)}
              />
            </label>
            <PeoplePicker
              people={people}
              onPeople={setPeople}
              name={name}
              onName={setName}
              onFault={setFault}
            />
          </>
        )}
        <p class="fault" role="alert" data-testid="new-chat-error">
          {fault}
        </p>
        <div class="actions">
          <button type="button" class="plain" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="primary" data-testid="create-chat" aria-disabled={busy}>
            {kind === "direct" ? "Start chat" : "Create group"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
