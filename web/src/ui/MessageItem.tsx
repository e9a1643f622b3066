// One message. It renders again only when something that it shows has changed: there may be thousands of them.

import { Component } from "preact";
import { pieces } from "../app/links";
import { faultSentence, type Names, nameOf } from "../app/sentences";
import { client } from "../app/session";
import { clockTime, fullTime } from "../app/time";
import type { MessageRow, Status } from "../app/timeline";
import { Avatar, hueOf } from "./Avatar";
import { Icon } from "./Icon";

/** FOLD_FROM characters are folded to FOLD_TO until the reader wants them all. */
const FOLD_FROM = 3_000;
const FOLD_TO = 1_500;

interface Props {
  readonly row: MessageRow;
  readonly group: boolean;
  readonly names: Names;
}

export class MessageItem extends Component<Props, { unfolded: boolean }> {
  override state = { unfolded: false };

  override shouldComponentUpdate(next: Props, state: { unfolded: boolean }): boolean {
    const { row, group, names } = this.props;
    const other = next.row;
    if (state.unfolded !== this.state.unfolded || group !== next.group) return true;
    if (nameOf(names, row.sender) !== nameOf(next.names, other.sender)) return true;
    return (Object.keys(row) as (keyof MessageRow)[]).some((key) =>
      key === "at" ? row.at.getTime() !== other.at.getTime() : row[key] !== other[key],
    );
  }

  override render({ row, group, names }: Props) {
    const name = nameOf(names, row.sender);
    const named = group && !row.own;
    const side = `${row.own ? "own" : "other"}${row.first ? " first" : ""}${row.last ? " last" : ""}`;
    return (
      <li
        class={`message ${side}${named ? " named" : ""} ${row.status}`}
        data-key={row.key}
        data-testid="message"
        data-seq={row.seq || undefined}
        data-own={String(row.own)}
        data-status={row.status || undefined}
      >
        {named && row.last && <Avatar id={row.sender} name={name} small />}
        <div class="bubble" title={fullTime(row.at)}>
          {named && row.first ? (
            <b class={`sender ink-${hueOf(row.sender)}`} data-testid="sender">
              {name}
            </b>
          ) : (
            <span class="unseen">{row.own ? "You" : name}: </span>
          )}
          {row.deleted ? (
            <p class="text gone">This message was deleted</p>
          ) : (
            <p class="text" data-testid="text" dir="auto">
              {this.text(row.text)}
            </p>
          )}
        </div>
        {row.status === "failed" ? <Failed row={row} /> : <Meta row={row} />}
      </li>
    );
  }

  private text(text: string) {
    const folded = text.length > FOLD_FROM && !this.state.unfolded;
    const shown = folded ? text.slice(0, FOLD_TO) : text;
    return (
      <>
        {pieces(shown).map((piece, at) =>
          piece.href === "" ? (
            piece.text
          ) : (
            <a key={at} href={piece.href} target="_blank" rel="noopener noreferrer nofollow">
              {piece.text}
            </a>
          ),
        )}
        {folded && (
          <>
            …{" "}
            <button type="button" class="unfold" onClick={() => this.setState({ unfolded: true })}>
              Show all of it
            </button>
          </>
        )}
      </>
    );
  }
}

const STATUS_WORDS: Record<Status, string> = {
  "": "",
  sending: "Sending…",
  failed: "",
  sent: "Sent",
  read: "Read",
};

function Meta({ row }: { row: MessageRow }) {
  const shown = row.last || row.status === "sending";
  return (
    <span class={shown ? "meta" : "meta unseen"}>
      {row.edited && <span>edited</span>}
      <time dateTime={row.at.toISOString()}>{clockTime(row.at)}</time>
      {row.status !== "" && (
        <span class={`status ${row.status}`} data-testid="status">
          {row.status === "sending" && <Icon name="clock" />}
          {row.status === "sent" && <Icon name="check" />}
          {row.status === "read" && <Icon name="checks" />}
          {STATUS_WORDS[row.status]}
        </span>
      )}
    </span>
  );
}

function Failed({ row }: { row: MessageRow }) {
  return (
    <span class="meta failed" role="alert" data-testid="failed">
      <Icon name="warning" />
      <span>Not sent. {faultSentence(row.code)}</span>
      <button
        type="button"
        class="link"
        data-testid="retry"
        onClick={() => client.peek()?.retry(row.clientId)}
      >
        Try again
      </button>
      <button
        type="button"
        class="link"
        data-testid="discard"
        onClick={() => client.peek()?.discard(row.clientId)}
      >
        Discard
      </button>
    </span>
  );
}
