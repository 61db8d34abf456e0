// Calls to the phone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Bench, HOLD, Peer, SDP, message, reasons } from "./support.mjs";

const { Message } = message;

async function ringing(options) {
  const bench = new Bench();
  await bench.registered();
  const invite = bench.invite(options);
  await bench.receive(invite);
  const response = await bench.expect(180);
  return { bench, invite, call: bench.calls[0], tag: response.to.params.get("tag"), response };
}

/** A request of the caller within the dialog or about the INVITE. */
function from({ bench, invite, tag }, method, { sequence = 2, body = "", branch } = {}) {
  const request = new Message({ method, uri: bench.agent.contactUri })
    .add("via", `SIP/2.0/WS server.example;branch=${branch ?? `z9hG4bK${Math.random()}`}`)
    .add("from", invite.header("from"))
    .add("to", method === "CANCEL" ? invite.header("to") : `${invite.header("to")};tag=${tag}`)
    .add("call-id", invite.callId)
    .add("cseq", `${sequence} ${method}`);
  return body ? request.setBody("application/sdp", body) : request;
}

test("a call rings, is answered and ended by the caller", async () => {
  const state = await ringing();
  const { bench, call, response } = state;
  assert.deepEqual([call.state, call.name, call.address], ["ringing", "Bob", "bob"]);
  assert.equal(response.header("record-route"), "<sip:server.example;lr>");
  call.answer();
  const ok = await bench.expect(200);
  assert.deepEqual(
    [ok.body, ok.to.params.get("tag"), ok.header("record-route")],
    [SDP, state.tag, "<sip:server.example;lr>"],
  );
  assert.match(ok.header("contact"), /;ob>$/);
  await bench.receive(from(state, "ACK", { sequence: 1 }));
  await bench.clock.advance(60_000);
  await bench.expectNothing();
  assert.equal(call.state, "active");
  await bench.receive(from(state, "BYE"));
  await bench.expect(200);
  assert.equal(call.ending.text, "Bob has hung up.");
});

test("an answered call is ended here, to the caller's Contact by its routes", async () => {
  const state = await ringing();
  const { bench, call } = state;
  call.answer();
  await bench.expect(200);
  await bench.receive(from(state, "ACK", { sequence: 1 }));
  call.hangUp();
  const bye = await bench.expect("BYE");
  assert.deepEqual(
    [bye.uri, bye.header("route"), bye.header("to"), bye.cseq.number],
    ["sip:bob@192.0.2.2", "<sip:server.example;lr>", state.invite.header("from"), 1],
  );
});

test("the answer is sent again until its ACK arrives, and the call ends without it", async () => {
  const { bench, call } = await ringing();
  call.answer();
  await bench.expect(200);
  await bench.clock.advance(31_000);
  assert.equal(bench.unread().length, 9);
  await bench.clock.advance(3_000);
  assert.match(bench.socket.sent.at(-1), /^BYE /);
  assert.equal(call.ending.text, "The other phone did not complete the call.");
});

test("a BYE waits for the ACK of the answer", async () => {
  const state = await ringing();
  const { bench, call } = state;
  call.answer();
  await bench.expect(200);
  call.hangUp();
  await bench.expectNothing();
  await bench.receive(from(state, "ACK", { sequence: 1 }));
  await bench.expect("BYE");
});

test("a call is declined", async () => {
  const { bench, call, invite } = await ringing();
  call.hangUp();
  await bench.expect(603);
  await bench.receive(from({ bench, invite, tag: "x" }, "ACK", { sequence: 1, branch: invite.via.branch }));
  await bench.clock.advance(60_000);
  await bench.expectNothing();
  assert.equal(call.ending.text, "You have declined the call.");
});

test("a cancelled call is a missed call, unless another phone has answered", async () => {
  const state = await ringing();
  const { bench, call, invite } = state;
  await bench.receive(from(state, "CANCEL", { sequence: 1, branch: invite.via.branch }));
  await bench.expect(200);
  await bench.expect(487);
  assert.deepEqual(call.ending, { kind: "missed", text: "Missed call from Bob." });
  const other = await ringing();
  const cancel = from(other, "CANCEL", { sequence: 1, branch: other.invite.via.branch }).add(
    "reason",
    'SIP ;cause=200 ;text="Call completed elsewhere"',
  );
  await other.bench.receive(cancel);
  assert.deepEqual(other.call.ending, { kind: "normal", text: "Another phone has answered." });
});

test("a CANCEL after the answer, or for an unknown call, changes nothing", async () => {
  const state = await ringing();
  const { bench, call, invite } = state;
  call.answer();
  await bench.expect(200);
  await bench.receive(from(state, "CANCEL", { sequence: 1, branch: invite.via.branch }));
  await bench.expect(200);
  assert.equal(call.state, "active");
  await bench.receive(from(state, "CANCEL", { sequence: 1, branch: "z9hG4bKunknown" }));
  await bench.expect(481);
});

test("a call in a call is refused as busy", async () => {
  const state = await ringing();
  const { bench } = state;
  await bench.receive(bench.invite({ callId: "second" }));
  await bench.expect(486);
  assert.equal(state.call.state, "ringing");
  assert.equal(bench.calls.length, 1);
});

