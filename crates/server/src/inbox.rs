//! The inbox of a worker: one bounded channel for everything but datagrams and completions of commits.
//!
//! Connections wait for room, so that TCP slows down their peers. Workers never wait for each other: a message that
//! finds no room is dropped and counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use location::{ConnectionId, Flow};
use parking_lot::Mutex;
use parser::ParseError;
use proxy::{CoreMessage, Hop, Settings};
use smallvec::SmallVec;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use crate::directory::ConnectionPermit;
use crate::metrics::DriverLimit;

/// An item in the inbox.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// A message was received over a connection.
    Message {
        /// The message.
        bytes: Bytes,
        /// Its addresses and connection.
        flow: Flow,
    },
    /// A peer opened a connection.
    Accepted {
        /// The connection.
        stream: TcpStream,
        /// The peer.
        remote: SocketAddr,
        /// Counts the connection.
        permit: ConnectionPermit,
    },
    /// The attempt to open a connection has ended.
    Connected {
        /// Its id.
        connection: ConnectionId,
        /// The connection.
        outcome: io::Result<TcpStream>,
    },
    /// A connection sent data without a recognisable message boundary: it has to be closed.
    FramingError {
        /// Its addresses and connection id.
        flow: Flow,
        /// The received data.
        head: Bytes,
        /// The error.
        error: ParseError,
    },
    /// A connection has ended.
    Closed {
        /// Its id.
        connection: ConnectionId,
        /// The limit that ended it.
        limit: Option<DriverLimit>,
    },
    /// A connection sent a keep-alive.
    Ping {
        /// Its addresses and connection id.
        flow: Flow,
        /// Whether the response could not be sent.
        refused: bool,
    },
    /// A limit was reached elsewhere.
    LimitReached(DriverLimit),
    /// Another worker sends over a connection of this worker.
    Send(Box<SendRequest>),
    /// Another worker could not send this message of this worker.
    Undelivered(Bytes),
    /// A message from the core of another worker.
    CoreMessage(CoreMessage),
    /// DNS has answered; `None`: no answer in time.
    Resolved {
        /// The question.
        id: u64,
        /// The addresses of each name.
        addresses: Option<Addresses>,
    },
    /// A health check, to be answered with its number.
    HealthCheck(u64),
    /// The configuration has changed. The sender is used once the worker applies it.
    Reconfigure(Arc<Settings>, oneshot::Sender<()>),
}

/// Addresses in order of preference, for each name asked.
pub(crate) type Addresses = SmallVec<[SmallVec<[SocketAddr; 2]>; 1]>;

/// A message to send over a connection of another worker.
#[derive(Debug)]
pub(crate) struct SendRequest {
    /// The destination.
    pub(crate) hop: Hop,
    /// The message.
    pub(crate) bytes: Bytes,
    /// The worker that gets the message back if it cannot be sent.
    pub(crate) report_to: Option<u8>,
    /// From then on the connection is closed if nothing is received for this long.
    pub(crate) flow_timeout: Option<Duration>,
}

/// A message that could not be sent, with the worker to report it to.
#[derive(Clone, Debug)]
pub(crate) struct UndeliveredMessage {
    /// The worker.
    pub(crate) worker: u8,
    /// The message.
    pub(crate) bytes: Bytes,
}

/// The outcome of a commit that waited for the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CommitOutcome {
    /// It is on disk.
    Durable,
    /// The disk is full.
    DiskFull,
    /// It could not be written.
    Failed,
}

/// Outcomes of commits of one worker. Bounded by the pending commits of the worker.
#[derive(Debug, Default)]
pub(crate) struct Completions {
    list: Mutex<Vec<(u64, CommitOutcome)>>,
    wake: Notify,
}

impl Completions {
    /// Adds an outcome. [`Completions::notify`] follows when a whole group has been added.
    pub(crate) fn push(&self, id: u64, outcome: CommitOutcome) {
        self.list.lock().push((id, outcome));
    }

    /// Wakes the worker if there are outcomes.
    pub(crate) fn notify(&self) {
        if !self.list.lock().is_empty() {
            self.wake.notify_one();
        }
    }

    /// Waits for the next notification.
    pub(crate) async fn notified(&self) {
        self.wake.notified().await;
    }

    /// Takes all of them; `outcomes` is empty before.
    pub(crate) fn take_all(&self, outcomes: &mut Vec<(u64, CommitOutcome)>) {
        std::mem::swap(&mut *self.list.lock(), outcomes);
    }
}
