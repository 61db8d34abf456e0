//! Registration events: the `reg` event package (RFC 3680) with the rules of RFC 6665.

use std::time::Duration;

use location::WhenFull;
use proxy::{Account, Event, Notification, fixed_bindings};

use sim::{Agent, Simulation, Sip, at, cseq, uri_in};

use crate::accounts::aor;

pub(crate) const BOB: &str = "sip:bob@office.example";

/// A SUBSCRIBE to a user for ten minutes.
pub(crate) fn subscribe(watcher: &Agent, aor: &str) -> Sip {
    watcher.request("SUBSCRIBE", aor).with("Event", "reg").with("Expires", 600)
}

/// bob subscribes to himself from the desk phone. Returns the SUBSCRIBE, its 200, and the first NOTIFY, which has been
/// answered.
pub(crate) fn watch(desk: &Agent) -> (Sip, Sip, Sip) {
    let asked = subscribe(desk, BOB);
    desk.sends(&asked);
    let ok = desk.expects("200");
    (asked, ok, next_notify(desk))
}

/// The next NOTIFY, after it has been answered.
pub(crate) fn next_notify(watcher: &Agent) -> Sip {
    let notify = watcher.expects("NOTIFY");
    watcher.answers(&notify, 200);
    notify
}

/// A SUBSCRIBE within the dialog.
pub(crate) fn resubscribe(watcher: &Agent, asked: &Sip, ok: &Sip, later: u32, expires: u32) -> Sip {
    watcher
        .within(asked, ok, "SUBSCRIBE")
        .set("CSeq", cseq(asked, later, "SUBSCRIBE"))
        .with("Event", "reg")
        .with("Expires", expires)
}

/// All values of an attribute, in their order.
fn all<'a>(notify: &'a Sip, element: &str, name: &str) -> Vec<&'a str> {
    let begin = format!("<{element}");
    let attribute = |tag: &'a str| {
        let (_, value) = tag.split('>').next()?.split_once(&format!(" {name}=\""))?;
        value.split('"').next()
    };
    notify.body.split(&begin).skip(1).map(|tag| attribute(tag).unwrap_or_default()).collect()
}

/// Version, whether it is the full state, the state of the registration, and the event of each contact.
pub(crate) fn document(notify: &Sip) -> (u32, bool, &str, Vec<&str>) {
    let one = |element: &str, name: &str| all(notify, element, name).first().copied().unwrap_or_default();
    assert_eq!(notify.value("Content-Type"), "application/reginfo+xml");
    assert_eq!(notify.number("Content-Length"), u32::try_from(notify.body.len()).ok());
    let happened = all(notify, "contact", "event");
    let there = all(notify, "contact", "state");
    for (event, state) in happened.iter().zip(there) {
        let active = ["registered", "created", "refreshed"].contains(event);
        assert_eq!(state, if active { "active" } else { "terminated" });
    }
    let version = one("reginfo", "version").parse().unwrap_or(u32::MAX);
    assert_eq!(notify.value("CSeq"), format!("{} NOTIFY", version + 1));
    (version, one("reginfo", "state") == "full", one("registration", "state"), happened)
}

