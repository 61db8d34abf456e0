//! Identity headers: which are accepted from whom and sent to whom (RFC 3325, RFC 3323, RFC 5806, RFC 7044).

use proxy::{Account, Authentication, Foreign, Settings, Strangers, fixed_bindings};

use sim::{Agent, DOMAIN, Login, Simulation, Sip};

use crate::accounts::{ALICE, BOB, add_accounts, aor};

/// Headers that no phone may set for its caller, nor a called phone for itself.
const CLAIMS: [(&str, &str); 5] = [
    ("P-Asserted-Identity", "<sip:boss@office.example>"),
    ("P-Preferred-Identity", "<sip:boss@office.example>"),
    ("Remote-Party-ID", "\"Boss\" <sip:boss@office.example>;party=calling;screen=yes"),
    ("Diversion", "<sip:boss@office.example>;reason=unconditional"),
    ("History-Info", "<sip:boss@office.example>;index=1, <sip:bob@office.example>;index=1.1"),
];

/// The trunk is the first agent of its simulation, at 192.0.2.11.
fn secured(settings: &mut Settings) {
    add_accounts(settings, &[ALICE, BOB]);
    settings.foreign = Foreign::Authenticated;
    settings.strangers = Strangers::Accept;
    settings.trusted = "192.0.2.11/32".parse().into_iter().collect();
    let gateway = fixed_bindings([("sip:gateway@192.0.2.11", None)]);
    settings.accounts.insert(aor("gateway"), Account { contacts: Some(gateway), ..Account::default() });
}

/// The trunk, alice, and bob with one phone.
fn setup() -> (Simulation, Agent, Agent, Agent) {
    let sim = Simulation::with(secured);
    let (trunk, alice, bob) = (sim.udp("trunk"), sim.udp("alice"), sim.udp("bob"));
    sign_in(&bob, BOB);
    (sim, trunk, alice, bob)
}

fn sign_in(phone: &Agent, login: Login<'_>) {
    phone.sends(&phone.register());
    let refused = phone.expects("401");
    let register = phone.register();
    let answer = login.answer(&refused, "SHA-256", &register, 1);
    phone.sends(&register.with("Authorization", answer));
    phone.expects("200");
}

/// Sends a request outside of a dialog with the credentials of its user.
fn proven(phone: &Agent, login: Login<'_>, request: &Sip) -> Sip {
    let method = request.what().to_owned();
    phone.sends(request);
    let refused = phone.expects("407");
    if method == "INVITE" {
        phone.acks(request, &refused);
    }
    let again = request.clone().set("Via", phone.via()).set("CSeq", format!("77 {method}"));
    let answer = login.answer(&refused, "SHA-256", &again, 1);
    let again = again.with("Proxy-Authorization", answer);
    phone.sends(&again);
    again
}

fn with_claims(message: Sip) -> Sip {
    CLAIMS.iter().fold(message, |message, (name, value)| message.with(name, value))
}

/// The names of the identity headers of a message.
fn claims(message: &Sip) -> Vec<&'static str> {
    CLAIMS.iter().map(|(name, _)| *name).filter(|name| message.has(name)).collect()
}

const NONE: [&str; 0] = [];

fn all() -> Vec<&'static str> {
    CLAIMS.iter().map(|(name, _)| *name).collect()
}

fn message_to(phone: &Agent, user: &str) -> Sip {
    phone.request("MESSAGE", &format!("sip:{user}@{DOMAIN}"))
}

#[test]
fn identity_headers_of_phones_and_strangers_are_removed() {
    // RFC 3325 5
    let (sim, _trunk, alice, bob) = setup();
    for method in ["MESSAGE", "INVITE", "OPTIONS"] {
        proven(&alice, ALICE, &with_claims(alice.request(method, "sip:bob@office.example")));
        assert_eq!(claims(&bob.expects(method)), NONE, "{method}");
    }
    let stranger = sim.udp("stranger");
    let foreign = with_claims(message_to(&stranger, "bob")).set("From", "<sip:s@elsewhere.example>;tag=1");
    stranger.sends(&foreign);
    let received = bob.expects("MESSAGE");
    assert_eq!(claims(&received), NONE);
    // In any spelling, on several lines, and with the rest of the message unchanged.
    let odd = foreign
        .set("Via", stranger.via())
        .set("CSeq", "2 MESSAGE")
        .with("p-asserted-identity ", " tel:+1")
        .with("P-ASSERTED-IDENTITY", "<sip:a@b>,\r\n <tel:+2>")
        .with("Subject", "hello");
    stranger.sends(&odd);
    let received = bob.expects("MESSAGE");
    assert_eq!((claims(&received), received.value("Subject")), (NONE.to_vec(), "hello"));
}

