// Calls that the phone makes, and what a person reads when they fail.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Bench, HOLD, Peer, SDP, reasons, settle } from "./support.mjs";

const CONTACT = ["contact", "<sip:bob@192.0.2.2>"];
const CHALLENGE = ["proxy-authenticate", 'Digest realm="office.example", nonce="n1", algorithm=SHA-256, qop="auth"'];

async function calling(bench = new Bench()) {
  await bench.registered();
  const call = bench.agent.call("sip:bob@office.example");
  return { bench, call, invite: await bench.expect("INVITE") };
}

test("a call is challenged, rings, is answered and ended here", async () => {
  const { bench, call, invite } = await calling();
  assert.equal(call.state, "calling");
  assert.equal(invite.body, SDP);
  assert.match(invite.header("contact"), /;transport=ws;ob>$/);
  await bench.respond(invite, 100);
  await bench.respond(invite, 407, { headers: [CHALLENGE] });
  const rejected = await bench.expect("ACK");
  assert.deepEqual(
    [rejected.via.branch, rejected.header("to")],
    [invite.via.branch, `${invite.header("to")};tag=server`],
  );
  const again = await bench.expect("INVITE");
  assert.deepEqual([again.cseq.number, again.callId, again.header("from")], [2, invite.callId, invite.header("from")]);
  assert.match(again.header("proxy-authorization"), /uri="sip:bob@office.example"/);
  await bench.respond(again, 180, { tag: "bob", headers: [CONTACT] });
  assert.equal(call.state, "ringing");
  const routes = [
    ["record-route", "<sip:far.example;lr>"],
    ["record-route", "<sip:near.example;lr>"],
  ];
  await bench.respond(again, 200, { tag: "bob", headers: [CONTACT, ...routes], body: SDP });
  const ack = await bench.expect("ACK");
  assert.deepEqual([ack.uri, ack.cseq.number], ["sip:bob@192.0.2.2", 2]);
  assert.deepEqual(ack.values("route"), ["<sip:near.example;lr>", "<sip:far.example;lr>"]);
  assert.equal(ack.header("proxy-authorization"), again.header("proxy-authorization"));
  assert.notEqual(ack.via.branch, again.via.branch);
  assert.deepEqual([call.state, bench.media[0].log.at(-1)], ["active", ["accept", SDP]]);
  call.hangUp();
  const bye = await bench.expect("BYE");
  assert.deepEqual([bye.uri, bye.cseq.number, bye.values("route").length], ["sip:bob@192.0.2.2", 3, 2]);
  await bench.respond(bye, 200);
  assert.deepEqual([call.ending.text, bench.media[0].isClosed], ["You have hung up.", true]);
});

test("the peer hangs up", async () => {
  const bench = new Bench();
  await bench.registered();
  const { call, peer } = await bench.answeredByBob();
  await bench.receive(peer.request("BYE"));
  await bench.expect(200);
  assert.deepEqual(call.ending, { kind: "normal", text: "bob has hung up." });
});

test("a strict router gets the Request-URI", async () => {
  const { bench, invite } = await calling();
  await bench.respond(invite, 200, {
    tag: "bob",
    headers: [CONTACT, ["record-route", "<sip:old.example>"]],
    body: SDP,
  });
  const ack = await bench.expect("ACK");
  assert.deepEqual([ack.uri, ack.values("route")], ["sip:old.example", ["<sip:bob@192.0.2.2>"]]);
});

test("each failure has a sentence", async () => {
  const texts = {
    302: /^bob has moved: call sip:carol@other\.example\.$/,
    404: /^bob is not known here/,
    408: /did not answer/,
    480: /cannot be reached/,
    486: /^bob is busy\.$/,
    488: /cannot talk to a browser/,
    500: /^The server could not complete the call \(500 Test\)\.$/,
    503: /overloaded/,
    600: /busy/,
    603: /^bob declined the call\.$/,
    499: /^The call to bob was refused \(499 Test\)\.$/,
  };
  for (const [status, text] of Object.entries(texts)) {
    const { bench, call, invite } = await calling();
    await bench.respond(invite, Number(status), { headers: [["contact", "<sip:carol@other.example>"]] });
    await bench.expect("ACK");
    assert.equal(call.ending.kind, "problem");
    assert.match(call.ending.text, text);
    assert.ok(bench.media[0].isClosed);
  }
});

