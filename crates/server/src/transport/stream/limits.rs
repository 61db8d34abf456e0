//! The limits of stream connections, from `limits` of the configuration. Decides nothing.

use std::time::Duration;

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
    /// Bytes that may be queued for sending.
    pub(crate) max_queue: usize,
}
