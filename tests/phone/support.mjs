// A clock that the tests set, a WebSocket in memory whose other end is the test, and sound that is only recorded.

import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";

// Node 18 does not have it as a global, browsers do.
globalThis.crypto ??= webcrypto;

const source = new URL("../../crates/server/src/phone/", import.meta.url);
const load = name => import(new URL(name, source));

export const address = await load("address.js");
export const digest = await load("digest.js");
export const grammar = await load("grammar.js");
export const message = await load("message.js");
export const random = await load("random.js");
export const reasons = await load("reasons.js");
export const media = await load("media.js");
export const transaction = await load("transaction.js");
export const dialog = await load("dialog.js");
export const view = await load("view.js");
export const { Connection } = await load("connection.js");
export const { Agent } = await load("agent.js");

const { Message, parseMessage, responseTo } = message;

/** Time passes only by `advance`. */
export class Clock {
  #now = 1_000_000;
  #timers = new Map();
  #next = 1;

  now() {
    return this.#now;
  }

  after(delay, run) {
    this.#timers.set(this.#next, { at: this.#now + delay, run });
    return this.#next++;
  }

  cancel(timer) {
    this.#timers.delete(timer);
  }

  /** Runs what is due within so many milliseconds, in order. */
  async advance(delay) {
    const end = this.#now + delay;
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].run();
      await settle();
    }
    this.#now = end;
    await settle();
  }
}

/** Lets promises run: a digest is computed by another thread. */
export async function settle() {
  for (let turn = 0; turn < 5; turn++) await new Promise(resolve => setImmediate(resolve));
}

/** Waits until a function returns a value, at most five seconds. */
export async function until(find, what) {
  const end = Date.now() + 5_000;
  while (Date.now() < end) {
    const found = find();
    if (found) return found;
    await new Promise(resolve => setTimeout(resolve, 1));
  }
  return assert.fail(`${what} has not happened`);
}

/** The sockets that the code under test has opened, newest last. */
export function socketClass(sockets) {
  return class extends EventTarget {
    sent = [];
    isClosed = false;
    protocol = "";

    constructor(url, protocols) {
      super();
      Object.assign(this, { url, protocols });
      sockets.push(this);
    }

    send(text) {
      assert.ok(!this.isClosed, "a closed socket sends nothing");
      this.sent.push(text);
    }

    close() {
      this.isClosed = true;
    }

    open(protocol = "sip") {
      this.protocol = protocol;
      this.dispatchEvent(new Event("open"));
    }

    receive(data) {
      this.dispatchEvent(Object.assign(new Event("message"), { data }));
    }

    fail() {
      this.isClosed = true;
      this.dispatchEvent(new Event("close"));
    }
  };
}

export const SDP =
  "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendrecv\r\n";
export const HOLD = SDP.replace("sendrecv", "sendonly");

/** Sound that is only recorded. `problem` is thrown by the functions that it names. */
export class FakeMedia {
  isMuted = false;
  isClosed = false;
  acceptsTones = true;
  hasDescription = true;
  log = [];
  problems = {};

  async #step(name, value) {
    this.log.push([name, value]);
    if (this.problems[name]) throw this.problems[name];
    return SDP;
  }

  offer() {
    return this.#step("offer");
  }

  answer(sdp) {
    return this.#step("answer", sdp);
  }

  accept(sdp) {
    return this.#step("accept", sdp);
  }

  rollback() {
    return this.#step("rollback");
  }

  sendTone(digit) {
    this.log.push(["tone", digit]);
    return this.acceptsTones;
  }

  close() {
    this.isClosed = true;
  }
}

/** An agent and the server that the test plays. */
export class Bench {
  clock = new Clock();
  sockets = [];
  registrations = [];
  calls = [];
  media = [];
  /** Problems of the sound of the next calls. */
  problems = {};
  #seen = 0;

  constructor({ websocket = "ws://127.0.0.1:5080/" } = {}) {
    this.agent = new Agent({
      account: { user: "alice", domain: "office.example", password: "secret", websocket, instance: "urn:uuid:1" },
      createMedia: () => {
        const created = Object.assign(new FakeMedia(), { problems: this.problems });
        this.media.push(created);
        return created;
      },
      onRegistration: state => this.registrations.push(state),
      onCall: call => this.calls.includes(call) || this.calls.push(call),
      clock: this.clock,
      WebSocket: socketClass(this.sockets),
      random: () => 1,
    });
  }

