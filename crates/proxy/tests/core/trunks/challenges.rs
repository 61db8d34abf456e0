//! Challenges of a trunk are answered by this server, with other CSeq numbers than those of the caller (RFC 3261 22.2).

use std::time::Duration;

use proxy::AlsoRing;

use super::*;
use crate::call_steps::rings;

pub(super) const CHALLENGE: &str = "Digest realm=\"provider\", nonce=\"n0\", algorithm=SHA-256, qop=\"auth\"";

pub(super) fn office() -> Office {
    Office::with(with_login)
}

/// The provider knows this server by a password.
pub(super) fn with_login(settings: &mut Settings) {
    secured(settings, |trunk| {
        trunk.login = Some(Login { user: "4989100".into(), password: "secret".into() });
    });
}

pub(super) fn sequence(message: &Sip) -> u32 {
    let (number, _) = message.value("CSeq").split_once(' ').expect("a method");
    number.parse().expect("a number")
}

/// The provider challenges a request.
pub(super) fn challenges(office: &Office, request: &Sip, status: u16, challenge: &str) {
    let name = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
    office.provider.sends(&office.provider.answer(request, status).with(name, challenge));
    if request.what() == "INVITE" {
        let ack = office.provider.expects("ACK");
        assert_eq!((sequence(&ack), ack.branch()), (sequence(request), request.branch()));
    }
}

/// Whether a request has the right credentials.
pub(super) fn is_right(invite: &Sip, header: &str) -> bool {
    let credentials = invite.value(header);
    let cnonce = sim::quoted(credentials, "cnonce");
    let login = sim::Login { user: "4989100", password: "secret" };
    let challenge = CHALLENGE.replace("n0", sim::quoted(credentials, "nonce"));
    login.response(&challenge, invite, 1, cnonce) == sim::quoted(credentials, "response")
}

#[test]
fn a_challenged_call_is_set_up_and_the_caller_does_not_notice() {
    for (status, header) in [(401, "Authorization"), (407, "Proxy-Authorization")] {
        let office = office();
        let (invite, first) = office.alice_reaches("0891234");
        let own = sequence(&invite);
        assert_eq!(sequence(&first), 8 * own);
        challenges(&office, &first, status, CHALLENGE);
        let second = office.provider.expects("INVITE");
        assert_eq!(office.sim.count_events(|event| matches!(event, proxy::Event::TrunkChallenged { .. })), 1);
        assert_eq!(sequence(&second), 8 * own + 1);
        assert_eq!((second.value("Call-ID"), second.value("From")), (first.value("Call-ID"), first.value("From")));
        assert!(is_right(&second, header), "{second}");
        office.provider.answers(&second, 180);
        assert_eq!(sequence(&office.alice.expects("180")), own);
        office.provider.answers(&second, 200);
        let ok = office.alice.expects("200");
        assert_eq!(sequence(&ok), own);
        office.alice.acks(&invite, &ok);
        assert_eq!(sequence(&office.provider.expects("ACK")), 8 * own + 1);
        office.alice.sends(&office.alice.within(&invite, &ok, "BYE"));
        let bye = office.provider.expects("BYE");
        assert_eq!(sequence(&bye), 8 * (own + 1));
        office.provider.answers(&bye, 200);
        assert_eq!(sequence(&office.alice.expects("200")), own + 1);
    }
}

#[test]
fn a_stale_nonce_is_answered_again_and_a_wrong_password_is_not() {
    let stale = CHALLENGE.replace("n0", "n1") + ", stale=true";
    for (second, is_answered) in [(CHALLENGE, false), (&stale, true)] {
        let office = office();
        let invite = office.bob.authenticates(BOB, &office.bob.request("INVITE", "sip:00441234@office.example"));
        office.bob.expects("100");
        challenges(&office, &office.provider.expects("INVITE"), 407, CHALLENGE);
        challenges(&office, &office.provider.expects("INVITE"), 407, second);
        if is_answered {
            let third = office.provider.expects("INVITE");
            assert!(is_right(&third, "Proxy-Authorization") && sequence(&third) == 8 * sequence(&invite) + 2);
            // It could challenge for ever.
            challenges(&office, &third, 407, &stale.replace("n1", "n2"));
        }
        is_refused(&office.bob, &invite, "502");
        office.provider.receives_nothing();
    }
}

