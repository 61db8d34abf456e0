//! A captured message of a call permits nothing: its Record-Route, branch and identifiers are useless from another
//! address, in another order, after a restart, or with another account (RFC 3261 16.4, 16.10, 16.11, 22.1).

use crate::harness::digest::Credentials;
use crate::harness::message::{ack_of, cancel_of};
use crate::harness::server::CLOSED;
use crate::harness::{Dialog, Message, Phone, Server};

/// Methods that are used within dialogs.
const METHODS: [&str; 7] = ["BYE", "INVITE", "UPDATE", "INFO", "MESSAGE", "REFER", "NOTIFY"];

/// What the server keeps between two runs: its folder with the keys.
const WITH_MALLORY: &str = "\
domains: [office.example]
accounts:
  - { user: alice, password: wonderland }
  - { user: bob, password: builder }
  - { user: mallory, password: malice }
";

const ALICE: fn() -> Credentials<'static> = || Credentials::new("alice", "wonderland");

/// An established call: both phones and both ends of its dialog.
fn call(server: &Server) -> (Phone, Phone, [Dialog; 2]) {
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:bob@office.example");
    let invite = alice.authenticated(invite, ALICE());
    let at_bob = bob.expect("INVITE");
    let his = bob.reply(&at_bob, 200);
    let ok = alice.response(200);
    let ends = [Dialog::caller(&invite, &ok), Dialog::callee(&at_bob, &his)];
    alice.send(ends[0].ack());
    bob.expect("ACK");
    (alice, bob, ends)
}

/// The message as another sender sends it, with its own Via.
fn captured(message: Message, sender: &Phone) -> Message {
    message.without("Via").with_first("Via", sender.via())
}

#[test]
fn a_captured_route_does_not_permit_relaying() {
    for strangers in ["refuse", "accept"] {
        let server = Server::start(&format!("{WITH_MALLORY}strangers: {strangers}\n"));
        let (mut alice, mut bob, ends) = call(&server);
        let mut victim = Phone::udp("victim", server.address());
        let mut mallory = [Phone::udp("mallory", server.address()), Phone::tcp("mallory", server.address())];
        for mallory in &mut mallory {
            for method in METHODS {
                for mut end in ends.clone() {
                    let request = end.request(method);
                    let elsewhere = Message::request(method, &format!("sip:x@{}", victim.local()));
                    let elsewhere = ["Route", "From", "To", "Call-ID", "CSeq"]
                        .iter()
                        .fold(elsewhere, |elsewhere, name| elsewhere.copy(&request, name));
                    for request in [request, elsewhere] {
                        let answer = mallory.ask(captured(request, mallory));
                        assert!(matches!(answer.status(), Some(403 | 407)), "{method}:\n{answer}");
                    }
                }
            }
            // An ACK cannot be challenged.
            for end in &ends {
                mallory.send(captured(end.ack(), mallory));
            }
            mallory.silence();
        }
        for phone in [&mut alice, &mut bob, &mut victim] {
            phone.silence();
        }
        server.counts("frontdesk_dialog_requests_total", &[("outcome", "refused")], |count| count >= 1.0);
        server.logs("in a call refused: ");
    }
}

#[test]
fn an_account_does_not_admit_to_calls_of_others() {
    let server = Server::start(WITH_MALLORY);
    let (mut alice, mut bob, ends) = call(&server);
    let mut mallory = Phone::udp("mallory", server.address()).registered_as("malice");
    for mut end in ends {
        let bye = captured(end.request("BYE"), &mallory);
        let challenge = mallory.ask(bye.clone());
        assert_eq!(challenge.status(), Some(407), "{challenge}");
        mallory.send_again(captured(bye, &mallory), Credentials::new("mallory", "malice"), &challenge);
        assert_eq!(mallory.next_final().status(), Some(403));
    }
    alice.silence();
    bob.silence();
    // Its own dialog leads only to its other side, and only in its own name.
    let mut victim = Phone::udp("victim", server.address());
    let own = mallory.invite("sip:bob@office.example");
    let own = mallory.authenticated(own, Credentials::new("mallory", "malice"));
    let at_bob = bob.expect("INVITE");
    bob.reply(&at_bob, 200);
    let own_ok = mallory.response(200);
    let mut dialog = Dialog::caller(&own, &own_ok);
    mallory.send(dialog.ack());
    bob.expect("ACK");
    let far = format!("<sip:{};lr>", victim.local());
    let tag = own.tag("From").unwrap_or_default().to_owned();
    let routed = dialog.request("INFO").with("Route", &far);
    let as_alice = dialog.request("INFO").set("From", format!("<sip:alice@office.example>;tag={tag}"));
    for request in [routed, as_alice] {
        let answer = mallory.ask(request);
        assert!(matches!(answer.status(), Some(403 | 407)), "{answer}");
    }
    victim.silence();
    bob.silence();
    let bye = dialog.request("BYE");
    mallory.send(bye);
    bob.expect("BYE");
}

