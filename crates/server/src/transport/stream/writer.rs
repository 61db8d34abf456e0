//! The write side of one connection: writes directly if the socket has room, else queues up to a limit.
//!
//! Decides when a peer is too slow: when the queue is full, or when no data was accepted for a while.

use std::io;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use location::{ConnectionId, Flow};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::framing::{CloseReason, MessageEncoder};
use super::layer::WriteHalf;
use super::limits::StreamLimits;
use super::signals::Signals;
use crate::transport::Inbound;

/// Writes to one connection, and has what its reader and the table need to know of it. The stream is shut down when the
/// last reference is dropped.
#[derive(Debug)]
pub(super) struct ConnectionWriter {
    write_half: WriteHalf,
    encoder: MessageEncoder,
    queue: Mutex<Queue>,
    flow: Flow,
    signals: Signals,
    limits: StreamLimits,
    connection: ConnectionId,
    inbox: mpsc::Sender<Inbound>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: BytesMut,
    flushing: bool,
}

/// Why a message was not written. The connection has to be closed: a part may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteError {
    /// `limits.connection_queue`
    QueueFull,
    /// The connection failed.
    Broken,
}

impl ConnectionWriter {
    /// With the limit of queued bytes. A message in `inbox` closes the connection if the peer accepts no data for as long
    /// as one message may take.
    pub(super) fn new(
        write_half: WriteHalf,
        encoder: MessageEncoder,
        limits: &StreamLimits,
        (connection, flow): (ConnectionId, Flow),
        inbox: mpsc::Sender<Inbound>,
    ) -> Arc<Self> {
        let (queue, signals) = (Mutex::default(), Signals::default());
        Arc::new(Self { write_half, encoder, queue, flow, signals, limits: *limits, connection, inbox })
    }

    /// The addresses and the id of the connection.
    pub(super) const fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The limits of the connection.
    pub(super) const fn limits(&self) -> &StreamLimits {
        &self.limits
    }

    /// The signals for the reader.
    pub(super) const fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Writes or queues a message as a whole.
    pub(super) fn send(self: &Arc<Self>, message: &[u8]) -> Result<(), WriteError> {
        if self.encoder.is_closing() {
            return Err(WriteError::Broken);
        }
        self.send_bytes(&self.encoder.encode(message))
    }

    /// The same for bytes that are not a message, like the answer to a keep-alive.
    pub(super) fn send_bytes(self: &Arc<Self>, bytes: &[u8]) -> Result<(), WriteError> {
        let mut queue = self.queue.lock();
        let mut rest = bytes;
        if queue.waiting.is_empty() {
            match self.write_half.try_write(bytes) {
                Ok(length) => rest = bytes.get(length..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(WriteError::Broken),
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        if queue.waiting.len() + rest.len() > self.limits.max_queue {
            return Err(WriteError::QueueFull);
        }
        queue.waiting.extend_from_slice(rest);
        if !queue.flushing {
            queue.flushing = true;
            tokio::spawn(Arc::clone(self).flush());
        }
        Ok(())
    }

    /// Tells the peer why the connection is closed, if the framing can.
    pub(super) fn close(self: &Arc<Self>, reason: CloseReason) {
        if let Some(bytes) = self.encoder.close_bytes(reason) {
            // The connection is closed anyway.
            let _ = self.send_bytes(&bytes);
        }
    }

    /// Whether the peer has closed its side, even if the event loop has not seen that yet: data sent then would be
    /// lost without an error.
    pub(super) fn is_peer_closed(&self) -> bool {
        let is_closed = self.write_half.is_peer_closed();
        if self.write_half.has_received() {
            self.signals.wake();
        }
        is_closed
    }

    async fn flush(self: Arc<Self>) {
        while let Ok(Ok(())) = timeout(self.limits.message_timeout, self.write_half.writable()).await {
            match self.write_some() {
                Ok(true) => return,
                Ok(false) => {}
                Err(_) => break,
            }
        }
        let _ = self.inbox.send(Inbound::Closed { connection: self.connection, limit: None }).await;
    }

    /// Whether the queue is empty.
    fn write_some(&self) -> io::Result<bool> {
        let mut queue = self.queue.lock();
        while queue.waiting.has_remaining() {
            match self.write_half.try_write(&queue.waiting) {
                Ok(length) => queue.waiting.advance(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        // Frees the memory of a burst.
        *queue = Queue::default();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use parser::Transport;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::framing::framing;
    use super::super::layer::{ByteStream, ReadHalf};
    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (ours.expect("connected"), theirs.expect("accepted").0)
    }

    /// A writer with its read side, which keeps the connection open.
    fn writer(
        stream: TcpStream,
        max_queue: usize,
        message_timeout: Duration,
        connection: ConnectionId,
        inbox: mpsc::Sender<Inbound>,
    ) -> (ReadHalf, Arc<ConnectionWriter>) {
        let (read_half, write_half) = ByteStream::plain(stream).into_split();
        let (idle_timeout, connect_timeout) = (message_timeout, message_timeout);
        let limits = StreamLimits {
            silence: None,
            max_message: 1000,
            idle_timeout,
            message_timeout,
            connect_timeout,
            brief_connect_timeout: connect_timeout,
            max_queue,
        };
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let flow = Flow { transport: Transport::Tcp, remote: unknown, local: unknown, id: connection.into() };
        let encoder = framing(Transport::Tcp, 1000).1;
        (read_half, ConnectionWriter::new(write_half, encoder, &limits, (connection, flow), inbox))
    }

    #[tokio::test]
    async fn all_bytes_arrive_in_order() {
        let (ours, mut theirs) = pair().await;
        let (inbox, _keep) = mpsc::channel(1);
        let (_, writer) = writer(ours, 1 << 20, Duration::from_secs(5), ConnectionId::FIRST, inbox);
        let message = |at: u32| at.to_be_bytes().repeat(1000);
        for at in 0..200 {
            writer.send(&message(at)).expect("taken");
        }
        for at in 0..200 {
            let mut bytes = vec![0; 4000];
            theirs.read_exact(&mut bytes).await.expect("a message");
            assert_eq!(bytes, message(at));
        }
    }

    #[tokio::test]
    async fn a_closed_peer_is_seen_before_its_fin_is_read() {
        let (ours, theirs) = pair().await;
        let (inbox, _keep) = mpsc::channel(1);
        let (_unread, writer) = writer(ours, 1 << 16, Duration::from_secs(5), ConnectionId::FIRST, inbox);
        assert!(!writer.is_peer_closed());
        drop(theirs);
        while !writer.is_peer_closed() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_refused() {
        let (ours, _theirs) = pair().await;
        let (inbox, mut inbox_receiver) = mpsc::channel(1);
        let (_, writer) = writer(ours, 1 << 16, Duration::from_millis(100), ConnectionId::FIRST, inbox);
        let mut sent = 0;
        let error = loop {
            match writer.send(&[b'x'; 4096]) {
                Ok(()) => sent += 4096,
                Err(error) => break error,
            }
            // Lets the kernel fill its buffers.
            tokio::task::yield_now().await;
            assert!(sent < 1 << 28, "the queue is not bounded");
        };
        assert_eq!(error, WriteError::QueueFull);
        let closed = inbox_receiver.recv().await;
        assert!(matches!(closed, Some(Inbound::Closed { connection: ConnectionId::FIRST, .. })), "{closed:?}");
    }
}
