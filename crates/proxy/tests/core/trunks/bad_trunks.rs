//! Trunks that answer what no trunk should answer.

use super::challenges::{CHALLENGE, challenges, is_right, office, sequence};
use super::registration::{self, registered, setup, waits};
use super::*;

/// Challenges that cannot be answered.
fn unanswerable() -> Vec<String> {
    let digest = |rest: &str| format!("Digest realm=\"provider\", {rest}");
    let long = "n".repeat(20_000);
    vec![
        digest("nonce=\"n0\", algorithm=SHA3-512, qop=\"auth\""),
        digest("nonce=\"n0\", algorithm=\"\", qop=\"auth\""),
        digest("nonce=\"n0\", algorithm=SHA-256, qop=\"auth-int\""),
        digest("nonce=\"n0\", algorithm=SHA-256, qop=\"secret\""),
        digest(&format!("nonce=\"{long}\", algorithm=SHA-256, qop=\"auth\"")),
        digest(&format!("nonce=\"n0\", opaque=\"{long}\", algorithm=SHA-256, qop=\"auth\"")),
        format!("Digest realm=\"{long}\", nonce=\"n0\""),
        digest("nonce=\"n\\\"0\", algorithm=SHA-256, qop=\"auth\""),
        digest("algorithm=SHA-256, qop=\"auth\""),
        "Digest nonce=\"n0\"".to_owned(),
        "Basic realm=\"provider\"".to_owned(),
        "Digest".to_owned(),
        ",,;".to_owned(),
    ]
}

#[test]
fn a_challenge_that_cannot_be_answered_is_a_failure() {
    for challenge in unanswerable() {
        let office = office();
        let invite = office.bob.authenticates(BOB, &office.bob.request("INVITE", "sip:00441234@office.example"));
        office.bob.expects("100");
        challenges(&office, &office.provider.expects("INVITE"), 407, &challenge);
        is_refused(&office.bob, &invite, "502");
        office.provider.receives_nothing();
    }
    for challenge in unanswerable() {
        let (sim, provider) = setup(|_| {});
        registration::challenges(&provider, &provider.expects("REGISTER"), 401, &challenge);
        provider.receives_nothing();
        assert_eq!((registered(&sim, true), registered(&sim, false)), (0, 1), "{challenge}");
        // The next attempt comes after a pause.
        assert!(waits(&sim, &provider).0 > 14.0);
    }
}

#[test]
fn of_several_challenges_one_that_can_be_answered_is() {
    let office = office();
    office.alice_dials("0891234");
    office.alice.expects("100");
    let received = office.provider.expects("INVITE");
    let refusal = unanswerable().into_iter().filter(|challenge| challenge.len() < 1000);
    let refusal =
        refusal.fold(office.provider.answer(&received, 401), |it, challenge| it.with("WWW-Authenticate", challenge));
    office.provider.sends(&refusal.with("WWW-Authenticate", CHALLENGE));
    office.provider.expects("ACK");
    assert!(is_right(&office.provider.expects("INVITE"), "Authorization"));
    office.sim.skip_final_check();
}

/// What a trunk answers to a request instead of a response.
fn garbage(provider: &Agent, request: &Sip) -> Vec<Vec<u8>> {
    let with = |name: &str, value: &str| provider.answer(request, 200).set(name, value).bytes();
    let number = sequence(request);
    let started = |line: &str| {
        let mut response = provider.answer(request, 200);
        response.start = line.to_owned();
        response.bytes()
    };
    vec![
        vec![0xff; 1000],
        b"\r\n\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        Sip::new("SIP/2.0 200 OK").bytes(),
        Sip::new("SIP/2.0 200 OK").with("Via", request.values("Via").next().unwrap_or_default()).bytes(),
        with("CSeq", "none INVITE"),
        with("CSeq", "99999999999 INVITE"),
        with("CSeq", &format!("{number} FROBNICATE")),
        with("CSeq", &number.to_string()),
        with("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKT00"),
        with("Content-Length", "99999"),
        started("SIP/2.0 20 OK"),
        started("SIP/2.0 2000 OK"),
        started("SIP/2.0 xyz OK"),
        // Its own request comes back.
        request.bytes(),
    ]
}

#[test]
fn garbage_is_dropped_and_the_call_goes_on() {
    let office = office();
    let (invite, received) = office.alice_reaches("0891234");
    for bytes in garbage(&office.provider, &received) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        office.provider.sends_raw(bytes);
        assert!(office.alice.next_message_if_any().is_none(), "{text}");
    }
    while office.provider.next_message_if_any().is_some() {}
    let ok = accepts(&office.alice, &invite, &office.provider, &received);
    let info = office.alice.within(&invite, &ok, "INFO");
    office.alice.sends(&info);
    let received = office.provider.expects("INFO");
    for bytes in garbage(&office.provider, &received) {
        office.provider.sends_raw(bytes);
    }
    while office.provider.next_message_if_any().is_some() {}
    office.provider.answers(&received, 200);
    office.alice.expects("200");
}