test("a wrong password during a call is said", async () => {
  const { bench, call, invite } = await calling();
  await bench.respond(invite, 407, { headers: [CHALLENGE] });
  await bench.expect("ACK");
  await bench.respond(await bench.expect("INVITE"), 407, { headers: [CHALLENGE] });
  assert.equal(call.ending.text, "The user name or the password is wrong.");
});

test("each problem of the microphone has a sentence, and no INVITE is sent", async () => {
  const names = {
    NotAllowedError: /does not let this page use the microphone/,
    NotFoundError: /There is no microphone/,
    NotReadableError: /Another program/,
    x: /cannot be used/,
  };
  for (const [name, text] of Object.entries(names)) {
    const bench = new Bench();
    await bench.registered();
    bench.problems = { offer: new reasons.MediaError("microphone", { name }) };
    const call = bench.agent.call("sip:bob@office.example");
    await settle();
    assert.match(call.ending.text, text);
    await bench.expectNothing();
  }
  assert.match(reasons.mediaProblem(new reasons.MediaError("insecure")), /https/);
});

test("a call is cancelled as soon as a provisional response has arrived", async () => {
  const { bench, call, invite } = await calling();
  call.hangUp();
  assert.equal(call.ending.text, "You have cancelled the call.");
  await bench.expectNothing();
  await bench.respond(invite, 180, { tag: "bob", headers: [CONTACT] });
  const cancel = await bench.expect("CANCEL");
  assert.deepEqual(
    [cancel.via.branch, cancel.uri, cancel.header("to"), cancel.cseq.number],
    [invite.via.branch, invite.uri, invite.header("to"), invite.cseq.number],
  );
  await bench.respond(cancel, 200);
  await bench.respond(invite, 487);
  await bench.expect("ACK");
  await bench.expectNothing();
});

test("a cancelled call that gets no final response is over after 32 seconds", async () => {
  const { bench, call, invite } = await calling();
  await bench.respond(invite, 180, { tag: "bob", headers: [CONTACT] });
  call.hangUp();
  await bench.expect("CANCEL");
  await bench.respond(invite, 180, { tag: "bob", headers: [CONTACT] });
  await bench.clock.advance(32_000);
  await bench.respond(invite, 200, { tag: "bob", headers: [CONTACT], body: SDP });
  await bench.expectNothing();
});

test("a call that is cancelled while the password is asked for is not repeated", async () => {
  const { bench, call, invite } = await calling();
  call.hangUp();
  await bench.respond(invite, 407, { headers: [CHALLENGE] });
  await bench.expect("ACK");
  await bench.expectNothing();
});

test("a call that is answered although it was cancelled is ended", async () => {
  const { bench, call, invite } = await calling();
  await bench.respond(invite, 180, { tag: "bob", headers: [CONTACT] });
  call.hangUp();
  await bench.expect("CANCEL");
  await bench.respond(invite, 200, { tag: "bob", headers: [CONTACT], body: SDP });
  await bench.expect("ACK");
  await bench.expect("BYE");
  assert.equal(call.state, "ended");
});

