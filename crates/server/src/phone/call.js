// What calls in both directions have in common: requests within the dialog, hold, tones, the end (RFC 3261 12 to 15).
//
// Decides how each request of the peer within the dialog is answered. How a call begins is in outgoing.js and
// incoming.js.

import { shortAddress } from "./address.js";
import { isHold } from "./media.js";
import { NO_SOUND, SOUND_LOST, mediaProblem } from "./reasons.js";
import { shorten } from "./text.js";
import { T1, T2, TRANSACTION_TIMEOUT } from "./transaction.js";

/** The content type of session descriptions (RFC 8866). */
export const SDP = "application/sdp";
const MAX_TONES = 64;

/**
 * @typedef {object} Ending
 * @property {"normal" | "missed" | "problem"} kind
 * @property {string} text for the person at the page
 */

export class Call {
  /** @type {"preparing" | "calling" | "ringing" | "connecting" | "active" | "ended"} */
  state = "preparing";
  /** Whether sound has flowed. */
  hasSound = false;
  isHeld = false;
  /** When it was answered, by the clock of the agent. */
  since = null;
  /** @type {Ending | null} */
  ending = null;
  /** @type {import("./dialog.js").Dialog | null} */
  dialog = null;
  /** The side whose offer is not answered yet. @type {"local" | "remote" | null} */
  offer = null;
  /** The 2xx that is sent until its ACK arrives. */
  #unacknowledged = null;
  #tones = 0;

  /**
   * @param {import("./agent.js").Agent} agent
   * @param {"incoming" | "outgoing"} direction
   * @param {import("./address.js").Address} peer
   */
  constructor(agent, direction, peer) {
    Object.assign(this, { agent, direction, peer });
    this.address = shorten(shortAddress(peer.uri, agent.account.domain));
    this.name = shorten(peer.name) || this.address || "Unknown";
    this.redial = redialOf(peer.uri);
    this.media = agent.createMedia();
    this.media.onConnected = () => {
      this.hasSound = true;
      this.changed();
    };
    this.media.onFailed = () => this.fail(this.hasSound ? SOUND_LOST : NO_SOUND);
  }

  changed() {
    this.agent.onCall(this);
  }

  enter(state) {
    if (this.state === "ended") return;
    this.state = state;
    if (state === "active") this.since ??= this.agent.clock.now();
    this.changed();
  }

  /** Ends the call here; the subclass has told the peer. */
  end(kind, text) {
    if (this.state === "ended") return;
    this.state = "ended";
    this.ending = { kind, text };
    this.media.close();
    // The entry stays, so that a request that crosses the end of the call still finds its dialog.
    this.agent.clock.after(TRANSACTION_TIMEOUT, () => this.agent.calls.delete(this));
    this.changed();
  }

  /** Ends an established call because something does not work. */
  fail(text) {
    if (this.state === "ended") return;
    this.sendBye();
    this.end("problem", text);
  }

  get isMuted() {
    return this.media.isMuted;
  }

  toggleMute() {
    this.media.isMuted = !this.media.isMuted;
    this.changed();
  }

  /** Whether a request of the peer is for this call. */
  matches(request) {
    return this.dialog?.matches(request) ?? false;
  }

  /** Sends a request within the dialog. */
  request(request, onResponse = () => {}) {
    const { dialog } = this;
    this.agent.send(request, { nextSequence: () => dialog.nextSequence(), onResponse, onFailure() {} });
  }

