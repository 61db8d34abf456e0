//! Subscriptions to registrations: how they are created, refreshed, limited and ended (RFC 6665, RFC 3680).

use proxy::{Event, Limit, Notification};
use sim::{Simulation, Sip};

use crate::registration_events::{BOB, document, next_notify, resubscribe, subscribe, watch};

#[test]
fn an_unsubscribe_gets_a_last_notify() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    desk.registers();
    let (asked, ok, _) = watch(&desk);
    let goodbye = resubscribe(&desk, &asked, &ok, 1, 0);
    desk.sends(&goodbye);
    assert_eq!(desk.expects("200").number("Expires"), Some(0));
    let last = next_notify(&desk);
    assert_eq!(document(&last), (1, true, "active", vec!["registered"]));
    assert_eq!(last.value("Subscription-State"), "terminated;reason=timeout");
    desk.sends(&goodbye);
    desk.expects("200");
    desk.sends(&resubscribe(&desk, &asked, &ok, 2, 600));
    assert_eq!(desk.expects("481").reason(), "Subscription Does Not Exist");
    sim.seconds(10);
    desk.registers();
    desk.receives_nothing();
    assert_eq!(sim.load(0).subscriptions, 1, "for copies of its last SUBSCRIBE");
    sim.seconds(30);
    assert_eq!(sim.load(0).subscriptions, 0);
}

#[test]
fn a_fetch_gets_one_notify() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    desk.registers();
    let fetch = subscribe(&desk, BOB).set("Expires", 0);
    desk.sends(&fetch);
    assert_eq!(desk.expects("200").number("Expires"), Some(0));
    let only = next_notify(&desk);
    assert_eq!(document(&only), (0, true, "active", vec!["registered"]));
    assert_eq!(only.value("Subscription-State"), "terminated;reason=timeout");
    desk.sends(&fetch);
    desk.expects("200");
    desk.receives_nothing();
}

#[test]
fn a_subscription_expires() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    watch(&desk);
    sim.millis(599_900);
    let last = next_notify(&desk);
    assert_eq!(last.value("Subscription-State"), "terminated;reason=timeout");
    assert_eq!(document(&last), (1, false, "init", vec![]));
    sim.millis(1);
    assert_eq!(sim.load(0).subscriptions, 0);
}

#[test]
fn a_retransmitted_subscribe_creates_no_second_subscription() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    let (asked, ok, _) = watch(&desk);
    desk.sends(&asked);
    assert_eq!(desk.expects("200").value("To"), ok.value("To"));
    desk.receives_nothing();
    desk.sends(&resubscribe(&desk, &asked, &ok, 1, 600));
    desk.expects("200");
    next_notify(&desk);
    desk.sends(&asked);
    desk.expects("200");
    desk.receives_nothing();
    assert_eq!(sim.load(0).subscriptions, 1);
}

#[test]
fn a_lost_notify_is_retransmitted() {
    // checklist 155, 94
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    desk.sends(&subscribe(&desk, BOB));
    desk.expects("200");
    let first = desk.expects("NOTIFY");
    sim.millis(500);
    assert_eq!(desk.expects("NOTIFY"), first);
    // Changes in the meantime are held back.
    desk.registers();
    sim.millis(1_000);
    assert_eq!(desk.expects("NOTIFY"), first);
    desk.answers(&first, 200);
    sim.seconds(4);
    assert_eq!(document(&next_notify(&desk)), (1, false, "active", vec!["registered"]));
}

#[test]
fn a_subscriber_that_does_not_respond_is_removed() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    desk.sends(&subscribe(&desk, BOB));
    desk.expects("200");
    sim.millis(32_100);
    assert_eq!(desk.all_received().len(), 11, "Timer E");
    assert_eq!(sim.count_events(|event| matches!(event, Event::Notified { outcome: Notification::Unanswered })), 1);
    assert_eq!(sim.load(0).subscriptions, 0);
    desk.registers();
    desk.receives_nothing();
}

#[test]
fn a_subscriber_that_responds_481_is_removed() {
    // checklist 155
    for (status, goes_on) in [(481, false), (404, false), (501, false), (500, true), (503, true)] {
        let sim = Simulation::new();
        let desk = sim.udp("bob/desk");
        watch(&desk);
        sim.seconds(5);
        desk.registers();
        let notify = desk.expects("NOTIFY");
        desk.answers(&notify, status);
        sim.seconds(5);
        desk.registers();
        if goes_on {
            assert_eq!(
                document(&next_notify(&desk)),
                (2, true, "active", vec!["registered"]),
                "what was lost is made up for"
            );
        } else {
            desk.receives_nothing();
        }
    }
}

