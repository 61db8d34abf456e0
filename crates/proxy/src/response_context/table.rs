//! All response contexts of one worker: by transaction key for requests, by id for responses, by callee for late
//! registrations.
//!
//! Must not know the branches of a response context.

use std::collections::VecDeque;

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use location::Aor;
use smallvec::SmallVec;

use crate::clock::Instant;
use crate::connections::Connections;
use crate::context::Context;
use crate::mac::{Mac, Purpose};
use crate::request::{RequestSource, TransactionKey};
use crate::timer_queue::{Armed, Timer, TimerQueue};
use crate::transaction::is_due;

use super::ResponseContext;

/// The response contexts of one worker.
pub(crate) struct ResponseContexts {
    by_id: HashMap<u64, Entry>,
    by_key: HashMap<TransactionKey, u64>,
    /// The calls that a phone of this user may still join.
    by_callee: HashMap<Aor, SmallVec<[u64; 2]>>,
    /// Those that are completed, in the order in which they were; some have been removed since.
    completed: VecDeque<u64>,
    /// The octets that all of them hold.
    held: usize,
    /// The number of ids made, counted from a seed.
    made: u64,
}

struct Entry {
    response_context: Box<ResponseContext>,
    key: TransactionKey,
    /// The user under which `by_callee` has it.
    callee: Option<Aor>,
    /// Its part of `held`.
    held: usize,
    timer: Armed,
    /// Whether `completed` has it.
    is_completed: bool,
}

impl ResponseContexts {
    /// An empty table. `seed` differs at each start, so that ids of different starts differ.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            by_id: HashMap::new(),
            by_key: HashMap::new(),
            by_callee: HashMap::new(),
            completed: VecDeque::new(),
            held: 0,
            made: seed,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The octets that all of them hold, with their own size.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    /// An id for a new response context. It is in our Via and an attacker must not be able to guess it, so it is a
    /// keyed hash of a counter.
    pub(crate) fn next_id(&mut self, mac: &Mac) -> u64 {
        loop {
            self.made = self.made.wrapping_add(1);
            let id = mac.sign(Purpose::Transaction, &[b"fork", &self.made.to_be_bytes()]);
            if !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    /// Adds a response context. `callee`: the user whose phones may join it later.
    pub(crate) fn insert(
        &mut self,
        id: u64,
        key: TransactionKey,
        callee: Option<Aor>,
        response_context: Box<ResponseContext>,
        timers: &mut TimerQueue,
    ) {
        self.by_key.insert(key, id);
        if let Some(callee) = &callee {
            self.by_callee.entry_ref(callee).or_default().push(id);
        }
        self.by_id
            .insert(id, Entry { response_context, key, callee, held: 0, timer: Armed::default(), is_completed: false });
        self.settle(id, timers);
    }

    /// The response context with this transaction key.
    pub(crate) fn id_of(&self, key: TransactionKey) -> Option<u64> {
        self.by_key.get(&key).copied()
    }

    /// Whether the request of a response context came from this source.
    pub(crate) fn is_from(&self, id: u64, source: &RequestSource, connections: &Connections) -> bool {
        self.by_id.get(&id).is_some_and(|entry| entry.response_context.is_from(source, connections))
    }

    /// The response contexts that a phone of this user may join.
    pub(crate) fn to(&self, callee: &Aor) -> impl Iterator<Item = u64> {
        self.by_callee.get(callee).into_iter().flatten().copied()
    }

    /// Calls `act` with a response context, then sets its next deadline or removes it. `None` if there is none with
    /// this id.
    pub(crate) fn with<R>(
        &mut self,
        id: u64,
        context: &mut Context<'_>,
        act: impl FnOnce(&mut ResponseContext, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let entry = self.by_id.get_mut(&id)?;
        let done = act(&mut entry.response_context, context);
        self.settle(id, context.timers);
        Some(done)
    }

    /// The response context with this id.
    pub(crate) fn find(&self, id: u64) -> Option<&ResponseContext> {
        self.by_id.get(&id).map(|entry| &*entry.response_context)
    }

    /// Removes the one that was completed first; false if none is completed.
    pub(crate) fn make_room(&mut self) -> bool {
        while let Some(id) = self.completed.pop_front() {
            if self.remove(id) {
                return true;
            }
        }
        false
    }

    /// False if there is none with this id.
    fn remove(&mut self, id: u64) -> bool {
        let Some(entry) = self.by_id.remove(&id) else { return false };
        self.by_key.remove(&entry.key);
        self.held -= entry.held;
        true
    }

    /// The timer of a response context that was armed for `at` has fired.
    pub(crate) fn timeout(&mut self, id: u64, at: Instant, context: &mut Context<'_>) {
        let Some(entry) = self.by_id.get_mut(&id).filter(|entry| entry.timer.is_at(at)) else { return };
        entry.timer.fired(at);
        if is_due(entry.response_context.deadline(), context.now.mono) {
            entry.response_context.timeout(context);
        }
        self.settle(id, context.timers);
    }

    /// Whether the timer of a response context is armed for `at`.
    pub(crate) fn is_armed(&self, id: u64, at: Instant) -> bool {
        self.by_id.get(&id).is_some_and(|entry| entry.timer.is_at(at))
    }

    /// Removes a response context that is terminated; else updates what the table knows of it and arms its timer.
    fn settle(&mut self, id: u64, timers: &mut TimerQueue) {
        let Some(entry) = self.by_id.get_mut(&id) else { return };
        entry.response_context.forget();
        if let Some(callee) = entry.callee.take_if(|_| !entry.response_context.is_open())
            && let EntryRef::Occupied(mut calls) = self.by_callee.entry_ref(&callee)
        {
            calls.get_mut().retain(|call| *call != id);
            if calls.get().is_empty() {
                calls.remove();
            }
        }
        if entry.response_context.is_terminated() {
            self.remove(id);
            return;
        }
        self.held -= entry.held;
        entry.held = entry.response_context.held();
        self.held += entry.held;
        let completes = !entry.is_completed && entry.response_context.is_completed();
        entry.is_completed |= completes;
        entry.timer.arm(entry.response_context.deadline(), Timer::ResponseContext(id), timers);
        if completes {
            // Those that were removed are at the front: they were completed first.
            while self.completed.pop_front_if(|first| !self.by_id.contains_key(first)).is_some() {}
            self.completed.push_back(id);
        }
    }
}