#[test]
fn the_next_trunk_is_tried_after_a_challenge_that_cannot_be_answered() {
    let office = office();
    let (invite, first) = office.alice_reaches("0891234");
    challenges(&office, &first, 407, CHALLENGE);
    challenges(&office, &office.provider.expects("INVITE"), 407, CHALLENGE);
    let received = office.backup.expects("INVITE");
    assert_eq!(sequence(&received), sequence(&invite), "a trunk without a password gets the number of the caller");
    refuses(&office.backup, &received, 486);
    is_refused(&office.alice, &invite, "486");
}

#[test]
fn a_cancelled_call_is_not_answered_again() {
    let office = office();
    let (invite, first) = office.alice_reaches("0891234");
    challenges(&office, &first, 407, CHALLENGE);
    let second = office.provider.expects("INVITE");
    office.provider.answers(&second, 180);
    office.alice.expects("180");
    office.alice.cancels(&invite);
    office.alice.expects("200");
    let cancel = office.provider.expects("CANCEL");
    assert_eq!((sequence(&cancel), cancel.branch()), (sequence(&second), second.branch()));
    office.provider.answers(&cancel, 200);
    challenges(&office, &second, 407, &CHALLENGE.replace("n0", "n1"));
    let refusal = office.alice.expects("502");
    office.alice.acks(&invite, &refusal);
    office.provider.receives_nothing();
}

#[test]
fn a_high_number_stays_as_it_is() {
    let office = office();
    let invite = office.bob.request("INVITE", "sip:00441234@office.example").set("CSeq", "268435456 INVITE");
    let invite = office.bob.authenticates(BOB, &invite);
    office.bob.expects("100");
    let received = office.provider.expects("INVITE");
    assert_eq!(sequence(&received), 268_435_456);
    challenges(&office, &received, 407, CHALLENGE);
    // The server cannot send it again with a higher number, but the caller can.
    let refusal = office.bob.expects("407");
    assert_eq!(refusal.value("Proxy-Authenticate"), CHALLENGE);
    office.bob.acks(&invite, &refusal);
}

#[test]
fn a_challenge_is_not_answered_when_the_next_trunk_is_tried_already() {
    let office = office();
    let (invite, first) = office.alice_reaches("0891234");
    office.sim.seconds(16);
    let at_backup = office.backup.expects("INVITE");
    // The provider has received copies.
    while office.provider.next_message_if_any().is_some() {}
    challenges(&office, &first, 407, CHALLENGE);
    assert_eq!(office.provider.all_received(), []);
    accepts(&office.alice, &invite, &office.backup, &at_backup);
}

#[test]
fn a_challenge_is_not_answered_after_the_call_was_forwarded() {
    let office = Office::with(|settings| {
        with_login(settings);
        settings.office.voicemail = Some("sip:vm@192.0.2.90".into());
        let to = Party::Name(aor("0891234"));
        let also_ring = vec![AlsoRing { to, after: Duration::ZERO, hours: None }];
        let forward = Forward { no_answer: Some(Party::Voicemail), ..Forward::default() };
        let rules = Some(Box::new(UserRules { forward, also_ring, ..UserRules::default() }));
        let account = settings.accounts.find(&aor("bob")).cloned().unwrap_or_default();
        settings.accounts.insert(aor("bob"), Account { rules, ..account });
    });
    let voicemail = office.sim.udp("vm").at("192.0.2.90:5060".parse().expect("an address"));
    let invite = office.alice.authenticates(ALICE, &office.alice.request("INVITE", "sip:bob@office.example"));
    office.alice.expects("100");
    let at_bob = rings(&office.alice, &office.bob);
    let at_trunk = rings(&office.alice, &office.provider);
    office.sim.seconds(20);
    office.alice.expects("181");
    stops(&office.bob, &at_bob);
    let cancel = office.provider.expects("CANCEL");
    office.provider.answers(&cancel, 200);
    let at_voicemail = voicemail.expects("INVITE");
    challenges(&office, &at_trunk, 407, CHALLENGE);
    assert_eq!(office.provider.all_received(), []);
    accepts(&office.alice, &invite, &voicemail, &at_voicemail);
}
