//! The registrar on the wire: RFC 3261 10.3. The rules are implemented and tested in `location`; these scenarios show
//! what a phone receives.

use proxy::{Event, Registration};

use sim::{Agent, Simulation, Sip, StoreState, param, uri_in};

use crate::accounts::aor;

/// The granted time in a Contact; 0 if there is none.
fn expires(contact: &str) -> u32 {
    param(contact, "expires").and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

/// The URIs and expiry times of a 200.
pub(crate) fn bindings(ok: &Sip) -> Vec<(String, u32)> {
    let read = |value: &str| (uri_in(value).to_owned(), expires(value));
    ok.values("Contact").map(read).collect()
}

/// The current bindings.
pub(crate) fn query(phone: &Agent) -> Vec<(String, u32)> {
    phone.sends(&phone.register().without("Contact"));
    bindings(&phone.expects("200"))
}

#[test]
fn a_register_creates_a_binding() {
    // checklist 22, 23, 30, 110
    let sim = Simulation::with(|settings| {
        settings.domains = vec!["munich.de".into()];
        settings.aliases = vec!["registrar.munich.de".into()];
    });
    let werner = sim.udp("werner.heisenberg");
    werner.sends_from("192.0.2.70:5060".parse().unwrap());
    werner.sends_raw(
        "REGISTER sip:registrar.munich.de SIP/2.0\r\n\
         Via: SIP/2.0/UDP 200.201.202.203:5060;branch=z9hG4bKus19\r\n\
         Max-Forwards: 70\r\n\
         To: Werner Heisenberg <sip:werner.heisenberg@munich.de>\r\n\
         From: Werner Heisenberg <sip:werner.heisenberg@munich.de>\r\n ;tag=3431\r\n\
         Call-ID: 23@200.201.202.203\r\n\
         CSeq: 1 REGISTER\r\n\
         Contact: sip:werner.heisenberg@200.201.202.203\r\n\
         Content-Length: 0\r\n\r\n",
    );
    let ok = werner.expects("200");
    let via = "SIP/2.0/UDP 200.201.202.203:5060;branch=z9hG4bKus19;received=192.0.2.70";
    assert_eq!(ok.value("Via"), via);
    assert!(ok.value("To").starts_with("Werner Heisenberg <sip:werner.heisenberg@munich.de>;tag="));
    assert!(ok.to_string().contains("From: Werner Heisenberg <sip:werner.heisenberg@munich.de>\r\n ;tag=3431\r\n"));
    assert_eq!(ok.value("Call-ID"), "23@200.201.202.203");
    assert_eq!(ok.value("CSeq"), "1 REGISTER");
    assert_eq!(bindings(&ok), [("sip:werner.heisenberg@200.201.202.203".to_owned(), 3600)]);
    assert!(ok.value("Date").ends_with(" GMT"), "{ok}");
    assert!(!ok.has("Record-Route"));
}

#[test]
fn several_phones_of_one_user_are_registered() {
    // checklist 11, 18, 22, 24, 25
    let sim = Simulation::new();
    let (desk, mobile) = (sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.sends(&desk.register().set("Contact", format_args!("<{}>;q=0.5;expires=600", desk.contact())));
    let ok = desk.expects("200");
    assert_eq!(ok.param("Contact", "q"), Some("0.5"));
    mobile.sends(&mobile.register().with("Expires", 1200));
    let ok = mobile.expects("200");
    assert_eq!(ok.values("Contact").count(), 2);
    assert_eq!(ok.values("Contact").nth(1).and_then(|value| param(value, "q")), None, "no q is no q=0");
    sim.seconds(100);
    assert_eq!(query(&desk), [(desk.contact(), 500), (mobile.contact(), 1100)]);
    // Once more, with an Expires beside the parameter.
    desk.sends(&desk.register().set("Contact", format_args!("<{}>;expires=0", desk.contact())).with("Expires", 900));
    assert_eq!(bindings(&desk.expects("200")), [(mobile.contact(), 1100)]);
    sim.seconds(1101);
    assert_eq!(query(&desk), []);
}

#[test]
fn star_removes_all_contacts() {
    // checklist 12, 13
    let sim = Simulation::new();
    let (desk, mobile) = (sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let star = |phone: &Agent| phone.register().set("Contact", "*");
    for bad in
        [star(&desk), star(&desk).with("Expires", 60), star(&desk).with("Expires", 0).with("Contact", "<sip:x@y>")]
    {
        desk.sends(&bad);
        assert!(desk.expects("400").reason().contains("Contact"));
    }
    assert_eq!(query(&desk).len(), 2);
    desk.sends(&star(&desk).with("Expires", 0));
    assert_eq!(bindings(&desk.expects("200")), []);
    assert_eq!(
        sim.count_events(|event| matches!(event, Event::Registration { outcome: Registration::Unregistered, .. })),
        1
    );
}

#[test]
fn the_expiry_is_limited_by_the_settings() {
    // checklist 14, 15, 16
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    let ask = |params: &str, header: Option<&str>| {
        let request = bob.register().set("Contact", format_args!("<{}>{params}", bob.contact()));
        bob.sends(&header.into_iter().fold(request, |request, value| request.with("Expires", value)));
    };
    for (params, header, granted) in [
        (";expires=600", Some("900"), 600),
        ("", Some("900"), 900),
        ("", None, 3600),
        ("", Some("soon"), 3600),
        ("", Some("4294967295"), 7200),
        (";expires=60", None, 60),
    ] {
        ask(params, header);
        assert_eq!(bindings(&bob.expects("200"))[0].1, granted, "{params} {header:?}");
    }
    ask(";expires=59", None);
    assert_eq!(bob.expects("423").value("Min-Expires"), "60");
}

#[test]
fn an_out_of_order_request_changes_nothing() {
    // checklist 3, 19, 20
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    let first = bob.register();
    let second = bob.register().set("Contact", format_args!("<{}>;expires=0", bob.contact()));
    bob.registers();
    bob.sends(&first);
    assert_eq!(bob.expects("500").method(), "REGISTER");
    bob.sends(&second);
    bob.expects("500");
    assert_eq!(query(&bob).len(), 1);
}

#[test]
fn a_merged_request_gets_482() {
    // checklist 19, 104: RFC 3261 8.2.2.2, while the transaction of the first one lasts; later it is out of order.
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    for change in [bob.register(), bob.register().with("Expires", 0)] {
        bob.sends(&change);
        bob.expects("200");
        let other = change.clone().set("Via", change.value("Via").replace("z9hG4bK", "z9hG4bKx"));
        bob.sends(&other);
        assert_eq!(bob.expects("482").branch(), other.branch());
    }
    let register = bob.register();
    bob.sends(&register);
    bob.expects("200");
    sim.seconds(33);
    bob.sends(&register.clone().set("Via", register.value("Via").replace("z9hG4bK", "z9hG4bKx")));
    bob.expects("500");
}

#[test]
fn a_retransmission_gets_the_same_response() {
    // checklist 26
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    let register = bob.register();
    bob.sends(&register);
    let ok = bob.expects("200");
    bob.sends(&register);
    let again = bob.expects("200");
    assert_eq!(again.value("To"), ok.value("To"));
    assert_eq!(bindings(&again), bindings(&ok));
    sim.seconds(10);
    bob.sends(&register);
    assert_eq!(bindings(&bob.expects("200"))[0].1, 3590, "not applied again");
}

#[test]
fn a_retransmission_is_recognised_by_the_stored_binding() {
    // checklist 21, 26: the change of the first request may not be durable yet.
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    let register = bob.register();
    bob.sends(&register);
    bob.expects("200");
    sim.store(StoreState::ReadOnly, 0);
    bob.sends(&register);
    bob.expects("500");
    bob.sends(&bob.register().without("Contact"));
    assert_eq!(bindings(&bob.expects("200")).len(), 1, "a question changes nothing and waits for nothing");
}

#[test]
fn a_register_changes_all_contacts_or_none() {
    // checklist 3, 21, 28
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    let contacts = |range: std::ops::Range<u8>, request: Sip| {
        range.fold(request.without("Contact"), |request, host| {
            request.with("Contact", format!("<sip:bob@192.0.2.{host}>"))
        })
    };
    bob.sends(&contacts(100..109, bob.register()));
    assert_eq!(bindings(&bob.expects("200")).len(), 9);
    bob.sends(&contacts(110..112, bob.register()));
    bob.expects("403");
    assert_eq!(query(&bob).len(), 9);
    bob.sends(&contacts(120..121, bob.register()).with("Contact", "<sip:bob@192.0.2.121>;expires=5"));
    bob.expects("423");
    assert_eq!(query(&bob).len(), 9);
}

#[test]
fn the_expiry_is_spread_if_configured() {
    // checklist 16
    let sim = Simulation::with(|settings| settings.registrar.limits.jitter = 10);
    let mut granted = Vec::new();
    for number in 0..20 {
        let bob = sim.udp(&format!("bob{number}"));
        let register = bob.register();
        bob.sends(&register);
        let first = bob.expects("200");
        bob.sends(&register);
        assert_eq!(bindings(&bob.expects("200")), bindings(&first), "a copy gets the same");
        granted.push(bindings(&first)[0].1);
    }
    assert!(granted.iter().all(|seconds| (3240..=3600).contains(seconds)), "{granted:?}");
    granted.sort_unstable();
    granted.dedup();
    assert!(granted.len() > 10, "{granted:?}");
}

#[test]
fn without_authentication_only_listed_users_may_register() {
    // checklist 9, 46
    let sim = Simulation::with(|settings| {
        settings.accounts.insert(aor("alice"), proxy::Account::default());
    });
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    alice.registers();
    bob.sends(&bob.register());
    bob.expects("404");
    bob.sends(&bob.register().set("To", "<sip:bob@elsewhere.example>"));
    bob.expects("404");
    alice.calls("bob");
    alice.expects("404");
    alice.sends(&alice.register().set("Contact", "*").with("Expires", 0));
    alice.expects("200");
    alice.calls("alice");
    alice.expects("480");
}

#[test]
fn a_failing_store_gets_500_and_nothing_changes() {
    // checklist 21
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    bob.registers();
    sim.store(StoreState::ReadOnly, 0);
    bob.sends(&bob.register().set("Contact", "<sip:bob@192.0.2.200>"));
    bob.expects("500");
    sim.store(StoreState::Broken, 0);
    bob.sends(&bob.register());
    bob.expects("500");
    sim.store(StoreState::Working, 0);
    assert_eq!(query(&bob).len(), 1);
    assert_eq!(sim.count_events(|event| matches!(event, Event::Registration { outcome: Registration::Failed, .. })), 2);
}

#[test]
fn a_full_store_gets_503_with_retry_after() {
    // checklist 21
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    bob.registers();
    sim.store(StoreState::Full, 0);
    bob.sends(&bob.register().set("Contact", "<sip:bob@192.0.2.200>"));
    assert!(bob.expects("503").value("Retry-After").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    sim.store(StoreState::Working, 0);
    assert_eq!(query(&bob).len(), 1, "the old binding stays");
    assert_eq!(sim.count_events(|event| matches!(event, Event::Registration { outcome: Registration::Failed, .. })), 1);
}

#[test]
fn two_workers_can_register_the_same_user_at_once() {
    // checklist 3, 4
    let sim = Simulation::with_workers(3, |settings| settings.registrar.limits.max_contacts = 2);
    sim.store(StoreState::Working, 5);
    let phones = ["bob/a", "bob/b", "bob/c"].map(|name| sim.udp(name));
    for (worker, phone) in phones.iter().enumerate() {
        phone.reaches_worker(worker).sends(&phone.register());
    }
    sim.millis(60);
    let answers: Vec<_> = phones.iter().map(|phone| phone.all_received().remove(0).what().to_owned()).collect();
    assert_eq!(answers.iter().filter(|what| *what == "200").count(), 2, "{answers:?}");
    assert_eq!(answers.iter().filter(|what| *what == "403").count(), 1, "the limit holds for all: {answers:?}");
    assert_eq!(query(&phones[0]).len(), 2);
}

#[test]
fn copies_of_a_register_on_two_workers_count_once() {
    // checklist 26
    let sim = Simulation::with_workers(2, |_| {});
    sim.store(StoreState::Working, 5);
    let bob = sim.udp("bob");
    let register = bob.register();
    bob.sends(&register);
    bob.reaches_worker(1).sends(&register);
    let (first, second) = (bob.expects("200"), bob.expects("200"));
    assert_eq!(bindings(&first), bindings(&second));
}

#[test]
fn the_date_is_the_wall_clock_and_nothing_expires_by_it() {
    for ahead in [0, i64::MIN, 86_400_000] {
        let sim = Simulation::with(move |settings| settings.registrar.clock_ahead = ahead);
        let bob = sim.udp("bob");
        bob.sends(&bob.register());
        let ok = bob.expects("200");
        assert!(ok.value("Contact").contains("expires=3600"), "{ahead}: {ok}");
        assert_eq!(ok.value("Date").contains(" 1970 00:00:00 GMT"), ahead == i64::MIN, "{ahead}: {ok}");
    }
}
