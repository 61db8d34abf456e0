//! The inbox of a worker: one bounded channel for everything but messages of peers and outcomes of commits.
//!
//! Decides what may wait there. The sender decides what happens if there is no room: a task that accepts or opens
//! connections waits, but workers never wait for each other: they drop the message and count it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use location::ConnectionId;
use parser::Transport;
use proxy::{CoreMessage, Endpoints, Keys, Settings};
use tokio::sync::oneshot;

use super::outgoing::SendRequest;
use super::stream::{ByteStream, ConnectionPermit};
use crate::metrics::DriverLimit;

/// An item in the inbox.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// A peer opened a connection.
    Accepted {
        /// The connection.
        stream: ByteStream,
        /// The transport of the listener.
        transport: Transport,
        /// The peer, or the client that it forwards for.
        remote: SocketAddr,
        /// What was received after the handshake.
        received: Bytes,
        /// The hosts that the peer has proved to be with a certificate (RFC 5922 7.4).
        hosts: Vec<Arc<str>>,
        /// Counts the connection.
        permit: ConnectionPermit,
    },
    /// The attempt to open a connection has ended.
    Connected {
        /// Its id.
        connection: ConnectionId,
        /// The connection.
        outcome: io::Result<ByteStream>,
    },
    /// A limit was reached elsewhere.
    LimitReached(DriverLimit),
    /// Another worker sends over a connection of this worker.
    Send(Box<SendRequest>),
    /// Another worker could not send this message of this worker.
    Undelivered(Bytes),
    /// ICMP says that a datagram of a UDP socket did not arrive.
    Unreached {
        /// Where it was sent to.
        to: SocketAddr,
        /// Its first octets.
        quoted: Bytes,
        /// Whether another worker has not sent it: the kernel chooses a socket by the address.
        is_shared: bool,
    },
    /// A message from the core of another worker.
    CoreMessage(CoreMessage),
    /// DNS has answered, or its time is over.
    Resolved {
        /// The question.
        id: u64,
        /// The endpoints of each name.
        endpoints: ResolvedNames,
    },
    /// The main loop has changed the rules of a user, or refused it.
    RulesChanged {
        /// The question.
        id: u64,
        /// Whether they are changed.
        changed: bool,
    },
    /// A health check, to be answered with its number.
    HealthCheck(u64),
    /// The keys were replaced.
    Keys(Box<Keys>),
    /// The configuration has changed. The sender is used once the worker applies it.
    Reconfigure(Arc<Settings>, oneshot::Sender<()>),
}

/// The endpoints of each name asked.
pub(crate) type ResolvedNames = Vec<Endpoints>;
