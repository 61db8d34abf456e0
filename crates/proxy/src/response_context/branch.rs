//! One branch of a response context: a target, the transaction of its request and its CANCEL (RFC 3261 16.6 to 16.10,
//! 9.1).
//!
//! Knows its own target only. The response context decides what other branches do and which response the caller gets.

use std::time::Duration;

use bytes::Bytes;
use parser::{HeaderName, Message, Method, write_ack, write_cancel};

use super::client::{Cancel, Client, Invite, SentCancel};
use super::early::EarlyDialogs;
use super::has_upstream_via;
use super::outcome::{CancelCause, Outcome, RefusalScope};
use super::template::Template;
use crate::clock::Instant;
use crate::context::Context;
use crate::event::TriedPhones;
use crate::hop::{Hop, Over};
use crate::pin::tag_checksum;
use crate::request::tag_of;
use crate::target::{SentTo, Target};
use crate::transaction::{ClientEvent, ClientOther, TimerAction, is_due, sooner};

/// A client transaction and its target.
#[derive(Debug)]
pub(super) struct ClientBranch {
    number: u8,
    target: Target,
    hop: Hop,
    client: Client,
    progress: Progress,
    /// Its share of Max-Breadth (RFC 5393 5.3.3).
    breadth: u32,
    /// Whether another branch was started in its place, which happens once.
    pub(super) is_replaced: bool,
    /// Whether any response to its request has come.
    has_responded: bool,
    /// Whether its phone rang.
    has_rung: bool,
    /// Which branches a 6xx of this one ends.
    pub(super) refusal_scope: RefusalScope,
    /// Its early dialogs, if the caller gets a 199 for each that ends.
    pub(super) early: EarlyDialogs,
}

/// What the branch contributes to the response of the context.
#[derive(Debug)]
enum Progress {
    /// Nothing yet.
    Pending(Pending),
    /// Its outcome. Its transactions may continue, to absorb retransmissions.
    Ended(Outcome),
}

