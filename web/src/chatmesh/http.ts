// One HTTP call of the API: JSON in, JSON out, every failure a ChatError, never an endless wait.

import { ChatError } from "./errors";
import { isJson, str } from "./types";

export interface HttpOptions {
  /** base is put before every path; "" for the page's own origin. */
  readonly base: string;
  readonly fetch: typeof globalThis.fetch;
  /** timeoutMs bounds a call from its start to the last byte of its answer. */
  readonly timeoutMs: number;
}

export interface Call {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  readonly token?: string;
  /** keepalive lets the call outlive the page. */
  readonly keepalive?: boolean;
}

export async function httpCall(options: HttpOptions, call: Call): Promise<unknown> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (call.token) headers.Authorization = `Bearer ${call.token}`;
  if (call.body !== undefined) headers["Content-Type"] = "application/json";
  let response: Response;
  let text: string;
  try {
    response = await options.fetch(options.base + call.path, {
      method: call.method,
      headers,
      body: call.body === undefined ? null : JSON.stringify(call.body),
      signal: AbortSignal.timeout(options.timeoutMs),
      keepalive: call.keepalive ?? false,
      cache: "no-store",
      credentials: "omit",
    });
    text = await response.text();
  } catch (error) {
    const late = error instanceof DOMException && error.name === "TimeoutError";
    throw new ChatError(
      late ? "timeout" : "network",
      late ? "no answer in time" : "the server was not reached",
    );
  }
  const body = parseJson(text);
  if (!response.ok) throw problem(response, body);
  return body;
}

function parseJson(text: string): unknown {
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

/** problem reads RFC 9457 problem+json; a proxy's own error page gets a code by its status. */
function problem(response: Response, body: unknown): ChatError {
  const detail = isJson(body) ? body : {};
  const code = str(detail.code) || codeOfStatus(response.status);
  const message = str(detail.detail) || str(detail.title) || `status ${response.status}`;
  const seconds = Number(response.headers.get("Retry-After") ?? 0);
  const stated = typeof detail.retry_after_ms === "number" ? detail.retry_after_ms : 0;
  return new ChatError(code, message, stated || (Number.isFinite(seconds) ? seconds * 1000 : 0));
}

function codeOfStatus(status: number): string {
  if (status === 401) return "unauthorized";
  if (status === 403) return "forbidden";
  if (status === 404) return "not_found";
  if (status === 413) return "too_large";
  if (status === 429) return "rate_limited";
  if (status >= 502 && status <= 504) return "unavailable";
  return status >= 500 ? "internal" : "bad_request";
}
