// The registration (RFC 3261 10.2, RFC 5626 4.2, RFC 7118 5.2): makes it, refreshes it, removes it.
//
// Decides when to try again and when a person has to do something. A wrong password is never tried again: the server
// may ban the address of a client that does.

import { parseAddress } from "./address.js";
import { integer } from "./grammar.js";
import { Message } from "./message.js";
import { hex, newTag } from "./random.js";
import { registrationProblem } from "./reasons.js";

const EXPIRES = 600;
/** Refreshes are sent so many seconds before the end; of a short interval, at half of it. */
const REFRESH_MARGIN = 60;
const FIRST_RETRY = 2_000;
const LONGEST_RETRY = 120_000;
const REMOVE_TIMEOUT = 1_500;

/**
 * @typedef {object} RegistrationState
 * @property {"connecting" | "registered" | "waiting" | "failed"} kind another attempt follows "waiting", none "failed"
 * @property {string} text for the person at the page
 * @property {number} [retryIn] milliseconds
 */

export class Registration {
  #sequence = 0;
  #callId = "";
  #tag = newTag();
  #timer = null;
  #failures = 0;
  #expires = EXPIRES;
  #isStopped = false;
  /** @type {RegistrationState} */
  state = { kind: "connecting", text: "Connecting…" };

  constructor(agent, onChange) {
    Object.assign(this, { agent, onChange });
  }

  /** The connection is open: RFC 5626 4.2.1 binds the registration to it. */
  connected() {
    this.#failures = 0;
    // A challenge may have been lost with the connection before. A server could conclude from it that the phone with
    // this Call-ID cannot answer SHA-256, and offer it MD5 alone. So each connection has a Call-ID of its own.
    this.#callId = hex(12);
    this.#register();
  }

  /** The connection broke; it is opened again after `retryIn` milliseconds. */
  disconnected(retryIn, wasOpen) {
    this.#schedule(null);
    if (this.#isStopped) return;
    const text = wasOpen ? "The connection to the server is lost." : "The server does not answer.";
    this.#change({ kind: "waiting", text, retryIn });
  }

  /** Makes no further attempts. The server notices that the connection is closed. */
  stop() {
    this.#isStopped = true;
    this.#schedule(null);
  }

  /** Removes the registration. Resolves when the server has answered, or after a short time. */
  remove() {
    const isRegistered = this.state.kind === "registered";
    this.stop();
    if (!isRegistered) return Promise.resolve();
    return new Promise(resolve => {
      this.#timer = this.agent.clock.after(REMOVE_TIMEOUT, resolve);
      const done = response => {
        if (response === undefined || response.status >= 200) resolve();
      };
      this.#send(0, { onResponse: done, onFailure: () => done() });
    });
  }

  #register() {
    if (this.#isStopped) return;
    if (this.state.kind !== "registered") this.#change({ kind: "connecting", text: "Signing in…" });
    this.#send(this.#expires, {
      onResponse: (response, problem) => this.#receive(response, problem),
      onFailure: why => {
        // A lost connection has its own attempts.
        if (why === "timeout" && !this.#isStopped) this.#retry("The server does not answer.");
      },
    });
  }

  #send(expires, handlers) {
    const { agent } = this;
    const request = new Message({ method: "REGISTER", uri: `sip:${agent.account.domain}` });
    // RFC 5626 4.2.1: by reg-id and +sip.instance the registrar uses this connection, and replaces the one before.
    const contact = `<${agent.contactUri}>;reg-id=1;+sip.instance="<${agent.account.instance}>";expires=${expires}`;
    request
      .add("from", `<${agent.aor}>;tag=${this.#tag}`)
      .add("to", `<${agent.aor}>`)
      .add("call-id", this.#callId)
      .add("cseq", `${++this.#sequence} REGISTER`)
      .add("contact", contact)
      .add("supported", "outbound, path");
    agent.send(request, { ...handlers, nextSequence: () => ++this.#sequence });
  }

  #receive(response, problem) {
    if (response.status < 200 || this.#isStopped) return;
    if (response.status < 300) this.#registered(response);
    else if (response.status === 423 && this.#lengthen(response)) this.#register();
    else this.#refused(response, problem);
  }

  #registered(response) {
    const expires = this.#granted(response);
    if (expires === null) return this.#retry("The server did not accept this phone.");
    this.#failures = 0;
    const flowTimer = /^[1-9][0-9]{0,5}$/.test(response.header("flow-timer") ?? "")
      ? Number(response.header("flow-timer"))
      : null;
    if (flowTimer !== null || response.values("require").includes("outbound"))
      this.agent.connection.keepAlive(flowTimer);
    this.#schedule(expires * 1000 - Math.min(REFRESH_MARGIN * 1000, expires * 500));
    this.#change({ kind: "registered", text: "Ready" });
  }

  // RFC 3261 10.2.4: the response lists all bindings of the user; this one has the user part and host of this phone.
  #granted(response) {
    const own = response
      .values("contact")
      .filter(value => value !== "*")
      .map(parseAddress)
      .find(contact => contact.uri.text.split(";")[0] === this.agent.contactUri.split(";")[0]);
    if (!own) return null;
    const text = own.params.get("expires") ?? response.header("expires") ?? `${this.#expires}`;
    return /^[0-9]{1,9}$/.test(text) && integer(text) > 0 ? integer(text) : null;
  }

  // RFC 3261 10.2.8: an interval that is too short is tried once more, longer.
  #lengthen(response) {
    const least = response.header("min-expires");
    if (!/^[0-9]{1,6}$/.test(least ?? "") || Number(least) <= this.#expires) return false;
    this.#expires = Number(least);
    return true;
  }

  #refused(response, problem) {
    const { text, isFinal } = registrationProblem(response, problem);
    if (isFinal) {
      this.#schedule(null);
      this.#change({ kind: "failed", text });
    } else {
      this.#retry(text, response.header("retry-after"));
    }
  }

  #retry(text, retryAfter) {
    const wait = Math.min(FIRST_RETRY * 2 ** this.#failures++, LONGEST_RETRY) * (0.5 + this.agent.random() / 2);
    const asked = /^[0-9]{1,5}/.exec(retryAfter ?? "");
    const retryIn = Math.max(wait, asked ? Number(asked[0]) * 1000 : 0);
    this.#schedule(retryIn);
    this.#change({ kind: "waiting", text, retryIn });
  }

  #schedule(delay) {
    this.agent.clock.cancel(this.#timer);
    this.#timer = delay === null ? null : this.agent.clock.after(delay, () => this.#register());
  }

  #change(state) {
    this.state = state;
    this.onChange(state);
  }
}
