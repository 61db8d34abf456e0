//! The source of a request, to compare it with the source of another one.

use std::net::SocketAddr;

use location::ConnectionId;
use parser::Transport;

use crate::connections::Connections;

/// The source of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestSource {
    pub(super) transport: Transport,
    pub(super) remote: SocketAddr,
    pub(super) connection: Option<ConnectionId>,
    /// The address that responses to it go to.
    pub(super) response_address: SocketAddr,
}

impl RequestSource {
    /// Whether another request whose responses go to the same address came from the same source.
    ///
    /// Over UDP: from the same address and port. Over a stream: over the same connection; over one that this server
    /// opened to the address for responses; or from the same IP address if the first connection is closed.
    pub(crate) fn is_same_as(&self, other: &Self, connections: &Connections) -> bool {
        if self.transport != other.transport {
            return false;
        }
        if !self.transport.is_reliable() {
            return self.remote == other.remote;
        }
        self.connection == other.connection
            || other.remote == other.response_address
            || (self.remote.ip() == other.remote.ip() && self.connection.is_none_or(|it| !connections.is_open(it)))
    }
}
