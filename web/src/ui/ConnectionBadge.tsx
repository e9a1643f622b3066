// Tells how the connection stands: a quiet word when all is well, a bar with a way out when not.

import { useEffect, useState } from "preact/hooks";
import { client } from "../app/session";
import { connection } from "../app/store";

export function ConnectionBadge() {
  const state = connection.value;
  const retryAt = state.phase === "waiting" ? state.retryAt : 0;
  const seconds = useCountdown(retryAt);
  return (
    <div class={`connection ${state.phase}`} data-testid="connection" data-phase={state.phase}>
      <i aria-hidden="true" />
      {/* The count is for the eye only: it would be read out every second. */}
      <span role="status">{WORDS[state.phase]}</span>
      {state.phase === "waiting" && (
        <>
          <span aria-hidden="true">, next try {seconds > 0 ? `in ${seconds} s` : "now"}</span>
          <button
            type="button"
            class="link"
            data-testid="retry-now"
            onClick={() => client.peek()?.connection.hurry()}
          >
            Try now
          </button>
        </>
      )}
      {state.phase === "stopped" && (
        <button type="button" class="link" onClick={() => location.reload()}>
          Reload
        </button>
      )}
    </div>
  );
}

const WORDS = {
  connecting: "Connecting…",
  online: "Online",
  waiting: "Offline",
  stopped: "Disconnected. Please reload this page.",
};

function useCountdown(until: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (until === 0) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [until]);
  return until === 0 ? 0 : Math.max(0, Math.ceil((until - now) / 1000));
}
