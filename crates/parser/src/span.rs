//! A byte range in a message: a position that does not borrow from the message.

use std::ops::Range;

/// A half-open byte range `start..end` in a message, in octets from its first octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// First octet of the range.
    pub start: u32,
    /// One past the last octet; never below `start` in a span created by this crate.
    pub end: u32,
}

impl Span {
    /// The span of `range`, its ends clamped to `u32::MAX`.
    pub(crate) fn new(range: Range<usize>) -> Self {
        Self { start: offset(range.start), end: offset(range.end) }
    }

    /// The length in octets.
    pub fn len(&self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether the span is empty.
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// Whether it contains the octet at this position.
    pub(crate) fn contains(&self, at: u32) -> bool {
        (self.start..self.end).contains(&at)
    }

    /// This part of `bytes`, empty if the span is not inside.
    pub(crate) fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// A position as stored in spans and errors. Messages longer than `u32::MAX` are refused before any span is created.
pub(crate) fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The span of `part` in `whole`, if it is a subslice of it.
pub fn locate(whole: &[u8], part: &[u8]) -> Option<Span> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then(|| Span::new(start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_subslices_are_located() {
        let whole = b"abcdef".to_vec();
        assert_eq!(locate(&whole, &whole[2..4]), Some(Span { start: 2, end: 4 }));
        assert_eq!(locate(&whole[..3], &whole[2..4]), None);
        assert_eq!(locate(&whole[2..], &whole[..1]), None);
    }

    #[test]
    fn a_span_outside_is_empty() {
        assert_eq!(Span { start: 2, end: 9 }.of(b"abc"), b"");
        assert_eq!(Span { start: 3, end: 1 }.len(), 0);
        assert!(Span { start: 3, end: 1 }.is_empty());
    }
}
