// Transactions over a reliable transport (RFC 3261 17, RFC 6026).
//
// Decides which response belongs to which request, and which request has been received before. Requests are never
// retransmitted, since a WebSocket does not lose messages (17.1.1.2, 17.1.2.2). It does not know what a message means.

import { Message, responseTo } from "./message.js";
import { newTag } from "./random.js";

/** RFC 3261 17.1.1.1, in milliseconds. */
export const T1 = 500;
export const T2 = 4_000;
/** Timers B, F, H, L and M. */
export const TRANSACTION_TIMEOUT = 64 * T1;
/** So many server transactions at a time. A request beyond them is dropped; its sender times out. */
const MAX_SERVER_TRANSACTIONS = 64;

/**
 * @typedef {object} ClientHandlers
 * @property {(response: Message) => void} onResponse provisional and final; for INVITE also each further 2xx
 * @property {(why: "timeout" | "connection") => void} onFailure there will be no final response
 */

/** All transactions of one user agent. */
export class Transactions {
  #clients = new Map();
  #servers = new Map();

  /**
   * @param {object} options
   * @param {(message: Message) => boolean} options.send false if there is no connection
   * @param {object} options.clock
   * @param {(request: Message, transaction: ServerTransaction) => void} options.onRequest a new request
   * @param {(ack: Message) => void} options.onAck the ACK of a 2xx
   */
  constructor({ send, clock, onRequest, onAck }) {
    Object.assign(this, { send, clock, onRequest, onAck });
  }

  /**
   * Sends a request, which has its Via.
   * @param {Message} request not ACK
   * @param {ClientHandlers} handlers
   */
  start(request, handlers) {
    const key = clientKey(request);
    const entry = {
      request,
      handlers,
      isInvite: request.method === "INVITE",
      accepted: false,
      isLimited: false,
      timer: null,
    };
    this.#clients.set(key, entry);
    entry.timer = this.clock.after(TRANSACTION_TIMEOUT, () => {
      this.#clients.delete(key);
      handlers.onFailure("timeout");
    });
    if (!this.send(request)) this.#failLater(key, entry);
  }

  /** RFC 3261 9.1: an INVITE that was cancelled is over after this time, also without a final response. */
  limit(invite) {
    const key = clientKey(invite);
    const entry = this.#clients.get(key);
    if (!entry || entry.accepted) return;
    this.clock.cancel(entry.timer);
    entry.timer = this.clock.after(TRANSACTION_TIMEOUT, () => this.#clients.delete(key));
    entry.isLimited = true;
  }

  // The caller of `start` gets its failure after `start` has returned, as for every other failure.
  #failLater(key, entry) {
    this.clock.cancel(entry.timer);
    entry.timer = this.clock.after(0, () => {
      if (this.#clients.delete(key)) entry.handlers.onFailure("connection");
    });
  }

  /** Takes a message from the server. */
  receive(message) {
    if (message.isRequest) this.#receiveRequest(message);
    else this.#receiveResponse(message);
  }

  /** The connection broke: no response can arrive (RFC 3261 17.1.4). Server transactions end as well. */
  connectionLost() {
    const clients = [...this.#clients.values()];
    this.#clients.clear();
    for (const entry of clients) {
      this.clock.cancel(entry.timer);
      if (!entry.accepted) entry.handlers.onFailure("connection");
    }
    const servers = [...this.#servers.values()];
    this.#servers.clear();
    for (const server of servers) this.clock.cancel(server.timer);
  }

  #receiveResponse(response) {
    const key = clientKey(response);
    const entry = this.#clients.get(key);
    // RFC 3261 8.1.3.3: a response with several Via was not meant for this user agent.
    if (!entry || response.values("via").length !== 1) return;
    const isFinal = response.status >= 200;
    const isSuccess = isFinal && response.status < 300;
    if (entry.accepted && !isSuccess) return;
    if (isFinal && !entry.isInvite) this.#end(key, entry);
    else if (isSuccess && !entry.accepted) this.#accept(key, entry);
    else if (isFinal && !isSuccess) this.#reject(key, entry, response);
    // RFC 3261 17.1.1.2: after a provisional response, only Timer C of the proxies limits an INVITE.
    else if (!isFinal && entry.isInvite && !entry.isLimited) this.clock.cancel(entry.timer);
    entry.handlers.onResponse(response);
  }

  #end(key, entry) {
    this.clock.cancel(entry.timer);
    this.#clients.delete(key);
  }

  // RFC 6026 8.4: the 2xx of other branches, and its retransmissions, still arrive.
  #accept(key, entry) {
    this.clock.cancel(entry.timer);
    entry.accepted = true;
    entry.timer = this.clock.after(TRANSACTION_TIMEOUT, () => this.#clients.delete(key));
  }

  // RFC 3261 17.1.1.3: the ACK of a failure is part of the transaction. Timer D is 0 on a reliable transport.
  #reject(key, entry, response) {
    this.#end(key, entry);
    const { request } = entry;
    const copied = request.headers.filter(([name]) =>
      ["via", "from", "call-id", "route", "max-forwards"].includes(name),
    );
    const ack = new Message({ method: "ACK", uri: request.uri }, copied);
    ack.add("to", response.header("to")).add("cseq", `${request.cseq.number} ACK`);
    this.send(ack);
  }

