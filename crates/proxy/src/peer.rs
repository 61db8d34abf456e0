//! The flow to a peer, as text or octets, for our Via branches and dialog tokens.
//!
//! ```text
//! <listener:2> <port:4> <ip:8|32> [<connection:16>]                     in a Via branch, as hex digits
//! <listener> <kind> <port:2> <ip:4|16> [<connection:8>]                 in a dialog token, as octets
//! <transport> <kind> <port:2> <ip:4|16> [<connection:8>]                the same, with the node that holds the flow
//!     <node:2> <run:4> <local-port:2> <local-ip:4|16>
//! ```
//!
//! A peer whose way depends on a node of a cluster names that node: its connection, or the address that its NAT knows. The
//! branch of a Via comes back to the node that wrote it, so it names none.
//!
//! Neither form contains a signature. The caller has to sign it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use location::{ConnectionId, Flow, FlowId, Node, NodeFlow};
use parser::{Transport, read_hex, write_hex};
use smallvec::SmallVec;

use crate::connections::Connections;
use crate::hop::{Hop, Over};
use crate::mac::octets_of;
use crate::settings::{Settings, Way};

/// Bit of `kind`: the address is IPv6.
const IPV6: u8 = 1;

/// Bit of `kind`: a connection identifier follows.
const CONNECTION: u8 = 2;

/// Bit of `kind`: the node follows, and the first octet is the transport.
const NODE: u8 = 4;

/// Bit of `kind`: the local address at the node is IPv6.
const LOCAL_IPV6: u8 = 8;

/// The transports in the order of their numbers.
const TRANSPORTS: [Transport; 5] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

/// A peer as this node alone knows it: the address, and the listener or connection that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalPeer {
    /// Index of the listener.
    pub(crate) listener: u8,
    pub(crate) remote: SocketAddr,
    pub(crate) connection: Option<ConnectionId>,
}

/// A peer as every node can find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Index of the listener.
    pub(crate) listener: u8,
    pub(crate) remote: SocketAddr,
    pub(crate) connection: Option<ConnectionId>,
    /// The node that holds the flow, if the way depends on a node. Then `listener` is 0.
    pub(crate) node: Option<AtNode>,
}

/// What identifies a flow at a node besides its remote address and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtNode {
    pub(crate) node: Node,
    pub(crate) transport: Transport,
    /// The local address of the flow there.
    pub(crate) local: SocketAddr,
}

impl LocalPeer {
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

    /// Appends the peer as text.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.write_after((0, 0), out);
    }

    /// Appends the last `digits` digits of a number, at most 18, and the peer. All are converted to text at once.
    pub(crate) fn write_after(&self, (number, digits): (u128, usize), out: &mut Vec<u8>) {
        let start = number << 24 | u128::from(self.listener) << 16 | u128::from(self.remote.port());
        match self.remote.ip() {
            IpAddr::V4(ip) => write_hex(out, start << 32 | u128::from(ip.to_bits()), digits + 14),
            IpAddr::V6(ip) => {
                write_hex(out, start, digits + 6);
                write_hex(out, ip.to_bits(), 32);
            }
        }
        if let Some(connection) = self.connection {
            write_hex(out, connection.get(), 16);
        }
    }
}

impl From<LocalPeer> for Peer {
    fn from(LocalPeer { listener, remote, connection }: LocalPeer) -> Self {
        Self { listener, remote, connection, node: None }
    }
}

impl Peer {
    /// `only_flow`: the peer is reached over this flow only.
    #[inline]
    pub(crate) fn of_dialog(hop: &Hop, only_flow: bool, settings: &Settings) -> Self {
        match (&hop.over, settings.nodes.own()) {
            (Over::Elsewhere(flow), _) => Self::at_node(hop, flow.node, flow.connection),
            (_, Some(own)) if only_flow || hop.connection().is_some() => Self::at_node(hop, own, hop.connection()),
            _ => LocalPeer::of_hop(hop, settings).into(),
        }
    }

    #[cold]
    fn at_node(hop: &Hop, node: Node, connection: Option<ConnectionId>) -> Self {
        let node = Some(AtNode { node, transport: hop.transport, local: hop.local });
        Self { listener: 0, remote: hop.remote, connection, node }
    }

