// SIP URIs (RFC 3261 19.1) and the addresses of From, To, Contact, Route and Record-Route (RFC 3261 20.10).
//
// Decides how an address is shown. It does not compare URIs: the server does that.

import { ParseError, integer, parameters, quote, split } from "./grammar.js";

// User part; host name, IPv4 or [IPv6]; port; parameters; headers.
const SIP = /^(sips?):(?:([^@]*)@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?((?:;[^;?]+)*)(?:\?(.*))?$/i;
const URI_CHARACTERS = /^[\x21-\x7e]+$/;

/**
 * @typedef {object} Uri
 * @property {string} text as it was received
 * @property {string} scheme lower case
 * @property {string} user without escapes and password; "" if there is none
 * @property {string} host lower case; "" unless the scheme is sip or sips
 * @property {number | null} port
 * @property {Map<string, string>} params
 */

/** @returns {Uri} */
export function parseUri(text) {
  if (!URI_CHARACTERS.test(text) || /[<>"]/.test(text)) throw new ParseError("a URI has an invalid character");
  const sip = SIP.exec(text);
  if (!sip) return parseOtherUri(text);
  const [, scheme, user = "", host, port, params] = sip;
  return {
    text,
    scheme: scheme.toLowerCase(),
    user: unescape(user.split(":")[0]),
    host: host.toLowerCase(),
    port: port === undefined ? null : integer(port),
    params: parameters(params.split(";").slice(1)),
  };
}

function parseOtherUri(text) {
  const [, scheme, rest] = /^([A-Za-z][A-Za-z0-9+.-]*):(.+)$/.exec(text) ?? [];
  if (scheme === undefined || /^sips?$/i.test(scheme)) throw new ParseError("no valid URI");
  // RFC 3966: the number ends where the parameters begin.
  return {
    text,
    scheme: scheme.toLowerCase(),
    user: unescape(rest.split(";")[0]),
    host: "",
    port: null,
    params: new Map(),
  };
}

function unescape(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * @typedef {object} Address
 * @property {string} name the display name, "" if there is none
 * @property {Uri} uri
 * @property {Map<string, string>} params of the header, not of the URI
 */

/** @returns {Address} */
export function parseAddress(text) {
  const open = indexOutsideQuotes(text, "<");
  if (open < 0) {
    // RFC 3261 20.10: without angle brackets, all parameters belong to the header, and the URI has no comma and no "?".
    const [uri, ...params] = split(text, ";");
    if (/[,?\s]/.test(uri)) throw new ParseError("the URI needs angle brackets");
    return { name: "", uri: parseUri(uri), params: parameters(params) };
  }
  const close = text.indexOf(">", open);
  if (close < 0) throw new ParseError("an angle bracket is not closed");
  const [empty, ...params] = split(text.slice(close + 1), ";");
  if (empty !== "") throw new ParseError("there is text behind the URI");
  return {
    name: displayName(text.slice(0, open).trim()),
    uri: parseUri(text.slice(open + 1, close)),
    params: parameters(params),
  };
}

function indexOutsideQuotes(text, wanted) {
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    if (quoted && text[at] === "\\") at++;
    else if (text[at] === '"') quoted = !quoted;
    else if (!quoted && text[at] === wanted) return at;
  }
  return -1;
}

function displayName(text) {
  if (!text.startsWith('"')) return text;
  if (!/^"(?:[^"\\]|\\.)*"$/u.test(text)) throw new ParseError("the display name is not one quoted string");
  return text.slice(1, -1).replace(/\\(.)/gu, "$1");
}

/** An address with a display name, if there is one, and a tag, if there is one. */
export function writeAddress(uri, { name = "", tag = "" } = {}) {
  return `${name ? `${quote(name)} ` : ""}<${uri}>${tag ? `;tag=${tag}` : ""}`;
}

/**
 * The URI for what a person typed: a user, a number, user@host, or a SIP URI.
 * @param {string} typed
 * @param {string} domain of the account
 * @returns {string | null} null if it is no valid address
 */
export function uriFromInput(typed, domain) {
  const text = typed.trim();
  // People write telephone numbers with spaces, brackets, dots and hyphens.
  const number = /^\+?[0-9][0-9 ()./-]*$/.test(text) ? text.replace(/[^0-9+]/g, "") : text;
  const full = /^sips?:/i.test(number)
    ? number
    : number.includes("@")
      ? `sip:${number}`
      : `sip:${escapeUser(number)}@${domain}`;
  try {
    const uri = parseUri(full);
    return uri.user ? uri.text : null;
  } catch {
    return null;
  }
}

// RFC 3261 25.1, `user`: unreserved and user-unreserved characters stand for themselves.
const escapeUser = text =>
  encodeURIComponent(text).replace(/%(26|3D|2B|24|2C|3B|3F|2F)/g, escaped => decodeURIComponent(escaped));

/**
 * How an address is shown: the user alone in the own domain, else user@host.
 * @param {Uri} uri
 * @param {string} domain of the account
 */
export function shortAddress(uri, domain) {
  if (uri.scheme !== "sip" && uri.scheme !== "sips") return uri.user;
  if (!uri.user) return uri.host;
  return uri.host === domain.toLowerCase() ? uri.user : `${uri.user}@${uri.host}`;
}
