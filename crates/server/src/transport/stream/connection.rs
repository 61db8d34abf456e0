//! One open connection: its socket, its two sides, and the phase that it is in.
//!
//! Decides when a connection has ended and what is still sent and received then (RFC 3261 18.3, 18.4). Must not choose the
//! connection for a message: see `table`; nor when it is read: see `open_connections`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use location::{ConnectionId, Flow};
use mio::event::Event;
use parser::ParseError;
use proxy::Instant;

use super::directory::{ConnectionPermit, Peer};
use super::framing::{self, CloseReason, Item, StreamError};
use super::layer::{ByteStream, Received};
use super::limits::StreamLimits;
use super::reader::{Reader, ReceiveMemory};
use super::writer::{WriteError, Writer};
use crate::metrics::{DriverLimit, Series, Tally};

/// How long the peer may keep sending after this side has closed. The system resets a connection that is closed with unread
/// data, and the reset could discard our response before the peer reads it.
const LINGER: Duration = Duration::from_secs(2);

/// An open connection.
pub(super) struct OpenConnection {
    flow: Flow,
    host: Option<Arc<str>>,
    /// Where requests that may use it lead to, if its peer has opened it.
    aliases: Aliases,
    stream: ByteStream,
    reader: Reader,
    writer: Writer,
    phase: Phase,
    /// Whether the table may choose it for a message.
    is_listed: bool,
    /// The peer has closed its side; what it has sent before may be unread.
    is_read_closed: bool,
    /// Counts the connection.
    _permit: ConnectionPermit,
}

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is read, and messages are sent over it while it is listed.
    Open,
    /// The worker is told that it has ended.
    Ended,
    /// What was queued is still sent. What is received is discarded, until this time or until the peer has closed too.
    Lingering(Instant),
}

/// The requests that may use a connection which its peer has opened (RFC 5923 8.2).
#[derive(Debug, Default)]
struct Aliases {
    /// The hosts that the peer has proved to be; none without a certificate.
    hosts: Vec<Arc<str>>,
    /// The port that the peer has offered.
    port: Option<u16>,
}

/// What a connection has received.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// A message.
    Message {
        /// The message.
        bytes: Bytes,
        /// Its addresses and connection.
        flow: Flow,
    },
    /// Data without a recognisable message boundary: the connection has to be closed.
    FramingError {
        /// Its addresses and connection.
        flow: Flow,
        /// The received data and its error, if it may be a request that can be answered.
        unread: Option<(Bytes, ParseError)>,
    },
    /// The end of the connection.
    Closed {
        /// Its id.
        connection: ConnectionId,
        /// The limit that ended it.
        limit: Option<DriverLimit>,
    },
}

/// What a call needs of the connections of a worker.
pub(super) struct Turn<'t> {
    /// Their limits.
    pub(super) limits: &'t StreamLimits,
    /// The time.
    pub(super) now: Instant,
    /// What they have received.
    pub(super) events: &'t mut Vec<StreamEvent>,
}

impl OpenConnection {
    /// `received`: if the peer opened the connection, what it has sent after the handshake.
    pub(super) fn new(
        stream: ByteStream,
        flow: Flow,
        permit: ConnectionPermit,
        limits: &StreamLimits,
        received: Option<Bytes>,
        now: Instant,
    ) -> Self {
        let (decoder, encoder) = framing::framing(flow.transport, limits.max_message);
        Self {
            flow,
            host: None,
            aliases: Aliases::default(),
            stream,
            reader: Reader::new(decoder, received, now),
            writer: Writer::new(encoder),
            phase: Phase::Open,
            is_listed: true,
            is_read_closed: false,
            _permit: permit,
        }
    }

    /// The same, to a peer that has proved to be this host.
    pub(super) fn with_host(self, host: Option<Arc<str>>) -> Self {
        Self { host, ..self }
    }

    /// The same, whose peer has opened it and has proved to be these hosts.
    pub(super) fn with_hosts(self, hosts: Vec<Arc<str>>) -> Self {
        Self { aliases: Aliases { hosts, port: None }, ..self }
    }

    /// Its addresses and id.
    pub(super) const fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The host that the peer has proved to be (RFC 5922 7.3). `None`: none.
    pub(super) const fn host(&self) -> Option<&Arc<str>> {
        self.host.as_ref()
    }

