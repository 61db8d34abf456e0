// The registration: what is sent, when it is refreshed, and what a person reads when it fails.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Bench, settle } from "./support.mjs";

const CHALLENGE = 'Digest realm="office.example", nonce="n1", algorithm=SHA-256, qop="auth"';
const challenged = (nonce, more = "") => ({
  headers: [["www-authenticate", `${CHALLENGE.replace("n1", nonce)}${more}`]],
});
const accepted = request => ({
  headers: [
    ["contact", "<sip:other@192.0.2.9>;expires=9"],
    ["contact", request.header("contact")],
  ],
});

test("a registration answers the challenge and binds the connection", async () => {
  const bench = new Bench();
  bench.open();
  assert.equal(bench.socket.protocols, "sip");
  const first = await bench.expect("REGISTER");
  assert.equal(first.uri, "sip:office.example");
  assert.match(first.header("via"), /^SIP\/2\.0\/WS [0-9a-f]+\.invalid;branch=z9hG4bK/);
  assert.match(
    first.header("contact"),
    /^<sip:[0-9a-f]+@[0-9a-f]+\.invalid;transport=ws>;reg-id=1;\+sip\.instance="<urn:uuid:1>";expires=600$/,
  );
  assert.equal(first.header("supported"), "outbound, path");
  assert.equal(first.header("authorization"), undefined);
  await bench.respond(first, 401, challenged("n1"));
  const second = await bench.expect("REGISTER");
  assert.deepEqual([second.cseq.number, second.callId], [2, first.callId]);
  assert.notEqual(second.via.branch, first.via.branch);
  assert.match(second.header("authorization"), /^Digest username="alice", .*uri="sip:office.example"/);
  await bench.respond(second, 200, accepted(second));
  assert.deepEqual(bench.state, { kind: "registered", text: "Ready" });
});

test("the registration is refreshed a minute before its end, with the credentials it has", async () => {
  const bench = new Bench();
  await bench.registered();
  await bench.clock.advance(539_000);
  await bench.expectNothing();
  await bench.clock.advance(1_000);
  const refresh = await bench.expect("REGISTER");
  assert.equal(refresh.cseq.number, 2);
  await bench.respond(refresh, 401, challenged("n2"));
  await bench.respond(await bench.expect("REGISTER"), 200, {
    headers: [["contact", refresh.header("contact").replace("=600", "=20")]],
  });
  await bench.clock.advance(10_000);
  assert.match((await bench.expect("REGISTER")).header("authorization"), /nonce="n2".*nc=00000002/);
});

test("a wrong password is said, and not tried again", async () => {
  const bench = new Bench();
  bench.open();
  await bench.respond(await bench.expect("REGISTER"), 401, challenged("n1"));
  await bench.respond(await bench.expect("REGISTER"), 401, challenged("n2"));
  assert.deepEqual(bench.state, { kind: "failed", text: "The user name or the password is wrong." });
  await bench.clock.advance(3_600_000);
  await bench.expectNothing();
});

test("an expired nonce is not a wrong password", async () => {
  const bench = new Bench();
  bench.open();
  await bench.respond(await bench.expect("REGISTER"), 401, challenged("n1"));
  await bench.respond(await bench.expect("REGISTER"), 401, challenged("n2", ", stale=true"));
  const third = await bench.expect("REGISTER");
  assert.match(third.header("authorization"), /nonce="n2".*nc=00000001/);
  await bench.respond(third, 200, accepted(third));
  assert.equal(bench.state.kind, "registered");
});

test("each refusal has a sentence", async () => {
  const outcomes = {
    403: /^The server does not let this user sign in/,
    404: /does not know this user/,
    400: /refused to sign you in \(400 Test\)/,
  };
  for (const [status, text] of Object.entries(outcomes)) {
    const bench = new Bench();
    bench.open();
    await bench.respond(await bench.expect("REGISTER"), Number(status));
    assert.equal(bench.state.kind, "failed");
    assert.match(bench.state.text, text);
  }
  const md5 = new Bench();
  md5.open();
  await md5.respond(await md5.expect("REGISTER"), 401, {
    headers: [["www-authenticate", 'Digest realm="x", nonce="y", qop="auth"']],
  });
  assert.match(md5.state.text, /SHA-256/);
});

test("an overloaded server is asked again when it says so", async () => {
  const bench = new Bench();
  bench.open();
  await bench.respond(await bench.expect("REGISTER"), 503, { headers: [["retry-after", "30"]] });
  assert.deepEqual(bench.state, {
    kind: "waiting",
    text: "The server cannot sign you in now (503 Test).",
    retryIn: 30_000,
  });
  await bench.clock.advance(29_000);
  await bench.expectNothing();
  await bench.clock.advance(1_000);
  await bench.expect("REGISTER");
});

