//! Calls to several phones: in parallel and one after another; who wins, who is told to stop, what the caller hears.
//! RFC 3261 16.2 - 16.10, RFC 3326, RFC 6026.

use std::time::{Duration, Instant};

use crate::harness::message::uri;
use crate::harness::phone::{ack_of, cancel_of};
use crate::harness::server::OPEN;
use crate::harness::{Dialog, Message, PATIENCE, Phone, SILENCE, Server};

const BOB: &str = "sip:bob@office.example";
const SEQUENTIAL: &str = "forking: { strategy: sequential, ring_time: 30s }\n";

/// A server, a caller, and Bob's two phones.
fn office(config: &str) -> (Server, Phone, Phone, Phone) {
    let server = Server::start(&format!("{OPEN}{config}"));
    let desk = Phone::udp("bob", server.address()).registered_with_q("1.0");
    let cell = Phone::tcp("bob", server.address()).registered_with_q("0.5");
    let alice = Phone::udp("alice", server.address());
    (server, alice, desk, cell)
}

/// Calls Bob; 100 Trying must come at once.
#[track_caller]
fn dial(alice: &mut Phone) -> Message {
    let invite = alice.invite(BOB);
    let sent = alice.send(invite);
    // checklist 33, 97: within 200 ms; the rest is for a busy machine.
    alice.trying(Duration::from_millis(1_500));
    sent
}

/// A phone is told to stop: its INVITE ends with 487 and our ACK (checklist 75, 79, 92, 93).
#[track_caller]
fn is_cancelled(phone: &mut Phone, invite: &Message) -> Message {
    let cancel = phone.expect("CANCEL");
    assert_eq!((cancel.branch(), cancel.uri()), (invite.branch(), invite.uri()));
    assert_eq!(cancel.list("Via").len(), 1, "{cancel}");
    for header in ["From", "To", "Call-ID"] {
        assert_eq!(cancel.header(header), invite.header(header));
    }
    phone.reply(&cancel, 200);
    phone.reply(invite, 487);
    let ack = phone.expect("ACK");
    assert_eq!((ack.branch(), ack.uri()), (invite.branch(), invite.uri()));
    cancel
}

#[test]
fn all_phones_ring_and_the_first_to_answer_wins() {
    let (server, mut alice, mut desk, mut cell) = office("");
    let sent = dial(&mut alice);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    assert_eq!((at_desk.uri(), at_cell.uri()), (desk.contact().as_str(), cell.contact().as_str()));
    assert_ne!(at_desk.branch(), at_cell.branch());
    assert_eq!((at_desk.body.as_slice(), at_desk.header("Max-Forwards")), (sent.body.as_slice(), "69"));

    // checklist 65: every provisional response is passed on.
    let from_desk = desk.reply(&at_desk, 180);
    assert_eq!(alice.response(180).tag("To"), from_desk.tag("To"));
    let from_cell = cell.reply(&at_cell, 180);
    assert_eq!(alice.response(180).tag("To"), from_cell.tag("To"));

    let answered = cell.reply(&at_cell, 200);
    let ok = alice.response(200);
    assert_eq!(ok.tag("To"), answered.tag("To"));
    // checklist 156
    let cancel = is_cancelled(&mut desk, &at_desk);
    let reason = cancel.header("Reason").replace(' ', "");
    assert!(reason.starts_with("SIP;") && reason.contains("cause=200"), "{cancel}");
    assert!(cancel.header("Reason").contains("text=\"Call completed elsewhere\""), "{cancel}");

    let mut dialog = Dialog::caller(&sent, &ok);
    alice.send(dialog.ack());
    cell.expect("ACK");
    let bye = dialog.request("BYE");
    alice.send(bye);
    let bye = cell.expect("BYE");
    cell.reply(&bye, 200);
    alice.response(200);
    desk.silence();
    server.counts("frontdesk_forks_total", &[("outcome", "answered")], |count| count == 1.0);
}

