// Who is typing where. The sign is ephemeral: it goes by itself when no further one comes.

export const TYPING_SHOWN_MS = 6_000;
export const TYPING_SENT_EVERY_MS = 3_000;

export class Typing {
  private readonly timers = new Map<string, Map<string, ReturnType<typeof setTimeout>>>();
  private readonly lastSent = new Map<string, number>();

  constructor(private readonly changed: (chat: string) => void) {}

  /** of lists the users who are typing in the chat. */
  of(chat: string): string[] {
    return [...(this.timers.get(chat)?.keys() ?? [])];
  }

  /** seen shows the sign for ms, unless it comes again. */
  seen(chat: string, user: string, ms = TYPING_SHOWN_MS): void {
    const users = this.timers.get(chat) ?? new Map();
    this.timers.set(chat, users);
    clearTimeout(users.get(user));
    users.set(
      user,
      setTimeout(() => this.done(chat, user), ms),
    );
    this.changed(chat);
  }

  /** done ends the sign at once: the message is there, or they have stopped. */
  done(chat: string, user: string): void {
    const users = this.timers.get(chat);
    if (!users?.has(user)) return;
    clearTimeout(users.get(user));
    users.delete(user);
    this.changed(chat);
  }

  /** mayTell says whether it is time to tell the others again that this user types, and notes that it is told. */
  mayTell(chat: string): boolean {
    if (Date.now() - (this.lastSent.get(chat) ?? 0) < TYPING_SENT_EVERY_MS) return false;
    this.lastSent.set(chat, Date.now());
    return true;
  }

  /** sent starts anew after a message: the next key is told at once. */
  sent(chat: string): void {
    this.lastSent.delete(chat);
  }

  stop(): void {
    for (const users of this.timers.values()) for (const timer of users.values()) clearTimeout(timer);
    this.timers.clear();
  }
}
