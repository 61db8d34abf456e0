//! Authentication of REGISTERs and calls: digest on the wire (RFC 3261 22, RFC 7616, RFC 8760).

use std::time::Duration;

use proxy::{Account, AuthenticationFailure, Event, Foreign, Settings};

use sim::{Agent, DOMAIN, Login, Simulation, Sip, challenge, quoted};

use crate::accounts::{ALICE, BOB, add_accounts, aor};

fn secured(settings: &mut Settings) {
    add_accounts(settings, &[ALICE, BOB]);
}

fn setup() -> (Simulation, Agent, Agent) {
    let sim = Simulation::with(secured);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    (sim, alice, bob)
}

/// The challenge for a REGISTER.
fn challenged(phone: &Agent) -> Sip {
    phone.sends(&phone.register());
    phone.expects("401")
}

/// A REGISTER with a response to this challenge.
fn register(phone: &Agent, login: Login<'_>, refused: &Sip, algorithm: &str, nc: u32) -> Sip {
    let register = phone.register();
    let answer = login.answer(refused, algorithm, &register, nc);
    register.with("Authorization", answer)
}

fn sign_in(phone: &Agent, login: Login<'_>) {
    let refused = challenged(phone);
    phone.sends(&register(phone, login, &refused, "SHA-256", 1));
    phone.expects("200");
}

fn failures(sim: &Simulation, wanted: AuthenticationFailure) -> usize {
    sim.count_events(|event| matches!(event, Event::AuthenticationFailed { reason, .. } if *reason == wanted))
}

#[test]
fn each_algorithm_has_a_challenge_and_the_strongest_is_first() {
    // checklist 7, 171
    let (sim, alice, _) = setup();
    let refused = challenged(&alice);
    let challenges: Vec<_> = refused.values("WWW-Authenticate").collect();
    assert_eq!(challenges.len(), 2);
    assert!(challenges[0].contains("algorithm=SHA-256") && challenges[1].contains("algorithm=MD5"), "{refused}");
    for value in challenges {
        assert_eq!((quoted(value, "realm"), quoted(value, "qop")), (DOMAIN, "auth"));
        assert!(!value.contains("stale"));
    }
    for algorithm in ["SHA-256", "MD5"] {
        let refused = challenged(&alice);
        alice.sends(&register(&alice, ALICE, &refused, algorithm, 1));
        alice.expects("200");
    }
    assert_eq!(sim.load(0).nonces, 2, "only those that were used are counted");
}

#[test]
fn an_unknown_user_and_a_wrong_password_get_the_same_response() {
    // checklist 172
    let (sim, alice, _) = setup();
    let carol = sim.udp("carol");
    let mut seen = Vec::new();
    for (phone, login) in [
        (&alice, Login { user: "alice", password: "wrong" }),
        (&carol, Login { user: "carol", password: "wonder land" }),
    ] {
        let refused = challenged(phone);
        phone.sends(&register(phone, login, &refused, "SHA-256", 1));
        let again = phone.expects("401");
        assert!(!again.value("WWW-Authenticate").contains("stale"), "{again}");
        seen.push((again.start.clone(), again.values("WWW-Authenticate").count()));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(failures(&sim, AuthenticationFailure::Credentials), 2);
}

#[test]
fn a_user_registers_only_its_own_address_of_record() {
    // checklist 8
    let (sim, alice, bob) = setup();
    let refused = challenged(&bob);
    bob.sends(&register(&bob, ALICE, &refused, "SHA-256", 1));
    bob.expects("403");
    assert_eq!(failures(&sim, AuthenticationFailure::Identity), 1);
    sign_in(&bob, BOB);
    sign_in(&alice, ALICE);
}

#[test]
fn a_third_party_may_register_for_configured_users() {
    // checklist 8
    let sim = Simulation::with(|settings| {
        secured(settings);
        let may_register = vec![aor("bob")];
        let account = Account { may_register, ..ALICE.account(DOMAIN) };
        settings.accounts.insert(aor("alice"), account);
    });
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    // RFC 3261 10.2: From and To differ.
    let refused = challenged(&bob);
    bob.sends(&register(&bob, ALICE, &refused, "SHA-256", 1).set("From", "<sip:alice@office.example>;tag=3"));
    assert!(bob.expects("200").value("Contact").contains(&bob.contact()));
    let refused = challenged(&alice);
    alice.sends(&register(&alice, BOB, &refused, "SHA-256", 1));
    alice.expects("403");
    assert_eq!(failures(&sim, AuthenticationFailure::Identity), 1, "what one may the other may not");
}

#[test]
fn a_register_for_another_domain_is_forwarded_if_permitted() {
    // checklist 5, 148
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.foreign = Foreign::Authenticated;
    });
    let (alice, elsewhere) = (sim.udp("alice"), sim.udp("registrar"));
    let register = alice.request("REGISTER", &format!("sip:{}", elsewhere.address)).with("Supported", "path");
    alice.sends(&register);
    let refused = alice.expects("407");
    let again = register.set("Via", alice.via());
    let answer = ALICE.answer(&refused, "SHA-256", &again, 1);
    alice.sends(&again.with("Proxy-Authorization", answer));
    let passed = elsewhere.expects("REGISTER");
    // The server is not a first hop with a Path here, and a REGISTER creates no dialog.
    assert!(!passed.has("Path") && !passed.has("Record-Route"), "{passed}");
    assert_eq!(passed.value("Contact"), format!("<{}>", alice.contact()));
    elsewhere.sends(&elsewhere.answer(&passed, 200).with("Contact", passed.value("Contact")));
    assert_eq!(alice.expects("200").value("Contact"), passed.value("Contact"));
}

