//! How callers are shown to trunks (RFC 3325, RFC 3323), and trunks to phones.

use super::*;

/// The From, without tag, and the P-Asserted-Identity of a call by the trunk.
fn shown(invite: &Sip) -> (String, Vec<String>) {
    let from = invite.value("From").split(";tag=").next().unwrap_or_default().to_owned();
    (from, invite.values("P-Asserted-Identity").map(str::to_owned).collect())
}

#[test]
fn a_caller_is_shown_as_the_trunk_wants() {
    for (shows, privacy, from, identity) in [
        (Shows::Asserted, "", "<sip:alice@office.example>", "<sip:+4989111@192.0.2.80>"),
        (Shows::Asserted, "id", "<sip:alice@office.example>", "<sip:+4989111@192.0.2.80>"),
        (Shows::From, "", "<sip:+4989111@192.0.2.80>", ""),
        (Shows::From, "id", "\"Anonymous\" <sip:anonymous@anonymous.invalid>", "<sip:+4989111@192.0.2.80>"),
    ] {
        let office = Office::with(|settings| secured(settings, |trunk| trunk.shows = shows));
        let mut invite = office.alice.request("INVITE", "sip:0891234@office.example");
        for name in ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"] {
            invite = invite.with(name, "<sip:boss@office.example>");
        }
        if !privacy.is_empty() {
            invite = invite.with("Privacy", privacy);
        }
        let invite = office.alice.authenticates(ALICE, &invite);
        office.alice.expects("100");
        let received = office.provider.expects("INVITE");
        let identity: Vec<_> = Some(identity.to_owned()).filter(|identity| !identity.is_empty()).into_iter().collect();
        assert_eq!(shown(&received), (from.to_owned(), identity));
        assert!(!received.has("P-Preferred-Identity") && !received.has("Remote-Party-ID"));
        assert_eq!(received.value("Privacy"), privacy);
        assert_eq!(received.param("From", "tag"), invite.param("From", "tag"));
        refuses(&office.provider, &received, 486);
        is_refused(&office.alice, &invite, "486");
    }
}

#[test]
fn a_from_for_the_trunk_is_restored_for_the_caller() {
    let office = Office::with(|settings| secured(settings, |trunk| trunk.shows = Shows::From));
    let (invite, received) = office.alice_reaches("0891234");
    let (number, own) = (received.value("From").to_owned(), invite.value("From").to_owned());
    office.provider.answers(&received, 180);
    assert_eq!(office.alice.expects("180").value("From"), own);
    office.provider.answers(&received, 200);
    let ok = office.alice.expects("200");
    assert_eq!(ok.value("From"), own);
    // RFC 3261 12.2.1.1: the trunk sees one local URI in all requests of the dialog.
    office.alice.acks(&invite, &ok);
    assert_eq!(office.provider.expects("ACK").value("From"), number);
    office.alice.sends(&office.alice.within(&invite, &ok, "BYE"));
    let bye = office.provider.expects("BYE");
    assert_eq!(bye.value("From"), number);
    office.provider.answers(&bye, 200);
    office.alice.expects("200");
}

#[test]
fn ack_and_cancel_have_the_from_of_their_invite() {
    // RFC 3261 9.1, 17.1.1.3
    let office = Office::with(|settings| secured(settings, |trunk| trunk.shows = Shows::From));
    let (invite, received) = office.alice_reaches("0891234");
    office.provider.answers(&received, 180);
    office.alice.expects("180");
    office.alice.cancels(&invite);
    office.alice.expects("200");
    let cancel = office.provider.expects("CANCEL");
    office.provider.answers(&cancel, 200);
    office.provider.answers(&received, 487);
    let ack = office.provider.expects("ACK");
    assert_eq!([cancel.value("From"), ack.value("From")], [received.value("From"); 2]);
    let refusal = office.alice.expects("487");
    assert_eq!(refusal.value("From"), invite.value("From"));
    office.alice.acks(&invite, &refusal);
}

#[test]
fn an_identity_that_a_trunk_asserts_reaches_the_phone() {
    let office = Office::new();
    let invite = office.provider.request("INVITE", "sip:+4989112@office.example");
    let invite = invite.set("From", "<sip:+49301@provider.example>;tag=1").with("P-Asserted-Identity", "<tel:+49301>");
    office.provider.sends(&invite);
    let received = office.bob.expects("INVITE");
    assert_eq!(received.value("P-Asserted-Identity"), "<tel:+49301>");
    accepts(&office.provider, &invite, &office.bob, &received);
}
