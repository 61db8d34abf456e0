//! Our Via branch: which of our ways a request went, so that its response finds back (RFC 3261 16.6 step 8, 16.11).
//!
//! ```text
//! z9hG4bK s           <listener:2> <mark:16> [<connection:16>]     stateless
//! z9hG4bK p <worker:2> <listener:2> <mark:16> [<connection:16>]     stateless, pinned by that worker
//! z9hG4bK t <worker:2> <fork:16> <index:2> <loop:16>               a client transaction of that worker
//! ```
//!
//! A stateless branch says over which listener and connection the request came, and carries a mark: a keyed hash of
//! these and of the transaction key, which is computed from the next Via and other values that come back. A response
//! whose mark does not verify was never ours (RFC 6026 8.2). The method is not in it, so CANCEL and ACK get the branch
//! of their INVITE (RFC 3261 16.11).

use location::Flow;

use crate::mac::{Mac, Purpose, read_hex, write_hex};
use crate::outbox::BranchId;
use crate::request::TransactionKey;
use crate::settings::Settings;

/// RFC 3261 8.1.1.7.
const COOKIE: &[u8] = b"z9hG4bK";

/// A branch of ours, read or to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Branch {
    Stateless(Origin),
    Pinned { worker: u8, origin: Origin },
    Transaction { worker: u8, id: BranchId, loop_mark: u64 },
}

/// Where a stateless request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Index of the listener.
    pub(crate) listener: u8,
    /// 0 for UDP.
    pub(crate) connection: u64,
    mark: u64,
}

impl Origin {
    pub(crate) fn new(flow: &Flow, key: TransactionKey, settings: &Settings, mac: &Mac) -> Self {
        let listener = settings.listener_of(flow);
        Self { listener, connection: flow.connection, mark: mark(listener, flow.connection, key, mac) }
    }

    /// Whether it was made here for the transaction `key`.
    pub(crate) fn verify(&self, key: TransactionKey, mac: &Mac) -> bool {
        self.mark == mark(self.listener, self.connection, key, mac)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (listener, text) = text.split_at_checked(2)?;
        let (mark, connection) = text.split_at_checked(16)?;
        let connection = match connection.len() {
            0 => 0,
            16 => read_hex(connection)?,
            _ => return None,
        };
        Some(Self { listener: byte(listener)?, connection, mark: read_hex(mark)? })
    }

    fn write(self, out: &mut Vec<u8>) {
        write_hex(out, u64::from(self.listener), 2);
        write_hex(out, self.mark, 16);
        if self.connection != 0 {
            write_hex(out, self.connection, 16);
        }
    }
}

impl Branch {
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (kind, rest) = text.strip_prefix(COOKIE)?.split_first()?;
        match kind {
            b's' => Some(Self::Stateless(Origin::parse(rest)?)),
            b'p' => {
                let (worker, origin) = rest.split_at_checked(2)?;
                Some(Self::Pinned { worker: byte(worker)?, origin: Origin::parse(origin)? })
            }
            b't' => {
                let (worker, rest) = rest.split_at_checked(2)?;
                let (fork, rest) = rest.split_at_checked(16)?;
                let (index, loop_mark) = rest.split_at_checked(2).filter(|(_, mark)| mark.len() == 16)?;
                let id = BranchId { fork: read_hex(fork)?, index: byte(index)? };
                Some(Self::Transaction { worker: byte(worker)?, id, loop_mark: read_hex(loop_mark)? })
            }
            _ => None,
        }
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(COOKIE);
        match self {
            Self::Stateless(origin) => {
                out.push(b's');
                origin.write(out);
            }
            Self::Pinned { worker, origin } => {
                out.push(b'p');
                write_hex(out, u64::from(worker), 2);
                origin.write(out);
            }
            Self::Transaction { worker, id, loop_mark } => {
                out.push(b't');
                write_hex(out, u64::from(worker), 2);
                write_hex(out, id.fork, 16);
                write_hex(out, u64::from(id.index), 2);
                write_hex(out, loop_mark, 16);
            }
        }
    }
}

fn mark(listener: u8, connection: u64, key: TransactionKey, mac: &Mac) -> u64 {
    mac.sign(Purpose::Mark, &[&[listener], &connection.to_be_bytes(), &key.0.to_be_bytes()])
}

fn byte(text: &[u8]) -> Option<u8> {
    u8::try_from(read_hex(text)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mark = 0x0123_4567_89ab_cdef;
        for branch in [
            Branch::Stateless(Origin { listener: 0, connection: 0, mark }),
            Branch::Stateless(Origin { listener: 255, connection: 77, mark }),
            Branch::Pinned { worker: 255, origin: Origin { listener: 3, connection: 0, mark } },
            Branch::Transaction { worker: 1, id: BranchId { fork: u64::MAX, index: 3 }, loop_mark: 7 },
        ] {
            let mut text = Vec::new();
            branch.write(&mut text);
            assert_eq!(Branch::parse(&text), Some(branch));
            text.pop();
            assert_eq!(Branch::parse(&text), None);
        }
        assert_eq!(Branch::parse(b"z9hG4bKnashds7"), None);
    }

    #[test]
    fn a_mark_holds_for_its_transaction_only() {
        // checklist 88
        let mac = Mac::new([1; 16]);
        let origin = Origin { listener: 1, connection: 9, mark: mark(1, 9, TransactionKey(5), &mac) };
        assert!(origin.verify(TransactionKey(5), &mac));
        assert!(!origin.verify(TransactionKey(6), &mac));
        assert!(!Origin { connection: 8, ..origin }.verify(TransactionKey(5), &mac));
        assert!(!origin.verify(TransactionKey(5), &Mac::new([2; 16])));
    }
}
