//! The open connections of one worker: reads those that have received something, writes those that have room again, and
//! ends those that are idle or slow for too long.
//!
//! Decides fairness: a connection is read once, and then again after all others that have received something. Must not
//! choose the connection for a message: see `table`.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::task::{Context, Poll};

use hashbrown::HashMap;
use location::ConnectionId;
use proxy::Instant;
use slab::Slab;

use super::connection::{OpenConnection, StreamEvent, Turn};
use super::limits::StreamLimits;
use super::opening::WaitingMessage;
use super::reader::ReceiveMemory;
use super::readiness::Readiness;
use super::writer::WriteError;
use crate::metrics::Tally;
use crate::transport::OutgoingMessage;

/// Connections read per batch.
const BATCH: usize = 64;

/// The open connections of one worker.
pub(super) struct OpenConnections {
    limits: StreamLimits,
    readiness: Readiness,
    /// The server chooses the ids, so that their hash needs no secret.
    by_id: HashMap<ConnectionId, Box<Entry>>,
    /// The connections by what the kernel knows them by.
    tokens: Slab<ConnectionId>,
    /// The connections to read, in this order.
    ready: VecDeque<ConnectionId>,
    /// The next deadlines, at most one for each connection.
    deadlines: BTreeSet<(Instant, ConnectionId)>,
    events: Vec<StreamEvent>,
    memory: ReceiveMemory,
}

struct Entry {
    open: OpenConnection,
    token: usize,
    /// Whether it is in `ready`.
    is_ready: bool,
    /// Its entry in `deadlines`. It may be earlier than its deadline, which moves with each message.
    timer: Option<Instant>,
}

impl OpenConnections {
    /// None yet. Has to be called by a task of the worker's event loop.
    pub(super) fn new(limits: StreamLimits) -> io::Result<Self> {
        Ok(Self {
            limits,
            readiness: Readiness::new()?,
            by_id: HashMap::default(),
            tokens: Slab::new(),
            ready: VecDeque::new(),
            deadlines: BTreeSet::new(),
            events: Vec::new(),
            memory: ReceiveMemory::default(),
        })
    }

    /// The limits of each connection.
    pub(super) const fn limits(&self) -> &StreamLimits {
        &self.limits
    }

