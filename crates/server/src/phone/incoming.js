// Calls to this phone (RFC 3261 13.3): ringing, answering, declining, and the end of a call that nobody answered.
//
// Decides which INVITE rings. It does not answer by itself.

import { Call, SDP, isSdp } from "./call.js";
import { Dialog } from "./dialog.js";
import { isHold } from "./media.js";
import { mediaProblem } from "./reasons.js";

/** An INVITE that its sender never ends must not ring for ever. Proxies end one after three minutes (Timer C). */
const LONGEST_RING = 300_000;

export class IncomingCall extends Call {
  #timer = null;
  #isAnswering = false;

  /** The call of an INVITE; null if it was refused. */
  static create(agent, invite, transaction) {
    if (invite.body !== "" && !isSdp(invite)) {
      transaction.respond(415, "Unsupported Media Type", response => response.add("accept", SDP));
      return null;
    }
    const dialog = Dialog.fromRequest(invite, transaction.tag);
    if (!dialog) {
      transaction.respond(400, "Bad Request");
      return null;
    }
    return new IncomingCall(agent, invite, transaction, dialog);
  }

  constructor(agent, invite, transaction, dialog) {
    super(agent, "incoming", invite.from);
    Object.assign(this, { invite, transaction, dialog });
    this.offer = invite.body === "" ? null : "remote";
  }

  ring() {
    this.transaction.respond(180, "Ringing", response => {
      for (const route of this.invite.values("record-route")) response.add("record-route", route);
      response.add("contact", this.contact);
    });
    // RFC 3261 13.3.1: Expires limits how long the invitation is valid.
    const seconds = this.invite.header("expires");
    const limit = /^[0-9]{1,5}$/.test(seconds ?? "") ? Math.min(Number(seconds) * 1000, LONGEST_RING) : LONGEST_RING;
    this.#timer = this.agent.clock.after(limit, () => this.#stopRinging(487, "Request Terminated"));
    this.enter("ringing");
  }

  /** Answers the call. */
  async answer() {
    if (this.state !== "ringing" || this.#isAnswering) return;
    this.#isAnswering = true;
    this.enter("connecting");
    let description;
    try {
      description = this.offer === "remote" ? await this.media.answer(this.invite.body) : await this.media.offer();
    } catch (error) {
      return this.#cannotAnswer(error);
    }
    // The caller may have given up meanwhile.
    if (this.state === "ended") return;
    this.agent.clock.cancel(this.#timer);
    this.isHeld = this.offer === "remote" && isHold(this.invite.body);
    this.offer = this.offer === "remote" ? null : "local";
    this.answerWith(this.transaction, description);
    this.enter("active");
  }

  // Another phone of the same person may still answer, so none of these responses is a 6xx.
  #cannotAnswer(error) {
    if (this.state === "ended") return;
    this.agent.clock.cancel(this.#timer);
    if (error.kind === "description") this.transaction.respond(488, "Not Acceptable Here");
    else this.transaction.respond(480, "Temporarily Unavailable");
    this.end("problem", mediaProblem(error));
  }

  /** Declines a call that rings, for all phones of the person (RFC 3261 21.6.2), or ends one that was answered. */
  hangUp() {
    if (this.state === "ended") return;
    this.agent.clock.cancel(this.#timer);
    if (this.state === "active") {
      this.sendBye();
      return this.end("normal", "You have hung up.");
    }
    this.transaction.respond(603, "Decline");
    this.end("normal", "You have declined the call.");
  }

  /** The caller, or a proxy for the caller, has sent CANCEL. */
  cancelled(cancel) {
    // RFC 3326: the proxy says so if another phone has answered.
    const isElsewhere = cancel.values("reason").some(reason => /^SIP\s*;\s*cause\s*=\s*200\b/i.test(reason));
    if (isElsewhere) this.#stopRinging(487, "Request Terminated", "normal", "Another phone has answered.");
    else this.#stopRinging(487, "Request Terminated");
  }

  byeReceived() {
    // RFC 3261 15.1.2: a BYE also ends an INVITE that is not answered yet.
    if (this.state === "active") super.byeReceived();
    else this.#stopRinging(487, "Request Terminated");
  }

  #stopRinging(status, reason, kind = "missed", text = `Missed call from ${this.name}.`) {
    this.agent.clock.cancel(this.#timer);
    this.transaction.respond(status, reason);
    this.end(kind, text);
  }

  connectionLost() {
    this.agent.clock.cancel(this.#timer);
    super.connectionLost();
  }

  leave() {
    if (this.state === "active") super.leave();
    else if (this.state !== "ended") this.transaction.respond(480, "Temporarily Unavailable");
  }
}
