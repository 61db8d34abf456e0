//! The stream connections of one worker, and which of them a message goes over (RFC 3261 18.1.1, 18.2.2).
//!
//! Decides: the connection that the core named while it is open, else any to the same peer, else a new one. A connection
//! belongs to the worker that accepted or opened it; messages for one of another worker are handed over.

use std::hash::RandomState;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use location::Flow;
use parser::Transport;
use proxy::Hop;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::directory::{self, Admission, Directory, Numbers};
use super::outgoing::{Outgoing, Refused};
use super::reader::{Patience, Reader, Silence};
use crate::inbox::{Inbound, Relay, Returned};
use crate::metrics::{Cap, Loss, Series, Tally};

/// The system asks silent peers whether they still live: after so long, and so often.
const KEEPALIVE: Duration = Duration::from_secs(120);

/// The stream connections of one worker.
pub(crate) struct Streams {
    worker: u8,
    numbers: Numbers,
    connections: HashMap<u64, Connection, RandomState>,
    directory: Arc<Directory>,
    inboxes: Arc<[mpsc::Sender<Inbound>]>,
    limits: StreamLimits,
}

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamLimits {
    /// Of the read side.
    pub(crate) patience: Patience,
    /// Bytes that may wait to be sent.
    pub(crate) queue: usize,
    /// For a peer to accept a connection.
    pub(crate) connect: Duration,
}

enum Connection {
    Opening { flow: Flow, waiting: Vec<(Bytes, Option<u8>)>, bytes: usize, admission: Admission, task: AbortHandle },
    Open { flow: Flow, outgoing: Arc<Outgoing>, silence: Arc<Silence>, reader: AbortHandle },
}

impl Connection {
    const fn flow(&self) -> &Flow {
        match self {
            Self::Opening { flow, .. } | Self::Open { flow, .. } => flow,
        }
    }
}

/// A message to send over a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter<'a> {
    /// Where to.
    pub(crate) hop: &'a Hop,
    /// The message.
    pub(crate) text: &'a [u8],
    /// The worker that wants it back if it cannot be sent.
    pub(crate) concerned: Option<u8>,
    /// For how long the peer may be silent from then on; none: as before.
    pub(crate) silence: Option<Duration>,
}

impl Streams {
    /// No connections yet.
    pub(crate) fn new(
        worker: u8,
        epoch: u32,
        directory: Arc<Directory>,
        inboxes: Arc<[mpsc::Sender<Inbound>]>,
        limits: StreamLimits,
    ) -> Self {
        let numbers = Numbers::new(worker, epoch);
        Self { worker, numbers, connections: HashMap::default(), directory, inboxes, limits }
    }

    /// Sends over the connection that the hop names, or one to the same peer, or a new one. A new one may still fail
    /// later: then [`Streams::connected`] names who is concerned.
    pub(crate) fn send(&mut self, letter: Letter<'_>, tally: &mut Tally) -> Result<(), Loss> {
        let hop = letter.hop;
        if self.connections.contains_key(&hop.connection) {
            return self.send_over(hop.connection, letter, tally);
        }
        // A binding of an earlier run may name a connection of a worker that is no longer there.
        let owner = directory::owner(hop.connection);
        if hop.connection != 0 && owner != self.worker && usize::from(owner) < self.inboxes.len() {
            return self.relay(owner, letter, tally);
        }
        match self.directory.find(hop.transport, hop.remote) {
            Some(connection) if directory::owner(connection) == self.worker => {
                self.send_over(connection, letter, tally)
            }
            Some(connection) => self.relay(directory::owner(connection), letter, tally),
            None => self.open(letter, tally),
        }
    }

    /// Like [`Streams::send`], for what another worker handed over: it is not handed on again.
    pub(crate) fn send_relayed(&mut self, relay: &Relay, tally: &mut Tally) -> Result<(), Loss> {
        let Relay { hop, text, concerned, silence } = relay;
        let letter = Letter { hop, text, concerned: *concerned, silence: *silence };
        let listed = self.directory.find(hop.transport, hop.remote).unwrap_or_default();
        let own = [hop.connection, listed].into_iter().find(|connection| self.connections.contains_key(connection));
        match own {
            Some(connection) => self.send_over(connection, letter, tally),
            None => self.open(letter, tally),
        }
    }

