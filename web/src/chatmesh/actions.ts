// What a person does with messages that are there. It shows when its event comes, on this device as on all others.
//
// Errors of all calls: those of the server, network, timeout. Each may be said twice: what is so already stays so.

import { ACK_WITHIN_MS } from "./delivery";
import { ChatError } from "./errors";
import { textFault, wellFormed } from "./text";
import type { Json } from "./types";

export class Actions {
  constructor(
    private readonly request: (frame: Json, timeoutMs: number) => Promise<Json>,
    private readonly hidden: (chat: string, seq: number) => void,
  ) {}

  /** edit gives an own message another text. Further errors: empty, too_long. */
  async edit(chat: string, seq: number, text: string): Promise<void> {
    const fault = textFault(text);
    if (fault) throw new ChatError(fault, "this text cannot be sent");
    await this.request({ type: "edit", chat, seq, text: wellFormed(text) }, ACK_WITHIN_MS);
  }

  /** erase deletes a message, for all or out of the sight of this user. */
  async erase(chat: string, seq: number, whose: "all" | "me"): Promise<void> {
    await this.request({ type: "delete", chat, seq, for: whose }, ACK_WITHIN_MS);
    if (whose === "me") this.hidden(chat, seq);
  }

  /** react puts an emoji on a message, or takes it back. */
  async react(chat: string, seq: number, emoji: string, remove: boolean): Promise<void> {
    await this.request({ type: "react", chat, seq, emoji, ...(remove ? { remove } : {}) }, ACK_WITHIN_MS);
  }

  /** pin pins a message to its chat, or takes it down. */
  async pin(chat: string, seq: number, remove: boolean): Promise<void> {
    await this.request({ type: "pin", chat, seq, ...(remove ? { remove } : {}) }, ACK_WITHIN_MS);
  }
}
