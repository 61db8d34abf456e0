//! The flow of a message: transport, addresses and connection (RFC 5626 4.2, RFC 3581).
//!
//! A plain value that the proxy fills in and the bindings store. Must not open, look up or close connections:
//! `connection` is only a number.

use std::net::SocketAddr;

use parser::Transport;

/// Transport, both addresses, and the connection if there is one. A REGISTER's flow is stored in its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The transport of the message.
    pub transport: Transport,
    /// Its source address.
    pub remote: SocketAddr,
    /// The local address that received it.
    pub local: SocketAddr,
    /// The number of the connection in this run of the program. 0 means none: UDP, or a binding loaded from disk, whose
    /// connection was closed by the restart.
    pub connection: u64,
}