  #receiveRequest(request) {
    const server = this.#servers.get(serverKey(request, request.method));
    if (server) {
      server.receiveAgain(request);
    } else if (request.method === "ACK") {
      this.onAck(request);
    } else if (this.#servers.size < MAX_SERVER_TRANSACTIONS) {
      const key = serverKey(request, request.method);
      const transaction = new ServerTransaction(request, this, () => this.#servers.delete(key));
      this.#servers.set(key, transaction);
      this.onRequest(request, transaction);
    }
  }

  /** The INVITE that a CANCEL is about, or undefined (RFC 3261 9.2). */
  cancelled(cancel) {
    return this.#servers.get(serverKey(cancel, "INVITE"));
  }

  /** Whether the same request has arrived by another way (RFC 3261 8.2.2.2). */
  isMerged(request, own) {
    const identity = message => [message.from.params.get("tag"), message.callId, message.header("cseq")].join(" ");
    return [...this.#servers.values()].some(other => other !== own && identity(other.request) === identity(request));
  }
}

/** A request that has been received, and its answers. */
export class ServerTransaction {
  /** The To tag of all responses. */
  tag = newTag();
  timer = null;
  #last = null;
  #isFinal = false;

  constructor(request, transactions, onEnd) {
    Object.assign(this, { request, transactions, onEnd });
  }

  get isAnswered() {
    return this.#isFinal;
  }

  /** Sends a response; once a final one has been sent, nothing else is. */
  respond(status, reason, change = () => {}) {
    if (this.#isFinal) return null;
    const response = responseTo(this.request, status, reason, this.tag);
    change(response);
    this.#last = response;
    this.transactions.send(response);
    if (status >= 200) this.#finish();
    return response;
  }

  // The entry of an INVITE stays for its ACK (Timer H) or for its retransmissions after 2xx (RFC 6026, Timer L).
  #finish() {
    this.#isFinal = true;
    if (this.request.method !== "INVITE") this.onEnd();
    else this.timer = this.transactions.clock.after(TRANSACTION_TIMEOUT, this.onEnd);
  }

  receiveAgain(request) {
    const isSuccess = this.#last?.status >= 200 && this.#last.status < 300;
    if (request.method !== "ACK") {
      if (this.#last && !isSuccess) this.transactions.send(this.#last);
    } else if (isSuccess) {
      this.transactions.onAck(request);
    } else if (this.#isFinal) {
      this.transactions.clock.cancel(this.timer);
      this.onEnd();
    }
  }
}

// RFC 3261 17.1.3.
const clientKey = message => `${message.via.branch} ${message.cseq.method}`;

// RFC 3261 17.2.3.
const serverKey = (request, method) =>
  `${request.via.branch} ${request.via.host} ${method === "ACK" ? "INVITE" : method}`;
