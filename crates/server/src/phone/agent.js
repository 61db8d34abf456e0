// The user agent: one account on one connection (RFC 3261 8, RFC 7118).
//
// Decides which received request belongs to which call, and what is refused. It sends requests with their credentials.
// It does not know the page: it reports changes by the callbacks of its constructor.

import { ALLOW, EXTENSIONS, METHODS, USER_AGENT } from "./capabilities.js";
import { systemClock } from "./clock.js";
import { Connection } from "./connection.js";
import { Credentials } from "./digest.js";
import { ParseError } from "./grammar.js";
import { IncomingCall } from "./incoming.js";
import { parseMessage } from "./message.js";
import { OutgoingCall } from "./outgoing.js";
import { hex, newBranch } from "./random.js";
import { Registration } from "./register.js";
import { Transactions } from "./transaction.js";

/**
 * @typedef {object} Account
 * @property {string} user
 * @property {string} domain
 * @property {string} password
 * @property {string} websocket URL
 * @property {string} instance URN of this phone; one that is opened again uses it again (RFC 5626 4.1)
 */

export class Agent {
  // Requests are sent in the order of their sequence numbers, although computing a digest takes a moment.
  #queue = Promise.resolve();
  /** Calls that are active, or that ended less than a transaction timeout ago. */
  calls = new Set();

  /**
   * @param {object} options
   * @param {Account} options.account
   * @param {() => import("./media.js").Media} options.createMedia
   * @param {(state: import("./register.js").RegistrationState) => void} options.onRegistration
   * @param {(call: import("./call.js").Call) => void} options.onCall a call is new or has changed
   */
  constructor({ account, createMedia, onRegistration, onCall, clock = systemClock, WebSocket, random = Math.random }) {
    Object.assign(this, { account, createMedia, onCall, clock, random });
    // RFC 7118 5: a browser does not know its own address, so it uses a name that no DNS server has.
    this.host = `${hex(6)}.invalid`;
    this.contactUri = `sip:${hex(4)}@${this.host};transport=ws`;
    this.aor = `sip:${encodeURIComponent(account.user)}@${account.domain}`;
    this.credentials = new Credentials(account.user, account.password);
    this.registration = new Registration(this, onRegistration);
    this.transactions = new Transactions({
      clock,
      send: message => this.connection.send(`${message}`),
      onRequest: (request, transaction) => this.#receive(request, transaction),
      onAck: ack => this.#callOf(ack)?.acknowledged(ack),
    });
    this.connection = new Connection({
      url: account.websocket,
      clock,
      random,
      ...(WebSocket ? { WebSocket } : {}),
      onOpen: () => this.registration.connected(),
      onMessage: text => this.#parse(text),
      onClose: (retryIn, wasOpen) => this.#disconnected(retryIn, wasOpen),
    });
  }

  /** Connects and registers. */
  start() {
    this.connection.start();
  }

  /** Ends the call, removes the registration and closes the connection. */
  async stop() {
    this.current?.hangUp();
    await this.registration.remove();
    this.connection.stop();
  }

  /** The page is being closed, or the account is refused: there is no time for a digest or for a response. */
  leave() {
    const call = this.current;
    call?.leave();
    call?.end("problem", "You are not signed in any more.");
    this.registration.stop();
    this.connection.stop();
  }

  /** The call that has not ended, or undefined. There is one at most. */
  get current() {
    return [...this.calls].find(call => call.state !== "ended");
  }

  /**
   * Calls somebody.
   * @param {string} uri
   */
  call(uri) {
    const call = new OutgoingCall(this, uri);
    this.calls.add(call);
    call.start();
    return call;
  }

  /** Sends a request that needs no credentials, or for which there is no time. */
  sendNow(request) {
    this.prepare(request);
    this.transactions.start(request, { onResponse() {}, onFailure() {} });
  }

  /** Adds the headers that every request has. */
  prepare(request) {
    request.remove("via");
    request.headers.unshift(["via", `SIP/2.0/${this.connection.transport} ${this.host};branch=${newBranch()}`]);
    return request.set("max-forwards", 70).set("user-agent", USER_AGENT);
  }