#[test]
fn a_restart_changes_nothing_for_phones_and_attackers() {
    // The keys that sign routes are stored beside the registrations.
    let config = format!("{CLOSED}location: {{ store: disk, path: data/location }}\n");
    let server = Server::start(&config);
    let (mut alice, mut bob, ends) = call(&server);
    let ip = server.ip();
    let server = Server::start_in(server.stop(), ip, &config);
    let mut mallory = Phone::udp("mallory", server.address());
    let [mut hers, _] = ends;
    let bye = hers.request("BYE");
    assert!(matches!(mallory.ask(captured(bye.clone(), &mallory)).status(), Some(403 | 407)));
    bob.silence();
    alice.send(bye);
    let at_bob = bob.expect("BYE");
    bob.reply(&at_bob, 200);
    alice.response(200);
}

#[test]
fn the_branch_of_an_authenticated_message_permits_nothing() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::udp("alice", server.address());
    let message = alice.request("MESSAGE", "sip:bob@office.example");
    let message = alice.authenticated(message, ALICE());
    bob.expect("MESSAGE");
    let mut mallory = Phone::udp("mallory", server.address());
    let tag = message.tag("From").unwrap_or_default().to_owned();
    for method in ["INVITE", "MESSAGE", "BYE"] {
        let number = message.header("CSeq").split(' ').next().unwrap_or_default().to_owned();
        let forged = Message::request(method, "sip:bob@office.example")
            .copy(&message, "Via")
            .with("Max-Forwards", 70)
            .with("From", format!("<sip:carol@office.example>;tag={tag}"))
            .copy(&message, "To")
            .copy(&message, "Call-ID")
            .with("CSeq", format!("{number} {method}"));
        mallory.send(forged);
        bob.silence();
    }
    // The same octets from another address are refused too.
    mallory.send(message);
    bob.silence();
}

#[test]
fn only_the_caller_may_cancel_and_acknowledge_a_call() {
    let server = Server::start(WITH_MALLORY);
    let mut bobs = [(); 2].map(|()| Phone::udp("bob", server.address()).registered_as("builder"));
    for phones in [2, 1] {
        let mut alice = Phone::udp("alice", server.address());
        let invite = alice.invite("sip:bob@office.example");
        let invite = alice.authenticated(invite, ALICE());
        let rung: Vec<Message> = bobs.iter_mut().take(phones).map(|bob| bob.expect("INVITE")).collect();
        for (bob, invite) in bobs.iter_mut().zip(&rung) {
            bob.reply(invite, 180);
            alice.response(180);
        }
        let mut mallory = Phone::udp("mallory", server.address()).registered_as("malice");
        let cancel = cancel_of(&invite);
        mallory.send(cancel.clone());
        let own_way = format!("SIP/2.0/UDP {};branch={};rport", mallory.local(), invite.branch());
        let answer = mallory.ask(cancel.clone().set("Via", own_way));
        assert_eq!(answer.status(), Some(481), "{answer}");
        bobs.iter_mut().take(phones).for_each(Phone::silence);
        alice.send(cancel);
        for (bob, invite) in bobs.iter_mut().zip(&rung) {
            let cancel = bob.expect("CANCEL");
            bob.reply(&cancel, 200);
            bob.reply(invite, 487);
        }
        let ended = [alice.next_final(), alice.next_final()].into_iter().find(|it| it.status() == Some(487));
        alice.send(ack_of(&invite, &ended.expect("a 487")));
        bobs.iter_mut().take(phones).for_each(|bob| drop(bob.expect("ACK")));
        // One phone less for the next round.
        let last = bobs[1].register(Some(&format!("<{}>", bobs[1].contact()))).with("Expires", 0);
        bobs[1].authenticated(last, Credentials::new("bob", "builder"));
        bobs[1].response(200);
    }
}

#[test]
fn a_cancel_without_an_invite_does_not_reveal_registrations() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut mallory = Phone::udp("mallory", server.address());
    let mut answers = Vec::new();
    for user in ["bob", "alice", "nobody"] {
        let invite = mallory.invite(&format!("sip:{user}@office.example"));
        let invite = mallory.stamp(invite);
        let answer = mallory.ask(cancel_of(&invite));
        answers.push((answer.status(), answer.reason().to_owned()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == Some(481)), "{answers:?}");
    bob.silence();
}
