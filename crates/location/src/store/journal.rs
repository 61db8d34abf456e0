//! The rows of the file. Each contains changed records, the latest last.
//!
//! Defines the octets of a row: `format, crc32`, then for each record two lengths and its octets. The last record of each
//! address of record in all rows is the current one. Must refuse damaged rows.

use crate::Record;

/// First octet of every row: the format of its records.
pub(crate) const FORMAT: u8 = 2;

/// A row is complete when it has at least this many octets.
const ROW_TARGET_LEN: usize = 64 * 1024;

const HEADER_LEN: usize = 5;

/// Why octets are not a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowError {
    /// It was written by another version of the program.
    Format(u8),
    /// It is truncated, altered, or not a row at all.
    Corrupt,
}

/// A record in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) aor_len: usize,
    pub(crate) octets: &'a [u8],
}

impl<'a> Entry<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        Self { aor_len: record.aor_len(), octets: record.octets() }
    }

    pub(crate) fn aor(&self) -> &'a [u8] {
        self.octets.get(..self.aor_len).unwrap_or_default()
    }
}

/// A row under construction.
pub(crate) struct RowBuffer {
    octets: Vec<u8>,
}

impl RowBuffer {
    pub(crate) fn new() -> Self {
        Self { octets: vec![0; HEADER_LEN] }
    }

    pub(crate) fn add(&mut self, entry: Entry<'_>) {
        for length in [entry.aor_len, entry.octets.len()] {
            self.octets.extend_from_slice(&(length as u32).to_le_bytes());
        }
        self.octets.extend_from_slice(entry.octets);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.octets.len() == HEADER_LEN
    }

    pub(crate) fn is_full(&self) -> bool {
        self.octets.len() >= ROW_TARGET_LEN
    }

    /// Completes the row with its header and returns it.
    pub(crate) fn finish(&mut self) -> &[u8] {
        let crc = crc32fast::hash(self.octets.get(HEADER_LEN..).unwrap_or_default()).to_le_bytes();
        for (to, from) in self.octets.iter_mut().zip([FORMAT].into_iter().chain(crc)) {
            *to = from;
        }
        &self.octets
    }

    /// Starts the next row.
    pub(crate) fn clear(&mut self) {
        self.octets.truncate(HEADER_LEN);
    }
}

/// The records of a row, in order.
pub(crate) fn entries(row: &[u8]) -> Result<impl Iterator<Item = Result<Entry<'_>, RowError>>, RowError> {
    let (head, mut rest) = row.split_first_chunk::<HEADER_LEN>().ok_or(RowError::Corrupt)?;
    let [format, crc @ ..] = *head;
    if format != FORMAT {
        return Err(RowError::Format(format));
    }
    if u32::from_le_bytes(crc) != crc32fast::hash(rest) {
        return Err(RowError::Corrupt);
    }
    Ok(std::iter::from_fn(move || (!rest.is_empty()).then(|| take_entry(&mut rest).ok_or(RowError::Corrupt))))
}

fn take_entry<'a>(rest: &mut &'a [u8]) -> Option<Entry<'a>> {
    let (lengths, more) = rest.split_first_chunk::<8>()?;
    let [a, b, c, d, e, f, g, h] = *lengths;
    let [aor_len, length] = [[a, b, c, d], [e, f, g, h]].map(|octets| u32::from_le_bytes(octets) as usize);
    let (octets, more) = more.split_at_checked(length)?;
    *rest = more;
    (aor_len <= length).then_some(Entry { aor_len, octets })
}
