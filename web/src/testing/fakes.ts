// Stand-ins for what lies outside the pure logic: a socket without a network.

import { vi } from "vitest";
import type { Wire } from "../chatmesh/connection";
import type { Change, Deletion, Edit, Json, Message, Reacted } from "../chatmesh/types";

export class FakeWire implements Wire {
  onopen: Wire["onopen"] = null;
  onmessage: Wire["onmessage"] = null;
  onclose: Wire["onclose"] = null;
  readonly sent: Json[] = [];
  closed = 0;

  send(data: string): void {
    this.sent.push(JSON.parse(data));
  }

  close(code = 1000): void {
    this.closed = code;
  }

  /** welcome plays the server's part of the opening. */
  welcome(): void {
    this.onopen?.();
    this.receive({ type: "welcome", user: "u1", session: "s1", server_time: "2026-01-01T00:00:00Z" });
  }

  receive(frame: Json): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  drop(code: number): void {
    this.onclose?.({ code });
  }

  /** of lists the frames of one type that were sent. */
  of(type: string): Json[] {
    return this.sent.filter((frame) => frame.type === type);
  }

  /** answer answers the last frame of a type. */
  answer(type: string, frame: Json): void {
    this.receive({ ...frame, id: this.of(type).at(-1)?.id });
  }
}

/** Wires hands out fake sockets and remembers them. */
export class Wires {
  readonly all: FakeWire[] = [];

  readonly open = (): FakeWire => {
    const wire = new FakeWire();
    this.all.push(wire);
    return wire;
  };

  get last(): FakeWire {
    const wire = this.all.at(-1);
    if (!wire) throw new Error("no socket was opened");
    return wire;
  }
}

/** settle lets all promises that can go on do so, with the clock standing still. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

export function message(seq: number, change: Partial<Message> = {}): Message {
  return {
    type: "message",
    chat: "c1",
    seq,
    sender: "u2",
    client_id: `m${seq}`,
    text: `text ${seq}`,
    sent_at: "2026-01-01T12:00:00.000Z",
    ...change,
  };
}

export function change(seq: number, rest: Partial<Change> = {}): Change {
  return {
    type: "chat",
    chat: "c1",
    seq,
    change: "title",
    by: "u2",
    at: "2026-01-01T12:00:00.000Z",
    ...rest,
  };
}

export function seqs(events: readonly { readonly seq: number }[]): number[] {
  return events.map((event) => event.seq);
}

export function edit(seq: number, target: number, text: string): Edit {
  return { type: "edit", chat: "c1", seq, target, by: "u2", text };
}

export function deletion(seq: number, target: number): Deletion {
  return { type: "deletion", chat: "c1", seq, target, by: "u2" };
}

export function reaction(seq: number, target: number, emoji: string, by = "u2"): Reacted {
  return { type: "reaction", chat: "c1", seq, target, by, emoji };
}
