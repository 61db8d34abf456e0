//! Our Via branch: which of our ways a request went, so that its response finds back (RFC 3261 16.6 step 8, 16.11).
//!
//! ```text
//! z9hG4bK s           <listener:2> <mark:16> <port:4> <ip:8|32> [<connection:16>]     stateless
//! z9hG4bK p <worker:2> <listener:2> <mark:16> <port:4> <ip:8|32> [<connection:16>]     stateless, pinned by that worker
//! z9hG4bK t <worker:2> <fork:16> <index:2> <loop:16>                                   a client transaction of that worker
//! ```
//!
//! A stateless branch says where its response goes: listener, address and connection. It carries a mark, a keyed hash of
//! these and of the transaction key, which is computed from the Via below ours and other values that come back. A
//! response whose mark does not verify was never ours (RFC 6026 8.2), and nobody on the way can send it elsewhere. The
//! method is not in it, so CANCEL and ACK get the branch of their INVITE (RFC 3261 16.11).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::hop::Hop;
use crate::mac::{Mac, Purpose, octets_of, read_hex, write_hex};
use crate::request::{Request, TransactionKey};
use crate::settings::Settings;

/// RFC 3261 8.1.1.7.
const COOKIE: &[u8] = b"z9hG4bK";

/// Names one client transaction of one worker's core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BranchId {
    pub(crate) fork: u64,
    pub(crate) index: u8,
}

/// A branch of ours, read or to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Branch {
    Stateless(Origin),
    Pinned { worker: u8, origin: Origin },
    Transaction { worker: u8, id: BranchId, loop_mark: u64 },
}

/// Where a stateless request came from, which is where its response goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Index of the listener.
    pub(crate) listener: u8,
    /// RFC 3261 18.2.2, RFC 3581 4.
    pub(crate) remote: SocketAddr,
    /// 0 for UDP.
    pub(crate) connection: u64,
    mark: u64,
}

impl Origin {
    pub(crate) fn new(request: &Request, settings: &Settings, mac: &Mac) -> Self {
        let listener = settings.listener_of(&request.flow);
        let Hop { remote, connection, .. } = request.back;
        let mut origin = Self { listener, remote, connection, mark: 0 };
        origin.mark = origin.sign(request.key, mac);
        origin
    }

    /// Whether it was made here for the transaction `key`.
    pub(crate) fn verify(&self, key: TransactionKey, mac: &Mac) -> bool {
        self.mark == self.sign(key, mac)
    }

    fn sign(&self, key: TransactionKey, mac: &Mac) -> u64 {
        let Self { listener, remote, connection, mark: _ } = self;
        let (port, connection, key) = (remote.port().to_be_bytes(), connection.to_be_bytes(), key.0.to_be_bytes());
        mac.sign(Purpose::Mark, &[&[*listener], &octets_of(remote.ip()), &port, &connection, &key])
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (listener, text) = text.split_at_checked(2)?;
        let (mark, text) = text.split_at_checked(16)?;
        let (port, text) = text.split_at_checked(4)?;
        let (ip, connection) = match text.len() {
            8 | 24 => {
                let (ip, rest) = text.split_at_checked(8)?;
                (IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(read_hex(ip)?).ok()?)), rest)
            }
            32 | 48 => {
                let (high, rest) = text.split_at_checked(16)?;
                let (low, rest) = rest.split_at_checked(16)?;
                let bits = u128::from(read_hex(high)?) << 64 | u128::from(read_hex(low)?);
                (IpAddr::V6(Ipv6Addr::from_bits(bits)), rest)
            }
            _ => return None,
        };
        let connection = if connection.is_empty() { 0 } else { read_hex(connection)? };
        let remote = SocketAddr::new(ip, u16::try_from(read_hex(port)?).ok()?);
        Some(Self { listener: byte(listener)?, remote, connection, mark: read_hex(mark)? })
    }

    fn write(self, out: &mut Vec<u8>) {
        write_hex(out, u64::from(self.listener), 2);
        write_hex(out, self.mark, 16);
        write_hex(out, u64::from(self.remote.port()), 4);
        match self.remote.ip() {
            IpAddr::V4(ip) => write_hex(out, u64::from(ip.to_bits()), 8),
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                write_hex(out, (bits >> 64) as u64, 16);
                write_hex(out, bits as u64, 16);
            }
        }
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

fn byte(text: &[u8]) -> Option<u8> {
    u8::try_from(read_hex(text)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(remote: &str, connection: u64) -> Origin {
        Origin { listener: 1, remote: remote.parse().unwrap(), connection, mark: 0x0123_4567_89ab_cdef }
    }

    #[test]
    fn what_is_written_is_read() {
        for branch in [
            Branch::Stateless(origin("192.0.2.7:5060", 0)),
            Branch::Stateless(origin("192.0.2.7:65535", 77)),
            Branch::Pinned { worker: 255, origin: origin("[2001:db8::7]:5060", 0) },
            Branch::Pinned { worker: 0, origin: origin("[::1]:1", u64::MAX) },
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
    fn a_mark_holds_for_its_transaction_and_its_origin_only() {
        // checklist 88
        let (mac, key) = (Mac::new([1; 16]), TransactionKey(5));
        let mut own = origin("192.0.2.7:5060", 9);
        own.mark = own.sign(key, &mac);
        assert!(own.verify(key, &mac));
        assert!(!own.verify(TransactionKey(6), &mac));
        assert!(!own.verify(key, &Mac::new([2; 16])));
        for changed in [
            Origin { listener: 2, ..own },
            Origin { connection: 8, ..own },
            Origin { remote: "192.0.2.7:5061".parse().unwrap(), ..own },
            Origin { remote: "192.0.2.8:5060".parse().unwrap(), ..own },
        ] {
            assert!(!changed.verify(key, &mac));
        }
    }
}
