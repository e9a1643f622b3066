// What opens beside the conversation and tells about it: its frame, and how a change that fails is shown in it.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { faultSentence } from "../app/sentences";
import { codeOf } from "../chatmesh";
import { Icon } from "./Icon";

interface Props {
  readonly title: string;
  readonly testid: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}

export function Panel({ title, testid, onClose, children }: Props) {
  const close = useRef<HTMLButtonElement>(null);
  useEffect(() => close.current?.focus(), []);
  return (
    <aside
      class="panel"
      aria-label={title}
      data-testid={testid}
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
      }}
    >
      <header>
        <h2>{title}</h2>
        <button
          ref={close}
          type="button"
          class="round"
          aria-label={`Close ${title.toLowerCase()}`}
          data-testid="panel-close"
          onClick={onClose}
        >
          <Icon name="close" />
        </button>
      </header>
      <div class="panel-body">{children}</div>
    </aside>
  );
}

/** Attempt runs a change, shows what went wrong, and says whether it went well. */
export type Attempt = (change: () => Promise<void>) => Promise<boolean>;

/** useFault holds the sentence of what went wrong last, "" for nothing. */
export function useFault(): [string, (sentence: string) => void, Attempt] {
  const [fault, setFault] = useState("");
  const attempt = async (change: () => Promise<void>): Promise<boolean> => {
    setFault("");
    try {
      await change();
      return true;
    } catch (error) {
      setFault(faultSentence(codeOf(error)));
      return false;
    }
  };
  return [fault, setFault, attempt];
}