#[test]
fn identity_headers_are_removed_from_retransmissions_and_within_dialogs() {
    let (_sim, _trunk, alice, bob) = setup();
    let invite = proven(&alice, ALICE, &with_claims(alice.request("INVITE", "sip:bob@office.example")));
    let received = bob.expects("INVITE");
    alice.sends(&invite);
    assert_eq!(bob.expects("INVITE"), received, "a copy is the same, octet by octet");
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    alice.sends(&with_claims(alice.within(&invite, &ok, "ACK").set("CSeq", "77 ACK")));
    assert_eq!(claims(&bob.expects("ACK")), NONE);
    alice.sends(&with_claims(alice.within(&invite, &ok, "INVITE").set("CSeq", "78 INVITE")));
    assert_eq!(claims(&bob.expects("INVITE")), NONE);
    bob.sends(&with_claims(bob.within_as_callee(&received, &ok, "UPDATE")));
    assert_eq!(claims(&alice.expects("UPDATE")), NONE);
    let invite = proven(&alice, ALICE, &alice.request("INVITE", "sip:bob@office.example"));
    bob.expects("INVITE");
    alice.sends(&with_claims(alice.cancel(&invite)));
    assert_eq!(claims(&bob.expects("CANCEL")), NONE);
}

#[test]
fn identity_headers_are_removed_from_forked_calls() {
    let (sim, _trunk, alice, desk) = setup();
    let mobile = sim.udp("bob/mobile");
    sign_in(&mobile, BOB);
    proven(&alice, ALICE, &with_claims(alice.request("INVITE", "sip:bob@office.example")));
    alice.expects("100");
    for phone in [&desk, &mobile] {
        assert_eq!(claims(&phone.expects("INVITE")), NONE);
    }
    sim.millis(600);
    assert_eq!(claims(&desk.expects("INVITE")), NONE, "a copy");
    mobile.expects("INVITE");
    let received = desk.all_received();
    assert_eq!(received, []);
    sim.skip_final_check();
}

#[test]
fn identity_headers_of_a_trusted_source_are_kept() {
    let (_sim, trunk, alice, bob) = setup();
    trunk.sends(&with_claims(message_to(&trunk, "bob")).set("From", "<sip:+1@elsewhere.example>;tag=1"));
    let received = bob.expects("MESSAGE");
    assert_eq!(claims(&received), all());
    // The trunk gets the asserted identity, as others do.
    proven(&alice, ALICE, &with_claims(message_to(&alice, "gateway")));
    assert_eq!(claims(&trunk.expects("MESSAGE")), NONE);
}

