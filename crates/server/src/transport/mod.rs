//! The transports: messages from sockets to the core and from the core to peers (RFC 3261 18).
//!
//! Decides by the hop which socket or connection sends. A new transport is a file here and an arm of
//! [`Transports::send`]. Must not look into messages.

mod arena;
mod bind;
mod inbox;
mod outgoing;
mod stream;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use parser::Transport;
use proxy::{Instant, Over};

use crate::metrics::{Loss, Tally};
use crate::trace::Tap;

pub(crate) use bind::{BoundListener, WorkerSocket, bind_all};
pub(crate) use inbox::{Inbound, ResolvedNames};
pub(crate) use outgoing::{OutgoingMessage, SendRequest, UndeliveredMessage};
pub(crate) use stream::{
    Acceptor, ClientRules, Directory, HandshakeLimits, PageReply, Pages, StreamEvent, StreamLimits, Streams,
};
pub(crate) use udp::{Datagram, Udp, UdpReceiver, UdpSendQueue, report_icmp};

/// The sockets and connections of one worker.
pub(crate) struct Transports {
    /// One socket for each UDP listener.
    pub(crate) udp: Vec<Udp>,
    /// Datagrams to send.
    pub(crate) udp_send_queue: UdpSendQueue,
    /// The stream connections.
    pub(crate) streams: Streams,
    /// Gets copies of messages for traces.
    pub(crate) tap: Arc<Tap>,
}

impl Transports {
    /// Queues a message for [`flush`](Self::flush). A failure that is found later, at the flush or when a connection cannot
    /// be opened, is reported to the worker `report_to`.
    pub(crate) fn send(&mut self, message: &OutgoingMessage<'_>) -> Result<(), Loss> {
        let hop = message.hop;
        match hop.transport {
            // The node that holds the flow is gone.
            _ if matches!(hop.over, Over::Elsewhere(_)) => Err(Loss::ConnectionFailed),
            Transport::Udp => {
                let match_score = |(index, udp): (usize, &Udp)| Some((udp.match_score(hop.local)?, index));
                let best = self.udp.iter().enumerate().filter_map(match_score).max();
                let (_, index) = best.ok_or(Loss::NoTransport)?;
                if !self.udp_send_queue.push(index, hop, message.bytes, message.report_to.is_some()) {
                    return Err(Loss::Unsendable);
                }
                self.tap.sent(message.bytes, || {
                    let port = self.udp.get(index)?.port();
                    Some((Transport::Udp, SocketAddr::new(hop.local.ip(), port), hop.remote))
                });
                Ok(())
            }
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                self.streams.send(message);
                Ok(())
            }
        }
    }

    /// Whether the queues have to be flushed before anything is added.
    pub(crate) const fn is_full(&self) -> bool {
        self.udp_send_queue.is_full() || self.streams.is_full()
    }

    /// Sends the queued messages. Undelivered ones with `report_to` are appended to `failed`.
    pub(crate) fn flush(&mut self, now: Instant, failed: &mut Vec<Bytes>, tally: &mut Tally) {
        self.udp_send_queue.flush(&self.udp, failed, tally);
        self.streams.flush(now, failed, tally);
    }
}
