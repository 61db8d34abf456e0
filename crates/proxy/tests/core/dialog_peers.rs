//! Requests in a dialog pass only from one side to the other. A captured message must permit nothing, and the calls of
//! honest phones must work in all variants.

use proxy::{Account, Caller, DialogRequest, Event, Settings, Strangers};

use sim::{Agent, DOMAIN, Simulation, Sip, uri_in};

use crate::accounts::{ALICE, BOB, MALLORY, add_accounts, aor};

/// Methods that are used within dialogs.
const METHODS: [&str; 8] = ["BYE", "INVITE", "UPDATE", "INFO", "MESSAGE", "REFER", "NOTIFY", "OPTIONS"];

pub(crate) fn secured(settings: &mut Settings) {
    add_accounts(settings, &[ALICE, BOB, MALLORY]);
}

/// alice calls bob, who answers. Returns the INVITE and its 200.
pub(crate) fn call(alice: &Agent, bob: &Agent) -> (Sip, Sip) {
    bob.signs_in(BOB);
    let invite = alice.authenticates(ALICE, &alice.request("INVITE", "sip:bob@office.example"));
    let ok = picks_up(bob, alice, &bob.contact());
    alice.acks(&invite, &ok);
    bob.expects("ACK");
    (invite, ok)
}

/// The callee answers with this Contact. Returns the 200 as the caller receives it.
pub(crate) fn picks_up(called: &Agent, caller: &Agent, contact: &str) -> Sip {
    let invite = called.expects("INVITE");
    called.sends(&called.answer(&invite, 200).set("Contact", format_args!("<{contact}>")));
    caller.expects("200")
}

pub(crate) fn refused(sim: &Simulation) -> usize {
    sim.count_events(|event| matches!(event, Event::DialogRequest { outcome: DialogRequest::Refused, .. }))
}

#[test]
fn a_captured_message_of_a_call_permits_nothing() {
    // checklist 42
    for strangers in [Strangers::Refuse, Strangers::Accept] {
        let sim = Simulation::with(|settings| {
            secured(settings);
            settings.strangers = strangers;
        });
        let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
        let [mallory, victim] = ["mallory", "victim"].map(|name| sim.udp(name));
        let (invite, ok) = call(&alice, &bob);
        let far = format!("sip:{}", victim.address);
        for method in METHODS {
            // The dialog as each side would continue it, and with another target; in the own name, in that of the user,
            // and as a stranger.
            let captured = [alice.within(&invite, &ok, method), bob.within_as_callee(&invite, &ok, method)];
            for captured in captured.into_iter().flat_map(|it| [it.clone().to(&far), it]) {
                for from in ["sip:alice@office.example", "sip:bob@office.example", "sip:x@elsewhere.example"] {
                    let tag = captured.param("From", "tag").unwrap().to_owned();
                    let sent = captured.clone().set("From", format_args!("<{from}>;tag={tag}"));
                    mallory.sends(&sent.set("Via", mallory.via()));
                    let status = mallory.next_message().status();
                    assert!(matches!(status, Some(403 | 407)), "{method} {status:?}");
                }
            }
        }
        // An ACK cannot be challenged, and repeats credentials that everybody on the path has read.
        for captured in [alice.within(&invite, &ok, "ACK"), bob.within_as_callee(&invite, &ok, "ACK")] {
            mallory.sends(&captured.with("Proxy-Authorization", invite.value("Proxy-Authorization")));
        }
        mallory.receives_nothing();
        assert!(refused(&sim) > 0);
        for phone in [&alice, &bob, &victim] {
            assert_eq!(phone.all_received(), []);
        }
    }
}

#[test]
fn credentials_of_another_user_do_not_admit_to_a_dialog() {
    let sim = Simulation::with(secured);
    let (alice, bob, mallory) = (sim.udp("alice"), sim.udp("bob"), sim.udp("mallory"));
    let (invite, ok) = call(&alice, &bob);
    for from in ["alice", "bob", "mallory"] {
        for captured in [alice.within(&invite, &ok, "BYE"), bob.within_as_callee(&invite, &ok, "BYE")] {
            let tag = captured.param("From", "tag").unwrap().to_owned();
            let bye = captured.set("From", format_args!("<sip:{from}@{DOMAIN}>;tag={tag}")).set("Via", mallory.via());
            mallory.authenticates(MALLORY, &bye);
            mallory.expects("403");
        }
    }
    assert_eq!((alice.all_received(), bob.all_received()), (vec![], vec![]));
}

