//! Record-Route in NOTIFY (RFC 6665 4.3): the route set of the subscriber comes from the NOTIFY.

use proxy::{Account, Authentication, fixed_bindings};

use sim::{Agent, DOMAIN, Login, Simulation, Sip, uri_in};

use crate::accounts::aor;

/// A NOTIFY in the dialog of a SUBSCRIBE, which may arrive before its 2xx.
fn notify(notifier: &Agent, subscribe: &Sip, ok: &Sip) -> Sip {
    notifier
        .within_as_callee(subscribe, ok, "NOTIFY")
        .with("Event", "conference")
        .with("Subscription-State", "active;expires=600")
}

/// A request of the subscriber in the dialog that a NOTIFY created (RFC 6665 4.4.1, RFC 3261 12.1.1).
fn within_notify(subscriber: &Agent, notify: &Sip, method: &str) -> Sip {
    let request = subscriber.request(method, uri_in(notify.value("Contact")));
    let request = notify.values("Record-Route").fold(request, |request, route| request.with("Route", route));
    request.set("From", notify.value("To")).set("To", notify.value("From")).set("Call-ID", notify.value("Call-ID"))
}

fn subscribe(subscriber: &Agent) -> Sip {
    subscriber.request("SUBSCRIBE", "sip:bob@office.example").with("Event", "conference").with("Expires", 600)
}

#[test]
fn each_notifier_of_a_forked_subscribe_is_refreshed_over_the_route_of_its_notify() {
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.tcp("bob/mobile"));
    desk.registers();
    mobile.registers();
    alice.sends(&subscribe(&alice));
    let received = [desk.expects("SUBSCRIBE"), mobile.expects("SUBSCRIBE")];
    // Both accept it, and only one 2xx is forwarded.
    let phones = [&desk, &mobile];
    let oks = [0, 1].map(|at| phones[at].answers(&received[at], 200));
    alice.expects("200");
    alice.receives_nothing();
    for at in [0, 1] {
        let phone = phones[at];
        let notify = notify(phone, &received[at], &oks[at]);
        phone.sends(&notify);
        let made = alice.expects("NOTIFY");
        assert!(!made.has("Route"));
        let recorded: Vec<_> = made.values("Record-Route").collect();
        assert_eq!(recorded.len(), received[at].values("Record-Route").count(), "{made}");
        alice.answers(&made, 200);
        phone.expects("200");
        let refresh = within_notify(&alice, &made, "SUBSCRIBE").with("Event", "conference");
        alice.sends(&refresh);
        let refreshed = phone.expects("SUBSCRIBE");
        assert_eq!((refreshed.uri(), refreshed.has("Route")), (phone.contact().as_str(), false));
        phone.answers(&refreshed, 200);
        alice.expects("200");
    }
}

#[test]
fn requests_to_the_notifier_go_to_its_contact() {
    // Its Contact is another host than the one that the SUBSCRIBE went to: a presence server behind a proxy. The server
    // does not register, because a phone of a user may not register the host of another.
    let alice_login = Login { user: "alice", password: "wonder land" };
    let sim = Simulation::with(|settings| {
        settings.authentication = Authentication::Required;
        let aor = |user: &str| aor(user);
        settings.accounts.insert(aor("alice"), alice_login.account(DOMAIN));
        let contacts = Some(fixed_bindings([("sip:bob@192.0.2.12", None)]));
        settings.accounts.insert(aor("bob"), Account { contacts, ..Account::default() });
    });
    let (alice, bob, server) = (sim.udp("alice"), sim.udp("bob"), sim.udp("server"));
    alice.authenticates(alice_login, &subscribe(&alice));
    let received = bob.expects("SUBSCRIBE");
    let ok = bob.answer(&received, 200);
    let contact = format!("<sip:presence@{}>", server.address);
    bob.sends(&notify(&bob, &received, &ok).set("Contact", &contact));
    let made = alice.expects("NOTIFY");
    alice.sends(&within_notify(&alice, &made, "SUBSCRIBE").with("Event", "conference"));
    assert_eq!(server.expects("SUBSCRIBE").uri(), uri_in(&contact));
    // Only alice may use it, from its address.
    let mallory = sim.udp("mallory");
    let stolen = within_notify(&alice, &made, "SUBSCRIBE").set("Via", mallory.via());
    mallory.sends(&stolen);
    mallory.expects("407");
    server.receives_nothing();
    sim.skip_final_check();
}

#[test]
fn a_notify_outside_of_our_dialogs_gets_no_record_route() {
    // RFC 6665 4.3: a proxy without a Record-Route in the SUBSCRIBE must not add one to its NOTIFY.
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    for route in [None, Some("<sip:192.0.2.1;lr>"), Some("<sip:0123456789@192.0.2.1;lr>")] {
        for tag in ["", ";tag=1"] {
            let mut notify = alice.request("NOTIFY", "sip:bob@office.example").with("Event", "message-summary");
            let to = format!("{}{tag}", notify.value("To"));
            notify = notify.set("To", to);
            notify = route.iter().fold(notify, |notify, route| notify.with("Route", route));
            alice.sends(&notify);
            let received = bob.expects("NOTIFY");
            assert!(!received.has("Record-Route"), "{received}");
        }
    }
}

#[test]
fn the_notify_of_a_refer_within_a_call_keeps_the_call() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    bob.expects("ACK");
    alice.sends(&alice.within(&invite, &ok, "REFER").with("Refer-To", "<sip:carol@office.example>"));
    let refer = bob.expects("REFER");
    assert!(!refer.has("Record-Route"));
    bob.answers(&refer, 202);
    alice.expects("202");
    for (phone, other, request) in [
        (&bob, &alice, bob.within_as_callee(&invite, &ok, "NOTIFY")),
        (&alice, &bob, alice.within(&invite, &ok, "NOTIFY")),
    ] {
        phone.sends(&request.with("Event", "refer").with("Subscription-State", "active"));
        let notify = other.expects("NOTIFY");
        assert!(notify.has("Record-Route"));
        other.answers(&notify, 200);
        phone.expects("200");
        other.sends(&within_notify(other, &notify, "INFO"));
        let info = phone.expects("INFO");
        phone.answers(&info, 200);
        other.expects("200");
    }
}
