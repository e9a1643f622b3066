// The steps of the story, in their order. Each has a sentence for a name, and leaves the people where the next one
// finds them: anna and ben at wide screens, with one direct chat and one group between them.

import { after } from "./steps-after.mjs";
import { direct, limit, order, presence, signUp, text, typing, unread } from "./steps-chat.mjs";
import { block, mute, passOn, pins } from "./steps-choices.mjs";
import { group, keyboard, logOut, offline, phone, reload, scrollBack } from "./steps-page.mjs";

export const steps = [
  ["sign-up tells what is wrong in sentences, then works", signUp],
  ["a direct chat is found by user name and opens for both", direct],
  ["messages arrive in one order on both sides", order],
  ["unread goes up while a chat is not looked at, and is cleared by looking", unread],
  ["typing is shown while somebody types", typing],
  ["presence follows who comes and goes", presence],
  ["messages are answered, reacted to, edited and deleted, also while one is away", after],
  ["markup stays text, links become links", text],
  ["texts are counted in code points and refused over the limit", limit],
  ["a group has system events, a panel, new and removed members", group],
  ["a reload keeps the chat, its history and the session", reload],
  ["scrolling back loads older pages and keeps the place", scrollBack],
  ["a second device has the same; what is sent offline arrives once", offline],
  ["a pinned message is found from far back, and what is pinned while one is away", pins],
  ["a message is passed on to another chat with its last text, also to who is away", passOn],
  ["a muted chat counts in the list alone, on all devices, until it is unmuted", mute],
  ["in a blocked chat nobody can write, and both are told why, also who was away", block],
  ["a phone shows the list and the conversation as two screens", phone],
  ["the keyboard is enough", keyboard],
  ["logging out forgets the session", logOut],
];