  /**
   * Sends a request and answers its challenges (RFC 3261 22.2, 22.3).
   * @param {import("./message.js").Message} request
   * @param {object} handlers
   * @param {() => number} handlers.nextSequence for the attempt that has credentials
   * @param {(request: import("./message.js").Message) => void} [handlers.onSent] for each attempt
   * @param {(response: import("./message.js").Message, problem?: string) => void} handlers.onResponse for a 401 or 407
   *   that is not answered, `problem` is the reason: "password" or "algorithm"
   * @param {(why: "timeout" | "connection") => void} handlers.onFailure
   * @param {() => boolean} [handlers.isObsolete] whether the request must not be sent any more
   */
  send(request, handlers) {
    this.#enqueue(request, handlers, new Map());
  }

  #enqueue(request, handlers, attempts) {
    this.#queue = this.#queue
      .then(() => this.#attempt(request, handlers, attempts))
      .catch(() => handlers.onFailure("connection"));
  }

  async #attempt(request, handlers, attempts) {
    await this.credentials.authorize(request);
    if (handlers.isObsolete?.()) return;
    this.prepare(request);
    handlers.onSent?.(request);
    this.transactions.start(request, {
      onFailure: handlers.onFailure,
      onResponse: response => this.#receiveResponse(request, response, handlers, attempts),
    });
  }

  #receiveResponse(request, response, handlers, attempts) {
    if (response.status !== 401 && response.status !== 407) return handlers.onResponse(response);
    const outcome = this.credentials.challenged(response, attempts);
    if (outcome !== "retry") return handlers.onResponse(response, outcome);
    if (handlers.isObsolete?.()) return handlers.onResponse(response, "obsolete");
    const next = request.clone();
    this.#enqueue(next.set("cseq", `${handlers.nextSequence()} ${request.method}`), handlers, attempts);
  }

  #parse(text) {
    let message;
    try {
      message = parseMessage(text);
    } catch (error) {
      // A message that is not well-formed is dropped: it may have no Via to answer to.
      if (error instanceof ParseError) return;
      throw error;
    }
    this.transactions.receive(message);
  }

  #disconnected(retryIn, wasOpen) {
    this.transactions.connectionLost();
    for (const call of this.calls) call.connectionLost();
    this.registration.disconnected(retryIn, wasOpen);
  }

  #callOf(request) {
    return [...this.calls].find(call => call.matches(request));
  }

  // The order of the checks is that of RFC 3261 8.2.
  #receive(request, transaction) {
    if (request.method === "CANCEL") return this.#cancel(request, transaction);
    if (!METHODS.has(request.method)) return this.notAllowed(transaction);
    if (!/^sips?:/i.test(request.uri)) return transaction.respond(416, "Unsupported URI Scheme");
    const unsupported = request.values("require").filter(option => !EXTENSIONS.has(option.toLowerCase()));
    if (unsupported.length > 0) {
      return transaction.respond(420, "Bad Extension", response => response.add("unsupported", unsupported.join(", ")));
    }
    if (request.to.params.has("tag")) return this.#receiveInDialog(request, transaction);
    if (this.transactions.isMerged(request, transaction)) return transaction.respond(482, "Loop Detected");
    if (request.method === "OPTIONS") return this.answerOptions(transaction);
    if (request.method === "INVITE") return this.#invited(request, transaction);
    return transaction.respond(481, "Call/Transaction Does Not Exist");
  }

  #receiveInDialog(request, transaction) {
    const call = this.#callOf(request);
    if (call) call.receive(request, transaction);
    else transaction.respond(481, "Call/Transaction Does Not Exist");
  }

  #invited(request, transaction) {
    // There is no call waiting: the caller hears that the line is busy.
    if (this.current) return transaction.respond(486, "Busy Here");
    const call = IncomingCall.create(this, request, transaction);
    if (!call) return;
    this.calls.add(call);
    call.ring();
  }

  // RFC 3261 9.2: the CANCEL is answered in any case, the INVITE only if it has no final response yet.
  #cancel(request, transaction) {
    const cancelled = this.transactions.cancelled(request);
    if (!cancelled) return transaction.respond(481, "Call/Transaction Does Not Exist");
    transaction.tag = cancelled.tag;
    transaction.respond(200, "OK");
    if (!cancelled.isAnswered) [...this.calls].find(call => call.transaction === cancelled)?.cancelled(request);
  }

  /** RFC 3261 11.2. */
  answerOptions(transaction) {
    transaction.respond(200, "OK", response =>
      response
        .add("allow", ALLOW)
        .add("accept", "application/sdp")
        .add("supported", [...EXTENSIONS].join(", ")),
    );
  }

  /** RFC 3261 8.2.1. */
  notAllowed(transaction) {
    transaction.respond(405, "Method Not Allowed", response => response.add("allow", ALLOW));
  }
}
