// One WebSocket at a time, kept alive for as long as it is wanted.
//
//   start ──► connecting ── welcome ──► online ── lost, silent, draining ──► waiting ──► connecting …
//                  │                                                            ▲
//                  └── refused, no answer ──────────────────────────────────────┘
//   stop, session ended, protocol refused ──► stopped
//
// Silence is noticed by a ping every 25 s that must be answered within 10 s. The wait before an attempt is drawn
// with full jitter (see backoff.ts); a draining edge gives the span to draw from.

import { backoff, type Random } from "./backoff";
import { verdictOf } from "./closing";
import { Emitter } from "./emitter";
import { ChatError, codeOf } from "./errors";
import { isJson, type Json, str } from "./types";

export const PING_EVERY_MS = 25_000;
export const PONG_WITHIN_MS = 10_000;
const WELCOME_WITHIN_MS = 20_000;
const STEADY_AFTER_MS = 10_000;

/** Wire is the part of a WebSocket that is used here. */
export interface Wire {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(data: string): void;
  close(code?: number): void;
}

export interface ConnectionOptions {
  readonly open: () => Wire;
  /** token and renew fail with invalid_token when the session is over. */
  readonly token: () => Promise<string>;
  readonly renew: (refused: string) => Promise<string>;
  readonly cursors: () => Record<string, number>;
  readonly random?: Random;
}

export type ConnectionState =
  | { readonly phase: "connecting" }
  | { readonly phase: "online" }
  /** retryAt is in milliseconds of this machine's clock. */
  | { readonly phase: "waiting"; readonly retryAt: number }
  | { readonly phase: "stopped" };

interface Events {
  state: ConnectionState;
  /** welcome comes once for each connection, before all of its frames. */
  welcome: Json;
  frame: Json;
  /** blame: the server closed because of a frame that this side had sent. */
  blame: number;
  /** ended: the session is over; there will be no further attempt. */
  ended: undefined;
}

interface Waiter {
  readonly resolve: (frame: Json) => void;
  readonly reject: (error: ChatError) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

type Timer = ReturnType<typeof setTimeout> | undefined;

export class Connection extends Emitter<Events> {
  state: ConnectionState = { phase: "stopped" };

  private wire: Wire | null = null;
  /** round tells the callbacks of an abandoned attempt from those of the present one. */
  private round = 0;
  private attempt = 0;
  private renewedFor = "";
  private token = "";
  private welcomedAt = 0;
  private drainUntil = 0;
  private lastId = 0;
  private readonly random: Random;
  private readonly waiters = new Map<string, Waiter>();
  private retryTimer: Timer;
  private pingTimer: Timer;
  private pongTimer: Timer;
  private welcomeTimer: Timer;

  constructor(private readonly options: ConnectionOptions) {
    super();
    this.random = options.random ?? Math.random;
  }

  get online(): boolean {
    return this.state.phase === "online";
  }

  start(): void {
    if (this.state.phase === "stopped") void this.connect();
  }

  stop(): void {
    this.abandon();
    this.enter({ phase: "stopped" });
  }

  /** hurry ends a wait at once: the network is back, or a person asks for it. */
  hurry(): void {
    if (this.state.phase === "waiting") void this.connect();
  }

  /** probe asks a connection that may be dead for a sign of life now. */
  probe(): void {
    if (this.online && this.pongTimer === undefined) this.ping();
  }

  /** send passes a frame on that has no answer; it is lost when there is no connection. */
  send(frame: Json): void {
    if (this.online) this.wire?.send(JSON.stringify(frame));
  }

