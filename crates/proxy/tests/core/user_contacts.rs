//! A Contact that names another local user, as a phone registers that forwards its calls, is followed to the phones of
//! that user. Contacts with a header part: it is kept and never used.

use std::time::Duration;

use proxy::{Account, Event, Limit, SingleTarget, fixed_bindings};

use sim::{Agent, Simulation, sequential};

use crate::accounts::aor;

/// Registers these Contacts in addition to those of the user.
fn adds(phone: &Agent, contacts: &str) {
    phone.sends(&phone.register().set("Contact", contacts));
    phone.expects("200");
}

#[test]
fn a_contact_that_names_a_user_leads_to_the_phones_of_that_user() {
    for uri in [
        "sip:bob@office.example",
        "sip:bob@sip.office.example",
        "sip:bob@192.0.2.1",
        "sip:bob@192.0.2.1:5060;transport=tcp",
        "sip:bob@OFFICE.example.",
    ] {
        let sim = Simulation::new();
        let (alice, bob, carol) = (sim.udp("alice"), sim.udp("bob"), sim.udp("carol"));
        bob.registers();
        // It leads to one phone, so the call stays stateless.
        adds(&alice, &format!("<{uri}>"));
        let message = carol.request("MESSAGE", &alice.aor());
        carol.sends(&message);
        let received = bob.expects("MESSAGE");
        assert_eq!(received.uri(), bob.contact(), "{uri}");
        bob.answers(&received, 200);
        carol.expects("200");
        // Both are targets of a call.
        alice.registers();
        let (_, [at_alice, at_bob]) = carol.calls_phones("alice", [&alice, &bob]);
        alice.answers(&at_alice, 180);
        carol.expects("180");
        bob.answers(&at_bob, 200);
        carol.expects("200");
        let cancel = alice.expects("CANCEL");
        alice.answers(&cancel, 200);
        alice.answers(&at_alice, 487);
        alice.expects("ACK");
    }
}

#[test]
fn only_the_own_address_of_record_is_refused() {
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    for own in [
        "sip:alice@office.example",
        "sip:%61lice@sip.office.example",
        "sip:alice@192.0.2.1",
        "sip:office.example",
        "sip:192.0.2.1:5060",
        "sip:alice@office.example;x=y?Subject=z",
        "sip:x@198.51.100.9;maddr=192.0.2.1",
        "sip:bob@office.example;gr=made-up",
    ] {
        alice.sends(&alice.register().set("Contact", format_args!("<{own}>")));
        assert_eq!(alice.expects("403").reason(), "Contact leads back to this server", "{own}");
    }
    // Names that only resemble a local user are not followed.
    for other in ["sip:bob@office.example", "sip:ALICE@office.example", "sip:bob@192.0.2.99:5099"] {
        adds(&alice, &format!("<{other}>"));
    }
}

#[test]
fn a_gruu_of_another_user_is_accepted_and_an_own_one_is_refused() {
    let sim = Simulation::new();
    let (alice, bob, other, carol) = (sim.udp("alice"), sim.udp("bob"), sim.udp("bob/other"), sim.udp("carol"));
    let gruus = |phone: &Agent| {
        let contact = format!("<{}>;+sip.instance=\"<urn:uuid:{}>\"", phone.contact(), phone.address.ip());
        phone.sends(&phone.register().set("Contact", contact).with("Supported", "gruu"));
        let ok = phone.expects("200");
        ["pub-gruu=\"", "temp-gruu=\""].map(|name| {
            let contact = ok.values("Contact").find(|value| value.contains(&*phone.contact())).unwrap().to_owned();
            contact.split(name).nth(1).unwrap().split('"').next().unwrap().to_owned()
        })
    };
    other.registers();
    for gruu in gruus(&bob) {
        bob.sends(&bob.register().set("Contact", format_args!("<{gruu}>")));
        bob.expects("403");
        adds(&alice, &format!("<{gruu}>"));
        carol.sends(&carol.request("MESSAGE", &alice.aor()));
        bob.expects("MESSAGE");
        alice.sends(&alice.register().set("Contact", "*").with("Expires", 0));
        alice.expects("200");
    }
    other.receives_nothing();
}

#[test]
fn contacts_in_a_circle_end() {
    // RFC 5393 4: each user is looked up once for a request.
    let sim = Simulation::new();
    let (alice, bob, carol) = (sim.udp("alice"), sim.udp("bob"), sim.udp("carol"));
    adds(&alice, "<sip:bob@office.example>");
    adds(&bob, "<sip:carol@office.example>, <sip:alice@office.example>");
    adds(&carol, "<sip:alice@office.example>, <sip:bob@office.example>");
    let caller = sim.udp("caller");
    caller.sends(&caller.request("MESSAGE", &alice.aor()));
    caller.expects("480");
    carol.registers();
    caller.sends(&caller.request("MESSAGE", &alice.aor()));
    let received = carol.expects("MESSAGE");
    carol.answers(&received, 200);
    caller.expects("200");
    carol.receives_nothing();
}

#[test]
fn following_is_limited_by_max_forwards_and_the_number_of_targets() {
    let sim = Simulation::with(|settings| settings.limits.targets = 3);
    let caller = sim.udp("caller");
    let users: Vec<_> = (0..6).map(|number| sim.udp(&format!("u{number}"))).collect();
    for (number, user) in users.iter().enumerate() {
        user.registers();
        adds(user, &format!("<sip:u{}@office.example>", number + 1));
    }
    // Each step counts as a hop of a spiral.
    caller.sends(&caller.request("INVITE", &users[0].aor()).set("Max-Forwards", 2));
    caller.expects("100");
    let rung =
        || users.iter().filter(|user| user.all_received().iter().any(|received| received.what() == "INVITE")).count();
    sim.seconds(1);
    assert_eq!(rung(), 2);
    caller.sends(&caller.request("INVITE", &users[0].aor()));
    caller.expects("100");
    sim.seconds(1);
    assert_eq!(rung(), 3);
    assert!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Targets))) > 0);
    sim.skip_final_check();
}

