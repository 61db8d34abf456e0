//! Each side of a dialog with a trunk sees consistent CSeq numbers, whatever the two sides send and the trunk challenges.

use super::challenges::{CHALLENGE, challenges, office, sequence};
use super::*;

/// What one side of a dialog has received from the other: each request must have a higher number than the one before, apart
/// from ACK and CANCEL, which have that of their INVITE (RFC 3261 12.2.1.1, 9.1).
#[derive(Default)]
struct Seen {
    highest: u32,
    invite: u32,
}

impl Seen {
    fn check(&mut self, request: &Sip) {
        let number = sequence(request);
        match request.what() {
            "ACK" | "CANCEL" => assert_eq!(number, self.invite, "{request}"),
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

    fn is_so(&mut self) -> bool {
        self.below(2) == 0
    }

    /// The next nonce. It is stale whenever it comes, so that this server answers.
    fn challenge(&mut self) -> String {
        CHALLENGE.replace("n0", &format!("n{}", self.below(1000))) + ", stale=true"
    }
}

/// How a request of the phone goes.
struct Course {
    /// How often the trunk challenges it.
    challenges: u64,
    /// Whether it is sent twice, and so is its 200.
    is_repeated: bool,
    /// For an INVITE: whether a response before the final one is acknowledged (RFC 3262).
    is_reliable: bool,
    end: End,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    With(u16),
    Cancelled,
}

/// A dialog between a phone and the trunk.
struct Dialog<'a> {
    office: &'a Office,
    phone: &'a Agent,
    /// Whether the phone has called.
    is_out: bool,
    /// The INVITE as the caller sent it, and as the called side got it.
    invites: (Sip, Sip),
    /// The 200 as the called side sent it, and as the caller got it.
    oks: (Sip, Sip),
    /// The last numbers of the phone and of the trunk.
    numbers: (u32, u32),
    /// What the phone and the trunk have received.
    seen: (Seen, Seen),
    random: Random,
}

impl<'a> Dialog<'a> {
    /// alice calls by the trunk.
    fn out(office: &'a Office, mut random: Random) -> Self {
        let phone = &office.alice;
        let (invite, mut received) = office.alice_reaches("0891234");
        let mut seen = Seen::default();
        seen.check(&received);
        for _ in 0..random.below(3) {
            challenges(office, &received, 407, &random.challenge());
            received = office.provider.expects("INVITE");
            seen.check(&received);
        }
        let mut own = sequence(&invite);
        if random.is_so() {
            let early = is_reliably_answered(phone, &office.provider, &received);
            own += 1;
            let prack = phone.within(&invite, &early, "PRACK").set("CSeq", format!("{own} PRACK"));
            phone.sends(&prack.with("RAck", format!("1 {} INVITE", sequence(&invite))));
            let mut prack = office.provider.expects("PRACK");
            seen.check(&prack);
            if random.is_so() {
                challenges(office, &prack, 407, &random.challenge());
                prack = office.provider.expects("PRACK");
                seen.check(&prack);
            }
            office.provider.answers(&prack, 200);
            assert_eq!(phone.expects("200").value("CSeq"), format!("{own} PRACK"));
        }
        let sent = office.provider.answers(&received, 200);
        let ok = phone.expects("200");
        phone.acks(&invite, &ok);
        seen.check(&office.provider.expects("ACK"));
        let (invites, oks, seen) = ((invite, received), (sent, ok), (Seen::default(), seen));
        Self { office, phone, is_out: true, invites, oks, numbers: (own, 0), seen, random }
    }

    /// The trunk calls bob.
    fn into_office(office: &'a Office, random: Random) -> Self {
        let invite = office.provider_calls("sip:+4989112@office.example");
        let received = office.bob.expects("INVITE");
        while office.provider.next_message_if_any().is_some() {}
        let sent = office.bob.answers(&received, 200);
        let ok = office.provider.expects("200");
        office.provider.acks(&invite, &ok);
        let mut seen = Seen::default();
        seen.check(&received);
        seen.check(&office.bob.expects("ACK"));
        let (numbers, seen) = ((0, sequence(&invite)), (seen, Seen::default()));
        let (invites, oks) = ((invite, received), (sent, ok));
        Self { office, phone: &office.bob, is_out: false, invites, oks, numbers, seen, random }
    }

    /// A request of the phone or of the trunk.
    fn request(&self, is_of_phone: bool, method: &str, number: u32) -> Sip {
        let sender = if is_of_phone { self.phone } else { &self.office.provider };
        let request = match is_of_phone == self.is_out {
            true => sender.within(&self.invites.0, &self.oks.1, method),
            false => sender.within_as_callee(&self.invites.1, &self.oks.0, method),
        };
        request.set("CSeq", format!("{number} {method}"))
    }

    /// The phone sends a request; the trunk challenges and answers it.
    fn phone_asks(&mut self, method: &str, course: &Course) {
        let (phone, trunk) = (self.phone, &self.office.provider);
        self.numbers.0 += 1;
        let number = self.numbers.0;
        let is_invite = method == "INVITE";
        let request = self.request(true, method, number);
        let request = if method == "REFER" { request.with("Refer-To", "<sip:bob@office.example>") } else { request };
        for _ in 0..=u8::from(course.is_repeated) {
            phone.sends(&request);
            if is_invite {
                phone.expects("100");
            }
        }
        let mut received = trunk.expects(method);
        self.seen.1.check(&received);
        for _ in 0..course.challenges {
            challenges(self.office, &received, 407, &self.random.challenge());
            received = trunk.expects(method);
            self.seen.1.check(&received);
        }
        if course.is_reliable && is_invite {
            is_reliably_answered(phone, trunk, &received);
            self.acknowledges_response(number);
        }
        match course.end {
            End::Cancelled if is_invite => self.cancels(&request, &received),
            End::Cancelled => self.ends(&request, &received, 487, false),
            End::With(status) => self.ends(&request, &received, status, course.is_repeated),
        }
    }

