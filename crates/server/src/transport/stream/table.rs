//! The stream connections of one worker, and the choice of the connection for a message (RFC 3261 18.1.1, 18.2.2).
//!
//! Decides which connection sends: the one that the core named if it is open, else one to the same peer, else a new
//! one. A connection belongs to the worker that accepted or opened it; messages for a connection of another worker are
//! passed to that worker. Must not read or write itself.

use std::hash::RandomState;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use location::{ConnectionId, Flow};
use parser::Transport;
use proxy::{Alias, Hop, Over};
use tokio::sync::mpsc;

use super::connection::{Connection, OpenConnection, OpeningConnection, host_of};
use super::directory::{self, ConnectionIds, ConnectionPermit, Directory, Peer};
use super::layer::ByteStream;
use super::limits::StreamLimits;
use super::writer::WriteError;
use crate::metrics::{Direction, DriverLimit, Loss, Series, Tally};
use crate::tls::ActiveTls;
use crate::transport::{Inbound, OutgoingMessage, SendRequest, UndeliveredMessage};

/// The stream connections of one worker.
pub(crate) struct Streams {
    worker: u8,
    ids: ConnectionIds,
    connections: HashMap<ConnectionId, Connection, RandomState>,
    directory: Arc<Directory>,
    /// The inbox of this worker.
    inbox: mpsc::Sender<Inbound>,
    /// The inboxes of all workers.
    inboxes: Arc<[mpsc::Sender<Inbound>]>,
    limits: StreamLimits,
    tls: Arc<ActiveTls>,
}

impl Drop for Streams {
    /// Tells the peers that the server stops.
    fn drop(&mut self) {
        self.connections.values().for_each(Connection::announce_close);
    }
}

