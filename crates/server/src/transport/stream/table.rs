//! The stream connections of one worker, and the choice of the connection for a message (RFC 3261 18.1.1, 18.2.2).
//!
//! Decides which connection sends: the one that the core named if it is open, else one to the same peer, else a new
//! one. A connection belongs to the worker that accepted or opened it; messages for a connection of another worker are
//! passed to that worker. Must not read or write itself.

use std::hash::RandomState;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hashbrown::HashMap;
use location::{ConnectionId, Flow};
use parser::Transport;
use proxy::{Alias, Hop, Instant, Over};
use tokio::sync::mpsc;

use super::connection::{OpenConnection, StreamEvent};
use super::directory::{self, ConnectionIds, ConnectionPermit, Directory, Peer};
use super::layer::ByteStream;
use super::limits::StreamLimits;
use super::open_connections::OpenConnections;
use super::opening::{OpeningConnection, host_of, undelivered};
use super::send_queue::SendQueue;
use super::writer::WriteError;
use crate::metrics::{Direction, DriverLimit, Loss, Series, Tally};
use crate::tls::ActiveTls;
use crate::trace::Tap;
use crate::transport::{Inbound, OutgoingMessage, SendRequest, UndeliveredMessage};

/// The stream connections of one worker.
pub(crate) struct Streams {
    worker: u8,
    ids: ConnectionIds,
    open: OpenConnections,
    opening: HashMap<ConnectionId, OpeningConnection, RandomState>,
    queue: SendQueue,
    directory: Arc<Directory>,
    /// The inbox of this worker.
    inbox: mpsc::Sender<Inbound>,
    /// The inboxes of all workers.
    inboxes: Arc<[mpsc::Sender<Inbound>]>,
    tls: Arc<ActiveTls>,
    tap: Arc<Tap>,
}

impl Drop for Streams {
    /// Tells the peers that the server stops.
    fn drop(&mut self) {
        self.close_matching(|_| true, Instant::default());
    }
}

impl Streams {
    /// No connections yet. Has to be called by a task of the worker's event loop.
    pub(crate) fn new(
        worker: u8,
        epoch: u32,
        directory: Arc<Directory>,
        inboxes: Arc<[mpsc::Sender<Inbound>]>,
        limits: StreamLimits,
        (tls, tap): (Arc<ActiveTls>, Arc<Tap>),
    ) -> io::Result<Self> {
        let inbox = inboxes.get(usize::from(worker)).cloned().unwrap_or_else(|| mpsc::channel(1).0);
        Ok(Self {
            worker,
            ids: ConnectionIds::new(worker, epoch),
            open: OpenConnections::new(limits)?,
            opening: HashMap::default(),
            queue: SendQueue::default(),
            directory,
            inbox,
            inboxes,
            tls,
            tap,
        })
    }

