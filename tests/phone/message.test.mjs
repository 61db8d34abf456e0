// Parsing and writing: what is accepted, what is refused, and what a peer cannot smuggle in.

import assert from "node:assert/strict";
import { test } from "node:test";
import { address, grammar, media, message } from "./support.mjs";

const { ParseError } = grammar;
const { Message, parseMessage, responseTo } = message;

const lines = (...changes) => {
  const headers = [
    "INVITE sip:a@b SIP/2.0",
    "Via: SIP/2.0/WS x;branch=z9hG4bK1",
    "From: <sip:bob@b>;tag=1",
    "To: <sip:a@b>",
    "Call-ID: c",
    "CSeq: 1 INVITE",
  ];
  for (const [at, line] of changes) headers[at] = line;
  return `${headers.filter(line => line !== null).join("\r\n")}\r\n\r\n`;
};

test("a request with compact forms, folding and lists is understood", () => {
  // After RFC 4475 3.1.1.1, "A short tortuous INVITE".
  const text = [
    "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0",
    "TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
    'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8',
    "MaX-fOrWaRdS: 0068",
    "Call-ID: wsinv.ndaksdj@192.0.2.1",
    "Content-Length   : 0",
    "cseq: 0009\r\n  INVITE",
    "Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw",
    "s :",
    "NewFangledHeader:   newfangled value\r\n continued newfangled value",
    "UnknownHeaderWithUnusualValue: ;;,,;;,;",
    "Content-Type: application/sdp",
    "Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>",
    "v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,",
    " SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239",
    'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33',
    "\r\n",
  ].join("\r\n");
  const invite = parseMessage(text);
  assert.equal(invite.from.name, 'J Rosenberg \\"');
  assert.equal(invite.from.params.get("tag"), "98asjd8");
  assert.equal(invite.to.params.get("tag"), "1918181833n");
  assert.deepEqual(invite.cseq, { number: 9, method: "INVITE" });
  assert.equal(invite.values("via").length, 3);
  assert.deepEqual(invite.via, { transport: "UDP", host: "192.0.2.2", branch: "390skdjuw" });
  assert.equal(address.parseAddress(invite.header("contact")).name, 'Quoted string ""');
});

test("a message that is not well-formed is refused", () => {
  const wrong = {
    nothing: "",
    "no end": lines().slice(0, -2),
    "another version": lines([0, "INVITE sip:a@b SIP/3.0"]),
    "a status out of range": lines([0, "SIP/2.0 999 x"]),
    "spaces in the URI": lines([0, "INVITE sip:a @b SIP/2.0"]),
    "no method": lines([0, " sip:a@b SIP/2.0"]),
    "no Via": lines([1, null]),
    "no branch": lines([1, "Via: SIP/2.0/WS x"]),
    "no From": lines([2, null]),
    "two From": lines([2, "From: <sip:a@b>\r\nf: <sip:b@b>"]),
    "an open bracket": lines([2, "From: <sip:a@b"]),
    "an open quote": lines([2, 'From: "bob <sip:a@b>']),
    "text behind the URI": lines([2, "From: <sip:a@b> x"]),
    "two tags": lines([2, "From: <sip:a@b>;tag=1;tag=2"]),
    "no To": lines([3, null]),
    "no URI": lines([3, "To: bob"]),
    "no Call-ID": lines([4, "Call-ID:"]),
    "another method in CSeq": lines([5, "CSeq: 1 BYE"]),
    "a negative CSeq": lines([5, "CSeq: -1 INVITE"]),
    "a large CSeq": lines([5, "CSeq: 2147483648 INVITE"]),
    "no colon": lines([4, "Call-ID: c\r\nhello"]),
    "a control character": lines([4, "Call-ID: c\u0000"]),
    "a bare LF": lines([4, "Call-ID: c\nX: y"]),
    "a missing body": lines([4, "Call-ID: c\r\nContent-Length: 5"]),
    "two lengths": lines([4, "Call-ID: c\r\nContent-Length: 0\r\nl: 0"]),
    "a negative length": lines([4, "Call-ID: c\r\nContent-Length: -1"]),
    "a Contact of another kind": lines([4, "Call-ID: c\r\nm: <x>"]),
    "too many headers": lines([4, `Call-ID: c${"\r\nX: y".repeat(400)}`]),
    "a long line": lines([4, `Call-ID: ${"c".repeat(9000)}`]),
    "a long message": lines() + "x".repeat(70_000),
    "a control character in UTF-8": lines([4, "Call-ID: c\u007f"]),
  };
  assert.ok(parseMessage(lines()));
  for (const [what, text] of Object.entries(wrong)) assert.throws(() => parseMessage(text), ParseError, what);
});

