//! The texts of a call in one allocation, or in none if they are short.
//!
//! Decides the longest text that is kept: peers choose these texts, and a message may have 64 KiB of them.

use smallvec::SmallVec;

/// The most octets of one text.
pub(crate) const MAX_PIECE: usize = 256;

/// Texts, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts(SmallVec<[u8; 192]>);

/// The position of one text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece {
    start: u16,
    end: u16,
}

impl Texts {
    /// Adds a text; a longer one is cut.
    pub(super) fn add(&mut self, text: &[u8]) -> Piece {
        let start = self.0.len();
        self.0.extend_from_slice(cut(text));
        match (u16::try_from(start), u16::try_from(self.0.len())) {
            (Ok(start), Ok(end)) => Piece { start, end },
            _ => {
                self.0.truncate(start);
                Piece::default()
            }
        }
    }

    /// Adds an identifier, of which a part would be of no use: a longer one is not kept.
    pub(super) fn add_whole(&mut self, text: &[u8]) -> Piece {
        if text.len() <= MAX_PIECE { self.add(text) } else { Piece::default() }
    }

    /// A text; empty if a part of it may be missing.
    pub(super) fn whole_at(&self, piece: Piece) -> &[u8] {
        let text = self.at(piece);
        if text.len() < MAX_PIECE { text } else { b"" }
    }

    pub(super) fn at(&self, Piece { start, end }: Piece) -> &[u8] {
        self.0.get(usize::from(start)..usize::from(end)).unwrap_or_default()
    }
}

/// The part of a text that is kept.
pub(super) fn cut(text: &[u8]) -> &[u8] {
    text.get(..MAX_PIECE).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_or_dropped() {
        let mut texts = Texts::default();
        let (first, name) = (texts.add(b"a84b4c76"), texts.add(&[b'n'; 1000]));
        let id = texts.add_whole(&[b'i'; MAX_PIECE + 1]);
        assert_eq!((texts.at(first), texts.at(name).len(), texts.at(id)), (&b"a84b4c76"[..], MAX_PIECE, &b""[..]));
        let last = (0..400).map(|_| texts.add(&[b'x'; MAX_PIECE])).last().unwrap_or_default();
        assert_eq!(texts.at(last), b"", "positions have 16 bits");
    }
}
