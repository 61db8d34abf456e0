//! Next hops: where a message goes, as an address or as a name that DNS must translate first.

use std::net::SocketAddr;

use location::Flow;
use parser::Transport;

use crate::connections::Connections;

/// The `connection` of a binding that is reached over UDP at the source of its REGISTER (`nat`).
pub(crate) const AT_SOURCE: u64 = u64::MAX;

/// Where a message goes.
///
/// - UDP: to `remote`, from the socket that listens on `local`.
/// - Streams: over `connection` while it is open; else over any open connection to `remote`; else over a new one. If the
///   port of `remote` is 0, there is no other way than `connection` (RFC 5626 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The transport to send over.
    pub transport: Transport,
    /// The peer; for streams the address to connect to when `connection` is gone.
    pub remote: SocketAddr,
    /// The address of ours that the message says it comes from.
    pub local: SocketAddr,
    /// The connection to prefer; 0 names none.
    pub connection: u64,
}

impl Hop {
    /// Back the way a message came.
    pub const fn back(flow: &Flow) -> Self {
        Self { transport: flow.transport, remote: flow.remote, local: flow.local, connection: flow.connection }
    }

    /// The same, with no other way than its connection.
    pub(crate) fn or_nowhere(mut self) -> Self {
        if self.transport.is_reliable() {
            self.remote.set_port(0);
        }
        self
    }

    /// The way that is left now: to the address, if the connection is closed.
    pub(crate) fn today(mut self, connections: &Connections) -> Self {
        if self.connection != 0 && self.remote.port() != 0 && !connections.is_open(self.connection) {
            self.connection = 0;
        }
        self
    }

    /// Whether a message that came over a flow came from here: over UDP from the same address and port; over a stream by the
    /// same connection, or from the address that was connected to where that one was closed.
    pub(crate) fn is_source_of(&self, flow: &Flow) -> bool {
        let same = match self.transport.is_reliable() {
            true => {
                let same_connection = self.connection != 0 && self.connection == flow.connection;
                same_connection || self.remote.ip() == flow.remote.ip()
            }
            false => self.remote == flow.remote,
        };
        self.transport == flow.transport && same
    }

    /// The response that it is as good as if nothing can be sent there (RFC 3261 16.9; RFC 5626 11.5 where only a flow
    /// led there).
    pub(crate) const fn failure(&self) -> u16 {
        if self.remote.port() == 0 { 430 } else { 503 }
    }
}

/// A host to be looked up (RFC 3263; the port and transport are already chosen).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Host name, as it stands in the URI.
    pub host: Box<str>,
    /// Port to go to.
    pub port: u16,
    /// Transport to use.
    pub transport: Transport,
}
