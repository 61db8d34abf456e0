//! The flow to a peer, as text or octets, for our Via branches and dialog tokens.
//!
//! ```text
//! <listener:2> <port:4> <ip:8|32> [<connection:16>]                     in a Via branch, as hex digits
//! <listener> <kind> <port:2> <ip:4|16> [<connection:8>]                 in a dialog token, as octets
//! ```
//!
//! Neither form contains a signature. The caller has to sign it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use location::ConnectionId;
use parser::{read_hex, write_hex};
use smallvec::SmallVec;

use crate::hop::{Hop, Over};
use crate::mac::octets_of;
use crate::settings::Settings;

/// Bit of `kind`: the address is IPv6.
const IPV6: u8 = 1;

/// Bit of `kind`: a connection identifier follows.
const CONNECTION: u8 = 2;

/// The address of a peer, and the listener or connection that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Index of the listener.
    pub(crate) listener: u8,
    pub(crate) remote: SocketAddr,
    pub(crate) connection: Option<ConnectionId>,
}

impl Peer {
    pub(crate) fn of_hop(hop: &Hop, settings: &Settings) -> Self {
        let listener = settings.listener_at(hop.transport, hop.local);
        Self { listener, remote: hop.remote, connection: hop.connection() }
    }

    /// The hop to this peer; `None` if its listener no longer exists.
    pub(crate) fn hop(&self, settings: &Settings) -> Option<Hop> {
        let listener = settings.listeners.get(usize::from(self.listener))?;
        let local = settings.local_of(listener, self.remote.ip())?;
        let over = self.connection.map_or(Over::Address, |id| Over::accepted(id, listener.transport));
        Some(Hop { transport: listener.transport, remote: self.remote, local, over })
    }

    /// The octets to sign, in a form of fixed length.
    pub(crate) fn octets(&self) -> [u8; 27] {
        let mut octets = [0; 27];
        octets[0] = self.listener;
        octets[1..3].copy_from_slice(&self.remote.port().to_be_bytes());
        octets[3..19].copy_from_slice(&octets_of(self.remote.ip()));
        octets[19..].copy_from_slice(&self.connection.map_or(0, ConnectionId::get).to_be_bytes());
        octets
    }

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (listener, port, ip, connection) = match text.len() {
            14 | 30 => {
                let (peer, connection) = text.split_at_checked(14)?;
                let [_, listener, high, low, ip @ ..] = read_hex(peer)?.to_be_bytes();
                (listener, [high, low], IpAddr::from(ip), connection)
            }
            38 | 54 => {
                let (start, rest) = text.split_at_checked(6)?;
                let (first, rest) = rest.split_at_checked(16)?;
                let (last, connection) = rest.split_at_checked(16)?;
                let [.., listener, high, low] = read_hex(start)?.to_be_bytes();
                let bits = u128::from(read_hex(first)?) << 64 | u128::from(read_hex(last)?);
                (listener, [high, low], IpAddr::V6(Ipv6Addr::from_bits(bits)), connection)
            }
            _ => return None,
        };
        Some(Self {
            listener,
            remote: SocketAddr::new(ip, u16::from_be_bytes(port)),
            connection: if connection.is_empty() { None } else { Some(ConnectionId::new(read_hex(connection)?)?) },
        })
    }

    /// Reads the octets that [`Peer::write_octets`] wrote. Returns the rest too.
    pub(crate) fn read_octets(octets: &[u8]) -> Option<(Self, &[u8])> {
        let (&[listener, kind, high, low], rest) = octets.split_first_chunk()?;
        let (ip, rest) = if kind & IPV6 == 0 {
            let (ip, rest) = rest.split_first_chunk::<4>()?;
            (IpAddr::from(*ip), rest)
        } else {
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            (IpAddr::from(*ip), rest)
        };
        let remote = SocketAddr::new(ip, u16::from_be_bytes([high, low]));
        if kind & CONNECTION == 0 {
            return Some((Self { listener, remote, connection: None }, rest));
        }
        let (connection, rest) = rest.split_first_chunk()?;
        let connection = Some(ConnectionId::new(u64::from_be_bytes(*connection))?);
        Some((Self { listener, remote, connection }, rest))
    }

    /// Appends the peer as octets: 8 for IPv4, 20 for IPv6, and 8 more with a connection.
    pub(crate) fn write_octets<const N: usize>(&self, out: &mut SmallVec<[u8; N]>) {
        let kind = if self.connection.is_none() { 0 } else { CONNECTION };
        let [high, low] = self.remote.port().to_be_bytes();
        match self.remote.ip() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                out.extend_from_slice(&[self.listener, kind, high, low, a, b, c, d]);
            }
            IpAddr::V6(ip) => {
                out.extend_from_slice(&[self.listener, kind | IPV6, high, low]);
                out.extend_from_slice(&ip.octets());
            }
        }
        if let Some(connection) = self.connection {
            out.extend_from_slice(&connection.get().to_be_bytes());
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let start = u64::from(self.listener) << 16 | u64::from(self.remote.port());
        match self.remote.ip() {
            IpAddr::V4(ip) => write_hex(out, start << 32 | u64::from(ip.to_bits()), 14),
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                write_hex(out, start, 6);
                write_hex(out, (bits >> 64) as u64, 16);
                write_hex(out, bits as u64, 16);
            }
        }
        if let Some(connection) = self.connection {
            write_hex(out, connection.get(), 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_read_as_it_was_written() {
        for (remote, connection) in
            [("192.0.2.7:5060", 0), ("192.0.2.7:65535", 77), ("[2001:db8::7]:5060", 0), ("[::1]:1", u64::MAX)]
        {
            let peer = Peer { listener: 3, remote: remote.parse().unwrap(), connection: ConnectionId::new(connection) };
            let mut text = Vec::new();
            peer.write(&mut text);
            assert_eq!(Peer::parse(&text), Some(peer));
            text.pop();
            assert_eq!(Peer::parse(&text), None);
            let mut octets = SmallVec::<[u8; 28]>::new();
            peer.write_octets(&mut octets);
            assert_eq!(Peer::read_octets(&octets), Some((peer, &[][..])));
            octets.pop();
            assert_eq!(Peer::read_octets(&octets), None);
        }
        assert_eq!(Peer::parse(b""), None);
        assert_eq!(Peer::read_octets(b""), None);
    }
}
