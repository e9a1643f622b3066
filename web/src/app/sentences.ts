// What the program has to say, as sentences for people.

import type { Change, User } from "../chatmesh";

const FAULTS: Record<string, string> = {
  bad_request: "The server could not accept that. Please check what you entered.",
  unauthorized: "Please log in again.",
  forbidden: "You are not allowed to do that here.",
  not_found: "That could not be found.",
  too_long: "This text is too long: at most 99,999 characters can be sent at once.",
  too_large: "This is too large to be sent.",
  rate_limited: "That was a little too fast. Please wait a moment and try again.",
  unavailable: "The service is busy right now. Please try again in a moment.",
  conflict: "Something else changed at the same time. Please try again.",
  too_many_members: "A group can have at most 100 members.",
  username_taken: "This user name is already taken. Please choose another one.",
  invalid_credentials: "The user name or the password is not right.",
  invalid_token: "Your session has ended. Please log in again.",
  internal: "Something went wrong on the server. Please try again.",
  network: "The server cannot be reached. Please check your connection.",
  timeout: "The server took too long to answer. Please try again.",
  outbox_full: "Too many messages are waiting to be sent. Please wait until some have gone.",
  session_ended: "Your session has ended. Please log in again.",
};

/** faultSentence turns an error code into a sentence; unknown codes get a general one. */
export function faultSentence(code: string): string {
  return FAULTS[code] ?? "Something went wrong. Please try again.";
}

export type Names = ReadonlyMap<string, User>;

/** nameOf is how a person is called on this page. Ids that cannot be resolved belong to people who have left. */
export function nameOf(names: Names, id: string): string {
  const user = names.get(id);
  return user?.display_name || user?.username || "Former member";
}

/** changeSentence tells a change of the chat, with "You" for the reader. */
export function changeSentence(change: Change, me: string, names: Names): string {
  const who = (id: string) => (id === me ? "You" : nameOf(names, id));
  const whom = (id: string) => (id === me ? "you" : nameOf(names, id));
  const by = who(change.by);
  const user = change.user ?? "";
  switch (change.change) {
    case "created":
      return change.kind === "direct" ? "The conversation begins" : `${by} created the group`;
    case "member_added":
      return user === "" || user === change.by ? `${by} joined` : `${by} added ${whom(user)}`;
    case "member_removed":
      return user === "" || user === change.by ? `${by} left` : `${by} removed ${whom(user)}`;
    case "title":
      return change.title ? `${by} changed the title to “${change.title}”` : `${by} changed the title`;
    case "picture":
      return change.picture ? `${by} changed the picture` : `${by} removed the picture`;
    case "description":
      return change.description ? `${by} changed the description` : `${by} removed the description`;
    case "invite":
      return change.invite ? `${by} made a link to join by` : `${by} revoked the link to join by`;
    case "pinned":
      return `${by} pinned a message`;
    case "unpinned":
      return `${by} unpinned a message`;
    case "blocked":
      return `${by} blocked this conversation`;
    case "unblocked":
      return `${by} opened this conversation again`;
    case "erased":
      return `${user ? who(user) : by} deleted all their messages`;
    case "role":
      if (change.role === "owner") return `${who(user)} ${user === me ? "are" : "is"} the owner now`;
      return `${by} made ${whom(user)} ${roleNoun(change.role ?? "member")}`;
    default:
      return `${by} changed the chat`;
  }
}

/** blockSentence says why nobody can write in a direct chat; "" when everybody can. */
export function blockSentence(blockers: readonly string[], me: string, names: Names): string {
  const [first] = blockers;
  if (first === undefined) return "";
  const who = blockers.includes(me) ? "You have" : `${nameOf(names, first)} has`;
  return `${who} blocked this conversation. Nobody can write here.`;
}

function roleNoun(role: string): string {
  if (role === "member") return "a member";
  return /^[aeiou]/.test(role) ? `an ${role}` : `a ${role}`;
}

/** typingSentence is "" when nobody types. */
export function typingSentence(users: readonly string[], group: boolean, names: Names): string {
  const [first, second] = users.map((user) => nameOf(names, user));
  if (first === undefined) return "";
  if (!group) return "typing…";
  if (second === undefined) return `${first} is typing…`;
  return users.length === 2 ? `${first} and ${second} are typing…` : "several people are typing…";
}

/** mayRemove says whether a member of one role may remove one of the other. */
export function mayRemove(role: string, other: string): boolean {
  return role === "owner" || (role === "admin" && other === "member");
}

/** mayManage says whether a role may add and rename. */
export function mayManage(role: string): boolean {
  return role === "owner" || role === "admin";
}

/** mayPin says whether the reader may pin messages: both of a direct chat that is open to them, or who manages a group. */
export function mayPin(chat: {
  readonly group: boolean;
  readonly myRole: string;
  readonly blockedBy: readonly string[];
}): boolean {
  return chat.group ? mayManage(chat.myRole) : chat.blockedBy.length === 0;
}
