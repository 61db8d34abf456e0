//! The flow of a message: transport, addresses and connection (RFC 5626 4.2, RFC 3581).
//!
//! Plain values that the proxy fills in and that bindings contain. Must not open, look up or close connections: a
//! [`ConnectionId`] is only a number.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU64};

use parser::Transport;

/// Transport, both addresses, and what else is needed to send back over it. A REGISTER's flow is stored in its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The transport of the message.
    pub transport: Transport,
    /// Its source address.
    pub remote: SocketAddr,
    /// The local address that received it.
    pub local: SocketAddr,
    /// What identifies the flow besides its addresses.
    pub id: FlowId,
}

/// What identifies a flow besides its transport and addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FlowId {
    /// Nothing: a datagram, or a binding over a stream whose connection was closed by a restart of the program.
    #[default]
    None,
    /// Nothing, but the flow is the only way to the phone: it is behind a NAT and registered over UDP. Occurs in bindings
    /// only.
    Nat,
    /// The connection that the message came over.
    Connection(ConnectionId),
    /// The flow ends at another of the servers that share the location service, and only that server can send over it.
    /// Occurs in bindings only.
    Elsewhere(NodeFlow),
}

/// A flow of another server: over UDP through a NAT, or a stream connection. A store that several servers share replaces
/// [`FlowId::Nat`] and [`FlowId::Connection`] by it in the bindings that other servers stored, and back in those that this
/// run of this server stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeFlow {
    /// The server, and the run in which the flow exists.
    pub node: Node,
    /// The number of the connection in that run; `None` for UDP through a NAT.
    pub connection: Option<ConnectionId>,
}

/// One run of one of the servers that share the location service. Connections end with the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// The number of the server, on which all of them agree.
    pub number: NonZeroU16,
    /// The number of its run.
    pub run: u32,
}

/// The number of a stream connection in this run of the program. No other connection of the run has it, of whichever worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(NonZeroU64);

impl FlowId {
    /// The connection of this server, if there is one.
    pub const fn connection(self) -> Option<ConnectionId> {
        match self {
            Self::Connection(id) => Some(id),
            Self::None | Self::Nat | Self::Elsewhere(_) => None,
        }
    }

    /// Whether the flow ends at another server.
    pub const fn is_elsewhere(self) -> bool {
        matches!(self, Self::Elsewhere(_))
    }
}

impl From<ConnectionId> for FlowId {
    fn from(id: ConnectionId) -> Self {
        Self::Connection(id)
    }
}

impl ConnectionId {
    /// The lowest number.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// The connection with this number; `None` for 0, which no connection has.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number that is higher by this much; the highest number if there is none.
    #[must_use]
    pub const fn plus(self, more: u64) -> Self {
        Self(self.0.saturating_add(more))
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
