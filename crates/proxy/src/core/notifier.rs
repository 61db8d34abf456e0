//! The steps of a subscription to registrations: SUBSCRIBE, a change, the record, the response to a NOTIFY (RFC 3680).

use std::sync::Arc;

use location::{Aor, Flow, Record};
use parser::Message;

use super::Core;
use crate::ask::Answer;
use crate::clock::Now;
use crate::context::Context;
use crate::event::{Drop, Event, Limit};
use crate::forward::NotifyId;
use crate::hop;
use crate::notifier::{InitialSubscribe, LocalTag, SubscribeKind, Subscription, Subscriptions};
use crate::outbox::{CoreMessage, Handover, Outbox};
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::Authentication;

impl Core {
    /// A SUBSCRIBE that is for this worker.
    pub(super) fn receive_subscribe(&mut self, now: Now, request: &Request, meant: SubscribeKind, outbox: &mut Outbox) {
        if let Err(reject) = self.subscribe(now, request, meant, outbox) {
            self.refuse(now, request, reject, outbox);
        }
    }

    fn subscribe(
        &mut self,
        now: Now,
        request: &Request,
        meant: SubscribeKind,
        outbox: &mut Outbox,
    ) -> Result<(), Reject> {
        let settings = Arc::clone(&self.settings);
        let aor = match meant {
            SubscribeKind::Initial(aor) => aor,
            SubscribeKind::InDialog(tag) => {
                self.admit_refresh(now, request, tag, outbox)?;
                let (subscriptions, mut context) = self.notifier(now, outbox);
                let refresh = |subscription: &mut Subscription, context: &mut Context<'_>| {
                    subscription.refresh(request, &settings, context)
                };
                return subscriptions.with(tag.id, &mut context, refresh).unwrap_or(Err(Reject::Subscription));
            }
        };
        let tag = LocalTag::new(request.key, self.worker, &self.mac);
        if let Some(answered) = self.subscriptions.find(tag.id).map(Subscription::answered) {
            let (_, mut context) = self.notifier(now, outbox);
            answered.answer(tag, request, &settings, &mut context);
            return Ok(());
        }
        let watcher = self.admit_subscriber(now, request, &aor, outbox)?;
        let asked = InitialSubscribe::of(request, tag, &settings)?;
        self.has_room(&aor, outbox)?;
        let (subscriptions, mut context) = self.notifier(now, outbox);
        subscriptions.insert(tag, &aor, &mut context, |context| {
            Subscription::begin((aor.clone(), watcher), request, asked, &settings, context)
        });
        Ok(())
    }

    /// A SUBSCRIBE within its dialog needs no credentials from where the last one came from; from elsewhere those of the
    /// same user.
    fn admit_refresh(&mut self, now: Now, request: &Request, tag: LocalTag, outbox: &mut Outbox) -> Result<(), Reject> {
        let subscription = self.subscriptions.find(tag.id).ok_or(Reject::Subscription)?;
        let from_there = subscription.is_from(&request.source(), &self.connections);
        if from_there || self.settings.authentication == Authentication::Off {
            return Ok(());
        }
        let aor = subscription.parties().0.clone();
        let watcher = self.admit_subscriber(now, request, &aor, outbox)?;
        let same = self.subscriptions.find(tag.id).is_some_and(|it| it.parties().1.is(&watcher));
        if same { Ok(()) } else { Err(Reject::Subscriber) }
    }

    /// Each change of a user's bindings is so many NOTIFYs: there is a limit for one as well as for all.
    fn has_room(&self, aor: &Aor, outbox: &mut Outbox) -> Result<(), Reject> {
        let limits = &self.settings.limits;
        let reached = if self.subscriptions.len() >= limits.subscriptions {
            Limit::Subscriptions
        } else if self.subscriptions.to(aor).count() >= limits.subscriptions_per_user {
            Limit::SubscriptionsPerUser
        } else {
            return Ok(());
        };
        outbox.emit(Event::LimitReached(reached));
        Err(Reject::Overload)
    }

    /// The bindings of a user have changed: its subscribers are notified, at whichever worker they are.
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

    /// The same, told here.
    pub(super) fn registration_changed(&mut self, now: Now, aor: &Aor, outbox: &mut Outbox) {
        let watchers: Vec<u64> = self.subscriptions.to(aor).collect();
        let (subscriptions, mut context) = self.notifier(now, outbox);
        for id in watchers {
            subscriptions.with(id, &mut context, Subscription::changed);
        }
    }

    /// The answer to the look of a subscription at its record.
    pub(super) fn looked(&mut self, now: Now, id: u64, record: Option<Option<Record>>, outbox: &mut Outbox) {
        let settings = Arc::clone(&self.settings);
        let (subscriptions, mut context) = self.notifier(now, outbox);
        subscriptions.with(id, &mut context, |watcher, context| watcher.looked(record, &settings, context));
    }

    /// What DNS says of where the NOTIFYs of a subscription go.
    pub(super) fn reached(&mut self, now: Now, id: u64, host: &hop::Name, answer: &Answer, outbox: &mut Outbox) {
        let settings = Arc::clone(&self.settings);
        let (subscriptions, mut context) = self.notifier(now, outbox);
        subscriptions.with(id, &mut context, |watcher, context| watcher.reached(host, answer, &settings, context));
    }

    /// A response to a NOTIFY of this worker.
    pub(super) fn notify_answered(
        &mut self,
        now: Now,
        id: NotifyId,
        response: &Message,
        source: &Flow,
        outbox: &mut Outbox,
    ) {
        let settings = Arc::clone(&self.settings);
        let (subscriptions, mut context) = self.notifier(now, outbox);
        let hear = |watcher: &mut Subscription, context: &mut Context<'_>| {
            watcher.heard(id.sequence, response, source, &settings, context);
        };
        if subscriptions.with(id.subscription, &mut context, hear).is_none() {
            outbox.emit(Event::Dropped(Drop::StrayResponse));
        }
    }

    /// A NOTIFY could not be sent.
    pub(super) fn notify_undelivered(&mut self, now: Now, id: NotifyId, outbox: &mut Outbox) {
        let (subscriptions, mut context) = self.notifier(now, outbox);
        subscriptions.with(id.subscription, &mut context, |watcher, context| watcher.undelivered(id.sequence, context));
    }

    /// The subscriptions, and the context they work in.
    pub(super) fn notifier<'a>(&'a mut self, now: Now, outbox: &'a mut Outbox) -> (&'a mut Subscriptions, Context<'a>) {
        let (_, subscriptions, context) = self.parts(now, outbox);
        (subscriptions, context)
    }
}
