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
use super::directory::{Admission, Directory};
use super::outgoing::Outgoing;
use crate::defence::Defence;
use crate::inbox::Inbound;
use crate::metrics::{self, Cap};

/// How much is read at once.
const PIECE: usize = 4 << 10;

/// After a broken message the peer may finish talking for so long: closing earlier would take our answer from him,
/// since the system resets a connection that is closed with unread octets.
const FAREWELL: Duration = Duration::from_secs(2);

/// When the system lets no connection be accepted: tried again after so long, said again after so long.
const BREATH: Duration = Duration::from_millis(100);
const COMPLAINTS: Duration = Duration::from_secs(10);

/// What a connection may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Longest message.
    pub(crate) longest: usize,
    /// Without anything received.
    pub(crate) idle: Duration,
    /// For the first message, and for each from its first octet to its last.
    pub(crate) message: Duration,
}

/// How long the peer of one connection may be silent, where less than [`Patience::idle`] was agreed upon.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// In seconds; 0: nothing was.
    longest: AtomicU64,
    agreed: Notify,
}

impl Silence {
    /// From now on no longer than this.
    pub(crate) fn bound(&self, longest: Duration) {
        self.longest.store(longest.as_secs(), Ordering::Relaxed);
        self.agreed.notify_one();
    }

    fn longest(&self) -> Option<Duration> {
        Some(self.longest.load(Ordering::Relaxed)).filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }
}

/// One connection to read from.
pub(crate) struct Reader {
    /// Its read side.
    pub(crate) half: OwnedReadHalf,
    /// Its write side, for pongs.
    pub(crate) outgoing: Arc<Outgoing>,
    /// What its peer has agreed to.
    pub(crate) silence: Arc<Silence>,
    /// Its addresses and number.
    pub(crate) flow: Flow,
    /// Its worker.
    pub(crate) inbox: mpsc::Sender<Inbound>,
    /// Its bounds.
    pub(crate) patience: Patience,
    /// Whether the peer must speak soon: he opened the connection.
    pub(crate) must_greet: bool,
    /// Its place among the connections.
    pub(crate) admission: Admission,
}

/// Accepts connections for a worker.
pub(crate) async fn accept(
    listener: TcpListener,
    directory: Arc<Directory>,
    defence: Arc<Defence>,
    inbox: mpsc::Sender<Inbound>,
) {
    let mut complained: Option<Instant> = None;
    loop {
        let inbound = match listener.accept().await {
            Ok((_, remote)) if defence.covers(remote.ip()) => {
                metrics::refused_connection();
                continue;
            }
            Ok((stream, remote)) => match directory.admit(remote.ip()) {
                Ok(admission) => Inbound::Accepted { stream, remote, admission },
                Err(cap) => Inbound::Capped(cap),
            },
            Err(error) => {
                // Out of file descriptors, most likely: others must close first.
                if complained.is_none_or(|last| last.elapsed() > COMPLAINTS) {
                    complained = Some(Instant::now());
                    tracing::error!(%error, "cannot accept connections");
                }
                sleep(BREATH).await;
                Inbound::Capped(Cap::Connections)
            }
        };
        if inbox.send(inbound).await.is_err() {
            return;
        }
    }
}

