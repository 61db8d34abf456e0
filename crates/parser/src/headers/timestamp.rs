//! Timestamp (RFC 3261 20.38): the time at the sender, repeated in the 100 (8.2.6.1).

use crate::{
    Element, ErrorKind, Header, HeaderName,
    octets::{self, LWS},
};

/// Timestamp: `1*DIGIT [ "." *DIGIT ] [ LWS delay ]` (RFC 3261 25.1), in seconds, as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp<'a> {
    /// The time at the sender: digits, possibly with a fraction. Only meaningful to the sender.
    pub time: &'a [u8],
    /// `delay = *DIGIT [ "." *DIGIT ]`: seconds between the arrival of the request and the response, if present.
    pub delay: Option<&'a [u8]>,
}

impl<'a> Header<'a> for Timestamp<'a> {
    const NAME: HeaderName = HeaderName::Timestamp;
    const SHAPE: &'static [Element] = &[Element::Decimal, Element::Space, Element::Decimal];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        let end = value.iter().position(|&byte| octets::is(byte, LWS)).unwrap_or(value.len());
        let (time, rest) = value.split_at_checked(end).unwrap_or_default();
        let delay = Some(octets::trim(rest)).filter(|delay| !delay.is_empty());
        let starts_well = time.first().is_some_and(u8::is_ascii_digit);
        if starts_well && is_decimal(time) && delay.is_none_or(is_decimal) {
            Ok(Self { time, delay })
        } else {
            Err(ErrorKind::Number)
        }
    }
}

/// `*DIGIT [ "." *DIGIT ]`.
fn is_decimal(text: &[u8]) -> bool {
    let mut parts = text.split(|&byte| byte == b'.');
    parts.by_ref().take(2).all(|part| part.iter().all(u8::is_ascii_digit)) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_may_follow_the_time() {
        assert_eq!(Timestamp::parse(b"54"), Ok(Timestamp { time: b"54", delay: None }));
        assert_eq!(Timestamp::parse(b"54.21 \t.5"), Ok(Timestamp { time: b"54.21", delay: Some(b".5") }));
        for bad in ["", ".5", "5.4.3", "5,4", "-1", "5 x", "5 1 2"] {
            assert_eq!(Timestamp::parse(bad.as_bytes()), Err(ErrorKind::Number), "{bad}");
        }
    }
}