    /// The layer of its bytes.
    pub(super) const fn stream_mut(&mut self) -> &mut ByteStream {
        &mut self.stream
    }

    /// Whether the table may choose it for a message.
    pub(super) const fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// The table does not choose it any more. What the peer has sent is still read.
    pub(super) const fn unlist(&mut self) {
        self.is_listed = false;
    }

    /// Its peer offers it for requests to this port. Returns where they lead to: to the address of the peer, as a host
    /// that it has proved to be. The first port counts.
    pub(super) fn offer(&mut self, port: u16) -> Vec<Peer> {
        self.aliases.port.get_or_insert(port);
        self.aliases().collect()
    }

    /// The peers of its alias.
    pub(super) fn aliases(&self) -> impl Iterator<Item = Peer> {
        let Aliases { hosts, port } = &self.aliases;
        let Flow { transport, remote, .. } = self.flow;
        port.iter().flat_map(move |port| {
            let remote = SocketAddr::new(remote.ip(), *port);
            hosts.iter().map(move |host| Peer { transport, remote, host: Some(Arc::clone(host)) })
        })
    }

    /// Sends a message. A request (`is_request`) is not sent if the peer has closed its side: a peer that only waits for a
    /// response may have done so, and a request would be lost without an error.
    pub(super) fn send(&mut self, bytes: &[u8], is_request: bool, turn: &Turn<'_>) -> Result<(), WriteError> {
        if is_request && (self.is_read_closed || self.phase != Phase::Open) {
            return Err(WriteError::Broken);
        }
        self.writer.send(&mut self.stream, bytes, turn.limits, turn.now)
    }

    /// Sets the timeout of a flow with a Flow-Timer (RFC 5626 5.4), and restarts it.
    pub(super) fn set_flow_timeout(&mut self, timeout: Duration, now: Instant) {
        self.reader.set_flow_timeout(timeout, now);
    }

    /// The event loop reports a change. Returns whether the connection has to be read.
    pub(super) fn changed(&mut self, change: &Event, turn: &mut Turn<'_>) -> bool {
        self.is_read_closed |= change.is_read_closed();
        if change.is_writable() && self.writer.is_waiting() {
            match self.writer.flush(&mut self.stream, turn.now) {
                Err(_) => self.broken(turn),
                Ok(()) if matches!(self.phase, Phase::Lingering(_)) => self.linger(turn),
                Ok(()) => {}
            }
        }
        change.is_readable() || change.is_read_closed() || change.is_error()
    }

    /// Reads once, and appends what is complete to the events. Returns whether there may be more to read.
    pub(super) fn read(&mut self, memory: &mut ReceiveMemory, turn: &mut Turn<'_>, tally: &mut Tally) -> bool {
        let outcome = match self.phase {
            Phase::Open => self.receive(memory, turn, tally),
            Phase::Lingering(_) => return self.discard(memory, turn),
            Phase::Ended => return false,
        };
        match outcome {
            Ok(Received { has_ended: false, has_more, .. }) => return has_more || self.is_read_closed,
            Ok(_) => self.ended(None, turn),
            Err(StreamError::Io(error)) => {
                tracing::debug!(%error, remote = %self.flow.remote, "connection lost");
                self.broken(turn);
            }
            Err(StreamError::Framing { error, head }) => {
                tracing::debug!(%error, remote = %self.flow.remote, "framing error");
                self.failed(Some((head, error)), turn);
            }
            Err(StreamError::WebSocket { error, close }) => {
                tracing::debug!(error, remote = %self.flow.remote, "WebSocket error");
                // The connection is closed anyway.
                let _ = self.writer.send_bytes(&mut self.stream, &close, turn.limits, turn.now);
                self.failed(None, turn);
            }
        }
        false
    }

    fn receive(
        &mut self,
        memory: &mut ReceiveMemory,
        turn: &mut Turn<'_>,
        tally: &mut Tally,
    ) -> Result<Received, StreamError> {
        let received = self.stream.read(&mut memory.chunk)?;
        let ended = Received { has_ended: true, ..received };
        let mut unread = self.reader.unread(memory, received.length, turn.now);
        while let Some(item) = self.reader.next(&mut unread)? {
            match item {
                Item::Message(bytes) => turn.events.push(StreamEvent::Message { bytes, flow: self.flow }),
                Item::Ping(pong) => {
                    tally.count(Series::KeepAlive { transport: self.flow.transport });
                    if self.writer.send_bytes(&mut self.stream, &pong, turn.limits, turn.now).is_err() {
                        return Ok(ended);
                    }
                }
                Item::Close(answer) => {
                    // The connection is closed anyway.
                    let _ = self.writer.send_bytes(&mut self.stream, &answer, turn.limits, turn.now);
                    return Ok(ended);
                }
            }
        }
        self.reader.keep(unread, turn.now);
        Ok(received)
    }

