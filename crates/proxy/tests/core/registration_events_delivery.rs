//! The route of a NOTIFY to its subscriber, and the worker that sends it.

use proxy::{Event, Notification};
use sim::Simulation;

use crate::registration_events::{BOB, document, next_notify, resubscribe, subscribe, watch};

#[test]
fn a_change_at_any_worker_is_notified() {
    // checklist 155
    let sim = Simulation::with_workers(3, |_| {});
    let (desk, mobile) = (sim.udp("bob/desk"), sim.udp("bob/mobile"));
    let (asked, ok, _) = watch(desk.reaches_worker(1));
    sim.seconds(5);
    mobile.reaches_worker(2).registers();
    let notify = desk.expects("NOTIFY");
    assert_eq!(document(&notify), (1, false, "active", vec!["registered"]));
    // The response to it and the next SUBSCRIBE arrive at other workers.
    desk.reaches_worker(0).answers(&notify, 200);
    desk.sends(&resubscribe(&desk, &asked, &ok, 1, 600));
    assert_eq!(desk.expects("200").value("To"), ok.value("To"));
    assert_eq!(document(&next_notify(&desk)), (2, true, "active", vec!["registered"]));
    assert_eq!([0, 1, 2].map(|worker| sim.load(worker).subscriptions), [0, 1, 0]);
}

#[test]
fn a_notify_is_sent_over_the_connection_of_its_subscribe() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.tcp("bob/desk");
    desk.sends(&subscribe(&desk, BOB).set("Contact", "<sip:bob@10.0.0.7:4711;transport=tcp>"));
    assert_eq!(desk.expects("200").value("Contact"), "<sip:192.0.2.1:5060;transport=tcp>");
    let first = desk.expects("NOTIFY");
    assert_eq!(first.uri(), "sip:bob@10.0.0.7:4711;transport=tcp");
    desk.answers(&first, 200);
    sim.seconds(5);
    desk.disconnects();
    let mobile = sim.udp("bob/mobile");
    mobile.registers();
    desk.receives_nothing();
    assert_eq!(sim.count_events(|event| matches!(event, Event::Notified { outcome: Notification::Unanswered })), 1);
    assert_eq!(sim.load(0).subscriptions, 0);
}

#[test]
fn a_notify_is_sent_through_the_nat_of_its_subscriber() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    desk.sends_from("203.0.113.9:40123".parse().unwrap());
    let (.., first) = watch(&desk);
    assert_eq!(first.uri(), desk.contact());
}

#[test]
fn a_notify_follows_the_recorded_route() {
    // checklist 52, 155
    for (route, uri, routes) in [
        ("<sip:192.0.2.12;lr>", "sip:bob@10.0.0.7", vec!["<sip:192.0.2.12;lr>", "<sip:10.0.0.1;lr>"]),
        ("<sip:edge@192.0.2.12>", "sip:edge@192.0.2.12", vec!["<sip:10.0.0.1;lr>", "<sip:bob@10.0.0.7>"]),
    ] {
        let sim = Simulation::new();
        let (desk, edge) = (sim.udp("bob/desk"), sim.udp("edge"));
        let asked = subscribe(&desk, BOB).set("Contact", "<sip:bob@10.0.0.7>");
        desk.sends(&asked.with("Record-Route", route).with("Record-Route", "<sip:10.0.0.1;lr>"));
        let ok = desk.expects("200");
        assert_eq!(ok.values("Record-Route").collect::<Vec<_>>(), [route, "<sip:10.0.0.1;lr>"]);
        let notify = next_notify(&edge);
        assert_eq!((notify.uri(), notify.values("Route").collect::<Vec<_>>()), (uri, routes));
    }
}

#[test]
fn a_notify_is_sent_to_a_resolved_name() {
    // checklist 155
    let sim = Simulation::new();
    let (desk, app) = (sim.udp("bob/desk"), sim.udp("app"));
    sim.dns("app.office.test", &[app.address]);
    sim.store(sim::StoreState::Working, 20);
    desk.sends(&subscribe(&desk, BOB).set("Contact", "<sip:bob@app.office.test>"));
    desk.expects("200");
    assert_eq!(document(&next_notify(&app)), (0, true, "init", vec![]));
    // Before DNS has answered, the subscriber changes its Contact.
    let asked = subscribe(&desk, BOB).set("Contact", "<sip:bob@app.office.test>");
    desk.sends(&asked);
    let ok = desk.expects("200");
    desk.sends(&resubscribe(&desk, &asked, &ok, 1, 600));
    desk.expects("200");
    assert_eq!(document(&next_notify(&desk)), (0, true, "init", vec![]));
    app.receives_nothing();
    desk.sends(&subscribe(&desk, BOB).set("Contact", "<sip:bob@nowhere.test>"));
    desk.expects("200");
    sim.seconds(1);
    assert_eq!(sim.count_events(|event| matches!(event, Event::Notified { outcome: Notification::Unanswered })), 1);
}