test("no text makes the parser throw anything else, or take long", () => {
  const seeds = [
    lines(),
    "SIP/2.0 200 OK\r\n",
    '"'.repeat(4000),
    "<".repeat(4000),
    `From: ${'"\\'.repeat(2000)}`,
    `To: ${" <".repeat(2000)}`,
    "a;".repeat(4000),
  ];
  const began = Date.now();
  let seed = 7;
  const next = limit => (seed = (seed * 1103515245 + 12345) % 2147483648) % limit;
  for (let round = 0; round < 4000; round++) {
    let text = seeds[next(2) ? 0 : next(seeds.length)];
    for (let change = next(4); change >= 0; change--) {
      const at = next(text.length + 1);
      const piece = ["\r\n", ";", ",", '"', "<", ">", "\\", "\u0000", "é", ":", "@", "%", "["][next(13)];
      text = text.slice(0, at) + piece.repeat(1 + next(3)) + text.slice(at + next(3));
    }
    try {
      parseMessage(text.includes("\r\n\r\n") ? text : lines([2, text]));
    } catch (error) {
      assert.ok(error instanceof ParseError, `${error.stack}\n${JSON.stringify(text)}`);
    }
  }
  assert.ok(Date.now() - began < 5_000);
});

test("Content-Length counts octets, and what is behind them is ignored", () => {
  const text = lines([4, "Call-ID: c\r\nContent-Length: 3"]);
  assert.equal(parseMessage(`${text}éxyz`).body, "éx");
  const written = new Message({ method: "INFO", uri: "sip:a@b" }, [], "éx").toString();
  assert.match(written, /Content-Length: 3\r\n\r\néx$/);
});

test("a value with a line break is not written", () => {
  const request = new Message({ method: "INVITE", uri: "sip:a@b" }).add("from", "<sip:a@b>\r\nX: y");
  assert.throws(() => `${request}`, ParseError);
  assert.throws(() => `${new Message({ method: "INVITE", uri: "sip:a@b SIP/2.0\r\nX: y" })}`, ParseError);
});

test("a response has what the request had", () => {
  const request = parseMessage(lines([1, "Via: SIP/2.0/WS x;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP y;branch=z9hG4bK2"]));
  const response = responseTo(request, 180, "Ringing", "mine");
  assert.equal(response.values("via").length, 2);
  assert.equal(response.header("to"), "<sip:a@b>;tag=mine");
  assert.equal(responseTo(request, 100, "Trying", "mine").header("to"), "<sip:a@b>");
  assert.equal(parseMessage(`${response}`).status, 180);
});

test("what people type becomes a URI, or nothing", () => {
  const uri = typed => address.uriFromInput(typed, "office.example");
  assert.equal(uri(" bob "), "sip:bob@office.example");
  assert.equal(uri("+49 (30) 123-45"), "sip:+493012345@office.example");
  assert.equal(uri("bob@other.example"), "sip:bob@other.example");
  assert.equal(uri("sip:bob@other.example;transport=tcp"), "sip:bob@other.example;transport=tcp");
  assert.equal(uri("müller"), "sip:m%C3%BCller@office.example");
  assert.equal(uri("*21#"), "sip:*21%23@office.example");
  for (const wrong of ["", "@office.example", "bob@", "a b@c", "sip:", "<sip:a@b>", "bob@x\r\nX: y"])
    assert.equal(uri(wrong), null, wrong);
});

test("an address is shown as short as it can be", () => {
  const short = text => address.shortAddress(address.parseAddress(text).uri, "office.example");
  assert.equal(short("<sip:bob@Office.Example>"), "bob");
  assert.equal(short("<sip:bob:pw@other.example;x=y>;tag=1"), "bob@other.example");
  assert.equal(short("<tel:+4930;phone-context=x>"), "+4930");
  assert.equal(short("sip:m%C3%BCller@office.example;tag=1"), "müller");
  assert.equal(short("<sip:server.example>"), "server.example");
});

test("hold is known by the direction of the sound", () => {
  const sdp = (session, audio) => `v=0\r\n${session}m=audio 9 RTP 0\r\n${audio}m=video 9 RTP 0\r\na=inactive\r\n`;
  assert.equal(media.isHold(sdp("", "a=sendonly\r\n")), true);
  assert.equal(media.isHold(sdp("a=inactive\r\n", "")), true);
  assert.equal(media.isHold(sdp("a=inactive\r\n", "a=sendrecv\r\n")), false);
  assert.equal(media.isHold(sdp("", "a=recvonly\r\n")), false);
});
