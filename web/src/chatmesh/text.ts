// Rules for what people type, counted as the server counts: in Unicode code points.

export const MAX_TEXT = 99_999;

/** countCodePoints counts a surrogate pair as one, which `length` does not. */
export function countCodePoints(text: string): number {
  let count = text.length;
  for (let i = 0; i < text.length - 1; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0xd800 || unit > 0xdbff) continue;
    const next = text.charCodeAt(i + 1);
    if (next >= 0xdc00 && next <= 0xdfff) {
      count--;
      i++;
    }
  }
  return count;
}

/** wellFormed replaces half surrogate pairs, which have no UTF-8 form, by U+FFFD. */
export function wellFormed(text: string): string {
  return text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, "\uFFFD");
}

export type TextFault = "empty" | "too_long";

/** textFault says why a text cannot be sent; null if it can. Blank text counts as empty. */
export function textFault(text: string): TextFault | null {
  if (text.trim() === "") return "empty";
  if (text.length > MAX_TEXT && countCodePoints(text) > MAX_TEXT) return "too_long";
  return null;
}

export function isUsername(name: string): boolean {
  return /^[a-z0-9_]{3,32}$/.test(name);
}

export function isPassword(password: string): boolean {
  const count = countCodePoints(password);
  return count >= 8 && count <= 256;
}
