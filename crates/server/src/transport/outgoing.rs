//! Messages on their way out: to send, to send by another worker, and messages that could not be sent.
//!
//! Decides nothing. The outcome is reported to the worker whose core wrote the message.

use std::time::Duration;

use bytes::Bytes;
use proxy::Hop;

/// A message to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutgoingMessage<'a> {
    /// The destination.
    pub(crate) hop: &'a Hop,
    /// The message.
    pub(crate) bytes: &'a [u8],
    /// The worker that gets the message back if it cannot be sent.
    pub(crate) report_to: Option<u8>,
    /// From now on the connection is closed if nothing is received for this long; `None`: no change.
    pub(crate) flow_timeout: Option<Duration>,
}

/// A message to send over a connection of another worker.
#[derive(Debug)]
pub(crate) struct SendRequest {
    /// The destination.
    pub(crate) hop: Hop,
    /// The message.
    pub(crate) bytes: Bytes,
    /// The worker that gets the message back if it cannot be sent.
    pub(crate) report_to: Option<u8>,
    /// From then on the connection is closed if nothing is received for this long.
    pub(crate) flow_timeout: Option<Duration>,
}

/// A message that could not be sent, with the worker to report it to.
#[derive(Clone, Debug)]
pub(crate) struct UndeliveredMessage {
    /// The worker.
    pub(crate) worker: u8,
    /// The message.
    pub(crate) bytes: Bytes,
}
