//! One connection in the table of its worker: one that is being opened, with the messages that wait for it, or an open
//! one.
//!
//! Decides how many bytes may wait. Must not choose the connection for a message: see `table`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use location::{ConnectionId, Flow};
use proxy::{Hop, Over};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::directory::{ConnectionPermit, Peer};
use super::framing::{self, CloseReason};
use super::layer::ByteStream;
use super::limits::StreamLimits;
use super::open::connect;
use super::reader::ConnectionReader;
use super::writer::{ConnectionWriter, WriteError};
use crate::tls::ActiveTls;
use crate::transport::{Inbound, OutgoingMessage, UndeliveredMessage};

/// A connection.
pub(super) enum Connection {
    /// It is being opened. In a box, because there are few of them, and an open connection needs less memory.
    Opening(Box<OpeningConnection>),
    /// It is open.
    Open(OpenConnection),
}

/// A connection that is being opened.
pub(super) struct OpeningConnection {
    connection: ConnectionId,
    flow: Flow,
    host: Option<Arc<str>>,
    /// Whether its first request can go over UDP instead, so that a failure is not an error.
    instead_of_udp: bool,
    waiting: Vec<(Bytes, Option<u8>)>,
    queued_bytes: usize,
    permit: ConnectionPermit,
    task: AbortHandle,
}

/// An open connection.
pub(super) struct OpenConnection {
    host: Option<Arc<str>>,
    /// Where requests that may use it lead to, if its peer has opened it.
    aliases: Aliases,
    writer: Arc<ConnectionWriter>,
    reader: AbortHandle,
}

/// The requests that may use a connection which its peer has opened (RFC 5923 8.2).
#[derive(Debug, Default)]
struct Aliases {
    /// The hosts that the peer has proved to be; none without a certificate.
    hosts: Vec<Arc<str>>,
    /// The port that the peer has offered.
    port: Option<u16>,
}

impl Connection {
    /// Its addresses and id.
    pub(super) fn flow(&self) -> &Flow {
        match self {
            Self::Opening(opening) => &opening.flow,
            Self::Open(open) => open.writer.flow(),
        }
    }

    /// The host that the peer has to be, or has proved to be (RFC 5922 7.3). `None`: none.
    pub(super) fn host(&self) -> Option<&Arc<str>> {
        match self {
            Self::Opening(opening) => opening.host.as_ref(),
            Self::Open(open) => open.host.as_ref(),
        }
    }

    /// The peers of its alias.
    pub(super) fn aliases(&self) -> impl Iterator<Item = Peer> {
        let open = if let Self::Open(open) = self { Some(open) } else { None };
        open.into_iter().flat_map(OpenConnection::peers)
    }

    /// Tells the peer that the connection is closed, if its framing can.
    pub(super) fn announce_close(&self) {
        if let Self::Open(open) = self {
            open.writer.close(CloseReason::GoingAway);
        }
    }

    /// Ends its task: the attempt to open it, or its reader.
    pub(super) fn abort(&self) {
        match self {
            Self::Opening(opening) => opening.task.abort(),
            Self::Open(open) => open.reader.abort(),
        }
    }
}

impl OpeningConnection {
    /// Opens a connection for this message. The outcome goes to the inbox.
    pub(super) fn start(
        connection: ConnectionId,
        flow: Flow,
        permit: ConnectionPermit,
        first: &OutgoingMessage<'_>,
        (limits, tls): (&StreamLimits, Arc<ActiveTls>),
        inbox: mpsc::Sender<Inbound>,
    ) -> Self {
        let instead_of_udp = first.hop.over == Over::InsteadOfUdp;
        let limit = if instead_of_udp { limits.brief_connect_timeout } else { limits.connect_timeout };
        let silence = limits.silence;
        let limit = silence.map_or(limit, |silence| silence.min(limit));
        let host = host_of(first.hop).cloned();
        let expected = host.clone();
        let task = tokio::spawn(async move {
            let outcome = connect(flow, expected, tls, (limit, silence)).await;
            let _ = inbox.send(Inbound::Connected { connection, outcome }).await;
        });
        let (waiting, task) = (Vec::new(), task.abort_handle());
        let mut opening = Self { connection, flow, host, instead_of_udp, waiting, queued_bytes: 0, permit, task };
        opening.push(first);
        opening
    }

    /// Its addresses and id.
    pub(super) const fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The host that the peer has to be.
    pub(super) const fn host(&self) -> Option<&Arc<str>> {
        self.host.as_ref()
    }

    /// Whether its first request can go over UDP instead.
    pub(super) const fn is_instead_of_udp(&self) -> bool {
        self.instead_of_udp
    }

