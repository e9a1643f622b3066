// Failures as values with a stable code: the server's own codes, and two for what happens on the way.

/** "network": no answer came; "timeout": none came in time. All other codes are the server's. */
export type ErrorCode =
  | "bad_request"
  | "unauthorized"
  | "forbidden"
  | "not_found"
  | "too_long"
  | "too_large"
  | "rate_limited"
  | "unavailable"
  | "conflict"
  | "too_many_members"
  | "username_taken"
  | "invalid_credentials"
  | "invalid_token"
  | "internal"
  | "network"
  | "timeout"
  | (string & {});

export class ChatError extends Error {
  override readonly name = "ChatError";

  constructor(
    readonly code: ErrorCode,
    message: string,
    /** retryAfterMs is when the server said to come back; 0 if it said nothing. */
    readonly retryAfterMs = 0,
  ) {
    super(message);
  }
}

/** codeOf gives any thrown value a code; "internal" for what is not ours. */
export function codeOf(error: unknown): ErrorCode {
  return error instanceof ChatError ? error.code : "internal";
}

/** isPassing says whether the same call may succeed later without any change. */
export function isPassing(error: unknown): boolean {
  return ["network", "timeout", "unavailable", "internal", "rate_limited"].includes(codeOf(error));
}
