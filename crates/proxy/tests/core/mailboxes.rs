//! A SUBSCRIBE to voicemail messages goes to the voicemail server (RFC 3842), for whoever may watch the user.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use proxy::{Account, Authentication, Others};

use sim::{Agent, DOMAIN, Simulation, Sip, uri_in};

use crate::accounts::{ALICE, aor};

fn subscribe(phone: &Agent, user: &str) -> Sip {
    let uri = format!("sip:{user}@office.example");
    phone.request("SUBSCRIBE", &uri).with("Event", "message-summary").with("Expires", 600)
}

/// A server whose voicemail server is at 192.0.2.90.
fn setup(voicemail: &str) -> (Simulation, Agent, Agent) {
    let sim = Simulation::with(|settings| {
        settings.office.voicemail = Some(voicemail.into());
        for user in ["alice", "bob", "carol", "vm"] {
            settings.accounts.insert(aor(user), Account::default());
        }
        let board = Account { may_watch: Others::Listed(vec![aor("bob")]), ..Account::default() };
        settings.accounts.insert(aor("board"), board);
        assert!(settings.accounts.add_number(&aor("+4989123"), &aor("bob")));
    });
    let alice = sim.udp("alice");
    let voicemail = sim.udp("vm").at("192.0.2.90:5070".parse().unwrap());
    (sim, alice, voicemail)
}

#[test]
fn the_subscription_is_one_with_the_voicemail_server() {
    // checklist 174
    let (_sim, alice, voicemail) = setup("sip:vm@192.0.2.90:5070;user=phone");
    alice.registers();
    let asked = subscribe(&alice, "alice");
    alice.sends(&asked);
    let received = voicemail.expects("SUBSCRIBE");
    assert_eq!(received.uri(), "sip:alice@192.0.2.90:5070;user=phone");
    assert_eq!(received.value("To"), asked.value("To"));
    voicemail.sends(&voicemail.answer(&received, 200).with("Contact", format!("<{}>", voicemail.contact())));
    let ok = alice.expects("200");
    // The NOTIFYs and refreshes of the dialog pass the server.
    let notify = voicemail.within_as_callee(&received, &ok, "NOTIFY");
    voicemail.sends(&notify.with("Event", "message-summary").with("Subscription-State", "active"));
    let notify = alice.expects("NOTIFY");
    assert_eq!(notify.uri(), alice.contact());
    alice.answers(&notify, 200);
    voicemail.expects("200");
    alice.sends(&alice.within(&asked, &ok, "SUBSCRIBE").with("Event", "message-summary").with("Expires", 0));
    assert_eq!(voicemail.expects("SUBSCRIBE").uri(), uri_in(ok.value("Contact")));
}

#[test]
fn who_may_not_watch_the_user_gets_403() {
    // checklist 174
    let (sim, alice, voicemail) = setup("sip:vm@192.0.2.90:5070");
    let board = sim.udp("board");
    // What is called by a further number is the mailbox of its user.
    for (watcher, user, mailbox) in [
        (&board, "board", Some("board")),
        (&board, "bob", Some("bob")),
        (&board, "+4989123", Some("bob")),
        (&board, "carol", None),
        (&alice, "bob", None),
        (&alice, "nobody", None),
    ] {
        watcher.sends(&subscribe(watcher, user));
        match mailbox {
            Some(mailbox) => {
                let received = voicemail.expects("SUBSCRIBE");
                assert_eq!(received.uri(), format!("sip:{mailbox}@192.0.2.90:5070"));
                voicemail.answers(&received, 200);
                watcher.expects("200");
            }
            None => drop(watcher.expects("403")),
        }
    }
    voicemail.receives_nothing();
}

#[test]
fn a_subscriber_proves_who_it_is() {
    let sim = Simulation::with(|settings| {
        settings.authentication = Authentication::Required;
        settings.office.voicemail = Some("sip:vm@192.0.2.90:5070".into());
        settings.accounts.insert(aor("alice"), ALICE.account(DOMAIN));
        settings.accounts.insert(aor("bob"), Account::default());
    });
    let alice = sim.udp("alice");
    let voicemail = sim.udp("vm").at("192.0.2.90:5070".parse().unwrap());
    alice.authenticates(ALICE, &subscribe(&alice, "alice"));
    assert_eq!(voicemail.expects("SUBSCRIBE").uri(), "sip:alice@192.0.2.90:5070");
    alice.authenticates(ALICE, &subscribe(&alice, "bob"));
    alice.expects("403");
    voicemail.receives_nothing();
}

#[test]
fn a_voicemail_server_that_is_registered_gets_it_at_its_contact() {
    let (_sim, alice, voicemail) = setup("sip:vm@office.example");
    voicemail.registers();
    alice.sends(&subscribe(&alice, "alice"));
    let received = voicemail.expects("SUBSCRIBE");
    assert_eq!((received.uri(), uri_in(received.value("To"))), (&*voicemail.contact(), "sip:alice@office.example"));
}

#[test]
fn without_a_voicemail_server_nobody_is_asked() {
    let sim = Simulation::new();
    let (desk, mobile) = (sim.udp("alice/desk"), sim.udp("alice/mobile"));
    mobile.registers();
    for package in ["message-summary", "presence"] {
        desk.sends(&desk.request("SUBSCRIBE", "sip:alice@office.example").with("Event", package));
        desk.expects("489");
    }
    mobile.receives_nothing();
}
