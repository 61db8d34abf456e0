// Dialogs (RFC 3261 12): tags, sequence numbers, route set and remote target.
//
// Decides what a request within a dialog looks like and which received request is out of order. It sends nothing.

import { parseAddress, writeAddress } from "./address.js";
import { Message } from "./message.js";

const tagOf = address => address.params.get("tag") ?? "";

export class Dialog {
  /**
   * @param {object} state
   * @param {string} state.callId
   * @param {string} state.local From value of own requests, with the tag
   * @param {string} state.remote To value of own requests, with the tag if the peer has one
   * @param {string} state.target URI of the peer's Contact
   * @param {string[]} state.routes
   * @param {number} state.localSequence of the last own request
   * @param {number | null} state.remoteSequence of the last request of the peer
   */
  constructor(state) {
    Object.assign(this, state);
  }

  /** The dialog that a response to an own request establishes (RFC 3261 12.1.2); null without a Contact or a tag. */
  static fromResponse(request, response) {
    const target = contactOf(response);
    if (target === null || !tagOf(response.to)) return null;
    return new Dialog({
      callId: request.callId,
      local: request.header("from"),
      remote: response.header("to"),
      target,
      routes: response.values("record-route").reverse(),
      localSequence: request.cseq.number,
      remoteSequence: null,
    });
  }

  /** The dialog that the own answer to a request establishes (RFC 3261 12.1.1); null if the request has no Contact. */
  static fromRequest(request, localTag) {
    const target = contactOf(request);
    if (target === null) return null;
    const to = request.to;
    return new Dialog({
      callId: request.callId,
      local: writeAddress(to.uri.text, { name: to.name, tag: localTag }),
      remote: request.header("from"),
      target,
      routes: request.values("record-route"),
      localSequence: 0,
      remoteSequence: request.cseq.number,
    });
  }

  get remoteTag() {
    return tagOf(parseAddress(this.remote));
  }

  get localTag() {
    return tagOf(parseAddress(this.local));
  }

  /** Whether a request from the peer belongs to this dialog. */
  matches(request) {
    return (
      request.callId === this.callId && tagOf(request.to) === this.localTag && tagOf(request.from) === this.remoteTag
    );
  }

  /** RFC 3261 12.2.2: whether a request is newer than the last one; if so, it is the last one now. */
  acceptSequence(request) {
    const { number } = request.cseq;
    if (this.remoteSequence !== null && number <= this.remoteSequence) return false;
    this.remoteSequence = number;
    return true;
  }

  /** RFC 3261 12.2: a target refresh request or its 2xx can change the Contact. */
  refreshTarget(message) {
    this.target = contactOf(message) ?? this.target;
  }

  nextSequence() {
    return ++this.localSequence;
  }

  /**
   * A request within the dialog, without Via (RFC 3261 12.2.1.1).
   * @param {string} method
   * @param {number} sequence that of the INVITE for ACK, else a new one
   */
  request(method, sequence = this.nextSequence()) {
    const { uri, routes } = this.#destination();
    const request = new Message({ method, uri });
    for (const route of routes) request.add("route", route);
    return request
      .add("from", this.local)
      .add("to", this.remote)
      .add("call-id", this.callId)
      .add("cseq", `${sequence} ${method}`);
  }

  // RFC 3261 12.2.1.1: a first route without lr is a strict router, which takes the Request-URI.
  #destination() {
    const [first, ...others] = this.routes;
    if (first === undefined) return { uri: this.target, routes: [] };
    const uri = parseAddress(first).uri;
    if (uri.params.has("lr")) return { uri: this.target, routes: this.routes };
    return { uri: uri.text, routes: [...others, `<${this.target}>`] };
  }
}

function contactOf(message) {
  const [value, more] = message.values("contact");
  if (value === undefined || value === "*" || more !== undefined) return null;
  const { uri } = parseAddress(value);
  return ["sip", "sips"].includes(uri.scheme) ? uri.text : null;
}
