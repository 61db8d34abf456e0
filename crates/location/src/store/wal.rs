//! Checks the write-ahead log before SQLite opens it.
//!
//! Detects damage in the middle of the log. SQLite silently ignores the log from the first wrong octet on, because a power
//! failure leaves such an end; later transactions, which were already acknowledged, would be lost without an error. But each
//! transaction is synced before the next begins, so only the last one can be incomplete: a wrong octet before a complete
//! transaction is damage. The format is <https://www.sqlite.org/fileformat2.html#walformat>. Must not write.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

/// Whether the log is undamaged up to its last transaction, or does not exist.
pub(crate) fn is_whole(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => Ok(check(&mut BufReader::new(file))?.unwrap_or(true)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

// `None` if the log has no valid header.
fn check(log: &mut impl Read) -> io::Result<Option<bool>> {
    let Some(header) = read_array::<32>(log)? else { return Ok(None) };
    let [magic, _, page, _, salt1, salt2, first, second] = read_words(&header, true);
    let (big_endian, mut sum) = (magic & 1 == 1, Checksum::default());
    sum.add(header.get(..24).unwrap_or_default(), big_endian);
    if magic & !1 != MAGIC || sum != Checksum(first, second) {
        // The log was just restarted: its previous content has been copied to the database file.
        return Ok(None);
    }
    let mut content = vec![0; if page == 1 { 1 << 16 } else { page as usize }];
    let (mut good, mut complete) = (true, false);
    while let Some(header) = read_array::<24>(log)? {
        if !read_full(log, &mut content)? {
            break;
        }
        let [_, pages, own_salt1, own_salt2, first, second] = read_words(&header, true);
        if (own_salt1, own_salt2) != (salt1, salt2) {
            // A frame left over from before the log was restarted.
            good = false;
            continue;
        }
        // A transaction was completed after the fault and another frame follows: this is not an incomplete end.
        if complete {
            return Ok(Some(false));
        }
        if good {
            sum.add(header.get(..8).unwrap_or_default(), big_endian);
            sum.add(&content, big_endian);
            good = sum == Checksum(first, second);
        }
        complete = !good && pages != 0;
    }
    Ok(Some(true))
}

/// The running checksum.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Checksum(u32, u32);

impl Checksum {
    fn add(&mut self, octets: &[u8], big_endian: bool) {
        for pair in octets.chunks_exact(8) {
            let [one, two] = read_words(pair, big_endian);
            self.0 = self.0.wrapping_add(one).wrapping_add(self.1);
            self.1 = self.1.wrapping_add(two).wrapping_add(self.0);
        }
    }
}

fn read_words<const N: usize>(octets: &[u8], big_endian: bool) -> [u32; N] {
    let mut words = octets.as_chunks::<4>().0.iter().map(|word| match big_endian {
        true => u32::from_be_bytes(*word),
        false => u32::from_le_bytes(*word),
    });
    std::array::from_fn(|_| words.next().unwrap_or(0))
}

fn read_array<const N: usize>(log: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut octets = [0; N];
    Ok(read_full(log, &mut octets)?.then_some(octets))
}

fn read_full(log: &mut impl Read, octets: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(octets) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

const MAGIC: u32 = 0x377F_0682;