    /// All connections.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &OpenConnection)> {
        self.by_id.iter().map(|(connection, entry)| (*connection, &entry.open))
    }

    /// A connection.
    pub(super) fn get(&self, connection: ConnectionId) -> Option<&OpenConnection> {
        self.by_id.get(&connection).map(|entry| &entry.open)
    }

    /// A connection.
    pub(super) fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut OpenConnection> {
        self.by_id.get_mut(&connection).map(|entry| &mut entry.open)
    }

    /// Adds a connection.
    pub(super) fn add(&mut self, connection: ConnectionId, mut open: OpenConnection) -> io::Result<()> {
        let token = self.tokens.insert(connection);
        if let Err(error) = self.readiness.register(open.stream_mut().socket_mut(), token) {
            self.tokens.remove(token);
            return Err(error);
        }
        // What came with the end of the handshake is not in the socket any more.
        self.ready.push_back(connection);
        let timer = open.deadline(&self.limits);
        self.deadlines.extend(timer.map(|timer| (timer, connection)));
        self.by_id.insert(connection, Box::new(Entry { open, token, is_ready: true, timer }));
        Ok(())
    }

    /// Whether [`receive`](Self::receive) has something to do; if not, the task is woken when it has.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.readiness.poll_ready(cx);
        if self.has_more() { Poll::Ready(()) } else { polled }
    }

    /// Whether [`receive`](Self::receive) has something to do that the task is not woken for.
    pub(super) fn has_more(&self) -> bool {
        !self.ready.is_empty() || !self.events.is_empty()
    }

    /// The next time at which [`receive`](Self::receive) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(moment, _)| *moment)
    }

    /// Appends what connections have received, up to a limit.
    pub(super) fn receive(&mut self, now: Instant, events: &mut Vec<StreamEvent>, tally: &mut Tally) {
        self.look_for_changes(now, false);
        for _ in 0..self.ready.len().min(BATCH) {
            if let Some(connection) = self.ready.pop_front() {
                self.read(connection, now, tally);
            }
        }
        while let Some((moment, connection)) = self.deadlines.first().copied().filter(|(moment, _)| *moment <= now) {
            self.deadlines.remove(&(moment, connection));
            if let Some(entry) = self.by_id.get_mut(&connection) {
                entry.timer = None;
            }
            self.act(connection, now, |open, turn| open.expire(turn));
        }
        events.append(&mut self.events);
    }

    /// Sends a message; see [`OpenConnection::send`]. `None`: there is no such connection.
    pub(super) fn send(
        &mut self,
        connection: ConnectionId,
        message: &OutgoingMessage<'_>,
        now: Instant,
    ) -> Option<Result<(), WriteError>> {
        self.act(connection, now, |open, turn| {
            open.send(message.bytes, message.report_to.is_some(), turn)?;
            message.flow_timeout.into_iter().for_each(|timeout| open.set_flow_timeout(timeout, now));
            Ok(())
        })
    }

    /// Sends the messages that a connection was opened for; false if that fails.
    pub(super) fn send_all(&mut self, connection: ConnectionId, waiting: &[WaitingMessage], now: Instant) -> bool {
        let send = |open: &mut OpenConnection, turn: &mut Turn<'_>| {
            waiting.iter().all(|(bytes, _)| open.send(bytes, false, turn).is_ok())
        };
        self.act(connection, now, send).unwrap_or(false)
    }

    /// Sends a last message, and ends the connection.
    pub(super) fn send_last(&mut self, connection: ConnectionId, bytes: &[u8], now: Instant) {
        self.act(connection, now, |open, turn| open.send_last(bytes, turn));
        self.make_ready(connection);
    }

    /// Ends a connection when its queue is sent.
    pub(super) fn close(&mut self, connection: ConnectionId, now: Instant) {
        match self.act(connection, now, |open, turn| open.close(turn)) {
            Some(true) => self.remove(connection),
            Some(false) => self.make_ready(connection),
            None => {}
        }
    }

    fn remove(&mut self, connection: ConnectionId) {
        let Some(entry) = self.by_id.remove(&connection) else { return };
        self.tokens.remove(entry.token);
        if let Some(timer) = entry.timer {
            self.deadlines.remove(&(timer, connection));
        }
    }

    fn make_ready(&mut self, connection: ConnectionId) {
        let Some(entry) = self.by_id.get_mut(&connection) else { return };
        if !std::mem::replace(&mut entry.is_ready, true) {
            self.ready.push_back(connection);
        }
    }

    /// Learns which peers have closed their side until now, although the event loop may not have seen that.
    pub(super) fn look_for_ends(&mut self, now: Instant) {
        self.look_for_changes(now, true);
    }

    fn look_for_changes(&mut self, now: Instant, until_now: bool) {
        let Self { limits, readiness, by_id, tokens, ready, events, .. } = self;
        let mut turn = Turn { limits, now, events };
        let mut changed = |change: &mio::event::Event| {
            let Some(connection) = tokens.get(change.token().0) else { return };
            let Some(entry) = by_id.get_mut(connection) else { return };
            if entry.open.changed(change, &mut turn) && !std::mem::replace(&mut entry.is_ready, true) {
                ready.push_back(*connection);
            }
        };
        match until_now {
            true => readiness.changes_until_now().for_each(&mut changed),
            false => readiness.changes().for_each(&mut changed),
        }
    }

    fn read(&mut self, connection: ConnectionId, now: Instant, tally: &mut Tally) {
        let Self { limits, by_id, ready, events, memory, .. } = self;
        let Some(entry) = by_id.get_mut(&connection) else { return };
        entry.is_ready = entry.open.read(memory, &mut Turn { limits, now, events }, tally);
        if entry.is_ready {
            ready.push_back(connection);
        }
        rearm(entry, connection, limits, &mut self.deadlines);
    }

    /// Calls the connection, and takes note of its new deadline.
    fn act<T>(
        &mut self,
        connection: ConnectionId,
        now: Instant,
        act: impl FnOnce(&mut OpenConnection, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let Self { limits, by_id, events, .. } = self;
        let entry = by_id.get_mut(&connection)?;
        let outcome = act(&mut entry.open, &mut Turn { limits, now, events });
        rearm(entry, connection, limits, &mut self.deadlines);
        Some(outcome)
    }
}

