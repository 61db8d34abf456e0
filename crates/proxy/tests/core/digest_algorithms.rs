//! Which digest algorithms are offered (RFC 8760 2.3, 2.4): those that the account has, and only MD5 to phones that
//! give up at another one. No other phone may be offered less.

use std::time::Duration;

use proxy::{Authentication, Event, Limit, Secrets, Settings};

use sim::{Agent, DOMAIN, Login, Simulation, Sip};

use crate::accounts::{ALICE, BOB, add_accounts, aor};

/// alice and bob have both secrets, carol has only SHA-256, dave has only MD5.
fn secured(settings: &mut Settings) {
    settings.authentication = Authentication::Required;
    settings.digest.md5_user_agents = vec!["baresip v1.".into(), "sipsak ".into()];
    let both = |user: &str| Login { user, password: "builder" }.account(DOMAIN).secrets;
    let carol = Secrets { md5: None, ..both("carol") };
    let dave = Secrets { sha256: None, ..both("dave") };
    let bob = BOB.account(DOMAIN).secrets;
    for (user, secrets) in [("alice", ALICE.account(DOMAIN).secrets), ("bob", bob), ("carol", carol), ("dave", dave)] {
        settings.accounts.insert(aor(user), secrets.into());
    }
}

/// Every account has both secrets.
fn uniform(settings: &mut Settings) {
    add_accounts(settings, &[ALICE, BOB]);
}

fn with_agent(request: Sip, agent: &str) -> Sip {
    request.with("User-Agent", agent)
}

/// The challenge for a REGISTER with this User-Agent.
fn challenged(phone: &Agent, agent: &str) -> Sip {
    phone.sends(&with_agent(phone.register(), agent));
    phone.expects("401")
}

/// The algorithms of a challenge.
fn algorithms(refused: &Sip) -> Vec<&str> {
    let all = refused.values("WWW-Authenticate").chain(refused.values("Proxy-Authenticate"));
    all.filter_map(|value| value.split("algorithm=").nth(1)?.split(',').next()).collect()
}

fn offered(phone: &Agent, agent: &str) -> usize {
    algorithms(&challenged(phone, agent)).len()
}

fn answers(phone: &Agent, login: Login<'_>, refused: &Sip, algorithm: &str, agent: &str) {
    let register = with_agent(phone.register(), agent);
    let answer = login.answer(refused, algorithm, &register, 1);
    phone.sends(&register.with("Authorization", answer));
    phone.expects("200");
}

#[test]
fn a_phone_that_gives_up_is_offered_only_md5_until_it_succeeds() {
    // checklist 171: RFC 8760 2.4 requires clients to skip unknown algorithms, but some give up instead.
    let sim = Simulation::with(uniform);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    assert_eq!(offered(&alice, "old phone"), 2);
    sim.seconds(2);
    assert_eq!(offered(&alice, "old phone"), 2, "too soon to be another try");
    sim.seconds(30);
    assert_eq!(offered(&alice, "old phone"), 1);
    assert_eq!(offered(&bob, "old phone"), 2, "another user");
    let refused = challenged(&alice, "old phone");
    assert_eq!(algorithms(&refused), ["MD5"]);
    answers(&alice, ALICE, &refused, "MD5", "old phone");
    sim.seconds(600);
    assert_eq!(offered(&alice, "old phone"), 2, "it may know better by now");
}

#[test]
fn the_md5_only_offer_expires() {
    let sim = Simulation::with(|settings| {
        uniform(settings);
        settings.digest.md5_fallback = Some(Duration::from_secs(60));
    });
    let alice = sim.udp("alice");
    offered(&alice, "old phone");
    sim.seconds(30);
    assert_eq!(offered(&alice, "old phone"), 1);
    sim.seconds(59);
    assert_eq!(offered(&alice, "old phone"), 1);
    sim.seconds(1);
    assert_eq!(offered(&alice, "old phone"), 2);
    sim.seconds(30);
    assert_eq!(offered(&alice, "old phone"), 1, "and is made again");
}

