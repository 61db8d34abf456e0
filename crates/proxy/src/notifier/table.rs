//! All subscriptions of one worker: by local tag for SUBSCRIBEs and responses, by resource for changes.
//!
//! Must not know the phases of a subscription.

use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use location::Aor;
use parser::headers::To;
use parser::{Message, read_hex, write_hex};
use smallvec::SmallVec;

use crate::clock::Instant;
use crate::context::Context;
use crate::event_package::EventPackage;
use crate::mac::{Mac, Purpose};
use crate::request::TransactionKey;
use crate::subscriber_index::{Bucket, SubscriberIndex};
use crate::timer_queue::{Armed, Timer, TimerQueue};
use crate::transaction::is_due;

use super::subscription::Subscription;

/// Our tag in the dialog of a subscription (RFC 3261 12), which identifies it: its worker, and a keyed hash of the
/// transaction of its first SUBSCRIBE. So a retransmission of that finds the subscription, and an attacker cannot
/// guess the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalTag {
    pub(crate) worker: u8,
    pub(crate) id: u64,
}

/// The subscriptions of one worker.
pub(crate) struct Subscriptions {
    by_id: HashMap<u64, Entry>,
    /// Those to registrations that still report the state of a resource.
    registrations: Listed,
    /// Those to dialogs.
    dialogs: Listed,
    /// For each bucket of the index the number of resources in `registrations` and `dialogs`.
    buckets: HashMap<Bucket, u32>,
    subscriber_index: Arc<SubscriberIndex>,
}

/// The subscriptions to one event package, by resource.
type Listed = HashMap<Aor, SmallVec<[u64; 2]>>;

struct Entry {
    subscription: Box<Subscription>,
    timer: Armed,
    /// Whether `registrations` or `dialogs` has it.
    listed: bool,
}

impl LocalTag {
    /// The length of the tag in octets.
    pub(super) const LENGTH: usize = 18;

    /// The tag of the subscription that this SUBSCRIBE begins.
    pub(crate) fn new(key: TransactionKey, worker: u8, mac: &Mac) -> Self {
        Self { worker, id: mac.sign(Purpose::Notifier, &[b"subscription", &key.0.to_be_bytes()]) }
    }

    /// The tag in the To of a request; `None` if it is not of this form.
    pub(super) fn in_to(request: &Message) -> Option<Self> {
        let to = request.header::<To<'_>>().ok()??;
        let (worker, id) = to.tag().filter(|tag| tag.len() == Self::LENGTH)?.split_at_checked(2)?;
        Some(Self { worker: u8::try_from(read_hex(worker)?).ok()?, id: read_hex(id)? })
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        write_hex(out, self.worker, 2);
        write_hex(out, self.id, 16);
    }
}

