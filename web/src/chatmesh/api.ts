// The HTTP calls of the contract, typed. Tokens are put in, and renewed when the server refuses them.

import { ChatError, codeOf } from "./errors";
import { type Call, type HttpOptions, httpCall } from "./http";
import { sleep } from "./locks";
import { type Pin, parsePins } from "./pins";
import type { Tokens } from "./tokens";
import {
  type Chat,
  type Grant,
  type Invitation,
  isJson,
  type Page,
  type Presence,
  parseChat,
  parseGrant,
  parseInvitation,
  parsePage,
  parsePresence,
  parseUser,
  str,
  type User,
} from "./types";

/** MAX_PATIENCE_MS is the longest time that a call waits by itself when it is told to come later. */
const MAX_PATIENCE_MS = 5_000;
const MAX_TRIES = 3;

export interface SignUp {
  readonly username: string;
  readonly password: string;
  readonly display_name?: string;
}

export type NewChat =
  | { readonly kind: "direct"; readonly members: readonly [string] }
  | { readonly kind: "group"; readonly title: string; readonly members: readonly string[] };

export interface ChatPage {
  readonly chats: readonly Chat[];
  readonly next: string;
}

/** Public holds the calls that need no session. */
export class Public {
  constructor(private readonly http: HttpOptions) {}

  async signUp(account: SignUp): Promise<Grant> {
    return grant(await httpCall(this.http, { method: "POST", path: "/v1/users", body: account }));
  }

  async logIn(username: string, password: string): Promise<Grant> {
    return grant(
      await httpCall(this.http, { method: "POST", path: "/v1/sessions", body: { username, password } }),
    );
  }

  async refresh(refreshToken: string): Promise<Grant> {
    const body = { refresh_token: refreshToken };
    return grant(await httpCall(this.http, { method: "POST", path: "/v1/sessions/refresh", body }));
  }
}

/** Api holds the calls of a logged-in user. Every call may fail with network, timeout and invalid_token. */
export class Api {
  constructor(
    private readonly http: HttpOptions,
    private readonly tokens: Tokens,
  ) {}

  async logOut(): Promise<void> {
    await this.call({ method: "DELETE", path: "/v1/sessions/current", keepalive: true });
  }

  /** userByName fails with not_found for a name that nobody has. */
  async userByName(username: string): Promise<User> {
    const path = `/v1/users?username=${encodeURIComponent(username)}`;
    return must(parseUser(await this.call({ method: "GET", path })));
  }

  /** usersById leaves out whom the caller shares no chat with. At most 100 ids. */
  async usersById(ids: readonly string[]): Promise<readonly User[]> {
    const query = ids.map((id) => `id=${encodeURIComponent(id)}`).join("&");
    const body = await this.call({ method: "GET", path: `/v1/users?${query}` });
    const users = isJson(body) && Array.isArray(body.users) ? body.users : [];
    return users.map(parseUser).filter((user) => user !== null);
  }

  async createChat(chat: NewChat): Promise<Chat> {
    return must(parseChat(await this.call({ method: "POST", path: "/v1/chats", body: chat })));
  }

  /** chats lists the caller's chats, most recently active first; next is "" on the last page. */
  async chats(limit: number, cursor: string): Promise<ChatPage> {
    const query = `limit=${limit}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`;
    const body = await this.call({ method: "GET", path: `/v1/chats?${query}` });
    if (!isJson(body)) throw new ChatError("internal", "the answer could not be read");
    const rows = Array.isArray(body.chats) ? body.chats : [];
    return { chats: rows.map(parseChat).filter((chat) => chat !== null), next: str(body.next_cursor) };
  }

  async chat(id: string): Promise<Chat> {
    return must(parseChat(await this.call({ method: "GET", path: at(id) })));
  }

  async rename(id: string, title: string): Promise<void> {
    await this.call({ method: "PATCH", path: at(id), body: { title } });
  }

