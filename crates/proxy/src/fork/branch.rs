//! One branch of a response context: a target, its client transaction, its CANCEL (RFC 3261 16.6 to 16.10, 9.1).
//!
//! Knows its own phone only; what other branches did and what the caller gets is decided by the response context.

use std::time::Duration;

use bytes::Bytes;
use parser::{HeaderName, Message, Method, write_ack, write_cancel};

use super::early::EarlyDialogs;
use super::has_upstream_via;
use super::outcome::{CancelCause, Outcome};
use super::template::Template;
use crate::clock::Instant;
use crate::context::Context;
use crate::hop::Hop;
use crate::pin::tag_checksum;
use crate::request::tag_of;
use crate::target::Target;
use crate::transaction::{ClientEvent, ClientInvite, ClientOther, TimerAction, is_due, sooner};

/// A client transaction and what belongs to it.
#[derive(Debug)]
pub(super) struct ClientBranch {
    number: u8,
    target: Target,
    hop: Hop,
    client: Client,
    /// The ACK of its failure, for copies of that.
    ack: Bytes,
    /// RFC 3261 16.6 step 11: how long an INVITE may go without news.
    timer_c: Option<Instant>,
    /// How long it may say nothing at all, where there is another place to try.
    patience: Option<Instant>,
    cancel: Cancel,
    /// Its share of Max-Breadth (RFC 5393 5.3.3).
    breadth: u32,
    /// Its early dialogs, where the caller is told when they end.
    pub(super) early: EarlyDialogs,
    /// Its final, once there is one.
    pub(super) outcome: Option<Outcome>,
    /// The [`tag_checksum`] of its last 2xx to an INVITE.
    pub(super) accepted: Option<u64>,
}

#[derive(Debug)]
enum Client {
    Invite(ClientInvite),
    Other(ClientOther),
}

/// RFC 3261 9.1: a CANCEL waits for a provisional, and is a transaction of its own.
#[derive(Debug)]
enum Cancel {
    Unwanted,
    /// With this Reason, as soon as a provisional response has come.
    Wanted {
        reason: Option<Bytes>,
        why: CancelCause,
    },
    Sent(Box<Cancelling>),
}

/// A CANCEL that was sent.
#[derive(Debug)]
struct Cancelling {
    text: Bytes,
    client: ClientOther,
    /// When to stop waiting for the 487 (RFC 3261 9.1: 64·T1).
    until: Instant,
    /// What the end of the branch counts as, whether its 487 comes or not.
    why: CancelCause,
}

impl ClientBranch {
    /// A branch whose request is sent now.
    pub(super) fn start(
        number: u8,
        (target, hop): (Target, Hop),
        breadth: u32,
        patience: Option<Duration>,
        template: &Template,
        context: &mut Context<'_>,
    ) -> Self {
        let (timers, now) = (template.timers(), context.now.mono);
        let reliable = hop.transport.is_reliable();
        let is_invite = template.request.as_ref().is_some_and(|request| request.method() == Method::Invite);
        let (client, timer_c) = match is_invite {
            true => (Client::Invite(ClientInvite::new(reliable, timers, now)), Some(now + timers.c)),
            false => (Client::Other(ClientOther::new(reliable, timers, now)), None),
        };
        let (ack, cancel, early) = (Bytes::new(), Cancel::Unwanted, EarlyDialogs::new());
        let patience = patience.map(|time| now + time);
        let branch = Self {
            number,
            target,
            hop,
            client,
            ack,
            timer_c,
            patience,
            cancel,
            breadth,
            early,
            outcome: None,
            accepted: None,
        };
        template.send(&branch, context);
        branch
    }

    /// A response to the request of this branch came; `method` is the one that its CSeq names.
    pub(super) fn receive(
        &mut self,
        response: &Message,
        method: Method<'_>,
        template: &Template,
        context: &mut Context<'_>,
    ) -> ClientEvent {
        let timers = template.timers();
        let reliable = self.hop.transport.is_reliable();
        let status = response.status().unwrap_or(500);
        let now = context.now.mono;
        // RFC 3261 17.1.3: the branch and the method of the CSeq tell which transaction is meant.
        if let (Method::Cancel, Cancel::Sent(cancel)) = (method, &mut self.cancel) {
            cancel.client.receive(status, reliable, timers, now);
            return ClientEvent::Nothing;
        }
        if !self.is_of(method, template) {
            return ClientEvent::Stray;
        }
        self.patience = None;
        let heard = match &mut self.client {
            Client::Invite(client) => client.receive(status, reliable, timers, now),
            Client::Other(client) => client.receive(status, reliable, timers, now),
        };
        match heard {
            ClientEvent::Provisional => {
                // RFC 3261 16.7 step 2: a 100 says nothing of the phone.
                if status > 100 && self.timer_c.is_some() {
                    self.timer_c = Some(now + timers.c);
                }
                if let Cancel::Wanted { reason, why } = &self.cancel {
                    let (reason, why) = (reason.clone(), *why);
                    self.send_cancel(reason.as_deref(), why, template, context);
                }
            }
            ClientEvent::Success => {
                let to_tag = tag_of(response, HeaderName::To).unwrap_or_default();
                self.accepted = (method == Method::Invite).then(|| tag_checksum(to_tag));
                self.end(Outcome::Success);
            }
            ClientEvent::Failure => {
                self.acknowledge(response, template, context);
                let outcome = self.counted(response);
                self.end(outcome);
            }
            ClientEvent::FailureAgain if !self.ack.is_empty() => context.outbox.resend(&self.hop, false, &self.ack),
            ClientEvent::FailureAgain | ClientEvent::Nothing | ClientEvent::Stray => {}
        }
        heard
    }