#[test]
fn without_md5_fallback_all_algorithms_are_always_offered() {
    let sim = Simulation::with(|settings| {
        uniform(settings);
        settings.digest.md5_fallback = None;
    });
    let alice = sim.udp("alice");
    for _ in 0..3 {
        assert_eq!(offered(&alice, "old phone"), 2);
        sim.seconds(30);
    }
}

#[test]
fn a_retransmitted_register_does_not_count_as_giving_up() {
    // RFC 3261 17.1.2.2: a request without a response is retransmitted for 32 s.
    let sim = Simulation::with(uniform);
    let alice = sim.udp("alice");
    let register = with_agent(alice.register(), "Good Phone 1");
    for _ in 0..4 {
        alice.sends(&register);
        assert_eq!(algorithms(&alice.expects("401")).len(), 2);
        sim.seconds(8);
    }
}

#[test]
fn a_phone_that_responds_is_always_offered_all_algorithms() {
    // checklist 171
    let sim = Simulation::with(uniform);
    let alice = sim.udp("alice");
    for _ in 0..3 {
        let refused = challenged(&alice, "Good Phone 1");
        assert_eq!(algorithms(&refused).len(), 2);
        answers(&alice, ALICE, &refused, "SHA-256", "Good Phone 1");
        sim.seconds(600);
    }
}

#[test]
fn a_wrong_password_does_not_count_as_giving_up() {
    let sim = Simulation::with(uniform);
    let alice = sim.udp("alice");
    for _ in 0..4 {
        let refused = challenged(&alice, "Good Phone 1");
        let register = with_agent(alice.register(), "Good Phone 1");
        let answer = Login { password: "wrong", ..ALICE }.answer(&refused, "SHA-256", &register, 1);
        alice.sends(&register.with("Authorization", answer));
        assert_eq!(algorithms(&alice.expects("401")).len(), 2);
        sim.seconds(30);
    }
}

#[test]
fn a_phone_at_the_same_address_cannot_reduce_the_offer() {
    // All phones behind one NAT have one address, and a User-Agent is not secret.
    let sim = Simulation::with(uniform);
    let alice = sim.udp("alice");
    let forged = |number: usize| {
        let register = with_agent(alice.register(), "Good Phone 1").set("Call-ID", format_args!("forged-{number}"));
        alice.sends(&register);
        algorithms(&alice.expects("401")).len()
    };
    for _ in 0..4 {
        forged(0);
        sim.seconds(6);
    }
    assert_eq!(forged(0), 1, "a phone that gives up is offered only MD5");
    let refused = challenged(&alice, "Good Phone 1");
    assert_eq!(algorithms(&refused).len(), 2, "the phone is not");
    answers(&alice, ALICE, &refused, "SHA-256", "Good Phone 1");

    // After the phone has responded, not even a sender that knows its Call-ID has an effect.
    for _ in 0..4 {
        assert_eq!(offered(&alice, "Good Phone 1"), 2);
        sim.seconds(30);
    }
}

#[test]
fn a_phone_evicted_from_the_table_is_offered_all_algorithms() {
    let sim = Simulation::with(|settings| {
        uniform(settings);
        settings.limits.unanswered_challenges = 10;
    });
    let alice = sim.udp("alice");
    let refused = challenged(&alice, "Good Phone 1");
    answers(&alice, ALICE, &refused, "SHA-256", "Good Phone 1");
    for number in 0..50 {
        alice.sends(&alice.register().set("Call-ID", format_args!("flood-{number}")));
        alice.expects("401");
    }
    alice.sends(&alice.register().with("Authorization", "Digest realm=\"office.example\""));
    alice.expects("401");
    assert!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::UnansweredChallenges))) > 0);
    // What authenticated REGISTERs have shown is kept apart from what anybody can send.
    for _ in 0..2 {
        sim.seconds(30);
        assert_eq!(offered(&alice, "Good Phone 1"), 2);
    }
}

