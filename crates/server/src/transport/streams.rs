//! The stream connections of one worker, and the choice of the connection for a message (RFC 3261 18.1.1, 18.2.2).
//!
//! Uses the connection that the core named if it is open, else any to the same peer, else a new one. A connection
//! belongs to the worker that accepted or opened it; messages for a connection of another worker are passed to that
//! worker.

use std::hash::RandomState;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use location::{ConnectionId, Flow};
use parser::Transport;
use proxy::{Hop, Over};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::reader::{ConnectionReader, FlowTimeout, ReadLimits};
use super::writer::{ConnectionWriter, WriteError};
use crate::directory::{self, ConnectionIds, ConnectionPermit, Directory};
use crate::inbox::{Inbound, SendRequest, UndeliveredMessage};
use crate::metrics::{DriverLimit, Loss, Series, Tally};

/// Idle time after which TCP keep-alive probes are sent.
const KEEPALIVE: Duration = Duration::from_secs(120);

/// The stream connections of one worker.
pub(crate) struct Streams {
    worker: u8,
    ids: ConnectionIds,
    connections: HashMap<ConnectionId, Connection, RandomState>,
    directory: Arc<Directory>,
    inboxes: Arc<[mpsc::Sender<Inbound>]>,
    limits: StreamLimits,
}

/// Limits of stream connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamLimits {
    /// Of the read side.
    pub(crate) read: ReadLimits,
    /// Bytes that may be queued for one connection.
    pub(crate) queue: usize,
    /// Timeout for opening a connection.
    pub(crate) connect: Duration,
}

enum Connection {
    Opening {
        flow: Flow,
        waiting: Vec<(Bytes, Option<u8>)>,
        queued_bytes: usize,
        permit: ConnectionPermit,
        task: AbortHandle,
    },
    Open {
        flow: Flow,
        writer: Arc<ConnectionWriter>,
        flow_timeout: Arc<FlowTimeout>,
        reader: AbortHandle,
    },
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

impl Streams {
    /// No connections yet.
    pub(crate) fn new(
        worker: u8,
        epoch: u32,
        directory: Arc<Directory>,
        inboxes: Arc<[mpsc::Sender<Inbound>]>,
        limits: StreamLimits,
    ) -> Self {
        let ids = ConnectionIds::new(worker, epoch);
        Self { worker, ids, connections: HashMap::default(), directory, inboxes, limits }
    }

    /// Sends over the connection that the hop names, or one to the same peer, or a new one. A new one may still fail:
    /// then [`Streams::connected`] returns the messages to report.
    pub(crate) fn send(&mut self, message: OutgoingMessage<'_>, tally: &mut Tally) -> Result<(), Loss> {
        let hop = message.hop;
        if let Some(connection) = hop.connection() {
            if self.connections.contains_key(&connection) {
                return self.send_on(connection, message, tally);
            }
            // A dialog of an earlier run may name a connection of a worker that does not exist any more.
            let owner = directory::owner(connection);
            if owner != self.worker && usize::from(owner) < self.inboxes.len() {
                return self.send_by_owner(owner, message, tally);
            }
        }
        match self.connection_to(hop) {
            Some(connection) if directory::owner(connection) == self.worker => self.send_on(connection, message, tally),
            Some(connection) => self.send_by_owner(directory::owner(connection), message, tally),
            None => self.open_connection(message, tally),
        }
    }

    /// Like [`Streams::send`], for a message from another worker: it is not passed on again.
    pub(crate) fn send_for_worker(&mut self, request: &SendRequest, tally: &mut Tally) -> Result<(), Loss> {
        let SendRequest { hop, bytes, report_to, flow_timeout } = request;
        let message = OutgoingMessage { hop, bytes, report_to: *report_to, flow_timeout: *flow_timeout };
        let own = hop
            .connection()
            .into_iter()
            .chain(self.connection_to(hop))
            .find(|connection| self.connections.contains_key(connection));
        match own {
            Some(connection) => self.send_on(connection, message, tally),
            None => self.open_connection(message, tally),
        }
    }

    /// Sends a response over a connection of this worker and closes it.
    pub(crate) fn reply_and_close(&mut self, connection: ConnectionId, bytes: &[u8]) {
        // Errors do not matter, since it is closed anyway. The reader continues for a while so that the response is
        // not lost.
        let writer = self.remove_keeping_reader(connection);
        let _ = writer.is_none_or(|writer| bytes.is_empty() || writer.send(bytes).is_ok());
    }