  /**
   * request sends a frame with an id of its own and returns the answer. Errors: network when the connection is or
   * gets lost, timeout, else the code of the server's error frame.
   */
  request(frame: Json, timeoutMs: number): Promise<Json> {
    if (!this.online) return Promise.reject(new ChatError("network", "not connected"));
    const id = `r${++this.lastId}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiters.delete(id);
        reject(new ChatError("timeout", "no answer in time"));
      }, timeoutMs);
      this.waiters.set(id, { resolve, reject, timer });
      this.wire?.send(JSON.stringify({ ...frame, id }));
    });
  }

  private async connect(): Promise<void> {
    this.abandon();
    const round = this.round;
    this.enter({ phase: "connecting" });
    try {
      this.token = await this.options.token();
    } catch (error) {
      if (round === this.round) this.failed(error);
      return;
    }
    if (round === this.round) this.open(round);
  }

  private open(round: number): void {
    let wire: Wire;
    try {
      wire = this.options.open();
    } catch {
      this.retry();
      return;
    }
    this.wire = wire;
    this.welcomeTimer = setTimeout(() => this.lost(1006), WELCOME_WITHIN_MS);
    wire.onopen = () => {
      const hello = { type: "hello", token: this.token, cursors: this.options.cursors() };
      if (round === this.round) wire.send(JSON.stringify(hello));
    };
    wire.onmessage = (event) => {
      if (round === this.round) this.received(event.data);
    };
    wire.onclose = (event) => {
      if (round === this.round) this.lost(event.code);
    };
  }

  private received(data: unknown): void {
    const frame = parseFrame(data);
    if (!frame) return;
    this.alive();
    if (frame.type === "welcome") {
      clearTimeout(this.welcomeTimer);
      this.welcomedAt = Date.now();
      this.enter({ phase: "online" });
      this.emit("welcome", frame);
      return;
    }
    if (frame.type === "draining") this.drain(frame);
    if (!this.answers(frame)) this.emit("frame", frame);
  }

  /** answers gives a frame to the request that waits for it. Presence frames are news as well as an answer. */
  private answers(frame: Json): boolean {
    const waiter = this.waiters.get(str(frame.id));
    if (!waiter || frame.type === "presence") return false;
    this.waiters.delete(str(frame.id));
    clearTimeout(waiter.timer);
    if (frame.type === "error") waiter.reject(frameError(frame));
    else waiter.resolve(frame);
    return true;
  }

  /** alive notes a sign of life, whatever it is, and plans the next ping. */
  private alive(): void {
    clearTimeout(this.pongTimer);
    this.pongTimer = undefined;
    clearTimeout(this.pingTimer);
    this.pingTimer = setTimeout(() => this.ping(), PING_EVERY_MS);
  }

  private ping(): void {
    clearTimeout(this.pingTimer);
    this.pongTimer = setTimeout(() => this.lost(1006), PONG_WITHIN_MS);
    this.wire?.send(JSON.stringify({ type: "ping", id: `p${++this.lastId}` }));
  }

  /** drain leaves an edge that goes away, at a moment drawn from the span that it gives. */
  private drain(frame: Json): void {
    const span = typeof frame.reconnect_after_ms === "number" ? frame.reconnect_after_ms : 0;
    const wait = Math.round(this.random() * Math.max(0, span));
    this.drainUntil = Date.now() + wait;
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => void this.connect(), wait);
  }

  private lost(code: number): void {
    const refused = this.token;
    const drain = this.drainUntil;
    const steady = this.welcomedAt > 0 && Date.now() - this.welcomedAt >= STEADY_AFTER_MS;
    this.abandon();
    if (steady) this.attempt = 0;
    const verdict = verdictOf(code);
    if (verdict === "ended") return this.ended();
    if (verdict === "stop") return this.enter({ phase: "stopped" });
    if (verdict === "renew") return void this.renew(refused);
    if (verdict === "blame") this.emit("blame", code);
    if (drain > Date.now()) return this.wait(drain - Date.now());
    this.retry();
  }

  /** renew answers a refused token: once with a new one, and if that is refused too, the session is over. */
  private async renew(refused: string): Promise<void> {
    const round = this.round;
    if (this.renewedFor === refused) return this.ended();
    this.enter({ phase: "connecting" });
    try {
      this.renewedFor = await this.options.renew(refused);
    } catch (error) {
      if (round === this.round) this.failed(error);
      return;
    }
    if (round === this.round) void this.connect();
  }

  private failed(error: unknown): void {
    if (codeOf(error) === "invalid_token") this.ended();
    else this.retry();
  }

  private ended(): void {
    this.stop();
    this.emit("ended", undefined);
  }

  private retry(): void {
    this.abandon();
    this.wait(backoff(this.attempt++, this.random));
  }

  private wait(ms: number): void {
    this.retryTimer = setTimeout(() => void this.connect(), ms);
    this.enter({ phase: "waiting", retryAt: Date.now() + ms });
  }

  /** abandon forgets the present attempt, its timers and whoever waits for its answers. */
  private abandon(): void {
    this.round++;
    for (const timer of [this.retryTimer, this.pingTimer, this.pongTimer, this.welcomeTimer])
      clearTimeout(timer);
    this.pongTimer = undefined;
    this.welcomedAt = 0;
    this.drainUntil = 0;
    const wire = this.wire;
    this.wire = null;
    if (wire) {
      wire.onopen = wire.onmessage = wire.onclose = null;
      wire.close(1000);
    }
    const waiters = [...this.waiters.values()];
    this.waiters.clear();
    for (const waiter of waiters) {
      clearTimeout(waiter.timer);
      waiter.reject(new ChatError("network", "the connection was lost"));
    }
  }

  private enter(state: ConnectionState): void {
    this.state = state;
    this.emit("state", state);
  }
}

function parseFrame(data: unknown): Json | null {
  if (typeof data !== "string") return null;
  try {
    const frame: unknown = JSON.parse(data);
    return isJson(frame) ? frame : null;
  } catch {
    return null;
  }
}

function frameError(frame: Json): ChatError {
  const wait = typeof frame.retry_after_ms === "number" ? frame.retry_after_ms : 0;
  return new ChatError(str(frame.code) || "internal", str(frame.message), wait);
}
