// A person or a group as a coloured disc with initials, and a dot for people who are online.

import { client } from "../app/session";
import { connection, presence } from "../app/store";

const HUES = 8;

interface Props {
  readonly id: string;
  readonly name: string;
  readonly group?: boolean;
  /** dot shows the presence of this user; "" for no dot. */
  readonly dot?: string;
  readonly small?: boolean;
}

export function Avatar({ id, name, group = false, dot = "", small = false }: Props) {
  const online = dot !== "" && isOnline(dot);
  const kind = `${group ? " group" : ""}${small ? " small" : ""}`;
  return (
    <span class={`avatar hue-${hueOf(id)}${kind}`}>
      <span aria-hidden="true">{initials(name)}</span>
      {dot !== "" && (
        <span
          class={online ? (isAway(dot) ? "dot online away" : "dot online") : "dot"}
          data-testid="presence"
          data-user={dot}
          data-online={String(online)}
        >
          <span class="unseen">{online ? (isAway(dot) ? "away" : "online") : "offline"}</span>
        </span>
      )}
    </span>
  );
}

/** isOnline is false for everybody while this page itself is not connected: nobody knows then. */
export function isOnline(user: string): boolean {
  if (connection.value.phase !== "online") return false;
  return user === client.value?.me.id || (presence.value.get(user)?.online ?? false);
}

/** isAway: connected, but at none of their devices. */
export function isAway(user: string): boolean {
  return isOnline(user) && user !== client.value?.me.id && (presence.value.get(user)?.away ?? false);
}

export function hueOf(id: string): number {
  let hash = 0;
  for (let i = 0; i < id.length; i++) hash = (hash * 31 + id.charCodeAt(i)) >>> 0;
  return hash % HUES;
}

function initials(name: string): string {
  const words = name.split(/[\s_]+/).filter((word) => word !== "");
  const first = [...(words[0] ?? "?")][0] ?? "?";
  const second = words.length > 1 ? ([...(words.at(-1) ?? "")][0] ?? "") : "";
  return (first + second).toUpperCase();
}
