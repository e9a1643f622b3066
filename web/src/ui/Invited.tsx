// Joining a group by a link, which the address names.

import { useSignalEffect } from "@preact/signals";
import { goTo, invited } from "../app/route";
import { faultSentence } from "../app/sentences";
import { api } from "../app/session";
import { tell } from "../app/store";
import { codeOf } from "../chatmesh";
import { ask } from "./Confirm";

export function Invited() {
  useSignalEffect(() => {
    if (invited.value !== "") void follow(invited.value);
  });
  return null;
}

async function follow(token: string): Promise<void> {
  try {
    const group = await api.invitation(token);
    if (!group.member) {
      const count = group.members_count;
      const text = `The group has ${count} ${count === 1 ? "member" : "members"}. They will see that you joined.`;
      if (!(await ask({ title: `Join “${group.title}”?`, text, action: "Join" }))) return goTo("");
      await api.join(token);
    }
    goTo(group.id);
  } catch (error) {
    tell(sentence(codeOf(error)));
    goTo("");
  }
}

function sentence(code: string): string {
  if (code === "not_found") return "This link does not work any more. Ask for a new one.";
  if (code === "forbidden") return "Somebody removed you from this group. Ask to be added again.";
  return faultSentence(code);
}
