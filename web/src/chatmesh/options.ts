// What the client needs to work, and what it tells.

import type { Api } from "./api";
import type { Random } from "./backoff";
import type { ConnectionState, Wire } from "./connection";
import type { KeyValue } from "./storage";
import type { Tokens } from "./tokens";
import type { User } from "./types";

export interface ClientOptions {
  readonly api: Api;
  readonly tokens: Tokens;
  readonly me: User;
  readonly store: KeyValue;
  readonly open: () => Wire;
  readonly random?: Random;
}

export interface ClientEvents {
  /** chats: something that the list shows has changed. */
  chats: undefined;
  /** log: the events, outbox or read cursors of this chat have changed. */
  log: string;
  typing: string;
  state: ConnectionState;
  /** gone: this user is no member of the chat any more. */
  gone: string;
  /** ended: the server has ended the session. */
  ended: undefined;
}
