// Where the page is, kept in the address: "#/c/<chat>" is an open chat, anything else the list.

import { signal } from "@preact/signals";

const PATTERN = /^#\/c\/([A-Za-z0-9_-]{1,64})$/;

/** openId is the chat that the address names; "" for none. */
export const openId = signal(read());

export function chatHref(chat: string): string {
  return `#/c/${chat}`;
}

export function goTo(chat: string): void {
  if (chat === "") location.hash = "#/";
  else location.hash = chatHref(chat);
}

export function followAddress(): void {
  globalThis.addEventListener("hashchange", () => {
    openId.value = read();
  });
}

function read(): string {
  return PATTERN.exec(location.hash)?.[1] ?? "";
}
