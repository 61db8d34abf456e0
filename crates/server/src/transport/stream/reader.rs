//! The read side of one connection: a task that passes complete messages to its worker.
//!
//! Decides how long a peer may be idle or slow. The task waits for room in the worker's bounded inbox, so TCP flow
//! control slows down a peer that sends too much, and no other peer.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use location::ConnectionId;
use parser::ParseError;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Decoder as _;

use super::directory::ConnectionPermit;
use super::framing::{CloseReason, Item, MessageDecoder, StreamError};
use super::layer::ReadHalf;
use super::writer::ConnectionWriter;
use crate::metrics::DriverLimit;
use crate::transport::Inbound;

/// How long the peer may keep sending after a framing error. The system resets a connection that is closed with unread
/// data, and the reset could discard our response before the peer reads it.
const LINGER: Duration = Duration::from_secs(2);

/// The reader of one connection.
pub(super) struct ConnectionReader {
    /// Its read side.
    pub(crate) read_half: ReadHalf,
    /// Its write side, for responses to pings, with the flow and the limits of the connection.
    pub(crate) writer: Arc<ConnectionWriter>,
    /// Its number.
    pub(crate) connection: ConnectionId,
    /// Its worker.
    pub(crate) inbox: mpsc::Sender<Inbound>,
    /// What was received after the handshake, before the reader was started.
    pub(crate) received: Bytes,
    /// Whether the first message is subject to `message_timeout`: the peer opened the connection.
    pub(crate) expects_first_message: bool,
    /// Counts this connection.
    pub(crate) permit: ConnectionPermit,
}

impl ConnectionReader {
    /// Reads until the connection ends, then reports that to the worker. Tens of thousands of these tasks wait at a time,
    /// so they are kept small: what happens once at the end of a connection is in a box.
    #[allow(clippy::manual_async_fn, reason = "an async fn would have room for its arguments twice")]
    pub(super) fn run(self, decoder: MessageDecoder) -> impl Future<Output = ()> + Send {
        async move {
            let outcome = self.messages(decoder).await;
            Box::pin(self.end(outcome)).await;
        }
    }

    async fn end(self, outcome: Result<Option<DriverLimit>, StreamError>) {
        let connection = self.connection;
        let limit = match outcome {
            Ok(limit) => limit,
            Err(StreamError::Io(error)) => {
                tracing::debug!(%error, remote = %self.writer.flow().remote, "connection lost");
                None
            }
            Err(StreamError::Framing { error, head }) => {
                tracing::debug!(%error, remote = %self.writer.flow().remote, "framing error");
                return self.fail(Some((head, error))).await;
            }
            Err(StreamError::WebSocket { error, close }) => {
                tracing::debug!(error, remote = %self.writer.flow().remote, "WebSocket error");
                // The connection is closed anyway.
                let _ = self.writer.send_bytes(&close);
                return self.fail(None).await;
            }
        };
        if limit.is_some() {
            self.writer.close(CloseReason::Timeout);
        }
        let _ = self.inbox.send(Inbound::Closed { connection, limit }).await;
    }

    /// Reports a framing error, with the message that it was found in if that may be answered.
    async fn fail(self, unread: Option<(Bytes, ParseError)>) {
        if self.inbox.send(Inbound::FramingError { flow: *self.writer.flow(), unread }).await.is_ok() {
            // The stream is shut down when the last writer is dropped. After this it is the worker's, which sends the
            // response.
            let Self { read_half, writer, permit, .. } = self;
            drop(writer);
            linger(read_half).await;
            drop(permit);
        }
    }