    /// Answers over an own connection and then ends it.
    pub(crate) fn farewell(&mut self, connection: u64, text: &[u8]) {
        // It is closed in any case. The reader goes on for a while, so that the answer is not lost.
        let outgoing = self.forget(connection);
        let _ = outgoing.is_none_or(|outgoing| text.is_empty() || outgoing.send(text).is_ok());
    }

    /// A peer opened a connection.
    pub(crate) fn accepted(&mut self, stream: TcpStream, remote: SocketAddr, admission: Admission, tally: &mut Tally) {
        let Ok(local) = stream.local_addr() else { return };
        let flow = Flow { transport: Transport::Tcp, remote, local, connection: self.numbers.take() };
        tally.count(Series::ConnectionOpened(false));
        self.directory.list(flow.transport, flow.remote, flow.connection);
        self.begin(stream, flow, admission, true);
    }

    /// A connection of ours has come about or not. Returns what could not be sent and is wanted back.
    pub(crate) fn connected(
        &mut self,
        connection: u64,
        outcome: io::Result<TcpStream>,
        tally: &mut Tally,
    ) -> Vec<Returned> {
        let Some(Connection::Opening { flow, waiting, admission, .. }) = self.connections.remove(&connection) else {
            return Vec::new();
        };
        let returned = |waiting: Vec<(Bytes, Option<u8>)>| {
            let wanted = |(text, worker): (Bytes, Option<u8>)| Some(Returned { worker: worker?, text });
            waiting.into_iter().filter_map(wanted)
        };
        match outcome {
            Ok(stream) => {
                tally.count(Series::ConnectionOpened(true));
                let outgoing = self.begin(stream, flow, admission, false);
                if waiting.iter().all(|(text, _)| outgoing.send(text).is_ok()) {
                    return Vec::new();
                }
                self.close(connection);
                returned(waiting).collect()
            }
            Err(error) => {
                tracing::debug!(%error, remote = %flow.remote, "cannot connect");
                tally.count(Series::ConnectionFailed);
                self.directory.strike(flow.transport, flow.remote, connection);
                waiting.iter().for_each(|_| tally.count(Series::Lost(Loss::ConnectionFailed)));
                returned(waiting).collect()
            }
        }
    }

    /// Closes all connections with such a peer.
    pub(crate) fn close_with(&mut self, is_meant: impl Fn(IpAddr) -> bool) {
        let open = self.connections.iter().filter(|(_, connection)| is_meant(connection.flow().remote.ip()));
        let meant: Vec<u64> = open.map(|(number, _)| *number).collect();
        meant.into_iter().for_each(|connection| self.close(connection));
    }

    /// A connection has ended, or must.
    pub(crate) fn close(&mut self, connection: u64) {
        match self.connections.remove(&connection) {
            Some(Connection::Open { flow, reader, .. }) => {
                self.directory.strike(flow.transport, flow.remote, connection);
                reader.abort();
            }
            Some(Connection::Opening { flow, task, .. }) => {
                self.directory.strike(flow.transport, flow.remote, connection);
                task.abort();
            }
            None => {}
        }
    }

    /// Nothing more is sent over it; what comes is still read.
    fn forget(&mut self, connection: u64) -> Option<Arc<Outgoing>> {
        let Some(Connection::Open { flow, outgoing, .. }) = self.connections.remove(&connection) else { return None };
        self.directory.strike(flow.transport, flow.remote, connection);
        Some(outgoing)
    }

    fn inbox(&self) -> Option<&mpsc::Sender<Inbound>> {
        self.inboxes.get(usize::from(self.worker))
    }

