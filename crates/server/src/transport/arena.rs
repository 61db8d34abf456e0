//! The memory that received messages are copied into. Decides its size.

use bytes::BytesMut;

/// Size of a block. A stored message keeps its block alive, so they are small.
const BLOCK: usize = 16 << 10;

/// Blocks of memory that several messages share, so that a message needs no allocation of its own.
#[derive(Debug, Default)]
pub(super) struct Arena(BytesMut);

impl Arena {
    /// A copy of these octets.
    pub(super) fn copy(&mut self, octets: &[u8]) -> BytesMut {
        if self.0.capacity() < octets.len() {
            self.0.reserve(octets.len().max(BLOCK));
        }
        self.0.extend_from_slice(octets);
        self.0.split()
    }
}
