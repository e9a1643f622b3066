// The passing of time, for what is told relative to now.

import { signal } from "@preact/signals";

/** minute goes up each minute; a component that reads it renders again then. */
export const minute = signal(0);

setInterval(() => {
  minute.value++;
}, 60_000);
