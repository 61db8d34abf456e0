//! The limits of stream connections, from `limits` of the configuration. Decides nothing.

use std::sync::Arc;
use std::time::Duration;

use super::handshakes::Handshakes;
use crate::config::Limits;

/// Limits of each connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamLimits {
    /// Longest received message in bytes.
    pub(crate) max_message: usize,
    /// Timeout without received data.
    pub(crate) idle_timeout: Duration,
    /// Timeout for the first message, for each message from its first to its last byte, and for a peer that accepts no
    /// data.
    pub(crate) message_timeout: Duration,
    /// Timeout for opening a connection.
    pub(crate) connect_timeout: Duration,
    /// The same where the request can go over UDP instead (RFC 3261 18.1.1).
    pub(crate) brief_connect_timeout: Duration,
    /// How long a server that this one has connected to may take to accept the connection, and to acknowledge what was sent;
    /// `None`: as long as TCP waits. After an interruption TCP sends again only when it has lasted twice as long, and until
    /// then nothing would reach the phones of another node.
    pub(crate) silence: Option<Duration>,
    /// Bytes that may be queued for sending.
    pub(crate) max_queue: usize,
}

/// Limits of the handshakes on accepted connections.
#[derive(Clone, Debug)]
pub(crate) struct HandshakeLimits {
    /// How many there are.
    pub(super) count: Arc<Handshakes>,
    /// How long each may take.
    pub(super) timeout: Duration,
}

impl StreamLimits {
    /// By the configuration; `silence` if several servers share the registrations.
    pub(crate) const fn of(limits: &Limits, silence: Option<Duration>) -> Self {
        Self {
            silence,
            max_message: limits.message_size.0,
            idle_timeout: limits.connection_idle.0,
            message_timeout: limits.message_time.0,
            connect_timeout: limits.connect_time.0,
            brief_connect_timeout: limits.brief_connect_time.0,
            max_queue: limits.connection_queue.0,
        }
    }
}

impl HandshakeLimits {
    /// By the configuration. Clones share the count.
    pub(crate) fn of(limits: &Limits) -> Self {
        let count = Handshakes::new(limits.handshakes.0, limits.handshakes_per_source.0);
        Self { count: Arc::new(count), timeout: limits.handshake_time.0 }
    }
}
