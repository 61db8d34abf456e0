//! The steps of a subscription: a SUBSCRIBE, a change of the state, the state itself, the response to a NOTIFY (RFC
//! 6665 4.2).
//!
//! Connects the notifier with authorization, the store and the other workers. Must not decide what a NOTIFY says.

use location::{Aor, Flow};
use parser::Message;

use super::Core;
use crate::ask::Answer;
use crate::calls::{CallInProgress, CallsChange};
use crate::clock::Now;
use crate::context::Context;
use crate::event::{Drop, Event, Limit};
use crate::event_package::EventPackage;
use crate::forward::NotifyId;
use crate::hop;
use crate::notifier::{InitialSubscribe, LocalTag, SubscribeKind, Subscription, Subscriptions};
use crate::outbox::{CoreMessage, Handover, Outbox};
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::Authentication;

impl Core {
    /// Answers a SUBSCRIBE that this worker has to handle.
    pub(super) fn receive_subscribe(&mut self, now: Now, request: &Request, kind: SubscribeKind, outbox: &mut Outbox) {
        let handled = match kind {
            SubscribeKind::Initial(package, aor) => self.begin_subscription(now, request, (package, aor), outbox),
            SubscribeKind::InDialog(tag) => self.refresh_subscription(now, request, tag, outbox),
        };
        if let Err(reject) = handled {
            self.refuse(now, request, reject, outbox);
        }
    }

    fn begin_subscription(
        &mut self,
        now: Now,
        request: &Request,
        (package, aor): (EventPackage, Aor),
        outbox: &mut Outbox,
    ) -> Result<(), Reject> {
        let tag = LocalTag::new(request.key, self.worker, &self.mac);
        // This is a retransmission.
        if let Some(accepted) = self.subscriptions.find(tag.id).map(Subscription::accepted) {
            let (_, mut context) = self.notifier(now, outbox);
            accepted.answer(tag, request, &mut context);
            return Ok(());
        }
        let subscriber = self.admit_subscriber(now, request, (package, &aor), outbox)?;
        let subscribe = InitialSubscribe::of(package, request, tag, &self.settings)?;
        self.has_room(package, &aor, outbox)?;
        let (subscriptions, mut context) = self.notifier(now, outbox);
        subscriptions.insert(tag, (package, &aor), &mut context, |context| {
            Subscription::begin((aor.clone(), subscriber), request, subscribe, context)
        });
        if package == EventPackage::Dialog {
            self.watch_at_nodes(now, &aor, outbox);
        }
        Ok(())
    }

    fn refresh_subscription(
        &mut self,
        now: Now,
        request: &Request,
        tag: LocalTag,
        outbox: &mut Outbox,
    ) -> Result<(), Reject> {
        self.admit_refresh(now, request, tag, outbox)?;
        let (subscriptions, mut context) = self.notifier(now, outbox);
        let refresh =
            |subscription: &mut Subscription, context: &mut Context<'_>| subscription.refresh(request, context);
        subscriptions.with(tag.id, &mut context, refresh).unwrap_or(Err(Reject::Subscription))
    }

    /// A SUBSCRIBE in its dialog needs no credentials if it comes from the source of the last one. From another
    /// source it needs those of the same user.
    fn admit_refresh(&mut self, now: Now, request: &Request, tag: LocalTag, outbox: &mut Outbox) -> Result<(), Reject> {
        let subscription = self.subscriptions.find(tag.id).ok_or(Reject::Subscription)?;
        let is_from_source = subscription.is_from(&request.source(), &self.connections);
        if is_from_source || self.settings.authentication == Authentication::Off {
            return Ok(());
        }
        let (package, resource) = (subscription.package(), subscription.parties().0.clone());
        let subscriber = self.admit_subscriber(now, request, (package, &resource), outbox)?;
        let is_same = self.subscriptions.find(tag.id).is_some_and(|it| it.parties().1.is(&subscriber));
        if is_same { Ok(()) } else { Err(Reject::Subscriber) }
    }

    /// Each change of a user's bindings or calls causes one NOTIFY for each subscription to them. So there is a limit for
    /// each user as well as for all.
    fn has_room(&self, package: EventPackage, aor: &Aor, outbox: &mut Outbox) -> Result<(), Reject> {
        let limits = &self.settings.limits;
        let reached = if self.subscriptions.len() >= limits.subscriptions {
            Limit::Subscriptions
        } else if self.subscriptions.to(package, aor).count() >= limits.subscriptions_per_user {
            Limit::SubscriptionsPerUser
        } else {
            return Ok(());
        };
        outbox.emit(Event::LimitReached(reached));
        Err(Reject::Overload)
    }

