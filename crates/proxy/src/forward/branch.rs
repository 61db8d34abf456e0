//! The branch of our Via, which tells where the response to a request goes (RFC 3261 16.6 step 8, 16.11).
//!
//! ```text
//! z9hG4bK s           <mark:16> <peer>                                   stateless
//! z9hG4bK p <worker:2> <mark:16> <peer>                                   stateless, pinned by that worker
//! z9hG4bK t <worker:2> <fork:16> <index:2> <loop:16> <mark:16> <peer>     a client transaction of that worker
//! z9hG4bK u ...                                                          the same, with another CSeq number (`renumbering`)
//! z9hG4bK S, P, T, U ...                                                 the same, with another From (`restore`)
//! z9hG4bK n <worker:2> <subscription:16> <sequence:8>                     a NOTIFY of that worker
//! z9hG4bK r <worker:2> <id:16> <sequence:8>                               a request of that worker to a trunk
//! z9hG4bK a           <mark:16> <peer>                                    an ACK over TCP that could go over UDP
//! z9hG4bK d           <mark:16> <peer>                                    a request of another node to a flow of this one
//! z9hG4bK v, q, x, y  ... x <address:14|38>                               s, p, t, u for a phone at another node
//! ```
//!
//! A branch contains the peer that the response goes to, and a mark: a keyed hash of that peer, of the address that the
//! request was sent to, and of the transaction key. The key is computed from the Via below ours and other values that a
//! response repeats. A response with a wrong mark does not belong to a request of this server (RFC 6026 8.2). So nobody
//! can change where a response goes, and nobody can answer a request that they have read from another address.
//!
//! The method is not part of the branch, because CANCEL and ACK have the branch of their INVITE (RFC 3261 16.11). The
//! mark of a transaction is needed only if a 2xx arrives after its response context has ended. It covers the number of
//! the response context too: otherwise a phone could change that number, and its response would bypass a response
//! context that still exists.
//!
//! The last four end with the address of the phone. The response comes from the node that holds its flow, and only the
//! branch tells which phone has sent it. That node answers for this: it forwards responses of the phone only.
//!
//! No response comes to an ACK. The peer in its branch is the one that it goes to over UDP if TCP is refused; it is read
//! only in an ACK that this server could not send.

use std::net::SocketAddr;

use location::Flow;
use parser::{Transport, read_hex, write_hex};

use super::caller::shown_in_from;
use crate::hop::{Hop, Over};
use crate::mac::{Mac, Purpose, octets_of};
use crate::peer::LocalPeer;
use crate::request::{Request, TransactionKey};
use crate::settings::Settings;
use crate::target::SentTo;

/// The first characters of every branch (RFC 3261 8.1.1.7).
const COOKIE: &[u8] = b"z9hG4bK";

/// In place of the response context, for the mark of [`ViaBranch::ForNode`].
pub(crate) const FOR_NODE: (u8, u64) = (0, u64::MAX);

/// Identifies a client transaction of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BranchId {
    pub(crate) context: u64,
    pub(crate) index: u8,
}

/// Identifies a NOTIFY of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NotifyId {
    /// Random, so that only a peer that has received the NOTIFY can answer it.
    pub(crate) subscription: u64,
    /// The CSeq number.
    pub(crate) sequence: u32,
}

/// The content of a branch of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViaBranch {
    Stateless(Origin),
    Pinned {
        worker: u8,
        origin: Origin,
    },
    Transaction {
        worker: u8,
        id: BranchId,
        loop_mark: u64,
        origin: Origin,
    },
    Notify {
        worker: u8,
        id: NotifyId,
    },
    Trunk {
        worker: u8,
        id: NotifyId,
    },
    LargeAck {
        mark: u64,
        over_udp: LocalPeer,
    },
    /// For the node that handed the request over.
    ForNode(Origin),
}

