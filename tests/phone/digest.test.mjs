// The credentials: the example of RFC 7616 3.9.1, and what is refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import { digest, message } from "./support.mjs";

const CHALLENGE =
  'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, ' +
  'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"';
const request = () => new message.Message({ method: "REGISTER", uri: "sip:office.example" });
const refused = (...challenges) =>
  new message.Message(
    { status: 401 },
    challenges.map(value => ["www-authenticate", value]),
  );

test("the example of RFC 7616 has the response that the RFC says", async () => {
  const value = await digest.authorization(digest.parseChallenge(CHALLENGE), {
    user: "Mufasa",
    password: "Circle of Life",
    method: "GET",
    uri: "/dir/index.html",
    count: 1,
    cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
  });
  assert.match(value, /response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"/);
  assert.match(value, /algorithm=SHA-256, .*qop=auth, nc=00000001, opaque="FQhe/);
});

test("MD5 is not answered, also if a server offers it first", () => {
  // RFC 2617 3.5 and RFC 8760 2.6.
  const md5 = 'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"';
  assert.equal(digest.parseChallenge(md5), null);
  assert.equal(digest.parseChallenge(`${md5}, algorithm=MD5`), null);
  const credentials = new digest.Credentials("alice", "secret");
  assert.equal(credentials.challenged(refused(`${md5}, algorithm=MD5`), new Map()), "algorithm");
  assert.equal(credentials.challenged(refused(`${md5}, algorithm=MD5`, CHALLENGE), new Map()), "retry");
});

test("a challenge that is not valid is not answered", () => {
  const wrong = [
    "Basic realm=x",
    "Digest",
    'Digest realm="x',
    "Digest realm=x, realm=y",
    CHALLENGE.replace("auth, auth-int", "auth-int"),
    CHALLENGE.replace(/nonce="[^"]*"/, 'nonce=""'),
    CHALLENGE.replace(/realm="[^"]*", /, ""),
    CHALLENGE.replace("SHA-256", "SHA-512-256"),
  ];
  for (const value of wrong) assert.equal(digest.parseChallenge(value), null, value);
});

test("quotes and backslashes in names are escaped on the wire and not in the hash", async () => {
  const input = { password: "x", method: "REGISTER", uri: "sip:a", count: 1, cnonce: "c" };
  const value = await digest.authorization({ realm: 'a "b" \\c', nonce: "n" }, { ...input, user: 'q"u' });
  assert.match(value, /^Digest username="q\\"u", realm="a \\"b\\" \\\\c"/);
  const parsed = digest.parseChallenge('Digest realm="a \\"b\\" \\\\c", nonce=n, algorithm=sha-256, qop=auth');
  assert.equal(parsed.realm, 'a "b" \\c');
});

test("each request with a nonce has the next count", async () => {
  const credentials = new digest.Credentials("alice", "secret");
  credentials.challenged(refused(CHALLENGE), new Map());
  for (const count of ["00000001", "00000002", "00000003"]) {
    const sent = request();
    await credentials.authorize(sent);
    assert.match(sent.header("authorization"), new RegExp(`nc=${count}`));
  }
});

test("a second challenge means a wrong password, unless the nonce was stale", () => {
  const credentials = new digest.Credentials("alice", "secret");
  const attempts = new Map();
  assert.equal(credentials.challenged(refused(CHALLENGE), attempts), "retry");
  assert.equal(credentials.challenged(refused(`${CHALLENGE}, stale=TRUE`), attempts), "retry");
  assert.equal(credentials.challenged(refused(CHALLENGE), attempts), "password");
});

test("a server that always says stale is not asked for ever", () => {
  const credentials = new digest.Credentials("alice", "secret");
  const attempts = new Map();
  const outcomes = Array.from({ length: 6 }, () =>
    credentials.challenged(refused(`${CHALLENGE}, stale=true`), attempts),
  );
  assert.deepEqual(outcomes, ["retry", "retry", "retry", "retry", "password", "password"]);
});

test("a proxy and the registrar each get their credentials", async () => {
  const credentials = new digest.Credentials("alice", "secret");
  const attempts = new Map();
  credentials.challenged(refused(CHALLENGE), attempts);
  const proxy = new message.Message({ status: 407 }, [["proxy-authenticate", CHALLENGE.replace("http-auth", "proxy")]]);
  assert.equal(credentials.challenged(proxy, attempts), "retry");
  const sent = request();
  await credentials.authorize(sent);
  assert.match(sent.header("authorization"), /realm="http-auth@example.org"/);
  assert.match(sent.header("proxy-authorization"), /realm="proxy@example.org"/);
});