impl Subscriptions {
    pub(crate) fn new(subscriber_index: Arc<SubscriberIndex>) -> Self {
        let (registrations, dialogs) = (Listed::default(), Listed::default());
        let (by_id, buckets) = (HashMap::new(), HashMap::new());
        Self { by_id, registrations, dialogs, buckets, subscriber_index }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is a worker with this number.
    pub(crate) fn has_worker(&self, worker: u8) -> bool {
        self.subscriber_index.has(worker)
    }

    /// The workers that may have a subscription to this user.
    pub(crate) fn workers_for(&self, aor: &Aor, mac: &Mac) -> impl Iterator<Item = u8> + use<> {
        self.subscriber_index.workers_for(aor, mac)
    }

    /// The subscriptions to this resource that are not terminated.
    pub(crate) fn to(&self, package: EventPackage, aor: &Aor) -> impl Iterator<Item = u64> {
        self.listed(package).get(aor).into_iter().flatten().copied()
    }

    const fn listed(&self, package: EventPackage) -> &Listed {
        match package {
            EventPackage::Reg => &self.registrations,
            EventPackage::Dialog => &self.dialogs,
        }
    }

    pub(crate) fn find(&self, id: u64) -> Option<&Subscription> {
        self.by_id.get(&id).map(|entry| &*entry.subscription)
    }

    /// Adds the subscription that `begin` returns. The index has it before it reads the state, so that it misses no
    /// change.
    pub(crate) fn insert(
        &mut self,
        LocalTag { id, .. }: LocalTag,
        (package, aor): (EventPackage, &Aor),
        context: &mut Context<'_>,
        begin: impl FnOnce(&mut Context<'_>) -> Subscription,
    ) {
        self.list(id, (package, aor), context);
        let subscription = Box::new(begin(context));
        self.by_id.insert(id, Entry { subscription, timer: Armed::default(), listed: true });
        self.settle(id, context);
    }

    /// Calls `act` with a subscription, then sets its next deadline or removes it. `None` if there is no subscription
    /// with this id.
    pub(crate) fn with<R>(
        &mut self,
        id: u64,
        context: &mut Context<'_>,
        act: impl FnOnce(&mut Subscription, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let entry = self.by_id.get_mut(&id)?;
        let done = act(&mut entry.subscription, context);
        self.settle(id, context);
        Some(done)
    }

    /// The settings have changed.
    pub(crate) fn on_new_settings(&mut self, timers: &mut TimerQueue) {
        for (id, entry) in &mut self.by_id {
            entry.subscription.on_new_settings();
            entry.timer.arm(entry.subscription.deadline(), Timer::Subscription(*id), timers);
        }
    }

    /// The timer of a subscription that was armed for `at` has fired.
    pub(crate) fn timeout(&mut self, id: u64, at: Instant, context: &mut Context<'_>) {
        let Some(entry) = self.by_id.get_mut(&id).filter(|entry| entry.timer.is_at(at)) else { return };
        entry.timer.fired(at);
        if is_due(entry.subscription.deadline(), context.now.mono) {
            entry.subscription.timeout(context);
        }
        self.settle(id, context);
    }

    /// Whether the timer of a subscription is armed for `at`.
    pub(crate) fn is_armed(&self, id: u64, at: Instant) -> bool {
        self.by_id.get(&id).is_some_and(|entry| entry.timer.is_at(at))
    }

    /// Removes a subscription that has ended; else updates the index and arms its timer.
    fn settle(&mut self, id: u64, context: &mut Context<'_>) {
        let Some(entry) = self.by_id.get_mut(&id) else { return };
        let subscription = &entry.subscription;
        let unlisted = entry.listed && subscription.is_terminated();
        entry.listed &= !unlisted;
        let ended = subscription.is_removable(context.now.mono);
        let deadline = subscription.deadline().filter(|_| !ended);
        let resource = unlisted.then(|| (subscription.package(), subscription.parties().0.clone()));
        entry.timer.arm(deadline, Timer::Subscription(id), context.timers);
        if let Some((package, aor)) = resource {
            self.unlist(id, (package, &aor), context);
        }
        if ended {
            self.by_id.remove(&id);
        }
    }

    const fn listed_mut(&mut self, package: EventPackage) -> &mut Listed {
        match package {
            EventPackage::Reg => &mut self.registrations,
            EventPackage::Dialog => &mut self.dialogs,
        }
    }

    fn list(&mut self, id: u64, (package, aor): (EventPackage, &Aor), context: &Context<'_>) {
        if package == EventPackage::Dialog {
            self.subscriber_index.watch(aor);
        }
        let own = self.listed_mut(package).entry_ref(aor).or_default();
        own.push(id);
        if own.len() > 1 {
            return;
        }
        let bucket = Bucket::of(aor, context.mac);
        let resources = self.buckets.entry(bucket).or_default();
        *resources += 1;
        if *resources == 1 {
            self.subscriber_index.add(bucket, context.worker);
        }
    }

    fn unlist(&mut self, id: u64, (package, aor): (EventPackage, &Aor), context: &Context<'_>) {
        if package == EventPackage::Dialog {
            self.subscriber_index.unwatch(aor);
        }
        let EntryRef::Occupied(mut own) = self.listed_mut(package).entry_ref(aor) else { return };
        own.get_mut().retain(|other| *other != id);
        if !own.get().is_empty() {
            return;
        }
        own.remove();
        let bucket = Bucket::of(aor, context.mac);
        let Some(resources) = self.buckets.get_mut(&bucket) else { return };
        *resources -= 1;
        if *resources == 0 {
            self.buckets.remove(&bucket);
            self.subscriber_index.remove(bucket, context.worker);
        }
    }
}