#[test]
fn garbage_is_no_registration() {
    let (sim, provider) = setup(|_| {});
    let register = provider.expects("REGISTER");
    for bytes in garbage(&provider, &register) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        provider.sends_raw(bytes);
        while provider.next_message_if_any().is_some() {}
        assert_eq!(registered(&sim, true), 0, "{text}");
    }
    let contact = format!("{};expires=600", register.value("Contact"));
    provider.sends(&provider.answer(&register, 200).with("Contact", contact));
    provider.receives_nothing();
    assert_eq!(registered(&sim, true), 1);
}

#[test]
fn a_trunk_that_redirects_to_itself_is_not_called_again() {
    for contact in ["<sip:192.0.2.80>", "<sip:+441234@192.0.2.80:5060;user=phone>", "<sip:00441234@office.example>"] {
        let office = office();
        let invite = office.bob.authenticates(BOB, &office.bob.request("INVITE", "sip:00441234@office.example"));
        office.bob.expects("100");
        let received = office.provider.expects("INVITE");
        office.provider.sends(&office.provider.answer(&received, 302).set("Contact", contact));
        office.provider.expects("ACK");
        is_refused(&office.bob, &invite, "502");
        office.provider.receives_nothing();
    }
    let (sim, provider) = setup(|_| {});
    let register = provider.expects("REGISTER");
    provider.sends(&provider.answer(&register, 302).with("Contact", "<sip:192.0.2.80>"));
    provider.receives_nothing();
    assert_eq!(registered(&sim, false), 1);
}

#[test]
fn a_200_registers_only_our_own_contact() {
    // The Contacts in the 200, where `=` is ours, and whether this server is registered then.
    for (contacts, is_registered) in [
        (vec![], true),
        (vec!["="], true),
        (vec!["<sip:mallory@192.0.2.66>", "=;expires=600", "<sip:+1@192.0.2.67>"], true),
        (vec!["<sip:mallory@192.0.2.66>"], false),
        (vec!["=;expires=0"], false),
        (vec!["<sip:mallory@192.0.2.1:5060>"], false),
        (vec!["<tel:+49891>", "<>"], false),
    ] {
        let (sim, provider) = setup(|_| {});
        let register = provider.expects("REGISTER");
        let own = register.value("Contact");
        let answer = contacts.iter().fold(provider.answer(&register, 200), |answer, contact| {
            let value =
                contact.strip_prefix('=').map_or_else(|| (*contact).to_owned(), |params| format!("{own}{params}"));
            answer.with("Contact", value)
        });
        provider.sends(&answer);
        provider.receives_nothing();
        let counted = (registered(&sim, true), registered(&sim, false));
        assert_eq!(counted, (usize::from(is_registered), usize::from(!is_registered)), "{contacts:?}");
    }
}

#[test]
fn a_423_is_obeyed_once_and_only_if_it_can_be() {
    for min in ["0", "1", "600", "86401", "4294967295", "99999999999", "-1", "soon", ""] {
        let (sim, provider) = setup(|_| {});
        let register = provider.expects("REGISTER");
        provider.sends(&provider.answer(&register, 423).with("Min-Expires", min));
        provider.receives_nothing();
        assert_eq!(registered(&sim, false), 1, "{min}");
        assert_eq!(waits(&sim, &provider).1.value("Expires"), "600");
    }
    // A trunk that always wants one second more.
    let (sim, provider) = setup(|_| {});
    let register = provider.expects("REGISTER");
    provider.sends(&provider.answer(&register, 423).with("Min-Expires", 601));
    let longer = provider.expects("REGISTER");
    assert_eq!(longer.value("Expires"), "601");
    provider.sends(&provider.answer(&longer, 423).with("Min-Expires", 602));
    provider.receives_nothing();
    assert_eq!(registered(&sim, false), 1);
    assert!(waits(&sim, &provider).0 > 14.0);
}

#[test]
fn a_registration_for_a_moment_is_not_refreshed_all_the_time() {
    let (sim, provider) = setup(|_| {});
    let mut register = provider.expects("REGISTER");
    for _ in 0..3 {
        provider.sends(
            &provider.answer(&register, 200).with("Contact", format!("{};expires=1", register.value("Contact"))),
        );
        let (pause, next) = waits(&sim, &provider);
        assert!((4.5..6.0).contains(&pause), "{pause}");
        register = next;
    }
}
