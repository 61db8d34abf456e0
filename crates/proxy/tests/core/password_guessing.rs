//! Password guessing: what a nonce permits, which failures count against an address, and what must not be revealed (RFC
//! 7616 3.3, 5).

use std::time::Duration;

use proxy::{AuthenticationFailure, Event, Limit, Settings};

use sim::{Agent, Fault, Login, Simulation, Sip};

use crate::accounts::{ALICE, add_accounts};

fn secured(settings: &mut Settings) {
    add_accounts(settings, &[ALICE]);
}

fn challenged(phone: &Agent) -> Sip {
    phone.sends(&phone.register());
    phone.expects("401")
}

fn answer(phone: &Agent, password: &str, refused: &Sip, nc: u32) -> Sip {
    let register = phone.register();
    let answer = Login { password, ..ALICE }.answer(refused, "SHA-256", &register, nc);
    register.with("Authorization", answer)
}

fn is_stale(refused: &Sip) -> bool {
    refused.value("WWW-Authenticate").contains("stale=true")
}

/// Failures that count against an address, and those that do not.
fn failures(sim: &Simulation) -> (usize, usize) {
    let count_events = |held: bool| {
        sim.count_events(|event| {
            let wanted = AuthenticationFailure::Credentials;
            matches!(event, Event::AuthenticationFailed { reason, counts, .. } if *reason == wanted && *counts == held)
        })
    };
    (count_events(true), count_events(false))
}

#[test]
fn a_nonce_takes_few_wrong_responses() {
    let sim = Simulation::with(secured);
    let alice = sim.udp("alice");
    let refused = challenged(&alice);
    for nc in 1..=5 {
        alice.sends(&answer(&alice, "wrong", &refused, nc));
        assert!(!is_stale(&alice.expects("401")), "response {nc}");
    }
    // From here on right and wrong responses get the same status.
    for (password, nc) in [("wrong", 6), ("wonder land", 7), ("wrong", 8)] {
        alice.sends(&answer(&alice, password, &refused, nc));
        assert!(is_stale(&alice.expects("401")), "{password}");
    }
    assert_eq!(failures(&sim), (5, 0));
    let refused = challenged(&alice);
    alice.sends(&answer(&alice, "wonder land", &refused, 1));
    alice.expects("200");
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::NonceFailures))), 1);
}

#[test]
fn an_invalid_nonce_does_not_reveal_whether_the_password_is_right() {
    let sim = Simulation::with(secured);
    let alice = sim.udp("alice");
    let old = challenged(&alice);
    let nonce = sim::quoted(old.value("WWW-Authenticate"), "nonce").to_owned();
    let made_up =
        Sip::parse(String::from_utf8_lossy(&old.bytes()).replace(&nonce, &"0".repeat(nonce.len())).as_bytes());
    sim.seconds(301);
    for refused in [&old, &made_up] {
        for password in ["wonder land", "wrong"] {
            alice.sends(&answer(&alice, password, refused, 1));
            assert!(is_stale(&alice.expects("401")), "{password}");
        }
    }
    assert_eq!(failures(&sim), (0, 0));
}

#[test]
fn copies_of_a_wrong_response_count_as_one_guess() {
    let sim = Simulation::with(secured);
    let alice = sim.udp("alice");
    let refused = challenged(&alice);
    let guess = answer(&alice, "wrong", &refused, 1);
    for _ in 0..10 {
        alice.sends(&guess);
        assert!(!is_stale(&alice.expects("401")));
    }
    assert_eq!(failures(&sim).0, 1);
}

#[test]
fn a_nonce_is_valid_only_from_the_address_it_was_sent_to() {
    let sim = Simulation::with(secured);
    let (alice, mallory, tcp) = (sim.udp("alice"), sim.udp("mallory"), sim.tcp("alice/2"));
    // A nonce that was sent to mallory, in a datagram with the address of alice: right or wrong, the response is not
    // checked.
    let refused = challenged(&mallory);
    let stale = |phone: &Agent| assert!(phone.expects("401").value("WWW-Authenticate").contains("stale=true"));
    for password in ["wrong", "wonder land"] {
        alice.sends(&answer(&alice, password, &refused, 1));
        stale(&alice);
        tcp.sends(&answer(&tcp, password, &refused, 2));
        stale(&tcp);
    }
    assert_eq!(failures(&sim), (0, 0));
    // Credentials without any parameter.
    alice.sends(&alice.register().with("Authorization", "Digest realm=\"office.example\", username=\"alice\""));
    alice.expects("401");
    assert_eq!(failures(&sim), (0, 1));
    mallory.sends(&answer(&mallory, "wrong", &refused, 2));
    mallory.expects("401");
    assert_eq!(failures(&sim), (1, 0));
    // A phone whose address has changed is challenged once more.
    alice.sends(&answer(&alice, "wonder land", &challenged(&alice), 1));
    alice.expects("200");
}

#[test]
fn a_nonce_used_for_guesses_stays_invalid() {
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.limits.nonces = 10;
    });
    let (alice, mallory) = (sim.udp("alice"), sim.udp("mallory"));
    let refused = challenged(&mallory);
    for count in 1..=5 {
        mallory.sends(&answer(&mallory, "wrong", &refused, count));
        mallory.expects("401");
    }
    // The entry of the nonce is evicted.
    for _ in 0..11 {
        let other = challenged(&alice);
        alice.sends(&answer(&alice, "wrong", &other, 1));
        alice.expects("401");
    }
    mallory.sends(&answer(&mallory, "wonder land", &refused, 6));
    assert!(mallory.expects("401").value("WWW-Authenticate").contains("stale=true"));
}

#[test]
fn guesses_do_not_evict_nonces_in_use() {
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.limits.nonces = 4;
    });
    let (alice, mallory) = (sim.udp("alice"), sim.udp("mallory"));
    let refused = challenged(&alice);
    alice.sends(&answer(&alice, "wonder land", &refused, 1));
    alice.expects("200");
    for _ in 0..20 {
        let refused = challenged(&mallory);
        mallory.sends(&answer(&mallory, "wrong", &refused, 1));
        mallory.expects("401");
    }
    alice.sends(&answer(&alice, "wonder land", &refused, 2));
    alice.expects("200");
}

#[test]
fn nonces_do_not_depend_on_the_wall_clock() {
    const THREE_HOURS: i64 = 3 * 3_600_000;
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.limits.nonces = 2;
    });
    let alice = sim.udp("alice");
    let signs_in = |refused: &Sip| {
        alice.sends(&answer(&alice, "wonder land", refused, 1));
        alice.expects("200");
    };
    let before = challenged(&alice);
    sim.inject(Duration::ZERO, Fault::StepClock(THREE_HOURS));
    sim.seconds(1);
    signs_in(&before);
    // The table is filled and overflows while the clock is wrong.
    for _ in 0..5 {
        signs_in(&challenged(&alice));
    }
    let ahead = challenged(&alice);
    sim.inject(Duration::ZERO, Fault::StepClock(-THREE_HOURS));
    sim.seconds(1);
    signs_in(&ahead);
    for _ in 0..5 {
        signs_in(&challenged(&alice));
        sim.seconds(1);
    }
    let behind = challenged(&alice);
    sim.inject(Duration::ZERO, Fault::StepClock(-THREE_HOURS));
    sim.seconds(1);
    signs_in(&behind);
    sim.seconds(301);
    alice.sends(&answer(&alice, "wonder land", &behind, 2));
    assert!(is_stale(&alice.expects("401")), "it still has its time");
}