    /// Stops the phone ringing, now or when it gives its first sign (RFC 3261 16.10, 9.1). `why` tells what the
    /// end of the branch counts as if no other final comes first.
    pub(super) fn cancel(
        &mut self,
        reason: Option<&[u8]>,
        why: CancelCause,
        template: &Template,
        context: &mut Context<'_>,
    ) {
        if self.outcome.is_some() {
            return;
        }
        let under_way = match &mut self.cancel {
            Cancel::Unwanted => None,
            Cancel::Wanted { why, .. } => Some(why),
            Cancel::Sent(cancel) => Some(&mut cancel.why),
        };
        if let Some(before) = under_way {
            // If the caller hung up since, it waits for the 487.
            *before = why.max(*before);
            return;
        }
        match &self.client {
            Client::Invite(client) if client.is_proceeding() => self.send_cancel(reason, why, template, context),
            Client::Invite(_) => {
                self.cancel = Cancel::Wanted { reason: reason.map(Bytes::copy_from_slice), why };
                // A phone that gave no sign of life while it should have rung is not waited for any longer. Of one
                // that the caller gave up, a 2xx may be on its way.
                if why == CancelCause::TimedOut {
                    self.end(Outcome::NoResponse(408));
                }
            }
            // RFC 3261 9.1: there is nothing to cancel but an INVITE.
            Client::Other(_) => {}
        }
    }

    /// Nothing is expected of it any more; if it wakes up, it is told to stop.
    pub(super) fn give_up(&mut self) {
        if self.outcome.is_none() {
            if matches!((&self.client, &self.cancel), (Client::Invite(_), Cancel::Unwanted)) {
                self.cancel = Cancel::Wanted { reason: None, why: CancelCause::TimedOut };
            }
            self.end(Outcome::FailedOver);
        }
    }

    /// The request could not be sent.
    pub(super) fn undelivered(&mut self) {
        if self.outcome.is_none() {
            self.abandon();
            self.end(Outcome::NoResponse(self.hop.failure()));
        }
    }

    /// What is due. True if the branch has ended by it.
    pub(super) fn timeout(&mut self, template: &Template, context: &mut Context<'_>) -> bool {
        let now = context.now.mono;
        let had_ended = self.outcome.is_some();
        let due = match &mut self.client {
            Client::Invite(client) => client.timeout(now),
            Client::Other(client) => client.timeout(now),
        };
        match due {
            TimerAction::Resend => template.send(self, context),
            TimerAction::TimedOut => self.end(Outcome::NoResponse(self.silence())),
            TimerAction::Nothing => {}
        }
        if let Cancel::Sent(cancel) = &mut self.cancel {
            if cancel.client.timeout(now) == TimerAction::Resend {
                context.outbox.resend(&self.hop, false, &cancel.text);
            }
            if cancel.until <= now && matches!(&self.client, Client::Invite(invite) if invite.is_proceeding()) {
                let status = cancel.why.status();
                self.abandon();
                self.end(Outcome::NoResponse(status));
            }
        }
        if is_due(self.patience, now) {
            self.patience = None;
            self.give_up();
        }
        // RFC 3261 16.8
        if is_due(self.timer_c, now) {
            self.timer_c = None;
            self.cancel(None, CancelCause::TimedOut, template, context);
        }
        !had_ended && self.outcome.is_some()
    }

    /// Its final will not be passed on any more: the code is all that is left of it.
    pub(super) fn forget(&mut self) {
        if let Some(Outcome::Final(message)) = &self.outcome {
            self.outcome = Some(Outcome::NoResponse(message.status().unwrap_or(500)));
        }
        if let Cancel::Sent(cancel) = &mut self.cancel
            && !cancel.client.is_pending()
        {
            cancel.text = Bytes::new();
        }
    }

    pub(super) const fn is_pending(&self) -> bool {
        self.outcome.is_none()
    }

    /// Whether it ended because its flow did: its phone may be tried another way (RFC 5626 7, RFC 5627 6.1). Not if the
    /// phone has answered, or was told to stop.
    pub(super) fn is_lost(&self) -> bool {
        let lost = match &self.outcome {
            Some(Outcome::FailedOver) => return true,
            Some(Outcome::NoResponse(status)) => matches!(status, 408 | 430 | 503),
            Some(Outcome::Final(message)) => matches!(message.status(), Some(408 | 430)),
            _ => false,
        };
        lost && matches!(self.cancel, Cancel::Unwanted)
    }