#[test]
fn a_user_may_choose_among_its_own_identities() {
    // RFC 3325 5 and 6
    let (sim, _trunk, alice, bob) = setup();
    let preferring = |phone: &Agent, value: &str| message_to(phone, "bob").with("P-Preferred-Identity", value);
    for own in [
        "<sip:alice@office.example>",
        "\"Queen\" <sip:alice@office.example;x=y>",
        "sip:%61lice@OFFICE.example",
        "<sips:alice@sip.office.example>",
        "<tel:+1>, <sip:alice@office.example>",
    ] {
        let sent = proven(&alice, ALICE, &preferring(&alice, own));
        let received = bob.expects("MESSAGE");
        // In the form that the settings have, not as the phone wrote it.
        assert_eq!(received.values("P-Asserted-Identity").collect::<Vec<_>>(), ["<sip:alice@office.example>"], "{own}");
        assert!(!received.has("P-Preferred-Identity"));
        alice.sends(&sent);
        assert_eq!(bob.expects("MESSAGE"), received, "a copy is the same, octet by octet");
    }
    for other in
        ["<sip:bob@office.example>", "<sip:alice@elsewhere.example>", "<tel:+1>", "", "<sip:alice@office.example"]
    {
        proven(&alice, ALICE, &preferring(&alice, other));
        assert_eq!(claims(&bob.expects("MESSAGE")), NONE, "{other}");
    }
    // The preferred identity is used, and what the phone asserts itself is removed.
    proven(&alice, ALICE, &with_claims(preferring(&alice, "<sip:alice@office.example>")));
    let received = bob.expects("MESSAGE");
    assert_eq!(claims(&received), ["P-Asserted-Identity"]);
    assert_eq!(received.value("P-Asserted-Identity"), "<sip:alice@office.example>");
    // An unauthenticated sender has no identity that could be asserted.
    let stranger = sim.udp("stranger");
    stranger.sends(&preferring(&stranger, "<sip:s@elsewhere.example>").set("From", "<sip:s@elsewhere.example>;tag=1"));
    assert_eq!(claims(&bob.expects("MESSAGE")), NONE);
    sim.reconfigure(|settings| settings.authentication = Authentication::Off);
    alice.sends(&preferring(&alice, "<sip:alice@office.example>"));
    assert_eq!(claims(&bob.expects("MESSAGE")), NONE);
}

#[test]
fn a_private_identity_is_not_sent_to_untrusted_peers() {
    // RFC 3325 7 and 9.3, RFC 7044 10.1.2, RFC 3323 4.2
    let (_sim, trunk, alice, bob) = setup();
    let from_trunk = |user: &str| with_claims(message_to(&trunk, user)).set("From", "<sip:a@anonymous.invalid>;tag=1");
    let other = CLAIMS.iter().map(|(name, _)| *name).filter(|name| *name != "History-Info").collect::<Vec<_>>();
    for (privacy, left) in [
        ("id", vec![]),
        ("ID;critical", vec![]),
        ("user, id", vec![]),
        ("id;", vec![]),
        ("none", all()),
        ("user", all()),
        ("session", all()),
        ("history", other.clone()),
        ("header", other),
    ] {
        trunk.sends(&from_trunk("bob").with("Privacy", privacy));
        let received = bob.expects("MESSAGE");
        assert_eq!(claims(&received), left, "{privacy}");
        assert_eq!(received.value("Privacy"), privacy);
        // Within the trust domain it is forwarded.
        trunk.sends(&from_trunk("gateway").with("Privacy", privacy));
        assert_eq!(claims(&trunk.expects("MESSAGE")), all(), "{privacy}");
    }
    trunk.sends(&from_trunk("bob").with("Privacy", "user").with("Privacy", "id"));
    assert_eq!(claims(&bob.expects("MESSAGE")), NONE, "on a second line");
    // Requests for privacy in the request itself.
    for (name, value) in [
        ("Remote-Party-ID", "<sip:boss@office.example>;privacy=full"),
        ("Diversion", "<sip:boss@office.example>;privacy=\"full\""),
        ("History-Info", "<sip:boss@office.example?Privacy=history>;index=1"),
    ] {
        trunk.sends(&from_trunk("bob").set(name, value));
        let left: Vec<_> = all().into_iter().filter(|left| *left != name).collect();
        assert_eq!(claims(&bob.expects("MESSAGE")), left, "{name}");
    }
    let open = "<sip:boss@office.example>;privacy=off";
    trunk.sends(&from_trunk("bob").set("Remote-Party-ID", open).set("Diversion", open));
    assert_eq!(claims(&bob.expects("MESSAGE")), all());
    // A local user.
    let own = |user| message_to(&alice, user).with("P-Preferred-Identity", "<sip:alice@office.example>");
    proven(&alice, ALICE, &own("bob").with("Privacy", "id"));
    assert_eq!(claims(&bob.expects("MESSAGE")), NONE);
    proven(&alice, ALICE, &own("gateway").with("Privacy", "id"));
    assert_eq!(claims(&trunk.expects("MESSAGE")), ["P-Asserted-Identity"]);
}