#[derive(Debug)]
struct Pending {
    /// Timer C of an INVITE (RFC 3261 16.6 step 11), until it fires.
    timer_c: Option<Instant>,
    /// Without any response until this moment the next contact of the phone is tried, if it has one.
    patience: Option<Instant>,
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
        let is_invite = template.request.as_ref().is_some_and(|request| request.method() == Method::Invite);
        let client = Client::new(is_invite, hop.transport.is_reliable(), timers, now);
        let (timer_c, patience) = (is_invite.then(|| now + timers.c), patience.map(|time| now + time));
        let progress = Progress::Pending(Pending { timer_c, patience });
        let branch = Self {
            number,
            target,
            hop,
            client,
            progress,
            breadth,
            is_replaced: false,
            has_responded: false,
            has_rung: false,
            refusal_scope: RefusalScope::default(),
            early: EarlyDialogs::new(),
        };
        template.send(&branch, context);
        branch
    }

    /// A branch that ends at once, because its trunk has `max_calls` calls already.
    pub(super) fn without_line(
        number: u8,
        (target, hop): (Target, Hop),
        template: &Template,
        context: &Context<'_>,
    ) -> Self {
        let mut client = Client::new(true, hop.transport.is_reliable(), template.timers(), context.now.mono);
        client.abandon();
        let progress = Progress::Ended(Outcome::NoResponse(503));
        Self {
            number,
            target,
            hop,
            client,
            progress,
            breadth: 0,
            is_replaced: false,
            has_responded: false,
            has_rung: false,
            refusal_scope: RefusalScope::default(),
            early: EarlyDialogs::new(),
        }
    }

    /// Processes a response. `method`: the method in its CSeq.
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
        // RFC 3261 17.1.3: the branch and the method of the CSeq identify the transaction.
        if method == Method::Cancel
            && let Some(cancel) = self.client.sent_cancel()
        {
            cancel.transaction.receive(status, reliable, timers, now);
            return ClientEvent::Nothing;
        }
        if !self.is_of(method, template) {
            return ClientEvent::Stray;
        }
        (self.has_responded, self.has_rung) = (true, self.has_rung || TriedPhones::is_ringing(status));
        if let Progress::Pending(pending) = &mut self.progress {
            pending.patience = None;
        }
        let event = self.client.receive(status, reliable, timers, now);
        match (event, &mut self.client) {
            (ClientEvent::Provisional, _) => {
                // RFC 3261 16.7 step 2: a 100 does not say that the phone rings.
                if status > 100
                    && let Progress::Pending(Pending { timer_c: Some(timer_c), .. }) = &mut self.progress
                {
                    *timer_c = now + timers.c;
                }
                if let Some((cause, reason)) = self.client.wanted_cancel() {
                    self.send_cancel(reason.as_deref(), cause, template, context);
                }
            }
            (ClientEvent::Success, client) => {
                if let Client::Invite(invite) = client {
                    invite.accepted = Some(tag_checksum(tag_of(response, HeaderName::To).unwrap_or_default()));
                }
                self.end(Outcome::Success);
            }
            (ClientEvent::Failure, _) => {
                self.acknowledge(response, template, context);
                let outcome = self.outcome_of(response);
                self.end(outcome);
            }
            (ClientEvent::FailureAgain, Client::Invite(invite)) if !invite.ack.is_empty() => {
                context.resend(&self.hop, &template.settings, &invite.ack);
            }
            (ClientEvent::FailureAgain | ClientEvent::Nothing | ClientEvent::Stray, _) => {}
        }
        event
    }

    /// Cancels a pending INVITE, now or when its first provisional response comes (RFC 3261 16.10, 9.1). `cause`
    /// decides the outcome of the branch if no other final response comes first.
    pub(super) fn cancel(
        &mut self,
        reason: Option<&[u8]>,
        cause: CancelCause,
        template: &Template,
        context: &mut Context<'_>,
    ) {
        // RFC 3261 9.1: only an INVITE can be cancelled.
        let (Client::Invite(invite), Progress::Pending(pending)) = (&mut self.client, &mut self.progress) else {
            return;
        };
        // No other contact is tried any more.
        pending.patience = None;
        // If the caller has cancelled since the first cause, it waits for the 487.
        if invite.cancel.add_cause(cause) {
            return;
        }
        if invite.transaction.is_proceeding() {
            return self.send_cancel(reason, cause, template, context);
        }
        invite.cancel = Cancel::Wanted(cause, reason.map(Bytes::copy_from_slice));
        // A phone that has not responded within its ring time is not waited for. After a CANCEL of the caller a 2xx of
        // the phone may be under way.
        if cause == CancelCause::TimedOut {
            self.end(Outcome::NoResponse(408));
        }
    }

    /// Stops waiting for this branch. If the phone responds later, its INVITE is cancelled.
    pub(super) fn give_up(&mut self) {
        if self.is_pending() {
            if let Client::Invite(Invite { cancel: cancel @ Cancel::NotWanted, .. }) = &mut self.client {
                *cancel = Cancel::Wanted(CancelCause::TimedOut, None);
            }
            self.end(Outcome::FailedOver);
        }
    }

    /// The request could not be sent, which ends its transaction (RFC 3261 17.1.4). Returns whether the branch has ended
    /// by that. If another contact is tried already, it has ended before.
    pub(super) fn undelivered(&mut self) -> bool {
        // A phone that has responded to an INVITE has received it: this is about an earlier copy.
        let has_received = matches!(&self.client, Client::Invite(invite) if invite.transaction.is_proceeding());
        let (was_pending, status) = (self.is_pending(), self.client.cancel_cause().map(CancelCause::status));
        // A branch may have ended without a response and still retransmit its request.
        let goes_on = matches!(self.outcome(), Some(Outcome::FailedOver | Outcome::NoResponse(_)));
        if has_received || !was_pending && !goes_on {
            return false;
        }
        self.client.abandon();
        if was_pending {
            self.end(Outcome::NoResponse(status.unwrap_or_else(|| self.hop.failure())));
        }
        was_pending
    }

    /// Fires the timers that are due. Returns whether the branch has ended by that.
    pub(super) fn timeout(&mut self, template: &Template, context: &mut Context<'_>) -> bool {
        let now = context.now.mono;
        let was_pending = self.is_pending();
        match self.client.timeout(now) {
            TimerAction::Resend => template.send(self, context),
            TimerAction::TimedOut => {
                let status = self.client.cancel_cause().map_or(408, CancelCause::status);
                self.end(Outcome::NoResponse(status));
            }
            TimerAction::Nothing => {}
        }
        if let Client::Invite(Invite { transaction, cancel: Cancel::Sent(cancel), .. }) = &mut self.client {
            if cancel.transaction.timeout(now) == TimerAction::Resend {
                context.resend(&self.hop, &template.settings, &cancel.text);
            }
            if cancel.until <= now && transaction.is_proceeding() {
                let status = cancel.cause.status();
                transaction.abandon();
                self.end(Outcome::NoResponse(status));
            }
        }
        if let Progress::Pending(pending) = &mut self.progress {
            if is_due(pending.patience, now) {
                self.give_up();
            } else if is_due(pending.timer_c, now) {
                // RFC 3261 16.8
                pending.timer_c = None;
                self.cancel(None, CancelCause::TimedOut, template, context);
            }
        }
        was_pending && !self.is_pending()
    }

    /// Frees the response and the CANCEL that are not needed any more: the caller has its final response.
    pub(super) fn forget(&mut self) {
        if let Progress::Ended(outcome @ Outcome::Final(_)) = &mut self.progress {
            *outcome = Outcome::NoResponse(outcome.status().unwrap_or(500));
        }
        if let Some(cancel) = self.client.sent_cancel()
            && !cancel.transaction.is_pending()
        {
            cancel.text = Bytes::new();
        }
    }

    /// The outcome, once the branch has ended.
    pub(super) const fn outcome(&self) -> Option<&Outcome> {
        match &self.progress {
            Progress::Pending(_) => None,
            Progress::Ended(outcome) => Some(outcome),
        }
    }

    /// Replaces the outcome: its redirection is followed, or led nowhere.
    pub(super) fn set_outcome(&mut self, outcome: Outcome) {
        self.progress = Progress::Ended(outcome);
    }

    pub(super) const fn is_pending(&self) -> bool {
        matches!(self.progress, Progress::Pending(_))
    }

    /// Whether the branch ended because its flow failed: the phone may be tried at another contact (RFC 5626 7, RFC
    /// 5627 6.1). Not if the phone has responded, or the INVITE was cancelled.
    pub(super) fn is_lost(&self) -> bool {
        let lost = match self.outcome() {
            Some(Outcome::FailedOver) => return true,
            Some(Outcome::NoResponse(status)) => matches!(status, 408 | 430 | 503),
            Some(Outcome::Final(message)) => matches!(message.status(), Some(408 | 430)),
            _ => false,
        };
        lost && self.client.cancel_cause().is_none()
    }

    /// Whether nobody accepted its request over TCP, which is used because the request is too long for UDP.
    pub(super) fn is_refused_over_tcp(&self) -> bool {
        let no_response = matches!(self.outcome(), Some(Outcome::NoResponse(_) | Outcome::FailedOver));
        no_response && self.hop.over == Over::InsteadOfUdp && self.is_lost()
    }

    /// Whether the element at its address refuses all requests: another address may accept them (RFC 3263 4.3).
    pub(super) fn is_unavailable(&self) -> bool {
        let refused = matches!(self.outcome(), Some(Outcome::Final(message)) if message.status() == Some(503));
        refused && self.client.cancel_cause().is_none()
    }

    /// Whether its phone rang until a timer of this server cancelled it.
    pub(super) fn rang_out(&self) -> bool {
        self.client.cancel_cause() == Some(CancelCause::TimedOut)
    }

    /// Whether its CANCEL was sent, or will be when the phone responds.
    pub(super) fn is_cancelled(&self) -> bool {
        self.client.cancel_cause().is_some()
    }

    /// Whether no response to its INVITE has come.
    pub(super) const fn is_silent(&self) -> bool {
        self.is_pending() && self.client.is_calling()
    }

    /// Whether its last 2xx to an INVITE had a To tag with this [`tag_checksum`].
    pub(super) fn has_accepted(&self, to_tag: u64) -> bool {
        matches!(&self.client, Client::Invite(invite) if invite.accepted == Some(to_tag))
    }

    /// Whether its trunk has `max_calls` calls already, so that its request was not sent.
    pub(super) fn is_without_line(&self) -> bool {
        self.breadth == 0 && self.target.uri.trunk().is_some()
    }

    /// Whether any response to its request has come.
    pub(super) const fn has_responded(&self) -> bool {
        self.has_responded
    }

    /// Adds its phone. A branch in whose place another one was started is for the same phone, unless it responded.
    pub(super) fn count(&self, phones: &mut TriedPhones) {
        let is_continued = self.is_replaced || matches!(self.outcome(), Some(Outcome::OverUdpInstead));
        phones.tried += usize::from(self.has_responded || !is_continued && !self.is_without_line());
        phones.responded += usize::from(self.has_responded);
        phones.rang += usize::from(self.has_rung);
    }

    pub(super) const fn hop(&self) -> &Hop {
        &self.hop
    }

    /// The octets that it holds on the heap.
    pub(super) fn held(&self) -> usize {
        let refusal = match self.outcome() {
            Some(Outcome::Final(message)) => size_of::<Message>() + message.bytes().len(),
            _ => 0,
        };
        refusal + self.client.held()
    }

    /// Whether its request may have to be written again.
    pub(super) const fn needs_request(&self) -> bool {
        self.client.is_pending()
    }

    pub(super) const fn number(&self) -> u8 {
        self.number
    }

    /// Where its request is sent.
    pub(super) const fn sent_to(&self) -> SentTo<'_> {
        self.target.sent_over(&self.hop)
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// The share of Max-Breadth that it was given.
    pub(super) const fn share(&self) -> u32 {
        self.breadth
    }

    /// The share of Max-Breadth that it holds: until its final response comes (RFC 5393 5.3.3.1).
    pub(super) const fn breadth(&self) -> u32 {
        if self.is_pending() { self.breadth } else { 0 }
    }

    pub(super) const fn is_terminated(&self) -> bool {
        self.client.is_terminated()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match &self.progress {
            Progress::Pending(pending) => sooner(pending.timer_c, pending.patience),
            Progress::Ended(_) => None,
        };
        sooner(self.client.deadline(), own)
    }

    fn send_cancel(
        &mut self,
        reason: Option<&[u8]>,
        cause: CancelCause,
        template: &Template,
        context: &mut Context<'_>,
    ) {
        let text = template.follow_up(self, context, |sent, out| write_cancel(sent, reason, out));
        let (timers, now) = (template.timers(), context.now.mono);
        let transaction = ClientOther::new(self.hop.transport.is_reliable(), timers, now);
        if let Client::Invite(invite) = &mut self.client {
            let cancel = SentCancel { cause, text, transaction, until: now + timers.give_up() };
            invite.cancel = Cancel::Sent(Box::new(cancel));
        }
    }

    /// RFC 3261 17.1.1.3: only the failure of an INVITE is acknowledged.
    fn acknowledge(&mut self, response: &Message, template: &Template, context: &mut Context<'_>) {
        if !matches!(self.client, Client::Invite(_)) {
            return;
        }
        let text = template.follow_up(self, context, |sent, out| write_ack(sent, response, out));
        if let Client::Invite(invite) = &mut self.client
            && !self.hop.transport.is_reliable()
        {
            invite.ack = text;
        }
    }

    fn is_of(&self, method: Method<'_>, template: &Template) -> bool {
        match (&self.client, &template.request) {
            (Client::Invite(_), _) => method == Method::Invite,
            (Client::NonInvite(_), Some(request)) => method == request.method(),
            // The request is freed only after the final response: this is a retransmission of it.
            (Client::NonInvite(_), None) => true,
        }
    }

    /// The outcome by a final response. A 487 that a timer of this server caused counts as no response, because the
    /// caller has not cancelled. A response that cannot be forwarded counts by its status.
    fn outcome_of(&self, response: &Message) -> Outcome {
        let is_cancelled_by_timer = matches!(
            &self.client,
            Client::Invite(Invite { cancel: Cancel::Sent(cancel), .. }) if cancel.cause == CancelCause::TimedOut
        );
        match response.status() {
            Some(487) if is_cancelled_by_timer => Outcome::NoResponse(408),
            Some(status) if !has_upstream_via(response) => Outcome::NoResponse(status),
            _ => {
                let mut kept = Box::new(response.clone());
                kept.detach();
                Outcome::Final(kept)
            }
        }
    }

    fn end(&mut self, outcome: Outcome) {
        // A late response counts more than its absence.
        let may_change = matches!(
            self.progress,
            Progress::Pending(_) | Progress::Ended(Outcome::FailedOver | Outcome::OverUdpInstead)
        );
        if may_change {
            self.progress = Progress::Ended(outcome);
        }
    }
}
