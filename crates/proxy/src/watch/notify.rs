//! One NOTIFY on its way: its transaction, and what its end means to the subscription (RFC 3261 17.1.2, RFC 6665 4.2.2).

use bytes::Bytes;
use location::Flow;
use parser::Message;

use crate::clock::Instant;
use crate::context::Context;
use crate::hop::Hop;
use crate::settings::Timers;
use crate::transaction::{ClientEvent, ClientOther, TimerAction};

/// A NOTIFY that has no final response yet.
#[derive(Debug)]
pub(super) struct Notify {
    sequence: u32,
    hop: Hop,
    text: Bytes,
    client: ClientOther,
}

/// How a NOTIFY has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// What it says has arrived.
    Well,
    /// What it says is lost.
    Badly,
    /// And so is its subscription.
    ForGood,
}

impl Notify {
    /// It has just been sent.
    pub(super) fn sent(sequence: u32, hop: Hop, text: &[u8], timers: &Timers, now: Instant) -> Self {
        let client = ClientOther::new(hop.transport.is_reliable(), timers, now);
        Self { sequence, hop, text: Bytes::copy_from_slice(text), client }
    }

    /// Whether it is this one.
    pub(super) const fn is(&self, sequence: u32) -> bool {
        self.sequence == sequence
    }

    /// Whether a response to it may come over this flow: from the host that it went to.
    pub(super) fn is_answered_from(&self, source: &Flow) -> bool {
        let same_host = self.hop.transport == source.transport && self.hop.remote.ip() == source.remote.ip();
        same_host || self.hop.is_source_of(source)
    }

    /// What a response to it means; none if it is no final one.
    pub(super) fn heard(&mut self, response: &Message, timers: &Timers, now: Instant) -> Option<Ended> {
        let status = response.status().unwrap_or_default();
        match self.client.receive(status, self.hop.transport.is_reliable(), timers, now) {
            ClientEvent::Success => Some(Ended::Well),
            ClientEvent::Failure if ends_subscription(status) => Some(Ended::ForGood),
            ClientEvent::Failure => Some(Ended::Badly),
            _ => None,
        }
    }

    /// Does what is due; the end, if that has come.
    pub(super) fn timeout(&mut self, context: &mut Context<'_>) -> Option<Ended> {
        match self.client.timeout(context.now.mono) {
            TimerAction::Resend => context.outbox.resend(&self.hop, true, &self.text),
            TimerAction::TimedOut => return Some(Ended::ForGood),
            TimerAction::Nothing => {}
        }
        None
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.client.deadline()
    }
}

/// RFC 6665 4.2.2. A challenge is not met, and a redirection not followed.
const fn ends_subscription(status: u16) -> bool {
    matches!(status, 300..=399 | 401 | 403..=405 | 407 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}
