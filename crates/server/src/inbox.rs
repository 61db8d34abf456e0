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
use proxy::{CoreMessage, Hop, Settings};
use smallvec::SmallVec;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use crate::metrics::Cap;
use crate::transport::Admission;

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
        admission: Admission,
    },
    /// A connection of ours is open, or is not going to be.
    Connected {
        /// Its number.
        connection: u64,
        /// The connection.
        outcome: io::Result<TcpStream>,
    },
    /// A connection sent something that is no SIP, or SIP without length: it cannot go on.
    Broken {
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
    Capped(Cap),
    /// Another worker sends over a connection of ours.
    Relay(Box<Relay>),
    /// Another worker could not send this, which we gave it.
    Undelivered(Bytes),
    /// Another worker's core says something to ours.
    Letter(CoreMessage),
    /// DNS has answered; `None` if it has not.
    Resolved {
        /// Whose question.
        id: u64,
        /// The addresses of each name.
        addresses: Option<Addresses>,
    },
    /// Is it alive?
    Pulse(u64),
    /// The configuration has changed; to be told when the worker decides by it.
    Reconfigure(Arc<Settings>, oneshot::Sender<()>),
}

/// Addresses in order of preference, for each name asked.
pub(crate) type Addresses = SmallVec<[SmallVec<[SocketAddr; 2]>; 1]>;

/// A message for a connection of another worker.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where to.
    pub(crate) hop: Hop,
    /// The message.
    pub(crate) text: Bytes,
    /// The worker that wants it back if it cannot be sent.
    pub(crate) concerned: Option<u8>,
    /// For how long its peer may be silent from then on.
    pub(crate) silence: Option<Duration>,
}

/// A message that could not be sent, on its way back to the worker that wants to know.
#[derive(Clone, Debug)]
pub(crate) struct Returned {
    /// The worker.
    pub(crate) worker: u8,
    /// The message.
    pub(crate) text: Bytes,
}

/// What became of a commit that waited for the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Safety {
    /// It is on the disk.
    Safe,
    /// The disk is full.
    Full,
    /// It could not be written.
    Lost,
}

/// Commits that have become safe, or have not. Bounded by the commits that the worker has pending.
#[derive(Debug, Default)]
pub(crate) struct Completions {
    list: Mutex<Vec<(u64, Safety)>>,
    wake: Notify,
}

impl Completions {
    /// Adds one; [`Completions::announce`] when all of a group are in.
    pub(crate) fn push(&self, id: u64, safety: Safety) {
        self.list.lock().push((id, safety));
    }

    /// Wakes the worker if there is anything for it.
    pub(crate) fn announce(&self) {
        if !self.list.lock().is_empty() {
            self.wake.notify_one();
        }
    }

    /// Waits for the next announcement.
    pub(crate) async fn announced(&self) {
        self.wake.notified().await;
    }

    /// Takes all of them; `into` is empty before.
    pub(crate) fn take(&self, into: &mut Vec<(u64, Safety)>) {
        std::mem::swap(&mut *self.list.lock(), into);
    }
}