/// The sender of a request, which gets the response if there is no transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The peer that the response goes to (RFC 3261 18.2.2, RFC 3581 4).
    pub(crate) peer: LocalPeer,
    mark: u64,
    /// Whether the request was sent with another CSeq number, which only one with a transaction is.
    pub(crate) is_renumbered: bool,
    /// Whether the request was sent with another From.
    pub(crate) has_other_from: bool,
    /// The address of the phone that the request was sent to, if another node holds its flow.
    pub(crate) at_node: Option<SocketAddr>,
}

impl Origin {
    /// For a request that is sent there. `fork` is the worker and number of its response context; `None` without a
    /// transaction.
    pub(crate) fn new(
        request: &Request,
        to: SentTo<'_>,
        fork: Option<(u8, u64)>,
        settings: &Settings,
        mac: &Mac,
    ) -> Self {
        let peer = LocalPeer::of_hop(&request.response_hop, settings);
        let at_node = matches!(to.hop.over, Over::Elsewhere(_)).then_some(to.hop.remote);
        let parts = Parts { peer: &peer, node: own_number(&peer, settings), at_node };
        let mark = mark(&parts, &Destination::of(to, settings), request.key, fork, mac);
        let is_renumbered = fork.is_some() && to.uri.renumbering(request).is_some();
        let has_other_from = shown_in_from(request, to, settings).is_some();
        Self { peer, mark, is_renumbered, has_other_from, at_node }
    }

    /// The address that the response goes to.
    pub(crate) const fn response_address(&self) -> SocketAddr {
        self.peer.remote
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (mark, peer) = text.split_at_checked(16)?;
        let (peer, mark) = (LocalPeer::parse(peer)?, read_hex(mark)?);
        Some(Self { peer, mark, is_renumbered: false, has_other_from: false, at_node: None })
    }

    /// With the address of a phone at another node behind it.
    #[cold]
    fn parse_at_node(text: &[u8]) -> Option<Self> {
        let at = memchr::memchr(b'x', text)?;
        let (origin, address) = text.split_at_checked(at)?;
        // The address is written as a peer whose listener is 0.
        let LocalPeer { listener: 0, remote, connection: None } = LocalPeer::parse(address.get(1..)?)? else {
            return None;
        };
        Some(Self { at_node: Some(remote), ..Self::parse(origin)? })
    }

    /// Appends the last `digits` digits of a number, at most 2, and the origin.
    fn write_after(&self, (number, digits): (u8, usize), out: &mut Vec<u8>) {
        self.peer.write_after((u128::from(number) << 64 | u128::from(self.mark), digits + 16), out);
        if let Some(remote) = self.at_node {
            out.push(b'x');
            LocalPeer { listener: 0, remote, connection: None }.write(out);
        }
    }
}

/// The address that a request was sent to, as octets to sign: with the port over UDP, without it over a stream, whose
/// remote port differs if the peer opened the connection.
struct Destination([u8; 18]);

impl Destination {
    fn of(to: SentTo<'_>, settings: &Settings) -> Self {
        match to.hop.over {
            // The response comes from the node.
            Over::Elsewhere(_) => {
                let leaves = to.hop.over_node(settings);
                leaves.map_or(Self([0; 18]), |leaves| Self::at(leaves.transport, leaves.remote))
            }
            _ => Self::at(to.hop.transport, to.remote()),
        }
    }

    fn at(transport: Transport, remote: SocketAddr) -> Self {
        let mut octets = [0; 18];
        octets[..16].copy_from_slice(&octets_of(remote.ip()));
        if !transport.is_reliable() {
            octets[16..].copy_from_slice(&remote.port().to_be_bytes());
        }
        Self(octets)
    }
}

/// What a mark covers besides the destination and the transaction.
struct Parts<'a> {
    peer: &'a LocalPeer,
    /// The number of this node, if the peer has a connection: at another node the same number is another connection.
    node: u16,
    at_node: Option<SocketAddr>,
}

fn own_number(peer: &LocalPeer, settings: &Settings) -> u16 {
    let own = settings.nodes.own().filter(|_| peer.connection.is_some());
    own.map_or(0, |own| own.number.get())
}