#[test]
fn identity_headers_are_removed_from_responses_of_phones() {
    let (sim, trunk, alice, bob) = setup();
    let mobile = sim.udp("bob/mobile");
    for forked in [false, true] {
        if forked {
            sign_in(&mobile, BOB);
        }
        proven(&alice, ALICE, &alice.request("INVITE", "sip:bob@office.example"));
        if forked {
            alice.expects("100");
            mobile.expects("INVITE");
        }
        let received = bob.expects("INVITE");
        for status in [180, 200] {
            bob.sends(&with_claims(bob.answer(&received, status)));
            let answer = alice.expects(&status.to_string());
            assert_eq!(claims(&answer), NONE, "{status}, forked: {forked}");
            assert!(answer.has("Contact"));
        }
    }
    proven(&alice, ALICE, &message_to(&alice, "gateway"));
    let received = trunk.expects("MESSAGE");
    let answer = with_claims(trunk.answer(&received, 200));
    trunk.sends(&answer);
    assert_eq!(claims(&alice.expects("200")), all(), "from a trusted network");
    trunk.sends(&answer.clone().with("Privacy", "id"));
    assert_eq!(claims(&alice.expects("200")), NONE, "who is called may want to stay private too");
    // Responses in the name of the trunk from another address are dropped.
    let mallory = sim.udp("mallory");
    mallory.sends(&answer);
    alice.receives_nothing();
    trunk.sends(&message_to(&trunk, "gateway").set("From", "<sip:+1@elsewhere.example>;tag=1"));
    let received = trunk.expects("MESSAGE");
    trunk.sends(&with_claims(trunk.answer(&received, 200)).with("Privacy", "id"));
    assert_eq!(claims(&trunk.expects("200")), all(), "within the trust domain");
    sim.skip_final_check();
}

#[test]
fn critical_privacy_that_is_not_available_is_refused() {
    // RFC 3323 4.2 and 5
    let (sim, trunk, _alice, bob) = setup();
    let from_trunk = |user: &str, privacy: &str| {
        message_to(&trunk, user).set("From", "<sip:a@anonymous.invalid>;tag=1").with("Privacy", privacy)
    };
    for (privacy, missing) in [
        ("header;critical", "header"),
        ("critical;id;session", "session"),
        ("user;header;session;x;critical", "header, session, user, x"),
    ] {
        trunk.sends(&from_trunk("bob", privacy));
        let refused = trunk.expects("500");
        assert_eq!(refused.reason(), format!("Privacy Failure: {}", missing.replace("x", "others")), "{privacy}");
    }
    for privacy in ["id;critical", "history;critical", "none", "header;session;user", "critical"] {
        trunk.sends(&from_trunk("bob", privacy));
        bob.expects("MESSAGE");
    }
    // The next hop in the trust domain may be a privacy service.
    trunk.sends(&from_trunk("gateway", "header;critical"));
    trunk.expects("MESSAGE");
    // A call can be ended nevertheless.
    let bye = from_trunk("bob", "header;critical").set("CSeq", "1 BYE").set("To", "<sip:bob@office.example>;tag=1");
    let mut bye = bye;
    bye.start = bye.start.replace("MESSAGE", "BYE");
    trunk.sends(&bye);
    bob.expects("BYE");
    sim.skip_final_check();
}

#[test]
fn a_retransmission_to_a_contact_has_the_same_identity() {
    // RFC 3261 16.11: a copy is the same, also if users may not call foreign addresses, as which a Contact counts at first.
    for foreign in [Foreign::Refuse, Foreign::Authenticated] {
        let sim = Simulation::with(|settings| {
            secured(settings);
            settings.foreign = foreign;
        });
        // The first agent is in the trusted network.
        let (bob, alice) = (sim.udp("bob"), sim.udp("alice"));
        sign_in(&bob, BOB);
        sign_in(&alice, ALICE);
        let own = "<sip:alice@office.example>";
        let message = alice.request("MESSAGE", &bob.contact()).with("P-Preferred-Identity", own);
        let message = proven(&alice, ALICE, &message);
        let received = bob.expects("MESSAGE");
        assert_eq!(received.value("P-Asserted-Identity"), own);
        alice.sends(&message);
        assert_eq!(bob.expects("MESSAGE"), received);
    }
}
