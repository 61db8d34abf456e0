// The parts of RFC 3261 25.1 that many headers share: lists, parameters, tokens and quoted strings.
//
// Every function either returns the parsed value or throws a ParseError. None of them repairs wrong input: what a peer
// sends is not trusted.

/** The text does not follow the grammar of RFC 3261. */
export class ParseError extends Error {}

const TOKEN = /^[A-Za-z0-9.!%*_+`'~-]+$/;

/** Whether the text is a `token`. */
export const isToken = text => TOKEN.test(text);

/**
 * Splits at a separator that is outside of quoted strings and angle brackets.
 * @param {string} text
 * @param {string} separator one character
 * @returns {string[]} the parts without surrounding white space
 */
export function split(text, separator) {
  const parts = [];
  let start = 0;
  let quoted = false;
  let bracketed = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (quoted) {
      if (character === "\\") at++;
      else if (character === '"') quoted = false;
    } else if (character === '"') quoted = true;
    else if (character === "<" && !bracketed) bracketed = true;
    else if (character === ">" && bracketed) bracketed = false;
    else if (character === separator && !bracketed) {
      parts.push(text.slice(start, at).trim());
      start = at + 1;
    }
  }
  if (quoted || bracketed) throw new ParseError("a quote or an angle bracket is not closed");
  parts.push(text.slice(start).trim());
  return parts;
}

/** The content of a quoted string, without its escapes. */
export function unquote(text) {
  if (text.length < 2 || !text.startsWith('"') || !text.endsWith('"')) throw new ParseError("no quoted string");
  return text.slice(1, -1).replace(/\\(.)/gu, "$1");
}

/** A quoted string. */
export const quote = text => `"${text.replace(/[\\"]/g, "\\$&")}"`;

/**
 * Parses `name=value` and `name` items.
 * @param {string[]} items
 * @returns {Map<string, string>} by lower-case name; an item without a value has the value ""
 */
export function parameters(items) {
  const found = new Map();
  for (const item of items) {
    const at = item.indexOf("=");
    const name = (at < 0 ? item : item.slice(0, at)).trim().toLowerCase();
    const value = at < 0 ? "" : item.slice(at + 1).trim();
    if (!isToken(name)) throw new ParseError("a parameter has no valid name");
    // RFC 3261 7.3.1: a parameter occurs once. A reader that takes another occurrence could be misled.
    if (found.has(name)) throw new ParseError("a parameter occurs twice");
    if (at >= 0 && value === "") throw new ParseError("a parameter has an empty value");
    found.set(name, value.startsWith('"') ? unquote(value) : value);
  }
  return found;
}

/** A decimal number of at most nine digits. */
export function integer(text) {
  if (!/^[0-9]{1,9}$/.test(text ?? "")) throw new ParseError("no number");
  return Number(text);
}
