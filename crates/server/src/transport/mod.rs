//! The transports: messages in from sockets, messages out to peers (RFC 3261 18).
//!
//! Decides by the hop which socket or connection sends. A new transport is a file here and an arm of
//! [`Transports::send`]. Must not look into messages.

mod bind;
mod codec;
mod directory;
mod reader;
mod streams;
mod stun;
mod udp;
mod udp_send_queue;
mod writer;

use bytes::Bytes;
use parser::Transport;

use crate::metrics::{Loss, Tally};

pub(crate) use bind::{BoundListener, WorkerSocket, bind};
pub(crate) use directory::{ConnectionPermit, Directory};
pub(crate) use reader::{ReadLimits, accept};
pub(crate) use streams::{OutgoingMessage, StreamLimits, Streams};
pub(crate) use udp::{Datagram, Udp, UdpReceiver};
pub(crate) use udp_send_queue::UdpSendQueue;

/// All that one worker can send over.
pub(crate) struct Transports {
    /// One for each UDP listener.
    pub(crate) udp: Vec<Udp>,
    /// What they have to send.
    pub(crate) udp_send_queue: UdpSendQueue,
    /// All connections.
    pub(crate) streams: Streams,
}

impl Transports {
    /// Sends a message, or keeps it for [`flush`](Self::flush). Who is concerned is told later if it could not be sent,
    /// or if a connection has to be made first and cannot be.
    pub(crate) fn send(&mut self, message: OutgoingMessage<'_>, tally: &mut Tally) -> Result<(), Loss> {
        let hop = message.hop;
        match hop.transport {
            Transport::Udp => {
                let match_score = |(index, udp): (usize, &Udp)| Some((udp.match_score(hop.local)?, index));
                let best = self.udp.iter().enumerate().filter_map(match_score).max();
                let (_, socket) = best.ok_or(Loss::NoTransport)?;
                self.udp_send_queue.push(socket, hop, message.bytes, message.report_to.is_some());
                Ok(())
            }
            Transport::Tcp => self.streams.send(message, tally),
            Transport::Tls | Transport::Ws | Transport::Wss => Err(Loss::NoTransport),
        }
    }

    /// Sends what was kept. What could not be sent and concerns the worker is appended to `failed`.
    pub(crate) fn flush(&mut self, failed: &mut Vec<Bytes>, tally: &mut Tally) {
        self.udp_send_queue.flush(&self.udp, failed, tally);
    }
}
