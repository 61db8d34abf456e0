//! Which worker has a subscriber to whom: what a change of a record asks before it tells anybody.
//!
//! Shared by all workers, without a lock. Decides that a change costs one look while nobody watches anybody, and one more
//! while others do. Users share buckets, so a letter may come for nothing; never is one missing: a subscription stands here
//! before it reads the record, and a record is in bucket before its change is asked about.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use location::Aor;

use crate::mac::{Mac, Purpose};

/// So many users have a bucket of their own, by chance.
const BUCKETS: usize = 4096;

/// Which workers have subscribers, by AoR. One for all cores.
#[derive(Debug)]
pub struct SubscriberIndex {
    workers: u8,
    /// How many marks there are.
    marks: AtomicUsize,
    /// For each bucket the workers that have a subscriber there, a bit for each.
    buckets: Box<[AtomicU64]>,
}

/// Where a user stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bucket(usize);

impl Bucket {
    pub(super) fn of(aor: &Aor, mac: &Mac) -> Self {
        let hash = mac.sign(Purpose::Notifier, &[b"bucket", aor.as_bytes()]);
        Self(usize::try_from(hash % BUCKETS as u64).unwrap_or(0))
    }
}

impl SubscriberIndex {
    /// For so many workers: at most 64.
    pub fn new(workers: u8) -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { workers: workers.min(64), marks: AtomicUsize::new(0), buckets }
    }

    /// Whether there is such a worker.
    pub(super) const fn has(&self, worker: u8) -> bool {
        worker < self.workers
    }

    /// The workers that have to hear of a change.
    pub(super) fn by(&self, aor: &Aor, mac: &Mac) -> impl Iterator<Item = u8> + use<> {
        let anybody = self.marks.load(Ordering::Acquire) > 0;
        let Bucket(bucket) = if anybody { Bucket::of(aor, mac) } else { Bucket(BUCKETS) };
        let bits = self.buckets.get(bucket).map_or(0, |bucket| bucket.load(Ordering::Acquire));
        let workers = if bits == 0 { 0 } else { self.workers };
        (0..workers).filter(move |worker| bits >> worker & 1 != 0)
    }

    /// The first subscriber of a worker at a bucket has come.
    pub(super) fn mark(&self, Bucket(bucket): Bucket, worker: u8) {
        self.marks.fetch_add(1, Ordering::AcqRel);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_or(bit(worker), Ordering::AcqRel);
        }
    }

    /// The last one has gone.
    pub(super) fn clear(&self, Bucket(bucket): Bucket, worker: u8) {
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_and(!bit(worker), Ordering::AcqRel);
        }
        self.marks.fetch_sub(1, Ordering::AcqRel);
    }
}

fn bit(worker: u8) -> u64 {
    1_u64.checked_shl(worker.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_watches_is_found_until_he_goes() {
        // checklist 155
        let (subscriber_index, mac, aor) =
            (SubscriberIndex::new(3), Mac::new([1; 16]), Aor::new(b"bob", b"office.example"));
        let workers = || subscriber_index.by(&aor, &mac).collect::<Vec<_>>();
        assert_eq!(workers(), []);
        let bucket = Bucket::of(&aor, &mac);
        subscriber_index.mark(bucket, 0);
        subscriber_index.mark(bucket, 2);
        assert_eq!(workers(), [0, 2]);
        subscriber_index.clear(bucket, 0);
        assert_eq!(workers(), [2]);
        subscriber_index.clear(bucket, 2);
        assert_eq!((workers(), subscriber_index.marks.load(Ordering::Acquire)), (vec![], 0));
        assert!(subscriber_index.has(2) && !subscriber_index.has(3));
    }
}
