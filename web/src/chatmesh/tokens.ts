// The session's tokens: kept for all tabs of the browser, renewed once for all of them.
//
//   caller ── access() ──► fresh enough? ── yes ──► token
//                              │ no, or the server refused it: renew(refused)
//                              ▼
//                     lock over all tabs ──► did another tab renew meanwhile? ── yes ──► its token
//                              │ no
//                              ▼
//                     POST /v1/sessions/refresh ──► both tokens replaced
//
// A refresh token that is used twice ends its session, hence the lock and the second look.

import { ChatError, codeOf } from "./errors";
import type { Lock } from "./locks";
import { type KeyValue, load, MemoryStorage, save } from "./storage";
import { type Grant, isJson, parseGrant, parseUser, type User } from "./types";

export const SESSION_KEY = "chatmesh.session";

/** EARLY_MS is how long before its end a token is renewed. */
const EARLY_MS = 30_000;

export interface Session {
  readonly user: User;
  readonly access_token: string;
  readonly refresh_token: string;
  /** expires_at is in milliseconds of this machine's clock; 0 if the server did not say. */
  readonly expires_at: number;
}

export class Tokens {
  private renewing: Promise<string> | null = null;
  private memory: Session | null;

  constructor(
    private readonly store: KeyValue,
    private readonly lock: Lock,
    private readonly refresh: (refreshToken: string) => Promise<Grant>,
  ) {
    this.memory = parseSession(load(store, SESSION_KEY));
  }

  get session(): Session | null {
    return this.memory;
  }

  /** begin keeps a new session, from a login or a new account. */
  begin(grant: Grant, user: User): Session {
    const session: Session = {
      user,
      access_token: grant.access_token,
      refresh_token: grant.refresh_token,
      expires_at: grant.expires_in > 0 ? Date.now() + grant.expires_in * 1000 : 0,
    };
    this.memory = session;
    save(this.store, SESSION_KEY, session);
    return session;
  }

  end(): void {
    this.memory = null;
    this.store.removeItem(SESSION_KEY);
  }

  /** part forgets the session here and hands it to a copy that only memory holds: for a log-out's last call. */
  part(): Tokens {
    const copy = new Tokens(new MemoryStorage(), this.lock, this.refresh);
    copy.memory = this.memory;
    this.end();
    return copy;
  }

  /** reload takes over what another tab has stored. */
  reload(): Session | null {
    this.memory = parseSession(load(this.store, SESSION_KEY));
    return this.memory;
  }

  /** access returns a token that is good for some time yet. Errors: invalid_token, network, timeout. */
  async access(): Promise<string> {
    const session = this.memory;
    if (!session) throw over();
    const fresh = session.expires_at === 0 || session.expires_at - EARLY_MS > Date.now();
    return fresh ? session.access_token : this.renew(session.access_token);
  }

  /**
   * renew returns a token other than the refused one. All callers at one time share one renewal. Errors:
   * invalid_token when the session is over (its tokens are then forgotten), else what the call failed with.
   */
  renew(refused: string): Promise<string> {
    this.renewing ??= this.lock("chatmesh.refresh", () => this.renewAlone(refused)).finally(() => {
      this.renewing = null;
    });
    return this.renewing;
  }

  private async renewAlone(refused: string): Promise<string> {
    const owner = this.memory?.user.id;
    const session = this.shared();
    if (!session || session.user.id !== owner) throw over();
    if (session.access_token !== refused) return session.access_token;
    try {
      const grant = await this.refresh(session.refresh_token);
      return this.begin(grant, grant.user ?? session.user).access_token;
    } catch (error) {
      if (!["invalid_token", "unauthorized"].includes(codeOf(error))) throw error;
      const later = this.shared();
      if (later?.user.id === owner && later.refresh_token !== session.refresh_token)
        return later.access_token;
      this.end();
      throw over();
    }
  }

  /** shared is what all tabs see; the own memory where the storage keeps nothing. */
  private shared(): Session | null {
    const stored = parseSession(load(this.store, SESSION_KEY));
    if (stored) this.memory = stored;
    return stored ?? this.memory;
  }
}

function over(): ChatError {
  return new ChatError("invalid_token", "the session is over");
}

function parseSession(raw: unknown): Session | null {
  const grant = parseGrant(raw);
  const user = isJson(raw) ? parseUser(raw.user) : null;
  if (!grant || !user || !isJson(raw)) return null;
  const expires = typeof raw.expires_at === "number" ? raw.expires_at : 0;
  return { user, access_token: grant.access_token, refresh_token: grant.refresh_token, expires_at: expires };
}