fn mark(
    Parts { peer, node, at_node }: &Parts<'_>,
    destination: &Destination,
    key: TransactionKey,
    fork: Option<(u8, u64)>,
    mac: &Mac,
) -> u64 {
    let mut octets = [0; 53];
    octets[..27].copy_from_slice(&peer.octets());
    octets[27..35].copy_from_slice(&key.0.to_be_bytes());
    octets[35..].copy_from_slice(&destination.0);
    if *node != 0 || at_node.is_some() {
        let (worker, fork) = fork.unwrap_or_default();
        let (ip, port) = at_node.map_or(([0; 16], 0), |at| (octets_of(at.ip()), at.port()));
        let rest = [&ip[..], &port.to_be_bytes(), &node.to_be_bytes(), &[worker], &fork.to_be_bytes()].concat();
        return mac.sign(Purpose::Mark, &[&octets, &rest]);
    }
    match fork {
        None => mac.sign(Purpose::Mark, &[&octets]),
        Some((worker, fork)) => mac.sign(Purpose::Mark, &[&octets, &[worker], &fork.to_be_bytes()]),
    }
}

impl ViaBranch {
    /// For an ACK that is sent over TCP instead of to this hop, for which it had another branch.
    pub(crate) fn of_large_ack(other: &Self, over_udp: &Hop, settings: &Settings) -> Self {
        let mark = other.origin().map_or(0, |origin| origin.mark);
        Self::LargeAck { mark, over_udp: LocalPeer::of_hop(over_udp, settings) }
    }

    /// The sender of the request; `None` for a request of this server.
    pub(crate) const fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Stateless(origin)
            | Self::Pinned { origin, .. }
            | Self::Transaction { origin, .. }
            | Self::ForNode(origin) => Some(origin),
            Self::Notify { .. } | Self::Trunk { .. } | Self::LargeAck { .. } => None,
        }
    }

    /// Whether the mark is valid for the transaction `key` and a request that was sent to the other end of this flow.
    pub(crate) fn verify(&self, key: TransactionKey, source: &Flow, settings: &Settings, mac: &Mac) -> bool {
        let destination = Destination::at(source.transport, source.remote);
        let fork = match self {
            Self::Transaction { worker, id, .. } => Some((*worker, id.context)),
            Self::ForNode(_) => Some(FOR_NODE),
            _ => None,
        };
        self.origin().is_some_and(|Origin { peer, mark: given, at_node, .. }| {
            let parts = Parts { peer, node: own_number(peer, settings), at_node: *at_node };
            *given == mark(&parts, &destination, key, fork, mac)
        })
    }

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (kind, rest) = text.strip_prefix(COOKIE)?.split_first()?;
        let has_other_from = kind.is_ascii_uppercase();
        let lower = kind.to_ascii_lowercase();
        // No request to a phone has another From.
        let origin_of = |text| match lower {
            b'v' | b'q' | b'x' | b'y' if has_other_from => None,
            b'v' | b'q' | b'x' | b'y' => Origin::parse_at_node(text),
            _ => Some(Origin { has_other_from, ..Origin::parse(text)? }),
        };
        match lower {
            b's' | b'v' => Some(Self::Stateless(origin_of(rest)?)),
            b'p' | b'q' => {
                let (worker, origin) = rest.split_at_checked(2)?;
                Some(Self::Pinned { worker: byte(worker)?, origin: origin_of(origin)? })
            }
            b'd' if !has_other_from => Some(Self::ForNode(Origin::parse(rest)?)),
            b't' | b'u' | b'x' | b'y' => {
                let (worker, rest) = rest.split_at_checked(2)?;
                let (fork, rest) = rest.split_at_checked(16)?;
                let (index, rest) = rest.split_at_checked(2)?;
                let (loop_mark, origin) = rest.split_at_checked(16)?;
                let id = BranchId { context: read_hex(fork)?, index: byte(index)? };
                let (worker, loop_mark) = (byte(worker)?, read_hex(loop_mark)?);
                let origin = Origin { is_renumbered: matches!(lower, b'u' | b'y'), ..origin_of(origin)? };
                Some(Self::Transaction { worker, id, loop_mark, origin })
            }
            b'n' | b'r' if !has_other_from => {
                let (worker, rest) = rest.split_at_checked(2)?;
                let (subscription, sequence) = rest.split_at_checked(16)?;
                let sequence = Some(sequence).filter(|sequence| sequence.len() == 8)?;
                let (subscription, sequence) = (read_hex(subscription)?, u32::try_from(read_hex(sequence)?).ok()?);
                let (worker, id) = (byte(worker)?, NotifyId { subscription, sequence });
                Some(if *kind == b'n' { Self::Notify { worker, id } } else { Self::Trunk { worker, id } })
            }
            b'a' if !has_other_from => {
                let Origin { mark, peer: over_udp, .. } = Origin::parse(rest)?;
                Some(Self::LargeAck { mark, over_udp })
            }
            _ => None,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(COOKIE);
        let kind = |(here, at_node): (u8, u8), origin: &Origin| match (origin.at_node, origin.has_other_from) {
            (Some(_), _) => at_node,
            (None, true) => here.to_ascii_uppercase(),
            (None, false) => here,
        };
        match self {
            Self::Stateless(origin) => {
                out.push(kind((b's', b'v'), origin));
                origin.write_after((0, 0), out);
            }
            Self::ForNode(origin) => {
                out.push(b'd');
                origin.write_after((0, 0), out);
            }
            Self::Pinned { worker, origin } => {
                out.push(kind((b'p', b'q'), origin));
                origin.write_after((*worker, 2), out);
            }
            Self::Transaction { worker, id, loop_mark, origin } => {
                out.push(kind(if origin.is_renumbered { (b'u', b'y') } else { (b't', b'x') }, origin));
                write_hex(out, u128::from(*worker) << 64 | u128::from(id.context), 18);
                write_hex(out, u128::from(id.index) << 64 | u128::from(*loop_mark), 18);
                origin.write_after((0, 0), out);
            }
            Self::Notify { worker, id } | Self::Trunk { worker, id } => {
                out.push(if matches!(self, Self::Notify { .. }) { b'n' } else { b'r' });
                write_hex(out, *worker, 2);
                write_hex(out, id.subscription, 16);
                write_hex(out, id.sequence, 8);
            }
            Self::LargeAck { mark, over_udp } => {
                out.push(b'a');
                over_udp.write_after(((*mark).into(), 16), out);
            }
        }
    }
}