test("a server that does not answer is asked again", async () => {
  const bench = new Bench();
  bench.open();
  await bench.expect("REGISTER");
  await bench.clock.advance(32_000);
  assert.equal(bench.state.text, "The server does not answer.");
  await bench.clock.advance(2_000);
  await bench.expect("REGISTER");
});

test("an interval that is too short is tried again, longer", async () => {
  const bench = new Bench();
  bench.open();
  const first = await bench.expect("REGISTER");
  await bench.respond(first, 423, { headers: [["min-expires", "1800"]] });
  assert.match((await bench.expect("REGISTER")).header("contact"), /expires=1800$/);
});

test("a response without this phone's binding is no registration", async () => {
  const bench = new Bench();
  bench.open();
  await bench.respond(await bench.expect("REGISTER"), 200, {
    headers: [["contact", "<sip:other@192.0.2.9>;expires=600"]],
  });
  assert.equal(bench.state.kind, "waiting");
});

test("a connection that breaks is opened and registered again, each time later", async () => {
  const bench = new Bench();
  const first = await bench.registered();
  bench.socket.fail();
  assert.deepEqual(bench.state, { kind: "waiting", text: "The connection to the server is lost.", retryIn: 1_000 });
  for (const wait of [1_000, 2_000, 4_000]) {
    await bench.clock.advance(wait);
    bench.socket.fail();
  }
  assert.deepEqual(bench.state, { kind: "waiting", text: "The server does not answer.", retryIn: 8_000 });
  assert.equal(bench.sockets.length, 4);
  await bench.clock.advance(8_000);
  bench.reopen();
  const again = await bench.expect("REGISTER");
  assert.notEqual(again.callId, first.callId);
  await bench.respond(again, 200, accepted(again));
  assert.equal(bench.state.kind, "registered");
});

test("a server that does not open within ten seconds, or has no SIP, is tried again", async () => {
  const bench = new Bench();
  bench.agent.start();
  await bench.clock.advance(10_000);
  assert.ok(bench.socket.isClosed);
  await bench.clock.advance(1_000);
  bench.socket.open("");
  assert.ok(bench.socket.isClosed);
  assert.deepEqual(bench.state.text, "The server does not answer.");
});

test("keep-alives are sent to a server with RFC 5626, and a missing answer breaks the connection", async () => {
  const bench = new Bench();
  await bench.registered([["require", "outbound"]]);
  for (let round = 0; round < 3; round++) {
    await bench.clock.advance(25_000);
    assert.equal(bench.socket.sent.at(-1), "\r\n\r\n");
    bench.socket.receive("\r\n");
  }
  await bench.clock.advance(25_000);
  await bench.clock.advance(10_000);
  assert.ok(bench.socket.isClosed);
  assert.equal(bench.state.text, "The connection to the server is lost.");
  const other = new Bench();
  await other.registered();
  await other.clock.advance(100_000);
  await other.expectNothing();
});

test("signing out removes the registration", async () => {
  const bench = new Bench();
  await bench.registered();
  const stopped = bench.agent.stop();
  const remove = await bench.expect("REGISTER");
  assert.match(remove.header("contact"), /expires=0$/);
  await bench.respond(remove, 200);
  await stopped;
  assert.ok(bench.socket.isClosed);
  await bench.clock.advance(3_600_000);
  assert.equal(bench.sockets.length, 1);
});

test("signing out does not wait for a server that does not answer", async () => {
  const bench = new Bench();
  await bench.registered();
  const stopped = bench.agent.stop();
  await bench.expect("REGISTER");
  await bench.clock.advance(1_500);
  await stopped;
  assert.ok(bench.socket.isClosed);
});

test("wss is said in Via, ws in Contact", async () => {
  // RFC 7118 5.1 and appendix A: the URI parameter has one value for both.
  const bench = new Bench({ websocket: "wss://office.example/" });
  bench.open();
  const register = await bench.expect("REGISTER");
  assert.match(register.header("via"), /^SIP\/2\.0\/WSS /);
  assert.match(register.header("contact"), /transport=ws>/);
});

test("garbage, binary frames and long frames do no harm", async () => {
  const bench = new Bench();
  await bench.registered();
  for (const data of [
    "",
    "\r\n",
    "hello",
    "x".repeat(70_000),
    new ArrayBuffer(3),
    new ArrayBuffer(70_000),
    "SIP/2.0 200 OK\r\n\r\n",
  ])
    bench.socket.receive(data);
  await settle();
  await bench.expectNothing();
  bench.socket.receive(new TextEncoder().encode(`${bench.request("OPTIONS")}`).buffer);
  await bench.expect(200);
});
