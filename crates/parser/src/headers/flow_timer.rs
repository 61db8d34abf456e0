//! Flow-Timer (RFC 5626 11.1): after how long without a keep-alive the server considers a flow dead.

use crate::{Element, ErrorKind, Header, HeaderName, octets};

/// Flow-Timer: `1*DIGIT`, seconds (RFC 5626 11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTimer(pub u32);

impl Header<'_> for FlowTimer {
    const NAME: HeaderName = HeaderName::FlowTimer;
    const SHAPE: &'static [Element] = &[Element::Digits];

    fn parse(value: &[u8]) -> Result<Self, ErrorKind> {
        let seconds = octets::number(value).ok_or(ErrorKind::Number)?;
        u32::try_from(seconds).map(Self).map_err(|_| ErrorKind::Range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_is_a_number_of_32_bits() {
        assert_eq!(FlowTimer::parse(b"126"), Ok(FlowTimer(126)));
        assert_eq!(FlowTimer::parse(b""), Err(ErrorKind::Number));
        assert_eq!(FlowTimer::parse(b"4294967296"), Err(ErrorKind::Range));
    }
}