#[test]
fn a_dialog_leads_only_to_its_other_side() {
    let sim = Simulation::with(secured);
    let (alice, bob, victim) = (sim.udp("alice"), sim.udp("bob"), sim.udp("victim"));
    let (invite, ok) = call(&alice, &bob);
    let far = format!("sip:{}", victim.address);
    let elsewhere = format!("<{far};lr>");
    for method in METHODS {
        let within = || alice.within(&invite, &ok, method).set("Via", alice.via());
        // It goes to bob, whatever the Request-URI is.
        alice.sends(&within().to(&far));
        bob.expects(method);
        alice.sends(&within().with("Route", &elsewhere));
        alice.expects("403");
        // The same in the form of a strict router.
        let route = uri_in(ok.value("Record-Route")).to_owned();
        alice.sends(&within().to(route).set("Route", &elsewhere));
        bob.expects(method);
        // It does not reach another local user either, since a request with a To tag belongs to a dialog.
        alice.sends(&within().to("sip:mallory@office.example"));
        alice.expects("403");
    }
    assert_eq!((bob.all_received(), victim.all_received()), (vec![], vec![]));
}

#[test]
fn a_side_of_a_dialog_cannot_use_another_users_name() {
    let sim = Simulation::with(secured);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let (invite, ok) = call(&alice, &bob);
    let tag = invite.param("From", "tag").unwrap();
    let update =
        alice.within(&invite, &ok, "UPDATE").set("From", format_args!("<sip:mallory@office.example>;tag={tag}"));
    alice.authenticates(ALICE, &update);
    alice.expects("403");
    assert_eq!(bob.all_received(), []);
}

#[test]
fn a_user_cannot_use_a_foreign_name_within_a_dialog() {
    // RFC 4916 allows another From: one that the account may use.
    let sim = Simulation::with(|settings| {
        secured(settings);
        let alice = aor("alice");
        let account = settings.accounts.find(&alice).cloned().unwrap();
        let listed = Account { may_call_as: vec![Caller::User(b"+4989".as_slice().into())], ..account };
        settings.accounts.insert(alice, listed);
    });
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let (invite, ok) = call(&alice, &bob);
    for (side, from, passes) in [
        (&alice, "sip:boss@bank.example", false),
        (&alice, "tel:110", false),
        (&alice, "sip:alice@192.0.2.1:5999", false),
        (&alice, "urn:service:sos", false),
        (&bob, "sip:boss@bank.example", false),
        (&bob, "tel:+4989", false),
        (&alice, "tel:+4989", true),
        (&alice, "sip:anonymous@anonymous.invalid", true),
        (&alice, "sip:alice@office.example", true),
    ] {
        let other = if side.user() == "alice" { &bob } else { &alice };
        let within = if side.user() == "alice" {
            alice.within(&invite, &ok, "UPDATE")
        } else {
            bob.within_as_callee(&invite, &ok, "UPDATE")
        };
        let tag = within.param("From", "tag").unwrap().to_owned();
        let update = within.set("From", format_args!("<{from}>;tag={tag}")).set("Via", side.via());
        side.sends(&update);
        if passes {
            other.expects("UPDATE");
        } else {
            assert!(matches!(side.next_message().status(), Some(403 | 407)), "{from}");
            assert_eq!(other.all_received(), [], "{from}");
        }
    }
}

#[test]
fn a_caller_keeps_the_name_it_called_with() {
    let sim = Simulation::with(secured);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.signs_in(BOB);
    let hidden = "sip:anonymous@anonymous.invalid";
    let invite = alice.request("INVITE", "sip:bob@office.example");
    let tag = invite.param("From", "tag").unwrap().to_owned();
    let invite = alice.authenticates(ALICE, &invite.set("From", format_args!("<{hidden}>;tag={tag}")));
    let ok = picks_up(&bob, &alice, &bob.contact());
    alice.acks(&invite, &ok);
    bob.expects("ACK");
    for from in ["sip:boss@bank.example", "sip:bob@office.example"] {
        let update = alice.within(&invite, &ok, "UPDATE").set("Via", alice.via());
        alice.sends(&update.set("From", format_args!("<{from}>;tag={tag}")));
        assert!(matches!(alice.next_message().status(), Some(403 | 407)), "{from}");
    }
    bob.sends(&bob.within_as_callee(&invite, &ok, "UPDATE"));
    alice.expects("UPDATE");
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    bob.expects("BYE");
    assert_eq!(bob.all_received(), []);
}

