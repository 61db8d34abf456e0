//! Messages that cannot be delivered: RFC 3261 16.9, 18.4.

use std::sync::Arc;
use std::time::Duration;

use location::{ConnectionId, FlowId};
use parser::{Message, Transport};
use proxy::{
    Account, Answer, Connections, Core, Flow, Hop, Instant, Listener, Now, Outbox, Over, Received, SubscriberIndex,
    Wall, fixed_bindings,
};
use sim::{Agent, Fault, SERVER, Simulation, StoreState, default_settings, sequential};

use crate::accounts::aor;

#[test]
fn an_unreachable_phone_counts_as_503_and_does_not_delay_the_others() {
    // checklist 77, 96
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.tcp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    desk.is_unplugged();
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_mobile = mobile.expects("INVITE");
    mobile.answers(&at_mobile, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn a_call_to_unreachable_phones_gets_500() {
    // checklist 70, 77
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.tcp("bob/desk"), sim.tcp("bob/mobile"));
    for phone in [&desk, &mobile] {
        phone.registers();
        phone.is_unplugged();
    }
    let invite = alice.calls("bob");
    alice.expects("100");
    let failed = alice.expects("500");
    alice.acks(&invite, &failed);
}

#[test]
fn the_next_group_is_tried_at_once() {
    // checklist 77
    let sim = Simulation::with(|settings| settings.forking = sequential(10));
    let (alice, desk, mobile) = (sim.udp("alice"), sim.tcp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers_with(";q=1.0");
    mobile.registers_with(";q=0.1");
    desk.is_unplugged();
    alice.calls("bob");
    alice.expects("100");
    mobile.expects("INVITE");
}

#[test]
fn a_disconnected_caller_does_not_end_the_response_context() {
    // checklist 77
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.tcp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let (_, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    alice.is_unplugged();
    desk.answers(&at_desk, 180);
    mobile.answers(&at_mobile, 200);
    let cancel = desk.expects("CANCEL");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    desk.expects("ACK");
}

#[test]
fn a_late_copy_of_an_answered_invite_does_not_fail_the_call() {
    // checklist 77; RFC 6026 7.1
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.tcp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let at_bob = bob.expects("INVITE");
    bob.answers(&at_bob, 200);
    let ok = alice.expects("200");
    bob.is_unplugged();
    alice.sends(&invite);
    alice.receives_nothing();
    // The sender of a new request gets a response.
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    alice.expects("500");
}

#[test]
fn a_closed_connection_is_reopened_to_the_contact() {
    // checklist 107, 111
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.tcp("bob"));
    bob.registers();
    bob.disconnects();
    alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
}

#[test]
fn names_are_resolved_and_an_unknown_name_gets_480() {
    // checklist 54
    let sim = Simulation::new();
    let (alice, bob, gone) = (sim.udp("alice"), sim.udp("bob"), sim.udp("carol"));
    let named = bob.register().set("Contact", "<sip:bob@desk.lan.example:5060>");
    bob.sends(&named);
    bob.expects("200");
    sim.dns("desk.lan.example", &[bob.address]);
    alice.calls("bob");
    bob.expects("INVITE");
    gone.sends(&gone.register().set("Contact", "<sip:carol@nowhere.lan.example>"));
    gone.expects("200");
    alice.calls("carol");
    alice.expects("480");
}

#[test]
fn one_unknown_name_of_two_does_not_stop_the_call() {
    // checklist 54, 81
    let sim = Simulation::new();
    let (alice, bob, ghost) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/ghost"));
    bob.registers();
    ghost.sends(&ghost.register().set("Contact", "<sip:bob@nowhere.lan.example>"));
    ghost.expects("200");
    alice.calls("bob");
    bob.expects("INVITE");
    alice.receives_nothing();
}

#[test]
fn a_failing_store_gets_503_with_retry_after() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    sim.store(StoreState::Broken, 0);
    alice.calls("bob");
    let failed = alice.expects("503");
    assert!(failed.has("Retry-After"));
}

#[test]
fn nothing_is_sent_to_port_0_or_to_broadcast() {
    // checklist 108
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    for contact in ["<sip:bob@192.0.2.9:0>", "<sip:bob@0.0.0.0>", "<sip:bob@224.0.1.75>"] {
        bob.sends(&bob.register().set("Contact", contact));
        sim.millis(50);
        bob.all_received();
    }
    alice.calls("bob");
    alice.expects("480");
}

#[test]
fn a_response_with_a_closed_connection_goes_to_the_sent_by_address() {
    // checklist 102, 111
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.tcp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = desk.expects("INVITE");
    mobile.expects("INVITE");
    alice.disconnects();
    desk.answers(&at_desk, 180);
    alice.expects("180");
    desk.answers(&at_desk, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    desk.expects("ACK");
}

#[test]
fn an_unreachable_caller_does_not_change_the_response_context() {
    // checklist 77, 102
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.tcp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let (_, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    alice.is_unplugged();
    desk.answers(&at_desk, 180);
    mobile.answers(&at_mobile, 180);
    sim.seconds(1);
    assert_eq!((desk.all_received(), mobile.all_received()), (vec![], vec![]), "they ring on");
    desk.answers(&at_desk, 200);
    mobile.expects("CANCEL");
}

/// The phone of bob has a name with two addresses; the first one belongs to another host.
fn two_addresses(sim: &Simulation, transport: &str) -> (Agent, Agent, Agent) {
    let tcp = !transport.is_empty();
    let agent = |name| if tcp { sim.tcp(name) } else { sim.udp(name) };
    let (alice, first, second) = (sim.udp("alice"), agent("bob/first"), agent("bob/second"));
    let contact = format!("<sip:bob@desk.lan.example:5060{transport}>");
    alice.sends(&alice.register().set("To", "<sip:bob@office.example>").set("Contact", contact));
    alice.expects("200");
    sim.dns("desk.lan.example", &[first.address, second.address]);
    (alice, first, second)
}

#[test]
fn the_next_address_is_tried_when_the_first_cannot_be_reached() {
    // checklist 54, 117, 120
    let sim = Simulation::new();
    let (alice, first, second) = two_addresses(&sim, ";transport=tcp");
    first.is_unplugged();
    let invite = alice.calls("bob");
    alice.expects("100");
    let received = second.expects("INVITE");
    second.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
}

#[test]
fn the_next_address_is_tried_when_the_first_sends_503_or_nothing() {
    // checklist 54, 120: each attempt has its own branch, and its ACK follows it.
    let sim = Simulation::new();
    let (alice, first, second) = two_addresses(&sim, "");
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_first = first.expects("INVITE");
    first.answers(&at_first, 503);
    assert_eq!(first.expects("ACK").branch(), at_first.branch());
    let at_second = second.expects("INVITE");
    assert_ne!(at_first.branch(), at_second.branch());
    assert_eq!(at_first.uri(), at_second.uri());
    second.answers(&at_second, 486);
    assert_eq!(second.expects("ACK").branch(), at_second.branch());
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);

    alice.calls("bob");
    alice.expects("100");
    // RFC 3263 4.3: the first one has just sent 503, so it is tried last.
    second.expects("INVITE");
    // Half of 64·T1: the caller must get the result of the other one while it waits.
    sim.millis(15_700);
    assert_eq!(first.all_received(), []);
    sim.millis(300);
    first.expects("INVITE");
    second.all_received();
}

#[test]
fn any_other_final_response_tries_no_further_address() {
    // checklist 120: only a 503 makes the server try the next address.
    let sim = Simulation::new();
    let (alice, first, second) = two_addresses(&sim, "");
    let invite = alice.calls("bob");
    alice.expects("100");
    let received = first.expects("INVITE");
    first.answers(&received, 500);
    let failed = alice.expects("500");
    alice.acks(&invite, &failed);
    assert_eq!(second.all_received(), []);
}

#[test]
fn a_late_report_about_a_server_tries_no_further_one() {
    // checklist 54, 120: the second one is still being tried.
    let sim = Simulation::new();
    let (alice, first, second) = two_addresses(&sim, "");
    let third = sim.udp("bob/third");
    sim.dns("desk.lan.example", &[first.address, second.address, third.address]);
    alice.calls("bob");
    sim.seconds(12);
    assert!(!second.all_received().is_empty(), "the first one has not responded in its share of the time");
    first.reports_failures();
    first.is_unplugged();
    // The next copy of the INVITE to the first one is due after 15.5 s.
    sim.seconds(8);
    assert_eq!(third.all_received(), []);
}

#[test]
fn a_late_failure_of_a_server_tries_no_further_one() {
    // checklist 54, 120: the second one is still being tried.
    let sim = Simulation::new();
    let (alice, first, second) = two_addresses(&sim, "");
    let third = sim.udp("bob/third");
    sim.dns("desk.lan.example", &[first.address, second.address, third.address]);
    alice.calls("bob");
    sim.seconds(12);
    assert!(!second.all_received().is_empty(), "the first one has not responded in its share of the time");
    let invite = first.all_received().remove(0);
    first.answers(&invite, 408);
    sim.seconds(2);
    assert_eq!(third.all_received(), []);
}

#[test]
fn the_ack_of_a_refusal_is_forwarded_although_a_later_copy_was_not_delivered() {
    // RFC 3261 16.11: the caller gets two failures, of the phone and of this server, and acknowledges both.
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let at_bob = bob.expects("INVITE");
    bob.answers(&at_bob, 486);
    let refusal = alice.expects("486");
    bob.reports_failures();
    bob.is_unplugged();
    alice.sends(&invite);
    let unavailable = alice.expects("500");
    sim.inject(Duration::ZERO, Fault::Plug(bob.id()));
    alice.acks(&invite, &unavailable);
    bob.receives_nothing();
    alice.acks(&invite, &refusal);
    assert_eq!(bob.expects("ACK").value("To"), refusal.value("To"));
}

/// What a core sends for a message, while nobody has registered.
fn sends_for(core: &mut Core, text: String, flow: Flow) -> Vec<(Hop, String)> {
    let Ok(message) = Message::parse(text.into()) else { return Vec::new() };
    let mut outbox = Outbox::new();
    let now = Now { mono: Instant::from_micros(0), wall: Wall(1_700_000_000_000) };
    core.receive(now, Received { message, flow }, &mut outbox);
    for (_, continuation) in std::mem::take(&mut outbox.questions) {
        core.answer(now, continuation, Answer::Loaded(None), &mut outbox);
    }
    let text = |transmit| String::from_utf8_lossy(outbox.text(transmit)).into_owned();
    outbox.transmits.iter().map(|transmit| (transmit.hop.clone(), text(transmit))).collect()
}

#[test]
fn a_response_over_tls_goes_only_to_the_host_in_the_top_via() {
    // RFC 3261 7.3.1, 26.3.2.1: two Via values on one line, or on two.
    let vias = ["SIP/2.0/TLS proxy.example:5061;branch=z9hG4bK1", "SIP/2.0/TLS 198.51.100.9:5061;branch=z9hG4bK2"];
    let contacts = [("sip:bob@192.0.2.20:5060", None), ("sip:bob@192.0.2.21:5060", None)];
    for (phones, between) in [(1, "\r\nVia: "), (1, ", "), (2, "\r\nVia: "), (2, ", ")] {
        let vias = vias.join(between);
        let mut settings = default_settings();
        settings.listeners.push(Listener { transport: Transport::Tls, address: SERVER });
        let bob = Account { contacts: Some(fixed_bindings(contacts.into_iter().take(phones))), ..Account::default() };
        settings.accounts.insert(aor("bob"), bob);
        let open = Arc::new(Connections::default());
        let core = Core::new(settings.into(), &sim::KEYS, 0, 1, SubscriberIndex::new(1).into());
        let mut core = core.with_connections(Arc::clone(&open));
        let connection = ConnectionId::new(7).expect("a number");
        open.opened(connection);
        let remote = ([198, 51, 100, 7], 40_000).into();
        let tls = Flow { transport: Transport::Tls, remote, local: SERVER, id: FlowId::Connection(connection) };
        let invite = format!(
            "INVITE sip:bob@office.example SIP/2.0\r\nVia: {vias}\r\nFrom: <sip:alice@office.example>;tag=a\r\n\
             To: <sip:bob@office.example>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:alice@proxy.example>\r\nContent-Length: 0\r\n\r\n"
        );
        let sent = sends_for(&mut core, invite, tls);
        let (hop, at_bob) = sent.into_iter().find(|(_, text)| text.starts_with("INVITE")).expect("an INVITE");
        open.closed(connection);
        let (_, headers) = at_bob.split_once("\r\n").expect("a start line");
        let udp = Flow { transport: Transport::Udp, remote: hop.remote, local: SERVER, id: FlowId::None };
        let sent = sends_for(&mut core, format!("SIP/2.0 180 Ringing\r\n{headers}"), udp);
        let (hop, _) = sent.into_iter().find(|(_, text)| text.starts_with("SIP/2.0 180")).expect("a 180");
        assert_eq!(hop.over, Over::Host("proxy.example".into()), "{phones} phones, {vias}");
    }
}
