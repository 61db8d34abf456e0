// SIP messages: parsing and writing (RFC 3261 7, RFC 7118 5).
//
// Decides which messages are well-formed, and how much of one is read. A message that is not well-formed is an error;
// the caller drops it. It does not know transactions or dialogs.

import { parseAddress } from "./address.js";
import { ParseError, integer, isToken, parameters, split } from "./grammar.js";

/** Limits of a received message. A WebRTC session description has about 4,000 characters. */
export const MAX_MESSAGE = 65_536;
const MAX_LINES = 300;
const MAX_LINE = 8_192;

// RFC 3261 7.3.3 and later RFCs.
const COMPACT_FORMS = {
  a: "accept-contact",
  b: "referred-by",
  c: "content-type",
  d: "request-disposition",
  e: "content-encoding",
  f: "from",
  i: "call-id",
  j: "reject-contact",
  k: "supported",
  l: "content-length",
  m: "contact",
  o: "event",
  r: "refer-to",
  s: "subject",
  t: "to",
  u: "allow-events",
  v: "via",
  x: "session-expires",
  y: "identity",
};
// Their values may be joined by commas in one line (RFC 3261 7.3.1).
const LISTS = new Set([
  "accept",
  "allow",
  "contact",
  "path",
  "reason",
  "record-route",
  "require",
  "route",
  "supported",
  "unsupported",
  "via",
  "warning",
]);
const ONCE = ["call-id", "content-length", "content-type", "cseq", "from", "max-forwards", "to"];
const SPELLING = { "call-id": "Call-ID", cseq: "CSeq", "www-authenticate": "WWW-Authenticate" };

/** A request or a response. */
export class Message {
  /**
   * @param {{ method?: string, uri?: string, status?: number, reason?: string }} start the first line
   * @param {[string, string][]} headers lower-case names and values, in order
   * @param {string} body
   */
  constructor(start, headers = [], body = "") {
    this.method = start.method ?? null;
    this.uri = start.uri ?? null;
    this.status = start.status ?? null;
    this.reason = start.reason ?? "";
    this.headers = headers;
    this.body = body;
  }

  get isRequest() {
    return this.method !== null;
  }

  /** The first value, or undefined. */
  header(name) {
    return this.headers.find(([key]) => key === name)?.[1];
  }

  /** All values in order; lists are split. */
  values(name) {
    const lines = this.headers.filter(([key]) => key === name).map(([, value]) => value);
    return LISTS.has(name) ? lines.flatMap(line => split(line, ",")).filter(value => value !== "") : lines;
  }

  /** Appends a header. */
  add(name, value) {
    this.headers.push([name, `${value}`]);
    return this;
  }

  /** Replaces a header, or appends it. */
  set(name, value) {
    const at = this.headers.findIndex(([key]) => key === name);
    if (at < 0) return this.add(name, value);
    this.headers[at] = [name, `${value}`];
    return this;
  }

  /** Removes all headers of a name. */
  remove(name) {
    this.headers = this.headers.filter(([key]) => key !== name);
    return this;
  }

  /** Sets the body and its type. */
  setBody(type, body) {
    this.body = body;
    return this.set("content-type", type);
  }

  get from() {
    return parseAddress(this.header("from"));
  }

  get to() {
    return parseAddress(this.header("to"));
  }

  get callId() {
    return this.header("call-id");
  }

  /** @returns {{ number: number, method: string }} */
  get cseq() {
    const [number, method, more] = this.header("cseq").split(/[ \t]+/);
    if (method === undefined || more !== undefined || !isToken(method)) throw new ParseError("CSeq is not valid");
    // RFC 3261 8.1.1.5: less than 2^31.
    const value = /^[0-9]{1,10}$/.test(number) ? Number(number) : NaN;
    if (!(value < 2 ** 31)) throw new ParseError("the number of CSeq is not valid");
    return { number: value, method };
  }

  /** The topmost Via: transport, host with port, branch. */
  get via() {
    const [first] = this.values("via");
    const [sent, ...params] = split(first ?? "", ";");
    const [, transport, host] = /^SIP\s*\/\s*2\.0\s*\/\s*([A-Za-z0-9-]+)\s+([A-Za-z0-9.:[\]-]+)$/i.exec(sent) ?? [];
    if (host === undefined) throw new ParseError("Via is not valid");
    return { transport, host: host.toLowerCase(), branch: parameters(params).get("branch") ?? "" };
  }

