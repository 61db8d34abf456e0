//! Registration events: the `reg` event package (RFC 3680) with the rules of RFC 6665.

use std::time::Duration;

use location::{Aor, WhenFull};
use proxy::{Account, Accounts, Authentication, Event, Limit, Notification, Settings, fixed_bindings};

use sim::{Agent, DOMAIN, Login, Simulation, Sip, at, cseq, uri_in};

const BOB: &str = "sip:bob@office.example";

/// A SUBSCRIBE to a user for ten minutes.
fn subscribe(watcher: &Agent, aor: &str) -> Sip {
    watcher.request("SUBSCRIBE", aor).with("Event", "reg").with("Expires", 600)
}

/// bob subscribes to himself from the desk phone. Returns the SUBSCRIBE, its 200, and the first NOTIFY, which has been
/// answered.
fn watch(desk: &Agent) -> (Sip, Sip, Sip) {
    let asked = subscribe(desk, BOB);
    desk.sends(&asked);
    let ok = desk.expects("200");
    (asked, ok, told(desk))
}

/// The next NOTIFY, after it has been answered.
fn told(watcher: &Agent) -> Sip {
    let notify = watcher.expects("NOTIFY");
    watcher.answers(&notify, 200);
    notify
}

/// A SUBSCRIBE within the dialog.
fn again(watcher: &Agent, asked: &Sip, ok: &Sip, later: u32, expires: u32) -> Sip {
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
fn document(notify: &Sip) -> (u32, bool, &str, Vec<&str>) {
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

fn aor(user: &str) -> Aor {
    Aor::new(user.as_bytes(), DOMAIN.as_bytes())
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
    let second = told(&desk);
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
    let third = told(&desk);
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
    assert_eq!(document(&told(&desk)), (1, false, "active", vec!["registered"]));
    sim.seconds(5);
    desk.sends(&desk.register().set("Contact", "*").with("Expires", 0));
    desk.expects("200");
    assert_eq!(document(&told(&desk)), (2, false, "terminated", vec!["unregistered"]));
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
    let replaced = told(&desk);
    assert_eq!(document(&replaced), (1, false, "active", vec!["deactivated", "registered"]));
    assert!(replaced.body.contains(&home.contact()));
    sim.millis(94_000);
    desk.registers();
    assert_eq!(document(&told(&desk)).3, ["refreshed"]);
    sim.millis(4_500);
    desk.receives_nothing();
    sim.millis(1_500);
    assert_eq!(document(&told(&desk)), (3, false, "active", vec!["expired"]), "as soon as the interval lets it");
    sim.remove("bob", &desk.contact());
    sim.seconds(5);
    assert_eq!(document(&told(&desk)), (4, false, "terminated", vec!["deactivated"]), "an operator did");
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
    assert_eq!(document(&told(&desk)), (1, false, "active", vec!["rejected", "created"]));
    sim.seconds(5);
    sim.reconfigure(|_| {});
    desk.receives_nothing();
    desk.sends(&desk.register().set("Contact", "<sip:bob@192.0.2.98>;expires=100"));
    desk.expects("200");
    assert_eq!(document(&told(&desk)), (2, false, "active", vec!["registered"]), "it is the phone's own now");
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
    assert_eq!(document(&told(&desk)), (1, false, "active", vec!["registered", "registered"]), "all in one");
    sim.seconds(1);
    home.registers();
    sim.seconds(3);
    desk.receives_nothing();
    sim.seconds(1);
    assert_eq!(document(&told(&desk)), (2, false, "active", vec!["refreshed"]));
}

#[test]
fn a_refresh_sends_the_full_state_at_once() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    desk.registers();
    let (asked, ok, _) = watch(&desk);
    let refresh = again(&desk, &asked, &ok, 1, 300);
    assert_eq!(refresh.uri(), "sip:192.0.2.1:5060");
    desk.sends(&refresh);
    assert_eq!(desk.expects("200").number("Expires"), Some(300));
    let second = told(&desk);
    assert_eq!(document(&second), (1, true, "active", vec!["registered"]));
    assert_eq!(second.value("Subscription-State"), "active;expires=300");
    // A copy changes nothing, and neither does a request that is out of order.
    desk.sends(&refresh);
    desk.expects("200");
    desk.sends(&again(&desk, &asked, &ok, 0, 300));
    desk.expects("500");
    desk.receives_nothing();
    // The Contact of a refresh is the target of later NOTIFYs.
    desk.sends(&again(&desk, &asked, &ok, 2, 300).without("Contact"));
    desk.expects("200");
    assert_eq!(document(&told(&desk)).0, 2);
    let moved = sim.udp("bob/moved");
    desk.sends(&again(&desk, &asked, &ok, 3, 300).set("Contact", format_args!("<{}>", moved.contact())));
    desk.expects("200");
    assert_eq!(document(&told(&moved)).0, 3);
}

#[test]
fn an_unsubscribe_gets_a_last_notify() {
    // checklist 155
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    desk.registers();
    let (asked, ok, _) = watch(&desk);
    let goodbye = again(&desk, &asked, &ok, 1, 0);
    desk.sends(&goodbye);
    assert_eq!(desk.expects("200").number("Expires"), Some(0));
    let last = told(&desk);
    assert_eq!(document(&last), (1, true, "active", vec!["registered"]));
    assert_eq!(last.value("Subscription-State"), "terminated;reason=timeout");
    desk.sends(&goodbye);
    desk.expects("200");
    desk.sends(&again(&desk, &asked, &ok, 2, 600));
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
    let only = told(&desk);
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
    let last = told(&desk);
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
    desk.sends(&again(&desk, &asked, &ok, 1, 600));
    desk.expects("200");
    told(&desk);
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
    assert_eq!(document(&told(&desk)), (1, false, "active", vec!["registered"]));
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
            assert_eq!(document(&told(&desk)), (2, true, "active", vec!["registered"]), "what was lost is made up for");
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
    desk.sends(&again(&desk, &asked, &ok, 1, 600));
    desk.expects("200");
    assert_eq!(document(&told(&desk)), (1, true, "init", vec![]));
    desk.answers(&unanswered, 481);
    sim.seconds(5);
    desk.registers();
    assert_eq!(document(&told(&desk)).0, 2, "that was of another time");
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
    assert_eq!(refused(server, "489").value("Allow-Events"), "reg");
    assert_eq!(sim.load(0).subscriptions, 0);
    for accept in ["application/reginfo+xml", "text/plain, Application/*", "*/*;q=0.1"] {
        desk.sends(&asked().set("Expires", 0).with("Accept", accept));
        desk.expects("200");
        told(&desk);
    }
    let (asked, ok, _) = watch(&desk);
    desk.sends(&again(&desk, &asked, &ok, 1, 600).set("Event", "reg;id=2"));
    desk.expects("481");
    desk.sends(&again(&desk, &asked, &ok, 1, 600).set("From", "<sip:eve@office.example>;tag=x"));
    desk.expects("481");
}

#[test]
fn other_event_packages_are_forwarded_to_the_phone() {
    // checklist 155
    let sim = Simulation::new();
    let (alice, desk) = (sim.udp("alice"), sim.udp("bob/desk"));
    desk.registers();
    for event in ["presence", "message-summary", "reg.winfo"] {
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
    assert_eq!((ok.value("Allow"), ok.value("Allow-Events")), ("OPTIONS, REGISTER, SUBSCRIBE", "reg"));
}

const ALICE: Login<'_> = Login { user: "alice", password: "wonderland" };
const CAROL: Login<'_> = Login { user: "carol", password: "calendar" };

/// alice may subscribe to bob; carol may not.
fn secured(settings: &mut Settings) {
    settings.authentication = Authentication::Required;
    let alice = Account { may_watch: vec![aor("bob")], ..ALICE.account(DOMAIN) };
    for (user, account) in [("alice", alice), ("bob", Account::default()), ("carol", CAROL.account(DOMAIN))] {
        settings.accounts.insert(aor(user), account);
    }
}

/// Subscribes with credentials. Returns the second SUBSCRIBE.
fn prove(watcher: &Agent, login: Login<'_>, uri: &str) -> Sip {
    watcher.sends(&subscribe(watcher, uri));
    let refused = watcher.expects("401");
    let asked = subscribe(watcher, uri);
    let answer = login.answer(&refused, "SHA-256", &asked, 1);
    let asked = asked.with("Authorization", answer);
    watcher.sends(&asked);
    asked
}

#[test]
fn only_permitted_users_may_subscribe() {
    // checklist 155
    let sim = Simulation::with(secured);
    let (alice, carol) = (sim.udp("alice"), sim.udp("carol"));
    prove(&carol, CAROL, BOB);
    assert_eq!(carol.expects("403").reason(), "Not allowed to watch this user");
    prove(&carol, CAROL, "sip:carol@office.example");
    carol.expects("200");
    told(&carol);
    let asked = prove(&alice, ALICE, BOB);
    let ok = alice.expects("200");
    told(&alice);
    // A copy of it is not a replay. A refresh needs no password, because the dialog is sufficient.
    alice.sends(&asked);
    alice.expects("200");
    alice.sends(&again(&alice, &asked, &ok, 1, 600));
    alice.expects("200");
    told(&alice);
    alice.receives_nothing();
    // It only says that the subscription was terminated.
    sim.seconds(5);
    sim.reconfigure(|settings| drop(settings.accounts.insert(aor("alice"), ALICE.account(DOMAIN))));
    let last = told(&alice);
    assert_eq!(last.value("Subscription-State"), "terminated;reason=rejected");
    assert_eq!(document(&last), (2, true, "init", vec![]));
}

#[test]
fn a_notify_goes_to_the_host_that_subscribed() {
    // It is longer than the SUBSCRIBE and retransmitted until there is a response, so it could flood another host.
    let sim = Simulation::with(secured);
    let (alice, victim) = (sim.udp("alice"), sim.udp("victim"));
    sim.dns("victim.test", &[victim.address]);
    let asks = |name: &str, value: &str| {
        let asked = || subscribe(&alice, BOB).set(name, value);
        alice.sends(&asked());
        let refused = alice.expects("401");
        let again = asked();
        alice.sends(&again.clone().with("Authorization", ALICE.answer(&refused, "SHA-256", &again, 1)));
    };
    let contact = format!("<sip:alice@{}>", victim.address);
    asks("Contact", &contact);
    alice.expects("403");
    asks("Record-Route", &format!("<sip:{};lr>", victim.address));
    alice.expects("403");
    asks("Contact", "<sip:alice@victim.test>");
    alice.expects("200");
    let asked = prove(&alice, ALICE, BOB);
    let ok = alice.expects("200");
    told(&alice);
    alice.sends(&again(&alice, &asked, &ok, 1, 600).set("Contact", contact));
    alice.expects("403");
    victim.receives_nothing();
}

#[test]
fn a_refresh_without_permission_is_refused() {
    // checklist 155
    let sim = Simulation::with(secured);
    let alice = sim.udp("alice");
    let asked = prove(&alice, ALICE, BOB);
    let ok = alice.expects("200");
    told(&alice);
    sim.reconfigure(|settings| drop(settings.accounts.insert(aor("alice"), ALICE.account(DOMAIN))));
    alice.sends(&again(&alice, &asked, &ok, 1, 600));
    alice.expects("403");
    assert_eq!(told(&alice).value("Subscription-State"), "terminated;reason=rejected");
}

#[test]
fn a_subscription_ends_when_the_account_changes() {
    // checklist 155
    let changed = Login { password: "looking-glass", ..CAROL };
    let changes: [fn(&mut Settings, Login<'_>); 2] = [
        |settings, changed| drop(settings.accounts.insert(aor("carol"), changed.account(DOMAIN))),
        |settings, _| {
            settings.accounts = Accounts::default();
            settings.accounts.insert(aor("bob"), Account::default());
        },
    ];
    for change in changes {
        let sim = Simulation::with(secured);
        let carol = sim.udp("carol");
        prove(&carol, CAROL, "sip:carol@office.example");
        carol.expects("200");
        told(&carol);
        sim.seconds(5);
        sim.reconfigure(|settings| settings.authentication = Authentication::Required);
        carol.receives_nothing();
        sim.reconfigure(|settings| change(settings, changed));
        assert_eq!(told(&carol).value("Subscription-State"), "terminated;reason=rejected");
    }
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    watch(&desk);
    sim.seconds(5);
    sim.reconfigure(secured);
    assert_eq!(told(&desk).value("Subscription-State"), "terminated;reason=rejected", "he never had to prove it");
}

#[test]
fn without_authentication_the_from_names_the_subscriber() {
    // checklist 155
    let sim = Simulation::new();
    let (alice, stranger) = (sim.udp("alice"), sim.udp("bob"));
    alice.sends(&subscribe(&alice, BOB));
    alice.expects("403");
    stranger.sends(&subscribe(&stranger, BOB).set("From", "<sip:bob@elsewhere.example>;tag=1"));
    stranger.expects("403");
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.authentication = Authentication::Off;
    });
    let (alice, nobody) = (sim.udp("alice"), sim.udp("nobody"));
    alice.sends(&subscribe(&alice, BOB));
    alice.expects("200");
    told(&alice);
    nobody.sends(&subscribe(&nobody, "sip:nobody@office.example"));
    nobody.expects("404");
}

#[test]
fn a_trusted_network_may_not_subscribe_without_credentials() {
    // checklist 155
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.trusted = vec!["192.0.2.0/24".parse().unwrap()];
    });
    let alice = sim.udp("alice");
    alice.sends(&subscribe(&alice, BOB));
    alice.expects("401");
}

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
    desk.sends(&again(&desk, &asked, &ok, 1, 600));
    assert_eq!(desk.expects("200").value("To"), ok.value("To"));
    assert_eq!(document(&told(&desk)), (2, true, "active", vec!["registered"]));
    assert_eq!([0, 1, 2].map(|worker| sim.load(worker).subscriptions), [0, 1, 0]);
}