#[test]
fn two_answers_both_reach_the_caller() {
    let (_server, mut alice, mut desk, mut cell) = office("");
    dial(&mut alice);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    cell.reply(&at_cell, 180);
    alice.response(180);
    let first = desk.reply(&at_desk, 200);
    assert_eq!(alice.response(200).tag("To"), first.tag("To"));
    let cancel = cell.expect("CANCEL");
    // checklist 65, 66, 91: they were both lifted in the same moment.
    let second = cell.reply(&at_cell, 200);
    cell.reply(&cancel, 200);
    assert_eq!(alice.response(200).tag("To"), second.tag("To"));
}

#[test]
fn a_phone_that_has_said_nothing_is_cancelled_once_it_speaks() {
    let (_server, mut alice, mut desk, mut cell) = office("");
    dial(&mut alice);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    cell.reply(&at_cell, 200);
    alice.response(200);
    // checklist 79
    desk.silence();
    desk.reply(&at_desk, 180);
    is_cancelled(&mut desk, &at_desk);
}

#[test]
fn the_best_refusal_is_chosen() {
    // checklist 68, 69, 70: the lowest class; in 4xx what tells the caller most; 503 is not passed on.
    let table = [
        ((486, 480), 486),
        ((404, 486), 486),
        ((480, 404), 480),
        ((302, 486), 302),
        ((500, 486), 486),
        ((415, 486), 415),
        ((503, 503), 500),
        ((503, 486), 486),
    ];
    let (_server, mut alice, mut desk, mut cell) = office("");
    for ((first, second), best) in table {
        let sent = dial(&mut alice);
        let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
        desk.reply(&at_desk, first);
        assert_eq!(desk.expect("ACK").branch(), at_desk.branch());
        cell.reply(&at_cell, second);
        assert_eq!(cell.expect("ACK").branch(), at_cell.branch());
        let refused = alice.next();
        assert_eq!(refused.status(), Some(best), "{first} and {second}");
        alice.send(ack_of(&sent, &refused));
    }
    alice.silence();
}

#[test]
fn a_6xx_ends_it_for_everybody() {
    let (_server, mut alice, mut desk, mut cell) = office("");
    let sent = dial(&mut alice);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    desk.reply(&at_desk, 180);
    alice.response(180);
    cell.reply(&at_cell, 603);
    cell.expect("ACK");
    // checklist 64, 69
    is_cancelled(&mut desk, &at_desk);
    let refused = alice.response(603);
    alice.send(ack_of(&sent, &refused));
}

#[test]
fn challenges_of_all_phones_are_gathered() {
    let (_server, mut alice, mut desk, mut cell) = office("");
    dial(&mut alice);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    let challenge = |realm: &str| format!("Digest realm=\"{realm}\", nonce=\"{realm}\", algorithm=MD5");
    let first = desk.answer(&at_desk, 401).with("WWW-Authenticate", challenge("desk"));
    desk.send(first);
    let second = cell.answer(&at_cell, 407).with("Proxy-Authenticate", challenge("cell"));
    cell.send(second);
    let refused = alice.next();
    // checklist 72
    assert!(matches!(refused.status(), Some(401 | 407)), "{refused}");
    assert!(refused.header("WWW-Authenticate").contains("realm=\"desk\""));
    assert!(refused.header("Proxy-Authenticate").contains("realm=\"cell\""));
}

#[test]
fn the_caller_hangs_up_first() {
    let (server, mut alice, mut desk, mut cell) = office("");
    let sent = dial(&mut alice);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    desk.reply(&at_desk, 180);
    alice.response(180);
    cell.reply(&at_cell, 180);
    alice.response(180);
    let cancel = cancel_of(&sent).with("Reason", "Q.850;cause=16;text=\"changed my mind\"");
    alice.send(cancel);
    // checklist 78
    let done = alice.response(200);
    assert_eq!(done.method(), "CANCEL");
    let cancel = is_cancelled(&mut desk, &at_desk);
    // checklist 156: the caller's own reason goes along.
    assert!(cancel.header("Reason").contains("Q.850"), "{cancel}");
    is_cancelled(&mut cell, &at_cell);
    let ended = alice.response(487);
    alice.send(ack_of(&sent, &ended));
    alice.silence();
    server.counts("frontdesk_forks_total", &[("outcome", "cancelled")], |count| count == 1.0);
}

