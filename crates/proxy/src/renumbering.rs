//! CSeq numbers towards a trunk whose challenges are answered by this server.
//!
//! A request that answers a challenge needs a higher CSeq number than the first one (RFC 3261 22.2), but its sender knows
//! of one request only. So the numbers of the side that is not the trunk are multiplied by 8: CSeq n leaves as 8n + k,
//! where k is the number of challenges that were answered for that request, and comes back as n. The ACK of an INVITE and
//! the RAck of a PRACK have the number of their INVITE: the dialog token contains the one of the INVITE that created the
//! dialog, and [`SentNumbers`](crate::settings::SentNumbers) the k of later ones. The numbers of the trunk for its own
//! requests stay as they are. A request that is sent while an earlier one is being challenged overtakes it: the answer to
//! the challenge then has the lower number, and the trunk may refuse it with 500 (RFC 3261 12.2.2). Must not decide whether
//! a challenge is answered.

use parser::{HeaderName, Message, Method, Rewrite, Span, write_decimal};

/// The place of the k in a number.
const BITS: u32 = 3;

/// Higher numbers would not stay below 2^31 (RFC 3261 8.1.1.5).
const MAX_SEQUENCE: u32 = (1 << (31 - BITS)) - 1;

/// How the numbers of one side of a dialog are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renumbering {
    /// The number that an INVITE of this side was sent with. All others are taken to have been sent with k = 0.
    invite: Option<u32>,
    /// The k of the request itself.
    answered: u8,
    /// The trunk whose challenges are answered, as [`Trunk::id`](crate::settings::Trunk::id).
    trunk: Option<u32>,
}

impl Renumbering {
    /// For an INVITE to this trunk, for which so many challenges were answered. `None` if its number is too high to be
    /// changed.
    pub(crate) fn of_invite(sequence: u32, answered: u8, trunk: u32) -> Option<Self> {
        let invite = Some(sent(sequence, answered));
        Self::fits(sequence).then_some(Self { invite, answered, trunk: Some(trunk) })
    }

    /// For the called side of a call that came from this trunk.
    pub(crate) const fn of_callee(trunk: u32) -> Self {
        Self { invite: None, answered: 0, trunk: Some(trunk) }
    }

    /// Whether this number can be changed.
    pub(crate) const fn fits(sequence: u32) -> bool {
        sequence <= MAX_SEQUENCE
    }

    /// For a request for which so many challenges were answered.
    pub(crate) const fn answering(self, answered: u8) -> Self {
        Self { answered, ..self }
    }

    /// With the number of another INVITE.
    pub(crate) fn after(self, sequence: u32, answered: u8) -> Self {
        Self { invite: Some(sent(sequence, answered)), ..self }
    }

    /// Without a trunk whose challenges are answered.
    pub(crate) const fn without_trunk(self) -> Self {
        Self { trunk: None, ..self }
    }

    /// The trunk whose challenges are answered.
    pub(crate) const fn trunk(self) -> Option<u32> {
        self.trunk
    }

    /// As it is written into a token: the number of the INVITE, if this side sent it, and the trunk.
    pub(crate) fn octets(self) -> impl Iterator<Item = u8> {
        self.invite.into_iter().chain([self.trunk.unwrap_or_default()]).flat_map(u32::to_be_bytes)
    }

    /// As it was read from a token.
    pub(crate) const fn of_token(invite: Option<u32>, trunk: u32) -> Self {
        Self { invite, answered: 0, trunk: Some(trunk) }
    }

    /// The number that the request itself is sent with, and so are its CANCEL and the ACK of its failure.
    pub(crate) fn of_request(self, sequence: u32) -> u32 {
        sent(sequence, self.answered)
    }

    /// The number that an INVITE was sent with, for the ACK of a 2xx and for RAck.
    fn of_invite_sent(self, sequence: u32) -> u32 {
        self.invite.filter(|invite| invite >> BITS == sequence).unwrap_or_else(|| sent(sequence, 0))
    }

    /// Changes CSeq and RAck (RFC 3262 7.2) of a request to the trunk.
    pub(crate) fn edit(self, message: &Message, rewrite: &mut Rewrite) {
        if let Some((number, span)) = cseq(message) {
            let is_ack = message.method() == Method::Ack;
            let number = if is_ack { self.of_invite_sent(number) } else { self.of_request(number) };
            rewrite.replace(span, |out| write_decimal(out, number));
        }
        if let Some((number, span)) = rack(message) {
            rewrite.replace(span, |out| write_decimal(out, self.of_invite_sent(number)));
        }
    }
}

