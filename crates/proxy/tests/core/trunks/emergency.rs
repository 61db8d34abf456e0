//! Emergency calls: from every registered phone, without credentials, class or limit.

use super::*;

#[test]
fn a_registered_phone_reaches_help_without_credentials() {
    for uri in ["sip:112@office.example", "urn:service:sos", "urn:service:SOS.fire", "tel:112"] {
        let office = Office::with(|settings| secured(settings, |trunk| trunk.max_calls = Some(0)));
        let invite = office.alice.invites(uri);
        office.alice.expects("100");
        let received = office.provider.expects("INVITE");
        assert_eq!(received.uri(), "sip:112@192.0.2.80;user=phone", "{uri}");
        assert_eq!(received.value("P-Asserted-Identity"), "<sip:+4989111@192.0.2.80>");
        // The first trunk that works, whatever the reason is.
        refuses(&office.provider, &received, 403);
        let received = office.backup.expects("INVITE");
        accepts(&office.alice, &invite, &office.backup, &received);
    }
}

#[test]
fn other_senders_are_authenticated() {
    for uri in ["sip:112@office.example", "urn:service:sos"] {
        let office = Office::new();
        let other = office.sim.udp("alice/other");
        let invite = other.invites(uri);
        is_refused(&other, &invite, "407");
        let invite = other.authenticates(ALICE, &other.request("INVITE", uri));
        other.expects("100");
        let received = office.provider.expects("INVITE");
        accepts(&other, &invite, &office.provider, &received);
    }
}

#[test]
fn only_the_whole_number_is_an_emergency() {
    let office = Office::new();
    for (uri, status) in [("sip:1123@office.example", "407"), ("urn:service:sosx", "416"), ("urn:service:so", "416")] {
        let invite = office.alice.invites(uri);
        is_refused(&office.alice, &invite, status);
    }
}