#[test]
fn nobody_answers_in_time() {
    let (server, mut alice, mut desk, mut cell) = office("forking: { strategy: parallel, ring_time: 1s }\n");
    let begun = Instant::now();
    let sent = dial(&mut alice);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    desk.reply(&at_desk, 180);
    cell.reply(&at_cell, 180);
    alice.response(180);
    alice.response(180);
    is_cancelled(&mut desk, &at_desk);
    is_cancelled(&mut cell, &at_cell);
    let ended = alice.next();
    assert!(matches!(ended.status(), Some(408 | 480 | 487)), "{ended}");
    assert!(begun.elapsed() >= Duration::from_millis(900), "it rang for {:?} only", begun.elapsed());
    alice.send(ack_of(&sent, &ended));
    server.counts("frontdesk_forks_total", &[("outcome", "timed_out")], |count| count == 1.0);
}

#[test]
fn one_after_another_by_q() {
    let (_server, mut alice, mut desk, mut cell) = office(SEQUENTIAL);
    let sent = dial(&mut alice);
    let at_desk = desk.expect("INVITE");
    cell.silence();
    desk.reply(&at_desk, 486);
    desk.expect("ACK");
    let at_cell = cell.expect("INVITE");
    cell.reply(&at_cell, 180);
    alice.response(180);
    cell.reply(&at_cell, 200);
    let ok = alice.response(200);
    alice.send(Dialog::caller(&sent, &ok).ack());
    cell.expect("ACK");
    desk.silence();
}

#[test]
fn equal_q_ring_together_and_lower_q_later() {
    let (server, mut alice, mut desk, mut cell) = office(SEQUENTIAL);
    let mut home = Phone::udp("bob", server.address()).registered_with_q("0.5");
    let sent = dial(&mut alice);
    let at_desk = desk.expect("INVITE");
    desk.reply(&at_desk, 404);
    desk.expect("ACK");
    let (at_cell, at_home) = (cell.expect("INVITE"), home.expect("INVITE"));
    cell.reply(&at_cell, 486);
    cell.expect("ACK");
    home.reply(&at_home, 480);
    home.expect("ACK");
    let refused = alice.response(486);
    alice.send(ack_of(&sent, &refused));
}

#[test]
fn the_ring_time_moves_on_to_the_next() {
    let (_server, mut alice, mut desk, mut cell) = office("forking: { strategy: sequential, ring_time: 1s }\n");
    let sent = dial(&mut alice);
    let at_desk = desk.expect("INVITE");
    desk.reply(&at_desk, 180);
    alice.response(180);
    cell.silence();
    is_cancelled(&mut desk, &at_desk);
    let at_cell = cell.expect("INVITE");
    cell.reply(&at_cell, 200);
    let ok = alice.response(200);
    alice.send(Dialog::caller(&sent, &ok).ack());
    cell.expect("ACK");
}

#[test]
fn hanging_up_stops_the_search() {
    let (_server, mut alice, mut desk, mut cell) = office(SEQUENTIAL);
    let sent = dial(&mut alice);
    let at_desk = desk.expect("INVITE");
    desk.reply(&at_desk, 180);
    alice.response(180);
    alice.send(cancel_of(&sent));
    alice.response(200);
    is_cancelled(&mut desk, &at_desk);
    alice.response(487);
    cell.silence();
}

#[test]
fn copies_of_an_invite_are_absorbed() {
    let (_server, mut alice, mut desk, mut cell) = office("");
    let sent = dial(&mut alice);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    // Both say something, so that no copy can be ours.
    desk.reply(&at_desk, 180);
    let first = alice.response(180);
    cell.reply(&at_cell, 183);
    let last = alice.response(183);
    assert_ne!(first, last);
    alice.send(sent);
    // checklist 97
    assert_eq!(alice.next_any(PATIENCE), Some(last), "the last provisional response again");
    assert_eq!(desk.next_any(SILENCE), None);
    assert_eq!(cell.next_any(SILENCE), None);
}