  get socket() {
    return this.sockets.at(-1);
  }

  get state() {
    return this.registrations.at(-1);
  }

  /** Everything that the agent sent to the newest socket and nobody has looked at. */
  unread() {
    return this.socket.sent.slice(this.#seen);
  }

  /** The next message, which is a request of this method or a response of this status. */
  async expect(what) {
    const text = await until(() => this.socket.sent[this.#seen], what);
    this.#seen++;
    const found = parseMessage(text);
    assert.equal(found.method ?? found.status, what, text);
    return found;
  }

  async expectNothing() {
    await settle();
    assert.deepEqual(this.unread(), []);
  }

  /** Sends a response to a request of the agent. */
  async respond(request, status, { tag = "server", headers = [], body = "" } = {}) {
    const response = responseTo(request, status, "Test", tag);
    for (const [name, value] of headers) response.add(name, value);
    if (body) response.setBody("application/sdp", body);
    await this.receive(response);
  }

  async receive(sent) {
    this.socket.receive(`${sent}`);
    await settle();
  }

  open() {
    this.agent.start();
    this.socket.open();
  }

  reopen() {
    this.#seen = 0;
    this.socket.open();
  }

  /** Registers without a challenge. */
  async registered(headers = []) {
    this.open();
    const register = await this.expect("REGISTER");
    await this.respond(register, 200, { headers: [["contact", register.header("contact")], ...headers] });
    return register;
  }

  /** A call to bob that was answered; the dialog as bob has it. */
  async answeredByBob() {
    const call = this.agent.call("sip:bob@office.example");
    const invite = await this.expect("INVITE");
    await this.respond(invite, 180, { tag: "bob", headers: [["contact", "<sip:bob@192.0.2.2>"]] });
    await this.respond(invite, 200, { tag: "bob", headers: [["contact", "<sip:bob@192.0.2.2>"]], body: SDP });
    await this.expect("ACK");
    return { call, peer: new Peer(this, invite, "bob") };
  }

  /** An INVITE of bob. */
  invite({
    branch = random.newBranch(),
    body = SDP,
    headers = [],
    from = '"Bob" <sip:bob@office.example>',
    callId = random.hex(4),
    tag = "bob",
  } = {}) {
    const invite = new Message({ method: "INVITE", uri: this.agent.contactUri })
      .add("via", `SIP/2.0/WS server.example;branch=${branch}`)
      .add("from", `${from};tag=${tag}`)
      .add("to", "<sip:alice@office.example>")
      .add("call-id", callId)
      .add("cseq", "1 INVITE")
      .add("contact", "<sip:bob@192.0.2.2>")
      .add("record-route", "<sip:server.example;lr>");
    for (const [name, value] of headers) invite.add(name, value);
    return body ? invite.setBody("application/sdp", body) : invite;
  }

  /** A request to the agent outside of a dialog. */
  request(method, headers = []) {
    const request = new Message({ method, uri: this.agent.contactUri })
      .add("via", `SIP/2.0/WS server.example;branch=${random.newBranch()}`)
      .add("from", "<sip:bob@office.example>;tag=x")
      .add("to", "<sip:alice@office.example>")
      .add("call-id", random.hex(4))
      .add("cseq", `1 ${method}`);
    for (const [name, value] of headers) request.add(name, value);
    return request;
  }
}

/** The other end of a dialog that the agent began. */
export class Peer {
  #sequence = 10;

  constructor(bench, invite, tag) {
    this.bench = bench;
    this.local = `${invite.header("to")};tag=${tag}`;
    this.remote = invite.header("from");
    this.callId = invite.callId;
  }

  request(method, { body = "", sequence = ++this.#sequence, headers = [] } = {}) {
    const request = new Message({ method, uri: this.bench.agent.contactUri })
      .add("via", `SIP/2.0/WS server.example;branch=${random.newBranch()}`)
      .add("from", this.local)
      .add("to", this.remote)
      .add("call-id", this.callId)
      .add("cseq", `${sequence} ${method}`);
    for (const [name, value] of headers) request.add(name, value);
    return body ? request.setBody("application/sdp", body) : request;
  }
}
