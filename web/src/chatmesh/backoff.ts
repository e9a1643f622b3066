// Waiting times between attempts: exponential, with full jitter, so that a crowd does not return as one.

export type Random = () => number;

export interface BackoffRange {
  readonly baseMs: number;
  readonly capMs: number;
}

export const RECONNECT: BackoffRange = { baseMs: 500, capMs: 30_000 };

/**
 * backoff returns the wait before attempt number `attempt` (from 0): anything between 0 and the ceiling, which
 * starts at baseMs and doubles up to capMs.
 */
export function backoff(
  attempt: number,
  random: Random = Math.random,
  range: BackoffRange = RECONNECT,
): number {
  const ceiling = Math.min(range.capMs, range.baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(random() * ceiling);
}
