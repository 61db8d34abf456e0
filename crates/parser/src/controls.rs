//! Finds the control characters of a message (RFC 3261 25.1). These include the line ends, so one scan finds both line
//! ends and stray control characters. Sixty-four octets are checked in a few vector instructions.

use wide::u8x64;

/// A scan for control characters, 0x00 to 0x1f and 0x7f, in order.
pub(crate) struct Controls {
    /// Position of the next block.
    base: usize,
    /// The remaining control characters of the block before it, one bit each, the first in the lowest bit.
    bits: u64,
}

const BLOCK: usize = 64;

impl Controls {
    pub(crate) fn new() -> Self {
        Self { base: 0, bits: 0 }
    }

    /// Position of the next one. `bytes` must be the same in each call.
    #[inline]
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        while self.bits == 0 {
            self.bits = block(bytes.get(self.base..).filter(|rest| !rest.is_empty())?);
            self.base += BLOCK;
        }
        let at = self.base - BLOCK + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(at)
    }
}

/// A bit for each control character among the first octets of `bytes`.
#[inline]
fn block(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(block) => bits(block),
        None => last_block(bytes),
    }
}

#[cold]
fn last_block(bytes: &[u8]) -> u64 {
    let mut block = [b' '; BLOCK];
    if let Some(part) = block.get_mut(..bytes.len()) {
        part.copy_from_slice(bytes);
    }
    bits(&block)
}

#[inline]
fn bits(block: &[u8; BLOCK]) -> u64 {
    let octets = u8x64::new(*block);
    let below_space = octets.simd_eq(octets.min(u8x64::splat(0x1f)));
    (below_space | octets.simd_eq(u8x64::splat(0x7f))).to_bitmask()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<usize> {
        let mut controls = Controls::new();
        std::iter::from_fn(|| controls.next(text)).collect()
    }

    #[test]
    fn controls_are_found_at_any_position() {
        for byte in 0..=255_u8 {
            for at in 0..150 {
                let mut text = [b'x'; 150];
                text[at] = byte;
                let found = all(&text);
                assert_eq!(found, if byte.is_ascii_control() { vec![at] } else { vec![] }, "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn all_controls_are_found_in_order() {
        for len in 0..200 {
            assert!(all(&vec![0; len]).into_iter().eq(0..len));
        }
    }
}