    /// The phone sends a PRACK for the INVITE with this number.
    fn acknowledges_response(&mut self, invite: u32) {
        self.numbers.0 += 1;
        let number = self.numbers.0;
        self.phone.sends(&self.request(true, "PRACK", number).with("RAck", format!("1 {invite} INVITE")));
        let mut prack = self.office.provider.expects("PRACK");
        self.seen.1.check(&prack);
        for _ in 0..self.random.below(3) {
            challenges(self.office, &prack, 401, &self.random.challenge());
            prack = self.office.provider.expects("PRACK");
            self.seen.1.check(&prack);
        }
        self.office.provider.answers(&prack, 200);
        assert_eq!(self.phone.expects("200").value("CSeq"), format!("{number} PRACK"));
    }

    /// The phone cancels its INVITE.
    fn cancels(&mut self, request: &Sip, received: &Sip) {
        let (phone, trunk) = (self.phone, &self.office.provider);
        trunk.answers(received, 180);
        phone.expects("180");
        phone.cancels(request);
        phone.expects("200");
        let cancel = trunk.expects("CANCEL");
        self.seen.1.check(&cancel);
        assert_eq!(cancel.branch(), received.branch());
        trunk.answers(&cancel, 200);
        self.ends(request, received, 487, false);
    }

    /// The trunk sends its final response.
    fn ends(&mut self, request: &Sip, received: &Sip, status: u16, is_repeated: bool) {
        let (phone, trunk) = (self.phone, &self.office.provider);
        let is_invite = request.what() == "INVITE";
        let number = sequence(request);
        for _ in 0..=u8::from(is_repeated && is_invite && status == 200) {
            trunk.answers(received, status);
            if is_invite && status != 200 {
                self.seen.1.check(&trunk.expects("ACK"));
            }
            let response = phone.expects(&status.to_string());
            assert_eq!(response.value("CSeq"), request.value("CSeq"));
            assert_eq!(response.value("From"), request.value("From"));
            if is_invite && status == 200 {
                phone.sends(&self.request(true, "ACK", number));
                self.seen.1.check(&trunk.expects("ACK"));
            } else if is_invite {
                phone.sends(&sim::hop_by_hop("ACK", request, response.value("To")));
            }
        }
        if is_repeated && !is_invite {
            phone.sends(request);
            assert_eq!(phone.expects(&status.to_string()).value("CSeq"), request.value("CSeq"));
        }
    }

    /// The trunk sends a request; the phone answers it.
    fn trunk_asks(&mut self, method: &str) {
        let (phone, trunk) = (self.phone, &self.office.provider);
        self.numbers.1 += 1;
        let number = self.numbers.1;
        let request = self.request(false, method, number);
        trunk.sends(&request);
        let received = phone.expects(method);
        assert_eq!(received.value("CSeq"), request.value("CSeq"), "the numbers of the trunk stay as they are");
        self.seen.0.check(&received);
        phone.answers(&received, 200);
        assert_eq!(trunk.expects("200").value("CSeq"), request.value("CSeq"));
        if method == "INVITE" {
            trunk.sends(&self.request(false, "ACK", number));
            self.seen.0.check(&phone.expects("ACK"));
        }
    }
}

/// The trunk sends a provisional response that has to be acknowledged.
fn is_reliably_answered(phone: &Agent, trunk: &Agent, received: &Sip) -> Sip {
    trunk.sends(&trunk.answer(received, 183).with("RSeq", 1).with("Require", "100rel"));
    phone.expects("183")
}

#[test]
fn each_side_of_a_dialog_sees_consistent_numbers() {
    for seed in 1..=120 {
        let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let office = office();
        let mut dialog = match random.is_so() {
            true => Dialog::out(&office, random),
            false => Dialog::into_office(&office, random),
        };
        for _ in 0..dialog.random.below(12) {
            let random = &mut dialog.random;
            let ends = [End::With(200), End::With(200), End::With(488), End::Cancelled];
            let course = Course {
                challenges: random.below(3),
                is_repeated: random.below(3) == 0,
                is_reliable: random.is_so(),
                end: ends[random.below(4) as usize],
            };
            match random.below(10) {
                0..=3 => dialog.phone_asks("INVITE", &course),
                4 => dialog.phone_asks("UPDATE", &course),
                5 => dialog.phone_asks("INFO", &course),
                6 => dialog.phone_asks("REFER", &course),
                7 => dialog.trunk_asks("UPDATE"),
                8 => dialog.trunk_asks("INVITE"),
                _ => dialog.trunk_asks("INFO"),
            }
        }
        if dialog.random.is_so() {
            let course = Course { challenges: 1, is_repeated: true, is_reliable: false, end: End::With(200) };
            dialog.phone_asks("BYE", &course);
        } else {
            dialog.trunk_asks("BYE");
        }
    }
}