#[test]
fn calls_of_a_phone_that_fell_back_are_offered_only_md5() {
    let sim = Simulation::with(uniform);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let called = |phone: &Agent| {
        phone.sends(&with_agent(phone.request("MESSAGE", "sip:bob@office.example"), "old phone"));
        algorithms(&phone.expects("407")).len()
    };
    assert_eq!(called(&alice), 2);
    offered(&alice, "old phone");
    sim.seconds(30);
    let refused = challenged(&alice, "old phone");
    assert_eq!(called(&alice), 2, "the sender has not authenticated yet");
    answers(&alice, ALICE, &refused, "MD5", "old phone");
    assert_eq!(called(&alice), 1);
    assert_eq!(called(&bob), 2, "another phone");
    let refused = challenged(&alice, "old phone");
    answers(&alice, ALICE, &refused, "SHA-256", "old phone");
    assert_eq!(called(&alice), 2, "it has learnt SHA-256");
}

#[test]
fn known_old_clients_are_offered_only_md5_at_once() {
    let sim = Simulation::with(secured);
    for agent in ["baresip v1.0.0 (x86_64/linux)", "BARESIP V1.1", "sipsak 0.9.8.1"] {
        let alice = sim.udp("alice");
        let refused = challenged(&alice, agent);
        assert_eq!(algorithms(&refused), ["MD5"], "{agent}");
        answers(&alice, ALICE, &refused, "MD5", agent);
        alice.sends(&with_agent(alice.request("INVITE", "sip:bob@office.example"), agent));
        assert_eq!(algorithms(&alice.expects("407")), ["MD5"], "{agent}");
        let carol = sim.udp("carol");
        assert_eq!(algorithms(&challenged(&carol, agent)), ["SHA-256"], "its account cannot answer MD5");
    }
    let alice = sim.udp("alice");
    for agent in ["baresip v3.12.0", "my baresip v1.0", "sipsak", ""] {
        assert_eq!(offered(&alice, agent), 2, "{agent}");
    }
}

#[test]
fn only_algorithms_that_the_account_has_are_offered() {
    let sim = Simulation::with(secured);
    let (carol, dave) = (sim.udp("carol"), sim.udp("dave"));
    for _ in 0..4 {
        assert_eq!(algorithms(&challenged(&carol, "old phone")), ["SHA-256"]);
        assert_eq!(algorithms(&challenged(&dave, "old phone")), ["MD5"]);
        sim.seconds(30);
    }
    let refused = challenged(&carol, "old phone");
    answers(&carol, Login { user: "carol", password: "builder" }, &refused, "SHA-256", "old phone");
    let refused = challenged(&dave, "Good Phone 1");
    answers(&dave, Login { user: "dave", password: "builder" }, &refused, "MD5", "Good Phone 1");
}

#[test]
fn a_user_without_an_account_is_challenged_like_one_with_one() {
    let sim = Simulation::with(uniform);
    let (alice, nobody) = (sim.udp("alice"), sim.udp("nobody"));
    let looks = |phone: &Agent, method: &str, agent: &str| {
        let request = match method {
            "REGISTER" => phone.register(),
            "SUBSCRIBE" => phone.request(method, &phone.aor()).with("Event", "reg"),
            _ => phone.request(method, "sip:bob@office.example"),
        };
        phone.sends(&with_agent(request, agent));
        sim.millis(50);
        let refused = phone.all_received().pop().expect("an answer");
        (refused.start.clone(), algorithms(&refused).iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    };
    for agent in ["Good Phone 1", "old phone", "sipsak 0.9.8.1"] {
        for method in ["REGISTER", "REGISTER", "INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE", "PUBLISH"] {
            let (known, unknown) = (looks(&alice, method, agent), looks(&nobody, method, agent));
            assert_eq!(known, unknown, "{method} of {agent}");
            assert!(known.0.contains("401") || known.0.contains("407"), "{method}: {}", known.0);
            sim.seconds(30);
        }
    }
}
