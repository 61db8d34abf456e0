//! Digest authentication: challenges, the three algorithms, nonces and their counts, and who may act for whom. RFC
//! 7616, RFC 8760, RFC 3261 22.

use std::time::Duration;

use crate::harness::digest::{Challenge, Credentials};
use crate::harness::server::CLOSED;
use crate::harness::{Algorithm, Message, Phone, SILENCE, Server};

const BOB: Credentials<'static> = Credentials::new("bob", "builder");
const ALICE: Credentials<'static> = Credentials::new("alice", "wonderland");

/// A REGISTER of the phone's own Contact, not sent yet.
fn registration(phone: &mut Phone) -> Message {
    let contact = format!("<{}>", phone.contact());
    phone.register(Some(&contact)).with("Expires", 600)
}

/// Registers. Returns the challenge and the request with the response to it.
#[track_caller]
fn register(phone: &mut Phone, credentials: Credentials<'_>) -> (Message, Message) {
    let request = registration(phone);
    let challenge = phone.ask(request.clone());
    assert_eq!(challenge.status(), Some(401), "{challenge}");
    let sent = phone.send_again(request, credentials, &challenge);
    (challenge, sent)
}

#[test]
fn every_algorithm_is_offered_in_the_configured_order() {
    let config = CLOSED.to_owned() + "digest: { algorithms: [sha-512-256, sha-256, md5] }\n";
    let server = Server::start(&config);
    let mut bob = Phone::udp("bob", server.address());
    let request = registration(&mut bob);
    let answer = bob.ask(request);
    // checklist 7, 171, 172
    assert_eq!(answer.status(), Some(401));
    let challenges = Challenge::all(&answer);
    let offered: Vec<_> = challenges.iter().map(|challenge| challenge.required("algorithm")).collect();
    assert_eq!(offered, ["SHA-512-256", "SHA-256", "MD5"]);
    for challenge in &challenges {
        assert_eq!((challenge.required("realm"), challenge.required("qop")), ("office.example", "auth"));
        assert!(challenge.required("nonce").len() >= 16);
        assert!(!challenge.param("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")));
    }
    for algorithm in [Algorithm::Sha512t256, Algorithm::Sha256, Algorithm::Md5] {
        register(&mut bob, BOB.with(algorithm));
        assert_eq!(bob.response(200).list("Contact").len(), 1, "{algorithm:?}");
    }
}

#[test]
fn the_default_offers_sha_256_then_md5() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::tcp("bob", server.address());
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        let (challenge, _) = register(&mut bob, BOB.with(algorithm));
        bob.response(200);
        let challenges = Challenge::all(&challenge);
        let offered: Vec<_> = challenges.iter().map(|challenge| challenge.required("algorithm")).collect();
        assert_eq!(offered, ["SHA-256", "MD5"]);
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_response() {
    let server = Server::start(CLOSED);
    let refusal = |user: &str| {
        let mut phone = Phone::udp(user, server.address());
        register(&mut phone, Credentials::new(user, "guess"));
        phone.next_final()
    };
    let (known, unknown) = (refusal("bob"), refusal("mallory"));
    // checklist 172
    let shape = |answer: &Message| {
        let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
        let mut challenges = Challenge::all(answer);
        for challenge in &mut challenges {
            let nonce = challenge.required("nonce").to_owned();
            challenge.text = challenge.text.replace(&nonce, &"x".repeat(nonce.len()));
        }
        (answer.start.clone(), names, challenges.into_iter().map(|challenge| challenge.text).collect::<Vec<_>>())
    };
    assert_eq!(known.status(), Some(401), "{known}");
    assert_eq!(shape(&known), shape(&unknown));
}

#[test]
fn a_nonce_expires() {
    let server = Server::start(&format!("{CLOSED}digest: {{ algorithms: [sha-256], nonce_lifetime: 1s }}\n"));
    let mut bob = Phone::udp("bob", server.address());
    let (challenge, _) = register(&mut bob, BOB);
    bob.response(200);
    std::thread::sleep(Duration::from_millis(2_100));
    let request = registration(&mut bob);
    bob.send_again(request.clone(), BOB.nth(2), &challenge);
    // checklist 172: the phone may respond again without asking its user.
    let stale = bob.response(401);
    assert_eq!(
        Challenge::of(&stale, Algorithm::Sha256).param("stale").map(str::to_ascii_lowercase).as_deref(),
        Some("true")
    );
    bob.send_again(request, BOB, &stale);
    bob.response(200);
}

#[test]
fn a_forged_nonce_is_stale() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address());
    let request = registration(&mut bob);
    let challenge = bob.ask(request.clone());
    let nonce = Challenge::of(&challenge, Algorithm::Sha256).required("nonce").to_owned();
    let last = if nonce.ends_with('0') { "1" } else { "0" };
    let forged = nonce[..nonce.len() - 1].to_owned() + last;
    let mut altered = challenge;
    for (_, value) in &mut altered.headers {
        *value = value.replace(&nonce, &forged);
    }
    bob.send_again(request, BOB, &altered);
    bob.response(401);
}

