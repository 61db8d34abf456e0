//! Next hops: an address or a flow, or a host name that has to be resolved first.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use location::{ConnectionId, Flow, FlowId, NodeFlow};
use parser::Transport;
use smallvec::SmallVec;

use crate::connections::Connections;

/// A peer to send to, the local address to send from, and the flows that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The transport to send over.
    pub transport: Transport,
    /// The address of the peer. For [`Over::Connection`] this is the address to connect to if that connection is
    /// closed.
    pub remote: SocketAddr,
    /// The local address. The message names it in Via; over UDP it is sent from the socket of this address.
    pub local: SocketAddr,
    /// Which flows may carry the message.
    pub over: Over,
}

/// Which flows may carry a message to its next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Any: a datagram, an open connection to the address, or a new one.
    Address,
    /// A connection to the address whose peer has proved with its certificate that it is this host (RFC 5922 7.3), or a
    /// new one to such a peer. The host is the one that was looked up and not the target of an SRV record, because an
    /// attacker that can forge DNS answers could name another one. Only for secure transports.
    Host(Arc<str>),
    /// As [`Over::Address`], for a request that is too long for UDP (RFC 3261 18.1.1). It can go over UDP after all, so
    /// a new connection has to open within `limits.brief_connect_time`.
    InsteadOfUdp,
    /// This connection. If it is closed, the same as [`Over::Address`].
    Connection(ConnectionId),
    /// This connection only. The phone maintains it, and no other address leads to the phone (RFC 5626 5.3.1).
    ConnectionOnly(ConnectionId),
    /// This flow of another node only. The core sends such a message to that node, over another hop. So the driver gets it
    /// only if that node is gone, and then it cannot be sent.
    Elsewhere(NodeFlow),
}

impl Over {
    /// The connection that a message came over. RFC 7118 5: the address of a WebSocket client leads nowhere without it.
    pub(crate) fn accepted(id: ConnectionId, transport: Transport) -> Self {
        if transport.is_websocket() { Self::ConnectionOnly(id) } else { Self::Connection(id) }
    }
}

impl Hop {
    /// A hop to an address.
    pub const fn to_address(transport: Transport, remote: SocketAddr, local: SocketAddr) -> Self {
        Self { transport, remote, local, over: Over::Address }
    }

    /// A hop to one of the endpoints that a host name was resolved to.
    pub(crate) fn to_endpoint(name: &Name, endpoint: Endpoint, local: SocketAddr) -> Self {
        let Endpoint { transport, address: remote } = endpoint;
        let over = if transport.is_secure() { Over::Host(Arc::clone(&name.host)) } else { Over::Address };
        Self { transport, remote, local, over }
    }

    /// The hop back to the sender of a message.
    pub fn back(flow: &Flow) -> Self {
        let Flow { transport, remote, local, id } = *flow;
        let over = match id {
            FlowId::Connection(id) => Over::accepted(id, transport),
            FlowId::None | FlowId::Nat => Over::Address,
            FlowId::Elsewhere(flow) => Over::Elsewhere(flow),
        };
        Self { transport, remote, local, over }
    }

    /// The connection to use, if one is given.
    pub const fn connection(&self) -> Option<ConnectionId> {
        match self.over {
            Over::Address | Over::Host(_) | Over::InsteadOfUdp | Over::Elsewhere(_) => None,
            Over::Connection(id) | Over::ConnectionOnly(id) => Some(id),
        }
    }

    /// Whether a message for it leaves over a stream: a node is always reached over one.
    pub(crate) const fn leaves_over_stream(&self) -> bool {
        !matches!(self.transport, Transport::Udp) || matches!(self.over, Over::Elsewhere(_))
    }

    /// The same hop, limited to its connection if it has one.
    pub(crate) fn only_over_connection(mut self) -> Self {
        if let Some(id) = self.connection() {
            self.over = Over::ConnectionOnly(id);
        }
        self
    }

    /// The same hop, by address if its connection is closed.
    pub(crate) fn now(&self, connections: &Connections) -> Self {
        match self.over {
            Over::Connection(id) if !connections.is_open(id) => Self { over: Over::Address, ..*self },
            _ => self.clone(),
        }
    }

    /// The hop back to the sender of a request whose top Via names `sent_by`. If its connection is closed, a new one goes to
    /// its source address and the port in its Via (RFC 3261 18.2.2), and over TLS the peer has to prove the name in
    /// its Via (26.3.2.1). The name is not looked up: it would let anybody choose an address to connect to.
    pub(crate) fn for_response(self, sent_by: Option<&str>, connections: &Connections) -> Self {
        match (&self.over, sent_by) {
            (Over::Connection(id), Some(host)) if self.transport == Transport::Tls && !connections.is_open(*id) => {
                Self { over: Over::Host(host.into()), ..self }
            }
            _ => self,
        }
    }

    /// Whether a message that came over `flow` was sent by this hop. Over UDP: from the same address and port. Over a
    /// stream: over the same connection, or from the same IP address, because a peer that reconnects has another port.
    pub(crate) fn is_source_of(&self, flow: &Flow) -> bool {
        let same = match self.transport.is_reliable() {
            true => {
                let same_connection = self.connection().is_some() && self.connection() == flow.id.connection();
                same_connection || self.remote.ip() == flow.remote.ip()
            }
            false => self.remote == flow.remote,
        };
        self.transport == flow.transport && same
    }

    /// The status for a request that could not be sent to this hop: 503, as if the next hop had sent it (RFC 3261
    /// 16.9), or 430 if only a closed flow leads there (RFC 5626 11.5).
    pub(crate) const fn failure(&self) -> u16 {
        match self.over {
            Over::ConnectionOnly(_) | Over::Elsewhere(_) => 430,
            Over::Address | Over::Host(_) | Over::InsteadOfUdp | Over::Connection(_) => 503,
        }
    }
}

/// Where a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The transport.
    pub transport: Transport,
    /// The address.
    pub address: SocketAddr,
}

/// The endpoints of one name, in the order in which they are tried.
pub type Endpoints = SmallVec<[Endpoint; 2]>;

/// A host to be resolved (RFC 3263 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Host name, as written in the URI.
    pub host: Arc<str>,
    /// The port, if the URI has one.
    pub port: Option<u16>,
    /// The transport, if it is known: by the URI, or because a phone registered over it.
    pub transport: Option<Transport>,
    /// Whether only secure transports may be used: the URI is a `sips:` one.
    pub secure: bool,
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(out, "{}:{port}", self.host),
            None => out.write_str(&self.host),
        }
    }
}

impl Name {
    /// Whether all its addresses are reached over a secure transport.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure || self.transport.is_some_and(|transport| transport.is_secure())
    }
}
