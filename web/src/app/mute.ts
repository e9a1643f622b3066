// How long a chat is silent, and what that means for the page.

import { endTime, parseTime } from "./time";

/** ALWAYS is a time that nobody sees. */
const ALWAYS = "9999-12-31T23:59:59Z";
const HOUR_MS = 3_600_000;

export interface Span {
  readonly id: string;
  readonly words: string;
  /** hours is 0 for ever. */
  readonly hours: number;
}

export const SPANS: readonly Span[] = [
  { id: "1h", words: "1 hour", hours: 1 },
  { id: "8h", words: "8 hours", hours: 8 },
  { id: "always", words: "Always", hours: 0 },
];

/** endOf is until when a chat is silent that is muted now. */
export function endOf(span: Span, now = Date.now()): string {
  return span.hours === 0 ? ALWAYS : new Date(now + span.hours * HOUR_MS).toISOString();
}

/** isMuted is false for "" and for a time that has passed. */
export function isMuted(until: string, now = Date.now()): boolean {
  return (parseTime(until)?.getTime() ?? 0) > now;
}

/** muteWords say how long a chat is silent; "" for a chat that is not muted. */
export function muteWords(until: string, now = new Date()): string {
  const end = parseTime(until);
  if (!end || !isMuted(until, now.getTime())) return "";
  if (end.getUTCFullYear() >= 9_999) return "always";
  return `until ${endTime(end, now)}`;
}

/** loud counts the unread messages that a person wants to be told of. */
export function loud(rows: readonly { readonly unread: number; readonly muted: boolean }[]): number {
  return rows.reduce((sum, row) => sum + (row.muted ? 0 : row.unread), 0);
}
