//! What the other nodes watch, and when this node has to say what it watches itself.
//!
//! One worker has it for all. Must not send anything.

use std::collections::BTreeMap;
use std::time::Duration;

use location::{Node, Wall};

use crate::calls::{CallInProgress, Interest, NodeWatch};
use crate::clock::{Instant, Now};
use crate::timer_queue::{Armed, Timer, TimerQueue};

/// How often a node says what it watches.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long what a node has said is valid.
pub(crate) const LIFETIME: Duration = Duration::from_secs(35);

/// The shortest time between two messages because of users that were not watched before.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(crate) struct Exchange {
    others: BTreeMap<u16, Other>,
    timer: Armed,
    /// When this node says next what it watches; `None` while nobody watches anybody.
    next: Option<Instant>,
    /// When new users have to be told.
    early: Option<Instant>,
    last: Option<Instant>,
    /// The number of the last message to any node.
    number: u64,
}

/// Another node.
#[derive(Debug)]
struct Other {
    node: Node,
    interest: Interest,
    until: Instant,
    /// The number of its last message.
    last: u64,
}

impl Other {
    const fn new(node: Node) -> Self {
        Self { node, interest: Interest::EMPTY, until: Instant::from_micros(0), last: 0 }
    }
}

impl Exchange {
    /// Another node says what it watches. Returns the users that it did not watch before, and whether it was not known.
    /// `None` for a copy of an earlier message.
    pub(crate) fn watches(&mut self, watch: &NodeWatch, now: Now) -> Option<(Interest, bool)> {
        let NodeWatch { node, interest, number, .. } = watch.clone();
        let key = node.number.get();
        let is_new = self.others.get(&key).is_none_or(|other| other.node != node);
        if is_new {
            self.others.insert(key, Other::new(node));
        }
        let other = self.others.get_mut(&key).filter(|other| other.last < number)?;
        let added = interest.without(&other.interest);
        (other.interest, other.until, other.last) = (interest, now.mono + LIFETIME, number);
        Some((added, is_new))
    }

    /// The number of the next message. A receiver reads only messages with a higher number than the last one, so that a copy
    /// of an earlier message, or one that comes late, changes nothing.
    pub(crate) fn next_number(&mut self, now: Wall) -> u64 {
        self.number = (self.number + 1).max(now.millis());
        self.number
    }

    /// Forgets the nodes that are gone, and what others have said too long ago. Returns those that are not known yet.
    pub(crate) fn update(&mut self, alive: &[Node], now: Instant) -> Vec<Node> {
        self.others.retain(|_, other| alive.contains(&other.node));
        for other in self.others.values_mut().filter(|other| other.until < now) {
            other.interest = Interest::EMPTY;
        }
        let new: Vec<_> = alive.iter().copied().filter(|node| !self.others.contains_key(&node.number.get())).collect();
        self.others.extend(new.iter().map(|node| (node.number.get(), Other::new(*node))));
        new
    }

    /// The users that any other node watches.
    pub(crate) fn interest(&self) -> Interest {
        let mut all = Interest::EMPTY;
        self.others.values().for_each(|other| all.add(&other.interest));
        all
    }

    /// The nodes that watch a user of this call.
    pub(crate) fn watchers(&self, call: &CallInProgress) -> Vec<Node> {
        let watching = self.others.values().filter(|other| other.interest.has_call(call));
        watching.map(|other| other.node).collect()
    }

    /// Users are watched here that the other nodes have not been told of.
    pub(crate) fn wants_to_tell(&mut self, now: Instant, timers: &mut TimerQueue) {
        let earliest = self.last.map_or(now, |last| (last + PAUSE).max(now));
        self.early = Some(self.early.map_or(earliest, |early| early.min(earliest)));
        self.arm(timers);
    }

    /// Something is watched, so it has to be said again.
    pub(crate) fn keep_telling(&mut self, now: Instant, timers: &mut TimerQueue) {
        self.next.get_or_insert(now + INTERVAL);
        self.arm(timers);
    }

    /// The timer has fired. Returns whether new users have to be told, and whether all has to be said again.
    pub(crate) fn timeout(&mut self, at: Instant, now: Instant) -> (bool, bool) {
        if !self.timer.fired(at) {
            return (false, false);
        }
        let early = self.early.take_if(|early| *early <= now).is_some();
        let all = self.next.take_if(|next| *next <= now).is_some();
        if early || all {
            self.last = Some(now);
        }
        (early, all)
    }

    /// Arms the timer again, after it has fired.
    pub(crate) fn arm(&mut self, timers: &mut TimerQueue) {
        let next = [self.early, self.next].into_iter().flatten().min();
        self.timer.arm(next, Timer::Nodes, timers);
    }

    /// Whether the timer is armed for `at`.
    pub(crate) fn is_armed(&self, at: Instant) -> bool {
        self.timer.is_at(at)
    }
}