    fn send_over(&mut self, connection: u64, letter: Letter<'_>, tally: &mut Tally) -> Result<(), Loss> {
        let text = letter.text;
        let refused = match self.connections.get_mut(&connection) {
            // Who only waits for an answer may have closed his side.
            Some(Connection::Open { outgoing, .. }) if letter.concerned.is_some() && outgoing.is_ending() => {
                Refused::Broken
            }
            Some(Connection::Open { outgoing, silence, .. }) => match outgoing.send(text) {
                Ok(()) => {
                    letter.silence.into_iter().for_each(|longest| silence.bound(longest));
                    return Ok(());
                }
                Err(refused) => refused,
            },
            Some(Connection::Opening { waiting, bytes, .. }) if *bytes + text.len() <= self.limits.queue => {
                *bytes += text.len();
                waiting.push((Bytes::copy_from_slice(text), letter.concerned));
                return Ok(());
            }
            Some(Connection::Opening { .. }) => {
                tally.count(Series::CapReached(Cap::ConnectionQueue));
                return Err(Loss::ConnectionFailed);
            }
            None => return Err(Loss::ConnectionFailed),
        };
        match refused {
            Refused::Full => {
                self.close(connection);
                tally.count(Series::CapReached(Cap::ConnectionQueue));
                Err(Loss::ConnectionFailed)
            }
            // The peer has closed it and the news is still on its way, behind messages perhaps: the reader goes on.
            Refused::Broken => {
                self.forget(connection);
                self.open(letter, tally)
            }
        }
    }

    fn relay(&mut self, worker: u8, letter: Letter<'_>, tally: &mut Tally) -> Result<(), Loss> {
        let Letter { hop, concerned, silence, .. } = letter;
        let Some(inbox) = self.inboxes.get(usize::from(worker)) else { return self.open(letter, tally) };
        let relay = Box::new(Relay { hop: *hop, text: Bytes::copy_from_slice(letter.text), concerned, silence });
        inbox.try_send(Inbound::Relay(relay)).map_err(|_| {
            tally.count(Series::CapReached(Cap::WorkerQueue));
            Loss::ConnectionFailed
        })
    }

