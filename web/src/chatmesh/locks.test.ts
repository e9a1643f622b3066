import { beforeEach, describe, expect, test, vi } from "vitest";
import { sleep, storageLock } from "./locks";
import { MemoryStorage } from "./storage";

describe("the lock over a shared storage", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  test("tabs that claim it at the same time run one after the other", async () => {
    const store = new MemoryStorage();
    const steps: string[] = [];
    const work = [1, 2, 3].map((tab) =>
      storageLock(store)("refresh", async () => {
        steps.push(`begin ${tab}`);
        await sleep(500);
        steps.push(`end ${tab}`);
        return tab;
      }),
    );
    await vi.advanceTimersByTimeAsync(20_000);
    expect((await Promise.all(work)).sort()).toEqual([1, 2, 3]);
    for (let i = 0; i < steps.length; i += 2) {
      expect(steps[i + 1]).toBe(steps[i]?.replace("begin", "end"));
    }
    expect(store.length).toBe(0);
  });

  test("a tab that died holds it for 40 s at most", async () => {
    const store = new MemoryStorage();
    void storageLock(store)("refresh", () => new Promise(() => {}));
    await vi.advanceTimersByTimeAsync(1_000);
    const done = vi.fn();
    void storageLock(store)("refresh", async () => done());
    await vi.advanceTimersByTimeAsync(30_000);
    expect(done).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(done).toHaveBeenCalledOnce();
  });

  test("a storage that keeps nothing does not stop the work", async () => {
    const store = new MemoryStorage();
    store.setItem = () => {
      throw new Error("full");
    };
    expect(await storageLock(store)("refresh", async () => 7)).toBe(7);
  });

  test("a failure frees it", async () => {
    const store = new MemoryStorage();
    const failing = storageLock(store)("refresh", () => Promise.reject(new Error("no")));
    failing.catch(() => {});
    await vi.advanceTimersByTimeAsync(1_000);
    await expect(failing).rejects.toThrow("no");
    expect(store.length).toBe(0);
  });
});