    /// Returns the limit that ended the connection, or `None` if the peer closed it.
    async fn messages(&self, mut decoder: MessageDecoder) -> Result<Option<DriverLimit>, StreamError> {
        let mut buffer = BytesMut::from(self.received.clone());
        // Start of the wait for the first message.
        let mut first_awaited = self.expects_first_message.then(Instant::now);
        // Start of the incomplete message.
        let mut message_began = None;
        // Time of the last received data.
        let mut last_received = Instant::now();
        let mut timer = pin!(sleep_until(self.idle_deadline(last_received).0));
        loop {
            while let Some(item) = decoder.decode(&mut buffer)? {
                match item {
                    Item::Ping(pong) => self.send_pong(&pong).await,
                    Item::Close(answer) => {
                        // The connection is closed anyway.
                        let _ = self.writer.send_bytes(&answer);
                        return Ok(None);
                    }
                    Item::Message(bytes) => {
                        (first_awaited, message_began) = (None, None);
                        // Not `send`, whose future has room for the largest item.
                        let Ok(room) = self.inbox.reserve().await else { return Ok(None) };
                        room.send(Inbound::Message { bytes, flow: *self.writer.flow() });
                    }
                }
            }
            if buffer.is_empty() {
                // An idle connection keeps no buffer.
                buffer = BytesMut::new();
            }
            if decoder.has_partial(&buffer) {
                message_began.get_or_insert_with(Instant::now);
            } else {
                message_began = None;
            }
            let (deadline, limit) = match first_awaited.or(message_began) {
                Some(began) => (began + self.writer.limits().message_timeout, DriverLimit::MessageTime),
                None => self.idle_deadline(last_received),
            };
            // Deadlines are usually extended before they are reached, so the timer is only re-armed when it fires.
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                ready = self.read_half.readable() => ready?,
                () = self.writer.signals().woken() => {
                    last_received = Instant::now();
                    continue;
                }
                () = timer.as_mut() => {
                    if deadline <= timer.deadline() {
                        return Ok(Some(limit));
                    }
                    timer.as_mut().reset(deadline);
                    continue;
                }
            }
            match self.read_half.try_read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(_) => last_received = Instant::now(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The deadline of an idle peer.
    fn idle_deadline(&self, last_received: Instant) -> (Instant, DriverLimit) {
        let idle_timeout = self.writer.limits().idle_timeout;
        match self.writer.signals().flow_timeout().filter(|timeout| *timeout < idle_timeout) {
            // RFC 5626 5.4
            Some(timeout) => (last_received + timeout, DriverLimit::FlowTimer),
            None => (last_received + idle_timeout, DriverLimit::ConnectionIdle),
        }
    }

    async fn send_pong(&self, pong: &[u8]) {
        let refused = self.writer.send_bytes(pong).is_err();
        if let Ok(room) = self.inbox.reserve().await {
            room.send(Inbound::Ping { flow: *self.writer.flow(), refused });
        }
    }
}

async fn linger(read_half: ReadHalf) {
    let mut discarded = BytesMut::new();
    let _ = timeout(LINGER, async {
        while read_half.readable().await.is_ok() {
            discarded.clear();
            match read_half.try_read(&mut discarded) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use location::Flow;
    use parser::Transport;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::sleep;

    use super::super::directory::Directory;
    use super::super::framing::framing;
    use super::super::layer::ByteStream;
    use super::super::limits::StreamLimits;
    use super::*;

    const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    /// The peer's end of a connection, and the inbox of the worker.
    async fn connect(expects_first_message: bool) -> (TcpStream, mpsc::Receiver<Inbound>) {
        let (peer, inbox, _) = connect_with_timeout(expects_first_message).await;
        (peer, inbox)
    }

    /// The same, and the writer, which can signal to the reader.
    async fn connect_with_timeout(
        expects_first_message: bool,
    ) -> (TcpStream, mpsc::Receiver<Inbound>, Arc<ConnectionWriter>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let local = listener.local_addr().expect("an address");
        let (peer, ours) = tokio::join!(TcpStream::connect(local), listener.accept());
        let (peer, (ours, remote)) = (peer.expect("connected"), ours.expect("accepted"));
        let (inbox, receiver) = mpsc::channel(8);
        let (read_half, write_half) = ByteStream::plain(ours).into_split();
        let limits = StreamLimits {
            silence: None,
            max_message: 1000,
            idle_timeout: Duration::from_secs(7200),
            message_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(15),
            brief_connect_timeout: Duration::from_secs(15),
            max_queue: 1000,
        };
        let (decoder, encoder) = framing(Transport::Tcp, limits.max_message);
        let flow = Flow { transport: Transport::Tcp, remote, local, id: ConnectionId::FIRST.into() };
        let known = (ConnectionId::FIRST, flow);
        let writer = ConnectionWriter::new(write_half, encoder, &limits, known, inbox.clone());
        let reader = ConnectionReader {
            read_half,
            writer: Arc::clone(&writer),
            connection: ConnectionId::FIRST,
            inbox,
            received: Bytes::new(),
            expects_first_message,
            permit: Arc::new(Directory::new(1, 1)).admit(remote.ip()).expect("a permit"),
        };
        let task = reader.run(decoder);
        // Each idle connection has one.
        assert!(size_of_val(&task) <= 1024, "the task has {} octets", size_of_val(&task));
        tokio::spawn(task);
        (peer, receiver, writer)
    }

    async fn end(inbox: &mut mpsc::Receiver<Inbound>) -> Option<DriverLimit> {
        match inbox.recv().await {
            Some(Inbound::Closed { connection: ConnectionId::FIRST, limit }) => limit,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_disconnected() {
        let (_peer, mut inbox) = connect(true).await;
        let started = Instant::now();
        assert_eq!(end(&mut inbox).await, Some(DriverLimit::MessageTime));
        assert!(started.elapsed() < Duration::from_secs(16));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_message_is_disconnected() {
        let (mut peer, mut inbox) = connect(false).await;
        let started = Instant::now();
        let dribble = async {
            while peer.write_all(b"O").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = dribble => panic!("the connection stays open"),
            limit = end(&mut inbox) => assert_eq!(limit, Some(DriverLimit::MessageTime)),
        }
        assert!(started.elapsed() < Duration::from_secs(17));
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_first_message_a_peer_may_be_idle() {
        let (mut peer, mut inbox) = connect(true).await;
        peer.write_all(OPTIONS).await.expect("sent");
        assert!(matches!(inbox.recv().await, Some(Inbound::Message { bytes, .. }) if bytes == OPTIONS));
        let started = Instant::now();
        assert_eq!(end(&mut inbox).await, Some(DriverLimit::ConnectionIdle));
        assert!(started.elapsed() >= Duration::from_secs(7200));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flow_that_stops_its_keep_alives_is_closed() {
        // checklist 145
        let (mut peer, mut inbox, writer) = connect_with_timeout(false).await;
        // The reader already waits.
        sleep(Duration::from_secs(100)).await;
        writer.signals().set_flow_timeout(Duration::from_secs(150));
        let started = Instant::now();
        for _ in 0..3 {
            sleep(Duration::from_secs(140)).await;
            peer.write_all(b"\r\n\r\n").await.expect("sent");
            assert!(matches!(inbox.recv().await, Some(Inbound::Ping { refused: false, .. })));
        }
        assert_eq!(end(&mut inbox).await, Some(DriverLimit::FlowTimer));
        assert!((570..575).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
        // A timeout above the idle timeout has no effect.
        let (_peer, mut inbox, writer) = connect_with_timeout(false).await;
        writer.signals().set_flow_timeout(Duration::from_secs(9000));
        assert_eq!(end(&mut inbox).await, Some(DriverLimit::ConnectionIdle));
    }

    #[tokio::test]
    async fn a_crlf_ping_is_answered() {
        let (mut peer, mut inbox) = connect(true).await;
        peer.write_all(b"\r\n\r\n").await.expect("sent");
        let mut pong = [0; 2];
        peer.read_exact(&mut pong).await.expect("a pong");
        assert_eq!(&pong, b"\r\n");
        assert!(matches!(inbox.recv().await, Some(Inbound::Ping { refused: false, .. })));
        drop(peer);
        assert_eq!(end(&mut inbox).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_keep_alive_in_pieces_does_not_begin_a_message() {
        let (mut peer, mut inbox) = connect(false).await;
        let started = Instant::now();
        for piece in [&b"\r\n"[..], b"\r", b"\n"] {
            peer.write_all(piece).await.expect("sent");
            sleep(Duration::from_secs(20)).await;
        }
        assert!(matches!(inbox.recv().await, Some(Inbound::Ping { refused: false, .. })));
        assert_eq!(end(&mut inbox).await, Some(DriverLimit::ConnectionIdle));
        assert!(started.elapsed() >= Duration::from_secs(7200));
    }

    #[tokio::test]
    async fn a_framing_error_is_reported_with_what_was_received() {
        let (mut peer, mut inbox) = connect(true).await;
        let text = &b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\n\r\n"[..];
        peer.write_all(text).await.expect("sent");
        assert!(
            matches!(inbox.recv().await, Some(Inbound::FramingError { unread: Some((head, _)), .. }) if head == text)
        );
        // No worker responds in this test, so the peer sees the end at once, although it may still send.
        assert_eq!(peer.read(&mut [0; 8]).await.ok(), Some(0));
        assert!(peer.write_all(text).await.is_ok());
    }
}