    /// Whether the element at its address wants to be left alone (RFC 3263 4.3): another address may do.
    pub(super) fn is_unavailable(&self) -> bool {
        let refused = matches!(&self.outcome, Some(Outcome::Final(message)) if message.status() == Some(503));
        refused && matches!(self.cancel, Cancel::Unwanted)
    }

    /// Whether no response came on it yet.
    pub(super) const fn is_silent(&self) -> bool {
        self.is_pending() && matches!(&self.client, Client::Invite(client) if !client.is_proceeding())
    }

    pub(super) const fn hop(&self) -> &Hop {
        &self.hop
    }

    /// Bytes that it holds beside its own.
    pub(super) fn held(&self) -> usize {
        let refusal = match &self.outcome {
            Some(Outcome::Final(message)) => size_of::<Message>() + message.bytes().len(),
            _ => 0,
        };
        let cancel = match &self.cancel {
            Cancel::Sent(cancel) => size_of::<Cancelling>() + cancel.text.len(),
            _ => 0,
        };
        refusal + cancel + self.ack.len()
    }

    /// Whether its request may have to be written again.
    pub(super) const fn needs_request(&self) -> bool {
        match &self.client {
            Client::Invite(client) => client.is_pending(),
            Client::Other(client) => client.is_pending(),
        }
    }

    pub(super) const fn number(&self) -> u8 {
        self.number
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// The share of Max-Breadth that it was given.
    pub(super) const fn share(&self) -> u32 {
        self.breadth
    }

    /// The share of Max-Breadth that it holds: until its final comes (RFC 5393 5.3.3.1).
    pub(super) const fn breadth(&self) -> u32 {
        if self.is_pending() { self.breadth } else { 0 }
    }

    pub(super) const fn is_terminated(&self) -> bool {
        let cancelling = match &self.cancel {
            Cancel::Sent(cancel) => !cancel.client.is_terminated(),
            _ => false,
        };
        let transaction = match &self.client {
            Client::Invite(client) => client.is_terminated(),
            Client::Other(client) => client.is_terminated(),
        };
        transaction && !cancelling
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let client = match &self.client {
            Client::Invite(client) => client.deadline(),
            Client::Other(client) => client.deadline(),
        };
        let cancel = match &self.cancel {
            Cancel::Sent(cancel) => {
                let waits = matches!(&self.client, Client::Invite(invite) if invite.is_proceeding());
                sooner(cancel.client.deadline(), waits.then_some(cancel.until))
            }
            _ => None,
        };
        sooner(sooner(client, cancel), sooner(self.timer_c, self.patience))
    }

    fn send_cancel(&mut self, reason: Option<&[u8]>, why: CancelCause, template: &Template, context: &mut Context<'_>) {
        let text = template.follow_up(self, context, |sent, out| write_cancel(sent, reason, out));
        let (timers, now) = (template.timers(), context.now.mono);
        let client = ClientOther::new(self.hop.transport.is_reliable(), timers, now);
        self.cancel = Cancel::Sent(Box::new(Cancelling { text, client, until: now + timers.give_up(), why }));
    }

    /// RFC 3261 17.1.1.3: only the failure of an INVITE is acknowledged.
    fn acknowledge(&mut self, response: &Message, template: &Template, context: &mut Context<'_>) {
        if !matches!(self.client, Client::Invite(_)) {
            return;
        }
        let text = template.follow_up(self, context, |sent, out| write_ack(sent, response, out));
        if !self.hop.transport.is_reliable() {
            self.ack = text;
        }
    }

    fn is_of(&self, method: Method<'_>, template: &Template) -> bool {
        match (&self.client, &template.request) {
            (Client::Invite(_), _) => method == Method::Invite,
            (Client::Other(_), Some(request)) => method == request.method(),
            // A copy of its final.
            (Client::Other(_), None) => true,
        }
    }

    /// A 487 that a timer of this server caused counts as no response: the caller did not cancel. A final that cannot be passed on
    /// counts by its code.
    fn counted(&self, response: &Message) -> Outcome {
        match (&self.cancel, response.status()) {
            (Cancel::Sent(cancel), Some(487)) if cancel.why == CancelCause::TimedOut => Outcome::NoResponse(408),
            (_, Some(status)) if !has_upstream_via(response) => Outcome::NoResponse(status),
            _ => {
                let mut kept = Box::new(response.clone());
                kept.detach();
                Outcome::Final(kept)
            }
        }
    }

    fn silence(&self) -> u16 {
        match &self.cancel {
            Cancel::Unwanted => 408,
            Cancel::Wanted { why, .. } => why.status(),
            Cancel::Sent(cancel) => cancel.why.status(),
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.timer_c = None;
        self.patience = None;
        // What it says after all counts more than its silence.
        if matches!(self.outcome, None | Some(Outcome::FailedOver)) {
            self.outcome = Some(outcome);
        }
    }

    fn abandon(&mut self) {
        match &mut self.client {
            Client::Invite(client) => client.abandon(),
            Client::Other(client) => client.abandon(),
        }
    }
}