#[test]
fn an_old_nonce_is_stale() {
    // checklist 172
    let (sim, alice, _) = setup();
    let refused = challenged(&alice);
    sim.seconds(299);
    alice.sends(&register(&alice, ALICE, &refused, "SHA-256", 1));
    alice.expects("200");
    sim.seconds(3);
    alice.sends(&register(&alice, ALICE, &refused, "SHA-256", 2));
    let stale = alice.expects("401");
    assert!(stale.value("WWW-Authenticate").contains("stale=true"), "{stale}");
    alice.sends(&register(&alice, ALICE, &stale, "SHA-256", 1));
    alice.expects("200");
    assert_eq!(failures(&sim, AuthenticationFailure::Stale), 1);
}

#[test]
fn a_nonce_of_another_server_is_stale() {
    // checklist 172
    let sim = Simulation::with_workers(2, secured);
    let alice = sim.udp("alice");
    let refused = challenged(&alice);
    let made_up = Sip::parse(&refused.bytes()).set(
        "WWW-Authenticate",
        format_args!("Digest realm=\"{DOMAIN}\", nonce=\"0123456789abcdef0123456789abcdef01\", algorithm=SHA-256"),
    );
    alice.sends(&register(&alice, ALICE, &made_up, "SHA-256", 1));
    assert!(alice.expects("401").value("WWW-Authenticate").contains("stale=true"));
}

#[test]
fn the_worker_that_issued_a_nonce_counts_its_uses() {
    // checklist 172
    let sim = Simulation::with_workers(2, secured);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let refused = challenged(&alice);
    let signed = register(&alice, ALICE, &refused, "SHA-256", 1);
    alice.reaches_worker(1).sends(&signed);
    alice.expects("200");
    assert_eq!((sim.load(0).nonces, sim.load(1).nonces), (1, 0));
    for worker in [0, 1] {
        alice.reaches_worker(worker).sends(&register(&alice, ALICE, &refused, "SHA-256", 1));
        assert!(alice.expects("401").value("WWW-Authenticate").contains("stale=true"), "a replay at worker {worker}");
    }
    // An INVITE stays at the worker where its CANCEL will arrive, and is challenged again.
    bob.reaches_worker(0);
    sign_in(&bob, BOB);
    let invite = alice.reaches_worker(1).request("INVITE", "sip:bob@office.example");
    let answer = ALICE.answer(&refused, "SHA-256", &invite, 2);
    alice.sends(&invite.with("Proxy-Authorization", answer));
    assert!(alice.expects("407").value("Proxy-Authenticate").contains("stale=true"));
}

