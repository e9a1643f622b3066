// Where the page is, kept in the address: "#/c/<chat>" is an open chat, "#/join/<token>" a link to join a group by, anything else
// the list.

import { signal } from "@preact/signals";

const PATTERN = /^#\/c\/([A-Za-z0-9_-]{1,64})$/;
const INVITE = /^#\/join\/([A-Za-z0-9_-]{24,107})$/;

/** openId is the chat that the address names; "" for none. */
export const openId = signal(read());
/** invited is the token of the link that the address names; "" for none. */
export const invited = signal(readInvite());

export function chatHref(chat: string): string {
  return `#/c/${chat}`;
}

/** inviteLink is what people are sent. What stands behind "#" goes to no server with the page. */
export function inviteLink(token: string): string {
  return `${location.origin}${location.pathname}#/join/${token}`;
}

export function goTo(chat: string): void {
  if (chat === "") location.hash = "#/";
  else location.hash = chatHref(chat);
}

export function followAddress(): void {
  globalThis.addEventListener("hashchange", () => {
    openId.value = read();
    invited.value = readInvite();
  });
}

function read(): string {
  return PATTERN.exec(location.hash)?.[1] ?? "";
}

function readInvite(): string {
  return INVITE.exec(location.hash)?.[1] ?? "";
}
