//! Which workers have subscriptions to which resource. A worker that changes a record reads it, to send a message
//! only to the workers that need one.
//!
//! It also knows which users' calls are watched, here and at other nodes (`node_calls`).
//!
//! Shared by all workers, without a lock. A change costs one atomic load while there is no subscription, and two
//! otherwise. Resources share buckets, so false positives are possible. False negatives are not: a subscription is
//! added before it reads the state, and a record is committed before the index is read. Must not know the
//! subscriptions themselves.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use location::Aor;

use crate::calls::{CallInProgress, Interest, SharedInterest};
use crate::mac::{Mac, Purpose};

/// With 10,000 subscriptions, the default limit of a worker, each bucket has two or three resources.
const BUCKETS: usize = 4096;

/// Which workers have subscriptions, by the address-of-record subscribed to. One for all cores.
#[derive(Debug)]
pub struct SubscriberIndex {
    workers: u8,
    /// The number of bits that are set in all buckets.
    bits: AtomicUsize,
    /// For each bucket one bit for each worker with a subscription in it.
    buckets: Box<[AtomicU64]>,
    /// For each bucket the number of changes since the start, as far as they have to be counted.
    versions: Box<[AtomicU32]>,
    /// The number of subscriptions to calls here, by [`Interest::bucket_of`] the user.
    watched: Box<[AtomicU32]>,
    /// The users that the other nodes know to be watched here.
    told: SharedInterest,
    /// The users that other nodes watch.
    of_nodes: SharedInterest,
}

/// The bucket of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bucket(usize);

impl Bucket {
    pub(crate) fn of(aor: &Aor, mac: &Mac) -> Self {
        let hash = mac.sign(Purpose::Notifier, &[b"bucket", aor.as_bytes()]);
        Self(usize::try_from(hash % BUCKETS as u64).unwrap_or(0))
    }
}

impl SubscriberIndex {
    /// An empty index for this number of workers, at most 64.
    pub fn new(workers: u8) -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        let numbers = |count| (0..count).map(|_| AtomicU32::new(0)).collect();
        Self {
            workers: workers.min(64),
            bits: AtomicUsize::new(0),
            buckets,
            versions: numbers(BUCKETS),
            watched: numbers(Interest::BUCKETS),
            told: SharedInterest::new(),
            of_nodes: SharedInterest::new(),
        }
    }

    /// A subscription to the calls of this user begins.
    pub(crate) fn watch(&self, user: &Aor) {
        self.watched_at(user).map(|count| count.fetch_add(1, Ordering::AcqRel));
    }

    /// Such a subscription has ended.
    pub(crate) fn unwatch(&self, user: &Aor) {
        self.watched_at(user).map(|count| count.fetch_sub(1, Ordering::AcqRel));
    }

    fn watched_at(&self, user: &Aor) -> Option<&AtomicU32> {
        self.watched.get(Interest::bucket_of(user.as_bytes()))
    }

    /// The users whose calls are watched here.
    pub(crate) fn interest(&self) -> Interest {
        let counts = self.watched.iter().map(|count| count.load(Ordering::Acquire));
        Interest::of_buckets((0..).zip(counts).filter(|(_, count)| *count > 0).map(|(bucket, _)| bucket))
    }

    /// Whether a user of this call is watched here, or was when the other nodes were told.
    pub(crate) fn watches(&self, call: &CallInProgress) -> bool {
        let count = |user| self.watched.get(Interest::bucket_of(user)).map_or(0, |count| count.load(Ordering::Acquire));
        call.parties().any(|user| self.told.has(user) || count(user) > 0)
    }

    /// What the other nodes know of [`Self::interest`].
    pub(crate) const fn told(&self) -> &SharedInterest {
        &self.told
    }

    /// The users that other nodes watch.
    pub(crate) const fn of_nodes(&self) -> &SharedInterest {
        &self.of_nodes
    }

    /// Replaces the users that other nodes watch: [`Self::count`] counts all of them as one.
    pub(crate) fn set_of_nodes(&self, users: &Interest) {
        match (self.of_nodes.is_empty(), users.is_empty()) {
            (true, false) => _ = self.bits.fetch_add(1, Ordering::AcqRel),
            (false, true) => _ = self.bits.fetch_sub(1, Ordering::AcqRel),
            _ => {}
        }
        self.of_nodes.set(users);
    }

    /// Whether there is a worker with this number.
    pub(crate) const fn has(&self, worker: u8) -> bool {
        worker < self.workers
    }

    /// Zero if there is no subscription.
    pub(crate) const fn count(&self) -> &AtomicUsize {
        &self.bits
    }

    /// Counts a change of this resource, so that a subscription notices it although the message to its worker is lost.
    pub(crate) fn note_change(&self, aor: &Aor, mac: &Mac) {
        let Bucket(bucket) = Bucket::of(aor, mac);
        if let Some(version) = self.versions.get(bucket) {
            version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The number of changes of this resource and of others that share its bucket.
    pub(crate) fn version(&self, aor: &Aor, mac: &Mac) -> u32 {
        let Bucket(bucket) = Bucket::of(aor, mac);
        self.versions.get(bucket).map_or(0, |version| version.load(Ordering::Acquire))
    }

    /// Whether there is any subscription.
    pub(crate) fn is_used(&self) -> bool {
        self.bits.load(Ordering::Acquire) > 0
    }

    /// The workers that may have a subscription to this resource.
    pub(crate) fn workers_for(&self, aor: &Aor, mac: &Mac) -> impl Iterator<Item = u8> + use<> {
        let Bucket(bucket) = if self.bits.load(Ordering::Acquire) > 0 { Bucket::of(aor, mac) } else { Bucket(BUCKETS) };
        let bits = self.buckets.get(bucket).map_or(0, |bucket| bucket.load(Ordering::Acquire));
        let workers = if bits == 0 { 0 } else { self.workers };
        (0..workers).filter(move |worker| bits >> worker & 1 != 0)
    }

    /// Adds a worker that has its first subscription in this bucket.
    pub(crate) fn add(&self, Bucket(bucket): Bucket, worker: u8) {
        self.bits.fetch_add(1, Ordering::AcqRel);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_or(bit(worker), Ordering::AcqRel);
        }
    }

    /// Removes a worker whose last subscription in this bucket has ended.
    pub(crate) fn remove(&self, Bucket(bucket): Bucket, worker: u8) {
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_and(!bit(worker), Ordering::AcqRel);
        }
        self.bits.fetch_sub(1, Ordering::AcqRel);
    }
}

fn bit(worker: u8) -> u64 {
    1_u64.checked_shl(worker.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_found_until_its_last_subscription_ends() {
        // checklist 155
        let (subscriber_index, mac, aor) =
            (SubscriberIndex::new(3), Mac::new([1; 16]), Aor::new(b"bob", b"office.example"));
        let workers = || subscriber_index.workers_for(&aor, &mac).collect::<Vec<_>>();
        assert_eq!(workers(), []);
        let bucket = Bucket::of(&aor, &mac);
        subscriber_index.add(bucket, 0);
        subscriber_index.add(bucket, 2);
        assert_eq!(workers(), [0, 2]);
        subscriber_index.remove(bucket, 0);
        assert_eq!(workers(), [2]);
        subscriber_index.remove(bucket, 2);
        assert_eq!((workers(), subscriber_index.bits.load(Ordering::Acquire)), (vec![], 0));
        assert!(subscriber_index.has(2) && !subscriber_index.has(3));
    }
}
