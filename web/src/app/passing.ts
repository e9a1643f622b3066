// Which message is being passed on, while it is not said yet to whom.

import { signal } from "@preact/signals";
import type { Passed } from "../chatmesh";

/** passing is null when no message is. */
export const passing = signal<Passed | null>(null);
