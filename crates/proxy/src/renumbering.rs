//! CSeq numbers towards a trunk whose challenges are answered by this server.
//!
//! A request that answers a challenge needs a higher CSeq number than the first one (RFC 3261 22.2), but the caller knows
//! of one request only. So the numbers of the caller are multiplied by 8: CSeq n leaves as 8n + k, where k is the number
//! of challenges that were answered for it, and comes back as n. The dialog token contains the n and the k of the INVITE,
//! so that its ACK and the RAck of a PRACK get the same number, and no state is kept. The numbers of the trunk for its own
//! requests stay as they are. Must not decide whether a challenge is answered.

use std::num::NonZeroU32;

use parser::{HeaderName, Message, Rewrite, Span, write_decimal};

/// The place of the k in a number.
const BITS: u32 = 3;

/// Higher numbers would not stay below 2^31 (RFC 3261 8.1.1.5).
const MAX_SEQUENCE: u32 = (1 << (31 - BITS)) - 1;

/// How the numbers of a caller are changed in one dialog: the CSeq number that its INVITE was sent to the trunk with, plus 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renumbering(NonZeroU32);

impl Renumbering {
    /// For an INVITE with this number, for which so many challenges were answered; `None` if the number is too high to be
    /// changed.
    pub(crate) fn of_invite(sequence: u32, answered: u8) -> Option<Self> {
        let fits = sequence <= MAX_SEQUENCE && u32::from(answered) < 1 << BITS;
        let sent = (sequence.min(MAX_SEQUENCE) << BITS) | u32::from(answered);
        NonZeroU32::new(sent + 1).filter(|_| fits).map(Self)
    }

    /// As it is written into a token.
    pub(crate) const fn octets(self) -> [u8; 4] {
        self.0.get().to_be_bytes()
    }

    /// As it was read from a token.
    pub(crate) fn of_number(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number that the trunk gets. `is_of_invite`: it is the number of an INVITE, in CSeq or RAck.
    fn to_trunk(self, sequence: u32, is_of_invite: bool) -> u32 {
        let sent = self.0.get() - 1;
        if is_of_invite && sent >> BITS == sequence { sent } else { sequence << BITS }
    }

    /// The CSeq number that the ACK and the CANCEL of an INVITE with this number have.
    pub(crate) fn of_invite_sent(self, sequence: u32) -> u32 {
        self.to_trunk(sequence, true)
    }

    /// Changes CSeq and RAck (RFC 3262 7.2) of a request to the trunk.
    pub(crate) fn edit(self, message: &Message, rewrite: &mut Rewrite) {
        use parser::Method::{Ack, Cancel, Invite};
        let is_of_invite = matches!(message.method(), Invite | Ack | Cancel);
        for (place, is_of_invite) in [(cseq(message), is_of_invite), (rack(message), true)] {
            if let Some((number, span)) = place {
                rewrite.replace(span, |out| write_decimal(out, self.to_trunk(number, is_of_invite)));
            }
        }
    }
}

/// A message with the CSeq number that the caller knows: a response of the trunk, or a request that was written for it.
pub(crate) fn with_number_of_caller(message: &Message, rewrite: &mut Rewrite) -> Option<Message> {
    with_number(message, |number| number >> BITS, rewrite)
}

/// The opposite of [`with_number_of_caller`].
pub(crate) fn with_number_of_trunk(message: &Message, rewrite: &mut Rewrite) -> Option<Message> {
    with_number(message, |number| number << BITS, rewrite)
}

fn with_number(message: &Message, change: impl Fn(u32) -> u32, rewrite: &mut Rewrite) -> Option<Message> {
    let (number, span) = cseq(message)?;
    rewrite.clear();
    rewrite.replace(span, |out| write_decimal(out, change(number)));
    let mut out = Vec::new();
    rewrite.write(message, &mut out);
    Message::parse(out.into()).ok()
}

/// The CSeq number and its position.
pub(crate) fn cseq(message: &Message) -> Option<(u32, Span)> {
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
        let invite = Renumbering::of_invite(7, 2).unwrap();
        for (number, is_of_invite, expected) in [(7, true, 58), (7, false, 56), (8, true, 64), (0, false, 0)] {
            assert_eq!(invite.to_trunk(number, is_of_invite), expected);
            assert_eq!(expected >> BITS, number);
        }
        assert!(Renumbering::of_invite(1 << 28, 0).is_none() && Renumbering::of_invite(1, 8).is_none());
        let most = Renumbering::of_invite((1 << 28) - 1, 7).unwrap();
        assert_eq!(most.of_invite_sent((1 << 28) - 1), (1 << 31) - 1);
        assert_eq!(Renumbering::of_number(u32::from_be_bytes(most.octets())), Some(most));
        assert!(Renumbering::of_number(0).is_none());
    }

    #[test]
    fn cseq_and_rack_are_changed() {
        let text = "PRACK sip:a SIP/2.0\r\nCSeq: 0008   PRACK\r\nRAck: 12 \t7 INVITE\r\nContent-Length: 0\r\n\r\n";
        let message = Message::parse(text.as_bytes().to_vec().into()).unwrap();
        let (mut rewrite, mut out) = (Rewrite::new(), Vec::new());
        Renumbering::of_invite(7, 1).unwrap().edit(&message, &mut rewrite);
        rewrite.write(&message, &mut out);
        let written = String::from_utf8(out).unwrap();
        assert!(written.contains("CSeq: 64   PRACK\r\n") && written.contains("RAck: 12 \t57 INVITE\r\n"), "{written}");
    }
}
