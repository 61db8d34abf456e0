//! One NOTIFY and its client transaction, and what the end of it means for the subscription (RFC 3261 17.1.2, RFC
//! 6665 4.2.2). One that is too long for UDP is sent over TCP, and over UDP if nobody accepts it there (RFC 3261 18.1.1).
//!
//! Must not know what the NOTIFY reports.

use bytes::Bytes;
use location::Flow;
use parser::Message;

use crate::clock::Instant;
use crate::context::Context;
use crate::hop::Hop;
use crate::large;
use crate::settings::Timers;
use crate::transaction::{ClientEvent, ClientOther, TimerAction, sooner};

/// A NOTIFY that has no final response yet.
#[derive(Debug)]
pub(super) struct Notify {
    sequence: u32,
    hop: Hop,
    text: Bytes,
    client: ClientOther,
    /// Its form for UDP, while it is sent over TCP because of its length.
    over_udp: Option<Box<OverUdp>>,
}

/// A NOTIFY as it is sent over UDP if TCP is refused.
#[derive(Debug)]
pub(super) struct OverUdp {
    pub(super) hop: Hop,
    pub(super) text: Bytes,
    /// When it is sent if there is no response until then.
    pub(super) at: Instant,
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
        Self { sequence, hop, text: Bytes::copy_from_slice(text), client, over_udp: None }
    }

    /// The same, sent over TCP because of its length.
    pub(super) fn or_over_udp(self, over_udp: OverUdp) -> Self {
        Self { over_udp: Some(Box::new(over_udp)), ..self }
    }

    /// Its form for UDP, to be sent at this moment if there is no response over TCP.
    pub(super) fn into_over_udp(self, at: Instant) -> OverUdp {
        OverUdp { hop: self.hop, text: self.text, at }
    }

    /// Sends the NOTIFY over UDP if it was sent over TCP because of its length. False if it was not.
    pub(super) fn send_over_udp(&mut self, context: &mut Context<'_>) -> bool {
        let Some(over_udp) = self.over_udp.take() else { return false };
        let (settings, now) = (context.settings, context.now.mono);
        large::record_refusal(&self.hop, settings, context);
        (self.hop, self.text) = (over_udp.hop, over_udp.text);
        self.client = ClientOther::new(false, &settings.timers, now);
        context.outbox.resend(&self.hop, true, &self.text);
        true
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
        self.over_udp = None;
        match self.client.receive(status, self.hop.transport.is_reliable(), timers, now) {
            ClientEvent::Success => Some(NotifyEnd::Accepted),
            ClientEvent::Failure if ends_subscription(status) => Some(NotifyEnd::SubscriptionGone),
            ClientEvent::Failure => Some(NotifyEnd::Refused),
            _ => None,
        }
    }

    /// Retransmits the NOTIFY. Returns its end if there was no response in time.
    pub(super) fn timeout(&mut self, context: &mut Context<'_>) -> Option<NotifyEnd> {
        let is_due = |over_udp: &OverUdp| over_udp.at <= context.now.mono;
        if self.over_udp.as_deref().is_some_and(is_due) {
            self.send_over_udp(context);
            return None;
        }
        match self.client.timeout(context.now.mono) {
            TimerAction::Resend => context.outbox.resend(&self.hop, true, &self.text),
            TimerAction::TimedOut => return Some(NotifyEnd::SubscriptionGone),
            TimerAction::Nothing => {}
        }
        None
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        sooner(self.client.deadline(), self.over_udp.as_ref().map(|over_udp| over_udp.at))
    }
}

/// Whether this status ends the subscription (RFC 6665 4.2.2). The notifier has no credentials and follows no
/// redirection.
const fn ends_subscription(status: u16) -> bool {
    matches!(status, 300..=399 | 401 | 403..=405 | 407 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}
