//! The page of a user, `/me`: the password that it needs, what a user may set, and who is banned.

use std::net::SocketAddr;

use crate::commands::good;
use crate::harness::digest::{Algorithm, Challenge};
use crate::harness::http::{self, Answer};
use crate::harness::openapi::Description;
use crate::harness::{PATIENCE, Phone, Server, wait_for};

const CONFIG: &str = "\
domains: [office.example]
authentication: required
location: { store: disk, path: data/location }
accounts:
  - { user: alice, password: wonderland, name: Alice Moser, may_dial: [national], forward: { busy: bob } }
  - { user: bob, password: builder }
  - { user: door, contacts: [\"sip:door@192.0.2.50\"] }
groups:
  - { user: \"600\", members: [bob] }
hours:
  office: { zone: UTC, open: [\"mon-fri 08:00-18:00\"] }
voicemail: sip:vm@192.0.2.9
trunks:
  - { name: provider, server: 192.0.2.80, probe: off }
outgoing:
  - { prefix: \"0\", class: national, trunks: [provider] }
  - { prefix: \"00\", class: international, trunks: [provider] }
  - { prefix: \"112\", emergency: true, trunks: [provider] }
";

/// A user with the challenge that the next request answers.
struct Me {
    host: SocketAddr,
    user: &'static str,
    password: &'static str,
    challenge: Challenge,
    count: u32,
}

impl Me {
    fn new(host: SocketAddr, user: &'static str, password: &'static str) -> Self {
        let answer = http::get(host, "/me/challenge");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let text = answer.json()["challenge"].as_str().expect("a challenge").to_owned();
        let text = text.strip_prefix("Digest ").expect("digest").to_owned();
        Self { host, user, password, challenge: Challenge { answer: "Authorization", text }, count: 0 }
    }

    /// The value of Authorization (RFC 7616 3.4.1).
    fn credentials(&self, method: &str) -> String {
        let (realm, nonce) = (self.challenge.required("realm"), self.challenge.required("nonce"));
        let (user, count, hash) = (self.user, self.count, |text: String| Algorithm::Sha256.hash(&text));
        let secret = hash(format!("{user}:{realm}:{}", self.password));
        let response =
            hash(format!("{secret}:{nonce}:{count:08x}:c0ffee:auth:{}", hash(format!("{method}:/me/rules"))));
        format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"/me/rules\", response=\"{response}\", \
             algorithm=SHA-256, cnonce=\"c0ffee\", qop=auth, nc={count:08x}"
        )
    }

    /// Sends a request with the current count; `more`: further headers.
    fn send(&self, method: &str, body: &str, more: &str) -> Answer {
        let (host, credentials, length) = (self.host, self.credentials(method), body.len());
        let head = format!(
            "{method} /me/rules HTTP/1.1\r\nHost: {host}\r\nAuthorization: {credentials}\r\nContent-Length: {length}\r\n{more}"
        );
        http::send_with(host, &head, body)
    }

    fn get(&mut self) -> Answer {
        self.count += 1;
        self.send("GET", "", "X-Frontdesk: me\r\n")
    }

    fn put(&mut self, body: &str) -> Answer {
        self.count += 1;
        self.send("PUT", body, "X-Frontdesk: me\r\n")
    }
}

#[test]
fn a_user_sees_and_sets_the_own_rules_at_every_http_listener() {
    let (server, description) = (Server::start(CONFIG), Description::read());
    let _phone = Phone::udp("alice", server.address()).registered_as("wonderland");
    for host in [server.http(), server.websocket()] {
        let page = http::get(host, "/me");
        assert_eq!(page.status, 200, "{}", page.head);
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(http::get(host, "/me/main.js").header("content-type"), "text/javascript; charset=utf-8");
        assert_eq!(http::get(host, "/me/nothing.js").status, 404);
        assert_eq!(http::change(host, "POST", "/me/rules").status, 405);
        let mut alice = Me::new(host, "alice", "wonderland");
        let shown = alice.get();
        description.check("GET", "/me/rules", &shown);
        let shown = shown.json();
        assert_eq!((&shown["name"], &shown["has_voicemail"]), (&"Alice Moser".into(), &true.into()), "{shown}");
        assert_eq!(shown["hours"], serde_json::json!(["office"]));
        assert_eq!(shown["phones"].as_array().map(Vec::len), Some(1), "{shown}");
        assert_eq!((&shown["forwarding"]["busy"], &shown["forwarding"]["always"]), (&"bob".into(), &().into()));
        let set = alice
            .put(r#"{"always":"600","busy":"voicemail","no_answer":"0891234","after":"7s","do_not_disturb":true}"#);
        description.check("PUT", "/me/rules", &set);
        assert_eq!(set.status, 200, "{}", set.body);
        // A mobile, which alice may dial.
        let set = alice.put(r#"{"also_ring":[{"to":"0891234","after":"7s","hours":"office"},{"to":"600"}]}"#);
        description.check("PUT", "/me/rules", &set);
        let expected = serde_json::json!([{ "to": "600" }, { "to": "0891234", "after": "7s", "hours": "office" }]);
        assert_eq!(set.json()["forwarding"]["also_ring"], expected, "{}", set.body);
        assert_eq!(set.json()["forwarding"]["always"], "600");
        assert!(good(&server, "forward alice").contains("always: to 600 (set while the server runs)"));
        let cleared = alice
            .put(r#"{"always":null,"busy":null,"no_answer":null,"after":null,"do_not_disturb":null,"also_ring":null}"#);
        assert_eq!(cleared.json()["forwarding"]["set"], serde_json::json!({}), "{}", cleared.body);
    }
    // Nothing else of the admin API is at the WebSocket listener.
    assert_eq!(http::get(server.websocket(), "/api/v1/users").status, 426);
    // It is still set after a restart.
    assert_eq!(Me::new(server.http(), "alice", "wonderland").put(r#"{"unavailable":"bob"}"#).status, 200);
    let (ip, folder) = (server.ip(), server.stop());
    let server = Server::start_in(folder, ip, CONFIG);
    assert_eq!(Me::new(server.http(), "alice", "wonderland").get().json()["forwarding"]["unavailable"], "bob");
    server.rewrite(&format!("{CONFIG}admin: {{ me: false }}\n"));
    good(&server, "reload");
    for host in [server.http(), server.websocket()] {
        assert_eq!(http::get(host, "/me").status, 404);
    }
}

#[test]
fn a_user_may_not_set_what_only_an_administrator_may() {
    let server = Server::start(&format!("{CONFIG}limits: {{ targets: 3 }}\n"));
    let mut alice = Me::new(server.http(), "alice", "wonderland");
    for (body, expected) in [
        (r#"{"always":"sip:a@192.0.2.66"}"#, "only the administrator"),
        (r#"{"busy":"004412345"}"#, "may not dial"),
        (r#"{"busy":"112"}"#, "may not dial"),
        (r#"{"busy":"nobody"}"#, "is no user"),
        (r#"{"busy":"alice"}"#, "is this user"),
        (r#"{"after":"soon"}"#, "after"),
        (r#"{"may_dial":[]}"#, "unknown field"),
        (r#"{"also_ring":[{"to":"bob"},{"to":"sip:a@192.0.2.66"}]}"#, "only the administrator"),
        (r#"{"also_ring":[{"to":"004412345"}]}"#, "may not dial"),
        (r#"{"also_ring":[{"to":"112"}]}"#, "may not dial"),
        (r#"{"also_ring":[{"to":"voicemail"}]}"#, "can ring"),
        (r#"{"also_ring":[{"to":"bob","hours":"night"}]}"#, "not defined"),
        (r#"{"also_ring":[{"to":"bob"},{"to":"600"},{"to":"0891234"},{"to":"bob"}]}"#, "at most 3 parties"),
        ("nonsense", "JSON"),
    ] {
        let refused = alice.put(body);
        assert!(refused.status == 400 && refused.body.contains(expected), "{body}: {}", refused.body);
    }
    let long = format!("{{\"busy\":\"{}\"}}", "b".repeat(5000));
    assert_eq!(alice.put(&long).status, 400);
    assert!(alice.get().json()["forwarding"]["set"].as_object().is_some_and(|set| set.is_empty()));
    // The administrator may.
    let uri = r#"{"always":"sip:a@192.0.2.66","also_ring":[{"to":"sip:a@192.0.2.66","after":"5s"}]}"#;
    let set = http::put(server.http(), "/api/v1/users/alice/forwarding", uri);
    Description::read().check("PUT", "/api/v1/users/{user}/forwarding", &set);
    assert_eq!(set.status, 200, "{}", set.body);
}

#[test]
fn other_pages_and_replayed_requests_change_nothing() {
    let server = Server::start(CONFIG);
    let mut alice = Me::new(server.http(), "alice", "wonderland");
    let change = r#"{"always":"bob"}"#;
    alice.count = 1;
    for more in [
        "",
        "X-Frontdesk: me\r\nOrigin: https://evil.example\r\n",
        "X-Frontdesk: me\r\nOrigin: null\r\n",
        "X-Frontdesk: me\r\nSec-Fetch-Site: cross-site\r\n",
    ] {
        assert_eq!(alice.send("PUT", change, more).status, 403, "{more}");
    }
    // A foreign name leads here (DNS rebinding).
    assert_eq!(http::send(server.http(), "GET /me HTTP/1.1\r\nHost: evil.example\r\n").status, 403);
    assert_eq!(alice.put(change).status, 200);
    let replayed = alice.send("PUT", change, "X-Frontdesk: me\r\n");
    assert!(replayed.status == 401 && replayed.body.contains("stale=true"), "{}", replayed.body);
    // The digest is for one method, and the browser is not told to ask for the password.
    let credentials = alice.credentials("GET");
    let host = server.http();
    let head = format!(
        "PUT /me/rules HTTP/1.1\r\nHost: {host}\r\nAuthorization: {credentials}\r\nX-Frontdesk: 1\r\nContent-Length: 2\r\n"
    );
    let refused = http::send_with(host, &head, "{}");
    assert_eq!((refused.status, refused.header("WWW-Authenticate")), (401, "Frontdesk"), "{}", refused.head);
    let none = http::send(host, &format!("GET /me/rules HTTP/1.1\r\nHost: {host}\r\nX-Frontdesk: 1\r\n"));
    assert_eq!(none.status, 401);
}

#[test]
fn wrong_passwords_are_counted_with_those_of_phones_and_end_in_a_ban() {
    let server = Server::start(&format!("{CONFIG}defence: {{ failures: 3, ban: 1m }}\n"));
    for (user, password) in [("alice", "wrong"), ("nobody", "wonderland"), ("door", "")] {
        let refused = Me::new(server.http(), user, password).get();
        assert_eq!(refused.status, 401, "{user}: {}", refused.body);
        assert!(refused.body.contains("the user name or the password is wrong"), "{user}: {}", refused.body);
    }
    server.counts("frontdesk_authentication_failures_total", &[("reason", "credentials")], |count| count == 3.0);
    server.counts("frontdesk_bans", &[], |count| count == 1.0);
    // The right password does not help, nor does another listener.
    let refused = Me::new(server.http(), "alice", "wonderland").get();
    assert!(refused.status == 403 && refused.body.contains("too many wrong passwords"), "{}", refused.body);
    assert!(good(&server, "bans").contains("127.0.0.1"));
    good(&server, "bans remove 127.0.0.1");
    let accepted =
        wait_for(PATIENCE, || (Me::new(server.http(), "alice", "wonderland").get().status == 200).then_some(()));
    assert!(accepted.is_some());
}
