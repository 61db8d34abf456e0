//! Next hops: where a message goes, as an address or as a name that DNS must translate first.

use std::net::SocketAddr;
use std::sync::Arc;

use location::{ConnectionId, Flow, FlowId};
use parser::Transport;

use crate::connections::Connections;

/// Where a message goes, from which address of ours, and over what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The transport to send over.
    pub transport: Transport,
    /// The peer. For [`Over::Connection`] the address to connect to when that connection is closed.
    pub remote: SocketAddr,
    /// The address of ours that the message says it comes from; for UDP the socket that listens there sends it.
    pub local: SocketAddr,
    /// Which flows may carry the message.
    pub over: Over,
}

/// Which flows may carry a message to its next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Any that leads to the address: a datagram, an open connection to it, or a new one.
    Address,
    /// A connection to the address whose peer has proven with its certificate that it is this host (RFC 5922 7.3), or a
    /// new one to such a peer. The host is the one that was looked up, not the target of an SRV record: whoever can
    /// forge DNS answers could name another. Only for secure transports.
    Host(Arc<str>),
    /// This connection; once it is closed as with [`Over::Address`].
    Connection(ConnectionId),
    /// This connection only. The phone maintains it, and nothing else leads to the phone (RFC 5626 5.3.1).
    ConnectionOnly(ConnectionId),
}

impl Over {
    /// The connection that a message came over. RFC 7118 5: the address of a WebSocket client leads nowhere without it.
    pub(crate) fn accepted(id: ConnectionId, transport: Transport) -> Self {
        if transport.is_websocket() { Self::ConnectionOnly(id) } else { Self::Connection(id) }
    }
}

impl Hop {
    /// To an address.
    pub const fn to_address(transport: Transport, remote: SocketAddr, local: SocketAddr) -> Self {
        Self { transport, remote, local, over: Over::Address }
    }

    /// To an address that a name leads to.
    pub(crate) fn to_name(name: &Name, remote: SocketAddr, local: SocketAddr) -> Self {
        let over = if name.transport.is_secure() { Over::Host(Arc::clone(&name.host)) } else { Over::Address };
        Self { transport: name.transport, remote, local, over }
    }

    /// Back the way a message came.
    pub fn back(flow: &Flow) -> Self {
        let Flow { transport, remote, local, id } = *flow;
        let over = match id {
            FlowId::Connection(id) => Over::accepted(id, transport),
            FlowId::None | FlowId::Nat | FlowId::Elsewhere(_) => Over::Address,
        };
        Self { transport, remote, local, over }
    }

    /// The connection to send over, if there is one to prefer.
    pub const fn connection(&self) -> Option<ConnectionId> {
        match self.over {
            Over::Address | Over::Host(_) => None,
            Over::Connection(id) | Over::ConnectionOnly(id) => Some(id),
        }
    }

    /// The same, over nothing but its connection.
    pub(crate) fn only_over_connection(mut self) -> Self {
        if let Some(id) = self.connection() {
            self.over = Over::ConnectionOnly(id);
        }
        self
    }

    /// The hop as it can be used now: to the address, if the connection is closed.
    pub(crate) fn now(&self, connections: &Connections) -> Self {
        match self.over {
            Over::Connection(id) if !connections.is_open(id) => Self { over: Over::Address, ..*self },
            _ => self.clone(),
        }
    }

    /// Whether a message that came over a flow came from here: over UDP from the same address and port; over a stream
    /// by the same connection, or from the address that was connected to where that one was closed.
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

    /// The response that stands for a request that could not be sent there: as from the next hop (RFC 3261 16.9), or
    /// of a flow that is closed (RFC 5626 11.5).
    pub(crate) const fn failure(&self) -> u16 {
        match self.over {
            Over::ConnectionOnly(_) => 430,
            Over::Address | Over::Host(_) | Over::Connection(_) => 503,
        }
    }
}

/// A host to be looked up (RFC 3263; the port and transport are already chosen).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Host name, as it stands in the URI.
    pub host: Arc<str>,
    /// Port to go to.
    pub port: u16,
    /// Transport to use.
    pub transport: Transport,
}
