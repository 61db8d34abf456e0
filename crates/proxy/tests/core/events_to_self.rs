//! A SUBSCRIBE or PUBLISH of a user to itself is not sent back to the phone that sent it.

use proxy::Authentication;

use sim::{Agent, DOMAIN, Simulation, Sip};

use crate::accounts::{ALICE, aor};

fn event(phone: &Agent, method: &str, package: &str) -> Sip {
    phone.request(method, &phone.aor()).with("Event", package).with("Expires", 600)
}

fn refused(phone: &Agent) {
    let refused = phone.expects("489");
    assert_eq!(refused.value("Allow-Events"), "reg, dialog", "{refused}");
}

#[test]
fn a_sender_with_a_single_phone_gets_489() {
    for registered in [true, false] {
        let sim = Simulation::new();
        for phone in [sim.udp("alice"), sim.tcp("alice/tcp")] {
            if registered {
                phone.registers();
            }
            for (method, package) in
                [("SUBSCRIBE", "message-summary"), ("SUBSCRIBE", "presence"), ("PUBLISH", "presence")]
            {
                phone.sends(&event(&phone, method, package));
                refused(&phone);
            }
            // The same without an Event.
            phone.sends(&phone.request("PUBLISH", &phone.aor()));
            refused(&phone);
            if registered {
                phone.sends(&phone.register().with("Expires", 0));
                phone.expects("200");
            }
        }
    }
}

#[test]
fn the_request_goes_to_another_phone_of_the_user() {
    let sim = Simulation::new();
    let (desk, mobile) = (sim.udp("alice/desk"), sim.udp("alice/mobile"));
    desk.registers();
    mobile.registers();
    desk.sends(&event(&desk, "SUBSCRIBE", "conference"));
    let received = mobile.expects("SUBSCRIBE");
    mobile.answers(&received, 200);
    desk.expects("200");
    desk.receives_nothing();
}

#[test]
fn the_sender_is_known_by_its_flow_its_contact_and_its_instance() {
    let sim = Simulation::new();
    let phone = sim.tcp("alice");
    phone.registers_with(";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"");
    // A new connection, the same Contact.
    phone.disconnects();
    phone.sends(&event(&phone, "SUBSCRIBE", "presence"));
    refused(&phone);
    // Another Contact, the same instance.
    let instance = "\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"";
    let contact = format!("<sip:alice@192.0.2.11:5099;transport=tcp>;+sip.instance={instance}");
    phone.disconnects();
    phone.sends(&event(&phone, "SUBSCRIBE", "presence").set("Contact", contact));
    refused(&phone);
    // Another Contact, the same flow.
    let udp = sim.udp("bob");
    udp.registers();
    udp.sends(&event(&udp, "PUBLISH", "presence").set("Contact", "<sip:bob@192.0.2.99:1>"));
    refused(&udp);
}

#[test]
fn other_senders_and_other_methods_reach_the_phone() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    alice.registers();
    bob.registers();
    bob.sends(&bob.request("SUBSCRIBE", &alice.aor()).with("Event", "conference"));
    alice.expects("SUBSCRIBE");
    for method in ["MESSAGE", "OPTIONS", "INVITE"] {
        alice.sends(&alice.request(method, &alice.aor()));
        let received = alice.next_message();
        assert_eq!(received.what(), method);
        alice.answers(&received, 486);
        alice.expects("486");
    }
    // The server's own event package is handled by the server.
    alice.sends(&event(&alice, "SUBSCRIBE", "reg"));
    alice.expects("200");
    sim.skip_final_check();
}

#[test]
fn credentials_identify_the_sender() {
    let sim = Simulation::with(|settings| {
        settings.authentication = Authentication::Required;
        settings.accounts.insert(aor("alice"), ALICE.account(DOMAIN));
    });
    let alice = sim.udp("alice");
    alice.signs_in(ALICE);
    for from in ["sip:alice@office.example", "sip:anonymous@anonymous.invalid"] {
        let request = event(&alice, "PUBLISH", "presence").set("From", format_args!("<{from}>;tag=1"));
        alice.authenticates(ALICE, &request);
        refused(&alice);
    }
}