#[test]
fn a_followed_contact_keeps_the_q_of_its_user() {
    let sim = Simulation::with(|settings| settings.forking = sequential(10));
    let (alice, bob, carol) = (sim.udp("alice"), sim.udp("bob"), sim.udp("carol"));
    bob.registers_with(";q=1.0");
    alice.registers_with(";q=0.5");
    adds(&alice, "<sip:bob@office.example>;q=0.2");
    carol.calls("alice");
    carol.expects("100");
    alice.expects("INVITE");
    bob.receives_nothing();
    sim.wait(Duration::from_secs(11));
    bob.expects("INVITE");
    sim.skip_final_check();
}

#[test]
fn a_phone_with_two_lines_is_called_once() {
    let sim = Simulation::new();
    let (phone, carol) = (sim.udp("alice"), sim.udp("carol"));
    let instance = ";+sip.instance=\"<urn:uuid:1>\"";
    adds(&phone, &format!("<{}>{instance}, <sip:bob@office.example>", phone.contact()));
    let line = format!("<sip:bob@{}>{instance}", phone.address);
    let register = phone.register().set("To", "<sip:bob@office.example>").set("Call-ID", "second-line");
    phone.sends(&register.set("Contact", line));
    phone.expects("200");
    carol.sends(&carol.request("MESSAGE", &phone.aor()));
    phone.expects("MESSAGE");
    phone.receives_nothing();
}

#[test]
fn configured_contacts_and_accounts_of_that_user_count() {
    let sim = Simulation::with(|settings| {
        let door = Account { contacts: Some(fixed_bindings([("sip:door@192.0.2.11", None)])), ..Account::default() };
        for (user, account) in [("door", door), ("alice", Account::default()), ("carol", Account::default())] {
            settings.accounts.insert(aor(user), account);
        }
    });
    let (door, alice, carol) = (sim.udp("door"), sim.udp("alice"), sim.udp("carol"));
    adds(&alice, "<sip:door@office.example>, <sip:unknown@office.example>");
    carol.sends(&carol.request("MESSAGE", &alice.aor()));
    assert_eq!(door.expects("MESSAGE").uri(), "sip:door@192.0.2.11");
}

#[test]
fn headers_in_a_contact_uri_are_kept_and_not_used() {
    // RFC 3261 10.3, 19.1.5
    let sim = Simulation::new();
    let (alice, bob, carol, mallory) = (sim.udp("alice"), sim.udp("bob"), sim.udp("carol"), sim.udp("mallory"));
    bob.registers();
    let with_route = format!("<{}?Route=%3Csip:{}%3Blr%3E&Subject=x>", alice.contact(), mallory.address);
    let to_bob = "<sip:bob@office.example?Route=%3Csip:192.0.2.99%3Blr%3E>";
    alice.sends(&alice.register().set("Contact", format_args!("{with_route}, {to_bob}")));
    let ok = alice.expects("200");
    let listed: Vec<_> = ok.values("Contact").collect();
    assert!(listed.iter().any(|value| value.starts_with(&with_route)), "{ok}");
    assert!(listed.iter().any(|value| value.starts_with(to_bob)), "{ok}");
    let (_, [at_alice, at_bob]) = carol.calls_phones("alice", [&alice, &bob]);
    for (received, contact) in [(at_alice, alice.contact()), (at_bob, bob.contact())] {
        assert_eq!(received.uri(), contact);
        assert!(!received.has("Route") && !received.has("Subject"), "{received}");
    }
    // A caller that asks for a redirection does not see it either.
    carol.sends(&carol.request("INVITE", &alice.aor()).with("Request-Disposition", "redirect"));
    let told = carol.expects("302");
    assert!(told.values("Contact").all(|value| !value.contains('?')), "{told}");
    assert_eq!(mallory.all_received(), []);
    sim.skip_final_check();
}

#[test]
fn a_redirection_to_a_user_is_followed_to_the_users_of_its_contacts() {
    // checklist 45, 63
    let sim = Simulation::with(|settings| settings.forking.single_target = SingleTarget::Stateful);
    let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(|name| sim.udp(name));
    bob.registers();
    dave.registers();
    adds(&carol, "<sip:dave@office.example>");
    let (_, [at_bob]) = alice.calls_phones("bob", [&bob]);
    bob.sends(&bob.answer(&at_bob, 302).without("Contact").with("Contact", "<sip:carol@office.example>"));
    bob.expects("ACK");
    assert_eq!(dave.expects("INVITE").uri(), dave.contact());
}

#[test]
fn a_contact_names_a_user_of_a_domain_that_begins_like_an_address() {
    for domain in ["x192.0.2.77.example", "192.0.2.77x.example"] {
        let sim = Simulation::with(|settings| settings.domains.push(domain.into()));
        let (alice, bob, carol) = (sim.udp("alice"), sim.tcp("bob"), sim.udp("carol"));
        let register = carol.register().to(format_args!("sip:{domain}"));
        let register = register.set("From", format_args!("<sip:carol@{domain}>;tag=q"));
        carol.sends(&register.set("To", format_args!("<sip:carol@{domain}>")));
        carol.expects("200");
        bob.sends(&bob.register().set("Contact", format_args!("<sip:carol@{domain}>")));
        bob.expects("200");
        alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
        carol.expects("MESSAGE");
    }
}
