//! How callers are shown to trunks (RFC 3325, RFC 3323), and trunks to phones.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

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

/// A trunk that reads From, with and without a password there.
fn offices_with_from() -> impl Iterator<Item = Office> {
    [false, true].into_iter().map(|has_login| {
        Office::with(|settings| {
            secured(settings, |trunk| {
                trunk.shows = Shows::From;
                trunk.login = has_login.then(|| Login { user: "office".into(), password: "secret".into() });
            });
        })
    })
}

#[test]
fn the_from_is_restored_after_the_response_context_has_ended() {
    for office in offices_with_from() {
        let (invite, received) = office.alice_reaches("0891234");
        let ok = office.provider.answers(&received, 200);
        let first = office.alice.expects("200");
        office.alice.acks(&invite, &first);
        office.provider.expects("ACK");
        // 64*T1 after the 200 the response context ends (RFC 6026 7.1). The ACK may have been lost.
        office.sim.seconds(40);
        assert_eq!(office.sim.load(0).transactions, 0);
        office.provider.sends(&ok);
        let late = office.alice.expects("200");
        assert_eq!([late.value("From"), late.value("CSeq")], [invite.value("From"), invite.value("CSeq")]);
    }
}

#[test]
fn the_from_is_restored_within_a_dialog() {
    for office in offices_with_from() {
        let (invite, received) = office.alice_reaches("0891234");
        office.provider.answers(&received, 200);
        let ok = office.alice.expects("200");
        office.alice.acks(&invite, &ok);
        office.provider.expects("ACK");
        for (later, status) in [("INVITE", 488), ("UPDATE", 200), ("BYE", 200)] {
            let sent = office.alice.within(&invite, &ok, later);
            office.alice.sends(&sent);
            let at_trunk = office.provider.next_message();
            assert_eq!((at_trunk.what(), at_trunk.value("From")), (later, received.value("From")));
            office.provider.answers(&at_trunk, status);
            let response = loop {
                let next = office.alice.next_message();
                if next.status() != Some(100) {
                    break next;
                }
            };
            assert_eq!(response.value("From"), sent.value("From"), "{later}");
            if later == "INVITE" {
                office.alice.acks(&sent, &response);
                let ack = office.provider.expects("ACK");
                assert_eq!(ack.value("From"), at_trunk.value("From"));
                assert_eq!(ack.value("Via"), at_trunk.value("Via"));
            }
        }
    }
}

#[test]
fn a_trunk_cannot_read_or_move_the_from_of_a_caller() {
    let office = offices_with_from().next().expect("an office");
    let private = office.alice.request("INVITE", "sip:0891234@office.example").with("Privacy", "id");
    let private = office.alice.authenticates(ALICE, &private);
    office.alice.expects("100");
    let received = office.provider.expects("INVITE");
    let invite = office.bob.request("INVITE", "sip:0891235@office.example");
    let other = office.bob.authenticates(BOB, &invite);
    office.bob.expects("100");
    let of_bob = office.provider.expects("INVITE");
    let sealed = |sip: &Sip| sip.value("Via").split_once(";caller=").expect("a From").1.to_owned();
    let octets = URL_SAFE_NO_PAD.decode(sealed(&received)).expect("base64");
    assert!(octets.len() > "alice".len() && !octets.windows(5).any(|part| part == b"alice"));
    let ringing = office.provider.answer(&of_bob, 180);
    let (own, foreign) = (sealed(&of_bob), sealed(&received));
    let moved = ringing.clone().set("Via", ringing.value("Via").replace(&own, &foreign));
    office.provider.sends(&moved);
    assert_eq!(office.bob.expects("180").value("From"), of_bob.value("From"));
    office.provider.sends(&ringing);
    assert_eq!(office.bob.expects("180").value("From"), other.value("From"));
    for (phone, invite, received) in [(&office.alice, &private, &received), (&office.bob, &other, &of_bob)] {
        refuses(&office.provider, received, 486);
        is_refused(phone, invite, "486");
    }
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
