//! Registrations, nonces and subscriptions at several nodes.

use std::time::Duration;

use proxy::{Authentication, Settings};
use sim::{NodeMessage, Simulation, challenge, quoted};

use super::{Kind, nodes, phone, registered};
use crate::accounts::{BOB, add_accounts};

fn with_accounts() -> Simulation {
    Simulation::with_nodes(2, |settings: &mut Settings| {
        settings.authentication = Authentication::Required;
        add_accounts(settings, &[BOB]);
    })
}

#[test]
fn a_nonce_of_another_node_is_challenged_again() {
    let sim = with_accounts();
    let bob = sim.udp("bob");
    bob.sends(&bob.register());
    let refused = bob.expects("401");
    let register = bob.register();
    let first = register.clone().with("Authorization", BOB.answer(&refused, "SHA-256", &register, 1));
    bob.reaches_node(1).sends(&first);
    let again = bob.expects("401");
    assert!(challenge(&again, "SHA-256").contains("stale=true"), "{again}");
    let register = bob.register();
    bob.sends(&register.clone().with("Authorization", BOB.answer(&again, "SHA-256", &register, 1)));
    bob.expects("200");
}

#[test]
fn a_count_that_was_used_at_one_node_is_of_no_use_at_another() {
    let sim = with_accounts();
    let bob = sim.udp("bob");
    bob.sends(&bob.register());
    let refused = bob.expects("401");
    let register = bob.register();
    let used = register.clone().with("Authorization", BOB.answer(&refused, "SHA-256", &register, 1));
    bob.sends(&used);
    bob.expects("200");
    let mallory = sim.udp("mallory");
    for node in [0, 1] {
        mallory.reaches_node(node).sends(&used.clone().set("Via", mallory.via()));
        let again = mallory.expects("401");
        assert_ne!(quoted(&challenge(&again, "SHA-256"), "nonce"), quoted(&challenge(&refused, "SHA-256"), "nonce"));
    }
}

#[test]
fn two_nodes_that_register_phones_of_one_user_keep_both() {
    let sim = nodes(2);
    sim.changes_take(Duration::from_millis(50));
    let (alice, desk, mobile) = (
        registered(&sim, "alice", Kind::Udp, 0),
        phone(&sim, "bob/desk", Kind::Tcp, 0),
        phone(&sim, "bob/mobile", Kind::Tcp, 1),
    );
    desk.sends(&desk.register());
    mobile.sends(&mobile.register());
    desk.expects("200");
    let ok = mobile.expects("200");
    assert_eq!(ok.values("Contact").count(), 2, "the second one has seen the first: {ok}");
    sim.millis(100);
    let (invite, received) = alice.calls_phones("bob", [&desk, &mobile]);
    for (phone, received) in [&desk, &mobile].into_iter().zip(&received) {
        phone.answers(received, 486);
        phone.expects("ACK");
    }
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn a_phone_that_moved_is_called_where_the_caller_s_node_knows_it() {
    let sim = nodes(3);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Tcp, 1));
    sim.changes_take(Duration::from_millis(80));
    bob.reaches_node(2);
    bob.registers();
    // Node 0 has not seen the change; the old connection is still open.
    let to = |messages: Vec<NodeMessage>| {
        messages.iter().filter(|it| it.sip.is_request()).map(|it| it.to).collect::<Vec<_>>()
    };
    for node in [1, 2] {
        alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
        let received = bob.expects("MESSAGE");
        bob.answers(&received, 200);
        alice.expects("200");
        assert_eq!(to(sim.between_nodes()), [node]);
        sim.millis(100);
    }
}

#[test]
fn a_watcher_sees_the_registrations_at_all_nodes() {
    let sim = nodes(2);
    let watcher = phone(&sim, "bob/watcher", Kind::Udp, 0);
    let subscribe = watcher.request("SUBSCRIBE", "sip:bob@office.example").with("Event", "reg").with("Expires", 600);
    watcher.sends(&subscribe);
    let ok = watcher.expects("200");
    let notify = watcher.expects("NOTIFY");
    watcher.answers(&notify, 200);
    let desk = registered(&sim, "bob/desk", Kind::Tcp, 1);
    sim.seconds(6);
    let notify = watcher.all_received().pop().expect("a NOTIFY");
    assert!(notify.to_string().contains(&desk.contact()), "{notify}");
    watcher.answers(&notify, 200);
    // At another node there is no such subscription, so the watcher subscribes again (RFC 6665 4.1.2.2).
    let refresh = watcher
        .request("SUBSCRIBE", sim::uri_in(ok.value("Contact")))
        .set("From", subscribe.value("From"))
        .set("To", ok.value("To"))
        .set("Call-ID", subscribe.value("Call-ID"))
        .set("CSeq", sim::cseq(&subscribe, 1, "SUBSCRIBE"))
        .with("Event", "reg");
    watcher.reaches_node(1).sends(&refresh.clone().with("Expires", 600));
    watcher.expects("481");
    watcher.reaches_node(0).sends(&watcher.again(&refresh).with("Expires", 0));
    watcher.expects("200");
    let notify = watcher.expects("NOTIFY");
    watcher.answers(&notify, 200);
}