test("of several phones the first answer is used, each further one is ended", async () => {
  const { bench, call, invite } = await calling();
  for (const tag of ["one", "two"])
    await bench.respond(invite, 180, { tag, headers: [["contact", `<sip:${tag}@192.0.2.2>`]] });
  await bench.respond(invite, 200, { tag: "two", headers: [["contact", "<sip:two@192.0.2.2>"]], body: SDP });
  assert.equal((await bench.expect("ACK")).uri, "sip:two@192.0.2.2");
  await bench.respond(invite, 200, { tag: "one", headers: [["contact", "<sip:one@192.0.2.2>"]], body: SDP });
  assert.equal((await bench.expect("ACK")).uri, "sip:one@192.0.2.2");
  assert.equal((await bench.expect("BYE")).uri, "sip:one@192.0.2.2");
  await bench.respond(invite, 200, { tag: "two", headers: [["contact", "<sip:two@192.0.2.2>"]], body: SDP });
  assert.equal((await bench.expect("ACK")).uri, "sip:two@192.0.2.2");
  await bench.expectNothing();
  assert.equal(call.state, "active");
});

test("requests in an early dialog are answered", async () => {
  const { bench, call, invite } = await calling();
  await bench.respond(invite, 183, { tag: "bob", headers: [CONTACT], body: SDP });
  assert.equal(call.state, "calling");
  const peer = new Peer(bench, invite, "bob");
  await bench.receive(peer.request("OPTIONS"));
  await bench.expect(200);
  await bench.receive(peer.request("UPDATE", { body: SDP }));
  await bench.expect(491);
  await bench.receive(peer.request("UPDATE"));
  await bench.expect(200);
  await bench.receive(peer.request("BYE"));
  await bench.expect(481);
  await bench.respond(invite, 181, { tag: "bob" });
  assert.equal(call.progress, "The call is forwarded…");
});

test("an answer that the browser cannot use ends the call", async () => {
  for (const body of [SDP, ""]) {
    const bench = new Bench();
    bench.problems = { accept: new reasons.MediaError("description") };
    const { call, invite } = await calling(bench);
    await bench.respond(invite, 200, { tag: "bob", headers: [CONTACT], body });
    await bench.expect("ACK");
    await bench.expect("BYE");
    assert.equal(call.ending.text, "The other phone cannot talk to a browser.");
  }
});

test("a call is over if nobody answers the INVITE, or the connection breaks", async () => {
  const silent = await calling();
  await silent.bench.clock.advance(32_000);
  assert.equal(silent.call.ending.text, "The server did not answer in time.");
  const broken = await calling();
  broken.bench.socket.fail();
  assert.equal(broken.call.ending.text, "The connection to the server is lost.");
});

test("sound goes on when the connection breaks during a call", async () => {
  const bench = new Bench();
  await bench.registered();
  const { call, peer } = await bench.answeredByBob();
  bench.socket.fail();
  assert.equal(call.state, "active");
  await bench.clock.advance(1_000);
  bench.reopen();
  await bench.expect("REGISTER");
  await bench.receive(peer.request("BYE"));
  await bench.expect(200);
  assert.equal(call.state, "ended");
});

test("no sound ends the call", async () => {
  const bench = new Bench();
  await bench.registered();
  const { call } = await bench.answeredByBob();
  bench.media[0].onFailed();
  await bench.expect("BYE");
  assert.match(call.ending.text, /^No sound came through/);
});

test("keys are tones in the sound, else INFO", async () => {
  const bench = new Bench();
  await bench.registered();
  const { call } = await bench.answeredByBob();
  call.sendTone("5");
  await bench.expectNothing();
  bench.media[0].acceptsTones = false;
  call.sendTone("#");
  const info = await bench.expect("INFO");
  assert.deepEqual(
    [info.header("content-type"), info.body],
    ["application/dtmf-relay", "Signal=#\r\nDuration=160\r\n"],
  );
  await bench.respond(info, 200);
});

test("the peer holds and resumes the call", async () => {
  const bench = new Bench();
  await bench.registered();
  const { call, peer } = await bench.answeredByBob();
  const hold = peer.request("INVITE", { body: HOLD, headers: [["contact", "<sip:moved@192.0.2.3>"]] });
  await bench.receive(hold);
  assert.equal((await bench.expect(200)).body, SDP);
  assert.equal(call.isHeld, true);
  // RFC 3261 14.2: another offer before the ACK.
  await bench.receive(peer.request("INVITE", { body: SDP }));
  assert.match((await bench.expect(500)).header("retry-after"), /^[0-9]+$/);
  await bench.clock.advance(500);
  await bench.expect(200);
  await bench.receive(peer.request("ACK", { sequence: hold.cseq.number }));
  await bench.clock.advance(60_000);
  await bench.expectNothing();
  await bench.receive(peer.request("UPDATE", { body: SDP }));
  await bench.expect(200);
  assert.equal(call.isHeld, false);
  call.hangUp();
  assert.equal((await bench.expect("BYE")).uri, "sip:moved@192.0.2.3");
});

