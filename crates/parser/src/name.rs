//! Header names (RFC 3261 7.3.1, 7.3.3): recognises them in any case and in compact form. The table of the headers is
//! in `table.rs`.

use wide::u8x16;

/// How often a header may occur in a message, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurs {
    /// At most one line, one value.
    Once,
    /// Any number of lines, each a comma list; several lines are equivalent to one joined list (RFC 3261 7.3.1).
    List,
    /// Any number of lines, each one value that may contain commas: credentials, challenges, and unknown headers.
    Lines,
}

macro_rules! header_names {
    ($($variant:ident $text:literal [$($compact:literal)?] $occurs:ident [$($file:ident)?];)*) => {
        /// The name of a header that this crate knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum HeaderName {
            $(#[doc = concat!("`", $text, "`.")] $variant,)*
            /// Any other name. Its line is forwarded unchanged.
            Unknown,
        }

        impl HeaderName {
            /// Number of variants, including [`HeaderName::Unknown`], which is the last one.
            pub(crate) const COUNT: usize = Self::Unknown as usize + 1;

            /// How often the header may occur.
            pub const fn occurs(self) -> Occurs {
                match self {
                    $(Self::$variant => Occurs::$occurs,)*
                    Self::Unknown => Occurs::Lines,
                }
            }
        }

        static ROWS: &[Row] = &[
            $(Row { name: HeaderName::$variant, text: $text, compact: (&[$($compact)?] as &[u8]).first().copied() },)*
        ];
    };
}

header_table!(header_names);

/// A row of the table, without what only the compiler needs.
struct Row {
    name: HeaderName,
    text: &'static str,
    compact: Option<u8>,
}