    /// Queues a message; false if there is no room for it.
    pub(super) fn queue(&mut self, message: &OutgoingMessage<'_>, max_queue: usize) -> bool {
        let has_room = self.queued_bytes + message.bytes.len() <= max_queue;
        if has_room {
            self.push(message);
        }
        has_room
    }

    fn push(&mut self, message: &OutgoingMessage<'_>) {
        self.queued_bytes += message.bytes.len();
        self.waiting.push((Bytes::copy_from_slice(message.bytes), message.report_to));
    }

    /// The number of messages that wait.
    pub(super) const fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// The connection is open: sends the messages that wait, or returns those to report if that fails.
    pub(super) fn opened(
        self,
        stream: ByteStream,
        limits: &StreamLimits,
        inbox: mpsc::Sender<Inbound>,
    ) -> (OpenConnection, Result<(), Vec<UndeliveredMessage>>) {
        let Self { connection, flow, host, waiting, permit, .. } = self;
        let open = OpenConnection::start(stream, connection, flow, permit, limits, inbox, None);
        let open = OpenConnection { host, ..open };
        let is_sent = waiting.iter().all(|(bytes, _)| open.writer.send(bytes).is_ok());
        (open, if is_sent { Ok(()) } else { Err(undelivered(waiting)) })
    }

    /// The connection could not be opened: the messages to report.
    pub(super) fn failed(self) -> Vec<UndeliveredMessage> {
        undelivered(self.waiting)
    }
}

/// The host that the peer of a new connection has to be.
pub(super) const fn host_of(hop: &Hop) -> Option<&Arc<str>> {
    match &hop.over {
        Over::Host(host) => Some(host),
        Over::Address | Over::InsteadOfUdp | Over::Connection(_) | Over::ConnectionOnly(_) | Over::Elsewhere(_) => None,
    }
}

fn undelivered(waiting: Vec<(Bytes, Option<u8>)>) -> Vec<UndeliveredMessage> {
    let reported = |(bytes, worker): (Bytes, Option<u8>)| Some(UndeliveredMessage { worker: worker?, bytes });
    waiting.into_iter().filter_map(reported).collect()
}

impl OpenConnection {
    /// Starts the reader. `received`: if the peer opened the connection, what it has sent after the handshake.
    pub(super) fn start(
        stream: ByteStream,
        connection: ConnectionId,
        flow: Flow,
        permit: ConnectionPermit,
        limits: &StreamLimits,
        inbox: mpsc::Sender<Inbound>,
        received: Option<Bytes>,
    ) -> Self {
        let (read_half, write_half) = stream.into_split();
        let (decoder, encoder) = framing::framing(flow.transport, limits.max_message);
        let writer = ConnectionWriter::new(write_half, encoder, limits, (connection, flow), inbox.clone());
        let reader = ConnectionReader {
            read_half,
            writer: Arc::clone(&writer),
            connection,
            inbox,
            expects_first_message: received.is_some(),
            received: received.unwrap_or_default(),
            permit,
        };
        let reader = tokio::spawn(reader.run(decoder)).abort_handle();
        Self { host: None, aliases: Aliases::default(), writer, reader }
    }

    /// The same, whose peer has proved to be these hosts.
    pub(super) fn with_hosts(self, hosts: Vec<Arc<str>>) -> Self {
        Self { aliases: Aliases { hosts, port: None }, ..self }
    }

    /// Its peer offers it for requests to this port. Returns where they lead to: to the address of the peer, as a host
    /// that it has proved to be. The first port counts.
    pub(super) fn offer(&mut self, port: u16) -> Vec<Peer> {
        self.aliases.port.get_or_insert(port);
        self.peers().collect()
    }

    fn peers(&self) -> impl Iterator<Item = Peer> {
        let Aliases { hosts, port } = &self.aliases;
        let Flow { transport, remote, .. } = *self.writer.flow();
        port.iter().flat_map(move |port| {
            let remote = SocketAddr::new(remote.ip(), *port);
            hosts.iter().map(move |host| Peer { transport, remote, host: Some(Arc::clone(host)) })
        })
    }

    /// Sends a message.
    pub(super) fn send(&self, message: &OutgoingMessage<'_>) -> Result<(), WriteError> {
        // A peer that only waits for a response may already have closed its side: data sent then is lost without an
        // error.
        if message.report_to.is_some() && self.writer.is_peer_closed() {
            return Err(WriteError::Broken);
        }
        self.writer.send(message.bytes)?;
        message.flow_timeout.into_iter().for_each(|timeout| self.writer.signals().set_flow_timeout(timeout));
        Ok(())
    }

    /// Sends a message and gives up the connection. Its reader continues for a while, so that the message is not lost.
    pub(super) fn send_last(self, bytes: &[u8]) {
        // An error does not matter, since the connection is closed anyway.
        let _ = bytes.is_empty() || self.writer.send(bytes).is_ok();
    }
}