    /// Adds a connection that a peer has opened.
    pub(crate) fn accepted(
        &mut self,
        stream: TcpStream,
        remote: SocketAddr,
        permit: ConnectionPermit,
        tally: &mut Tally,
    ) {
        let Ok(local) = stream.local_addr() else { return };
        let connection = self.ids.next_id();
        let flow = Flow { transport: Transport::Tcp, remote, local, id: connection.into() };
        tally.count(Series::ConnectionOpened(false));
        self.directory.list(flow.transport, flow.remote, connection);
        self.start(stream, (connection, flow), permit, true);
    }

    /// The attempt to open a connection has ended. Returns undelivered messages with `report_to`.
    pub(crate) fn connected(
        &mut self,
        connection: ConnectionId,
        outcome: io::Result<TcpStream>,
        tally: &mut Tally,
    ) -> Vec<UndeliveredMessage> {
        let Some(Connection::Opening { flow, waiting, permit, .. }) = self.connections.remove(&connection) else {
            return Vec::new();
        };
        let undelivered = |waiting: Vec<(Bytes, Option<u8>)>| {
            let wanted = |(bytes, worker): (Bytes, Option<u8>)| Some(UndeliveredMessage { worker: worker?, bytes });
            waiting.into_iter().filter_map(wanted)
        };
        match outcome {
            Ok(stream) => {
                tally.count(Series::ConnectionOpened(true));
                let writer = self.start(stream, (connection, flow), permit, false);
                if waiting.iter().all(|(bytes, _)| writer.send(bytes).is_ok()) {
                    return Vec::new();
                }
                self.close(connection);
                undelivered(waiting).collect()
            }
            Err(error) => {
                tracing::debug!(%error, remote = %flow.remote, "cannot connect");
                tally.count(Series::ConnectionFailed);
                self.directory.unlist(flow.transport, flow.remote, connection);
                waiting.iter().for_each(|_| tally.count(Series::Lost(Loss::ConnectionFailed)));
                undelivered(waiting).collect()
            }
        }
    }

    /// Closes all connections whose peer matches.
    pub(crate) fn close_matching(&mut self, matches: impl Fn(IpAddr) -> bool) {
        let open = self.connections.iter().filter(|(_, connection)| matches(connection.flow().remote.ip()));
        let matching: Vec<_> = open.map(|(connection, _)| *connection).collect();
        matching.into_iter().for_each(|connection| self.close(connection));
    }

    /// Closes and removes a connection.
    pub(crate) fn close(&mut self, connection: ConnectionId) {
        match self.connections.remove(&connection) {
            Some(Connection::Open { flow, reader, .. }) => {
                self.directory.unlist(flow.transport, flow.remote, connection);
                reader.abort();
            }
            Some(Connection::Opening { flow, task, .. }) => {
                self.directory.unlist(flow.transport, flow.remote, connection);
                task.abort();
            }
            None => {}
        }
    }

    /// Removes a connection so that nothing more is sent over it, but its reader continues.
    fn remove_keeping_reader(&mut self, connection: ConnectionId) -> Option<Arc<ConnectionWriter>> {
        let Some(Connection::Open { flow, writer, .. }) = self.connections.remove(&connection) else { return None };
        self.directory.unlist(flow.transport, flow.remote, connection);
        Some(writer)
    }

    fn inbox(&self) -> Option<&mpsc::Sender<Inbound>> {
        self.inboxes.get(usize::from(self.worker))
    }

