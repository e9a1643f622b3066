// What becomes of a message: later events of the chat change its text, take it away, and put reactions on it.
//
// A message of a page of history has all that happened up to `folded` in it already; what comes live is folded here, in the order of
// the chat. A deletion leaves nothing of a text, also not where another message quotes it.

import type { Change, LogEvent, Mark, Message, Reaction } from "./types";

/** QUOTED code points of a message stand above its answers. */
const QUOTED = 200;

/** Later is an event that changes messages before it. */
export type Later = Mark | (Change & { readonly change: "erased" });

export function isMark(event: LogEvent): event is Mark {
  return event.type === "edit" || event.type === "deletion" || event.type === "reaction";
}

export function isLater(event: LogEvent): event is Later {
  return isMark(event) || (event.type === "chat" && event.change === "erased");
}

/** fold returns the same message where the event says nothing new of it. */
export function fold(message: Message, event: Later): Message {
  if (event.seq <= (message.folded ?? message.seq)) return message;
  if (event.type === "chat") return erased(message, event);
  if (event.target === message.seq) return message.deleted ? message : changed(message, event);
  if (event.target === message.reply?.seq) return quoting(message, event);
  return message;
}

/** quoteOf is what is shown of a text above an answer to it. */
export function quoteOf(text: string): string {
  return [...text.slice(0, 2 * QUOTED)].slice(0, QUOTED).join("");
}

function erased(message: Message, event: Change): Message {
  if (message.sender === event.user) return message.deleted ? message : gone(message, event.seq);
  return message.reply && message.reply.sender === event.user ? unquoted(message) : message;
}

function changed(message: Message, event: Mark): Message {
  switch (event.type) {
    case "deletion":
      return gone(message, event.seq);
    case "edit":
      // An edit without a text is one of a message that has been deleted since.
      if (event.deleted) return gone(message, event.seq);
      return { ...message, text: event.text, edited: true, folded: event.seq };
    case "reaction": {
      const reactions = reacted(message.reactions ?? [], event.emoji, event.by, event.removed ?? false);
      return { ...message, reactions, folded: event.seq };
    }
  }
}

function gone(message: Message, folded: number): Message {
  const { type, chat, seq, sender, client_id, sent_at } = message;
  return { type, chat, seq, sender, client_id, text: "", sent_at, deleted: true, folded };
}

function quoting(message: Message, event: Mark): Message {
  if (!message.reply || event.type === "reaction") return message;
  if (event.type === "deletion" || event.deleted) return unquoted(message);
  return { ...message, reply: { ...message.reply, text: quoteOf(event.text) } };
}

function unquoted(message: Message): Message {
  const { reply } = message;
  return reply
    ? { ...message, reply: { seq: reply.seq, sender: reply.sender, text: "", deleted: true } }
    : message;
}

function reacted(
  reactions: readonly Reaction[],
  emoji: string,
  by: string,
  removed: boolean,
): readonly Reaction[] {
  const old = reactions.find((reaction) => reaction.emoji === emoji);
  if (!old) return removed ? reactions : [...reactions, { emoji, count: 1, users: [by] }];
  if (!removed && old.users.includes(by)) return reactions;
  const users = removed ? old.users.filter((user) => user !== by) : [...old.users, by];
  const fresh = { emoji, count: old.count + (removed ? -1 : 1), users };
  return reactions.flatMap((reaction) => (reaction !== old ? [reaction] : fresh.count > 0 ? [fresh] : []));
}
