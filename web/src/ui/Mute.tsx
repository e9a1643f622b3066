// For how long a chat is silent, in the panel about it.

import { useLayoutEffect, useRef } from "preact/hooks";
import { minute } from "../app/clock";
import { endOf, muteWords, SPANS } from "../app/mute";
import { client } from "../app/session";
import type { OpenChat } from "../app/store";
import type { Attempt } from "./Panel";

export function Mute({ chat, attempt }: { chat: OpenChat; attempt: Attempt }) {
  void minute.value;
  const box = useRef<HTMLDivElement>(null);
  const words = muteWords(chat.mutedUntil);
  const pressed = useRef(false);
  const muted = words !== "";

  // The button that was pressed goes away: the focus goes to what can be done next.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the buttons change with it
  useLayoutEffect(() => {
    if (pressed.current) box.current?.querySelector("button")?.focus();
    pressed.current = false;
  }, [muted]);

  const mute = async (until: string) => {
    pressed.current = true;
    if (!(await attempt(async () => client.peek()?.mute(chat.id, until)))) pressed.current = false;
  };
  return (
    <section class="panel-form" aria-label="Mute">
      <h3>
        Mute <span data-testid="muted-until">{words || "off"}</span>
      </h3>
      <div class="actions spread" ref={box}>
        {muted ? (
          <button type="button" class="plain" data-testid="unmute" onClick={() => void mute("")}>
            Unmute
          </button>
        ) : (
          SPANS.map((span) => (
            <button
              key={span.id}
              type="button"
              class="plain"
              aria-label={`Mute: ${span.words}`}
              data-testid="mute"
              data-span={span.id}
              onClick={() => void mute(endOf(span))}
            >
              {span.words}
            </button>
          ))
        )}
      </div>
    </section>
  );
}