    fn send_on(
        &mut self,
        connection: ConnectionId,
        message: OutgoingMessage<'_>,
        tally: &mut Tally,
    ) -> Result<(), Loss> {
        let bytes = message.bytes;
        let error = match self.connections.get_mut(&connection) {
            // A peer that only waits for a response may already have closed its side: data sent then is lost without
            // an error.
            Some(Connection::Open { writer, .. }) if message.report_to.is_some() && writer.is_peer_closed() => {
                WriteError::Broken
            }
            Some(Connection::Open { writer, flow_timeout, .. }) => match writer.send(bytes) {
                Ok(()) => {
                    message.flow_timeout.into_iter().for_each(|timeout| flow_timeout.set(timeout));
                    return Ok(());
                }
                Err(error) => error,
            },
            Some(Connection::Opening { waiting, queued_bytes, .. })
                if *queued_bytes + bytes.len() <= self.limits.queue =>
            {
                *queued_bytes += bytes.len();
                waiting.push((Bytes::copy_from_slice(bytes), message.report_to));
                return Ok(());
            }
            Some(Connection::Opening { .. }) => {
                tally.count(Series::DriverLimitReached(DriverLimit::ConnectionQueue));
                return Err(Loss::ConnectionFailed);
            }
            None => return Err(Loss::ConnectionFailed),
        };
        match error {
            WriteError::QueueFull => {
                self.close(connection);
                tally.count(Series::DriverLimitReached(DriverLimit::ConnectionQueue));
                Err(Loss::ConnectionFailed)
            }
            // The peer has closed the connection, but messages from it may still be unread: the reader continues.
            WriteError::Broken => {
                self.remove_keeping_reader(connection);
                self.open_connection(message, tally)
            }
        }
    }

    /// Any open connection to the address of a hop, if its message may go over that.
    fn connection_to(&self, hop: &Hop) -> Option<ConnectionId> {
        match hop.over {
            Over::ConnectionOnly(_) => None,
            Over::Address | Over::Connection(_) => self.directory.find(hop.transport, hop.remote),
        }
    }

    fn send_by_owner(&mut self, worker: u8, message: OutgoingMessage<'_>, tally: &mut Tally) -> Result<(), Loss> {
        let OutgoingMessage { hop, report_to, flow_timeout, .. } = message;
        let Some(inbox) = self.inboxes.get(usize::from(worker)) else { return self.open_connection(message, tally) };
        let request =
            Box::new(SendRequest { hop: *hop, bytes: Bytes::copy_from_slice(message.bytes), report_to, flow_timeout });
        inbox.try_send(Inbound::Send(request)).map_err(|_| {
            tally.count(Series::DriverLimitReached(DriverLimit::WorkerQueue));
            Loss::ConnectionFailed
        })
    }

    fn open_connection(&mut self, message: OutgoingMessage<'_>, tally: &mut Tally) -> Result<(), Loss> {
        let hop = message.hop;
        // RFC 5626 5.3.1: the only connection that leads to the phone has been closed.
        if matches!(hop.over, Over::ConnectionOnly(_)) {
            return Err(Loss::ConnectionFailed);
        }
        let permit = self.directory.admit(hop.remote.ip()).map_err(|limit| {
            tally.count(Series::DriverLimitReached(limit));
            Loss::ConnectionFailed
        })?;
        let Some(inbox) = self.inbox().cloned() else { return Err(Loss::ConnectionFailed) };
        let connection = self.ids.next_id();
        let flow = Flow { transport: hop.transport, remote: hop.remote, local: hop.local, id: connection.into() };
        let limit = self.limits.connect;
        let task = tokio::spawn(async move {
            let outcome = timeout(limit, connect(flow.local, flow.remote)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let _ = inbox.send(Inbound::Connected { connection, outcome }).await;
        });
        let waiting = vec![(Bytes::copy_from_slice(message.bytes), message.report_to)];
        let (queued_bytes, task) = (message.bytes.len(), task.abort_handle());
        self.directory.list(flow.transport, flow.remote, connection);
        self.connections.insert(connection, Connection::Opening { flow, waiting, queued_bytes, permit, task });
        Ok(())
    }

    fn start(
        &mut self,
        stream: TcpStream,
        (connection, flow): (ConnectionId, Flow),
        permit: ConnectionPermit,
        expects_first_message: bool,
    ) -> Arc<ConnectionWriter> {
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
        let (read_half, write_half) = stream.into_split();
        let read_limits = self.limits.read;
        let inbox = self.inbox().cloned().unwrap_or_else(|| mpsc::channel(1).0);
        let writer = ConnectionWriter::new(
            write_half,
            self.limits.queue,
            read_limits.message_timeout,
            connection,
            inbox.clone(),
        );
        let flow_timeout = Arc::new(FlowTimeout::default());
        let reader = ConnectionReader {
            read_half,
            writer: Arc::clone(&writer),
            connection,
            flow_timeout: Arc::clone(&flow_timeout),
            flow,
            inbox,
            read_limits,
            expects_first_message,
            permit,
        };
        let reader = tokio::spawn(reader.run()).abort_handle();
        let open = Connection::Open { flow, writer: Arc::clone(&writer), flow_timeout, reader };
        self.connections.insert(connection, open);
        writer
    }
}

/// Connects from the local address that the message names, but an ephemeral port.
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

