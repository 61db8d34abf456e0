//! Keys that are replaced while calls are up.

use proxy::Keys;
use sim::KEYS;

use super::{Kind, call, nodes, registered};

fn rotated() -> Keys {
    Keys { route: [41; 16], gruu: [43; 32], previous: Some(KEYS.long_lived()), ..KEYS }
}

#[test]
fn a_call_goes_on_with_new_keys() {
    // checklist 140
    for (caller, callee) in [(Kind::Udp, Kind::Tcp), (Kind::Nat, Kind::Nat), (Kind::Tcp, Kind::Udp)] {
        let sim = nodes(2);
        let (alice, bob) = (registered(&sim, "alice", caller, 0), registered(&sim, "bob", callee, 1));
        let up = call(&alice, &bob);
        sim.set_keys(rotated());
        up.caller_sends(&alice, &bob, "INFO");
        up.callee_sends(&alice, &bob, "INFO");
        up.caller_sends(&alice, &bob, "INVITE");
        up.caller_sends(&alice, &bob, "BYE");
        // A new call has tokens with the new key, and goes on when the old one is dropped.
        let up = call(&alice, &bob);
        sim.set_keys(Keys { previous: None, ..rotated() });
        up.callee_sends(&alice, &bob, "INFO");
        up.caller_sends(&alice, &bob, "BYE");
    }
}

#[test]
fn keys_change_between_a_request_and_its_response() {
    for forked in [false, true] {
        let sim = nodes(2);
        let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Nat, 1));
        let other = forked.then(|| registered(&sim, "bob/2", Kind::Tcp, 1));
        let invite = alice.calls("bob");
        if forked {
            alice.expects("100");
        }
        let received = bob.expects("INVITE");
        let other = other.map(|other| (other.expects("INVITE"), other));
        if let Some((received, other)) = &other {
            other.answers(received, 180);
            alice.expects("180");
        }
        sim.set_keys(rotated());
        // A retransmission is still recognised.
        alice.sends(&invite);
        if forked {
            alice.expects("180");
        } else {
            assert_eq!(bob.expects("INVITE").uri(), received.uri());
        }
        let answer = bob.answers(&received, 200);
        let ok = alice.expects("200");
        if let Some((received, other)) = other {
            let cancel = other.expects("CANCEL");
            other.answers(&cancel, 200);
            other.answers(&received, 487);
            other.expects("ACK");
        }
        alice.acks(&invite, &ok);
        bob.expects("ACK");
        bob.sends(&bob.within_as_callee(&received, &answer, "BYE"));
        let bye = alice.expects("BYE");
        alice.answers(&bye, 200);
        bob.expects("200");
    }
}

#[test]
fn gruus_of_the_previous_key_are_good() {
    for kind in ["pub-gruu", "temp-gruu"] {
        let sim = nodes(2);
        let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), super::phone(&sim, "bob", Kind::Tcp, 1));
        let contact = format!("<{}>;+sip.instance=\"<urn:uuid:1>\"", bob.contact());
        bob.sends(&bob.register().set("Contact", contact).with("Supported", "gruu"));
        let ok = bob.expects("200");
        let (_, gruu) = ok.value("Contact").split_once(&format!("{kind}=\"")).unwrap();
        let gruu = gruu.split('"').next().unwrap().to_owned();
        for keys in [KEYS, rotated()] {
            sim.set_keys(keys);
            alice.sends(&alice.request("MESSAGE", &gruu));
            let received = bob.expects("MESSAGE");
            bob.answers(&received, 200);
            alice.expects("200");
        }
        sim.set_keys(Keys { previous: None, ..rotated() });
        alice.sends(&alice.request("MESSAGE", &gruu));
        alice.expects("404");
    }
}
