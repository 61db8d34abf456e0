//! The write side of one connection: writes directly if the socket has room, else queues up to a limit.
//!
//! Decides when a peer is too slow: when the queue is full, or when no data was accepted for a while.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use proxy::Instant;

use super::framing::{CloseReason, MessageEncoder};
use super::layer::ByteStream;
use super::limits::StreamLimits;

/// The write side of a connection.
#[derive(Debug)]
pub(super) struct Writer {
    encoder: MessageEncoder,
    waiting: BytesMut,
    /// When the peer last accepted data, if any are waiting.
    accepted_at: Instant,
}

/// Why a message was not written. The connection has to be closed: a part may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteError {
    /// `limits.connection_queue`
    QueueFull,
    /// The connection failed.
    Broken,
}

impl Writer {
    /// With nothing to write.
    pub(super) fn new(encoder: MessageEncoder) -> Self {
        Self { encoder, waiting: BytesMut::new(), accepted_at: Instant::default() }
    }

    /// Writes or queues a message as a whole.
    pub(super) fn send(
        &mut self,
        stream: &mut ByteStream,
        message: &[u8],
        limits: &StreamLimits,
        now: Instant,
    ) -> Result<(), WriteError> {
        if self.encoder.is_closing() {
            return Err(WriteError::Broken);
        }
        let bytes = self.encoder.encode(message);
        self.send_bytes(stream, &bytes, limits, now)
    }

    /// The same for bytes that are not a message, like the answer to a keep-alive.
    pub(super) fn send_bytes(
        &mut self,
        stream: &mut ByteStream,
        bytes: &[u8],
        limits: &StreamLimits,
        now: Instant,
    ) -> Result<(), WriteError> {
        let mut rest = bytes;
        if self.waiting.is_empty() {
            match stream.write(bytes) {
                Ok(length) => rest = bytes.get(length..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(WriteError::Broken),
            }
            self.accepted_at = now;
        }
        if self.waiting.len() + rest.len() > limits.max_queue {
            return Err(WriteError::QueueFull);
        }
        self.waiting.extend_from_slice(rest);
        Ok(())
    }

    /// What tells the peer why the connection is closed, if the framing can.
    pub(super) fn close_bytes(&self, reason: CloseReason) -> Option<Bytes> {
        self.encoder.close_bytes(reason)
    }

    /// Writes what is queued as far as the socket has room.
    pub(super) fn flush(&mut self, stream: &mut ByteStream, now: Instant) -> io::Result<()> {
        while self.waiting.has_remaining() {
            match stream.write(&self.waiting) {
                Ok(length) => self.waiting.advance(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    self.discard();
                    return Err(error);
                }
            }
            self.accepted_at = now;
        }
        // Frees the memory of a burst.
        self.discard();
        Ok(())
    }

    /// Gives up what is queued.
    pub(super) fn discard(&mut self) {
        self.waiting = BytesMut::new();
    }

    /// Whether data wait for the peer.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When the peer has accepted no data for as long as one message may take, if any are waiting.
    pub(super) fn deadline(&self, limits: &StreamLimits) -> Option<Instant> {
        self.is_waiting().then(|| self.accepted_at + limits.message_timeout)
    }
}