#[test]
fn tokens_of_two_dialogs_cannot_be_combined() {
    // A caller may choose the Call-ID and the tag of another call that it has seen.
    let sim = Simulation::with(secured);
    let (alice, bob, mallory) = (sim.udp("alice"), sim.udp("bob"), sim.udp("mallory"));
    let (invite, ok) = call(&alice, &bob);
    let (call_id, tag) = (invite.value("Call-ID"), invite.param("From", "tag").unwrap());
    let own = mallory
        .request("INVITE", "sip:bob@office.example")
        .set("Call-ID", call_id)
        .set("From", format_args!("<sip:mallory@office.example>;tag={tag}"));
    let own = mallory.authenticates(MALLORY, &own);
    let own_ok = picks_up(&bob, &mallory, &bob.contact());
    mallory.acks(&own, &own_ok);
    bob.expects("ACK");
    let [hers, captured] = [&own_ok, &ok].map(|ok| ok.value("Record-Route").to_owned());
    let bye = alice.within(&invite, &ok, "BYE").without("Route");
    for routes in [[&hers, &captured], [&captured, &hers]] {
        let bye = routes.iter().fold(bye.clone(), |bye, route| bye.with("Route", route));
        mallory.sends(&bye.set("Via", mallory.via()));
        let status = mallory.next_message().status();
        assert!(matches!(status, Some(403 | 407)), "{status:?}");
    }
    assert_eq!(bob.all_received(), []);
}

#[test]
fn a_side_cannot_put_a_forbidden_address_into_its_contact() {
    let sim = Simulation::with(secured);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    signs_in_and_picks_up_at(&alice, &bob, "sip:bob@127.0.0.1:9090");
    signs_in_and_picks_up_at(&alice, &bob, "sip:bob@192.0.2.1:22");
}

/// The ACK goes to the callee, although its 200 has this Contact.
fn signs_in_and_picks_up_at(alice: &Agent, bob: &Agent, contact: &str) {
    bob.signs_in(BOB);
    let invite = alice.authenticates(ALICE, &alice.request("INVITE", "sip:bob@office.example"));
    let ok = picks_up(bob, alice, contact);
    alice.acks(&invite, &ok);
    assert_eq!(bob.expects("ACK").uri(), contact);
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    assert_eq!(bob.expects("BYE").uri(), contact);
}

#[test]
fn a_request_without_our_route_does_not_belong_to_a_dialog() {
    // A phone finds a call by its Call-ID and tags, which anybody could use, with an account or as a stranger.
    for strangers in [Strangers::Refuse, Strangers::Accept] {
        let sim = Simulation::with(|settings| {
            secured(settings);
            settings.strangers = strangers;
        });
        let (alice, bob, mallory) = (sim.udp("alice"), sim.udp("bob"), sim.udp("mallory"));
        let (invite, ok) = call(&alice, &bob);
        // The CANCEL of an unknown INVITE is not forwarded either, even from a registered phone.
        mallory.signs_in(MALLORY);
        let tag = invite.param("From", "tag").unwrap();
        let cancel = alice.within(&invite, &ok, "CANCEL").without("Route").to("sip:bob@office.example");
        mallory.sends(
            &cancel.set("Via", mallory.via()).set("From", format_args!("<sip:mallory@office.example>;tag={tag}")),
        );
        mallory.expects("481");
        // Without a To tag these methods are refused too, since a phone may only check the Call-ID.
        for method in ["BYE", "UPDATE", "PRACK"] {
            let request = alice.within(&invite, &ok, method).without("Route").to("sip:bob@office.example");
            mallory.sends(&request.set("To", invite.value("To")).set("Via", mallory.via()));
            mallory.expects("481");
        }
        for from in ["alice@office.example", "mallory@office.example", "x@elsewhere.example"] {
            for uri in ["sip:bob@office.example", &bob.contact()] {
                let bye = alice.within(&invite, &ok, "BYE").without("Route").to(uri).set("Via", mallory.via());
                let tag = invite.param("From", "tag").unwrap();
                mallory.sends(&bye.set("From", format_args!("<sip:{from}>;tag={tag}")));
                mallory.expects("481");
            }
        }
        assert_eq!(bob.all_received(), []);
    }
}

#[test]
fn only_the_stranger_may_continue_its_own_call() {
    // A stranger has no user, so no credentials belong to its side.
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.strangers = Strangers::Accept;
    });
    let (bob, stranger, mallory) = (sim.udp("bob"), sim.udp("stranger"), sim.udp("mallory"));
    bob.signs_in(BOB);
    let invite = stranger.request("INVITE", "sip:bob@office.example").set("From", "<sip:stranger@far.example>;tag=s1");
    stranger.sends(&invite);
    let ok = picks_up(&bob, &stranger, &bob.contact());
    for from in ["sip:stranger@far.example", "sip:mallory@office.example"] {
        let bye = stranger.within(&invite, &ok, "BYE").set("Via", mallory.via());
        mallory.sends(&bye.set("From", format_args!("<{from}>;tag=s1")));
        mallory.expects("403");
    }
    bob.receives_nothing();
}