    /// Whether [`Streams::receive`] has something to do; if not, the task is woken when it has.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.open.poll_ready(cx)
    }

    /// The next time at which [`Streams::receive`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.open.next_deadline()
    }

    /// Whether [`Streams::receive`] has something to do that the task is not woken for.
    pub(crate) fn has_more(&self) -> bool {
        self.open.has_more()
    }

    /// Appends what connections have received, up to a limit.
    pub(crate) fn receive(&mut self, now: Instant, events: &mut Vec<StreamEvent>, tally: &mut Tally) {
        self.open.receive(now, events, tally);
    }

    /// Queues a message for [`Streams::flush`].
    pub(crate) fn send(&mut self, message: &OutgoingMessage<'_>) {
        self.queue.push(message);
    }

    /// Whether the queue has to be flushed before anything is added.
    pub(crate) const fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// Sends the queued messages. Undelivered ones with `report_to` are appended to `failed`.
    pub(crate) fn flush(&mut self, now: Instant, failed: &mut Vec<Bytes>, tally: &mut Tally) {
        let mut queue = std::mem::take(&mut self.queue);
        if queue.has_requests() {
            self.open.look_for_ends(now);
        }
        for message in queue.iter() {
            if let Err(loss) = self.send_now(message, now, tally) {
                tally.count(loss);
                failed.extend(message.report_to.map(|_| Bytes::copy_from_slice(message.bytes)));
            }
        }
        queue.clear();
        self.queue = queue;
    }

    /// Sends over the connection that the hop names, or one to the same peer, or a new one. A new one may still fail:
    /// then [`Streams::connected`] returns the messages to report.
    fn send_now(&mut self, message: OutgoingMessage<'_>, now: Instant, tally: &mut Tally) -> Result<(), Loss> {
        let hop = message.hop;
        if let Some(connection) = hop.connection() {
            if self.is_usable(connection) {
                return self.send_on(connection, message, now, tally);
            }
            // A dialog of an earlier run may name a connection of a worker that does not exist any more.
            let owner = directory::owner(connection);
            if owner != self.worker && usize::from(owner) < self.inboxes.len() {
                return self.send_by_owner(owner, message, tally);
            }
        }
        match self.connection_to(hop) {
            Some(connection) if directory::owner(connection) == self.worker => {
                self.send_on(connection, message, now, tally)
            }
            Some(connection) => self.send_by_owner(directory::owner(connection), message, tally),
            None => self.open_connection(message, tally),
        }
    }

    /// Sends a message for another worker: it is not passed on again.
    pub(crate) fn send_for_worker(
        &mut self,
        request: &SendRequest,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<(), Loss> {
        let SendRequest { hop, bytes, report_to, flow_timeout } = request;
        let message = OutgoingMessage { hop, bytes, report_to: *report_to, flow_timeout: *flow_timeout };
        if report_to.is_some() {
            self.open.look_for_ends(now);
        }
        let mut known = hop.connection().into_iter().chain(self.connection_to(hop));
        let own = known.find(|connection| self.is_usable(*connection));
        match own {
            Some(connection) => self.send_on(connection, message, now, tally),
            None => self.open_connection(message, tally),
        }
    }

    /// Whether messages may be sent over this connection of this worker, as far as is known.
    fn is_usable(&self, connection: ConnectionId) -> bool {
        self.open.get(connection).is_some_and(OpenConnection::is_listed) || self.opening.contains_key(&connection)
    }

    /// An open connection to the address of a hop, if its message may go over that.
    fn connection_to(&self, hop: &Hop) -> Option<ConnectionId> {
        match hop.over {
            Over::ConnectionOnly(_) | Over::Elsewhere(_) => None,
            Over::Address | Over::Host(_) | Over::InsteadOfUdp | Over::Connection(_) => {
                self.directory.find(&peer_of(hop))
            }
        }
    }

    /// Sends a response over a connection of this worker and closes it.
    pub(crate) fn reply_and_close(&mut self, connection: ConnectionId, bytes: &[u8], now: Instant) {
        self.unlist(connection);
        if !bytes.is_empty() {
            self.tap.sent(bytes, || self.open.get(connection).map(|open| path(open.flow())));
        }
        self.open.send_last(connection, bytes, now);
    }

    /// Adds a connection that a peer has opened.
    pub(crate) fn accepted(
        &mut self,
        stream: ByteStream,
        transport: Transport,
        remote: SocketAddr,
        (received, hosts): (Bytes, Vec<Arc<str>>),
        permit: ConnectionPermit,
        (now, tally): (Instant, &mut Tally),
    ) {
        let Ok(local) = stream.local_addr() else { return };
        let connection = self.ids.next_id();
        let flow = Flow { transport, remote, local, id: connection.into() };
        let open = OpenConnection::new(stream, flow, permit, self.open.limits(), Some(received), now);
        if !self.add(connection, open.with_hosts(hosts)) {
            return;
        }
        tally.count(Series::ConnectionOpened { direction: Direction::In });
        // The peer of an accepted TLS connection may have proved a name, but it has not offered the connection yet.
        match transport.is_secure() {
            true => self.directory.list_for_flow(connection),
            false => self.directory.list(Peer { transport, remote, host: None }, connection),
        }
    }

    /// A peer offers the connection that it opened for requests to it (RFC 5923 8.2). It is used for the hosts that the
    /// peer has proved to be, at the port that the peer names first.
    pub(crate) fn add_alias(&mut self, alias: Alias) {
        let Some(open) = self.open.get_mut(alias.connection).filter(|open| open.is_listed()) else { return };
        for peer in open.offer(alias.port) {
            self.directory.list_alias(peer, alias.connection);
        }
    }

    /// The attempt to open a connection has ended. Returns the undelivered messages that have a `report_to`.
    pub(crate) fn connected(
        &mut self,
        connection: ConnectionId,
        outcome: io::Result<ByteStream>,
        (now, tally): (Instant, &mut Tally),
    ) -> Vec<UndeliveredMessage> {
        let Some(opening) = self.opening.remove(&connection) else { return Vec::new() };
        match outcome {
            Ok(stream) => {
                tally.count(Series::ConnectionOpened { direction: Direction::Out });
                let (flow, host, permit, waiting) = opening.opened();
                let peer = peer(&flow, host.as_ref());
                let open = OpenConnection::new(stream, flow, permit, self.open.limits(), None, now).with_host(host);
                waiting.iter().for_each(|(bytes, _)| self.tap.sent(bytes, || Some(path(&flow))));
                if self.add(connection, open) && self.open.send_all(connection, &waiting, now) {
                    return Vec::new();
                }
                self.directory.unlist(&peer, connection);
                self.open.close(connection, now);
                undelivered(waiting)
            }
            Err(error) => {
                let flow = opening.flow();
                tracing::debug!(%error, remote = %flow.remote, "cannot connect");
                self.directory.unlist(&peer(flow, opening.host()), connection);
                if !opening.is_instead_of_udp() {
                    tally.count(Series::ConnectionFailed);
                    (0..opening.waiting_count()).for_each(|_| tally.count(Loss::ConnectionFailed));
                }
                opening.failed()
            }
        }
    }

    /// Closes all connections whose peer matches.
    pub(crate) fn close_matching(&mut self, matches: impl Fn(IpAddr) -> bool, now: Instant) {
        let open = self.open.iter().map(|(connection, open)| (connection, open.flow()));
        let opening = self.opening.iter().map(|(connection, opening)| (*connection, opening.flow()));
        let matching = open.chain(opening).filter(|(_, flow)| matches(flow.remote.ip()));
        let matching: Vec<_> = matching.map(|(connection, _)| connection).collect();
        matching.into_iter().for_each(|connection| self.close(connection, now));
    }

    /// Closes and removes a connection.
    pub(crate) fn close(&mut self, connection: ConnectionId, now: Instant) {
        self.unlist(connection);
        if let Some(opening) = self.opening.remove(&connection) {
            opening.abort();
        }
        self.open.close(connection, now);
    }

    fn add(&mut self, connection: ConnectionId, open: OpenConnection) -> bool {
        let (remote, added) = (open.flow().remote, self.open.add(connection, open));
        if let Err(error) = &added {
            tracing::error!(%error, %remote, "a connection cannot be waited for");
        }
        added.is_ok()
    }

    /// Nothing more is sent over this connection.
    fn unlist(&mut self, connection: ConnectionId) {
        if let Some(opening) = self.opening.get(&connection) {
            self.directory.unlist(&peer(opening.flow(), opening.host()), connection);
        }
        if let Some(open) = self.open.get_mut(connection).filter(|open| open.is_listed()) {
            open.unlist();
            self.directory.unlist(&peer(open.flow(), open.host()), connection);
            open.aliases().for_each(|peer| self.directory.unlist(&peer, connection));
        }
    }

    fn send_on(
        &mut self,
        connection: ConnectionId,
        message: OutgoingMessage<'_>,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<(), Loss> {
        // Before it is sent, since the response may come before this line ends. If the peer has just closed the connection,
        // a trace shows the message again on the next one.
        self.tap.sent(message.bytes, || self.open.get(connection).map(|open| path(open.flow())));
        if let Some(sent) = self.open.send(connection, &message, now) {
            match sent {
                Ok(()) => return Ok(()),
                // The peer has closed the connection, but messages from it may still be unread.
                Err(WriteError::Broken) => {
                    self.unlist(connection);
                    return self.open_connection(message, tally);
                }
                Err(WriteError::QueueFull) => self.close(connection, now),
            }
        } else if let Some(opening) = self.opening.get_mut(&connection) {
            if opening.queue(&message, self.open.limits().max_queue) {
                return Ok(());
            }
        } else {
            return Err(Loss::ConnectionFailed);
        }
        tally.count(DriverLimit::ConnectionQueue);
        Err(Loss::ConnectionFailed)
    }

    fn send_by_owner(&mut self, worker: u8, message: OutgoingMessage<'_>, tally: &mut Tally) -> Result<(), Loss> {
        let OutgoingMessage { hop, report_to, flow_timeout, .. } = message;
        let Some(inbox) = self.inboxes.get(usize::from(worker)) else { return self.open_connection(message, tally) };
        let request = Box::new(SendRequest {
            hop: hop.clone(),
            bytes: Bytes::copy_from_slice(message.bytes),
            report_to,
            flow_timeout,
        });
        inbox.try_send(Inbound::Send(request)).map_err(|_| {
            tally.count(DriverLimit::WorkerQueue);
            Loss::ConnectionFailed
        })
    }

    fn open_connection(&mut self, message: OutgoingMessage<'_>, tally: &mut Tally) -> Result<(), Loss> {
        let hop = message.hop;
        // RFC 5626 5.3.1: the only connection that leads to the phone is closed. RFC 7118 1: only clients open WebSocket
        // connections.
        if matches!(hop.over, Over::ConnectionOnly(_) | Over::Elsewhere(_)) || hop.transport.is_websocket() {
            return Err(Loss::ConnectionFailed);
        }
        let permit = self.directory.admit(hop.remote.ip()).map_err(|limit| {
            tally.count(limit);
            Loss::ConnectionFailed
        })?;
        let connection = self.ids.next_id();
        let flow = Flow { transport: hop.transport, remote: hop.remote, local: hop.local, id: connection.into() };
        self.directory.list(peer_of(hop), connection);
        let means = (self.open.limits(), Arc::clone(&self.tls));
        let opening = OpeningConnection::start(connection, flow, permit, &message, means, self.inbox.clone());
        self.opening.insert(connection, opening);
        Ok(())
    }
}

