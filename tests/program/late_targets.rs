//! Targets that join a ringing call: a phone that registers meanwhile, and the target of a redirection.

use crate::harness::message::ack_of;
use crate::harness::server::OPEN;
use crate::harness::{Dialog, Message, Phone, Server};

const BOB: &str = "sip:bob@office.example";

/// A server, alice, and the desk phone and mobile phone of bob, which ring for alice.
fn ringing(config: &str) -> (Server, (Phone, Message), [(Phone, Message); 2]) {
    let server = Server::start(&format!("{OPEN}{config}"));
    let phones = [Phone::udp("bob", server.address()).registered(), Phone::tcp("bob", server.address()).registered()];
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite(BOB);
    let sent = alice.send(invite);
    let phones = phones.map(|mut phone| {
        let heard = phone.expect("INVITE");
        phone.reply(&heard, 180);
        alice.response(180);
        (phone, heard)
    });
    (server, (alice, sent), phones)
}

/// Registers a phone that is called then. The INVITE comes from another worker and may arrive before the 200.
fn registers_and_rings(phone: &mut Phone) -> Message {
    let register = phone.register(Some(&format!("<{}>", phone.contact()))).with("Expires", 3600);
    phone.send(register);
    let (invites, answers): (Vec<_>, Vec<_>) =
        [phone.next(), phone.next()].into_iter().partition(|it| it.status().is_none());
    assert_eq!(answers.iter().map(Message::status).collect::<Vec<_>>(), [Some(200)]);
    invites.into_iter().next().expect("an INVITE")
}

#[test]
fn a_phone_that_registers_during_a_call_is_called() {
    // At every worker: six phones, on ports that the system distributes to both.
    let (server, (mut alice, sent), [(mut desk, _), (mut mobile, _)]) = ringing("workers: 2\n");
    let mut late: Vec<Phone> = (0..6).map(|_| Phone::udp("bob", server.address())).collect();
    let heard: Vec<Message> = late.iter_mut().map(registers_and_rings).collect();
    late[5].reply(&heard[5], 200);
    let ok = alice.response(200);
    alice.send(Dialog::caller(&sent, &ok).ack());
    late[5].expect("ACK");
    desk.expect("CANCEL");
    mobile.expect("CANCEL");
}

#[test]
fn a_call_follows_the_redirection_of_a_phone() {
    // checklist 63
    let (server, (mut alice, sent), [(mut desk, at_desk), (mut mobile, at_mobile)]) = ringing("");
    let mut carol = Phone::udp("carol", server.address()).registered();
    let moved = desk.answer(&at_desk, 302).without("Contact").with("Contact", "<sip:carol@office.example>");
    desk.send(moved);
    desk.expect("ACK");
    let heard = carol.expect("INVITE");
    assert_eq!(heard.uri(), carol.contact());
    mobile.reply(&at_mobile, 480);
    mobile.expect("ACK");
    carol.reply(&heard, 486);
    carol.expect("ACK");
    let busy = alice.response(486);
    alice.send(ack_of(&sent, &busy));
}

#[test]
fn a_call_to_one_phone_follows_redirections_if_it_has_a_context() {
    // checklist 63
    let server = Server::start(&format!("{OPEN}forking: {{ single_target: stateful }}\n"));
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut carol = Phone::tcp("carol", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite(BOB);
    alice.send(invite);
    let heard = bob.expect("INVITE");
    let moved = bob.answer(&heard, 302).without("Contact").with("Contact", "<sip:carol@office.example>");
    bob.send(moved);
    let heard = carol.expect("INVITE");
    carol.reply(&heard, 180);
    alice.response(180);
}
