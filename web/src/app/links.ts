// Finds web addresses in a text, so that they can be shown as links. Everything else stays text.

export interface Piece {
  readonly text: string;
  /** href is "" for plain text. */
  readonly href: string;
}

const ADDRESS = /\bhttps?:\/\/[^\s<>"'`]+/gi;
/** Behind an address these belong to the sentence around it. */
const TRAILING = /[.,:;!?…]+$/;

export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let done = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = trimEnd(match[0]);
    if (!isAddress(address)) continue;
    if (match.index > done) found.push({ text: text.slice(done, match.index), href: "" });
    found.push({ text: address, href: address });
    done = match.index + address.length;
  }
  if (done < text.length) found.push({ text: text.slice(done), href: "" });
  return found;
}

/** trimEnd also drops a closing bracket that the address did not open. */
function trimEnd(raw: string): string {
  const address = raw.replace(TRAILING, "");
  if (address.endsWith(")") && !address.includes("(")) return address.slice(0, -1).replace(TRAILING, "");
  return address;
}

function isAddress(address: string): boolean {
  try {
    return ["http:", "https:"].includes(new URL(address).protocol);
  } catch {
    return false;
  }
}