/// What a trace says of a message over this flow.
const fn path(flow: &Flow) -> (Transport, SocketAddr, SocketAddr) {
    (flow.transport, flow.local, flow.remote)
}

/// The peer that a connection for this hop has to lead to.
fn peer_of(hop: &Hop) -> Peer {
    Peer { transport: hop.transport, remote: hop.remote, host: host_of(hop).cloned() }
}

/// The peer of a connection.
fn peer(flow: &Flow, host: Option<&Arc<str>>) -> Peer {
    Peer { transport: flow.transport, remote: flow.remote, host: host.cloned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const NOW: Instant = Instant::from_micros(0);

    /// Two workers and their inboxes.
    fn workers() -> ([Streams; 2], [mpsc::Receiver<Inbound>; 2]) {
        let ((one, first), (two, second)) = (mpsc::channel(8), mpsc::channel(8));
        let inboxes: Arc<[_]> = Arc::new([one, two]);
        let directory = Arc::new(Directory::new(10, 10));
        let second_of = Duration::from_secs(1);
        let limits = StreamLimits {
            silence: None,
            max_message: 1000,
            idle_timeout: second_of,
            message_timeout: second_of,
            connect_timeout: second_of,
            brief_connect_timeout: second_of,
            max_queue: 1000,
        };
        let streams = [0, 1].map(|at| {
            Streams::new(
                at,
                7,
                Arc::clone(&directory),
                Arc::clone(&inboxes),
                limits,
                (Arc::default(), Arc::new(Tap::new(1, 1))),
            )
        });
        let streams = streams.map(|streams| streams.expect("an epoll instance"));
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
                let undelivered = streams.connected(connection, outcome, (NOW, &mut Tally::default()));
                let undelivered =
                    undelivered.into_iter().map(|UndeliveredMessage { worker, bytes }| (worker, bytes)).collect();
                (streams.open.iter().count() + streams.opening.len(), undelivered)
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_connection_is_opened_once_and_found_by_all_workers() {
        let ([mut one, mut two], [mut first, mut second]) = workers();
        let phone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let hop = hop(phone.local_addr().expect("an address"), 0);
        let mut tally = Tally::default();
        let message = |bytes| OutgoingMessage { hop: &hop, bytes, report_to: None, flow_timeout: None };
        one.send_now(message(b"one "), NOW, &mut tally).expect("waits for the connection");
        one.send_now(message(b"two "), NOW, &mut tally).expect("waits for the connection");
        assert_eq!(await_connect(&mut one, &mut first).await, (1, Vec::new()));

        two.send_now(message(b"three"), NOW, &mut tally).expect("handed over");
        let Some(Inbound::Send(request)) = first.recv().await else { panic!("not passed to the owner") };
        one.send_for_worker(&request, NOW, &mut tally).expect("sent");
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
            one.send_now(
                OutgoingMessage { hop: &hop, bytes: b"x", report_to: None, flow_timeout: None },
                NOW,
                &mut tally,
            )
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
        let sent = one.send_now(
            OutgoingMessage { hop: &hop, bytes: b"x", report_to: Some(0), flow_timeout: None },
            NOW,
            &mut Tally::default(),
        );
        assert_eq!((sent, one.opening.len()), (Err(Loss::ConnectionFailed), 0));
    }

    #[tokio::test]
    async fn a_refused_connection_is_removed() {
        let ([mut one, _], [mut first, _second]) = workers();
        let phone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let remote = phone.local_addr().expect("an address");
        drop(phone);
        let mut tally = Tally::default();
        let hop = hop(remote, 0);
        for (bytes, report_to) in [(&b"mine"[..], Some(0)), (b"nobody's", None), (b"yours", Some(1))] {
            one.send_now(OutgoingMessage { hop: &hop, bytes, report_to, flow_timeout: None }, NOW, &mut tally)
                .expect("waits for the connection");
        }
        let back = vec![(0, Bytes::from_static(b"mine")), (1, Bytes::from_static(b"yours"))];
        assert_eq!(await_connect(&mut one, &mut first).await, (0, back));
        assert_eq!((one.directory.open_count(), one.directory.find(&peer_of(&hop))), (0, None));
    }
}
