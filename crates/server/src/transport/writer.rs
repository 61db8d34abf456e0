//! The write side of one connection: writes directly if the socket has room, else queues up to a limit.
//!
//! Decides when a peer is too slow: when the queue is full, or when no data was accepted for a while.

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use location::ConnectionId;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::inbox::Inbound;

/// Writes to one connection. The stream is shut down when the last reference is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionWriter {
    half: OwnedWriteHalf,
    queue: Mutex<Queue>,
    max_queue: usize,
    write_timeout: Duration,
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
pub(crate) enum WriteError {
    /// `limits.connection_queue`
    QueueFull,
    /// The connection failed.
    Broken,
}

impl ConnectionWriter {
    /// `max_queue`: limit of queued bytes. `write_timeout`: how long the socket may accept no data before `inbox` is
    /// told to close the connection.
    pub(crate) fn new(
        half: OwnedWriteHalf,
        max_queue: usize,
        write_timeout: Duration,
        connection: ConnectionId,
        inbox: mpsc::Sender<Inbound>,
    ) -> Arc<Self> {
        Arc::new(Self { half, queue: Mutex::default(), max_queue, write_timeout, connection, inbox })
    }

    /// Writes or queues a message as a whole.
    pub(crate) fn send(self: &Arc<Self>, bytes: &[u8]) -> Result<(), WriteError> {
        let mut queue = self.queue.lock();
        let mut rest = bytes;
        if queue.waiting.is_empty() {
            match self.half.try_write(bytes) {
                Ok(length) => rest = bytes.get(length..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(WriteError::Broken),
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        if queue.waiting.len() + rest.len() > self.max_queue {
            return Err(WriteError::QueueFull);
        }
        queue.waiting.extend_from_slice(rest);
        if !queue.flushing {
            queue.flushing = true;
            tokio::spawn(Arc::clone(self).flush());
        }
        Ok(())
    }

    /// Whether the peer has closed its side, even if the event loop has not seen that yet: data sent then would be
    /// lost without an error. Asks the kernel.
    pub(crate) fn is_peer_closed(&self) -> bool {
        let mut octet = [MaybeUninit::uninit()];
        match SockRef::from(self.half.as_ref()).peek(&mut octet) {
            Ok(length) => length == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    async fn flush(self: Arc<Self>) {
        while let Ok(Ok(())) = timeout(self.write_timeout, self.half.writable()).await {
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
            match self.half.try_write(&queue.waiting) {
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
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (ours.expect("connected"), theirs.expect("accepted").0)
    }

    #[tokio::test]
    async fn everything_arrives_in_order() {
        let (ours, mut theirs) = pair().await;
        let (inbox, _keep) = mpsc::channel(1);
        let writer =
            ConnectionWriter::new(ours.into_split().1, 1 << 20, Duration::from_secs(5), ConnectionId::FIRST, inbox);
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
        let (_unread, half) = ours.into_split();
        let writer = ConnectionWriter::new(half, 1 << 16, Duration::from_secs(5), ConnectionId::FIRST, inbox);
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
        let writer =
            ConnectionWriter::new(ours.into_split().1, 1 << 16, Duration::from_millis(100), ConnectionId::FIRST, inbox);
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