#[test]
fn a_new_subscribe_does_not_wait_for_an_old_notify() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    let asked = subscribe(&desk, BOB);
    desk.sends(&asked);
    let ok = desk.expects("200");
    let unanswered = desk.expects("NOTIFY");
    desk.sends(&resubscribe(&desk, &asked, &ok, 1, 600));
    desk.expects("200");
    assert_eq!(document(&next_notify(&desk)), (1, true, "init", vec![]));
    desk.answers(&unanswered, 481);
    sim.seconds(5);
    desk.registers();
    assert_eq!(document(&next_notify(&desk)).0, 2, "that was of another time");
}

#[test]
fn subscriptions_that_cannot_be_granted_are_refused() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    let refused = |subscribe: Sip, status: &str| {
        desk.sends(&subscribe);
        desk.expects(status)
    };
    let asked = || subscribe(&desk, BOB);
    assert_eq!(refused(asked().set("Expires", 59), "423").number("Min-Expires"), Some(60));
    refused(asked().with("Accept", "application/pidf+xml, text/plain"), "406");
    refused(asked().with("Accept", "application/reginfo+xml;q=0"), "406");
    refused(asked().without("Contact"), "400");
    refused(asked().set("Contact", "<tel:1>"), "400");
    refused(asked().set("Contact", format_args!("<sip:bob@192.0.2.11;x={}>", "y".repeat(5000))), "400");
    assert_eq!(refused(asked().with("Require", "eventlist"), "420").value("Unsupported"), "eventlist");
    let unknown = asked().set("To", format_args!("<{BOB}>;tag=00ffffffffffffffff"));
    refused(unknown.clone(), "481");
    refused(unknown.set("To", format_args!("<{BOB}>;tag=3fffffffffffffffff")), "481");
    let server = asked().to("sip:192.0.2.1").set("Event", "presence");
    assert_eq!(refused(server, "489").value("Allow-Events"), "reg, dialog");
    assert_eq!(sim.load(0).subscriptions, 0);
    for accept in ["application/reginfo+xml", "text/plain, Application/*", "*/*;q=0.1"] {
        desk.sends(&asked().set("Expires", 0).with("Accept", accept));
        desk.expects("200");
        next_notify(&desk);
    }
    let (asked, ok, _) = watch(&desk);
    desk.sends(&resubscribe(&desk, &asked, &ok, 1, 600).set("Event", "reg;id=2"));
    desk.expects("481");
    desk.sends(&resubscribe(&desk, &asked, &ok, 1, 600).set("From", "<sip:eve@office.example>;tag=x"));
    desk.expects("481");
}

#[test]
fn other_event_packages_are_forwarded_to_the_phone() {
    // checklist 155
    let sim = Simulation::new();
    let (alice, desk) = (sim.udp("alice"), sim.udp("bob/desk"));
    desk.registers();
    for event in ["conference", "refer", "reg.winfo"] {
        alice.sends(&alice.request("SUBSCRIBE", BOB).with("Event", event));
        let received = desk.expects("SUBSCRIBE");
        assert_eq!(received.value("Event"), event);
        desk.answers(&received, 202);
        alice.expects("202");
    }
}

#[test]
fn the_options_response_lists_the_event_package() {
    // checklist 155
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    alice.sends(&alice.request("OPTIONS", "sip:office.example"));
    let ok = alice.expects("200");
    assert_eq!((ok.value("Allow"), ok.value("Allow-Events")), ("OPTIONS, REGISTER, SUBSCRIBE", "reg, dialog"));
}

#[test]
fn a_failed_load_is_repeated() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    desk.registers();
    sim.store(sim::StoreState::Broken, 0);
    desk.sends(&subscribe(&desk, BOB));
    desk.expects("200");
    desk.receives_nothing();
    sim.store(sim::StoreState::Working, 0);
    sim.seconds(5);
    assert_eq!(document(&next_notify(&desk)), (0, true, "active", vec!["registered"]));
}

#[test]
fn the_number_of_subscriptions_is_limited() {
    // checklist 155
    let sim = Simulation::with(|settings| settings.limits.subscriptions = 1);
    let desk = sim.udp("bob/desk");
    let (asked, ok, _) = watch(&desk);
    desk.sends(&subscribe(&desk, BOB));
    assert_eq!(desk.expects("503").number("Retry-After"), Some(10));
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Subscriptions))), 1);
    desk.sends(&resubscribe(&desk, &asked, &ok, 1, 600));
    desk.expects("200");
    next_notify(&desk);
}

#[test]
fn the_number_of_subscriptions_of_a_user_is_limited() {
    // checklist 155
    let sim = Simulation::with(|settings| settings.limits.subscriptions_per_user = 1);
    let [desk, alice] = ["bob/desk", "alice"].map(|name| sim.udp(name));
    watch(&desk);
    desk.sends(&subscribe(&desk, BOB));
    desk.expects("503");
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::SubscriptionsPerUser))), 1);
    alice.sends(&subscribe(&alice, "sip:alice@office.example"));
    alice.expects("200");
    next_notify(&alice);
}
