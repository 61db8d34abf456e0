//! Challenges of a trunk are answered by this server, with other CSeq numbers than those of the caller (RFC 3261 22.2).

use proxy::Login;

use super::*;

const CHALLENGE: &str = "Digest realm=\"provider\", nonce=\"n0\", algorithm=SHA-256, qop=\"auth\"";

fn office() -> Office {
    Office::with(|settings| {
        secured(settings, |trunk| {
            trunk.login = Some(Login { user: "4989100".into(), password: "secret".into() });
        });
    })
}

fn sequence(message: &Sip) -> u32 {
    let (number, _) = message.value("CSeq").split_once(' ').expect("a method");
    number.parse().expect("a number")
}

/// The provider challenges an INVITE, and gets the next one.
fn challenges(office: &Office, invite: &Sip, status: u16, challenge: &str) {
    let name = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
    office.provider.sends(&office.provider.answer(invite, status).with(name, challenge));
    let ack = office.provider.expects("ACK");
    assert_eq!((sequence(&ack), ack.branch()), (sequence(invite), invite.branch()));
}

fn is_right(invite: &Sip, header: &str) -> bool {
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
fn the_challenge_of_a_request_in_a_dialog_does_not_reach_the_phone() {
    let office = office();
    let (invite, received) = office.alice_reaches("0891234");
    let ok = accepts(&office.alice, &invite, &office.provider, &received);
    for (status, name, method) in
        [(401, "WWW-Authenticate", "INVITE"), (407, "Proxy-Authenticate", "INFO"), (407, "Proxy-Authenticate", "BYE")]
    {
        let request = office.alice.within(&invite, &ok, method);
        office.alice.sends(&request);
        let at_provider = office.provider.expects(method);
        office.provider.sends(&office.provider.answer(&at_provider, status).with(name, CHALLENGE));
        let refusal = office.alice.expects(&status.to_string());
        assert!(!refusal.has(name) && sequence(&refusal) == sequence(&request), "{refusal}");
        if method == "INVITE" {
            office.alice.sends(&sim::hop_by_hop("ACK", &request, refusal.value("To")));
            office.provider.expects("ACK");
        }
    }
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
    is_refused(&office.bob, &invite, "502");
}

/// What one side of a dialog has received from the other: each request must have a higher number than the one before, apart
/// from the ACK, which has that of its INVITE (RFC 3261 12.2.1.1).
#[derive(Default)]
struct Seen {
    highest: u32,
    invite: u32,
}

impl Seen {
    fn check(&mut self, request: &Sip) {
        let number = sequence(request);
        match request.what() {
            "ACK" => assert_eq!(number, self.invite, "{request}"),
            method => {
                assert!(number > self.highest, "{request}");
                self.highest = number;
                if method == "INVITE" {
                    self.invite = number;
                }
            }
        }
        // RFC 3262 7.2
        if let Some(rack) = Some(request.value("RAck")).filter(|rack| !rack.is_empty()) {
            assert_eq!(rack, format!("1 {} INVITE", self.invite));
        }
    }
}

/// A sequence of numbers that is the same for each seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }
}

/// A dialog that the caller and the trunk have set up.
struct Talk<'a> {
    office: &'a Office,
    /// As alice sent it, and as the trunk got it.
    invites: (Sip, Sip),
    ok: Sip,
    /// The last numbers of alice and of the trunk.
    numbers: (u32, u32),
    seen: (Seen, Seen),
}

impl Talk<'_> {
    /// alice sends a request; the trunk answers it.
    fn alice_asks(&mut self, method: &str, status: u16) {
        let (alice, provider) = (&self.office.alice, &self.office.provider);
        self.numbers.0 += 1;
        let number = self.numbers.0;
        let request = alice.within(&self.invites.0, &self.ok, method).set("CSeq", format!("{number} {method}"));
        alice.sends(&request);
        let received = provider.expects(method);
        self.seen.1.check(&received);
        provider.answers(&received, status);
        let response = alice.expects(&status.to_string());
        assert_eq!(response.value("CSeq"), request.value("CSeq"));
        if method == "INVITE" {
            let ack = match status {
                200 => alice.within(&self.invites.0, &self.ok, "ACK").set("CSeq", format!("{number} ACK")),
                _ => sim::hop_by_hop("ACK", &request, response.value("To")),
            };
            alice.sends(&ack);
            self.seen.1.check(&provider.expects("ACK"));
        }
    }

    /// The trunk sends a request; alice answers it.
    fn trunk_asks(&mut self, method: &str) {
        let (alice, provider) = (&self.office.alice, &self.office.provider);
        self.numbers.1 += 1;
        let number = self.numbers.1;
        let request =
            provider.within_as_callee(&self.invites.1, &self.ok, method).set("CSeq", format!("{number} {method}"));
        provider.sends(&request);
        let received = alice.expects(method);
        assert_eq!(received.value("CSeq"), request.value("CSeq"), "the numbers of the trunk stay as they are");
        self.seen.0.check(&received);
        alice.answers(&received, 200);
        assert_eq!(provider.expects("200").value("CSeq"), request.value("CSeq"));
    }
}

#[test]
fn each_side_of_a_dialog_sees_consistent_numbers() {
    for seed in 1..=60 {
        let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let office = office();
        let (invite, mut received) = office.alice_reaches("0891234");
        let mut seen = Seen::default();
        seen.check(&received);
        for number in 0..random.below(3) {
            let challenge = CHALLENGE.replace("n0", &format!("n{number}")) + ", stale=true";
            challenges(&office, &received, 407, &challenge);
            received = office.provider.expects("INVITE");
            seen.check(&received);
        }
        let mut own = sequence(&invite);
        if random.below(2) == 0 {
            let ringing = office.provider.answer(&received, 183).with("RSeq", 1).with("Require", "100rel");
            office.provider.sends(&ringing);
            let early = office.alice.expects("183");
            let rack = format!("1 {own} INVITE");
            own += 1;
            let prack = office.alice.within(&invite, &early, "PRACK").set("CSeq", format!("{own} PRACK"));
            office.alice.sends(&prack.with("RAck", rack));
            let prack = office.provider.expects("PRACK");
            seen.check(&prack);
            office.provider.answers(&prack, 200);
            assert_eq!(office.alice.expects("200").value("CSeq"), format!("{own} PRACK"));
        }
        office.provider.answers(&received, 200);
        let ok = office.alice.expects("200");
        office.alice.acks(&invite, &ok);
        let ack = office.provider.expects("ACK");
        assert_eq!(sequence(&ack), sequence(&received));
        let mut talk =
            Talk { office: &office, invites: (invite, received), ok, numbers: (own, 0), seen: (Seen::default(), seen) };
        for _ in 0..random.below(12) {
            match random.below(7) {
                0 => talk.alice_asks("INVITE", 200),
                1 => talk.alice_asks("INVITE", 488),
                2 => talk.alice_asks("UPDATE", 200),
                3 => talk.alice_asks("INFO", 500),
                4 => talk.trunk_asks("UPDATE"),
                5 => talk.trunk_asks("INFO"),
                _ => talk.trunk_asks("OPTIONS"),
            }
        }
        if random.below(2) == 0 {
            talk.alice_asks("BYE", 200);
        } else {
            talk.trunk_asks("BYE");
        }
    }
}
