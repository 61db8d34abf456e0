//! The read side of one connection: the messages in what was received.
//!
//! Decides how long a peer may be idle or slow. Must not read the socket: see `connection`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proxy::Instant;
use tokio_util::codec::Decoder as _;

use super::framing::{Item, MessageDecoder, StreamError};
use super::layer::READ_CHUNK;
use super::limits::StreamLimits;
use crate::metrics::DriverLimit;
use crate::transport::arena::Arena;

/// The read side of a connection.
pub(super) struct Reader {
    decoder: MessageDecoder,
    /// The beginning of a message.
    partial: BytesMut,
    /// Whether the peer opened the connection and has not sent a message.
    awaits_first: bool,
    /// Start of the wait for the first message, or of the incomplete one.
    awaited_since: Option<Instant>,
    last_received: Instant,
    /// That of a flow with a Flow-Timer (RFC 5626 5.4).
    flow_timeout: Option<Duration>,
}

/// What the readers of a worker share, so that an idle connection has no buffer.
#[derive(Debug)]
pub(super) struct ReceiveMemory {
    /// Room for one read.
    pub(super) chunk: Box<[u8]>,
    arena: Arena,
}

impl Default for ReceiveMemory {
    fn default() -> Self {
        Self { chunk: vec![0; READ_CHUNK].into_boxed_slice(), arena: Arena::default() }
    }
}

impl Reader {
    /// `received`: if the peer opened the connection, what it has sent after the handshake.
    pub(super) fn new(decoder: MessageDecoder, received: Option<Bytes>, now: Instant) -> Self {
        let awaits_first = received.is_some();
        Self {
            decoder,
            partial: BytesMut::from(received.unwrap_or_default()),
            awaits_first,
            awaited_since: awaits_first.then_some(now),
            last_received: now,
            flow_timeout: None,
        }
    }

    /// All unread bytes: those of an incomplete message, and the first `length` of `memory.chunk`.
    pub(super) fn unread(&mut self, memory: &mut ReceiveMemory, length: usize, now: Instant) -> BytesMut {
        let octets = memory.chunk.get(..length).unwrap_or_default();
        if !octets.is_empty() {
            self.last_received = now;
        }
        if self.partial.is_empty() {
            return memory.arena.copy(octets);
        }
        let mut unread = std::mem::take(&mut self.partial);
        unread.extend_from_slice(octets);
        unread
    }

    /// The next item, whose bytes are removed.
    pub(super) fn next(&mut self, unread: &mut BytesMut) -> Result<Option<Item>, StreamError> {
        let item = self.decoder.decode(unread)?;
        if let Some(Item::Message(_)) = item {
            (self.awaits_first, self.awaited_since) = (false, None);
        }
        Ok(item)
    }

    /// Keeps the rest until more is received.
    pub(super) fn keep(&mut self, rest: BytesMut, now: Instant) {
        if self.decoder.has_partial(&rest) {
            self.awaited_since.get_or_insert(now);
        } else if !self.awaits_first {
            self.awaited_since = None;
        }
        // The rest of one read is in memory that other connections share. What is longer is not copied again for each byte.
        self.partial = if rest.len() > READ_CHUNK { rest } else { BytesMut::from(&rest[..]) };
    }

    /// Sets the timeout of a flow with a Flow-Timer (RFC 5626 5.4), and restarts it. It has an effect if it is shorter than
    /// `limits.connection_idle`.
    pub(super) fn set_flow_timeout(&mut self, timeout: Duration, now: Instant) {
        self.flow_timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        self.last_received = now;
    }

    /// When the peer has been idle or slow for too long, by which limit.
    pub(super) fn deadline(&self, limits: &StreamLimits) -> (Instant, DriverLimit) {
        if let Some(since) = self.awaited_since {
            return (since + limits.message_timeout, DriverLimit::MessageTime);
        }
        match self.flow_timeout.filter(|timeout| *timeout < limits.idle_timeout) {
            // RFC 5626 5.4
            Some(timeout) => (self.last_received + timeout, DriverLimit::FlowTimer),
            None => (self.last_received + limits.idle_timeout, DriverLimit::ConnectionIdle),
        }
    }
}
