// A field that finds chats by their titles.

import type { ListRow } from "../app/store";
import { Icon } from "./Icon";

/** FILTER_FROM chats are too many to look through by eye. */
export const FILTER_FROM = 8;

interface Props {
  readonly testid: string;
  readonly value: string;
  readonly onInput: (value: string) => void;
}

export function ChatFilter({ testid, value, onInput }: Props) {
  return (
    <label class="filter">
      <span class="unseen">Find a chat</span>
      <Icon name="search" />
      <input
        type="search"
        placeholder="Find a chat"
        data-testid={testid}
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
    </label>
  );
}

/** matching keeps the order of the rows. */
export function matching(rows: readonly ListRow[], filter: string): readonly ListRow[] {
  const wanted = filter.trim().toLowerCase();
  return wanted === "" ? rows : rows.filter((row) => row.title.toLowerCase().includes(wanted));
}
