//! The timer queue of a core: the timers of response contexts, pins and subscriptions in order of time.
//!
//! Cancelling a timer costs nothing: the queue keeps its entry, and the owner ignores the entry when it fires. Moving
//! a deadline to a later moment costs nothing either: the owner arms the timer again when the earlier entry fires.
//! Such stale entries are removed all at once when they outnumber the owners ([`TimerQueue::is_crowded`]), so the
//! queue is bounded by the limits on its owners. Must not know what a timer does: `core` calls the owner.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Instant;
use crate::request::TransactionKey;

/// A timer, named by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The soonest of the transaction timers, Timer C and the ring time of this response context.
    ResponseContext(u64),
    /// The end of this pin.
    Pin(TransactionKey),
    /// The next NOTIFY, the retransmission of one, or the end of this subscription.
    Subscription(u64),
    /// The next request of this task at a trunk, or its retransmission.
    Trunk(u64),
    /// The other nodes have to be told what is watched here.
    Nodes,
    /// The other nodes are not waited for any longer with this question for calls.
    Find(u64),
}

/// The timers of one core.
#[derive(Debug, Default)]
pub(crate) struct TimerQueue {
    entries: BinaryHeap<Reverse<(Instant, Timer)>>,
}

/// Stale entries that are always allowed, so that a queue of few timers is not searched often.
const ALLOWED_STALE: usize = 1024;

impl TimerQueue {
    /// Adds an entry. [`Armed::arm`] calls it; other entries of the same owner are stale then.
    fn push(&mut self, at: Instant, timer: Timer) {
        self.entries.push(Reverse((at, timer)));
    }

    /// The moment of the first entry, which may be stale.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.entries.peek().map(|Reverse((at, _))| *at)
    }

    /// Removes the first entry if it is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        self.next().filter(|at| *at <= now)?;
        self.entries.pop().map(|Reverse(entry)| entry)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether this many owners, with one timer each, leave most entries stale. Then [`TimerQueue::retain`] is to be
    /// called.
    pub(crate) fn is_crowded(&self, owners: usize) -> bool {
        self.entries.len() > 2 * owners + ALLOWED_STALE
    }

    /// Removes the entries that `is_armed` says are stale.
    pub(crate) fn retain(&mut self, is_armed: impl Fn(Instant, Timer) -> bool) {
        self.entries.retain(|Reverse((at, timer))| is_armed(*at, *timer));
    }
}

/// The moment for which the queue has the entry of one owner. Other entries of the owner are stale.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Armed(Option<Instant>);

impl Armed {
    /// Arms `timer` for `deadline`, unless it is armed for that moment or an earlier one.
    pub(crate) fn arm(&mut self, deadline: Option<Instant>, timer: Timer, queue: &mut TimerQueue) {
        if let Some(deadline) = deadline
            && self.0.is_none_or(|at| deadline < at)
        {
            self.0 = Some(deadline);
            queue.push(deadline, timer);
        }
    }

    /// Whether the entry for this moment is the armed one.
    pub(crate) fn is_at(self, at: Instant) -> bool {
        self.0 == Some(at)
    }

    /// The entry for this moment has fired. Returns whether it was the armed one, which it is no longer.
    pub(crate) fn fired(&mut self, at: Instant) -> bool {
        self.0.take_if(|armed| *armed == at).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn timers_fire_in_order_of_time() {
        let mut queue = TimerQueue::default();
        for (moment, timer) in [(30, Timer::Subscription(1)), (10, Timer::Pin(TransactionKey(2)))] {
            queue.push(at(moment), timer);
        }
        queue.push(at(20), Timer::ResponseContext(3));
        assert_eq!(queue.next(), Some(at(10)));
        assert_eq!(queue.pop_due(at(9)), None);
        assert_eq!(queue.pop_due(at(20)), Some((at(10), Timer::Pin(TransactionKey(2)))));
        assert_eq!(queue.pop_due(at(20)), Some((at(20), Timer::ResponseContext(3))));
        assert_eq!(queue.pop_due(at(20)), None);
        assert_eq!(queue.next(), Some(at(30)));
    }

    #[test]
    fn a_later_deadline_adds_no_entry_and_an_earlier_one_makes_the_old_entry_stale() {
        let (mut queue, mut armed, timer) = (TimerQueue::default(), Armed::default(), Timer::Subscription(1));
        for moment in [20, 30, 10, 15] {
            armed.arm(Some(at(moment)), timer, &mut queue);
        }
        assert_eq!(queue.len(), 2);
        queue.retain(|at, _| armed.is_at(at));
        assert_eq!((queue.len(), queue.next()), (1, Some(at(10))));
        assert!(!armed.fired(at(20)));
        assert!(armed.fired(at(10)));
        assert!(!armed.fired(at(10)));
    }

    #[test]
    fn a_queue_is_crowded_when_most_entries_are_stale() {
        let mut queue = TimerQueue::default();
        for moment in 0..=1044 {
            assert!(!queue.is_crowded(10));
            queue.push(at(moment), Timer::ResponseContext(1));
        }
        assert!(queue.is_crowded(10));
        assert!(!queue.is_crowded(11));
    }
}
