//! All subscriptions of one worker: by local tag for SUBSCRIBEs and responses, by user for changes, by time.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use location::Aor;
use parser::headers::To;
use parser::{Message, read_hex, write_hex};
use smallvec::SmallVec;

use crate::clock::Instant;
use crate::context::Context;
use crate::mac::{Mac, Purpose};
use crate::request::TransactionKey;

use super::subscriber_index::{Bucket, SubscriberIndex};
use super::subscription::Subscription;

/// Our tag in the dialog of a subscription, which names it (RFC 3261 12): its worker, and a keyed hash of the SUBSCRIBE that
/// began it. So a copy of that finds it, and nobody guesses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalTag {
    pub(crate) worker: u8,
    pub(crate) id: u64,
}

/// The subscriptions of one worker.
pub(crate) struct Subscriptions {
    by_id: HashMap<u64, Entry>,
    /// Those that want to hear of this user.
    by_aor: HashMap<Aor, SmallVec<[u64; 2]>>,
    /// How many users stand at the places where we have a mark.
    places: HashMap<Bucket, u32>,
    subscriber_index: Arc<SubscriberIndex>,
    agenda: BTreeSet<(Instant, u64)>,
}

struct Entry {
    subscription: Box<Subscription>,
    /// Its place in `agenda`.
    booked: Option<Instant>,
    /// Whether it stands in `by_aor`.
    listed: bool,
}

impl LocalTag {
    /// Octets of a To tag.
    pub(super) const LENGTH: usize = 18;

    /// Of the subscription that a SUBSCRIBE begins here.
    pub(crate) fn new(key: TransactionKey, worker: u8, mac: &Mac) -> Self {
        Self { worker, id: mac.sign(Purpose::Watch, &[b"subscription", &key.0.to_be_bytes()]) }
    }

    /// That stands in the To of a request.
    pub(super) fn in_to(request: &Message) -> Option<Self> {
        let to = request.header::<To<'_>>().ok()??;
        let (worker, id) = to.tag().filter(|tag| tag.len() == Self::LENGTH)?.split_at_checked(2)?;
        Some(Self { worker: u8::try_from(read_hex(worker)?).ok()?, id: read_hex(id)? })
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        write_hex(out, self.worker.into(), 2);
        write_hex(out, self.id, 16);
    }
}

impl Subscriptions {
    pub(crate) fn new(subscriber_index: Arc<SubscriberIndex>) -> Self {
        let (by_id, by_aor, places) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { by_id, by_aor, places, subscriber_index, agenda: BTreeSet::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is a worker of that number.
    pub(crate) fn has_worker(&self, worker: u8) -> bool {
        self.subscriber_index.has(worker)
    }

    /// The workers that have a subscriber to this user.
    pub(crate) fn workers_for(&self, aor: &Aor, mac: &Mac) -> impl Iterator<Item = u8> + use<> {
        self.subscriber_index.by(aor, mac)
    }

    /// The subscriptions to this user.
    pub(crate) fn to(&self, aor: &Aor) -> impl Iterator<Item = u64> {
        self.by_aor.get(aor).into_iter().flatten().copied()
    }

    pub(crate) fn find(&self, id: u64) -> Option<&Subscription> {
        self.by_id.get(&id).map(|entry| &*entry.subscription)
    }

    /// Keeps what `begin` begins. It stands on the subscriber_index before it asks for its record, so that it misses no change.
    pub(crate) fn insert(
        &mut self,
        LocalTag { worker, id }: LocalTag,
        aor: &Aor,
        context: &mut Context<'_>,
        begin: impl FnOnce(&mut Context<'_>) -> Subscription,
    ) {
        self.list(id, worker, aor, context.mac);
        let subscription = Box::new(begin(context));
        self.by_id.insert(id, Entry { subscription, booked: None, listed: true });
        self.settle(id, context);
    }

    /// Lets `act` work on a subscription, then books its next deadline or drops it. None if there is no such one.
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

    /// The settings are others.
    pub(crate) fn reconfigured(&mut self) {
        for (id, entry) in &mut self.by_id {
            entry.subscription.reconfigured();
            entry.book(*id, entry.subscription.deadline(), &mut self.agenda);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| *at)
    }

    pub(crate) fn timeout(&mut self, context: &mut Context<'_>) {
        let now = context.now.mono;
        // What comes due by what is done here waits for the next call.
        for _ in 0..self.agenda.len() {
            let Some(&(_, id)) = self.agenda.first().filter(|(at, _)| *at <= now) else { return };
            self.with(id, context, Subscription::timeout);
        }
    }

    fn settle(&mut self, id: u64, context: &Context<'_>) {
        let Some(entry) = self.by_id.get_mut(&id) else { return };
        let subscription = &entry.subscription;
        let unlisted = entry.listed && subscription.is_over();
        entry.listed &= !unlisted;
        let ended = subscription.is_terminated(context.now.mono);
        let deadline = subscription.deadline().filter(|_| !ended);
        let aor = unlisted.then(|| subscription.aor().clone());
        entry.book(id, deadline, &mut self.agenda);
        if let Some(aor) = aor {
            self.unlist(id, context.worker, &aor, context.mac);
        }
        if ended {
            self.by_id.remove(&id);
        }
    }

    fn list(&mut self, id: u64, worker: u8, aor: &Aor, mac: &Mac) {
        let own = self.by_aor.entry_ref(aor).or_default();
        own.push(id);
        if own.len() > 1 {
            return;
        }
        let place = Bucket::of(aor, mac);
        let users = self.places.entry(place).or_default();
        *users += 1;
        if *users == 1 {
            self.subscriber_index.mark(place, worker);
        }
    }

    fn unlist(&mut self, id: u64, worker: u8, aor: &Aor, mac: &Mac) {
        let EntryRef::Occupied(mut own) = self.by_aor.entry_ref(aor) else { return };
        own.get_mut().retain(|other| *other != id);
        if !own.get().is_empty() {
            return;
        }
        own.remove();
        let place = Bucket::of(aor, mac);
        let Some(users) = self.places.get_mut(&place) else { return };
        *users -= 1;
        if *users == 0 {
            self.places.remove(&place);
            self.subscriber_index.clear(place, worker);
        }
    }
}

impl Entry {
    fn book(&mut self, id: u64, deadline: Option<Instant>, agenda: &mut BTreeSet<(Instant, u64)>) {
        if self.booked == deadline {
            return;
        }
        if let Some(at) = std::mem::replace(&mut self.booked, deadline) {
            agenda.remove(&(at, id));
        }
        agenda.extend(deadline.map(|at| (at, id)));
    }
}
