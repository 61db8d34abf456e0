//! The number of a change: its place in the stream of changes, which Redis assigns (`milliseconds-number`).
//!
//! It is the version of the record that the change stored, at every server. A stream never assigns a lower one than before,
//! even if the clock of Redis is set back.

use std::fmt;

/// Order is that of the stream. Zero is no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StreamId(u64);

impl StreamId {
    /// Of octets such as `1733000000000-0`; `None` if they are something else.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (millis, number) = text.split_once('-')?;
        let (millis, number) = (millis.parse::<u64>().ok()?, number.parse::<u64>().ok()?);
        (millis < 1 << (u64::BITS - NUMBER_BITS) && number < 1 << NUMBER_BITS)
            .then_some(Self(millis << NUMBER_BITS | number))
    }

    pub(super) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(super) const fn raw(self) -> u64 {
        self.0
    }

    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0 >> NUMBER_BITS, self.0 & ((1 << NUMBER_BITS) - 1))
    }
}

/// Redis stores fewer than a million changes in a millisecond, and 44 bits of milliseconds last until the year 2527.
const NUMBER_BITS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_order_and_its_text() {
        let ids = ["0-1", "1733000000000-0", "1733000000000-10", "1733000000001-9"];
        let parsed = ids.map(|id| StreamId::parse(id.as_bytes()).unwrap());
        assert!(parsed.is_sorted());
        assert_eq!(parsed.map(|id| id.to_string()), ids);
        for bad in ["", "1", "1-", "-1", "x-1", "1-1048576", "17592186044416-0", "1-1 "] {
            assert_eq!(StreamId::parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(StreamId::parse(b"0-0").unwrap().is_none());
    }
}