/// Deadlines mostly move to later times, so the timer is only set again when it fires or when one is earlier.
fn rearm(
    entry: &mut Entry,
    connection: ConnectionId,
    limits: &StreamLimits,
    deadlines: &mut BTreeSet<(Instant, ConnectionId)>,
) {
    let Some(deadline) = entry.open.deadline(limits) else { return };
    if entry.timer.is_none_or(|timer| deadline < timer) {
        if let Some(timer) = entry.timer.replace(deadline) {
            deadlines.remove(&(timer, connection));
        }
        deadlines.insert((deadline, connection));
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use location::Flow;
    use parser::Transport;
    use proxy::Hop;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::super::directory::Directory;
    use super::super::layer::READ_CHUNK;
    use super::super::layer::tests::pair;
    use super::*;
    use crate::metrics::DriverLimit;

    const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    const FIRST: ConnectionId = ConnectionId::FIRST;

    /// The connections of a worker, at a simulated time.
    struct Worker {
        connections: OpenConnections,
        directory: Arc<Directory>,
        now: Instant,
    }

    impl Worker {
        fn new() -> Self {
            let limits = StreamLimits {
                silence: None,
                max_message: 100_000,
                idle_timeout: Duration::from_secs(7200),
                message_timeout: Duration::from_secs(15),
                connect_timeout: Duration::from_secs(15),
                brief_connect_timeout: Duration::from_secs(15),
                max_queue: 1 << 20,
            };
            let connections = OpenConnections::new(limits).expect("an epoll instance");
            Self { connections, directory: Arc::new(Directory::new(9, 9)), now: Instant::default() }
        }

        /// Adds a connection; returns the end of its peer.
        async fn connect(&mut self, connection: ConnectionId, expects_first_message: bool) -> TcpStream {
            let (peer, stream) = pair().await;
            let (remote, local) = (SocketAddr::from(([127, 0, 0, 1], 1)), stream.local_addr().expect("an address"));
            let flow = Flow { transport: Transport::Tcp, remote, local, id: connection.into() };
            let permit = self.directory.admit(remote.ip()).expect("a permit");
            let received = expects_first_message.then(Bytes::new);
            let open = OpenConnection::new(stream, flow, permit, self.connections.limits(), received, self.now);
            self.connections.add(connection, open).expect("a connection");
            peer
        }

        /// One with the first id.
        async fn of_one(expects_first_message: bool) -> (Self, TcpStream) {
            let mut worker = Self::new();
            let peer = worker.connect(FIRST, expects_first_message).await;
            (worker, peer)
        }

        /// One turn, later.
        fn turn(&mut self, later: Duration) -> Vec<StreamEvent> {
            self.now = self.now + later;
            let mut events = Vec::new();
            self.connections.receive(self.now, &mut events, &mut Tally::default());
            events
        }

        /// Turns until there is an event.
        async fn event(&mut self) -> StreamEvent {
            loop {
                let ready = poll_fn(|cx| self.connections.poll_ready(cx));
                timeout(Duration::from_secs(5), ready).await.expect("an event");
                if let Some(event) = self.turn(Duration::ZERO).pop() {
                    return event;
                }
            }
        }

        fn send(&mut self, bytes: &[u8], is_request: bool) -> Result<(), WriteError> {
            let hop = Hop::to_address(Transport::Tcp, ([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 1).into());
            let report_to = is_request.then_some(0);
            let message = OutgoingMessage { hop: &hop, bytes, report_to, flow_timeout: None };
            self.connections.send(FIRST, &message, self.now).expect("the connection")
        }
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// The limit that ended the only connection.
    fn limit(events: &[StreamEvent]) -> Option<DriverLimit> {
        match events {
            [StreamEvent::Closed { connection: FIRST, limit }] => *limit,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_silent_peer_is_disconnected() {
        let (mut worker, _peer) = Worker::of_one(true).await;
        assert!(worker.turn(seconds(14)).is_empty());
        assert_eq!(worker.connections.next_deadline(), Some(Instant::default() + seconds(15)));
        assert_eq!(limit(&worker.turn(seconds(1))), Some(DriverLimit::MessageTime));
        assert_eq!(worker.connections.next_deadline(), None);
        worker.connections.close(FIRST, worker.now);
        assert_eq!((worker.connections.by_id.len(), worker.directory.open_count()), (0, 0));
    }

    #[tokio::test]
    async fn a_slow_message_is_disconnected() {
        let (mut worker, mut peer) = Worker::of_one(false).await;
        worker.turn(Duration::ZERO);
        for second in 0..15 {
            peer.write_all(b"O").await.expect("sent");
            tokio::task::yield_now().await;
            assert!(worker.turn(seconds(second.min(1))).is_empty(), "{second}");
        }
        assert_eq!(limit(&worker.turn(seconds(1))), Some(DriverLimit::MessageTime));
    }

    #[tokio::test]
    async fn after_its_first_message_a_peer_may_be_idle() {
        let (mut worker, mut peer) = Worker::of_one(true).await;
        peer.write_all(OPTIONS).await.expect("sent");
        assert!(matches!(worker.event().await, StreamEvent::Message { bytes, .. } if bytes == OPTIONS));
        assert!(worker.turn(seconds(7199)).is_empty());
        assert_eq!(limit(&worker.turn(seconds(1))), Some(DriverLimit::ConnectionIdle));
    }

    #[tokio::test]
    async fn a_flow_that_stops_its_keep_alives_is_closed() {
        // checklist 145
        // A timeout above the idle timeout has no effect.
        for (timeout, expected) in [(150, DriverLimit::FlowTimer), (9000, DriverLimit::ConnectionIdle)] {
            let (mut worker, mut peer) = Worker::of_one(false).await;
            worker.turn(seconds(100));
            let hop = Hop::to_address(Transport::Tcp, ([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 1).into());
            let flow_timeout = Some(seconds(timeout));
            let message = OutgoingMessage { hop: &hop, bytes: b"200", report_to: None, flow_timeout };
            worker.connections.send(FIRST, &message, worker.now).expect("the connection").expect("sent");
            let timeout = timeout.min(7200);
            for _ in 0..3 {
                assert!(worker.turn(seconds(timeout - 1)).is_empty());
                peer.write_all(b"\r\n\r\n").await.expect("sent");
                tokio::task::yield_now().await;
                assert!(worker.turn(Duration::ZERO).is_empty());
            }
            assert!(worker.turn(seconds(timeout - 1)).is_empty());
            assert_eq!(limit(&worker.turn(seconds(1))), Some(expected));
            worker.connections.close(FIRST, worker.now);
            let mut received = Vec::new();
            peer.read_to_end(&mut received).await.expect("the end");
            assert_eq!(received, b"200\r\n\r\n\r\n", "each keep-alive is answered");
        }
    }

    #[tokio::test]
    async fn a_keep_alive_in_pieces_does_not_begin_a_message() {
        let (mut worker, mut peer) = Worker::of_one(false).await;
        for piece in [&b"\r\n"[..], b"\r", b"\n"] {
            peer.write_all(piece).await.expect("sent");
            tokio::task::yield_now().await;
            assert!(worker.turn(seconds(20)).is_empty());
        }
        let mut pong = [0; 2];
        peer.read_exact(&mut pong).await.expect("a pong");
        assert_eq!(limit(&worker.turn(seconds(7200))), Some(DriverLimit::ConnectionIdle));
    }

    #[tokio::test]
    async fn a_framing_error_is_reported_with_what_was_received() {
        let (mut worker, mut peer) = Worker::of_one(true).await;
        let text = &b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\n\r\n"[..];
        peer.write_all(text).await.expect("sent");
        let event = worker.event().await;
        assert!(matches!(event, StreamEvent::FramingError { unread: Some((head, _)), .. } if head == text));
        worker.connections.send_last(FIRST, b"answer", worker.now);
        // The peer gets the answer and the end, although it still sends.
        for _ in 0..100 {
            peer.write_all(&[b'x'; 1000]).await.expect("sent");
            tokio::task::yield_now().await;
            assert!(worker.turn(Duration::ZERO).is_empty());
        }
        let mut received = Vec::new();
        assert_eq!((peer.read_to_end(&mut received).await.ok(), &received[..]), (Some(6), &b"answer"[..]));
        assert_eq!(limit(&worker.turn(seconds(2))), None);
    }

    #[tokio::test]
    async fn a_busy_peer_delays_no_other_one() {
        let (mut worker, mut busy) = Worker::of_one(true).await;
        let mut other = worker.connect(FIRST.plus(1), true).await;
        worker.turn(Duration::ZERO);
        busy.write_all(&OPTIONS.repeat(1000)).await.expect("sent");
        other.write_all(OPTIONS).await.expect("sent");
        let mut turns = Vec::new();
        while turns.iter().flatten().count() < 1001 {
            tokio::task::yield_now().await;
            turns.push(worker.turn(Duration::ZERO));
        }
        let of = |id: ConnectionId| move |event: &&StreamEvent| matches!(event, StreamEvent::Message { flow, .. } if flow.id == id.into());
        let first = turns.iter().find(|turn| !turn.is_empty()).expect("a turn");
        assert_eq!(first.iter().filter(of(FIRST.plus(1))).count(), 1);
        assert!(turns.iter().all(|turn| turn.iter().filter(of(FIRST)).count() <= READ_CHUNK / OPTIONS.len() + 1));
    }

    #[tokio::test]
    async fn a_long_message_arrives_in_pieces() {
        let (mut worker, mut peer) = Worker::of_one(true).await;
        let body = "x".repeat(50_000);
        let message = format!("OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 50000\r\n\r\n{body}");
        for piece in message.as_bytes().chunks(7000) {
            peer.write_all(piece).await.expect("sent");
        }
        assert!(matches!(worker.event().await, StreamEvent::Message { bytes, .. } if bytes == message));
        peer.write_all(OPTIONS).await.expect("sent");
        assert!(matches!(worker.event().await, StreamEvent::Message { bytes, .. } if bytes == OPTIONS));
    }

    #[tokio::test]
    async fn no_request_is_sent_to_a_peer_that_has_closed_its_side() {
        let (mut worker, mut peer) = Worker::of_one(true).await;
        assert_eq!(worker.send(OPTIONS, true), Ok(()));
        // What it has sent before is still read, and answered.
        peer.write_all(OPTIONS).await.expect("sent");
        peer.shutdown().await.expect("closed");
        worker.connections.look_for_ends(worker.now);
        assert_eq!((worker.send(OPTIONS, true), worker.send(b"answer", false)), (Err(WriteError::Broken), Ok(())));
        assert!(matches!(worker.event().await, StreamEvent::Message { bytes, .. } if bytes == OPTIONS));
        assert_eq!(limit(&[worker.event().await]), None);
        assert_eq!(worker.send(b"200", false), Ok(()));
        worker.connections.close(FIRST, worker.now);
        let mut received = Vec::new();
        peer.read_to_end(&mut received).await.expect("the end");
        assert_eq!(received, [OPTIONS, b"answer", b"200"].concat());
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_refused() {
        let (mut worker, _peer) = Worker::of_one(false).await;
        let mut sent = 0;
        let error = loop {
            match worker.send(&[b'x'; 4096], false) {
                Ok(()) => sent += 4096,
                Err(error) => break error,
            }
            assert!(sent < 1 << 28, "the queue is not bounded");
        };
        assert_eq!(error, WriteError::QueueFull);
        assert!(worker.turn(seconds(14)).is_empty());
        assert_eq!(limit(&worker.turn(seconds(1))), None);
        worker.connections.close(FIRST, worker.now);
        assert!(worker.connections.by_id.is_empty());
    }

    #[tokio::test]
    async fn a_peer_that_reads_slowly_does_not_keep_a_closed_connection() {
        let (mut worker, mut peer) = Worker::of_one(false).await;
        worker.connections.limits.max_queue = 1 << 25;
        while worker.send(&[b'x'; 1 << 16], false).is_ok() {}
        worker.connections.close(FIRST, worker.now);
        assert!(worker.turn(seconds(10)).is_empty());
        let (mut chunk, mut left) = (vec![0; 1 << 16], 1_usize << 23);
        while left > 0 {
            // There may be nothing to read until the worker has written again.
            let read = timeout(Duration::from_millis(10), peer.read(&mut chunk)).await;
            left = left.saturating_sub(read.map_or(0, |read| read.expect("data")));
            assert!(worker.turn(Duration::ZERO).is_empty());
        }
        assert!(worker.connections.get(FIRST).is_some_and(OpenConnection::is_waiting));
        assert_eq!(limit(&worker.turn(seconds(5))), None);
        worker.connections.close(FIRST, worker.now);
        assert!(worker.connections.by_id.is_empty());
    }

    #[tokio::test]
    async fn queued_messages_arrive_in_order_before_the_end() {
        let (mut worker, mut peer) = Worker::of_one(true).await;
        let message = |at: u32| at.to_be_bytes().repeat(1 << 16);
        let mut count = 0;
        while !worker.connections.get(FIRST).is_some_and(OpenConnection::is_waiting) {
            worker.send(&message(count), false).expect("taken");
            count += 1;
        }
        worker.send(&message(count), false).expect("taken");
        worker.connections.close(FIRST, worker.now);
        let reading = tokio::spawn(async move {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).await.expect("the end");
            received
        });
        while worker.connections.get(FIRST).is_some() {
            if let StreamEvent::Closed { connection, .. } = worker.event().await {
                worker.connections.close(connection, worker.now);
            }
        }
        assert!(reading.await.expect("read") == (0..=count).flat_map(message).collect::<Vec<_>>());
    }
}
