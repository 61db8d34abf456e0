//! A peer as text or octets: where something came from or goes to, to be found again in our Via and Record-Route.
//!
//! ```text
//! <listener:2> <port:4> <ip:8|32> [<connection:16>]                     in a Via branch, as hex digits
//! <listener> <kind> <port:2> <ip:4|16> [<connection:8>]                 in a dialog token, as octets
//! ```
//!
//! Neither form is signed: whoever writes one signs it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use location::Flow;

use crate::hop::Hop;
use crate::mac::{octets_of, read_hex, write_hex};
use crate::settings::Settings;

/// Bit of `kind`: the address is an IPv6 one.
const IPV6: u8 = 1;

/// Bit of `kind`: a connection follows.
const CONNECTION: u8 = 2;

/// An address, and the listener or connection over which it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Index of the listener.
    pub(crate) listener: u8,
    pub(crate) remote: SocketAddr,
    /// 0 for UDP.
    pub(crate) connection: u64,
}

impl Peer {
    pub(crate) fn of_hop(hop: &Hop, settings: &Settings) -> Self {
        let Hop { transport, remote, local, connection } = *hop;
        let listener = settings.listener_of(&Flow { transport, remote, local, connection });
        Self { listener, remote, connection }
    }

    /// The way to it now; none if its listener is gone.
    pub(crate) fn hop(&self, settings: &Settings) -> Option<Hop> {
        let listener = settings.listeners.get(usize::from(self.listener))?;
        let local = settings.local_of(listener, self.remote.ip())?;
        Some(Hop { transport: listener.transport, remote: self.remote, local, connection: self.connection })
    }

    /// What a signature covers.
    pub(crate) fn octets(&self) -> [u8; 27] {
        let mut octets = [0; 27];
        octets[0] = self.listener;
        octets[1..3].copy_from_slice(&self.remote.port().to_be_bytes());
        octets[3..19].copy_from_slice(&octets_of(self.remote.ip()));
        octets[19..].copy_from_slice(&self.connection.to_be_bytes());
        octets
    }

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (listener, text) = text.split_at_checked(2)?;
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
        Some(Self {
            listener: u8::try_from(read_hex(listener)?).ok()?,
            remote: SocketAddr::new(ip, u16::try_from(read_hex(port)?).ok()?),
            connection: if connection.is_empty() { 0 } else { read_hex(connection)? },
        })
    }

    /// Reads the octets that [`Peer::write_octets`] wrote; returns what follows them.
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
            return Some((Self { listener, remote, connection: 0 }, rest));
        }
        let (connection, rest) = rest.split_first_chunk()?;
        Some((Self { listener, remote, connection: u64::from_be_bytes(*connection) }, rest))
    }

    /// Appends the peer as octets: 8 for an IPv4 address, 20 for an IPv6 one, and 8 more with a connection.
    pub(crate) fn write_octets(&self, out: &mut impl Extend<u8>) {
        let kind = if self.remote.is_ipv6() { IPV6 } else { 0 } | if self.connection == 0 { 0 } else { CONNECTION };
        let [high, low] = self.remote.port().to_be_bytes();
        out.extend([self.listener, kind, high, low]);
        match self.remote.ip() {
            IpAddr::V4(ip) => out.extend(ip.octets()),
            IpAddr::V6(ip) => out.extend(ip.octets()),
        }
        if self.connection != 0 {
            out.extend(self.connection.to_be_bytes());
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        write_hex(out, u64::from(self.listener), 2);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (remote, connection) in
            [("192.0.2.7:5060", 0), ("192.0.2.7:65535", 77), ("[2001:db8::7]:5060", 0), ("[::1]:1", u64::MAX)]
        {
            let peer = Peer { listener: 3, remote: remote.parse().unwrap(), connection };
            let mut text = Vec::new();
            peer.write(&mut text);
            assert_eq!(Peer::parse(&text), Some(peer));
            text.pop();
            assert_eq!(Peer::parse(&text), None);
            let mut octets = Vec::new();
            peer.write_octets(&mut octets);
            assert_eq!(Peer::read_octets(&octets), Some((peer, &[][..])));
            octets.pop();
            assert_eq!(Peer::read_octets(&octets), None);
        }
        assert_eq!(Peer::parse(b""), None);
        assert_eq!(Peer::read_octets(b""), None);
    }
}
