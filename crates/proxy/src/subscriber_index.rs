//! Which workers have subscriptions to which resource. A worker that changes a record reads it, to send a message
//! only to the workers that need one.
//!
//! Shared by all workers, without a lock. A change costs one atomic load while there is no subscription, and two
//! otherwise. Resources share buckets, so false positives are possible. False negatives are not: a subscription is
//! added before it reads the state, and a record is committed before the index is read. Must not know the
//! subscriptions themselves.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use location::Aor;

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
        let versions = (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        Self { workers: workers.min(64), bits: AtomicUsize::new(0), buckets, versions }
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