    fn open(&mut self, letter: Letter<'_>, tally: &mut Tally) -> Result<(), Loss> {
        let hop = letter.hop;
        if hop.remote.port() == 0 {
            // The flow that alone leads there has ended.
            return Err(Loss::ConnectionFailed);
        }
        let admission = self.directory.admit(hop.remote.ip()).map_err(|cap| {
            tally.count(Series::CapReached(cap));
            Loss::ConnectionFailed
        })?;
        let Some(inbox) = self.inbox().cloned() else { return Err(Loss::ConnectionFailed) };
        let connection = self.numbers.take();
        let flow = Flow { transport: hop.transport, remote: hop.remote, local: hop.local, connection };
        let limit = self.limits.connect;
        let task = tokio::spawn(async move {
            let outcome = timeout(limit, connect(flow.local, flow.remote)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let _ = inbox.send(Inbound::Connected { connection, outcome }).await;
        });
        let waiting = vec![(Bytes::copy_from_slice(letter.text), letter.concerned)];
        let (bytes, task) = (letter.text.len(), task.abort_handle());
        self.directory.list(flow.transport, flow.remote, connection);
        self.connections.insert(connection, Connection::Opening { flow, waiting, bytes, admission, task });
        Ok(())
    }

    fn begin(&mut self, stream: TcpStream, flow: Flow, admission: Admission, must_greet: bool) -> Arc<Outgoing> {
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
        let (half, write) = stream.into_split();
        let patience = self.limits.patience;
        let inbox = self.inbox().cloned().unwrap_or_else(|| mpsc::channel(1).0);
        let outgoing = Outgoing::new(write, self.limits.queue, patience.message, flow.connection, inbox.clone());
        let silence = Arc::new(Silence::default());
        let (writer, bound) = (Arc::clone(&outgoing), Arc::clone(&silence));
        let reader = Reader { half, outgoing: writer, silence: bound, flow, inbox, patience, must_greet, admission };
        let reader = tokio::spawn(reader.run()).abort_handle();
        let open = Connection::Open { flow, outgoing: Arc::clone(&outgoing), silence, reader };
        self.connections.insert(flow.connection, open);
        outgoing
    }
}

/// Connects from the address that the message names, but from a port of its own.
async fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !local.ip().is_unspecified() && local.is_ipv4() == remote.is_ipv4() {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    socket.connect(remote).await
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// Two workers, and what waits for them.
    fn workers() -> ([Streams; 2], [mpsc::Receiver<Inbound>; 2]) {
        let ((one, first), (two, second)) = (mpsc::channel(8), mpsc::channel(8));
        let inboxes: Arc<[_]> = Arc::new([one, two]);
        let directory = Arc::new(Directory::new(10, 10));
        let second_of = Duration::from_secs(1);
        let patience = Patience { longest: 1000, idle: second_of, message: second_of };
        let limits = StreamLimits { patience, queue: 1000, connect: second_of };
        let streams = [0, 1].map(|at| Streams::new(at, 7, Arc::clone(&directory), Arc::clone(&inboxes), limits));
        (streams, [first, second])
    }

    fn hop(remote: SocketAddr, connection: u64) -> Hop {
        Hop { transport: Transport::Tcp, remote, local: ([127, 0, 0, 1], 5060).into(), connection }
    }

    /// Lets the connection that is being made come about or not; says how many there are then, and what comes back.
    async fn settle(streams: &mut Streams, heard: &mut mpsc::Receiver<Inbound>) -> (usize, Vec<(u8, Bytes)>) {
        match heard.recv().await {
            Some(Inbound::Connected { connection, outcome }) => {
                let returned = streams.connected(connection, outcome, &mut Tally::default());
                let returned = returned.into_iter().map(|Returned { worker, text }| (worker, text)).collect();
                (streams.connections.len(), returned)
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_connection_is_made_once_and_found_by_all_workers() {
        let ([mut one, mut two], [mut first, mut second]) = workers();
        let phone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let hop = hop(phone.local_addr().expect("an address"), 0);
        let mut tally = Tally::default();
        let letter = |text| Letter { hop: &hop, text, concerned: None, silence: None };
        one.send(letter(b"one "), &mut tally).expect("waits for the connection");
        one.send(letter(b"two "), &mut tally).expect("waits for the connection");
        assert_eq!(settle(&mut one, &mut first).await, (1, Vec::new()));

        two.send(letter(b"three"), &mut tally).expect("handed over");
        let Some(Inbound::Relay(relay)) = first.recv().await else { panic!("not handed over") };
        one.send_relayed(&relay, &mut tally).expect("sent");
        let (mut stream, from) = phone.accept().await.expect("a connection");
        let mut text = [0; 13];
        stream.read_exact(&mut text).await.expect("three messages");
        assert_eq!((&text[..], from.port() == 5060), (&b"one two three"[..], false));
        assert!(second.try_recv().is_err());
    }

    #[tokio::test]
    async fn what_was_registered_over_a_lost_connection_gets_a_new_one() {
        let ([mut one, _], [mut first, _second]) = workers();
        let phone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let remote = phone.local_addr().expect("an address");
        let mut tally = Tally::default();
        // Numbers of an earlier run: of this worker, and of one that is no longer there.
        for lost in [77, 200 << 56 | 77] {
            let hop = hop(remote, lost);
            one.send(Letter { hop: &hop, text: b"x", concerned: None, silence: None }, &mut tally).expect("sent anew");
        }
        assert_eq!(settle(&mut one, &mut first).await, (1, Vec::new()));
    }

    #[tokio::test]
    async fn where_only_a_lost_connection_led_nothing_is_opened() {
        // checklist 141, 144
        let ([mut one, _], _inboxes) = workers();
        let hop = hop(([127, 0, 0, 1], 0).into(), 77);
        let sent = one.send(Letter { hop: &hop, text: b"x", concerned: Some(0), silence: None }, &mut Tally::default());
        assert_eq!((sent, one.connections.len()), (Err(Loss::ConnectionFailed), 0));
    }

    #[tokio::test]
    async fn a_refused_connection_leaves_nothing_behind() {
        let ([mut one, _], [mut first, _second]) = workers();
        let phone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let remote = phone.local_addr().expect("an address");
        drop(phone);
        let mut tally = Tally::default();
        let hop = hop(remote, 0);
        for (text, concerned) in [(&b"mine"[..], Some(0)), (b"nobody's", None), (b"yours", Some(1))] {
            one.send(Letter { hop: &hop, text, concerned, silence: None }, &mut tally)
                .expect("waits for the connection");
        }
        let back = vec![(0, Bytes::from_static(b"mine")), (1, Bytes::from_static(b"yours"))];
        assert_eq!(settle(&mut one, &mut first).await, (0, back));
        assert_eq!((one.directory.open(), one.directory.find(Transport::Tcp, remote)), (0, None));
    }
}
