//! The read side of one connection: a task that hands whole messages to its worker.
//!
//! Decides how long a peer may be silent or slow. The worker's inbox is bounded and this task waits for room in it, so
//! a peer that sends too much is slowed down by TCP, and nobody else is.

use std::io::{self, Read as _};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use location::Flow;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::codec::Decoder as _;

use super::codec::{Codec, Item, StreamError};
use super::directory::{ConnectionPermit, Directory};
use super::writer::ConnectionWriter;
use crate::defence::Defence;
use crate::inbox::Inbound;
use crate::metrics::{self, Cap};

/// How much is read at once.
const READ_CHUNK: usize = 4 << 10;

/// After a broken message the peer may finish talking for so long: closing earlier would take our answer from him,
/// since the system resets a connection that is closed with unread octets.
const LINGER: Duration = Duration::from_secs(2);

/// When the system lets no connection be accepted: tried again after so long, said again after so long.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What a connection may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLimits {
    /// Longest message.
    pub(crate) max_message: usize,
    /// Without anything received.
    pub(crate) idle_timeout: Duration,
    /// For the first message, and for each from its first octet to its last.
    pub(crate) message_timeout: Duration,
}

/// How long the peer of one connection may be silent, where less than [`ReadLimits::idle_timeout`] was agreed upon.
#[derive(Debug, Default)]
pub(crate) struct FlowTimeout {
    /// In seconds; 0: nothing was.
    seconds: AtomicU64,
    changed: Notify,
}

