// Calls that this phone makes (RFC 3261 13.2, 9.1; forking: 13.2.2.4).
//
// Decides what follows from each response to the INVITE, and how a call is cancelled. Sound of a phone that has not
// answered yet (early media) is not played: several phones may ring, and each would need a peer connection of its own.

import { parseUri } from "./address.js";
import { Call, SDP, isSdp } from "./call.js";
import { ALLOW } from "./capabilities.js";
import { Dialog } from "./dialog.js";
import { isCredentialHeader } from "./digest.js";
import { isHold } from "./media.js";
import { Message } from "./message.js";
import { hex, newTag } from "./random.js";
import { callProblem, failureText, mediaProblem } from "./reasons.js";

/** Dialogs of phones that ring at the same time; responses of further ones only change what is shown. */
const MAX_EARLY_DIALOGS = 20;
const PROGRESS = { 181: "The call is forwarded…", 182: "The call waits in a queue…" };

export class OutgoingCall extends Call {
  /** What the server says about the call; "" in most calls. */
  progress = "";
  #sequence = 1;
  #invite = null;
  #early = new Map();
  #isProvisional = false;
  #isFinal = false;
  #isCancelled = false;
  #isCancelSent = false;
  /** ACKs by To tag: a 2xx that arrives again gets the same ACK. */
  #acks = new Map();

  constructor(agent, uri) {
    super(agent, "outgoing", { name: "", uri: parseUri(uri), params: new Map() });
    this.uri = uri;
  }

  async start() {
    this.changed();
    let description;
    try {
      description = await this.media.offer();
    } catch (error) {
      return this.end("problem", mediaProblem(error));
    }
    if (this.state === "ended") return;
    this.offer = "local";
    this.enter("calling");
    const invite = newInvite(this.agent, {
      uri: this.uri,
      to: `<${this.uri}>`,
      callId: hex(12),
      tag: newTag(),
      sequence: this.#sequence,
      contact: this.contact,
      description,
    }).add("allow", ALLOW);
    this.agent.send(invite, {
      nextSequence: () => ++this.#sequence,
      isObsolete: () => this.#isCancelled,
      onSent: request => this.#sent(request),
      onResponse: (response, problem) => this.#receiveResponse(response, problem),
      onFailure: why => this.#failed(why),
    });
  }