    /// The bindings of a user have changed. Notifies the subscribers at all workers.
    pub(super) fn notify_subscribers(&mut self, now: Now, aor: &Aor, outbox: &mut Outbox) {
        for worker in self.subscriptions.workers_for(aor, &self.mac) {
            if worker == self.worker {
                self.registration_changed(now, aor, outbox);
            } else {
                let core_message = CoreMessage::RegistrationChanged(aor.clone());
                outbox.handovers.push(Handover { worker: Some(worker), core_message });
            }
        }
    }

    /// Notifies the subscribers of this worker.
    pub(super) fn registration_changed(&mut self, now: Now, aor: &Aor, outbox: &mut Outbox) {
        let ids: Vec<u64> = self.subscriptions.to(EventPackage::Reg, aor).collect();
        let (subscriptions, mut context) = self.notifier(now, outbox);
        for id in ids {
            subscriptions.with(id, &mut context, Subscription::on_change);
        }
    }

    /// Tells the subscribers, at all workers, of the users whose calls have changed in this call of the driver. A message
    /// to another worker may be lost; its subscriptions notice that by the number of changes.
    pub(super) fn announce_calls(&mut self, now: Now, outbox: &mut Outbox) {
        for CallsChange { call, users, ended } in self.calls.take_changes() {
            self.tell_change(now, call, &users, ended.as_ref(), outbox);
            for user in users {
                let watched = self.calls.watched();
                watched.note_change(&user, &self.mac);
                for worker in watched.workers_for(&user, &self.mac) {
                    if worker == self.worker {
                        self.calls_changed(now, &user, ended.as_deref(), outbox);
                    } else {
                        let core_message = CoreMessage::CallsChanged { user: user.clone(), ended: ended.clone() };
                        outbox.handovers.push(Handover { worker: Some(worker), core_message });
                    }
                }
            }
        }
    }

    /// Notifies the subscribers of this worker. `ended`: the call, if it is not in the table any more.
    pub(super) fn calls_changed(&mut self, now: Now, user: &Aor, ended: Option<&CallInProgress>, outbox: &mut Outbox) {
        let ids: Vec<u64> = self.subscriptions.to(EventPackage::Dialog, user).collect();
        let (subscriptions, mut context) = self.notifier(now, outbox);
        for id in ids {
            subscriptions.with(id, &mut context, |subscription, context| {
                ended.into_iter().for_each(|call| subscription.on_call_end(call, context));
                subscription.on_change(context);
            });
        }
    }

    /// Continues a subscription that has read its state.
    pub(super) fn notify_state_answered(&mut self, now: Now, id: u64, answer: Answer, outbox: &mut Outbox) {
        let (subscriptions, mut context) = self.notifier(now, outbox);
        subscriptions.with(id, &mut context, |subscription, context| subscription.on_state(answer, context));
    }

    /// Continues a subscription with the addresses of the host that its NOTIFYs go to.
    pub(super) fn notify_target_resolved(
        &mut self,
        now: Now,
        id: u64,
        host: &hop::Name,
        answer: &Answer,
        outbox: &mut Outbox,
    ) {
        let (subscriptions, mut context) = self.notifier(now, outbox);
        subscriptions.with(id, &mut context, |subscription, context| subscription.on_resolved(host, answer, context));
    }

    /// Passes a response to the subscription whose NOTIFY it answers.
    pub(super) fn notify_answered(
        &mut self,
        now: Now,
        id: NotifyId,
        response: &Message,
        source: &Flow,
        outbox: &mut Outbox,
    ) {
        let (subscriptions, mut context) = self.notifier(now, outbox);
        let receive = |subscription: &mut Subscription, context: &mut Context<'_>| {
            subscription.on_response(id.sequence, response, source, context);
        };
        if subscriptions.with(id.subscription, &mut context, receive).is_none() {
            outbox.emit(Event::Dropped(Drop::StrayResponse));
        }
    }

    /// Reports a NOTIFY that could not be sent to its subscription.
    pub(super) fn notify_undelivered(&mut self, now: Now, id: NotifyId, outbox: &mut Outbox) {
        let (subscriptions, mut context) = self.notifier(now, outbox);
        subscriptions.with(id.subscription, &mut context, |subscription, context| {
            subscription.on_undelivered(id.sequence, context);
        });
    }

    /// The subscriptions, and the context for their methods.
    pub(super) fn notifier<'a>(&'a mut self, now: Now, outbox: &'a mut Outbox) -> (&'a mut Subscriptions, Context<'a>) {
        let (_, subscriptions, context) = self.parts(now, outbox);
        (subscriptions, context)
    }
}