#[test]
fn a_subscription_is_refreshed_from_its_address_or_with_its_credentials() {
    // RFC 3680 4.6: everybody who has read the SUBSCRIBE knows all identifiers of its dialog.
    let sim = Simulation::with(secured);
    let (alice, mallory) = (sim.udp("alice"), sim.udp("mallory"));
    let subscribe = alice.request("SUBSCRIBE", "sip:alice@office.example").with("Event", "reg");
    let subscribe = alice.authenticates(ALICE, &subscribe);
    let ok = alice.expects("200");
    let notify = alice.expects("NOTIFY");
    alice.answers(&notify, 200);
    let again = |expires: u32| {
        let within = alice.request("SUBSCRIBE", uri_in(ok.value("Contact")));
        let within = within.with("Event", "reg").with("Expires", expires).set("From", subscribe.value("From"));
        within.set("To", ok.value("To")).set("Call-ID", subscribe.value("Call-ID")).set("CSeq", "90 SUBSCRIBE")
    };
    for expires in [600, 0] {
        let captured = again(expires).set("Via", mallory.via()).set("Contact", format_args!("<{}>", mallory.contact()));
        mallory.authenticates(MALLORY, &captured);
        mallory.expects("403");
    }
    // A response of others to a NOTIFY does not count.
    mallory.sends(&mallory.answer(&notify, 481));
    alice.sends(&again(600));
    alice.expects("200");
    let notify = alice.expects("NOTIFY");
    alice.answers(&notify, 200);
    // From another address with the password of alice.
    alice.sends_from("192.0.2.77:5060".parse().unwrap());
    alice.authenticates(ALICE, &again(0).set("CSeq", "92 SUBSCRIBE"));
    alice.expects("200");
    alice.expects("NOTIFY");
    sim.skip_final_check();
}

#[test]
fn credentials_sent_without_a_challenge_are_valid_once() {
    // RFC 3261 22.3: the phone repeats its credentials in each request, and a neighbour behind the same NAT has read
    // them.
    let sim = Simulation::with(secured);
    let (alice, bob, mallory) = (sim.udp("alice"), sim.udp("bob"), sim.udp("mallory"));
    alice.sends_from("198.51.100.7:1026".parse().unwrap());
    mallory.sends_from("198.51.100.7:2052".parse().unwrap());
    let (invite, ok) = call(&alice, &bob);
    let update = alice.authenticates(ALICE, &alice.request("MESSAGE", "sip:bob@office.example"));
    bob.expects("MESSAGE");
    let nonce = update.value("Proxy-Authorization").to_owned();
    let challenge = Sip::new("SIP/2.0 407").with(
        "Proxy-Authenticate",
        format_args!(
            "Digest realm=\"{DOMAIN}\", nonce=\"{}\", algorithm=SHA-256, qop=\"auth\"",
            sim::quoted(&nonce, "nonce")
        ),
    );
    let update = alice.within(&invite, &ok, "UPDATE");
    let update = update.clone().with("Proxy-Authorization", ALICE.answer(&challenge, "SHA-256", &update, 2));
    alice.sends(&update);
    bob.expects("UPDATE");
    mallory.sends(&update.set("Via", mallory.via()).set("Contact", format_args!("<{}>", mallory.contact())));
    mallory.expects("407");
    assert_eq!(bob.all_received(), []);
}

#[test]
fn a_quoted_parameter_of_a_bare_contact_is_no_uri() {
    // RFC 3261 20.10
    for param in ["", ";x=\"y\"", ";x=\"<sip:e@198.51.100.9>\""] {
        let sim = Simulation::with(|settings| {
            add_accounts(settings, &[BOB]);
            settings.strangers = Strangers::Accept;
        });
        sim.skip_final_check();
        let (gateway, other, bob) = (sim.udp("gateway"), sim.udp("other"), sim.udp("bob"));
        bob.signs_in(BOB);
        let invite = gateway.request("INVITE", "sip:bob@office.example").set("From", "<sip:x@carrier.example>;tag=x");
        gateway.sends(&invite.set("Contact", format_args!("sip:x@{}{param}", other.address)));
        let received = bob.expects("INVITE");
        let answer = bob.answers(&received, 200);
        gateway.expects("200");
        let received = received.set("Contact", format_args!("<sip:x@{}>", other.address));
        bob.sends(&bob.within_as_callee(&received, &answer, "BYE"));
        other.expects("BYE");
    }
}
