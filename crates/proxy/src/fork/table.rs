//! All response contexts of one worker: by transaction key for requests, by id for responses, by time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use location::Aor;
use smallvec::SmallVec;

use crate::clock::Instant;
use crate::connections::Connections;
use crate::context::Context;
use crate::mac::{Mac, Purpose};
use crate::request::{RequestSource, TransactionKey};

use super::ResponseContext;

/// The response contexts of one worker.
pub(crate) struct ResponseContexts {
    by_id: HashMap<u64, Entry>,
    by_key: HashMap<TransactionKey, u64>,
    /// Those that a phone of this user may still join.
    by_callee: HashMap<Aor, SmallVec<[u64; 2]>>,
    /// When to look at which. An entry whose fork has a later deadline by now is put back when it comes up, so that
    /// moving a deadline later costs nothing.
    agenda: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Those that stay for copies only, in the order in which they ended; some have gone since.
    over: VecDeque<u64>,
    /// Bytes that all of them hold.
    held: usize,
    made: u64,
}

struct Entry {
    fork: Box<ResponseContext>,
    key: TransactionKey,
    /// Its part of what all hold.
    held: usize,
    /// The soonest time for which `agenda` has an entry.
    booked: Option<Instant>,
    /// Whether it stands in `over`.
    is_over: bool,
}

impl ResponseContexts {
    /// `seed` keeps the ids of one start apart from those of another.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            by_id: HashMap::new(),
            by_key: HashMap::new(),
            by_callee: HashMap::new(),
            agenda: BinaryHeap::new(),
            over: VecDeque::new(),
            held: 0,
            made: seed,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Bytes that all of them hold: what they were given to keep, and their own size.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    /// An id for a new fork. It stands in our Via, so it must not be guessed: keyed, not counted.
    pub(crate) fn next_id(&mut self, mac: &Mac) -> u64 {
        loop {
            self.made = self.made.wrapping_add(1);
            let id = mac.sign(Purpose::Transaction, &[b"fork", &self.made.to_be_bytes()]);
            if !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    pub(crate) fn insert(&mut self, id: u64, key: TransactionKey, fork: ResponseContext) {
        self.by_key.insert(key, id);
        if let Some(callee) = &fork.callee {
            self.by_callee.entry_ref(callee).or_default().push(id);
        }
        self.by_id.insert(id, Entry { fork: Box::new(fork), key, held: 0, booked: None, is_over: false });
        self.settle(id);
    }

    /// The fork of a request's transaction.
    pub(crate) fn id_of(&self, key: TransactionKey) -> Option<u64> {
        self.by_key.get(&key).copied()
    }

    /// Whether the request of a fork came from this place.
    pub(crate) fn is_from(&self, id: u64, source: &RequestSource, connections: &Connections) -> bool {
        self.by_id.get(&id).is_some_and(|entry| entry.fork.is_from(source, connections))
    }

    /// The forks that a phone of this user may join.
    pub(crate) fn to(&self, callee: &Aor) -> impl Iterator<Item = u64> {
        self.by_callee.get(callee).into_iter().flatten().copied()
    }

    /// Lets `act` work on a fork, then books its next deadline or drops it. None if there is no such fork.
    pub(crate) fn with<R>(&mut self, id: u64, act: impl FnOnce(&mut ResponseContext) -> R) -> Option<R> {
        let entry = self.by_id.get_mut(&id)?;
        let done = act(&mut entry.fork);
        self.settle(id);
        Some(done)
    }

    /// Drops the one that waits for copies only, and has done so for longest; false if there is none.
    pub(crate) fn make_room(&mut self) -> bool {
        while let Some(id) = self.over.pop_front() {
            if self.remove(id) {
                return true;
            }
        }
        false
    }

    /// False if there is no such fork.
    fn remove(&mut self, id: u64) -> bool {
        let Some(entry) = self.by_id.remove(&id) else { return false };
        self.by_key.remove(&entry.key);
        self.held -= entry.held;
        true
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.agenda.peek().map(|Reverse((at, _))| *at)
    }

    pub(crate) fn timeout(&mut self, context: &mut Context<'_>) {
        let now = context.now.mono;
        // What comes due by what is done here waits for the next call: one fork must not hold up the others.
        for _ in 0..self.agenda.len() {
            let Some(Reverse((at, id))) = self.agenda.peek().copied().filter(|Reverse((at, _))| *at <= now) else {
                return;
            };
            self.agenda.pop();
            let Some(entry) = self.by_id.get_mut(&id) else { continue };
            if entry.booked != Some(at) {
                continue;
            }
            entry.booked = None;
            if is_due(&entry.fork, now) {
                entry.fork.timeout(context);
            }
            self.settle(id);
        }
    }

    fn settle(&mut self, id: u64) {
        let Some(entry) = self.by_id.get_mut(&id) else { return };
        entry.fork.forget();
        if let Some(callee) = entry.fork.take_callee()
            && let EntryRef::Occupied(mut calls) = self.by_callee.entry_ref(&callee)
        {
            calls.get_mut().retain(|call| *call != id);
            if calls.get().is_empty() {
                calls.remove();
            }
        }
        if entry.fork.is_terminated() {
            self.remove(id);
            return;
        }
        self.held -= entry.held;
        entry.held = entry.fork.held();
        self.held += entry.held;
        let ends = !entry.is_over && entry.fork.is_over();
        entry.is_over |= ends;
        if let Some(deadline) = entry.fork.deadline()
            && entry.booked.is_none_or(|booked| deadline < booked)
        {
            entry.booked = Some(deadline);
            self.agenda.push(Reverse((deadline, id)));
        }
        if ends {
            // Those that have gone are at the front: they ended first.
            while self.over.pop_front_if(|first| !self.by_id.contains_key(first)).is_some() {}
            self.over.push_back(id);
        }
    }
}

fn is_due(fork: &ResponseContext, now: Instant) -> bool {
    fork.deadline().is_some_and(|deadline| deadline <= now)
}
