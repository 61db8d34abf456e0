//! The way a message came, which is the way back to its sender.
//!
//! Decides nothing; a plain value that the proxy fills and the bindings keep (RFC 5626 4.2, RFC 3581).
//! Must not open, look up or close connections: `connection` is only a name for one.

use std::net::SocketAddr;

use parser::Transport;

/// Transport, the two ends, and the connection if there is one. A REGISTER's flow is kept with its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// What carried the message.
    pub transport: Transport,
    /// Where it came from.
    pub remote: SocketAddr,
    /// Our own address that it came to.
    pub local: SocketAddr,
    /// The connection's number within this run of the program, 0 = none (UDP, or a connection of an earlier run:
    /// the disk store does not keep it).
    pub connection: u64,
}
