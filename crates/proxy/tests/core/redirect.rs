//! Redirections are followed for the caller where the caller may call itself: RFC 3261 16.7 step 4, 21.3.

use std::fmt::Display;

use proxy::{Event, Foreign, Limit, Settings, SingleTarget, Strangers};

use sim::{Agent, Simulation, Sip, sequential};

use crate::accounts::{ALICE, BOB, add_accounts};

/// alice, carol, and bob with a desk phone and a mobile phone.
fn setup(sim: &Simulation) -> [Agent; 4] {
    let [alice, carol, desk, mobile] = ["alice", "carol", "bob/desk", "bob/mobile"].map(|name| sim.udp(name));
    carol.registers();
    desk.registers_with(";q=1.0");
    mobile.registers_with(";q=0.5");
    [alice, carol, desk, mobile]
}

/// The phone responds to its INVITE with a redirection.
fn moves(phone: &Agent, received: &Sip, status: u16, contacts: &[&dyn Display]) -> Sip {
    let moved =
        contacts.iter().fold(phone.answer(received, status).without("Contact"), |moved, to| moved.with("Contact", to));
    phone.sends(&moved);
    phone.expects("ACK");
    moved
}

#[test]
fn a_call_follows_the_redirection_of_a_phone() {
    // checklist 45, 63
    let sim = Simulation::new();
    let [alice, carol, desk, mobile] = setup(&sim);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    moves(&desk, &at_desk, 302, &[&"<sip:carol@office.example>"]);
    let at_carol = carol.expects("INVITE");
    assert_eq!(at_carol.uri(), carol.contact());
    carol.answers(&at_carol, 180);
    alice.expects("180");
    // All others go on ringing.
    mobile.receives_nothing();
    carol.answers(&at_carol, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    carol.expects("ACK");
    mobile.answers(&at_mobile, 180);
    mobile.expects("CANCEL");
}

#[test]
fn a_followed_302_is_not_forwarded() {
    // checklist 63: a redirection that was followed does not count for the best response.
    let sim = Simulation::new();
    let [alice, carol, desk, mobile] = setup(&sim);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    moves(&desk, &at_desk, 302, &[&"<sip:carol@office.example>"]);
    mobile.answers(&at_mobile, 404);
    let at_carol = carol.expects("INVITE");
    carol.answers(&at_carol, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn a_uri_is_tried_once() {
    // checklist 45: to the other phone, to itself, to the called user, and twice to the same user.
    let sim = Simulation::new();
    let [alice, carol, desk, mobile] = setup(&sim);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    let twice = "<sip:carol@office.example>, <sip:CAROL@office.example>, <sip:carol@OFFICE.example;x=y>";
    moves(&desk, &at_desk, 300, &[&"<sip:bob@office.example>", &twice]);
    carol.expects("INVITE");
    let received = carol.all_received();
    assert_eq!(received, []);
    assert_eq!((desk.all_received(), mobile.all_received()), (vec![], vec![]));
    alice.cancels(&invite);
    mobile.answers(&at_mobile, 486);
}

#[test]
fn redirections_in_a_circle_end() {
    // checklist 45
    let sim = Simulation::new();
    let [alice, carol, desk, mobile] = setup(&sim);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    mobile.answers(&at_mobile, 486);
    moves(&desk, &at_desk, 302, &[&"<sip:carol@office.example>"]);
    let at_carol = carol.expects("INVITE");
    moves(&carol, &at_carol, 302, &[&"<sip:bob@office.example>"]);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn a_redirection_follows_only_what_the_caller_may_call() {
    // checklist 63: calls to other domains are refused, so the redirection is forwarded.
    let sim = Simulation::new();
    let [alice, carol, desk, mobile] = setup(&sim);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    mobile.answers(&at_mobile, 486);
    let contacts = "<sip:carol@office.example>;q=0.9, <sip:bob@elsewhere.example>";
    moves(&desk, &at_desk, 302, &[&contacts]);
    let moved = alice.expects("302");
    assert_eq!(moved.value("Contact"), contacts);
    alice.acks(&invite, &moved);
    assert_eq!(carol.all_received(), []);
}

#[test]
fn a_302_with_another_scheme_is_forwarded_unchanged() {
    // checklist 63
    for contacts in ["<tel:+4930123>", "<sip:carol@office.example>, <mailto:bob@office.example>", "*"] {
        let sim = Simulation::new();
        let [alice, carol, desk, mobile] = setup(&sim);
        let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
        mobile.answers(&at_mobile, 486);
        moves(&desk, &at_desk, 302, &[&contacts]);
        let moved = alice.expects("302");
        alice.acks(&invite, &moved);
        assert_eq!(carol.all_received(), []);
    }
}

#[test]
fn a_sips_call_is_not_redirected_without_tls() {
    // checklist 63
    let sim = Simulation::new();
    let [alice, carol, desk, mobile] = setup(&sim);
    alice.invites("sips:bob@office.example");
    // RFC 5630 5.3: it is not even sent to phones whose Contacts are `sip:`.
    alice.expects("480");
    assert_eq!((carol.all_received(), desk.all_received(), mobile.all_received()), (vec![], vec![], vec![]));
}

#[test]
fn a_305_and_a_380_are_forwarded_to_the_caller() {
    // checklist 63: RFC 3261 21.3.4, 21.3.5
    for status in [305, 380] {
        let sim = Simulation::new();
        let [alice, carol, desk, mobile] = setup(&sim);
        let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
        mobile.answers(&at_mobile, 486);
        moves(&desk, &at_desk, status, &[&"<sip:carol@office.example>"]);
        let moved = alice.expects(if status == 305 { "305" } else { "380" });
        alice.acks(&invite, &moved);
        assert_eq!(carol.all_received(), []);
    }
}

#[test]
fn a_caller_that_forbids_recursion_gets_the_302() {
    // checklist 158: no-recurse, and the setting.
    for (asked, set) in [("no-recurse", true), ("recurse", false)] {
        let sim = Simulation::with(|settings| settings.forking.recurse = set);
        let [alice, carol, desk, mobile] = setup(&sim);
        let invite = alice.request("INVITE", "sip:bob@office.example").with("Request-Disposition", asked);
        alice.sends(&invite);
        alice.expects("100");
        let (at_desk, at_mobile) = (desk.expects("INVITE"), mobile.expects("INVITE"));
        mobile.answers(&at_mobile, 486);
        moves(&desk, &at_desk, 302, &[&"<sip:carol@office.example>"]);
        let moved = alice.expects("302");
        alice.acks(&invite, &moved);
        assert_eq!(carol.all_received(), []);
    }
}

#[test]
fn redirection_targets_are_ordered_by_q_and_precede_the_other_phones() {
    // checklist 63
    let sim = Simulation::with(|settings| settings.forking = sequential(10));
    let [alice, carol, desk, mobile] = setup(&sim);
    let dave = sim.udp("dave");
    dave.registers();
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = desk.expects("INVITE");
    moves(&desk, &at_desk, 302, &[&"<sip:dave@office.example>;q=0.1", &"<sip:carol@office.example>;q=0.2"]);
    for (phone, status) in [(&carol, 486), (&dave, 404), (&mobile, 480)] {
        let received = phone.expects("INVITE");
        phone.answers(&received, status);
        phone.expects("ACK");
    }
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn a_redirection_target_has_the_full_ring_time() {
    // checklist 63
    let sim = Simulation::new();
    let [alice, carol, desk, mobile] = setup(&sim);
    let (_, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    mobile.answers(&at_mobile, 486);
    desk.answers(&at_desk, 180);
    sim.seconds(20);
    moves(&desk, &at_desk, 302, &[&"<sip:carol@office.example>"]);
    let at_carol = carol.expects("INVITE");
    carol.answers(&at_carol, 180);
    sim.seconds(29);
    assert_eq!(carol.all_received(), []);
    sim.seconds(1);
    carol.expects("CANCEL");
}

#[test]
fn a_redirection_to_a_user_without_phones_gets_480() {
    // checklist 63
    let sim = Simulation::new();
    let [alice, _carol, desk, mobile] = setup(&sim);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    mobile.answers(&at_mobile, 404);
    moves(&desk, &at_desk, 302, &[&"<sip:nobody@office.example>"]);
    let gone = alice.expects("480");
    alice.acks(&invite, &gone);
}

#[test]
fn a_cancel_during_the_lookup_of_a_redirection_ends_the_call() {
    // checklist 64, 78
    let sim = Simulation::new();
    let [alice, carol, desk, mobile] = setup(&sim);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    mobile.answers(&at_mobile, 486);
    sim.store(sim::StoreState::Working, 300);
    moves(&desk, &at_desk, 302, &[&"<sip:carol@office.example>"]);
    alice.cancels(&invite);
    alice.expects("200");
    // Nobody rings who could answer with it.
    let over = alice.expects("487");
    alice.acks(&invite, &over);
    sim.seconds(1);
    assert_eq!((carol.all_received(), alice.all_received()), (vec![], vec![]));
}

#[test]
fn the_number_of_redirection_targets_is_limited() {
    let sim = Simulation::with(|settings| settings.limits.targets = 3);
    let [alice, carol, desk, mobile] = setup(&sim);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    mobile.answers(&at_mobile, 486);
    moves(&desk, &at_desk, 302, &[&"<sip:carol@office.example>", &"<sip:dave@office.example>"]);
    let moved = alice.expects("302");
    alice.acks(&invite, &moved);
    assert_eq!(carol.all_received(), []);
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Targets))), 1);
}

#[test]
fn a_call_to_one_phone_follows_redirections_if_it_has_a_context() {
    // checklist 63
    let sim = Simulation::with(|settings| settings.forking.single_target = SingleTarget::Stateful);
    let (alice, bob, carol) = (sim.udp("alice"), sim.udp("bob"), sim.udp("carol"));
    bob.registers();
    carol.registers();
    let invite = alice.calls("bob");
    alice.expects("100");
    let received = bob.expects("INVITE");
    moves(&bob, &received, 301, &[&"<sip:carol@office.example>"]);
    let received = carol.expects("INVITE");
    carol.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    carol.expects("ACK");
    // Only requests that begin a call are redirected.
    alice.sends(&alice.within(&invite, &ok, "INFO"));
    carol.expects("INFO");
    assert_eq!(sim.load(0).transactions, 1);
}

/// Users must authenticate and may call other domains, and strangers may call users.
fn secured(settings: &mut Settings) {
    add_accounts(settings, &[ALICE, BOB]);
    settings.foreign = Foreign::Authenticated;
    settings.strangers = Strangers::Accept;
    settings.forking.single_target = SingleTarget::Stateful;
}

#[test]
fn a_user_who_may_call_other_domains_is_redirected_there() {
    // checklist 43, 63
    let sim = Simulation::with(secured);
    let (alice, bob, far) = (sim.udp("alice"), sim.udp("bob"), sim.udp("far"));
    sim.dns("far.example", &[far.address]);
    bob.sends(&bob.register());
    let refused = bob.expects("401");
    let register = bob.register();
    let answer = BOB.answer(&refused, "SHA-256", &register, 1);
    bob.sends(&register.with("Authorization", answer));
    bob.expects("200");

    let invite = alice.calls("bob");
    let refused = alice.expects("407");
    alice.acks(&invite, &refused);
    let invite = alice.request("INVITE", "sip:bob@office.example");
    let answer = ALICE.answer(&refused, "SHA-256", &invite, 1);
    let invite = invite.with("Proxy-Authorization", answer);
    alice.sends(&invite);
    alice.expects("100");
    let received = bob.expects("INVITE");
    moves(&bob, &received, 302, &[&"<sip:bob@far.example;method=INVITE?Subject=x>"]);
    let received = far.expects("INVITE");
    assert_eq!(received.uri(), "sip:bob@far.example", "without what no Request-URI has");
    far.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    far.expects("ACK");

    // A stranger may call users, but not other domains.
    let from = "<sip:eve@elsewhere.example>;tag=1";
    let invite = alice.request("INVITE", "sip:bob@office.example").set("From", from);
    alice.sends(&invite);
    alice.expects("100");
    let received = bob.expects("INVITE");
    moves(&bob, &received, 302, &[&"<sip:bob@far.example>"]);
    let moved = alice.expects("302");
    alice.acks(&invite, &moved);
    assert_eq!(far.all_received(), []);
}

#[test]
fn a_call_to_the_contact_of_a_phone_follows_its_redirection() {
    // RFC 3515 2.1: the target of a transfer. Users may not call other domains.
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.foreign = Foreign::Refuse;
    });
    let (alice, desk, bob) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob"));
    alice.signs_in(ALICE);
    desk.signs_in(BOB);
    bob.signs_in(BOB);
    // A request that is too long for UDP has a response context.
    let invite = alice.request("INVITE", &bob.contact()).with_body(&"x".repeat(1_400));
    alice.authenticates(ALICE, &invite);
    alice.expects("100");
    let received = bob.expects("INVITE");
    moves(&bob, &received, 302, &[&"<sip:bob@office.example>"]);
    let received = desk.expects("INVITE");
    assert_eq!(received.uri(), desk.contact());
}

#[test]
fn two_redirections_to_one_name_try_each_of_its_servers_once() {
    // checklist 54
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    let (first, second) = (sim.udp("carol/first").named("sip:carol@desk.lan.example:5060"), sim.udp("carol/second"));
    sim.dns("desk.lan.example", &[first.address, second.address]);
    for phone in [&desk, &mobile, &first] {
        phone.registers();
    }
    let (_, received) = alice.calls_phones("bob", [&desk, &mobile]);
    for (phone, invite) in [&desk, &mobile].into_iter().zip(received) {
        phone.sends(&phone.answer(&invite, 302).set("Contact", "<sip:carol@office.example>"));
        phone.expects("ACK");
    }
    for server in [&first, &second] {
        server.answers(&server.expects("INVITE"), 503);
        server.expects("ACK");
    }
    assert_eq!((first.all_received(), second.all_received()), (vec![], vec![]));
    alice.expects("500");
}
