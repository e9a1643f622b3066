// Times as people read them, in the browser's language and zone.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const dayMonth = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const shortDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const longDay = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const longDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

const DAY_MS = 86_400_000;

export function parseTime(time: string): Date | null {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** dayKey is the same for two times of one local day. */
export function dayKey(date: Date): string {
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

export function clockTime(date: Date): string {
  return clock.format(date);
}

export function fullTime(date: Date): string {
  return full.format(date);
}

/** daysAgo counts midnights between the two. */
function daysAgo(date: Date, now: Date): number {
  const start = (d: Date) => Date.UTC(d.getFullYear(), d.getMonth(), d.getDate());
  return Math.round((start(now) - start(date)) / DAY_MS);
}

/** dayLabel heads a day of the conversation. */
export function dayLabel(date: Date, now = new Date()): string {
  const days = daysAgo(date, now);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return date.getFullYear() === now.getFullYear() ? longDay.format(date) : longDate.format(date);
}

/** listTime is short enough for a row of the chat list. */
export function listTime(date: Date, now = new Date()): string {
  const days = daysAgo(date, now);
  if (days <= 0) return clock.format(date);
  if (days === 1) return "Yesterday";
  if (days < 7) return weekday.format(date);
  return date.getFullYear() === now.getFullYear() ? dayMonth.format(date) : shortDate.format(date);
}

/** endTime is when something ends: the clock alone for today. */
export function endTime(date: Date, now = new Date()): string {
  if (daysAgo(date, now) === 0) return clock.format(date);
  const day = date.getFullYear() === now.getFullYear() ? dayMonth.format(date) : shortDate.format(date);
  return `${day}, ${clock.format(date)}`;
}

/** lastSeen says when somebody was online last. */
export function lastSeen(date: Date, now = new Date()): string {
  const minutes = Math.floor((now.getTime() - date.getTime()) / 60_000);
  if (minutes < 1) return "last seen just now";
  if (minutes < 60) return `last seen ${minutes} min ago`;
  const days = daysAgo(date, now);
  if (days === 0) return `last seen today at ${clock.format(date)}`;
  if (days === 1) return `last seen yesterday at ${clock.format(date)}`;
  return `last seen on ${listTime(date, now)}`;
}