#[test]
fn of_several_credentials_the_first_for_our_realm_is_used() {
    // checklist 172
    let sim = Simulation::with_workers(2, secured);
    let alice = sim.udp("alice");
    let refused = challenged(&alice);
    let others = ["Bearer abc", "Digest realm", "Digest realm=\"elsewhere.example\", nonce=\"1\", username=\"x\""];
    let mut plain = alice.register();
    for other in others {
        plain = plain.with("Authorization", other);
    }
    let answer = ALICE.answer(&refused, "SHA-256", &plain, 1);
    alice.reaches_worker(1).sends(&plain.clone().with("Authorization", &answer));
    alice.expects("200");
    assert_eq!((sim.load(0).nonces, sim.load(1).nonces), (1, 0), "the nonce is looked for in all of them");
    let wrong = "Digest realm=\"office.example\", nonce=\"1\", username=\"alice\", uri=\"sip:x\", response=\"2\"";
    alice.sends(&plain.with("Authorization", wrong).with("Authorization", answer));
    assert!(alice.expects("401").value("WWW-Authenticate").contains("stale=true"), "the nonce of the first is none");
    assert_eq!(failures(&sim, AuthenticationFailure::Stale), 1);
}

#[test]
fn each_nonce_count_is_valid_once_and_may_be_reordered() {
    // checklist 172
    let (sim, alice, _) = setup();
    let refused = challenged(&alice);
    for nc in [1, 2, 4] {
        alice.sends(&register(&alice, ALICE, &refused, "SHA-256", nc));
        alice.expects("200");
    }
    alice.sends(&register(&alice, ALICE, &refused, "SHA-256", 2));
    assert!(alice.expects("401").value("WWW-Authenticate").contains("stale=true"));
    alice.sends(&register(&alice, ALICE, &refused, "SHA-256", 3));
    alice.expects("200");
    assert_eq!(failures(&sim, AuthenticationFailure::Replay), 1);
}

#[test]
fn a_retransmission_may_repeat_its_nonce_count() {
    // checklist 26, 172
    let (sim, alice, bob) = setup();
    let refused = challenged(&alice);
    let register = register(&alice, ALICE, &refused, "SHA-256", 1);
    for _ in 0..3 {
        alice.sends(&register);
        alice.expects("200");
    }
    sign_in(&bob, BOB);
    let message = alice.request("MESSAGE", "sip:bob@office.example");
    alice.sends(&message);
    let refused = alice.expects("407");
    let again = message.set("Via", alice.via()).set("CSeq", "100 MESSAGE");
    let answer = ALICE.answer(&refused, "SHA-256", &again, 1);
    let again = again.with("Proxy-Authorization", answer);
    alice.sends(&again);
    alice.sends(&again);
    assert_eq!(bob.expects("MESSAGE"), bob.expects("MESSAGE"));
    assert_eq!(failures(&sim, AuthenticationFailure::Replay), 0);
}

#[test]
fn a_copy_from_another_address_is_stale() {
    // checklist 172
    let (sim, alice, _) = setup();
    let refused = challenged(&alice);
    let received = register(&alice, ALICE, &refused, "SHA-256", 1);
    alice.sends(&received);
    alice.expects("200");
    let mallory = sim.udp("mallory");
    mallory.sends(&received);
    mallory.expects("401");
    assert_eq!(failures(&sim, AuthenticationFailure::Stale), 1);
}

#[test]
fn a_changed_copy_is_a_replay() {
    // checklist 172: the digest does not cover the Contact.
    let (sim, alice, _) = setup();
    let refused = challenged(&alice);
    let received = register(&alice, ALICE, &refused, "SHA-256", 1);
    alice.sends(&received);
    alice.expects("200");
    let mallory = sim.udp("mallory");
    // Also with a forged source.
    for thief in [&mallory, &alice] {
        thief.sends(&received.clone().set("Contact", format_args!("<{}>", mallory.contact())));
        thief.expects("401");
    }
    alice.sends(&register(&alice, ALICE, &refused, "SHA-256", 2).without("Contact"));
    assert_eq!(alice.expects("200").values("Contact").count(), 1);
}

