//! A connection that is being opened, with the messages that wait for it.
//!
//! Decides how many bytes may wait. Must not choose the connection for a message: see `table`.

use std::sync::Arc;

use bytes::Bytes;
use location::{ConnectionId, Flow};
use proxy::{Hop, Over};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::directory::ConnectionPermit;
use super::limits::StreamLimits;
use super::open::connect;
use crate::tls::ActiveTls;
use crate::transport::{Inbound, OutgoingMessage, UndeliveredMessage};

/// A connection that is being opened.
pub(super) struct OpeningConnection {
    flow: Flow,
    host: Option<Arc<str>>,
    /// Whether its first request can go over UDP instead, so that a failure is not an error.
    instead_of_udp: bool,
    waiting: Vec<WaitingMessage>,
    queued_bytes: usize,
    permit: ConnectionPermit,
    task: AbortHandle,
}

/// A message that waits, with the worker that gets it back if it cannot be sent.
pub(super) type WaitingMessage = (Bytes, Option<u8>);

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
        let mut opening = Self { flow, host, instead_of_udp, waiting, queued_bytes: 0, permit, task };
        opening.push(first);
        opening
    }

    /// Its addresses and id.
    pub(super) const fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Ends the attempt.
    pub(super) fn abort(&self) {
        self.task.abort();
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

    /// The connection is open: what it was opened for.
    pub(super) fn opened(self) -> (Flow, Option<Arc<str>>, ConnectionPermit, Vec<WaitingMessage>) {
        (self.flow, self.host, self.permit, self.waiting)
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

/// Those to report.
pub(super) fn undelivered(waiting: Vec<WaitingMessage>) -> Vec<UndeliveredMessage> {
    let reported = |(bytes, worker): WaitingMessage| Some(UndeliveredMessage { worker: worker?, bytes });
    waiting.into_iter().filter_map(reported).collect()
}