#[test]
fn a_nonce_count_is_valid_once() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address());
    let (challenge, first) = register(&mut bob, BOB);
    bob.response(200);
    let again = registration(&mut bob);
    bob.send_again(again.clone(), BOB.nth(2), &challenge);
    bob.response(200);

    // checklist 172: a request that somebody captured, sent as a new one.
    for overheard in [&first, &bob.stamp(again)] {
        let mut mallory = Phone::udp("bob", server.address());
        let mut replay = mallory.register(Some("<sip:mallory@192.0.2.66>")).with("Expires", 600);
        let answer = if overheard.find("Authorization").is_some() {
            overheard.header("Authorization").to_owned()
        } else {
            BOB.nth(2).answer(&Challenge::of(&challenge, Algorithm::Sha256), &replay)
        };
        replay = replay.with("Authorization", answer);
        mallory.send(replay);
        mallory.response(401);
    }

    let third = registration(&mut bob);
    bob.send_again(third, BOB.nth(3), &challenge);
    assert_eq!(bob.response(200).list("Contact").len(), 1);
}

#[test]
fn a_retransmission_is_not_a_replay() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address());
    let (_, sent) = register(&mut bob, BOB);
    bob.response(200);
    // checklist 26
    bob.send(sent);
    let again = bob.next_any(SILENCE * 10).expect("an answer to the copy");
    assert_eq!(again.status(), Some(200), "{again}");
}

#[test]
fn a_digest_response_is_valid_for_its_uri_only() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address());
    let request = registration(&mut bob);
    let challenge = bob.ask(request.clone());
    let challenge = Challenge::of(&challenge, Algorithm::Sha256);
    let elsewhere = Message { start: "REGISTER sip:elsewhere.example SIP/2.0".to_owned(), ..request.clone() };
    let answer = BOB.answer(&challenge, &elsewhere);
    // checklist 172
    let refused = bob.ask(request.set("CSeq", "77 REGISTER").with("Authorization", answer));
    assert!(matches!(refused.status(), Some(400 | 401 | 403)), "{refused}");
}

#[test]
fn a_user_cannot_register_for_another() {
    let server = Server::start(CLOSED);
    let mut phone = Phone::udp("bob", server.address());
    // checklist 8: the credentials are those of alice, but the address of record is not.
    let (_, _) = register(&mut phone, ALICE);
    phone.response(403);
    register(&mut phone, BOB);
    assert_eq!(phone.response(200).list("Contact").len(), 1);
}

#[test]
fn a_user_cannot_call_in_the_name_of_another() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut carol = Phone::udp("carol", server.address());
    let invite = carol.invite("sip:bob@office.example");
    let sent = carol.authenticated(invite, ALICE);
    let refused = carol.response(403);
    carol.send(crate::harness::message::ack_of(&sent, &refused));
    bob.silence();
}

#[test]
fn a_call_needs_the_password_of_the_caller() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:bob@office.example");

    // checklist 39
    let sent = alice.send(invite.clone());
    let challenge = alice.challenged(&sent);
    assert_eq!(challenge.status(), Some(407));
    assert!(challenge.find("Proxy-Authenticate").is_some() && challenge.find("WWW-Authenticate").is_none());
    bob.silence();

    alice.send_again(invite.clone(), Credentials::new("alice", "guess"), &challenge);
    let again = alice.response(407);
    let sent = alice.send_again(invite, ALICE, &again);
    let at_bob = bob.expect("INVITE");
    assert_eq!(at_bob.header("Call-ID"), sent.header("Call-ID"));

    // A CANCEL cannot respond to a challenge, so it is never challenged.
    bob.reply(&at_bob, 180);
    alice.response(180);
    alice.send(crate::harness::message::cancel_of(&sent));
    let cancel = bob.expect("CANCEL");
    bob.reply(&cancel, 200);
    bob.reply(&at_bob, 487);
}

#[test]
fn other_requests_are_challenged_too() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::tcp("alice", server.address());
    let message = alice.request("MESSAGE", "sip:bob@office.example").body("text/plain", "hello");
    alice.authenticated(message, ALICE.with(Algorithm::Md5));
    let at_bob = bob.expect("MESSAGE");
    assert_eq!(at_bob.body, b"hello");
    bob.reply(&at_bob, 200);
    alice.response(200);
}

#[test]
fn hashed_secrets_and_an_accounts_file_work() {
    let md5 = Algorithm::Md5.hash("bob:office.example:builder");
    let sha256 = Algorithm::Sha256.hash("bob:office.example:builder");
    let folder = tempfile::TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let accounts = format!(
        "- {{ user: bob, ha1: {{ md5: {md5}, sha-256: {sha256} }} }}\n- {{ user: alice, password: wonderland }}\n"
    );
    std::fs::write(folder.path().join("accounts.yaml"), accounts).expect("the accounts file");
    let config = "domains: [office.example]\nauthentication: required\naccounts_file: accounts.yaml\n";
    let server = Server::start_in(folder, crate::harness::server::fresh_ip(), config);
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        let mut bob = Phone::udp("bob", server.address());
        register(&mut bob, BOB.with(algorithm));
        bob.response(200);
    }
    Phone::udp("alice", server.address()).registered_as("wonderland");
}