  async addMember(id: string, user: string): Promise<void> {
    await this.call({ method: "PUT", path: `${at(id)}/members/${encodeURIComponent(user)}`, body: {} });
  }

  async removeMember(id: string, user: string): Promise<void> {
    await this.call({ method: "DELETE", path: `${at(id)}/members/${encodeURIComponent(user)}` });
  }

  /** makeInvite returns the token of a new link to join by; the one before works no more. */
  async makeInvite(id: string): Promise<string> {
    const body = await this.call({ method: "POST", path: `${at(id)}/invite`, body: {} });
    return must(isJson(body) && str(body.token) !== "" ? str(body.token) : null);
  }

  async revokeInvite(id: string): Promise<void> {
    await this.call({ method: "DELETE", path: `${at(id)}/invite` });
  }

  /** invitation fails with not_found for a link that does not stand. */
  async invitation(token: string): Promise<Invitation> {
    return must(parseInvitation(await this.call({ method: "GET", path: invite(token) })));
  }

  /** join fails with forbidden for whom somebody removed. */
  async join(token: string): Promise<Chat> {
    return must(parseChat(await this.call({ method: "POST", path: invite(token), body: {} })));
  }

  /** history returns the newest page, or with before the page that ends directly below that seq. */
  async history(id: string, limit: number, before = 0): Promise<Page> {
    const query = `limit=${limit}${before ? `&before=${before}` : ""}`;
    return parsePage(await this.call({ method: "GET", path: `${at(id)}/messages?${query}` }));
  }

  /** pins lists the pinned messages of a chat, at most 50, their texts cut after 1,000 code points. */
  async pins(id: string): Promise<readonly Pin[]> {
    return parsePins(await this.call({ method: "GET", path: `${at(id)}/pins` }));
  }

  /** mute keeps a chat silent until a time, or not at all any more with null. */
  async mute(id: string, until: string | null): Promise<void> {
    await this.call({ method: "PUT", path: `${at(id)}/settings`, body: { muted_until: until } });
  }

  /** block fails with conflict for whom has blocked as many as the server allows. */
  async block(user: string): Promise<void> {
    await this.call({ method: "PUT", path: `/v1/blocks/${encodeURIComponent(user)}` });
  }

  async unblock(user: string): Promise<void> {
    await this.call({ method: "DELETE", path: `/v1/blocks/${encodeURIComponent(user)}` });
  }

  async presence(users: readonly string[]): Promise<readonly Presence[]> {
    const query = users.map((user) => `user=${encodeURIComponent(user)}`).join("&");
    const body = await this.call({ method: "GET", path: `/v1/presence?${query}` });
    const rows = isJson(body) && Array.isArray(body.presence) ? body.presence : [];
    return rows.map(parsePresence).filter((row) => row !== null);
  }

  /** call renews a refused token once, and waits a little when the server says that it is too soon. */
  private async call(call: Call): Promise<unknown> {
    let token = await this.tokens.access();
    let renewed = false;
    for (let tries = 1; ; tries++) {
      try {
        return await httpCall(this.http, { ...call, token });
      } catch (error) {
        const code = codeOf(error);
        if (!renewed && (code === "invalid_token" || code === "unauthorized")) {
          renewed = true;
          token = await this.tokens.renew(token);
          continue;
        }
        const wait = error instanceof ChatError && error.retryAfterMs > 0 ? error.retryAfterMs : 500 * tries;
        const again = code === "rate_limited" || (code === "unavailable" && call.method === "GET");
        if (!again || tries >= MAX_TRIES || wait > MAX_PATIENCE_MS) throw error;
        await sleep(wait);
      }
    }
  }
}

function at(chat: string): string {
  return `/v1/chats/${encodeURIComponent(chat)}`;
}

function invite(token: string): string {
  return `/v1/invites/${encodeURIComponent(token)}`;
}

function grant(body: unknown): Grant {
  return must(parseGrant(body));
}

function must<T>(value: T | null): T {
  if (value === null) throw new ChatError("internal", "the answer could not be read");
  return value;
}
