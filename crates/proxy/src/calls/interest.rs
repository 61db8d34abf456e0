//! A set of users, such as those whose calls are watched: by a hash, so that each set has the same few octets. It has users
//! that were not added, too. Whoever gets their calls does not look at them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::view::CallInProgress;

const WORDS: usize = 64;

/// A set of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interest([u64; WORDS]);

/// A set of users that all workers read.
#[derive(Debug)]
pub(crate) struct SharedInterest([AtomicU64; WORDS]);

impl Interest {
    /// The number of different hashes.
    pub(crate) const BUCKETS: usize = WORDS * 64;

    /// The length in octets.
    pub(crate) const LENGTH: usize = WORDS * 8;

    pub(crate) const EMPTY: Self = Self([0; WORDS]);

    /// The hash of a user, the same at each node.
    pub(crate) fn bucket_of(user: &[u8]) -> usize {
        let fnv = |sum: u64, octet: &u8| (sum ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        usize::try_from(user.iter().fold(0xcbf2_9ce4_8422_2325, fnv) % Self::BUCKETS as u64).unwrap_or(0)
    }

    /// The set of these hashes.
    pub(crate) fn of_buckets(buckets: impl Iterator<Item = usize>) -> Self {
        let mut set = Self::EMPTY;
        for bucket in buckets {
            if let Some(word) = set.0.get_mut(bucket / 64) {
                *word |= 1 << (bucket % 64);
            }
        }
        set
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether a user with dialogs in this call is in the set.
    pub(crate) fn has_call(&self, call: &CallInProgress) -> bool {
        call.parties().any(|user| self.has(user))
    }

    pub(crate) fn has(&self, user: &[u8]) -> bool {
        let bucket = Self::bucket_of(user);
        self.0.get(bucket / 64).is_some_and(|word| word >> (bucket % 64) & 1 != 0)
    }

    /// Those that `other` does not have.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
        rest
    }

    /// Adds those of `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
    }

    pub(crate) fn read(octets: &[u8]) -> Option<Self> {
        let (words, rest) = octets.as_chunks();
        let mut set = Self::EMPTY;
        if words.len() != WORDS || !rest.is_empty() {
            return None;
        }
        set.0.iter_mut().zip(words).for_each(|(word, octets)| *word = u64::from_be_bytes(*octets));
        Some(set)
    }
}

impl SharedInterest {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }

    /// Replaces the set.
    pub(crate) fn set(&self, set: &Interest) {
        self.0.iter().zip(&set.0).for_each(|(word, new)| word.store(*new, Ordering::Release));
    }

    pub(crate) fn has(&self, user: &[u8]) -> bool {
        let bucket = Interest::bucket_of(user);
        let word = self.0.get(bucket / 64).map_or(0, |word| word.load(Ordering::Acquire));
        word >> (bucket % 64) & 1 != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| word.load(Ordering::Acquire) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_those_that_were_added() {
        let bucket = |user: &str| Interest::bucket_of(user.as_bytes());
        let [mut some, other] =
            [&["a@b", "c@d"][..], &["c@d"]].map(|users| Interest::of_buckets(users.iter().map(|user| bucket(user))));
        assert!(some.has(b"a@b") && some.has(b"c@d") && !some.has(b"e@f"));
        let rest = some.without(&other);
        assert!(rest.has(b"a@b") && !rest.has(b"c@d") && !rest.is_empty());
        let mut octets = Vec::new();
        some.write(&mut octets);
        assert_eq!((octets.len(), Interest::read(&octets)), (Interest::LENGTH, Some(some.clone())));
        assert_eq!(Interest::read(&octets[1..]), None);
        let shared = SharedInterest::new();
        assert!(shared.is_empty());
        shared.set(&rest);
        assert!(shared.has(b"a@b") && !shared.has(b"c@d") && !shared.is_empty());
        some.add(&Interest::of_buckets([bucket("e@f")].into_iter()));
        assert!(some.has(b"e@f") && some.has(b"a@b"));
    }
}
