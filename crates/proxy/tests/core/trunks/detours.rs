//! Ways around the lines and the numbers: addresses and names that lead to a trunk, or from a trunk to a user.

use std::time::Duration;

use proxy::AlsoRing;

use super::*;

/// Where the first trunk is reached too, although its calls do not come from there.
const ITS_SERVER: &str = "192.0.2.82";

fn with_server() -> Office {
    let at_server = |trunk: &mut Trunk| trunk.server_addresses = vec![ITS_SERVER.parse().expect("an address")];
    Office::with(|settings| secured(settings, at_server))
}

fn no_trunk_is_called(office: &Office, what: &str) {
    let server = office.sim.udp("server").at(format!("{ITS_SERVER}:5060").parse().expect("an address"));
    for trunk in [&office.provider, &office.backup, &server] {
        assert_eq!(trunk.all_received(), [], "{what}");
    }
}

#[test]
fn a_user_cannot_call_the_address_of_a_trunk() {
    // alice may call other domains, but no international number.
    for (uri, route) in [
        ("sip:00441234@192.0.2.80", None),
        ("sip:00441234@192.0.2.81:5080;transport=tcp", None),
        ("sip:00441234@192.0.2.82", None),
        ("sip:00441234@[::ffff:192.0.2.80]", None),
        ("sip:00441234@trunk.attacker.example", None),
        ("sip:00441234@other.example;maddr=192.0.2.80", None),
        ("sip:00441234@203.0.113.7", Some("<sip:192.0.2.80;lr>")),
        ("sip:00441234@office.example", Some("<sip:192.0.2.80;lr>")),
    ] {
        let office = with_server();
        office.sim.dns("trunk.attacker.example", &["192.0.2.80:5060".parse().expect("an address")]);
        let invite = office.alice.request("INVITE", uri);
        let invite = if let Some(route) = route { invite.with("Route", route) } else { invite };
        let invite = office.alice.authenticates(ALICE, &invite);
        let refusal = office.alice.next_message();
        office.alice.acks(&invite, &refusal);
        no_trunk_is_called(&office, uri);
    }
}

#[test]
fn a_phone_is_not_at_the_address_of_a_trunk() {
    // Nobody who calls alice dials with the permission of the office.
    for header in ["Contact", "Path"] {
        let office = with_server();
        let phone = office.sim.udp("alice/other");
        let register = phone.register().with("Supported", "path");
        let register = match header {
            "Contact" => register.set("Contact", "<sip:00441234@192.0.2.80>"),
            _ => register.set("Contact", "<sip:00441234@203.0.113.7>").with("Path", "<sip:192.0.2.80;lr>"),
        };
        phone.authenticates(ALICE, &register);
        assert_eq!(phone.expects("403").reason(), format!("{header} names an address of a trunk"));
    }
    // Also in a trusted network, for example that of the office.
    let trusted = "192.0.2.90/32".parse().into_iter().collect();
    let office = Office::with(|settings| {
        secured(settings, |_| {});
        settings.trusted = trusted;
    });
    let phone = office.sim.udp("alice/other").at("192.0.2.90:5060".parse().expect("an address"));
    phone.authenticates(ALICE, &phone.register().set("Contact", "<sip:00441234@192.0.2.80>"));
    phone.expects("403");
    // A name is checked when it is called.
    let office = with_server();
    office.sim.dns("trunk.attacker.example", &["192.0.2.80:5060".parse().expect("an address")]);
    let phone = office.sim.udp("alice/other").named("sip:00441234@trunk.attacker.example:5060");
    phone.signs_in(ALICE);
    let invite = office.bob.request("INVITE", "sip:alice@office.example");
    office.bob.authenticates(BOB, &invite);
    office.alice.expects("INVITE");
    no_trunk_is_called(&office, "a name");
    office.sim.skip_final_check();
}

#[test]
fn a_phone_does_not_redirect_to_the_address_of_a_trunk() {
    let office = with_server();
    let invite = office.bob.request("INVITE", "sip:alice@office.example");
    let invite = office.bob.authenticates(BOB, &invite);
    let received = office.alice.expects("INVITE");
    office.alice.sends(&office.alice.answer(&received, 302).set("Contact", "<sip:00441234@192.0.2.80>"));
    is_refused(&office.bob, &invite, "302");
    no_trunk_is_called(&office, "a redirection");
    office.sim.skip_final_check();
}

#[test]
fn the_hosts_of_a_trunk_may_name_each_other() {
    let office = Office::with(|settings| {
        secured(settings, |trunk| trunk.networks = vec!["192.0.2.80/31".parse().expect("a network")]);
        settings.trunks.all.truncate(1);
    });
    let (invite, received) = office.alice_reaches("0891234");
    let ok = office.provider.answer(&received, 200).set("Contact", "<sip:0891234@192.0.2.81>");
    office.provider.sends(&ok);
    let ok = office.alice.expects("200");
    office.alice.acks(&invite, &ok);
    office.backup.expects("ACK");
}

#[test]
fn a_trunk_reaches_no_name_from_within_a_call() {
    for method in ["INVITE", "MESSAGE", "OPTIONS"] {
        let office = Office::new();
        let (invite, received) = office.alice_reaches("0891234");
        let ok = accepts(&office.alice, &invite, &office.provider, &received);
        let to_bob = office.provider.within_as_callee(&received, &ok, method).to("sip:bob@office.example");
        office.provider.sends(&to_bob);
        let refusal = office.provider.expects("404");
        if method == "INVITE" {
            office.provider.acks(&to_bob, &refusal);
        }
        office.bob.receives_nothing();
    }
}

#[test]
fn no_rule_leads_to_an_emergency_number() {
    // bob has a mistake in his rules: nobody who calls him calls for help.
    let emergency = || Some(Party::Name(aor("112")));
    let rules = |forward, also_ring| Some(Box::new(UserRules { forward, also_ring, ..UserRules::default() }));
    let mobile = || AlsoRing { to: Party::Name(aor("112")), after: Duration::ZERO, hours: None };
    for (what, rules) in [
        ("always", rules(Forward { always: emergency(), ..Forward::default() }, Vec::new())),
        ("busy", rules(Forward { busy: emergency(), ..Forward::default() }, Vec::new())),
        ("also_ring", rules(Forward::default(), vec![mobile()])),
    ] {
        let office = Office::with(|settings| {
            secured(settings, |_| {});
            let account = settings.accounts.find(&aor("bob")).cloned().expect("an account");
            settings.accounts.insert(aor("bob"), Account { rules, ..account });
        });
        let invite = office.provider_calls("sip:+4989112@office.example");
        if what == "always" {
            is_refused(&office.provider, &invite, "403");
        } else {
            office.bob.answers(&office.bob.expects("INVITE"), 486);
            office.provider.expects("100");
            is_refused(&office.provider, &invite, "486");
        }
        no_trunk_is_called(&office, what);
        office.sim.skip_final_check();
    }
}
