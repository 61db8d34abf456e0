//! The transports: messages in from sockets, messages out to peers (RFC 3261 18).
//!
//! Decides by the hop which socket or connection sends. A new transport is a file here and an arm of
//! [`Transports::send`]. Must not look into messages.

mod bind;
mod codec;
mod directory;
mod outgoing;
mod reader;
mod streams;
mod stun;
mod udp;

use parser::Transport;

use crate::metrics::{Loss, Tally};

pub(crate) use bind::{Bound, Sockets, bind};
pub(crate) use directory::{Admission, Directory};
pub(crate) use reader::{Patience, accept};
pub(crate) use streams::{Letter, StreamLimits, Streams};
pub(crate) use udp::{Datagram, Inlet, Udp};

/// All that one worker can send over.
pub(crate) struct Transports {
    /// One for each UDP listener.
    pub(crate) udp: Vec<Udp>,
    /// All connections.
    pub(crate) streams: Streams,
}

impl Transports {
    /// Sends a message. Who is concerned is told later if a connection has to be made first and cannot be.
    pub(crate) fn send(&mut self, letter: Letter<'_>, tally: &mut Tally) -> Result<(), Loss> {
        let hop = letter.hop;
        match hop.transport {
            Transport::Udp => {
                let fittest = self.udp.iter().filter_map(|udp| Some((udp.fitness(hop.local)?, udp)));
                let (_, udp) = fittest.max_by_key(|(fitness, _)| *fitness).ok_or(Loss::NoTransport)?;
                udp.send(hop, letter.text)
            }
            Transport::Tcp => self.streams.send(letter, tally),
            Transport::Tls | Transport::Ws | Transport::Wss => Err(Loss::NoTransport),
        }
    }
}
