//! Which response the caller gets when nobody answered: RFC 3261 16.7 steps 6 to 8, RFC 4320, RFC 8760 2.5.

use sim::{Agent, Simulation, Sip};

/// alice sends a request to the two phones of bob.
fn fork(sim: &Simulation, method: &str) -> (Agent, Sip, [(Agent, Sip); 2]) {
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let request = alice.request(method, "sip:bob@office.example");
    alice.sends(&request);
    if method == "INVITE" {
        alice.expects("100");
    }
    let (at_desk, at_mobile) = (desk.expects(method), mobile.expects(method));
    (alice, request, [(desk, at_desk), (mobile, at_mobile)])
}

/// The status that the caller gets for these two responses; 0 if it depends on their order.
fn best(statuses: [u16; 2]) -> u16 {
    let sim = Simulation::new();
    let (alice, invite, phones) = fork(&sim, "INVITE");
    for ((phone, received), status) in phones.iter().zip(statuses) {
        phone.answers(received, status);
        phone.expects("ACK");
    }
    sim.millis(50);
    let received = alice.all_received();
    let [answer] = received.as_slice() else { return 0 };
    alice.acks(&invite, answer);
    answer.status().unwrap_or_default()
}

#[test]
fn the_better_of_two_responses_is_chosen() {
    // checklist 68, 69
    for (statuses, expected) in [
        ([486, 404], 486),
        ([404, 486], 486),
        ([480, 486], 486),
        ([500, 404], 404),
        ([404, 503], 404),
        ([302, 486], 302),
        ([401, 404], 401),
        ([484, 486], 484),
        ([486, 407], 407),
        ([408, 500], 500),
        ([488, 480], 480),
        ([504, 486], 486),
    ] {
        assert_eq!(best(statuses), expected, "{statuses:?}");
    }
}

#[test]
fn a_503_of_a_phone_is_a_500_for_the_caller() {
    // checklist 70
    assert_eq!(best([503, 503]), 500);
}

#[test]
fn the_to_tag_of_the_chosen_response_is_kept() {
    // checklist 74
    let sim = Simulation::new();
    let (alice, invite, [(desk, at_desk), (mobile, at_mobile)]) = fork(&sim, "INVITE");
    desk.sends(&desk.answer(&at_desk, 404));
    let busy = mobile.answer(&at_mobile, 486).with("X-Color", "blue").with("Retry-After", 60);
    mobile.sends(&busy);
    let received = alice.expects("486");
    let ours = format!("Via: {}\r\n", busy.value("Via"));
    assert_eq!(received.to_string(), busy.to_string().replacen(&ours, "", 1));
    alice.acks(&invite, &received);
}

#[test]
fn all_challenges_are_forwarded_in_one_response() {
    // checklist 72
    let sim = Simulation::new();
    let (alice, invite, [(desk, at_desk), (mobile, at_mobile)]) = fork(&sim, "INVITE");
    let first = ["Digest realm=\"desk\", nonce=\"1\", algorithm=SHA-256", "Digest realm=\"desk\", nonce=\"2\""];
    let second = ["Digest realm=\"mobile\", nonce=\"3\"", "Digest realm=\"edge\", nonce=\"4\", algorithm=SHA-256"];
    desk.sends(&desk.answer(&at_desk, 401).with("WWW-Authenticate", first[0]).with("WWW-Authenticate", first[1]));
    let refused = mobile.answer(&at_mobile, 407).with("Proxy-Authenticate", second[0]);
    mobile.sends(&refused.with("Proxy-Authenticate", second[1]));
    sim.millis(50);
    let received = alice.all_received();
    let [challenge] = received.as_slice() else { panic!("{received:?}") };
    assert!(matches!(challenge.what(), "401" | "407"));
    assert_eq!(challenge.values("WWW-Authenticate").collect::<Vec<_>>(), first);
    assert_eq!(challenge.values("Proxy-Authenticate").collect::<Vec<_>>(), second);
    alice.acks(&invite, challenge);
}

#[test]
fn for_other_methods_only_the_first_2xx_is_forwarded() {
    // checklist 65, 100
    let sim = Simulation::new();
    let (alice, message, [(desk, at_desk), (mobile, at_mobile)]) = fork(&sim, "MESSAGE");
    desk.answers(&at_desk, 180);
    alice.receives_nothing();
    desk.answers(&at_desk, 200);
    let ok = alice.expects("200");
    mobile.answers(&at_mobile, 200);
    alice.receives_nothing();
    alice.sends(&message);
    assert_eq!(alice.expects("200"), ok);
    mobile.receives_nothing();
}

#[test]
fn a_non_invite_without_a_response_gets_none() {
    // checklist 124
    let sim = Simulation::new();
    let (alice, message, phones) = fork(&sim, "MESSAGE");
    sim.seconds(40);
    assert!(alice.all_received().iter().all(|sip| sip.what() == "100"));
    // The last copy of the request.
    phones.iter().for_each(|(phone, _)| drop(phone.all_received()));
    alice.sends(&message);
    alice.receives_nothing();
    phones.iter().for_each(|(phone, _)| phone.receives_nothing());
    sim.seconds(30);
    assert_eq!(sim.load(0).transactions, 0);
}

#[test]
fn a_408_to_a_non_invite_is_not_forwarded() {
    // checklist 124
    let sim = Simulation::new();
    let (alice, _, phones) = fork(&sim, "MESSAGE");
    for (phone, received) in &phones {
        phone.answers(received, 408);
    }
    alice.receives_nothing();
}

#[test]
fn a_408_does_not_hide_a_better_response() {
    // checklist 124
    let sim = Simulation::new();
    let (alice, _, [(desk, at_desk), (mobile, at_mobile)]) = fork(&sim, "MESSAGE");
    desk.answers(&at_desk, 408);
    mobile.answers(&at_mobile, 486);
    alice.expects("486");
}

#[test]
fn a_slow_request_gets_a_100_when_timer_e_has_reached_t2() {
    // checklist 123
    let sim = Simulation::new();
    let (alice, message, _) = fork(&sim, "MESSAGE");
    sim.millis(3_300);
    assert_eq!(alice.all_received(), [], "not before, over UDP");
    alice.sends(&message);
    sim.millis(10);
    assert_eq!(alice.all_received(), []);
    sim.millis(700);
    let trying = alice.expects("100");
    alice.sends(&message);
    assert_eq!(alice.expects("100"), trying);
}

#[test]
fn no_response_is_forwarded_after_the_transaction_ended() {
    // checklist 125
    let sim = Simulation::new();
    let (alice, _, [(desk, at_desk), (mobile, at_mobile)]) = fork(&sim, "MESSAGE");
    desk.answers(&at_desk, 200);
    alice.expects("200");
    sim.seconds(40);
    assert_eq!(sim.load(0).transactions, 0, "Timer J has passed");
    // Neither a late response nor the mark in its Via changes this.
    mobile.answers(&at_mobile, 200);
    desk.answers(&at_desk, 200);
    alice.receives_nothing();
}