#[test]
fn the_first_notify_has_the_full_state_and_later_ones_the_changes() {
    // checklist 155
    let sim = Simulation::new();
    let (desk, mobile) = (sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    let (asked, ok, first) = watch(&desk);
    assert_eq!(ok.number("Expires"), Some(600));
    assert_eq!(ok.value("Contact"), "<sip:192.0.2.1:5060>");
    assert_eq!(first.uri(), desk.contact());
    assert_eq!(first.value("From"), ok.value("To"));
    assert_eq!(first.value("To"), asked.value("From"));
    assert_eq!((first.value("Event"), first.value("Subscription-State")), ("reg", "active;expires=600"));
    assert_eq!(document(&first), (0, true, "active", vec!["registered"]));
    assert_eq!(all(&first, "registration", "aor"), [BOB]);
    assert_eq!(
        (all(&first, "contact", "expires"), all(&first, "contact", "duration-registered")),
        (vec!["3600"], vec!["0"])
    );
    assert!(first.body.contains(&format!("<uri>{}</uri>", desk.contact())));
    sim.seconds(10);
    mobile.registers_with(";q=0.8;+sip.instance=\"<urn:uuid:1>\"");
    let second = next_notify(&desk);
    assert_eq!(document(&second), (1, false, "active", vec!["registered"]));
    assert_eq!(
        (all(&second, "contact", "q"), all(&second, "contact", "callid")),
        (vec!["0.8"], vec!["register-bob-mobile"])
    );
    assert!(
        second.body.contains("<unknown-param name=\"+sip.instance\">&quot;&lt;urn:uuid:1&gt;&quot;</unknown-param>")
    );
    assert_ne!(all(&first, "contact", "id"), all(&second, "contact", "id"));
    assert_eq!(all(&first, "registration", "id"), all(&second, "registration", "id"));
    sim.seconds(10);
    desk.registers();
    let third = next_notify(&desk);
    assert_eq!(document(&third), (2, false, "active", vec!["refreshed"]));
    assert_eq!(all(&third, "contact", "id"), all(&first, "contact", "id"));
    assert_eq!(third.value("Subscription-State"), "active;expires=580");
    sim.millis(1);
    assert_eq!(sim.count_events(|event| matches!(event, Event::Notified { outcome: Notification::Answered })), 3);
}

#[test]
fn a_user_without_a_phone_can_be_subscribed_to() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    let (.., first) = watch(&desk);
    assert_eq!(document(&first), (0, true, "init", vec![]));
    sim.seconds(5);
    desk.registers();
    assert_eq!(document(&next_notify(&desk)), (1, false, "active", vec!["registered"]));
    sim.seconds(5);
    desk.sends(&desk.register().set("Contact", "*").with("Expires", 0));
    desk.expects("200");
    assert_eq!(document(&next_notify(&desk)), (2, false, "terminated", vec!["unregistered"]));
}

#[test]
fn each_way_a_binding_ends_has_its_event() {
    // checklist 155
    let sim = Simulation::with(|settings| {
        settings.registrar.limits.max_contacts = 2;
        settings.registrar.limits.when_full = WhenFull::ReplaceOldest;
    });
    let [desk, home, mobile] = ["bob/desk", "bob/home", "bob/mobile"].map(|name| sim.udp(name));
    home.registers();
    sim.millis(1);
    desk.registers();
    watch(&desk);
    sim.seconds(5);
    mobile.registers_with(";expires=100");
    let replaced = next_notify(&desk);
    assert_eq!(document(&replaced), (1, false, "active", vec!["deactivated", "registered"]));
    assert!(replaced.body.contains(&home.contact()));
    sim.millis(94_000);
    desk.registers();
    assert_eq!(document(&next_notify(&desk)).3, ["refreshed"]);
    sim.millis(4_500);
    desk.receives_nothing();
    sim.millis(1_500);
    assert_eq!(document(&next_notify(&desk)), (3, false, "active", vec!["expired"]), "as soon as the interval lets it");
    sim.remove("bob", &desk.contact());
    sim.seconds(5);
    assert_eq!(document(&next_notify(&desk)), (4, false, "terminated", vec!["deactivated"]), "an operator did");
}

#[test]
fn configured_contacts_are_reported_as_created_and_rejected_when_removed() {
    // checklist 155
    let door = |contacts: &[(&str, Option<u16>)]| Account {
        contacts: Some(fixed_bindings(contacts.iter().copied())),
        ..Account::default()
    };
    let sim =
        Simulation::with(|settings| drop(settings.accounts.insert(aor("bob"), door(&[("sip:bob@192.0.2.99", None)]))));
    let desk = sim.udp("bob/desk");
    let (.., first) = watch(&desk);
    assert_eq!(document(&first), (0, true, "active", vec!["created"]));
    assert_eq!(all(&first, "contact", "expires"), [""], "it stays");
    sim.seconds(5);
    let contacts = [("sip:bob@192.0.2.98", Some(500))];
    sim.reconfigure(|settings| drop(settings.accounts.insert(aor("bob"), door(&contacts))));
    assert_eq!(document(&next_notify(&desk)), (1, false, "active", vec!["rejected", "created"]));
    sim.seconds(5);
    sim.reconfigure(|_| {});
    desk.receives_nothing();
    desk.sends(&desk.register().set("Contact", "<sip:bob@192.0.2.98>;expires=100"));
    desk.expects("200");
    assert_eq!(document(&next_notify(&desk)), (2, false, "active", vec!["registered"]), "it is the phone's own now");
}