  /** RFC 3261 15: the phone that has answered sends no BYE before the ACK has arrived, or its time is over. */
  sendBye() {
    if (this.#unacknowledged) this.#unacknowledged.isByeDue = true;
    else this.request(this.dialog.request("BYE"));
  }

  /** Presses a key: a tone in the sound, or an INFO if the peer does not accept those. */
  sendTone(digit) {
    if (this.state !== "active" || this.media.sendTone(digit) || this.#tones >= MAX_TONES) return;
    this.#tones++;
    const info = this.dialog.request("INFO").setBody("application/dtmf-relay", `Signal=${digit}\r\nDuration=160\r\n`);
    this.request(info, response => {
      if (response.status >= 200) this.#tones--;
    });
  }

  /** A request of the peer within the dialog. */
  receive(request, transaction) {
    // RFC 3261 12.2.2: a request that is out of order.
    if (!this.dialog.acceptSequence(request)) return transaction.respond(500, "Server Internal Error");
    switch (request.method) {
      case "BYE":
        transaction.respond(200, "OK");
        return this.byeReceived();
      case "INVITE":
      case "UPDATE":
        return this.#renegotiate(request, transaction);
      case "INFO":
        return answerInfo(request, transaction);
      case "OPTIONS":
        return this.agent.answerOptions(transaction);
      default:
        return this.agent.notAllowed(transaction);
    }
  }

  byeReceived() {
    this.#stopAnswer();
    this.end("normal", `${this.name} has hung up.`);
  }

  // RFC 3261 14.2, RFC 3311 5.2: a new offer, or an INVITE that asks for one, or a refresh without either.
  async #renegotiate(request, transaction) {
    if (this.state === "ended") return transaction.respond(481, "Call/Transaction Does Not Exist");
    if (!this.#mayNegotiate(request, transaction)) return;
    if (request.method === "UPDATE" && request.body === "") {
      this.dialog.refreshTarget(request);
      return transaction.respond(200, "OK", response => response.add("contact", this.contact));
    }
    this.offer = request.body === "" ? "local" : "remote";
    let description;
    try {
      description = request.body === "" ? await this.media.offer() : await this.media.answer(request.body);
    } catch {
      this.offer = null;
      if (this.state === "ended") return transaction.respond(487, "Request Terminated");
      return transaction.respond(488, "Not Acceptable Here");
    }
    // RFC 3261 15.1.2: what is pending when the dialog ends gets 487.
    if (this.state === "ended") return transaction.respond(487, "Request Terminated");
    if (this.offer === "remote") this.offer = null;
    this.dialog.refreshTarget(request);
    if (request.body !== "") this.isHeld = isHold(request.body);
    this.answerWith(transaction, description);
    this.changed();
  }

  #mayNegotiate(request, transaction) {
    const hasBody = request.body !== "";
    if (hasBody && !isSdp(request)) {
      transaction.respond(415, "Unsupported Media Type", response => response.add("accept", SDP));
      return false;
    }
    if (request.method === "UPDATE" && !hasBody) return true;
    if (this.offer === "local") {
      transaction.respond(491, "Request Pending");
      return false;
    }
    if (this.state !== "active" || this.offer === "remote" || this.#unacknowledged) {
      const wait = Math.floor(this.agent.random() * 11);
      transaction.respond(500, "Server Internal Error", response => response.add("retry-after", wait));
      return false;
    }
    return true;
  }

  /** The Contact of this dialog; `ob` asks for this connection (RFC 5626 4.3). */
  get contact() {
    return `<${this.agent.contactUri};ob>`;
  }

  /**
   * Sends a 2xx with a description.
   *
   * RFC 3261 13.3.1.4: the 2xx of an INVITE is sent again until its ACK arrives, also over a reliable transport, since
   * a later hop may be UDP.
   */
  answerWith(transaction, description) {
    const response = transaction.respond(200, "OK", answer => {
      const routes = transaction.request.values("record-route");
      for (const route of routes) answer.add("record-route", route);
      answer.add("contact", this.contact).setBody(SDP, description);
    });
    if (response === null || transaction.request.method !== "INVITE") return;
    this.#unacknowledged = {
      response,
      sequence: transaction.request.cseq.number,
      wait: T1,
      left: TRANSACTION_TIMEOUT,
      timer: null,
      isByeDue: false,
    };
    this.#scheduleAnswer();
  }

  #scheduleAnswer() {
    const pending = this.#unacknowledged;
    pending.timer = this.agent.clock.after(pending.wait, () => {
      pending.left -= pending.wait;
      pending.wait = Math.min(pending.wait * 2, T2, pending.left);
      if (pending.left <= 0) return this.#notAcknowledged();
      this.agent.transactions.send(pending.response);
      this.#scheduleAnswer();
    });
  }

  #notAcknowledged() {
    this.#stopAnswer();
    this.sendBye();
    this.end("problem", "The other phone did not complete the call.");
  }

  #stopAnswer() {
    this.agent.clock.cancel(this.#unacknowledged?.timer);
    this.#unacknowledged = null;
  }

  /** The ACK of a 2xx has arrived. It has the answer if the 2xx had the offer. */
  async acknowledged(ack) {
    if (ack.cseq.number !== this.#unacknowledged?.sequence) return;
    const { isByeDue } = this.#unacknowledged;
    const isAnswer = this.offer === "local";
    this.#stopAnswer();
    this.offer = null;
    if (isByeDue) this.sendBye();
    if (this.state === "ended" || !isAnswer) return;
    try {
      if (!isSdp(ack)) throw new Error("the ACK has no answer");
      await this.media.accept(ack.body);
      this.isHeld = isHold(ack.body);
      this.changed();
    } catch (error) {
      // A new offer within an established call does not end the call if it is not answered.
      if (this.hasSound) await this.media.rollback();
      else this.fail(mediaProblem(error));
    }
  }

  /** Calls without a dialog have lost their transactions; sound of the others flows without the server. */
  connectionLost() {
    if (this.state !== "active") this.end("problem", "The connection to the server is lost.");
  }

  /** The page is being closed. */
  leave() {
    if (this.dialog) this.agent.sendNow(this.dialog.request("BYE"));
  }
}

// What to call again: a URI, a number, or null for a caller that is anonymous (RFC 3323 4.1).
function redialOf(uri) {
  if (uri.scheme === "tel") return uri.user;
  return uri.host.endsWith(".invalid") || !uri.host ? null : uri.text;
}

/** Whether the body is a session description that is not encoded further. */
export function isSdp(message) {
  const type = (message.header("content-type") ?? "").split(";")[0].trim().toLowerCase();
  return message.body !== "" && type === SDP && message.header("content-encoding") === undefined;
}

/** RFC 6086 4.2.2: without an Info-Package, INFO is that of RFC 2976. No package is supported. */
function answerInfo(request, transaction) {
  if (request.header("info-package") === undefined) transaction.respond(200, "OK");
  else transaction.respond(469, "Bad Info Package", response => response.add("recv-info", "nil"));
}