test("an INVITE without an offer gets one, and the answer is in its ACK", async () => {
  const bench = new Bench();
  await bench.registered();
  const { call, peer } = await bench.answeredByBob();
  const invite = peer.request("INVITE");
  await bench.receive(invite);
  assert.equal((await bench.expect(200)).body, SDP);
  await bench.receive(peer.request("UPDATE", { body: SDP }));
  await bench.expect(491);
  await bench.receive(peer.request("ACK", { sequence: invite.cseq.number, body: HOLD }));
  assert.deepEqual([bench.media[0].log.at(-1), call.isHeld], [["accept", HOLD], true]);
});

test("an offer that arrives just before the call ends is answered", async () => {
  const bench = new Bench();
  await bench.registered();
  const { call, peer } = await bench.answeredByBob();
  bench.socket.receive(`${peer.request("INVITE", { body: HOLD })}`);
  call.hangUp();
  await bench.expect(487);
  await bench.expect("BYE");
});

test("an offer that the browser cannot use does not end the call", async () => {
  const bench = new Bench();
  await bench.registered();
  const { call, peer } = await bench.answeredByBob();
  bench.problems.answer = new reasons.MediaError("description");
  await bench.receive(peer.request("INVITE", { body: SDP }));
  await bench.expect(488);
  assert.equal(call.state, "active");
});

test("other requests within the dialog are answered as the RFCs say", async () => {
  const bench = new Bench();
  await bench.registered();
  const { peer } = await bench.answeredByBob();
  const cases = [
    ["OPTIONS", {}, 200],
    ["INFO", {}, 200],
    ["INFO", { headers: [["info-package", "x"]] }, 469],
    ["REFER", {}, 405],
    ["MESSAGE", {}, 405],
    ["INVITE", { headers: [["require", "timer, Replaces"]] }, 420],
    ["UPDATE", {}, 200],
    ["OPTIONS", { sequence: 3 }, 500],
  ];
  for (const [method, options, status] of cases) {
    await bench.receive(peer.request(method, options));
    const response = await bench.expect(status);
    if (status === 420) assert.equal(response.header("unsupported"), "timer, Replaces");
    if (status === 405) assert.match(response.header("allow"), /^INVITE, ACK/);
  }
  peer.callId = "another";
  await bench.receive(peer.request("BYE"));
  await bench.expect(481);
});

test("closing the page ends the call at once", async () => {
  const bench = new Bench();
  await bench.registered();
  await bench.answeredByBob();
  bench.agent.leave();
  assert.match(bench.socket.sent.at(-1), /^BYE /);
  const other = await calling();
  await other.bench.respond(other.invite, 180, { tag: "bob", headers: [CONTACT] });
  other.bench.agent.leave();
  assert.match(other.bench.socket.sent.at(-1), /^CANCEL /);
});

test("a response that belongs to nothing is ignored", async () => {
  const { bench, call, invite } = await calling();
  const other = invite.clone();
  other.headers[0][1] = other.headers[0][1].replace(/branch=.*/, "branch=z9hG4bKother");
  await bench.respond(other, 200, { tag: "bob", headers: [CONTACT], body: SDP });
  const twice = invite.clone();
  twice.headers.unshift(["via", "SIP/2.0/WS mallory;branch=z9hG4bK1"]);
  await bench.respond(twice, 200, { tag: "bob", headers: [CONTACT], body: SDP });
  await bench.expectNothing();
  assert.equal(call.state, "calling");
});
