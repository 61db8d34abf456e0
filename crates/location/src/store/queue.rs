//! The bounded queue between the workers and the writer thread.
//!
//! A full queue refuses a push; only the writer thread blocks. Must not know what the items are.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// A queue with many producers and one consumer, which takes items in groups.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    capacity: usize,
    /// Items that wait, and items that were taken and are not done. Readable without the lock.
    len: AtomicUsize,
}

struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

/// Why a push was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Closed,
}

/// The result of [`Queue::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeResult {
    /// At least one item was taken.
    Items,
    /// There was no item within the timeout.
    TimedOut,
    /// The queue is closed and empty.
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = Mutex::new(State { waiting: VecDeque::new(), closed: false });
        Self { state, ready: Condvar::new(), capacity, len: AtomicUsize::new(0) }
    }

    /// Appends `item`, unless the queue is full or closed.
    pub(crate) fn push(&self, item: T) -> Result<(), PushError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(PushError::Closed);
        }
        if state.waiting.len() >= self.capacity {
            return Err(PushError::Full);
        }
        state.waiting.push_back(item);
        self.len.fetch_add(1, Ordering::Relaxed);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for an item, but no longer than `timeout`, then moves up to `max` items into `into`.
    pub(crate) fn take(&self, into: &mut Vec<T>, max: usize, timeout: Duration) -> TakeResult {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return TakeResult::Closed;
            }
            if self.ready.wait_for(&mut state, timeout).timed_out() && state.waiting.is_empty() {
                return if state.closed { TakeResult::Closed } else { TakeResult::TimedOut };
            }
        }
        let count = state.waiting.len().min(max.max(1));
        into.extend(state.waiting.drain(..count));
        TakeResult::Items
    }

    /// Moves all waiting items into `into`, without blocking.
    pub(crate) fn drain(&self, into: &mut Vec<T>) {
        into.extend(self.state.lock().waiting.drain(..));
    }

    /// Moves the waiting items that `which` selects into `into`, in order, without blocking.
    #[cfg(feature = "redis")]
    pub(crate) fn extract(&self, into: &mut Vec<T>, which: impl Fn(&T) -> bool) {
        let mut state = self.state.lock();
        let (selected, others) = state.waiting.drain(..).partition::<VecDeque<T>, _>(|item| which(item));
        state.waiting = others;
        drop(state);
        into.extend(selected);
    }

    /// Counts `count` of the taken items as done.
    pub(crate) fn mark_done(&self, count: usize) {
        self.len.fetch_sub(count, Ordering::Relaxed);
    }

    /// The number of items that were pushed and are not done.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Refuses further items; the waiting ones can still be taken.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_or_closed_queue_refuses_items() {
        let queue = Queue::new(4);
        assert!((1..=4).all(|number| queue.push(number) == Ok(())));
        assert_eq!(queue.push(5), Err(PushError::Full));
        let mut taken = Vec::new();
        let take = |taken: &mut Vec<i32>| queue.take(taken, 3, Duration::ZERO);
        assert_eq!(take(&mut taken), TakeResult::Items);
        assert_eq!((&taken[..], queue.len()), (&[1, 2, 3][..], 4));
        queue.mark_done(3);
        queue.close();
        assert_eq!(queue.push(6), Err(PushError::Closed));
        assert_eq!(take(&mut taken), TakeResult::Items);
        assert_eq!(taken.pop(), Some(4));
        queue.mark_done(1);
        assert_eq!(take(&mut taken), TakeResult::Closed);
        assert_eq!(Queue::<i32>::new(1).take(&mut taken, 3, Duration::ZERO), TakeResult::TimedOut);
        assert_eq!(queue.len(), 0);
    }
}
