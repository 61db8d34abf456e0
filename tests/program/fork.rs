//! Calls to several phones, in parallel and one after another: which response wins, which phones are cancelled, and
//! what the caller gets. RFC 3261 16.2 - 16.10, RFC 3326, RFC 6026.

use std::time::{Duration, Instant};

use crate::harness::message::{ack_of, cancel_of, uri};
use crate::harness::server::OPEN;
use crate::harness::{Dialog, Message, PATIENCE, Phone, SILENCE, Server};

const BOB: &str = "sip:bob@office.example";
const SEQUENTIAL: &str = "forking: { strategy: sequential, ring_time: 30s }\n";

/// A server, a caller, and two phones of bob.
fn setup(config: &str) -> (Server, Phone, Phone, Phone) {
    let server = Server::start(&format!("{OPEN}{config}"));
    let desk = Phone::udp("bob", server.address()).registered_with_q("1.0");
    let cell = Phone::tcp("bob", server.address()).registered_with_q("0.5");
    let alice = Phone::udp("alice", server.address());
    (server, alice, desk, cell)
}

/// Calls bob; a 100 must arrive at once.
#[track_caller]
fn dial(alice: &mut Phone) -> Message {
    let invite = alice.invite(BOB);
    let sent = alice.send(invite);
    // checklist 33, 97: within 200 ms, plus time for a busy machine.
    alice.trying(Duration::from_millis(1_500));
    sent
}

/// Expects that a phone is cancelled: its INVITE ends with 487 and our ACK (checklist 75, 79, 92, 93).
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
fn all_phones_ring_and_the_first_2xx_cancels_the_others() {
    let (server, mut alice, mut desk, mut cell) = setup("");
    let sent = dial(&mut alice);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    assert_eq!((at_desk.uri(), at_cell.uri()), (desk.contact().as_str(), cell.contact().as_str()));
    assert_ne!(at_desk.branch(), at_cell.branch());
    assert_eq!((at_desk.body.as_slice(), at_desk.header("Max-Forwards")), (sent.body.as_slice(), "69"));

    // checklist 65: every provisional response is forwarded.
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
fn two_2xx_both_reach_the_caller() {
    let (_server, mut alice, mut desk, mut cell) = setup("");
    dial(&mut alice);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    cell.reply(&at_cell, 180);
    alice.response(180);
    let first = desk.reply(&at_desk, 200);
    assert_eq!(alice.response(200).tag("To"), first.tag("To"));
    let cancel = cell.expect("CANCEL");
    // checklist 65, 66, 91: both phones answered at the same moment.
    let second = cell.reply(&at_cell, 200);
    cell.reply(&cancel, 200);
    assert_eq!(alice.response(200).tag("To"), second.tag("To"));
}

#[test]
fn a_phone_without_a_response_is_cancelled_after_its_first_one() {
    let (_server, mut alice, mut desk, mut cell) = setup("");
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
fn the_best_failure_response_is_chosen() {
    // checklist 68, 69, 70: the lowest class; among 4xx the one that tells the caller most; 503 is not forwarded.
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
    let (_server, mut alice, mut desk, mut cell) = setup("");
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
fn a_6xx_ends_the_call_for_all_phones() {
    let (_server, mut alice, mut desk, mut cell) = setup("");
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
fn challenges_of_all_phones_are_merged() {
    let (_server, mut alice, mut desk, mut cell) = setup("");
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
fn a_cancel_ends_the_call_at_all_phones() {
    let (server, mut alice, mut desk, mut cell) = setup("");
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
    // checklist 156: the Reason of the caller is forwarded.
    assert!(cancel.header("Reason").contains("Q.850"), "{cancel}");
    is_cancelled(&mut cell, &at_cell);
    let ended = alice.response(487);
    alice.send(ack_of(&sent, &ended));
    alice.silence();
    server.counts("frontdesk_forks_total", &[("outcome", "cancelled")], |count| count == 1.0);
}

#[test]
fn a_call_that_nobody_answers_ends_after_the_ring_time() {
    let (server, mut alice, mut desk, mut cell) = setup("forking: { strategy: parallel, ring_time: 1s }\n");
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
fn phones_are_called_one_after_another_by_q() {
    let (_server, mut alice, mut desk, mut cell) = setup(SEQUENTIAL);
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
fn phones_with_equal_q_are_called_together_and_lower_q_later() {
    let (server, mut alice, mut desk, mut cell) = setup(SEQUENTIAL);
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
fn after_the_ring_time_the_next_phone_is_called() {
    let (_server, mut alice, mut desk, mut cell) = setup("forking: { strategy: sequential, ring_time: 1s }\n");
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
fn a_cancel_ends_sequential_forking() {
    let (_server, mut alice, mut desk, mut cell) = setup(SEQUENTIAL);
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
fn retransmissions_of_an_invite_are_absorbed() {
    let (_server, mut alice, mut desk, mut cell) = setup("");
    let sent = dial(&mut alice);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    // Both send a provisional response, so that no copy can come from our server.
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
fn a_failure_response_is_retransmitted_until_its_ack() {
    let (_server, mut alice, mut desk, mut cell) = setup("timers: { t1: 100ms, t2: 400ms }\n");
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
fn an_unreachable_phone_does_not_disturb_the_call() {
    let (_server, mut alice, desk, mut cell) = setup("timers: { t1: 50ms, t2: 200ms }\n");
    drop(desk);
    let sent = dial(&mut alice);
    let at_cell = cell.expect("INVITE");
    cell.reply(&at_cell, 200);
    let ok = alice.response(200);
    alice.send(Dialog::caller(&sent, &ok).ack());
    cell.expect("ACK");
}

#[test]
fn unreachable_phones_only_give_a_failure_response() {
    let (_server, mut alice, desk, cell) = setup("timers: { t1: 50ms, t2: 200ms }\n");
    drop((desk, cell));
    let sent = dial(&mut alice);
    // checklist 71, 77: 64·T1 are 3.2 s here.
    let refused = alice.next();
    assert!(matches!(refused.status(), Some(408 | 480 | 500)), "{refused}");
    alice.send(ack_of(&sent, &refused));
}

#[test]
fn a_message_is_forked_and_gets_one_response() {
    let (_server, mut alice, mut desk, mut cell) = setup("");
    let message = alice.request("MESSAGE", BOB).body("text/plain", "hello");
    alice.send(message);
    let (at_desk, at_cell) = (desk.expect("MESSAGE"), cell.expect("MESSAGE"));
    desk.reply(&at_desk, 200);
    alice.response(200);
    cell.reply(&at_cell, 200);
    // checklist 66: the second 2xx to a non-INVITE is not forwarded.
    alice.silence();
    desk.silence();
}

#[test]
fn contacts_that_lead_back_to_the_server_do_not_multiply() {
    let server = Server::start(&format!("{OPEN}timers: {{ t1: 50ms, t2: 200ms }}\n"));
    // checklist 29, 37, 127, 129: such Contacts are refused, or the loop that they make is detected.
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
    let (server, mut alice, mut desk, mut cell) = setup("");
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