#[test]
fn a_nonce_of_another_worker_is_accepted() {
    // checklist 155
    let sim = Simulation::with_workers(2, secured);
    let alice = sim.udp("alice");
    alice.sends(&subscribe(&alice, BOB));
    let refused = alice.expects("401");
    let asked = subscribe(&alice, BOB);
    let answer = ALICE.answer(&refused, "SHA-256", &asked, 1);
    let asked = asked.with("Authorization", &answer);
    alice.reaches_worker(1).sends(&asked);
    let ok = alice.expects("200");
    told(&alice);
    // The nonce of one worker and the dialog of another would be handed over in circles.
    alice.sends(&again(&alice, &asked, &ok, 1, 600).with("Authorization", &answer));
    alice.expects("200");
    told(&alice);
    assert_eq!([0, 1].map(|worker| sim.load(worker).subscriptions), [1, 0]);
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
        let notify = told(&edge);
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
    assert_eq!(document(&told(&app)), (0, true, "init", vec![]));
    // Before DNS has answered, the subscriber changes its Contact.
    let asked = subscribe(&desk, BOB).set("Contact", "<sip:bob@app.office.test>");
    desk.sends(&asked);
    let ok = desk.expects("200");
    desk.sends(&again(&desk, &asked, &ok, 1, 600));
    desk.expects("200");
    assert_eq!(document(&told(&desk)), (0, true, "init", vec![]));
    app.receives_nothing();
    desk.sends(&subscribe(&desk, BOB).set("Contact", "<sip:bob@nowhere.test>"));
    desk.expects("200");
    sim.seconds(1);
    assert_eq!(sim.count_events(|event| matches!(event, Event::Notified { outcome: Notification::Unanswered })), 1);
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
    assert_eq!(document(&told(&desk)), (0, true, "active", vec!["registered"]));
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
fn the_number_of_subscriptions_is_limited() {
    // checklist 155
    let sim = Simulation::with(|settings| settings.limits.subscriptions = 1);
    let desk = sim.udp("bob/desk");
    let (asked, ok, _) = watch(&desk);
    desk.sends(&subscribe(&desk, BOB));
    assert_eq!(desk.expects("503").number("Retry-After"), Some(10));
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Subscriptions))), 1);
    desk.sends(&again(&desk, &asked, &ok, 1, 600));
    desk.expects("200");
    told(&desk);
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
    told(&alice);
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
        assert_eq!(document(&told(phone)), (1, false, "active", vec!["registered"]));
    }
    assert_eq!(uri_in(desk.register().value("To")), BOB);
    assert_eq!(desk.address, at(11));
}
