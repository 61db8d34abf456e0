//! What waits for a worker: one bounded channel for everything but datagrams and store completions.
//!
//! Connections wait for room (so TCP slows their peers down); workers never wait for one another, what finds no room is
//! dropped and counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use location::Flow;
use parking_lot::Mutex;
use parser::ParseError;
use proxy::{Hop, Letter, Settings};
use smallvec::SmallVec;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use crate::metrics::Cap;
use crate::transport::ConnectionPermit;

/// One thing for a worker to do.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// A message came over a connection.
    Message {
        /// Its octets.
        bytes: Bytes,
        /// Its way.
        flow: Flow,
    },
    /// A peer opened a connection.
    Accepted {
        /// The connection.
        stream: TcpStream,
        /// The peer.
        remote: SocketAddr,
        /// Its place among the connections.
        permit: ConnectionPermit,
    },
    /// A connection of ours is open, or is not going to be.
    Connected {
        /// Its number.
        connection: u64,
        /// The connection.
        outcome: io::Result<TcpStream>,
    },
    /// A connection sent something that is no SIP, or SIP without length: it cannot go on.
    FramingError {
        /// Its addresses and number.
        flow: Flow,
        /// What came.
        head: Bytes,
        /// What is wrong with it.
        error: ParseError,
    },
    /// A connection has ended.
    Closed {
        /// Its number.
        connection: u64,
        /// The cap that ended it.
        cap: Option<Cap>,
    },
    /// A connection sent a keep-alive.
    Ping {
        /// Its addresses and number.
        flow: Flow,
        /// The answer could not be sent.
        refused: bool,
    },
    /// A cap took effect elsewhere.
    CapReached(Cap),
    /// Another worker sends over a connection of ours.
    Send(Box<SendRequest>),
    /// Another worker could not send this, which we gave it.
    Undelivered(Bytes),
    /// Another worker's core says something to ours.
    CoreMessage(Letter),
    /// DNS has answered; `None` if it has not.
    Resolved {
        /// Whose question.
        id: u64,
        /// The addresses of each name.
        addresses: Option<Addresses>,
    },
    /// Is it alive?
    HealthCheck(u64),
    /// The configuration has changed; to be told when the worker decides by it.
    Reconfigure(Arc<Settings>, oneshot::Sender<()>),
}

/// Addresses in order of preference, for each name asked.
pub(crate) type Addresses = SmallVec<[SmallVec<[SocketAddr; 2]>; 1]>;

/// A message for a connection of another worker.
#[derive(Debug)]
pub(crate) struct SendRequest {
    /// Where to.
    pub(crate) hop: Hop,
    /// The message.
    pub(crate) bytes: Bytes,
    /// The worker that wants it back if it cannot be sent.
    pub(crate) report_to: Option<u8>,
    /// For how long its peer may be silent from then on.
    pub(crate) flow_timeout: Option<Duration>,
}

/// A message that could not be sent, on its way back to the worker that wants to know.
#[derive(Clone, Debug)]
pub(crate) struct UndeliveredMessage {
    /// The worker.
    pub(crate) worker: u8,
    /// The message.
    pub(crate) bytes: Bytes,
}

/// What became of a commit that waited for the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CommitOutcome {
    /// It is on the disk.
    Durable,
    /// The disk is full.
    DiskFull,
    /// It could not be written.
    Failed,
}

/// Commits that have become safe, or have not. Bounded by the commits that the worker has pending.
#[derive(Debug, Default)]
pub(crate) struct Completions {
    list: Mutex<Vec<(u64, CommitOutcome)>>,
    wake: Notify,
}

impl Completions {
    /// Adds one; [`Completions::notify`] when all of a group are in.
    pub(crate) fn push(&self, id: u64, outcome: CommitOutcome) {
        self.list.lock().push((id, outcome));
    }

    /// Wakes the worker if there is anything for it.
    pub(crate) fn notify(&self) {
        if !self.list.lock().is_empty() {
            self.wake.notify_one();
        }
    }

    /// Waits for the next announcement.
    pub(crate) async fn notified(&self) {
        self.wake.notified().await;
    }

    /// Takes all of them; `outcomes` is empty before.
    pub(crate) fn take_all(&self, outcomes: &mut Vec<(u64, CommitOutcome)>) {
        std::mem::swap(&mut *self.list.lock(), outcomes);
    }
}
