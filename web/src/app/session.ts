// Who is logged in on this page: log-in, sign-up, log-out, and what other tabs do to the same session.

import { signal } from "@preact/signals";
import {
  Api,
  browserLock,
  browserStorage,
  ChatClient,
  ChatError,
  type Grant,
  Public,
  SESSION_KEY,
  Tokens,
  type User,
  type Wire,
} from "../chatmesh";
import { clearDrafts } from "./drafts";

/** HTTP_WITHIN_MS is longer than the stall that a fault may cost the backend. */
const HTTP_WITHIN_MS = 30_000;
const GOODBYE_WITHIN_MS = 3_000;

const store = browserStorage();
const http = { base: "", fetch: globalThis.fetch.bind(globalThis), timeoutMs: HTTP_WITHIN_MS };
const open = new Public(http);
const tokens = new Tokens(store, browserLock(store), (token) => open.refresh(token));
const api = new Api(http, tokens);

/** client is the logged-in user's; null when nobody is logged in. */
export const client = signal<ChatClient | null>(null);
/** farewell says why the log-in page is shown to somebody who was logged in; "" otherwise. */
export const farewell = signal("");

export { api };

/** restore goes on with the session that this browser keeps, if there is one. */
export function restore(): void {
  const session = tokens.session;
  if (session) begin(session.user);
  globalThis.addEventListener("storage", (event) => {
    if (event.key === SESSION_KEY || event.key === null) followOtherTab();
  });
  globalThis.addEventListener("online", () => client.value?.connection.hurry());
  globalThis.addEventListener("offline", () => client.value?.connection.probe());
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") return;
    client.value?.connection.hurry();
    client.value?.connection.probe();
  });
}

export async function logIn(username: string, password: string): Promise<void> {
  await enter(await open.logIn(username, password), username);
}

export async function signUp(username: string, password: string, displayName: string): Promise<void> {
  const account = { username, password, ...(displayName ? { display_name: displayName } : {}) };
  await enter(await open.signUp(account), username);
}

/** logOut ends the session and forgets what this browser keeps of it, unsent messages too. */
export async function logOut(): Promise<void> {
  const old = client.value;
  client.value = null;
  farewell.value = "";
  old?.stop();
  old?.forget();
  clearDrafts();
  // Without a network the server's session ends by its age; this browser forgets its tokens either way.
  const goodbye = new Api(http, tokens.part()).logOut().catch(() => {});
  await Promise.race([goodbye, new Promise((resolve) => setTimeout(resolve, GOODBYE_WITHIN_MS))]);
}

async function enter(grant: Grant, username: string): Promise<void> {
  const user = grant.user;
  if (!user) throw new ChatError("internal", `no user in the answer for ${username}`);
  tokens.begin(grant, user);
  farewell.value = "";
  begin(user);
}

function begin(user: User): void {
  const fresh = new ChatClient({ api, tokens, me: user, store, open: openSocket });
  fresh.on("ended", () => {
    if (client.value !== fresh) return;
    client.value = null;
    farewell.value = "session_ended";
    if (tokens.session?.user.id === user.id) tokens.end();
    followOtherTab();
  });
  client.value = fresh;
  fresh.start();
}

/** followOtherTab takes over the log-in, log-out or change of user that another tab has made. */
function followOtherTab(): void {
  const session = tokens.reload();
  const current = client.value;
  if (session?.user.id === current?.me.id) return;
  current?.stop();
  client.value = null;
  if (session) begin(session.user);
}

function openSocket(): Wire {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(`${scheme}//${location.host}/v1/ws`, ["chatmesh.v1"]) as Wire;
}
