//! One NOTIFY and its client transaction, and what the end of it means for the subscription (RFC 3261 17.1.2, RFC
//! 6665 4.2.2).
//!
//! Must not know what the NOTIFY reports.

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
pub(super) enum NotifyEnd {
    /// The subscriber has its content.
    Accepted,
    /// Its content is lost, but the subscription continues.
    Refused,
    /// The subscriber does not know the subscription, or cannot be reached.
    SubscriptionGone,
}

impl Notify {
    /// A NOTIFY that has just been sent.
    pub(super) fn sent(sequence: u32, hop: Hop, text: &[u8], timers: &Timers, now: Instant) -> Self {
        let client = ClientOther::new(hop.transport.is_reliable(), timers, now);
        Self { sequence, hop, text: Bytes::copy_from_slice(text), client }
    }

    /// Whether it has this CSeq number.
    pub(super) const fn is(&self, sequence: u32) -> bool {
        self.sequence == sequence
    }

    /// Whether a response may come over this flow: from the host that the NOTIFY was sent to.
    pub(super) fn may_be_answered_from(&self, source: &Flow) -> bool {
        let same_host = self.hop.transport == source.transport && self.hop.remote.ip() == source.remote.ip();
        same_host || self.hop.is_source_of(source)
    }

    /// Processes a response. Returns the end of the NOTIFY if it is the first final one.
    pub(super) fn on_response(&mut self, response: &Message, timers: &Timers, now: Instant) -> Option<NotifyEnd> {
        let status = response.status().unwrap_or_default();
        match self.client.receive(status, self.hop.transport.is_reliable(), timers, now) {
            ClientEvent::Success => Some(NotifyEnd::Accepted),
            ClientEvent::Failure if ends_subscription(status) => Some(NotifyEnd::SubscriptionGone),
            ClientEvent::Failure => Some(NotifyEnd::Refused),
            _ => None,
        }
    }

    /// Retransmits the NOTIFY. Returns its end if there was no response in time.
    pub(super) fn timeout(&mut self, context: &mut Context<'_>) -> Option<NotifyEnd> {
        match self.client.timeout(context.now.mono) {
            TimerAction::Resend => context.outbox.resend(&self.hop, true, &self.text),
            TimerAction::TimedOut => return Some(NotifyEnd::SubscriptionGone),
            TimerAction::Nothing => {}
        }
        None
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.client.deadline()
    }
}

/// Whether this status ends the subscription (RFC 6665 4.2.2). The notifier has no credentials and follows no
/// redirection.
const fn ends_subscription(status: u16) -> bool {
    matches!(status, 300..=399 | 401 | 403..=405 | 407 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}