#[test]
fn a_refusal_is_repeated_until_it_is_acknowledged() {
    let (_server, mut alice, mut desk, mut cell) = office("timers: { t1: 100ms, t2: 400ms }\n");
    let sent = dial(&mut alice);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    desk.reply(&at_desk, 486);
    cell.reply(&at_cell, 486);
    let refused = alice.response(486);
    // checklist 99
    for _ in 0..2 {
        assert_eq!(alice.next_any(PATIENCE), Some(refused.clone()));
    }
    alice.send(ack_of(&sent, &refused));
    while alice.next_any(SILENCE).is_some_and(|copy| copy == refused) {}
    assert_eq!(alice.next_any(Duration::from_secs(1)), None, "still repeated after the ACK");
}

#[test]
fn a_dead_phone_does_not_spoil_the_call() {
    let (_server, mut alice, desk, mut cell) = office("timers: { t1: 50ms, t2: 200ms }\n");
    drop(desk);
    let sent = dial(&mut alice);
    let at_cell = cell.expect("INVITE");
    cell.reply(&at_cell, 200);
    let ok = alice.response(200);
    alice.send(Dialog::caller(&sent, &ok).ack());
    cell.expect("ACK");
}

#[test]
fn dead_phones_only_end_in_a_refusal() {
    let (_server, mut alice, desk, cell) = office("timers: { t1: 50ms, t2: 200ms }\n");
    drop((desk, cell));
    let sent = dial(&mut alice);
    // checklist 71, 77: 64 T1 are 3.2 s here.
    let refused = alice.next();
    assert!(matches!(refused.status(), Some(408 | 480 | 500)), "{refused}");
    alice.send(ack_of(&sent, &refused));
}

#[test]
fn a_message_is_forked_too_and_answered_once() {
    let (_server, mut alice, mut desk, mut cell) = office("");
    let message = alice.request("MESSAGE", BOB).body("text/plain", "hello");
    alice.send(message);
    let (at_desk, at_cell) = (desk.expect("MESSAGE"), cell.expect("MESSAGE"));
    desk.reply(&at_desk, 200);
    alice.response(200);
    cell.reply(&at_cell, 200);
    // checklist 66: the second 2xx of a non-INVITE is not for the caller.
    alice.silence();
    desk.silence();
}

#[test]
fn contacts_that_lead_back_here_do_not_multiply() {
    let server = Server::start(&format!("{OPEN}timers: {{ t1: 50ms, t2: 200ms }}\n"));
    // checklist 29, 37, 127, 129: either such Contacts are refused, or the loop they make is found.
    for (user, other) in [("ping", "pong"), ("pong", "ping")] {
        let mut phone = Phone::udp(user, server.address());
        let here = server.address();
        let register =
            phone.register(Some(&format!("<sip:{other}@{here};a=1>, <sip:{other}@{here};a=2>"))).with("Expires", 600);
        phone.ask(register);
    }
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:ping@office.example");
    alice.send(invite);
    let refused = alice.next();
    assert!(refused.status() >= Some(400), "{refused}");
    let forwarded = server.metrics().sum("frontdesk_requests_forwarded_total", &[("method", "INVITE")]);
    assert!(forwarded < 50.0, "one INVITE became {forwarded}");
}

#[test]
fn every_branch_carries_our_record_route() {
    let (server, mut alice, mut desk, mut cell) = office("");
    dial(&mut alice);
    for phone in [&mut desk, &mut cell] {
        let invite = phone.expect("INVITE");
        let routes = invite.list("Record-Route");
        assert!(
            !routes.is_empty() && routes.iter().all(|route| uri(route).contains(&server.ip().to_string())),
            "{invite}"
        );
    }
}