fn byte(text: &[u8]) -> Option<u8> {
    u8::try_from(read_hex(text)?).ok()
}

#[cfg(test)]
mod tests {
    use location::{ConnectionId, FlowId};

    use super::*;

    const MARK: u64 = 0x0123_4567_89ab_cdef;

    #[test]
    fn over_a_stream_the_port_of_the_peer_does_not_matter() {
        let (mac, key, own) = (Mac::new([1; 16]), TransactionKey(5), peer("192.0.2.7:5060", 9));
        let to: SocketAddr = "192.0.2.9:5060".parse().unwrap();
        let mark = mark(&parts(&own), &Destination::at(Transport::Tcp, to), key, None, &mac);
        for (came, is_valid) in [("192.0.2.9:40000", true), ("192.0.2.8:5060", false)] {
            let remote: SocketAddr = came.parse().unwrap();
            let flow =
                Flow { transport: Transport::Tcp, remote, local: remote, id: ConnectionId::new(8).unwrap().into() };
            assert_eq!(
                ViaBranch::Stateless(Origin { mark, ..plain(own) }).verify(key, &flow, &Settings::default(), &mac),
                is_valid,
                "{came}"
            );
        }
    }

    fn parts(peer: &LocalPeer) -> Parts<'_> {
        Parts { peer, node: 0, at_node: None }
    }

    fn peer(remote: &str, connection: u64) -> LocalPeer {
        LocalPeer { listener: 1, remote: remote.parse().unwrap(), connection: ConnectionId::new(connection) }
    }

    fn plain(peer: LocalPeer) -> Origin {
        Origin { peer, mark: MARK, is_renumbered: false, has_other_from: false, at_node: None }
    }

    fn at_node(phone: &str) -> Origin {
        Origin { at_node: Some(phone.parse().unwrap()), ..plain(peer("192.0.2.7:5060", 9)) }
    }

    #[test]
    fn a_branch_is_read_as_it_was_written() {
        let (own, ipv6) = (peer("192.0.2.7:5060", 0), peer("[2001:db8::7]:5060", 77));
        let origin = |peer, is_renumbered, has_other_from| Origin { is_renumbered, has_other_from, ..plain(peer) };
        let transaction = |context, origin| {
            let id = BranchId { context, index: 3 };
            ViaBranch::Transaction { worker: 1, id, loop_mark: 7, origin }
        };
        for branch in [
            ViaBranch::Stateless(origin(own, false, false)),
            ViaBranch::Stateless(origin(own, false, true)),
            ViaBranch::Pinned { worker: 255, origin: origin(ipv6, false, false) },
            ViaBranch::Pinned { worker: 9, origin: origin(own, false, true) },
            transaction(u64::MAX, origin(own, false, false)),
            transaction(2, origin(own, true, false)),
            transaction(2, origin(own, false, true)),
            transaction(2, origin(own, true, true)),
            ViaBranch::Stateless(at_node("192.0.2.9:5060")),
            ViaBranch::Pinned { worker: 1, origin: at_node("[2001:db8::9]:5060") },
            ViaBranch::ForNode(plain(own)),
            transaction(2, at_node("192.0.2.9:5060")),
            transaction(2, Origin { is_renumbered: true, ..at_node("192.0.2.9:5060") }),
            ViaBranch::Notify { worker: 7, id: NotifyId { subscription: u64::MAX, sequence: 1 } },
            ViaBranch::Trunk { worker: 7, id: NotifyId { subscription: u64::MAX, sequence: 1 } },
            ViaBranch::LargeAck { mark: MARK, over_udp: peer("192.0.2.9:5060", 0) },
        ] {
            let mut text = Vec::new();
            branch.write(&mut text);
            assert_eq!(ViaBranch::parse(&text), Some(branch));
            text.pop();
            assert_eq!(ViaBranch::parse(&text), None);
        }
        assert_eq!(ViaBranch::parse(b"z9hG4bKnashds7"), None);
    }

    #[test]
    fn a_mark_is_valid_for_one_transaction_and_one_peer() {
        // checklist 88
        let (mac, key, own) = (Mac::new([1; 16]), TransactionKey(5), peer("192.0.2.7:5060", 9));
        let flow = |transport, remote: &str, connection| {
            let remote: SocketAddr = remote.parse().unwrap();
            let id = ConnectionId::new(connection).map(FlowId::Connection).unwrap_or_default();
            Flow { transport, remote, local: remote, id }
        };
        let to = flow(Transport::Udp, "192.0.2.9:5060", 0);
        let mark = mark(&parts(&own), &Destination::at(to.transport, to.remote), key, None, &mac);
        let branch = ViaBranch::Stateless(Origin { mark, ..plain(own) });
        assert!(branch.verify(key, &to, &Settings::default(), &mac));
        assert!(!branch.verify(TransactionKey(6), &to, &Settings::default(), &mac));
        assert!(!branch.verify(key, &to, &Settings::default(), &Mac::new([2; 16])));
        for elsewhere in ["192.0.2.9:5061", "192.0.2.8:5060"] {
            assert!(!branch.verify(key, &flow(Transport::Udp, elsewhere, 0), &Settings::default(), &mac));
        }
        let others = [peer("192.0.2.7:5060", 8), peer("192.0.2.7:5061", 9), peer("192.0.2.8:5060", 9)];
        for peer in others.into_iter().chain([LocalPeer { listener: 2, ..own }]) {
            let branch = ViaBranch::Stateless(Origin { mark, ..plain(peer) });
            assert!(!branch.verify(key, &to, &Settings::default(), &mac));
        }
    }
}
