//! One subscription: when its state is read, and when a NOTIFY reports it (RFC 6665 4.1.2, 4.2).
//!
//! Decides rate and end. The first NOTIFY after a SUBSCRIBE is sent at once and has the full state. Later ones have
//! the changes, and are at least the interval of the package apart. One NOTIFY is under way at a time, and the last
//! one says why the subscription has ended. Must not know what the state consists of (`state.rs`).

use std::time::Duration;

use location::{Aor, Flow};
use parser::{Message, write_decimal};

use crate::ask::{Answer, Continuation, Question, Resume};
use crate::calls::CallInProgress;
use crate::clock::Instant;
use crate::connections::Connections;
use crate::context::Context;
use crate::event::{Event, LargeRequest, Notification};
use crate::event_package::EventPackage;
use crate::forward::{NotifyId, ViaBranch};
use crate::hop::{self, Hop};
use crate::large;
use crate::reject::Reject;
use crate::request::{Request, RequestSource};
use crate::resolution::Resolution;
use crate::settings::Settings;
use crate::target::NextHop;
use crate::transaction::{is_due, sooner};

use super::dialog::{Dialog, Notice};
use super::notify::{Notify, NotifyEnd};
use super::phase::{Active, Phase, Reason, Terminating};
use super::request::{Accepted, InitialSubscribe, LastSubscribe, granted_expires};
use super::state::{Reading, State};
use super::subscriber::Subscriber;
use super::table::LocalTag;

/// The subscription of one subscriber to one resource.
#[derive(Debug)]
pub(crate) struct Subscription {
    resource: Aor,
    subscriber: Subscriber,
    dialog: Dialog,
    last_subscribe: LastSubscribe,
    phase: Phase,
    /// The number of NOTIFYs sent: the version of the next one, and one less than its CSeq number.
    notifies: u32,
    /// The NOTIFY that has no final response yet.
    under_way: Option<Notify>,
}

impl Subscription {
    /// The subscription that an initial SUBSCRIBE asks for. Answers the SUBSCRIBE and has the state read.
    pub(crate) fn begin(
        (resource, subscriber): (Aor, Subscriber),
        request: &Request,
        InitialSubscribe { dialog, granted }: InitialSubscribe,
        context: &mut Context<'_>,
    ) -> Self {
        let mut subscription = Self {
            resource,
            subscriber,
            dialog,
            last_subscribe: LastSubscribe::new(request, granted, context),
            phase: Phase::Terminated,
            notifies: 0,
            under_way: None,
        };
        subscription.accept(request, context.now.mono, context);
        subscription
    }

    /// The address-of-record that is subscribed to, and who subscribed.
    pub(crate) const fn parties(&self) -> (&Aor, &Subscriber) {
        (&self.resource, &self.subscriber)
    }

    pub(crate) const fn package(&self) -> EventPackage {
        self.dialog.package
    }

    /// Whether a SUBSCRIBE in the dialog comes from the source of the last one. Everybody who has read that one knows
    /// all identifiers of the dialog.
    pub(crate) fn is_from(&self, source: &RequestSource, connections: &Connections) -> bool {
        self.last_subscribe.source.is_same_as(source, connections)
    }

    /// Accepts a SUBSCRIBE in the dialog, which refreshes or ends the subscription.
    pub(crate) fn refresh(&mut self, request: &Request, context: &mut Context<'_>) -> Result<(), Reject> {
        let (settings, accepted) = (context.settings, self.last_subscribe.accepted);
        if request.key == accepted.key {
            accepted.answer(self.dialog.tag, request, context);
            return Ok(());
        }
        let Phase::Active(Active { not_before, .. }) = self.phase else { return Err(Reject::Subscription) };
        if !self.dialog.is_of(&request.message) {
            return Err(Reject::Subscription);
        }
        // RFC 3261 12.2.2
        if request.sequence <= self.dialog.sequence {
            return Err(Reject::LateInDialog);
        }
        if !self.is_authorized(settings) {
            self.terminate(Reason::Rejected, context);
            return Err(Reject::Subscriber);
        }
        let granted = granted_expires(self.dialog.package, request, settings)?;
        self.dialog.refresh(request, settings)?;
        self.last_subscribe = LastSubscribe::new(request, granted, context);
        self.accept(request, not_before, context);
        Ok(())
    }

