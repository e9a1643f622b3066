// One message. It renders again only when something that it shows has changed: there may be thousands of them.

import { Component, createRef } from "preact";
import { pieces } from "../app/links";
import { faultSentence, type Names, nameOf } from "../app/sentences";
import { client } from "../app/session";
import { clockTime, fullTime } from "../app/time";
import type { MessageRow, Status } from "../app/timeline";
import { Avatar, hueOf } from "./Avatar";
import { Icon } from "./Icon";
import { MessageActions, Reactions } from "./MessageActions";

/** FOLD_FROM characters are folded to FOLD_TO until the reader wants them all. */
const FOLD_FROM = 3_000;
const FOLD_TO = 1_500;

interface Props {
  readonly row: MessageRow;
  readonly group: boolean;
  readonly names: Names;
  /** manager says whether the reader may delete what others wrote. */
  readonly manager: boolean;
}

interface State {
  readonly unfolded: boolean;
  /** acting says whether what can be done with the message is shown. */
  readonly acting: boolean;
}

export class MessageItem extends Component<Props, State> {
  override state = { unfolded: false, acting: false };
  private readonly more = createRef<HTMLButtonElement>();

  override shouldComponentUpdate(next: Props, state: State): boolean {
    const { row, group, names } = this.props;
    const other = next.row;
    if (state.unfolded !== this.state.unfolded || state.acting !== this.state.acting) return true;
    if (group !== next.group || this.props.manager !== next.manager) return true;
    const named = [row.sender, row.replySender, ...row.reactions.flatMap((reaction) => reaction.users)];
    if (named.some((id) => nameOf(names, id) !== nameOf(next.names, id))) return true;
    return (Object.keys(row) as (keyof MessageRow)[]).some((key) =>
      key === "at" ? row.at.getTime() !== other.at.getTime() : row[key] !== other[key],
    );
  }

  override render({ row, group, names, manager }: Props, { acting }: State) {
    const stands = row.seq > 0 && !row.deleted;
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
        <div class="line">
          <div class="bubble" title={fullTime(row.at)}>
            {named && row.first ? (
              <b class={`sender ink-${hueOf(row.sender)}`} data-testid="sender">
                {name}
              </b>
            ) : (
              <span class="unseen">{row.own ? "You" : name}: </span>
            )}
            {row.forwarded && <p class="passed">Passed on</p>}
            {row.replyTo > 0 && !row.deleted && <Quote row={row} names={names} />}
            {row.deleted ? (
              <p class="text gone" data-testid="deleted">
                This message was deleted
              </p>
            ) : (
              <p class="text" data-testid="text" dir="auto">
                {this.text(row.text)}
              </p>
            )}
          </div>
          {stands && (
            <button
              ref={this.more}
              type="button"
              class="more"
              aria-label="What to do with this message"
              aria-expanded={acting}
              data-testid="more"
              onClick={() => this.setState({ acting: !acting })}
            >
              <Icon name="more" />
            </button>
          )}
        </div>
        <Reactions row={row} names={names} />
        {stands && acting && <MessageActions row={row} manager={manager} close={this.close} />}
        {row.status === "failed" ? <Failed row={row} /> : <Meta row={row} />}
      </li>
    );
  }

  private readonly close = (back: boolean) => {
    this.setState({ acting: false });
    if (back) this.more.current?.focus();
  };

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

function Quote({ row, names }: { row: MessageRow; names: Names }) {
  const known = row.replySender !== "";
  return (
    <blockquote class="quote" data-testid="quote">
      {known && <b>{nameOf(names, row.replySender)}</b>}
      <span>
        {row.replyDeleted ? "This message was deleted" : known ? row.replyText : "An earlier message"}
      </span>
    </blockquote>
  );
}

const STATUS_WORDS: Record<Status, string> = {
  "": "",
  sending: "Sending…",
  failed: "",
  sent: "Sent",
  read: "Read",
};

function Meta({ row }: { row: MessageRow }) {
  const shown = row.last || row.edited || row.pinned || row.status === "sending";
  return (
    <span class={shown ? "meta" : "meta unseen"}>
      {row.pinned && <span data-testid="pinned">pinned</span>}
      {row.edited && <span data-testid="edited">edited</span>}
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
        onClick={() => client.peek()?.outgoing.retry(row.clientId)}
      >
        Try again
      </button>
      <button
        type="button"
        class="link"
        data-testid="discard"
        onClick={() => client.peek()?.outgoing.discard(row.clientId)}
      >
        Discard
      </button>
    </span>
  );
}