    /// Two workers and their inboxes.
    fn workers() -> ([Streams; 2], [mpsc::Receiver<Inbound>; 2]) {
        let ((one, first), (two, second)) = (mpsc::channel(8), mpsc::channel(8));
        let inboxes: Arc<[_]> = Arc::new([one, two]);
        let directory = Arc::new(Directory::new(10, 10));
        let second_of = Duration::from_secs(1);
        let read_limits = ReadLimits { max_message: 1000, idle_timeout: second_of, message_timeout: second_of };
        let limits = StreamLimits { read: read_limits, queue: 1000, connect: second_of };
        let streams = [0, 1].map(|at| Streams::new(at, 7, Arc::clone(&directory), Arc::clone(&inboxes), limits));
        (streams, [first, second])
    }

    fn hop(remote: SocketAddr, connection: u64) -> Hop {
        let over = ConnectionId::new(connection).map_or(Over::Address, Over::Connection);
        Hop { transport: Transport::Tcp, remote, local: ([127, 0, 0, 1], 5060).into(), over }
    }

    /// Waits for the connection attempt; returns the number of connections and the undelivered messages.
    async fn await_connect(streams: &mut Streams, inbox: &mut mpsc::Receiver<Inbound>) -> (usize, Vec<(u8, Bytes)>) {
        match inbox.recv().await {
            Some(Inbound::Connected { connection, outcome }) => {
                let undelivered = streams.connected(connection, outcome, &mut Tally::default());
                let undelivered =
                    undelivered.into_iter().map(|UndeliveredMessage { worker, bytes }| (worker, bytes)).collect();
                (streams.connections.len(), undelivered)
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
        let message = |bytes| OutgoingMessage { hop: &hop, bytes, report_to: None, flow_timeout: None };
        one.send(message(b"one "), &mut tally).expect("waits for the connection");
        one.send(message(b"two "), &mut tally).expect("waits for the connection");
        assert_eq!(await_connect(&mut one, &mut first).await, (1, Vec::new()));

        two.send(message(b"three"), &mut tally).expect("handed over");
        let Some(Inbound::Send(request)) = first.recv().await else { panic!("not passed to the owner") };
        one.send_for_worker(&request, &mut tally).expect("sent");
        let (mut stream, from) = phone.accept().await.expect("a connection");
        let mut bytes = [0; 13];
        stream.read_exact(&mut bytes).await.expect("three messages");
        assert_eq!((&bytes[..], from.port() == 5060), (&b"one two three"[..], false));
        assert!(second.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_binding_of_a_lost_connection_gets_a_new_one() {
        let ([mut one, _], [mut first, _second]) = workers();
        let phone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let remote = phone.local_addr().expect("an address");
        let mut tally = Tally::default();
        // Connection ids of an earlier run: of this worker, and of one that does not exist any more.
        for lost in [77, 200 << 56 | 77] {
            let hop = hop(remote, lost);
            one.send(OutgoingMessage { hop: &hop, bytes: b"x", report_to: None, flow_timeout: None }, &mut tally)
                .expect("sent anew");
        }
        assert_eq!(await_connect(&mut one, &mut first).await, (1, Vec::new()));
    }

    #[tokio::test]
    async fn a_flow_only_hop_opens_no_connection() {
        // checklist 141, 144
        let ([mut one, _], _inboxes) = workers();
        let over = Over::ConnectionOnly(ConnectionId::FIRST);
        let hop = Hop { over, ..hop(([127, 0, 0, 1], 5060).into(), 0) };
        let sent = one.send(
            OutgoingMessage { hop: &hop, bytes: b"x", report_to: Some(0), flow_timeout: None },
            &mut Tally::default(),
        );
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
        for (bytes, report_to) in [(&b"mine"[..], Some(0)), (b"nobody's", None), (b"yours", Some(1))] {
            one.send(OutgoingMessage { hop: &hop, bytes, report_to, flow_timeout: None }, &mut tally)
                .expect("waits for the connection");
        }
        let back = vec![(0, Bytes::from_static(b"mine")), (1, Bytes::from_static(b"yours"))];
        assert_eq!(await_connect(&mut one, &mut first).await, (0, back));
        assert_eq!((one.directory.open_count(), one.directory.find(Transport::Tcp, remote)), (0, None));
    }
}