    /// The state of the resource may have changed.
    pub(crate) fn on_change(&mut self, context: &mut Context<'_>) {
        if let Phase::Active(active) = &mut self.phase {
            active.read_after(context.now.mono);
            self.proceed(context);
        }
    }

    /// A call of the resource has ended.
    pub(crate) fn on_call_end(&mut self, call: &CallInProgress, context: &Context<'_>) {
        if let Phase::Active(Active { reported: Some(state), .. }) = &mut self.phase {
            state.note_end(call, &self.resource, context);
        }
    }

    /// The settings have changed, and with them perhaps the state or the authorization.
    pub(super) fn on_new_settings(&mut self) {
        if let Phase::Active(active) = &mut self.phase {
            active.read_after(active.not_before);
            active.reported.iter_mut().for_each(State::outdate);
        }
    }

    /// DNS has answered with the addresses of `host`, to which the NOTIFYs went when it was asked.
    pub(crate) fn on_resolved(&mut self, host: &hop::Name, answer: &Answer, context: &mut Context<'_>) {
        if !matches!(&self.dialog.next_hop, NextHop::Name(name) if name == host) {
            return;
        }
        match self.dialog.hop_to(host, answer, context.settings) {
            _ if self.is_terminated() => {}
            Some(hop) => {
                self.dialog.next_hop = NextHop::Hop(hop);
                self.read_state(context);
            }
            None => self.fail(Notification::Unanswered, context),
        }
    }

    /// The question for the state is answered.
    pub(crate) fn on_state(&mut self, answer: Answer, context: &mut Context<'_>) {
        let (settings, at) = (context.settings, context.now.wall);
        let state = State::answered(self.dialog.package, &self.resource, answer, settings, at);
        self.on_read(state, context);
    }

    /// The state has been read, or could not be read.
    fn on_read(&mut self, state: Option<State>, context: &mut Context<'_>) {
        let (settings, now, package) = (context.settings, context.now, self.dialog.package);
        let is_authorized = self.is_authorized(settings);
        match (&mut self.phase, state) {
            (Phase::Terminated, _) => return,
            (Phase::Active(active), None) => {
                active.is_waiting = matches!(self.dialog.next_hop, NextHop::Name(_));
                active.read_at = Some(now.mono + package.times(settings).interval);
                return;
            }
            (Phase::Terminating(_), None) => {
                self.phase = Phase::Terminated;
                return;
            }
            // The subscriber learns nothing but that the subscription ends.
            (_, Some(_)) if !is_authorized => {
                self.phase = Phase::Terminating(Terminating { reason: Reason::Rejected, reported: None });
                self.notify_last(State::neutral(package, now.wall), context);
            }
            (Phase::Terminating(_), Some(state)) => self.notify_last(state, context),
            (Phase::Active(_), Some(state)) => self.notify_changes(state, context),
        }
        self.proceed(context);
    }

    /// A response to one of the NOTIFYs came.
    pub(crate) fn on_response(&mut self, sequence: u32, response: &Message, source: &Flow, context: &mut Context<'_>) {
        let matches = |notify: &&mut Notify| notify.is(sequence) && notify.may_be_answered_from(source);
        let Some(notify) = self.under_way.as_mut().filter(matches) else { return };
        match notify.on_response(response, &context.settings.timers, context.now.mono) {
            Some(NotifyEnd::Accepted) => self.finish(Notification::Answered, context),
            Some(NotifyEnd::Refused) => {
                // The subscriber lacks the changes that this NOTIFY had.
                if let Phase::Active(Active { reported, .. }) | Phase::Terminating(Terminating { reported, .. }) =
                    &mut self.phase
                {
                    *reported = None;
                }
                self.finish(Notification::Refused, context);
            }
            Some(NotifyEnd::SubscriptionGone) => self.fail(Notification::Refused, context),
            None => {}
        }
    }

    /// One of the NOTIFYs could not be sent.
    pub(crate) fn on_undelivered(&mut self, sequence: u32, context: &mut Context<'_>) {
        let Some(notify) = self.under_way.as_mut().filter(|notify| notify.is(sequence)) else { return };
        if !notify.send_over_udp(context) {
            self.fail(Notification::Unanswered, context);
        }
    }

