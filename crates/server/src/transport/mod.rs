//! The transports: messages in from sockets, messages out to peers (RFC 3261 18).
//!
//! Decides by the hop which socket or connection sends. A new transport is a file here and an arm of
//! [`Transports::send`]. Must not look into messages.

mod bind;
mod codec;
mod directory;
mod outgoing;
mod outlet;
mod reader;
mod streams;
mod stun;
mod udp;

use bytes::Bytes;
use parser::Transport;

use crate::metrics::{Loss, Tally};

pub(crate) use bind::{Bound, Sockets, bind};
pub(crate) use directory::{Admission, Directory};
pub(crate) use outlet::Outlet;
pub(crate) use reader::{Patience, accept};
pub(crate) use streams::{Letter, StreamLimits, Streams};
pub(crate) use udp::{Datagram, Inlet, Udp};

/// All that one worker can send over.
pub(crate) struct Transports {
    /// One for each UDP listener.
    pub(crate) udp: Vec<Udp>,
    /// What they have to send.
    pub(crate) outlet: Outlet,
    /// All connections.
    pub(crate) streams: Streams,
}

impl Transports {
    /// Sends a message, or keeps it for [`flush`](Self::flush). Who is concerned is told later if it could not be sent,
    /// or if a connection has to be made first and cannot be.
    pub(crate) fn send(&mut self, letter: Letter<'_>, tally: &mut Tally) -> Result<(), Loss> {
        let hop = letter.hop;
        match hop.transport {
            Transport::Udp => {
                let fitness = |(index, udp): (usize, &Udp)| Some((udp.fitness(hop.local)?, index));
                let fittest = self.udp.iter().enumerate().filter_map(fitness).max();
                let (_, socket) = fittest.ok_or(Loss::NoTransport)?;
                self.outlet.push(socket, hop, letter.text, letter.concerned.is_some());
                Ok(())
            }
            Transport::Tcp => self.streams.send(letter, tally),
            Transport::Tls | Transport::Ws | Transport::Wss => Err(Loss::NoTransport),
        }
    }

    /// Sends what was kept. What could not be sent and concerns the worker is appended to `failed`.
    pub(crate) fn flush(&mut self, failed: &mut Vec<Bytes>, tally: &mut Tally) {
        self.outlet.flush(&self.udp, failed, tally);
    }
}
