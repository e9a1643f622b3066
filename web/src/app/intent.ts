// What the box to write in is for, where it is not a new message: another text for an own one, or an answer.

import { signal } from "@preact/signals";

export interface Intent {
  readonly kind: "edit" | "reply";
  readonly chat: string;
  readonly seq: number;
  readonly sender: string;
  /** text is that of the message. */
  readonly text: string;
}

/** intent is null when what is written is a new message. */
export const intent = signal<Intent | null>(null);

/** intentIn is the intent for a chat, null for none. */
export function intentIn(chat: string): Intent | null {
  return intent.value?.chat === chat ? intent.value : null;
}

/** dropIntent forgets an intent with a message that is gone, and with it the text. */
export function dropIntent(chat: string, stands: (seq: number) => boolean): void {
  const current = intent.peek();
  if (current && (current.chat !== chat || !stands(current.seq))) intent.value = null;
}