#[test]
fn the_nonce_table_is_bounded_and_an_evicted_nonce_is_stale() {
    // checklist 172
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.limits.nonces = 2;
    });
    let alice = sim.udp("alice");
    let refused: Vec<_> = (0..3).map(|_| challenged(&alice)).collect();
    for challenge in &refused {
        alice.sends(&register(&alice, ALICE, challenge, "SHA-256", 1));
        alice.expects("200");
    }
    assert!(sim.load(0).nonces <= 2);
    alice.sends(&register(&alice, ALICE, &refused[0], "SHA-256", 1));
    assert!(alice.expects("401").value("WWW-Authenticate").contains("stale=true"), "it may have been used");
    alice.sends(&register(&alice, ALICE, &refused[2], "SHA-256", 2));
    alice.expects("200");
    assert!(sim.count_events(|event| matches!(event, Event::LimitReached(proxy::Limit::Nonces))) > 0);
}

#[test]
fn a_digest_for_another_uri_is_refused() {
    // checklist 172
    let (_sim, alice, bob) = setup();
    sign_in(&bob, BOB);
    let refused = challenged(&alice);
    let other = alice.request("REGISTER", "sip:elsewhere.example");
    let answer = ALICE.answer(&refused, "SHA-256", &other, 1);
    alice.sends(&alice.register().with("Authorization", answer));
    assert!(alice.expects("400").reason().contains("Authorization"));
}

#[test]
fn a_caller_authenticates_and_its_credentials_are_not_forwarded() {
    // checklist 39
    let (_sim, alice, bob) = setup();
    sign_in(&bob, BOB);
    let invite = alice.calls("bob");
    let refused = alice.expects("407");
    assert!(challenge(&refused, "MD5").starts_with("Digest realm"));
    alice.acks(&invite, &refused);
    let invite = alice.request("INVITE", "sip:bob@office.example");
    let foreign = "Digest username=\"alice\", realm=\"elsewhere.example\", nonce=\"1\", uri=\"sip:x\", response=\"2\"";
    let answer = ALICE.answer(&refused, "SHA-256", &invite, 1);
    let invite = invite.with("Proxy-Authorization", foreign).with("Proxy-Authorization", answer);
    alice.sends(&invite);
    let received = bob.expects("INVITE");
    assert_eq!(received.values("Proxy-Authorization").collect::<Vec<_>>(), [foreign]);
    // A stateless proxy does the same with each copy (RFC 3261 16.11).
    alice.sends(&invite);
    assert_eq!(bob.expects("INVITE"), received, "the copy");
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    bob.expects("ACK");
    let bye = bob.within_as_callee(&invite, &ok, "BYE");
    bob.sends(&bye);
    alice.expects("BYE");
}

#[test]
fn a_user_calls_only_in_its_own_name() {
    // checklist 8, 39
    let (sim, alice, bob) = setup();
    sign_in(&bob, BOB);
    let message = alice.request("MESSAGE", "sip:bob@office.example").set("From", "<sip:bob@office.example>;tag=1");
    alice.sends(&message);
    let refused = alice.expects("407");
    let again = message.set("Via", alice.via());
    let answer = ALICE.answer(&refused, "SHA-256", &again, 1);
    alice.sends(&again.with("Proxy-Authorization", answer));
    alice.expects("403");
    assert_eq!(failures(&sim, AuthenticationFailure::Identity), 1);
}

#[test]
fn ack_and_cancel_are_never_challenged() {
    // checklist 39
    let (_sim, alice, bob) = setup();
    sign_in(&alice, ALICE);
    sign_in(&bob, BOB);
    let invite = alice.request("INVITE", "sip:bob@office.example");
    alice.cancels(&invite);
    let cancel = bob.expects("CANCEL");
    bob.answers(&cancel, 481);
    alice.expects("481");
    alice.sends(&alice.request("ACK", "sip:bob@office.example"));
    alice.receives_nothing();
}

#[test]
fn a_wall_clock_set_back_does_not_revive_a_nonce() {
    // checklist 172
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.digest.nonce_lifetime = Duration::from_secs(1);
    });
    let alice = sim.udp("alice");
    let refused = challenged(&alice);
    sim.seconds(3);
    alice.sends(&register(&alice, ALICE, &refused, "MD5", 1));
    alice.expects("401");
}
