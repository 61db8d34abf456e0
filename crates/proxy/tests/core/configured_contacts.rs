//! Bindings from the configuration: the proxy calls them like registered ones.

use proxy::{Account, Settings, fixed_bindings};

use sim::{Agent, Simulation, Sip, param, sequential, uri_in};

use crate::accounts::aor;

/// An account for alice, and one named `door` with these contacts.
fn with_door(settings: &mut Settings, contacts: &[(&str, Option<u16>)]) {
    let account = Account { contacts: Some(fixed_bindings(contacts.iter().copied())), ..Account::default() };
    settings.accounts.insert(aor("door"), account);
    settings.accounts.insert(aor("alice"), Account::default());
}

fn contacts(ok: &Sip) -> Vec<(&str, &str)> {
    let read = |value| (uri_in(value), param(value, "expires").unwrap_or_default());
    ok.values("Contact").map(read).collect()
}

#[test]
fn a_configured_contact_is_called() {
    let sim = Simulation::with(|settings| with_door(settings, &[("sip:door@192.0.2.11", None)]));
    let (door, alice) = (sim.udp("door"), sim.udp("alice"));
    let invite = alice.calls("door");
    assert_eq!(door.expects("INVITE").uri(), "sip:door@192.0.2.11");
    alice.receives_nothing();
    alice.cancels(&invite);
    door.expects("CANCEL");
}

#[test]
fn configured_contacts_are_listed_and_no_register_removes_them() {
    // checklist 22: all current bindings.
    let sim = Simulation::with(|settings| with_door(settings, &[("sip:door@192.0.2.11", Some(500))]));
    let door = sim.udp("door/panel");
    let fixed = ("sip:door@192.0.2.11", "7200");
    door.sends(&door.register().without("Contact"));
    let ok = door.expects("200");
    assert_eq!((contacts(&ok), ok.param("Contact", "q")), (vec![fixed], Some("0.5")));
    let mobile = "<sip:door@192.0.2.99>";
    door.sends(&door.register().set("Contact", mobile));
    assert_eq!(contacts(&door.expects("200")), [("sip:door@192.0.2.99", "3600"), fixed]);
    door.sends(&door.register().set("Contact", "*").with("Expires", 0));
    assert_eq!(contacts(&door.expects("200")), [fixed]);
}

#[test]
fn a_configured_contact_that_also_registers_counts_once() {
    // checklist 45
    let sim = Simulation::with(|settings| with_door(settings, &[("sip:door@192.0.2.11:5060", None)]));
    let (door, alice) = (sim.udp("door"), sim.udp("alice"));
    let asked = |expires: u32| door.register().set("Contact", format_args!("<{}>;expires={expires}", door.contact()));
    door.sends(&asked(600));
    assert_eq!(contacts(&door.expects("200")), [("sip:door@192.0.2.11:5060", "600")]);
    let call = |alice: &Agent| {
        let invite = alice.calls("door");
        door.expects("INVITE");
        door.receives_nothing();
        alice.cancels(&invite);
        door.expects("CANCEL");
        alice.all_received();
    };
    call(&alice);
    door.sends(&asked(0));
    assert_eq!(contacts(&door.expects("200")), [("sip:door@192.0.2.11:5060", "7200")]);
    call(&alice);
}

#[test]
fn configured_contacts_are_ordered_by_q() {
    let sim = Simulation::with(|settings| {
        with_door(settings, &[("sip:gw@192.0.2.12", Some(100)), ("sip:gw@192.0.2.11", Some(900))]);
        settings.forking = sequential(5);
    });
    let (first, second, alice) = (sim.udp("gw/first"), sim.udp("gw/second"), sim.udp("alice"));
    let invite = alice.calls("door");
    alice.expects("100");
    first.answers(&first.expects("INVITE"), 503);
    first.expects("ACK");
    second.answers(&second.expects("INVITE"), 200);
    alice.acks(&invite, &alice.expects("200"));
    second.expects("ACK");
}