impl HeaderName {
    /// The header with this name, in any case or in its compact form; [`HeaderName::Unknown`] if there is none.
    #[inline]
    pub fn from_bytes(name: &[u8]) -> Self {
        if let [byte] = name {
            return COMPACT.get(usize::from(byte.to_ascii_lowercase())).copied().unwrap_or(Self::Unknown);
        }
        let mut slot = hash(name);
        loop {
            let Some(row) = INDEX.get(slot).and_then(|&index| ROWS.get(usize::from(index))) else {
                return Self::Unknown;
            };
            // Fast path: most senders spell names as the RFCs do.
            if name == row.text.as_bytes() || name.eq_ignore_ascii_case(row.text.as_bytes()) {
                return row.name;
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// Fast path for the header name at the start of `line` and its length: a name of up to fifteen octets, spelled as
    /// in its RFC or compact, followed directly by the colon. After `None` the name may still be known: use
    /// `from_bytes`.
    ///
    /// Compares sixteen octets as one integer: no loop, and no branch that depends on the name's length.
    #[inline]
    pub(crate) fn at_start(line: &[u8]) -> Option<(Self, u16)> {
        let octets = line.first_chunk()?;
        let colons = u8x16::new(*octets).simd_eq(u8x16::splat(b':')).to_bitmask();
        let len = colons.trailing_zeros();
        let key = u128::from_le_bytes(*octets) & UP_TO_COLON.get(len as usize)?;
        let mut slot = key_slot(key);
        loop {
            match KEYS.get(slot)? {
                found if found.octets == key => return Some((found.name, len as u16)),
                Key { octets: 0, .. } => return None,
                _ => slot = (slot + 1) % KEY_SLOTS,
            }
        }
    }

    /// The name as the RFC that defines it spells it; `Unknown` for [`HeaderName::Unknown`].
    pub fn as_str(&self) -> &'static str {
        self.row().map_or("Unknown", |row| row.text)
    }

    /// The compact form, lower case.
    pub fn compact(&self) -> Option<u8> {
        self.row().and_then(|row| row.compact)
    }

    fn row(self) -> Option<&'static Row> {
        ROWS.get(self as usize)
    }
}

/// Slots of a hash table with open addressing and a load below a third, built at compile time: a lookup costs a hash of
/// three octets and usually one comparison.
const SLOTS: usize = 256;
const EMPTY: u8 = u8::MAX;
static INDEX: [u8; SLOTS] = index();
static COMPACT: [HeaderName; 128] = compact();

/// A cheap hash that distinguishes header names well: length, first, middle and last octet.
#[inline]
const fn hash(name: &[u8]) -> usize {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return 0 };
    let middle = match name.split_at_checked(name.len() / 2) {
        Some((_, [middle, ..])) => *middle,
        _ => 0,
    };
    let sum = name.len() * 5 + (first | 0x20) as usize * 7 + (middle | 0x20) as usize * 23 + (last | 0x20) as usize * 3;
    sum % SLOTS
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds is an error")]
const fn index() -> [u8; SLOTS] {
    let mut table = [EMPTY; SLOTS];
    let mut row = 0;
    while row < ROWS.len() {
        let mut slot = hash(ROWS[row].text.as_bytes());
        while table[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = row as u8;
        row += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds is an error")]
const fn compact() -> [HeaderName; 128] {
    let mut table = [HeaderName::Unknown; 128];
    let mut row = 0;
    while row < ROWS.len() {
        if let Some(letter) = ROWS[row].compact {
            table[letter as usize] = ROWS[row].name;
        }
        row += 1;
    }
    table
}

/// An entry of the table of [`HeaderName::at_start`].
#[derive(Clone, Copy)]
struct Key {
    /// Up to fifteen octets and the colon, the first in the lowest bits. The colon distinguishes `To` from a `To`
    /// followed by NULs. 0 marks a free slot.
    octets: u128,
    name: HeaderName,
}

/// Masks of the octets up to the colon, by its position.
static UP_TO_COLON: [u128; 16] = up_to_colon();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds is an error")]
const fn up_to_colon() -> [u128; 16] {
    let mut table = [0xff; 16];
    let mut at = 1;
    while at < 16 {
        table[at] = table[at - 1] << 8 | 0xff;
        at += 1;
    }
    table
}

const KEY_SLOTS: usize = 256;
static KEYS: [Key; KEY_SLOTS] = keys();

#[inline]
const fn key_slot(octets: u128) -> usize {
    let folded = octets as u64 ^ (octets >> 64) as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds is an error")]
const fn keys() -> [Key; KEY_SLOTS] {
    let mut table = [Key { octets: 0, name: HeaderName::Unknown }; KEY_SLOTS];
    let mut row = 0;
    while row < ROWS.len() {
        let Row { name, text, compact } = &ROWS[row];
        if text.len() < 16 {
            table = with_key(table, text.as_bytes(), *name);
        }
        if let Some(letter) = compact {
            table = with_key(table, &[*letter], *name);
        }
        row += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds is an error")]
const fn with_key(mut table: [Key; KEY_SLOTS], text: &[u8], name: HeaderName) -> [Key; KEY_SLOTS] {
    let mut octets = b':' as u128;
    let mut at = text.len();
    while at > 0 {
        at -= 1;
        octets = octets << 8 | text[at] as u128;
    }
    let mut slot = key_slot(octets);
    while table[slot].octets != 0 {
        slot = (slot + 1) % KEY_SLOTS;
    }
    table[slot] = Key { octets, name };
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_in_any_case_and_compact() {
        for row in ROWS {
            assert_eq!(HeaderName::from_bytes(row.text.as_bytes()), row.name);
            assert_eq!(HeaderName::from_bytes(row.text.to_ascii_uppercase().as_bytes()), row.name);
            assert_eq!(HeaderName::from_bytes(row.text.to_ascii_lowercase().as_bytes()), row.name);
            assert_eq!(row.name.as_str(), row.text);
            if let Some(letter) = row.compact {
                assert_eq!(HeaderName::from_bytes(&[letter]), row.name);
                assert_eq!(HeaderName::from_bytes(&[letter.to_ascii_uppercase()]), row.name);
                assert_eq!(ROWS.iter().filter(|other| other.compact == row.compact).count(), 1);
            }
        }
    }

    #[test]
    fn short_names_are_found_at_the_start_of_a_line() {
        let at_start = |line: &str| HeaderName::at_start(line.as_bytes());
        for row in ROWS {
            let found = at_start(&format!("{}: x:y, and some more octets", row.text));
            assert_eq!(found, (row.text.len() < 16).then_some((row.name, row.text.len() as u16)));
            if let Some(letter) = row.compact {
                assert_eq!(at_start(&format!("{}:x:y, and some more", char::from(letter))), Some((row.name, 1)));
            }
        }
        for other in [
            "Via:",
            ": a line without a name",
            "Via : white space first",
            "via: in another case",
            "\0: nothing at all",
            "Via\0: that is no white space",
            "v\0\0: nor here, in the compact form",
        ] {
            assert_eq!(at_start(other), None, "{other}");
        }
    }

    #[test]
    fn rows_are_in_the_order_of_the_enum() {
        for (at, row) in ROWS.iter().enumerate() {
            assert_eq!(row.name as usize, at);
        }
        assert!(ROWS.len() < usize::from(EMPTY));
    }

    #[test]
    fn other_names_are_unknown() {
        for name in ["", "q", "Vi", "Viaa", "Call_ID", "Content-Lenght", "\u{e9}"] {
            assert_eq!(HeaderName::from_bytes(name.as_bytes()), HeaderName::Unknown, "{name}");
        }
        assert_eq!(HeaderName::Unknown.occurs(), Occurs::Lines);
        assert_eq!(HeaderName::Unknown.compact(), None);
    }
}