impl Streams {
    /// No connections yet.
    pub(crate) fn new(
        worker: u8,
        epoch: u32,
        directory: Arc<Directory>,
        inboxes: Arc<[mpsc::Sender<Inbound>]>,
        limits: StreamLimits,
        tls: Arc<ActiveTls>,
    ) -> Self {
        let ids = ConnectionIds::new(worker, epoch);
        let inbox = inboxes.get(usize::from(worker)).cloned().unwrap_or_else(|| mpsc::channel(1).0);
        Self { worker, ids, connections: HashMap::default(), directory, inbox, inboxes, limits, tls }
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
        let mut known = hop.connection().into_iter().chain(self.connection_to(hop));
        let own = known.find(|connection| self.connections.contains_key(connection));
        match own {
            Some(connection) => self.send_on(connection, message, tally),
            None => self.open_connection(message, tally),
        }
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
    pub(crate) fn reply_and_close(&mut self, connection: ConnectionId, bytes: &[u8]) {
        if let Some(open) = self.remove_keeping_reader(connection) {
            open.send_last(bytes);
        }
    }

    /// Adds a connection that a peer has opened.
    pub(crate) fn accepted(
        &mut self,
        stream: ByteStream,
        transport: Transport,
        remote: SocketAddr,
        (received, hosts): (Bytes, Vec<Arc<str>>),
        permit: ConnectionPermit,
        tally: &mut Tally,
    ) {
        let Ok(local) = stream.local_addr() else { return };
        let connection = self.ids.next_id();
        let flow = Flow { transport, remote, local, id: connection.into() };
        tally.count(Series::ConnectionOpened { direction: Direction::In });
        // The peer of an accepted TLS connection may have proved a name, but it has not offered the connection yet.
        match transport.is_secure() {
            true => self.directory.list_for_flow(connection),
            false => self.directory.list(Peer { transport, remote, host: None }, connection),
        }
        let open =
            OpenConnection::start(stream, connection, flow, permit, &self.limits, self.inbox.clone(), Some(received));
        self.connections.insert(connection, Connection::Open(open.with_hosts(hosts)));
    }

    /// A peer offers the connection that it opened for requests to it (RFC 5923 8.2). It is used for the hosts that the
    /// peer has proved to be, at the port that the peer names first.
    pub(crate) fn add_alias(&mut self, alias: Alias) {
        let Some(Connection::Open(open)) = self.connections.get_mut(&alias.connection) else { return };
        for peer in open.offer(alias.port) {
            self.directory.list_alias(peer, alias.connection);
        }
    }

    /// The attempt to open a connection has ended. Returns the undelivered messages that have a `report_to`.
    pub(crate) fn connected(
        &mut self,
        connection: ConnectionId,
        outcome: io::Result<ByteStream>,
        tally: &mut Tally,
    ) -> Vec<UndeliveredMessage> {
        let Some(Connection::Opening(opening)) = self.connections.remove(&connection) else { return Vec::new() };
        match outcome {
            Ok(stream) => {
                tally.count(Series::ConnectionOpened { direction: Direction::Out });
                let (open, sent) = opening.opened(stream, &self.limits, self.inbox.clone());
                self.connections.insert(connection, Connection::Open(open));
                sent.err().inspect(|_| self.close(connection)).unwrap_or_default()
            }
            Err(error) => {
                let flow = opening.flow();
                tracing::debug!(%error, remote = %flow.remote, "cannot connect");
                let peer = Peer { transport: flow.transport, remote: flow.remote, host: opening.host().cloned() };
                self.directory.unlist(&peer, connection);
                if !opening.is_instead_of_udp() {
                    tally.count(Series::ConnectionFailed);
                    (0..opening.waiting_count()).for_each(|_| tally.count(Loss::ConnectionFailed));
                }
                opening.failed()
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
        if let Some(removed) = self.remove(connection) {
            removed.announce_close();
            removed.abort();
        }
    }

    /// Removes a connection so that nothing more is sent over it, but its reader continues.
    fn remove_keeping_reader(&mut self, connection: ConnectionId) -> Option<OpenConnection> {
        match self.remove(connection)? {
            Connection::Open(open) => Some(open),
            Connection::Opening(_) => None,
        }
    }

    fn remove(&mut self, connection: ConnectionId) -> Option<Connection> {
        let removed = self.connections.remove(&connection)?;
        let flow = removed.flow();
        let peer = Peer { transport: flow.transport, remote: flow.remote, host: removed.host().cloned() };
        self.directory.unlist(&peer, connection);
        removed.aliases().for_each(|peer| self.directory.unlist(&peer, connection));
        Some(removed)
    }

    fn send_on(
        &mut self,
        connection: ConnectionId,
        message: OutgoingMessage<'_>,
        tally: &mut Tally,
    ) -> Result<(), Loss> {
        match self.connections.get_mut(&connection) {
            Some(Connection::Open(open)) => match open.send(&message) {
                Ok(()) => return Ok(()),
                // The peer has closed the connection, but messages from it may still be unread: the reader continues.
                Err(WriteError::Broken) => {
                    self.remove_keeping_reader(connection);
                    return self.open_connection(message, tally);
                }
                Err(WriteError::QueueFull) => self.close(connection),
            },
            Some(Connection::Opening(opening)) => {
                if opening.queue(&message, self.limits.max_queue) {
                    return Ok(());
                }
            }
            None => return Err(Loss::ConnectionFailed),
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
        let means = (&self.limits, Arc::clone(&self.tls));
        let opening = OpeningConnection::start(connection, flow, permit, &message, means, self.inbox.clone());
        self.connections.insert(connection, Connection::Opening(Box::new(opening)));
        Ok(())
    }
}

/// The peer that a connection for this hop has to lead to.
fn peer_of(hop: &Hop) -> Peer {
    Peer { transport: hop.transport, remote: hop.remote, host: host_of(hop).cloned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

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
        let streams =
            [0, 1].map(|at| Streams::new(at, 7, Arc::clone(&directory), Arc::clone(&inboxes), limits, Arc::default()));
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
    async fn a_connection_is_opened_once_and_found_by_all_workers() {
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
    async fn a_refused_connection_is_removed() {
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
        assert_eq!((one.directory.open_count(), one.directory.find(&peer_of(&hop))), (0, None));
    }
}
