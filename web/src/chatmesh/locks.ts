// Mutual exclusion between the tabs of one browser: a refresh token may be used once only.

import type { KeyValue } from "./storage";
import { load, save } from "./storage";

/** Lock runs fn while no other tab runs under the same name. */
export type Lock = <T>(name: string, fn: () => Promise<T>) => Promise<T>;

/** browserLock uses navigator.locks, and the shared storage where the page has none (plain HTTP). */
export function browserLock(store: KeyValue): Lock {
  if (typeof navigator !== "undefined" && navigator.locks) {
    return (name, fn) => navigator.locks.request(name, fn) as ReturnType<typeof fn>;
  }
  return storageLock(store);
}

const HOLD_MS = 40_000;
const SETTLE_MS = 60;

/**
 * storageLock claims a key, waits until racing claims have settled and looks whether its own has won. A tab that
 * died frees its claim after 40 s; a storage that keeps nothing cannot be shared, so fn then runs at once.
 */
export function storageLock(store: KeyValue, random: () => number = Math.random): Lock {
  return async (name, fn) => {
    const key = `chatmesh.lock.${name}`;
    const me = `${Date.now()}-${random()}`;
    for (;;) {
      if (!isHeld(load(store, key))) {
        if (!save(store, key, { owner: me, until: Date.now() + HOLD_MS })) return fn();
        await sleep(SETTLE_MS);
        if (ownerOf(load(store, key)) === me) break;
      }
      await sleep(SETTLE_MS + random() * SETTLE_MS);
    }
    try {
      return await fn();
    } finally {
      if (ownerOf(load(store, key)) === me) store.removeItem(key);
    }
  };
}

interface Claim {
  readonly owner: string;
  readonly until: number;
}

function isHeld(claim: unknown): boolean {
  return claim !== null && (claim as Claim).until > Date.now();
}

function ownerOf(claim: unknown): string | null {
  return claim === null ? null : (claim as Claim).owner;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