impl FlowTimeout {
    /// From now on no longer than this.
    pub(crate) fn set(&self, timeout: Duration) {
        self.seconds.store(timeout.as_secs(), Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn get(&self) -> Option<Duration> {
        Some(self.seconds.load(Ordering::Relaxed)).filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }
}

/// One connection to read from.
pub(crate) struct ConnectionReader {
    /// Its read side.
    pub(crate) read_half: OwnedReadHalf,
    /// Its write side, for pongs.
    pub(crate) writer: Arc<ConnectionWriter>,
    /// What its peer has agreed to.
    pub(crate) flow_timeout: Arc<FlowTimeout>,
    /// Its addresses and number.
    pub(crate) flow: Flow,
    /// Its worker.
    pub(crate) inbox: mpsc::Sender<Inbound>,
    /// Its bounds.
    pub(crate) read_limits: ReadLimits,
    /// Whether the peer must speak soon: he opened the connection.
    pub(crate) expects_first_message: bool,
    /// Its place among the connections.
    pub(crate) permit: ConnectionPermit,
}

/// Accepts connections for a worker.
pub(crate) async fn accept(
    listener: TcpListener,
    directory: Arc<Directory>,
    defence: Arc<Defence>,
    inbox: mpsc::Sender<Inbound>,
) {
    let mut last_logged: Option<Instant> = None;
    loop {
        let inbound = match listener.accept().await {
            Ok((_, remote)) if defence.is_banned(remote.ip()) => {
                metrics::refused_connection();
                continue;
            }
            Ok((stream, remote)) => match directory.admit(remote.ip()) {
                Ok(permit) => Inbound::Accepted { stream, remote, permit },
                Err(cap) => Inbound::CapReached(cap),
            },
            Err(error) => {
                // Out of file descriptors, most likely: others must close first.
                if last_logged.is_none_or(|last| last.elapsed() > ACCEPT_LOG_INTERVAL) {
                    last_logged = Some(Instant::now());
                    tracing::error!(%error, "cannot accept connections");
                }
                sleep(ACCEPT_RETRY).await;
                Inbound::CapReached(Cap::Connections)
            }
        };
        if inbox.send(inbound).await.is_err() {
            return;
        }
    }
}

impl ConnectionReader {
    /// Reads until the end, then tells the worker.
    pub(crate) async fn run(self) {
        let connection = self.flow.connection;
        let cap = match self.messages().await {
            Ok(cap) => cap,
            Err(StreamError::Io(error)) => {
                tracing::debug!(%error, remote = %self.flow.remote, "connection lost");
                None
            }
            Err(StreamError::Framing { error, head }) => {
                tracing::debug!(%error, remote = %self.flow.remote, "broken stream");
                let broken = Inbound::FramingError { flow: self.flow, head, error };
                if self.inbox.send(broken).await.is_ok() {
                    // The write side ends with its last owner: from here on that is the worker, who answers.
                    let Self { read_half, writer, permit, .. } = self;
                    drop(writer);
                    linger(read_half).await;
                    drop(permit);
                }
                return;
            }
        };
        let _ = self.inbox.send(Inbound::Closed { connection, cap }).await;
    }

    /// Ends well with the cap that bit, or with none if the peer closed.
    async fn messages(&self) -> Result<Option<Cap>, StreamError> {
        let mut codec = Codec::new(self.read_limits.max_message);
        let mut buffer = BytesMut::new();
        // When the peer began the message that is not yet whole.
        let mut message_began = self.expects_first_message.then(Instant::now);
        // Since when he says nothing.
        let mut last_received = Instant::now();
        let mut timer = pin!(sleep_until(self.idle_deadline(last_received).0));
        loop {
            while let Some(item) = codec.decode(&mut buffer)? {
                match item {
                    Item::Ping => self.send_pong().await,
                    Item::Message(bytes) => {
                        message_began = None;
                        if self.inbox.send(Inbound::Message { bytes, flow: self.flow }).await.is_err() {
                            return Ok(None);
                        }
                    }
                }
            }
            if buffer.is_empty() {
                // An idle connection holds no memory.
                buffer = BytesMut::new();
            } else {
                message_began.get_or_insert_with(Instant::now);
            }
            let (deadline, cap) = match message_began {
                Some(began) => (began + self.read_limits.message_timeout, Cap::MessageTime),
                None => self.idle_deadline(last_received),
            };
            // Most deadlines are put off before they come: the alarm learns of that when it rings.
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                ready = self.read_half.readable() => ready?,
                () = self.flow_timeout.changed.notified() => {
                    last_received = Instant::now();
                    continue;
                }
                () = timer.as_mut() => {
                    if deadline <= timer.deadline() {
                        return Ok(Some(cap));
                    }
                    timer.as_mut().reset(deadline);
                    continue;
                }
            }
            match self.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(_) => last_received = Instant::now(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Appends what is there; 0: the peer has closed.
    fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let before = buffer.len();
        buffer.resize(before + READ_CHUNK, 0);
        let stream: &TcpStream = self.read_half.as_ref();
        let (mut length, room) = (0, buffer.get_mut(before..).unwrap_or_default());
        let outcome = stream.try_io(Interest::READABLE, || {
            length = (&*SockRef::from(stream)).read(room)?;
            // A short read has emptied the socket: saying so saves the call that would find it empty.
            if (1..READ_CHUNK).contains(&length) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        buffer.truncate(before + length);
        if length > 0 { Ok(length) } else { outcome.map(|()| 0) }
    }

    /// Until when a peer that has nothing to say may be silent.
    fn idle_deadline(&self, last_received: Instant) -> (Instant, Cap) {
        match self.flow_timeout.get().filter(|timeout| *timeout < self.read_limits.idle_timeout) {
            // RFC 5626 5.4
            Some(timeout) => (last_received + timeout, Cap::FlowTimer),
            None => (last_received + self.read_limits.idle_timeout, Cap::ConnectionIdle),
        }
    }

    async fn send_pong(&self) {
        let refused = self.writer.send(b"\r\n").is_err();
        let ping = Inbound::Ping { flow: self.flow, refused };
        let _ = self.inbox.send(ping).await;
    }
}

async fn linger(read_half: OwnedReadHalf) {
    let mut discarded = vec![0; READ_CHUNK];
    let _ = timeout(LINGER, async {
        while read_half.readable().await.is_ok() {
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
    use parser::Transport;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    /// A peer's end of a connection, and what the worker hears of it.
    async fn connect(expects_first_message: bool) -> (TcpStream, mpsc::Receiver<Inbound>) {
        let (peer, inbox, _) = connect_with_timeout(expects_first_message).await;
        (peer, inbox)
    }

    /// The same, and how long the peer may be silent.
    async fn connect_with_timeout(
        expects_first_message: bool,
    ) -> (TcpStream, mpsc::Receiver<Inbound>, Arc<FlowTimeout>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let local = listener.local_addr().expect("an address");
        let (peer, ours) = tokio::join!(TcpStream::connect(local), listener.accept());
        let (peer, (ours, remote)) = (peer.expect("connected"), ours.expect("accepted"));
        let (inbox, receiver) = mpsc::channel(8);
        let (read_half, write) = ours.into_split();
        let read_limits = ReadLimits {
            max_message: 1000,
            idle_timeout: Duration::from_secs(7200),
            message_timeout: Duration::from_secs(15),
        };
        let flow_timeout = Arc::new(FlowTimeout::default());
        let reader = ConnectionReader {
            read_half,
            flow_timeout: Arc::clone(&flow_timeout),
            writer: ConnectionWriter::new(write, 1000, read_limits.message_timeout, 1, inbox.clone()),
            flow: Flow { transport: Transport::Tcp, remote, local, connection: 1 },
            inbox,
            read_limits,
            expects_first_message,
            permit: Arc::new(Directory::new(1, 1)).admit(remote.ip()).expect("a place"),
        };
        tokio::spawn(reader.run());
        (peer, receiver, flow_timeout)
    }

    async fn end(inbox: &mut mpsc::Receiver<Inbound>) -> Option<Cap> {
        match inbox.recv().await {
            Some(Inbound::Closed { connection: 1, cap }) => cap,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_disconnected() {
        let (_peer, mut inbox) = connect(true).await;
        let started = Instant::now();
        assert_eq!(end(&mut inbox).await, Some(Cap::MessageTime));
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
            () = dribble => panic!("nobody cared"),
            cap = end(&mut inbox) => assert_eq!(cap, Some(Cap::MessageTime)),
        }
        assert!(started.elapsed() < Duration::from_secs(17));
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_first_message_a_peer_may_be_idle() {
        let (mut peer, mut inbox) = connect(true).await;
        peer.write_all(OPTIONS).await.expect("sent");
        assert!(matches!(inbox.recv().await, Some(Inbound::Message { bytes, .. }) if bytes == OPTIONS));
        let started = Instant::now();
        assert_eq!(end(&mut inbox).await, Some(Cap::ConnectionIdle));
        assert!(started.elapsed() >= Duration::from_secs(7200));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flow_that_stops_its_keep_alives_is_closed() {
        // checklist 145
        let (mut peer, mut inbox, flow_timeout) = connect_with_timeout(false).await;
        // While it already waits.
        sleep(Duration::from_secs(100)).await;
        flow_timeout.set(Duration::from_secs(150));
        let started = Instant::now();
        for _ in 0..3 {
            sleep(Duration::from_secs(140)).await;
            peer.write_all(b"\r\n\r\n").await.expect("sent");
            assert!(matches!(inbox.recv().await, Some(Inbound::Ping { refused: false, .. })));
        }
        assert_eq!(end(&mut inbox).await, Some(Cap::FlowTimer));
        assert!((570..575).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
        // What is longer than anybody may be silent means nothing.
        let (_peer, mut inbox, flow_timeout) = connect_with_timeout(false).await;
        flow_timeout.set(Duration::from_secs(9000));
        assert_eq!(end(&mut inbox).await, Some(Cap::ConnectionIdle));
    }

    #[tokio::test]
    async fn a_ping_has_its_pong() {
        let (mut peer, mut inbox) = connect(true).await;
        peer.write_all(b"\r\n\r\n").await.expect("sent");
        let mut pong = [0; 2];
        peer.read_exact(&mut pong).await.expect("a pong");
        assert_eq!(&pong, b"\r\n");
        assert!(matches!(inbox.recv().await, Some(Inbound::Ping { refused: false, .. })));
        drop(peer);
        assert_eq!(end(&mut inbox).await, None);
    }

    #[tokio::test]
    async fn a_framing_error_is_reported_with_what_was_received() {
        let (mut peer, mut inbox) = connect(true).await;
        let text = &b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\n\r\n"[..];
        peer.write_all(text).await.expect("sent");
        assert!(matches!(inbox.recv().await, Some(Inbound::FramingError { head, .. }) if head == text));
        // Nobody answers here, so the peer sees the end at once, although he may still talk.
        assert_eq!(peer.read(&mut [0; 8]).await.ok(), Some(0));
        assert!(peer.write_all(text).await.is_ok());
    }
}