/// 8n + k, or n if that is too high.
fn sent(sequence: u32, answered: u8) -> u32 {
    if Renumbering::fits(sequence) { (sequence << BITS) | u32::from(answered) } else { sequence }
}

/// Whether the CSeq number of a message is not too high to be changed.
pub(crate) fn has_changeable_number(message: &Message) -> bool {
    cseq(message).is_some_and(|(number, _)| Renumbering::fits(number))
}

/// The number of the INVITE that a request refers to: an ACK by its CSeq, a PRACK by its RAck.
pub(crate) fn invite_of(message: &Message) -> Option<u32> {
    match message.method() {
        Method::Ack => Some(cseq(message)?.0),
        Method::Prack => Some(rack(message)?.0),
        _ => None,
    }
}

/// Gives a response of the trunk the CSeq number that the sender of its request knows.
pub(crate) fn restore_number(response: &Message, rewrite: &mut Rewrite) {
    if let Some((number, span)) = cseq(response) {
        rewrite.replace(span, |out| write_decimal(out, number >> BITS));
    }
}

/// The CSeq number and its position.
fn cseq(message: &Message) -> Option<(u32, Span)> {
    number_at(message, message.value(HeaderName::CSeq)?)
}

/// The CSeq number in RAck and its position: `response-num LWS CSeq-num LWS Method`.
fn rack(message: &Message) -> Option<(u32, Span)> {
    let value = message.value(HeaderName::RAck)?;
    let digits = value.iter().take_while(|octet| octet.is_ascii_digit()).count();
    number_at(message, value.get(digits..)?.trim_ascii_start())
}

fn number_at(message: &Message, text: &[u8]) -> Option<(u32, Span)> {
    let digits = text.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let digits = text.get(..digits)?;
    let number = str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, message.span_of(digits)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_the_trunk_and_back() {
        let invite = Renumbering::of_invite(7, 2, 1).unwrap();
        assert_eq!((invite.of_request(7), invite.of_invite_sent(7), invite.of_invite_sent(8)), (58, 58, 64));
        let later = Renumbering::of_token(invite.invite, 1);
        assert_eq!(later.of_invite_sent(7), 58);
        assert_eq!((later.of_request(8), later.answering(1).of_request(8), later.of_request(0)), (64, 65, 0));
        assert_eq!((later.after(9, 1).of_invite_sent(9), later.after(9, 1).of_invite_sent(10)), (73, 80));
        assert_eq!(Renumbering::of_callee(1).of_invite_sent(0), 0);
        assert!(Renumbering::of_invite(1 << 28, 0, 1).is_none());
        let most = Renumbering::of_invite((1 << 28) - 1, 7, 1).unwrap();
        assert_eq!((most.of_request((1 << 28) - 1), most.of_request(1 << 28)), ((1 << 31) - 1, 1 << 28));
    }

    #[test]
    fn cseq_and_rack_are_changed() {
        let edited = |method: &str, numbers: Renumbering| {
            let text = format!(
                "{method} sip:a SIP/2.0\r\nCSeq: 0008   {method}\r\nRAck: 12 \t7 INVITE\r\nContent-Length: 0\r\n\r\n"
            );
            let message = Message::parse(text.into_bytes().into()).unwrap();
            let (mut rewrite, mut out) = (Rewrite::new(), Vec::new());
            numbers.edit(&message, &mut rewrite);
            rewrite.write(&message, &mut out);
            (String::from_utf8(out).unwrap(), invite_of(&message))
        };
        let invite = Renumbering::of_token(Some(57), 1);
        let (written, of) = edited("PRACK", invite.answering(2));
        assert!(written.contains("CSeq: 66   PRACK\r\n") && written.contains("RAck: 12 \t57 INVITE\r\n"), "{written}");
        assert_eq!(of, Some(7));
        let (written, of) = edited("ACK", invite.after(8, 3));
        assert!(written.contains("CSeq: 67   ACK\r\n") && written.contains("RAck: 12 \t56 INVITE\r\n"), "{written}");
        assert_eq!(of, Some(8));
    }
}