  #sent(request) {
    this.#invite = request;
    this.#isProvisional = false;
  }

  #failed(why) {
    this.#isFinal = true;
    this.end("problem", failureText(why));
  }

  #receiveResponse(response, problem) {
    if (response.status < 200) return this.#ringing(response);
    this.#isFinal = true;
    if (response.status < 300) return this.#answered(response);
    if (this.state === "ended") return;
    if (problem !== "obsolete") this.end("problem", callProblem(response, this.name, problem));
  }

  #ringing(response) {
    this.#isProvisional = true;
    if (this.#isCancelled) return this.#sendCancel();
    if (this.state === "ended" || this.dialog) return;
    const tag = response.to.params.get("tag");
    // RFC 6228: one of several phones has stopped ringing.
    if (response.status === 199) this.#early.delete(tag);
    else if (tag && !this.#early.has(tag) && this.#early.size < MAX_EARLY_DIALOGS) this.#addEarly(tag, response);
    this.progress = PROGRESS[response.status] ?? this.progress;
    if (response.status === 180) this.enter("ringing");
    else this.changed();
  }

  #addEarly(tag, response) {
    const dialog = Dialog.fromResponse(this.#invite, response);
    if (dialog) this.#early.set(tag, dialog);
  }

  // RFC 3261 13.2.2.4: every 2xx is acknowledged; of several phones that answer, the first one is used.
  #answered(response) {
    const tag = response.to.params.get("tag") ?? "";
    const known = this.#acks.get(tag);
    if (known) return void this.agent.transactions.send(known);
    const dialog = Dialog.fromResponse(this.#invite, response);
    if (!dialog) return this.end("problem", "The other phone did not complete the call.");
    this.#acknowledge(dialog, tag);
    if (this.state === "ended" || this.dialog) return this.#sendByeIn(dialog);
    this.dialog = this.#keepRemoteSequence(dialog, tag);
    this.#early.clear();
    this.#begin(response);
  }

  // The peer may have sent requests in the early dialog already.
  #keepRemoteSequence(dialog, tag) {
    dialog.remoteSequence = this.#early.get(tag)?.remoteSequence ?? null;
    return dialog;
  }

  async #begin(response) {
    this.enter("active");
    try {
      if (!isSdp(response)) throw Object.assign(new Error("no answer"), { kind: "description" });
      await this.media.accept(response.body);
    } catch (error) {
      return this.fail(mediaProblem(error));
    }
    this.offer = null;
    this.isHeld = isHold(response.body);
    this.changed();
  }

  // RFC 3261 13.2.2.4: the ACK has the credentials of the INVITE and a branch of its own.
  #acknowledge(dialog, tag) {
    const ack = dialog.request("ACK", this.#invite.cseq.number);
    for (const [name, value] of this.#invite.headers.filter(([name]) => isCredentialHeader(name))) ack.add(name, value);
    this.agent.prepare(ack);
    this.#acks.set(tag, ack);
    this.agent.transactions.send(ack);
  }

  #sendByeIn(dialog) {
    this.agent.send(dialog.request("BYE"), {
      nextSequence: () => dialog.nextSequence(),
      onResponse() {},
      onFailure() {},
    });
  }

  matches(request) {
    return super.matches(request) || this.#earlyOf(request) !== undefined;
  }

  #earlyOf(request) {
    return [...this.#early.values()].find(dialog => dialog.matches(request));
  }

  receive(request, transaction) {
    const early = this.dialog ? undefined : this.#earlyOf(request);
    if (!early) return super.receive(request, transaction);
    if (!early.acceptSequence(request)) return transaction.respond(500, "Server Internal Error");
    switch (request.method) {
      case "OPTIONS":
        return this.agent.answerOptions(transaction);
      case "INFO":
        return transaction.respond(200, "OK");
      case "UPDATE":
        return this.#earlyUpdate(early, request, transaction);
      // RFC 3261 15: the called phone does not end an early dialog by BYE; it sends a final response.
      default:
        return transaction.respond(481, "Call/Transaction Does Not Exist");
    }
  }

  // RFC 3311 5.2: the offer of the INVITE is not answered yet, so another one cannot be accepted.
  #earlyUpdate(dialog, request, transaction) {
    if (request.body !== "") return transaction.respond(491, "Request Pending");
    dialog.refreshTarget(request);
    return transaction.respond(200, "OK", response => response.add("contact", this.contact));
  }

  /** Hangs up: CANCEL before the answer, BYE after it. */
  hangUp() {
    if (this.state === "ended") return;
    if (this.dialog) {
      this.sendBye();
      return this.end("normal", "You have hung up.");
    }
    this.#cancel();
    this.end("normal", "You have cancelled the call.");
  }

  // RFC 3261 9.1: not before a provisional response, since the CANCEL could overtake the INVITE.
  #cancel() {
    this.#isCancelled = true;
    if (this.#isProvisional && !this.#isFinal) this.#sendCancel();
  }

  #sendCancel() {
    if (this.#isCancelSent) return;
    this.#isCancelSent = true;
    const invite = this.#invite;
    const copied = invite.headers.filter(([name]) =>
      ["via", "max-forwards", "route", "from", "to", "call-id"].includes(name),
    );
    const cancel = new Message({ method: "CANCEL", uri: invite.uri }, copied).add(
      "cseq",
      `${invite.cseq.number} CANCEL`,
    );
    this.agent.transactions.start(cancel, { onResponse() {}, onFailure() {} });
    this.agent.transactions.limit(invite);
  }

  leave() {
    if (this.dialog) super.leave();
    else if (this.state !== "ended" && this.#invite) this.#sendCancel();
  }

  connectionLost() {
    super.connectionLost();
    this.#isFinal = true;
  }
}

// An INVITE outside of a dialog.
function newInvite(agent, { uri, to, callId, tag, sequence, contact, description }) {
  return new Message({ method: "INVITE", uri })
    .add("from", `<${agent.aor}>;tag=${tag}`)
    .add("to", to)
    .add("call-id", callId)
    .add("cseq", `${sequence} INVITE`)
    .add("contact", contact)
    .add("supported", "outbound")
    .setBody(SDP, description);
}