    fn discard(&mut self, memory: &mut ReceiveMemory, turn: &mut Turn<'_>) -> bool {
        match self.stream.read(&mut memory.chunk) {
            Ok(Received { has_ended: false, has_more, .. }) => return has_more || self.is_read_closed,
            // A peer that sends nothing more may still read what is queued.
            Ok(_) if self.writer.is_waiting() => {}
            Ok(_) => self.ended(None, turn),
            Err(_) => self.broken(turn),
        }
        false
    }

    /// Ends it if its deadline has come.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        if self.writer.deadline(turn.limits).is_some_and(|deadline| deadline <= turn.now) {
            self.broken(turn);
        } else if self.deadline(turn.limits).is_some_and(|deadline| deadline <= turn.now) {
            if matches!(self.phase, Phase::Lingering(_)) {
                // What is queued is given up: otherwise a peer that reads slowly would keep the connection.
                return self.broken(turn);
            }
            let (_, limit) = self.reader.deadline(turn.limits);
            self.announce(CloseReason::Timeout, turn);
            self.ended(Some(limit), turn);
        }
    }

    /// When it is closed unless something happens.
    pub(super) fn deadline(&self, limits: &StreamLimits) -> Option<Instant> {
        match self.phase {
            Phase::Open => {
                let (read, _) = self.reader.deadline(limits);
                Some(self.writer.deadline(limits).map_or(read, |write| write.min(read)))
            }
            Phase::Lingering(until) => Some(until),
            Phase::Ended => None,
        }
    }

    /// Whether data wait for the peer.
    #[cfg(test)]
    pub(super) fn is_waiting(&self) -> bool {
        self.writer.is_waiting()
    }

    /// Tells the peer why the connection is closed, if the framing can.
    pub(super) fn announce(&mut self, reason: CloseReason, turn: &Turn<'_>) {
        if let Some(bytes) = self.writer.close_bytes(reason) {
            // The connection is closed anyway.
            let _ = self.writer.send_bytes(&mut self.stream, &bytes, turn.limits, turn.now);
        }
    }

    /// Ends it when the queue is sent. Returns whether it can be dropped now.
    pub(super) fn close(&mut self, turn: &Turn<'_>) -> bool {
        if matches!(self.phase, Phase::Lingering(_)) {
            return false;
        }
        self.announce(CloseReason::GoingAway, turn);
        self.phase = Phase::Lingering(turn.now + turn.limits.message_timeout);
        !self.writer.is_waiting()
    }

    /// Sends a last message, and then waits a while for the peer to close, so that the message is not lost.
    pub(super) fn send_last(&mut self, bytes: &[u8], turn: &Turn<'_>) {
        if !bytes.is_empty() {
            // An error does not matter, since the connection is closed anyway.
            let _ = self.writer.send(&mut self.stream, bytes, turn.limits, turn.now);
        }
        self.phase = Phase::Lingering(turn.now + turn.limits.message_timeout);
        self.linger(turn);
    }

    fn linger(&mut self, turn: &Turn<'_>) {
        if !self.writer.is_waiting() {
            self.stream.shut_down();
            self.phase = Phase::Lingering(turn.now + LINGER);
        }
    }

    fn ended(&mut self, limit: Option<DriverLimit>, turn: &mut Turn<'_>) {
        self.phase = Phase::Ended;
        if let Some(connection) = self.flow.id.connection() {
            turn.events.push(StreamEvent::Closed { connection, limit });
        }
    }

    /// It has ended, and what is queued cannot be sent.
    fn broken(&mut self, turn: &mut Turn<'_>) {
        self.writer.discard();
        self.ended(None, turn);
    }

    fn failed(&mut self, unread: Option<(Bytes, ParseError)>, turn: &mut Turn<'_>) {
        self.phase = Phase::Ended;
        turn.events.push(StreamEvent::FramingError { flow: self.flow, unread });
    }
}