    pub(crate) fn timeout(&mut self, context: &mut Context<'_>) {
        match self.under_way.as_mut().and_then(|notify| notify.timeout(context)) {
            Some(_) => self.fail(Notification::Unanswered, context),
            None => self.proceed(context),
        }
    }

    /// When [`Subscription::timeout`] has to be called; `None` while it waits for an answer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if let Some(notify) = &self.under_way {
            return notify.deadline();
        }
        match &self.phase {
            Phase::Active(active) if !active.is_waiting => sooner(active.read_at, Some(active.ends_at())),
            Phase::Active(_) | Phase::Terminating(_) => None,
            Phase::Terminated => Some(self.last_subscribe.copies_until),
        }
    }

    /// Whether no further NOTIFY is sent.
    pub(super) const fn is_terminated(&self) -> bool {
        matches!(self.phase, Phase::Terminated)
    }

    /// Whether the subscription can be removed.
    pub(super) fn is_removable(&self, now: Instant) -> bool {
        self.is_terminated() && self.under_way.is_none() && self.last_subscribe.copies_until <= now
    }

    /// What a retransmission of the last SUBSCRIBE is answered with.
    pub(crate) const fn accepted(&self) -> Accepted {
        self.last_subscribe.accepted
    }

    /// Authorization is checked for each NOTIFY, as accounts may change.
    fn is_authorized(&self, settings: &Settings) -> bool {
        self.subscriber.may_subscribe(self.dialog.package, &self.resource, settings)
    }

    /// Answers a SUBSCRIBE, and has the full state reported at once (RFC 6665 4.2.1.2). No later NOTIFY is sent before
    /// `not_before`.
    fn accept(&mut self, request: &Request, not_before: Instant, context: &mut Context<'_>) {
        let accepted = self.last_subscribe.accepted;
        accepted.answer(self.dialog.tag, request, context);
        self.phase = match accepted.granted {
            0 => Phase::Terminating(Terminating { reason: Reason::Timeout, reported: None }),
            granted => {
                let expires_at = context.now.mono + Duration::from_secs(granted.into());
                Phase::Active(Active { expires_at, reported: None, read_at: None, is_waiting: true, not_before })
            }
        };
        match &self.dialog.next_hop {
            NextHop::Hop(_) => self.read_state(context),
            NextHop::Name(name) => {
                let resolution = Resolution::new(name, context.settings.senders(), self.dialog.tag.id);
                let names = [resolution].into_iter().collect();
                let resume = Resume::NotifyTarget(self.dialog.tag.id, name.clone());
                context.outbox.ask(Question::Resolve(names), Continuation(resume));
            }
        }
    }

    /// Does what is due, unless a NOTIFY is under way or an answer is missing.
    fn proceed(&mut self, context: &mut Context<'_>) {
        let now = context.now.mono;
        match &self.phase {
            Phase::Active(active) if self.under_way.is_some() || active.is_waiting => {}
            Phase::Active(active) if active.ends_at() <= now => self.terminate(Reason::Timeout, context),
            Phase::Active(active) if is_due(active.read_at, now) => self.read_state(context),
            Phase::Active(_) | Phase::Terminating(_) | Phase::Terminated => {}
        }
    }

    /// Ends the subscription with a last NOTIFY.
    fn terminate(&mut self, reason: Reason, context: &mut Context<'_>) {
        if let Phase::Active(active) = &mut self.phase {
            let reported = active.reported.take();
            self.phase = Phase::Terminating(Terminating { reason, reported });
            self.read_state(context);
        }
    }

    /// Reads the state, or asks for it; then [`Subscription::on_state`] gets the answer.
    fn read_state(&mut self, context: &mut Context<'_>) {
        if let Phase::Active(active) = &mut self.phase {
            (active.is_waiting, active.read_at) = (true, None);
            if let Some(state) = &mut active.reported
                && state.check(&self.resource, context)
            {
                active.is_waiting = false;
                if let Some(at) = state.changes_at() {
                    active.read_after(context.now.mono + Duration::from_millis(at.millis_since(context.now.wall)));
                }
                return;
            }
        }
        match State::read(self.dialog.package, &self.resource, &self.subscriber, context) {
            Reading::Known(state) => self.on_read(Some(state), context),
            Reading::Asked(question) => context.outbox.ask(question, Continuation(Resume::Notify(self.dialog.tag.id))),
        }
    }

    /// Reports what has changed since the last NOTIFY, if anything has.
    fn notify_changes(&mut self, state: State, context: &mut Context<'_>) {
        let now = context.now;
        // Without an address nothing can be sent, and the subscriber still lacks the full state. DNS has been asked.
        let is_sendable = matches!(self.dialog.next_hop, NextHop::Hop(_));
        let Phase::Active(active) = &mut self.phase else { return };
        active.is_waiting = !is_sendable;
        let previous = active.reported.take();
        let mut body = Vec::new();
        let is_changed = state.write(previous.as_ref(), &self.resource, self.notifies, context.mac, &mut body);
        if (previous.is_none() || is_changed) && is_sendable {
            let left = active.expires_at.since(now.mono).as_millis().div_ceil(1000);
            let mut subscription_state = b"active;expires=".to_vec();
            write_decimal(&mut subscription_state, u64::try_from(left).unwrap_or(u64::MAX));
            active.not_before = now.mono + self.dialog.package.times(context.settings).interval;
            self.notify(&subscription_state, &body, context);
        }
        let Phase::Active(active) = &mut self.phase else { return };
        if let Some(at) = state.changes_at() {
            active.read_after(now.mono + Duration::from_millis(at.millis_since(now.wall)));
        }
        active.reported = Some(state).filter(|_| is_sendable);
    }

    /// Sends the last NOTIFY, which says why the subscription has ended (RFC 6665 4.2.2).
    fn notify_last(&mut self, state: State, context: &mut Context<'_>) {
        let Phase::Terminating(Terminating { reason, reported }) = &self.phase else { return };
        if matches!(self.dialog.next_hop, NextHop::Name(_)) {
            return;
        }
        let mut body = Vec::new();
        state.write(reported.as_ref(), &self.resource, self.notifies, context.mac, &mut body);
        let subscription_state = format!("terminated;reason={}", reason.as_str());
        self.phase = Phase::Terminated;
        self.notify(subscription_state.as_bytes(), &body, context);
    }

    /// Sends a NOTIFY. One that is still under way is superseded: the new one has all that the other had.
    fn notify(&mut self, subscription_state: &[u8], body: &[u8], context: &mut Context<'_>) {
        let NextHop::Hop(hop) = self.dialog.next_hop.clone() else { return };
        let (settings, sequence) = (context.settings, self.notifies.wrapping_add(1));
        let LocalTag { worker, id } = self.dialog.tag;
        let branch = ViaBranch::Notify { worker, id: NotifyId { subscription: id, sequence } };
        let (mark, now) = (context.outbox.mark(), context.now.mono);
        let send = |hop: &Hop, context: &mut Context<'_>| {
            let notice = Notice { hop, branch, sequence, subscription_state, body };
            let text = context.outbox.send(hop, true, |out| self.dialog.write(&notice, settings, out));
            Notify::sent(sequence, hop.clone(), text, &settings.timers, now)
        };
        let mut notify = send(&hop, context);
        let length = context.outbox.len_since(mark);
        let way = (&hop, self.dialog.over_flow);
        if let Some(over_tcp) = large::hop_over_tcp(way, length, settings, context.udp_only, now) {
            context.outbox.retract(mark);
            context.outbox.emit(Event::LargeRequest { outcome: LargeRequest::OverTcp });
            // A peer that accepts the connection and sends nothing may not support TCP.
            let at = now + settings.timers.give_up() / 2;
            notify = send(&over_tcp, context).or_over_udp(notify.into_over_udp(at));
        }
        (self.under_way, self.notifies) = (Some(notify), sequence);
    }

    /// A NOTIFY has its final response, and the subscription continues.
    fn finish(&mut self, outcome: Notification, context: &mut Context<'_>) {
        context.outbox.emit(Event::Notified { outcome });
        self.under_way = None;
        self.proceed(context);
    }

    /// A NOTIFY failed, and the subscription with it (RFC 6665 4.2.2).
    fn fail(&mut self, outcome: Notification, context: &mut Context<'_>) {
        context.outbox.emit(Event::Notified { outcome });
        self.under_way = None;
        self.phase = Phase::Terminated;
    }
}