test("a call does not ring longer than its Expires", async () => {
  const { bench, call } = await ringing({ headers: [["expires", "20"]] });
  await bench.clock.advance(20_000);
  await bench.expect(487);
  assert.equal(call.ending.kind, "missed");
});

test("without a microphone the call is refused for this phone only, and the person is told", async () => {
  const state = await ringing();
  const { bench, call } = state;
  bench.problems.answer = new reasons.MediaError("microphone", { name: "NotFoundError" });
  call.answer();
  await bench.expect(480);
  assert.match(call.ending.text, /^There is no microphone/);
});

test("an offer that the browser cannot use is refused", async () => {
  const { bench, call } = await ringing();
  bench.problems.answer = new reasons.MediaError("description");
  call.answer();
  await bench.expect(488);
  assert.equal(call.ending.text, "The other phone cannot talk to a browser.");
});

test("an INVITE without an offer is answered by one", async () => {
  const state = await ringing({ body: "" });
  const { bench, call } = state;
  call.answer();
  await bench.expect(200);
  await bench.receive(from(state, "ACK", { sequence: 1, body: HOLD }));
  assert.deepEqual([bench.media[0].log.at(-1), call.isHeld], [["accept", HOLD], true]);
  const other = await ringing({ body: "" });
  other.call.answer();
  await other.bench.expect(200);
  await other.bench.receive(from(other, "ACK", { sequence: 1 }));
  await other.bench.expect("BYE");
  assert.equal(other.call.state, "ended");
});

test("an INVITE that arrives again does not ring again", async () => {
  const { bench, invite } = await ringing();
  await bench.receive(invite);
  await bench.expect(180);
  assert.equal(bench.calls.length, 1);
  // RFC 3261 8.2.2.2: by another way.
  const merged = invite.clone();
  merged.headers[0][1] = "SIP/2.0/WS server.example;branch=z9hG4bKother";
  await bench.receive(merged);
  await bench.expect(482);
});

test("a BYE before the answer ends the call", async () => {
  const state = await ringing();
  const { bench, call } = state;
  await bench.receive(from(state, "BYE"));
  await bench.expect(200);
  await bench.expect(487);
  assert.equal(call.ending.kind, "missed");
});

test("an INVITE that cannot be a call is refused", async () => {
  const bench = new Bench();
  await bench.registered();
  await bench.receive(bench.invite().set("content-type", "text/plain"));
  assert.equal((await bench.expect(415)).header("accept"), "application/sdp");
  await bench.receive(bench.invite({ headers: [["require", "100rel"]] }));
  assert.equal((await bench.expect(420)).header("unsupported"), "100rel");
  await bench.receive(bench.invite().remove("contact"));
  await bench.expect(400);
  const tel = bench.invite();
  tel.uri = "tel:+4930";
  await bench.receive(tel);
  await bench.expect(416);
  assert.equal(bench.calls.length, 0);
});

test("requests outside of a call are answered", async () => {
  const bench = new Bench();
  await bench.registered();
  for (const [method, status] of [
    ["OPTIONS", 200],
    ["MESSAGE", 405],
    ["REFER", 405],
    ["BYE", 481],
    ["INFO", 481],
    ["UPDATE", 481],
  ]) {
    await bench.receive(bench.request(method));
    await bench.expect(status);
  }
  await bench.receive(bench.request("ACK"));
  await bench.expectNothing();
});

test("text of the caller stays text", async () => {
  const { call } = await ringing({ from: '"<img src=x onerror=alert(1)>" <sip:bob@office.example>' });
  assert.equal(call.name, "<img src=x onerror=alert(1)>");
  const long = await ringing({ from: `"${"x".repeat(5000)}" <sip:bob@office.example>` });
  assert.equal(long.call.name.length, 81);
});

test("a caller can be called back, unless the caller is anonymous", async () => {
  const callers = {
    "<sip:bob@office.example>": "sip:bob@office.example",
    "<tel:+4930>": "+4930",
    '"Anonymous" <sip:anonymous@anonymous.invalid>': null,
  };
  for (const [from, redial] of Object.entries(callers)) assert.equal((await ringing({ from })).call.redial, redial);
});

test("a lost connection ends a call that rings", async () => {
  const { bench, call } = await ringing();
  bench.socket.fail();
  assert.equal(call.ending.text, "The connection to the server is lost.");
});

test("many INVITEs do not use more and more memory", async () => {
  const bench = new Bench();
  await bench.registered();
  await bench.receive(bench.invite());
  for (let number = 0; number < 200; number++) bench.socket.receive(`${bench.invite({ callId: `${number}` })}`);
  assert.equal(bench.unread().length, 64);
});

test("the same phone can be both sides of dialogs with one Call-ID", async () => {
  const state = await ringing({ callId: "shared" });
  const { bench, call } = state;
  call.answer();
  await bench.expect(200);
  const stranger = new Peer(bench, state.invite, "other");
  await bench.receive(stranger.request("BYE"));
  await bench.expect(481);
  assert.equal(call.state, "active");
});
