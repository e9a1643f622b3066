// What has been typed and not sent, chat by chat, until the tab is closed.

const PREFIX = "chatmesh.draft.";
const MAX_CHARS = 200_000;
const memory = new Map<string, string>();

export function draftOf(chat: string): string {
  return memory.get(chat) ?? read(chat);
}

export function keepDraft(chat: string, text: string): void {
  memory.set(chat, text);
  try {
    if (text === "" || text.length > MAX_CHARS) sessionStorage.removeItem(PREFIX + chat);
    else sessionStorage.setItem(PREFIX + chat, text);
  } catch {
    // Memory keeps it until the page is left.
  }
}

export function clearDrafts(): void {
  memory.clear();
  try {
    for (const key of Object.keys(sessionStorage)) {
      if (key.startsWith(PREFIX)) sessionStorage.removeItem(key);
    }
  } catch {
    // Nothing was kept.
  }
}

function read(chat: string): string {
  try {
    return sessionStorage.getItem(PREFIX + chat) ?? "";
  } catch {
    return "";
  }
}
