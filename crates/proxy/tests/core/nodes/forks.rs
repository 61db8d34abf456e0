//! Calls to several phones of several nodes, and to several flows of one phone.

use super::{Kind, nodes, phone, registered};

#[test]
fn a_call_rings_at_phones_of_all_nodes() {
    let sim = nodes(3);
    let alice = registered(&sim, "alice", Kind::Udp, 0);
    let phones = [("bob/desk", Kind::Tcp, 1), ("bob/mobile", Kind::Nat, 2), ("bob/home", Kind::Tcp, 0)]
        .map(|(name, kind, node)| registered(&sim, name, kind, node));
    let invite = alice.calls("bob");
    alice.expects("100");
    let received = phones.each_ref().map(|phone| phone.expects("INVITE"));
    for (phone, invite) in phones.iter().zip(&received) {
        phone.answers(invite, 180);
        alice.expects("180");
    }
    let answer = phones[1].answers(&received[1], 200);
    let ok = alice.expects("200");
    for index in [0, 2] {
        let cancel = phones[index].expects("CANCEL");
        assert_eq!(cancel.branch(), received[index].branch());
        phones[index].answers(&cancel, 200);
        phones[index].answers(&received[index], 487);
        let ack = phones[index].expects("ACK");
        assert_eq!((ack.branch(), ack.values("Route").count()), (received[index].branch(), 0));
    }
    alice.acks(&invite, &ok);
    phones[1].expects("ACK");
    phones[1].sends(&phones[1].within_as_callee(&received[1], &answer, "BYE"));
    let bye = alice.expects("BYE");
    alice.answers(&bye, 200);
    phones[1].expects("200");
    alice.receives_nothing();
}

#[test]
fn a_lost_datagram_to_a_phone_behind_a_nat_is_repeated_over_the_other_node() {
    let sim = nodes(2);
    let alice = registered(&sim, "alice", Kind::Tcp, 0);
    let phones = [registered(&sim, "bob/desk", Kind::Nat, 1), registered(&sim, "bob/mobile", Kind::Nat, 1)];
    let invite = alice.calls("bob");
    alice.expects("100");
    let first = phones.each_ref().map(|phone| phone.expects("INVITE"));
    // The connection between the nodes loses nothing, but the network behind it does (RFC 3261 17.1.1.2).
    sim.millis(600);
    let again = phones.each_ref().map(|phone| phone.expects("INVITE"));
    assert_eq!(first, again, "the same octets, with another token on the way");
    for (phone, received) in phones.iter().zip(&first) {
        phone.answers(received, 486);
        phone.expects("ACK");
        phone.answers(received, 486);
        phone.expects("ACK");
    }
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn the_next_flow_of_a_phone_is_tried_when_one_is_gone() {
    let sim = nodes(3);
    let alice = registered(&sim, "alice", Kind::Udp, 0);
    let (one, two) = (phone(&sim, "bob", Kind::Tcp, 1), phone(&sim, "bob/2", Kind::Tcp, 2));
    for (agent, reg_id) in [(&two, 2), (&one, 1)] {
        let contact = format!("<{}>;+sip.instance=\"<urn:uuid:1>\";reg-id={reg_id}", agent.contact());
        agent.sends(&agent.register().set("Contact", contact).with("Supported", "path, outbound"));
        agent.expects("200");
        sim.seconds(1);
    }
    one.disconnects();
    let invite = alice.calls("bob");
    alice.expects("100");
    let received = two.expects("INVITE");
    two.answers(&received, 486);
    two.expects("ACK");
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn a_phone_that_registers_at_another_node_joins_the_call() {
    let sim = nodes(2);
    let alice = registered(&sim, "alice", Kind::Udp, 0);
    let phones = [registered(&sim, "bob/desk", Kind::Udp, 0), registered(&sim, "bob/home", Kind::Udp, 0)];
    let (invite, received) = alice.calls_phones("bob", phones.each_ref());
    for (phone, received) in phones.iter().zip(&received) {
        phone.answers(received, 180);
        alice.expects("180");
    }
    let late = registered(&sim, "bob/mobile", Kind::Tcp, 1);
    let late_invite = late.expects("INVITE");
    late.answers(&late_invite, 603);
    late.expects("ACK");
    for (phone, received) in phones.iter().zip(&received) {
        let cancel = phone.expects("CANCEL");
        phone.answers(&cancel, 200);
        phone.answers(received, 487);
        phone.expects("ACK");
    }
    let refused = alice.expects("603");
    alice.acks(&invite, &refused);
}

/// Two phones at two nodes accept the call in the same moment.
#[test]
fn both_dialogs_of_a_call_that_two_phones_accept_end_at_any_node() {
    let sim = nodes(3);
    let alice = registered(&sim, "alice", Kind::Udp, 0);
    let phones = [("bob/desk", Kind::Tcp, 1), ("bob/mobile", Kind::Wss, 2)]
        .map(|(name, kind, node)| registered(&sim, name, kind, node));
    let invite = alice.calls("bob");
    alice.expects("100");
    let received = phones.each_ref().map(|phone| phone.expects("INVITE"));
    let answers = [0, 1].map(|at| phones[at].answers(&received[at], 200));
    let accepted = [0, 1].map(|_| alice.expects("200"));
    for ok in &accepted {
        alice.acks(&invite, ok);
    }
    for (phone, known) in [(0, 1), (1, 0)] {
        phones[phone].expects("ACK");
        phones[phone].sends(&phones[phone].within_as_callee(&received[phone], &answers[phone], "BYE"));
        alice.answers(&alice.expects("BYE"), 200);
        phones[phone].expects("200");
        sim.millis(5);
        assert_eq!((sim.calls().len(), sim.records().len()), (known, 1 - known));
    }
    sim.skip_final_check();
}
