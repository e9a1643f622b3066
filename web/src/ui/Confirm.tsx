// One question before something that cannot be taken back.

import { signal } from "@preact/signals";
import { Dialog } from "./Dialog";

export interface Question {
  readonly title: string;
  readonly text: string;
  /** action is the word on the button that says yes. */
  readonly action: string;
  readonly danger?: boolean;
}

const asked = signal<(Question & { answer: (yes: boolean) => void }) | null>(null);

/** ask resolves to whether the person said yes. */
export function ask(question: Question): Promise<boolean> {
  asked.value?.answer(false);
  return new Promise((resolve) => {
    const answer = (yes: boolean) => {
      asked.value = null;
      resolve(yes);
    };
    asked.value = { ...question, answer };
  });
}

export function Confirm() {
  const question = asked.value;
  if (!question) return null;
  return (
    <Dialog title={question.title} onClose={() => question.answer(false)} testid="confirm">
      <p>{question.text}</p>
      <div class="actions">
        <button type="button" class="plain" data-testid="confirm-no" onClick={() => question.answer(false)}>
          Cancel
        </button>
        <button
          type="button"
          class={question.danger ? "danger" : "primary"}
          data-testid="confirm-yes"
          onClick={() => question.answer(true)}
        >
          {question.action}
        </button>
      </div>
    </Dialog>
  );
}