    /// The transport that leads to it; `None` if its listener no longer exists.
    pub(crate) fn transport(&self, settings: &Settings) -> Option<Transport> {
        match &self.node {
            Some(at) => Some(at.transport),
            None => Some(settings.listeners.get(usize::from(self.listener))?.transport),
        }
    }

    /// The flow, if it depends on a node.
    pub(crate) fn node_flow(&self) -> Option<NodeFlow> {
        self.node.map(|at| NodeFlow { node: at.node, connection: self.connection })
    }

    /// Its connection, if it is one of this run of this server.
    #[inline]
    pub(crate) fn connection_here(&self, settings: &Settings) -> Option<ConnectionId> {
        self.connection.filter(|_| self.node.is_none_or(|at| settings.nodes.own() == Some(at.node)))
    }

    /// Whether its connection may exist: it is open here, or another node that is alive holds it.
    pub(crate) fn may_be_open(&self, connections: &Connections, settings: &Settings) -> bool {
        match (self.connection, self.node_flow()) {
            (None, None) => true,
            (Some(connection), None) => connections.is_open(connection),
            (connection, Some(flow)) => match settings.nodes.way(&flow) {
                Way::Here => connection.is_none_or(|it| connections.is_open(it)),
                Way::Node(_) => true,
                Way::Gone => false,
            },
        }
    }

    /// Whether the flow of a binding or of a message of this node is this peer.
    pub(crate) fn is_flow(&self, flow: &Flow, settings: &Settings) -> bool {
        let same_connection = || match flow.id {
            FlowId::Connection(id) => self.connection_here(settings) == Some(id),
            FlowId::Elsewhere(other) => self.node_flow() == Some(other),
            FlowId::None | FlowId::Nat => self.connection.is_none(),
        };
        let own = settings.nodes.own();
        let number = match flow.id {
            FlowId::Elsewhere(other) => Some(other.node.number),
            FlowId::Nat => own.map(|own| own.number),
            FlowId::None | FlowId::Connection(_) => None,
        };
        let same_node = || number.zip(self.node).is_none_or(|(number, at)| at.node.number == number);
        match flow.transport.is_reliable() {
            true => same_connection(),
            false => self.connection.is_none() && flow.remote == self.remote && same_node(),
        }
    }

    /// The hop to this peer; `None` if its listener no longer exists.
    pub(crate) fn hop(&self, settings: &Settings) -> Option<Hop> {
        match &self.node {
            Some(at) => self.hop_at(at, settings),
            None => self.local().hop(settings),
        }
    }

    /// Without its node.
    pub(crate) const fn local(&self) -> LocalPeer {
        LocalPeer { listener: self.listener, remote: self.remote, connection: self.connection }
    }

    #[cold]
    fn hop_at(&self, at: &AtNode, settings: &Settings) -> Option<Hop> {
        let flow = NodeFlow { node: at.node, connection: self.connection };
        let hop = Hop { transport: at.transport, remote: self.remote, local: at.local, over: Over::Elsewhere(flow) };
        if settings.nodes.way(&flow) != Way::Here {
            return Some(hop);
        }
        // The address may have changed with a restart.
        let local = Some(at.local).filter(|local| settings.is_listener(at.transport, *local));
        let local = local.or_else(|| settings.local_for(at.transport, self.remote.ip()))?;
        let over = self.connection.map_or(Over::Address, |id| Over::accepted(id, at.transport));
        Some(Hop { local, over, ..hop })
    }