impl Reader {
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
                let broken = Inbound::Broken { flow: self.flow, head, error };
                if self.inbox.send(broken).await.is_ok() {
                    // The write side ends with its last owner: from here on that is the worker, who answers.
                    let Self { half, outgoing, admission, .. } = self;
                    drop(outgoing);
                    drain(half).await;
                    drop(admission);
                }
                return;
            }
        };
        let _ = self.inbox.send(Inbound::Closed { connection, cap }).await;
    }

    /// Ends well with the cap that bit, or with none if the peer closed.
    async fn messages(&self) -> Result<Option<Cap>, StreamError> {
        let mut codec = Codec::new(self.patience.longest);
        let mut buffer = BytesMut::new();
        // When the peer began the message that is not yet whole.
        let mut begun = self.must_greet.then(Instant::now);
        // Since when he says nothing.
        let mut silent = Instant::now();
        let mut alarm = pin!(sleep_until(self.idle(silent).0));
        loop {
            while let Some(item) = codec.decode(&mut buffer)? {
                match item {
                    Item::Ping => self.pong().await,
                    Item::Message(bytes) => {
                        begun = None;
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
                begun.get_or_insert_with(Instant::now);
            }
            let (deadline, cap) = match begun {
                Some(begun) => (begun + self.patience.message, Cap::MessageTime),
                None => self.idle(silent),
            };
            // Most deadlines are put off before they come: the alarm learns of that when it rings.
            if deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                ready = self.half.readable() => ready?,
                () = self.silence.agreed.notified() => {
                    silent = Instant::now();
                    continue;
                }
                () = alarm.as_mut() => {
                    if deadline <= alarm.deadline() {
                        return Ok(Some(cap));
                    }
                    alarm.as_mut().reset(deadline);
                    continue;
                }
            }
            match self.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(_) => silent = Instant::now(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Appends what is there; 0: the peer has closed.
    fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let before = buffer.len();
        buffer.resize(before + PIECE, 0);
        let stream: &TcpStream = self.half.as_ref();
        let (mut length, room) = (0, buffer.get_mut(before..).unwrap_or_default());
        let outcome = stream.try_io(Interest::READABLE, || {
            length = (&*SockRef::from(stream)).read(room)?;
            // A short read has emptied the socket: saying so saves the call that would find it empty.
            if (1..PIECE).contains(&length) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        buffer.truncate(before + length);
        if length > 0 { Ok(length) } else { outcome.map(|()| 0) }
    }

    /// Until when a peer that has nothing to say may be silent.
    fn idle(&self, silent: Instant) -> (Instant, Cap) {
        match self.silence.longest().filter(|longest| *longest < self.patience.idle) {
            // RFC 5626 5.4
            Some(longest) => (silent + longest, Cap::FlowTimer),
            None => (silent + self.patience.idle, Cap::ConnectionIdle),
        }
    }

    async fn pong(&self) {
        let refused = self.outgoing.send(b"\r\n").is_err();
        let ping = Inbound::Ping { flow: self.flow, refused };
        let _ = self.inbox.send(ping).await;
    }
}

async fn drain(half: OwnedReadHalf) {
    let mut waste = vec![0; PIECE];
    let _ = timeout(FAREWELL, async {
        while half.readable().await.is_ok() {
            match half.try_read(&mut waste) {
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
    async fn connect(must_greet: bool) -> (TcpStream, mpsc::Receiver<Inbound>) {
        let (peer, heard, _) = connect_silent(must_greet).await;
        (peer, heard)
    }

    /// The same, and how long the peer may be silent.
    async fn connect_silent(must_greet: bool) -> (TcpStream, mpsc::Receiver<Inbound>, Arc<Silence>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let local = listener.local_addr().expect("an address");
        let (peer, ours) = tokio::join!(TcpStream::connect(local), listener.accept());
        let (peer, (ours, remote)) = (peer.expect("connected"), ours.expect("accepted"));
        let (inbox, heard) = mpsc::channel(8);
        let (half, write) = ours.into_split();
        let patience = Patience { longest: 1000, idle: Duration::from_secs(7200), message: Duration::from_secs(15) };
        let silence = Arc::new(Silence::default());
        let reader = Reader {
            half,
            silence: Arc::clone(&silence),
            outgoing: Outgoing::new(write, 1000, patience.message, 1, inbox.clone()),
            flow: Flow { transport: Transport::Tcp, remote, local, connection: 1 },
            inbox,
            patience,
            must_greet,
            admission: Arc::new(Directory::new(1, 1)).admit(remote.ip()).expect("a place"),
        };
        tokio::spawn(reader.run());
        (peer, heard, silence)
    }

    async fn end(heard: &mut mpsc::Receiver<Inbound>) -> Option<Cap> {
        match heard.recv().await {
            Some(Inbound::Closed { connection: 1, cap }) => cap,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_shown_the_door() {
        let (_peer, mut heard) = connect(true).await;
        let begun = Instant::now();
        assert_eq!(end(&mut heard).await, Some(Cap::MessageTime));
        assert!(begun.elapsed() < Duration::from_secs(16));
    }

    #[tokio::test(start_paused = true)]
    async fn who_dribbles_is_shown_the_door() {
        let (mut peer, mut heard) = connect(false).await;
        let begun = Instant::now();
        let dribble = async {
            while peer.write_all(b"O").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = dribble => panic!("nobody cared"),
            cap = end(&mut heard) => assert_eq!(cap, Some(Cap::MessageTime)),
        }
        assert!(begun.elapsed() < Duration::from_secs(17));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_spoken_may_be_silent_for_long() {
        let (mut peer, mut heard) = connect(true).await;
        peer.write_all(OPTIONS).await.expect("sent");
        assert!(matches!(heard.recv().await, Some(Inbound::Message { bytes, .. }) if bytes == OPTIONS));
        let begun = Instant::now();
        assert_eq!(end(&mut heard).await, Some(Cap::ConnectionIdle));
        assert!(begun.elapsed() >= Duration::from_secs(7200));
    }

    #[tokio::test(start_paused = true)]
    async fn who_agreed_to_speak_is_missed_soon() {
        // checklist 145
        let (mut peer, mut heard, silence) = connect_silent(false).await;
        // While it already waits.
        sleep(Duration::from_secs(100)).await;
        silence.bound(Duration::from_secs(150));
        let begun = Instant::now();
        for _ in 0..3 {
            sleep(Duration::from_secs(140)).await;
            peer.write_all(b"\r\n\r\n").await.expect("sent");
            assert!(matches!(heard.recv().await, Some(Inbound::Ping { refused: false, .. })));
        }
        assert_eq!(end(&mut heard).await, Some(Cap::FlowTimer));
        assert!((570..575).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        // What is longer than anybody may be silent means nothing.
        let (_peer, mut heard, silence) = connect_silent(false).await;
        silence.bound(Duration::from_secs(9000));
        assert_eq!(end(&mut heard).await, Some(Cap::ConnectionIdle));
    }

    #[tokio::test]
    async fn a_ping_has_its_pong() {
        let (mut peer, mut heard) = connect(true).await;
        peer.write_all(b"\r\n\r\n").await.expect("sent");
        let mut pong = [0; 2];
        peer.read_exact(&mut pong).await.expect("a pong");
        assert_eq!(&pong, b"\r\n");
        assert!(matches!(heard.recv().await, Some(Inbound::Ping { refused: false, .. })));
        drop(peer);
        assert_eq!(end(&mut heard).await, None);
    }

    #[tokio::test]
    async fn a_broken_stream_is_told_with_what_came() {
        let (mut peer, mut heard) = connect(true).await;
        let text = &b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\n\r\n"[..];
        peer.write_all(text).await.expect("sent");
        assert!(matches!(heard.recv().await, Some(Inbound::Broken { head, .. }) if head == text));
        // Nobody answers here, so the peer sees the end at once, although he may still talk.
        assert_eq!(peer.read(&mut [0; 8]).await.ok(), Some(0));
        assert!(peer.write_all(text).await.is_ok());
    }
}