#[test]
fn at_most_one_notify_is_sent_in_five_seconds() {
    // checklist 155
    let sim = Simulation::new();
    let [desk, home, mobile] = ["bob/desk", "bob/home", "bob/mobile"].map(|name| sim.udp(name));
    watch(&desk);
    sim.seconds(2);
    home.registers();
    mobile.registers();
    desk.registers();
    desk.sends(&mobile.register().set("Contact", format_args!("<{}>;expires=0", mobile.contact())));
    desk.expects("200");
    sim.millis(2_000);
    desk.receives_nothing();
    sim.millis(1_000);
    assert_eq!(document(&next_notify(&desk)), (1, false, "active", vec!["registered", "registered"]), "all in one");
    sim.seconds(1);
    home.registers();
    sim.seconds(3);
    desk.receives_nothing();
    sim.seconds(1);
    assert_eq!(document(&next_notify(&desk)), (2, false, "active", vec!["refreshed"]));
}

#[test]
fn a_refresh_sends_the_full_state_at_once() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    desk.registers();
    let (asked, ok, _) = watch(&desk);
    let refresh = resubscribe(&desk, &asked, &ok, 1, 300);
    assert_eq!(refresh.uri(), "sip:192.0.2.1:5060");
    desk.sends(&refresh);
    assert_eq!(desk.expects("200").number("Expires"), Some(300));
    let second = next_notify(&desk);
    assert_eq!(document(&second), (1, true, "active", vec!["registered"]));
    assert_eq!(second.value("Subscription-State"), "active;expires=300");
    // A copy changes nothing, and neither does a request that is out of order.
    desk.sends(&refresh);
    desk.expects("200");
    desk.sends(&resubscribe(&desk, &asked, &ok, 0, 300));
    desk.expects("500");
    desk.receives_nothing();
    // The Contact of a refresh is the target of later NOTIFYs.
    desk.sends(&resubscribe(&desk, &asked, &ok, 2, 300).without("Contact"));
    desk.expects("200");
    assert_eq!(document(&next_notify(&desk)).0, 2);
    let moved = sim.udp("bob/moved");
    desk.sends(&resubscribe(&desk, &asked, &ok, 3, 300).set("Contact", format_args!("<{}>", moved.contact())));
    desk.expects("200");
    assert_eq!(document(&next_notify(&moved)).0, 3);
}

#[test]
fn text_of_a_phone_is_escaped_in_the_xml() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    let contact = "<sip:a&b'@192.0.2.11;x=%3Curi%3E>;note=\"</uri><contact id='1'/>&\"";
    desk.sends(&desk.register().set("Contact", contact).set("Call-ID", "<!--"));
    desk.expects("200");
    let (.., first) = watch(&desk);
    assert!(first.body.contains("<uri>sip:a&amp;b&apos;@192.0.2.11;x=%3Curi%3E</uri>"), "{}", first.body);
    assert!(first.body.contains("&quot;&lt;/uri&gt;&lt;contact id=&apos;1&apos;/&gt;&amp;&quot;"), "{}", first.body);
    assert_eq!(all(&first, "contact", "callid"), ["&lt;!--"]);
}

#[test]
fn several_subscribers_of_one_user_are_notified() {
    // checklist 155
    let sim = Simulation::with_workers(2, |_| {});
    let [desk, home] = ["bob/desk", "bob/home"].map(|name| sim.udp(name));
    watch(&desk);
    watch(home.reaches_worker(1));
    sim.wait(Duration::from_secs(5));
    sim.udp("bob/mobile").registers();
    for phone in [&desk, &home] {
        assert_eq!(document(&next_notify(phone)), (1, false, "active", vec!["registered"]));
    }
    assert_eq!(uri_in(desk.register().value("To")), BOB);
    assert_eq!(desk.address, at(11));
}
