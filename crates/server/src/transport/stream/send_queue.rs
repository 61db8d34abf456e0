//! The messages that a worker sends over streams at the end of its turn.
//!
//! Decides nothing. One question to the kernel then tells which peers have closed their connections, instead of one for
//! each request, and the peers are woken one after another by a worker that does nothing else meanwhile.

use std::ops::Range;
use std::time::Duration;

use proxy::Hop;

use crate::transport::OutgoingMessage;

/// Limits of the queue: messages, and their bytes.
const MAX_MESSAGES: usize = 256;
const MAX_BYTES: usize = 256 << 10;

/// Messages in the order in which they are sent.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    messages: Vec<QueuedMessage>,
    octets: Vec<u8>,
    has_requests: bool,
}

#[derive(Debug)]
struct QueuedMessage {
    hop: Hop,
    octets: Range<usize>,
    report_to: Option<u8>,
    flow_timeout: Option<Duration>,
}

impl SendQueue {
    /// Adds a message.
    pub(super) fn push(&mut self, message: &OutgoingMessage<'_>) {
        let OutgoingMessage { hop, bytes, report_to, flow_timeout } = *message;
        let start = self.octets.len();
        self.octets.extend_from_slice(bytes);
        self.has_requests |= report_to.is_some();
        let (hop, octets) = (hop.clone(), start..self.octets.len());
        self.messages.push(QueuedMessage { hop, octets, report_to, flow_timeout });
    }

    /// Whether the queue has to be emptied before anything is added.
    pub(super) const fn is_full(&self) -> bool {
        self.messages.len() >= MAX_MESSAGES || self.octets.len() >= MAX_BYTES
    }

    /// Whether some of the messages are reported if they cannot be sent.
    pub(super) const fn has_requests(&self) -> bool {
        self.has_requests
    }

    /// All messages.
    pub(super) fn iter(&self) -> impl Iterator<Item = OutgoingMessage<'_>> {
        self.messages.iter().map(|message| OutgoingMessage {
            hop: &message.hop,
            bytes: self.octets.get(message.octets.clone()).unwrap_or_default(),
            report_to: message.report_to,
            flow_timeout: message.flow_timeout,
        })
    }

    /// Removes all messages and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.octets.clear();
        self.has_requests = false;
    }
}