    /// Reads the octets that [`Peer::write_octets`] wrote. Returns the rest too.
    pub(crate) fn read_octets(octets: &[u8]) -> Option<(Self, &[u8])> {
        let (&[listener, kind, high, low], rest) = octets.split_first_chunk()?;
        let (ip, rest) = read_ip(rest, kind & IPV6 != 0)?;
        let remote = SocketAddr::new(ip, u16::from_be_bytes([high, low]));
        let (connection, rest) = if kind & CONNECTION == 0 {
            (None, rest)
        } else {
            let (connection, rest) = rest.split_first_chunk()?;
            (Some(ConnectionId::new(u64::from_be_bytes(*connection))?), rest)
        };
        if kind & NODE == 0 {
            return Some((Self { listener, remote, connection, node: None }, rest));
        }
        let transport = *TRANSPORTS.get(usize::from(listener))?;
        let (number, rest) = rest.split_first_chunk()?;
        let (run, rest) = rest.split_first_chunk()?;
        let (port, rest) = rest.split_first_chunk()?;
        let (ip, rest) = read_ip(rest, kind & LOCAL_IPV6 != 0)?;
        let node = Node { number: NonZeroU16::new(u16::from_be_bytes(*number))?, run: u32::from_be_bytes(*run) };
        let node = Some(AtNode { node, transport, local: SocketAddr::new(ip, u16::from_be_bytes(*port)) });
        Some((Self { listener: 0, remote, connection, node }, rest))
    }

    /// Appends the peer as octets: 8 for IPv4, 20 for IPv6, 8 more with a connection, and up to 24 more with a node.
    pub(crate) fn write_octets<const N: usize>(&self, out: &mut SmallVec<[u8; N]>) {
        if let Some(at) = &self.node {
            return self.write_octets_at(at, out);
        }
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

    #[cold]
    fn write_octets_at<const N: usize>(&self, at: &AtNode, out: &mut SmallVec<[u8; N]>) {
        let first = out.len();
        let number = TRANSPORTS.iter().position(|transport| *transport == at.transport);
        let number = number.and_then(|number| u8::try_from(number).ok()).unwrap_or_default();
        Self { listener: number, node: None, ..*self }.write_octets(out);
        if let Some(kind) = out.get_mut(first + 1) {
            *kind |= NODE | if at.local.is_ipv6() { LOCAL_IPV6 } else { 0 };
        }
        out.extend_from_slice(&at.node.number.get().to_be_bytes());
        out.extend_from_slice(&at.node.run.to_be_bytes());
        out.extend_from_slice(&at.local.port().to_be_bytes());
        match at.local.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }
}

fn read_ip(octets: &[u8], is_v6: bool) -> Option<(IpAddr, &[u8])> {
    if is_v6 {
        let (ip, rest) = octets.split_first_chunk::<16>()?;
        return Some((IpAddr::from(*ip), rest));
    }
    let (ip, rest) = octets.split_first_chunk::<4>()?;
    Some((IpAddr::from(*ip), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_read_as_it_was_written() {
        for (remote, connection) in
            [("192.0.2.7:5060", 0), ("192.0.2.7:65535", 77), ("[2001:db8::7]:5060", 0), ("[::1]:1", u64::MAX)]
        {
            let connection = ConnectionId::new(connection);
            let local = LocalPeer { listener: 3, remote: remote.parse().unwrap(), connection };
            let mut text = Vec::new();
            local.write(&mut text);
            assert_eq!(LocalPeer::parse(&text), Some(local));
            text.pop();
            assert_eq!(LocalPeer::parse(&text), None);
            let peer = Peer::from(local);
            let mut octets = SmallVec::<[u8; 28]>::new();
            peer.write_octets(&mut octets);
            assert_eq!(Peer::read_octets(&octets), Some((peer, &[][..])));
            octets.pop();
            assert_eq!(Peer::read_octets(&octets), None);
            for (transport, local) in [(Transport::Udp, "192.0.2.1:5060"), (Transport::Wss, "[2001:db8::1]:443")] {
                let node = Node { number: NonZeroU16::new(513).unwrap(), run: 0x0102_0304 };
                let node = Some(AtNode { node, transport, local: local.parse().unwrap() });
                let peer = Peer { listener: 0, node, ..peer };
                let mut octets = SmallVec::<[u8; 28]>::new();
                peer.write_octets(&mut octets);
                assert_eq!(Peer::read_octets(&octets), Some((peer, &[][..])));
                octets.pop();
                assert_eq!(Peer::read_octets(&octets), None);
            }
        }
        assert_eq!(LocalPeer::parse(b""), None);
        assert_eq!(Peer::read_octets(b""), None);
    }
}