  /** A copy that can be changed. */
  clone() {
    return new Message(
      this,
      this.headers.map(([name, value]) => [name, value]),
      this.body,
    );
  }

  /**
   * The text for the wire.
   * @throws {ParseError} if a value has a control character: it could begin another header.
   */
  toString() {
    const first = this.isRequest ? `${this.method} ${this.uri} SIP/2.0` : `SIP/2.0 ${this.status} ${this.reason}`;
    const length = new TextEncoder().encode(this.body).length;
    const lines = [
      first,
      ...this.headers.filter(([name]) => name !== "content-length").map(([name, value]) => `${spell(name)}: ${value}`),
    ];
    if (lines.some(line => CONTROL.test(line))) throw new ParseError("a header has a control character");
    return [...lines, `Content-Length: ${length}`, "", this.body].join("\r\n");
  }
}

const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/;
const spell = name => SPELLING[name] ?? name.replace(/(^|-)[a-z]/g, letter => letter.toUpperCase());

/**
 * Parses what one WebSocket message holds (RFC 7118 5: one SIP message each).
 * @param {string} text
 * @returns {Message}
 * @throws {ParseError}
 */
export function parseMessage(text) {
  if (text.length > MAX_MESSAGE) throw new ParseError("the message is too long");
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) throw new ParseError("the header has no end");
  // RFC 3261 7.3.1: a line that begins with white space continues the line before it.
  const lines = text
    .slice(0, end)
    .replace(/\r\n[ \t]+/g, " ")
    .split("\r\n");
  if (lines.length > MAX_LINES) throw new ParseError("there are too many headers");
  if (lines.some(line => line.length > MAX_LINE || CONTROL.test(line)))
    throw new ParseError("a line is too long or has a control character");
  const message = new Message(parseFirstLine(lines[0]), lines.slice(1).map(parseHeader));
  message.body = bodyOf(message, text.slice(end + 4));
  check(message);
  return message;
}

function parseFirstLine(line) {
  const response = /^SIP\/2\.0 ([1-6][0-9]{2})(?: (.*))?$/i.exec(line);
  if (response) return { status: Number(response[1]), reason: response[2] ?? "" };
  const [method, uri, version, more] = line.split(" ");
  if (more !== undefined || !isToken(method) || !uri || !/^SIP\/2\.0$/i.test(version ?? ""))
    throw new ParseError("the first line is not valid");
  return { method, uri };
}

function parseHeader(line) {
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(colon, 0)).trimEnd().toLowerCase();
  if (!isToken(name)) throw new ParseError("a header has no valid name");
  return [COMPACT_FORMS[name] ?? name, line.slice(colon + 1).trim()];
}

// RFC 3261 18.3: octets beyond Content-Length are ignored; if some are missing, the message is not valid.
function bodyOf(message, rest) {
  const announced = message.header("content-length");
  if (announced === undefined) return rest;
  const length = integer(announced);
  const octets = new TextEncoder().encode(rest);
  if (octets.length < length) throw new ParseError("the body is shorter than Content-Length");
  return octets.length === length ? rest : new TextDecoder().decode(octets.subarray(0, length));
}

// RFC 3261 8.1.1: what each message has. From, To, CSeq, Via and Contact are read here, so that later code meets no
// error in them.
function check(message) {
  for (const name of ONCE) {
    if (message.values(name).length > 1) throw new ParseError(`${name} occurs twice`);
  }
  for (const name of ["via", "from", "to", "call-id", "cseq"]) {
    if (!message.header(name)) throw new ParseError(`${name} is missing`);
  }
  const { from, to, via, cseq } = message;
  if (message.isRequest && cseq.method !== message.method) throw new ParseError("CSeq has another method");
  if (!from || !to || !via.branch) throw new ParseError("Via has no branch");
  ["contact", "record-route"]
    .flatMap(name => message.values(name))
    .filter(value => value !== "*")
    .forEach(parseAddress);
}

/**
 * A response to a request (RFC 3261 8.2.6.2).
 * @param {Message} request
 * @param {number} status
 * @param {string} reason the reason phrase
 * @param {string} tag the To tag, unless the request has one or the status is 100
 */
export function responseTo(request, status, reason, tag) {
  const copied = request.headers.filter(([name]) => ["via", "from", "call-id", "cseq"].includes(name));
  const to = request.header("to");
  const needsTag = status > 100 && !request.to.params.has("tag");
  return new Message({ status, reason }, [...copied, ["to", needsTag ? `${to};tag=${tag}` : to]]);
}
