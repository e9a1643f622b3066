// Who of a direct chat has blocked the other: its log tells, and while it is so nobody writes behind that.

import type { LogEvent } from "./types";

/** blockers lists those of the two whose block stands, in the order in which they blocked. */
export function blockers(events: readonly LogEvent[]): readonly string[] {
  const found = new Set<string>();
  for (const event of events) {
    if (event.type !== "chat") continue;
    if (event.change === "blocked") found.add(event.by);
    else if (event.change === "unblocked") found.delete(event.by);
  }
  return [...found];
}
