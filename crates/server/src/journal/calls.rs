//! The call history for the status page: active calls and the last ended calls.
//!
//! Decides how many are kept. A call is active from its first INVITE to its final response; dialogs are not tracked.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};
use location::{Aor, Wall};
use proxy::{ConfigKey, TriedPhones};

use crate::text::ending::Ending;

/// Ended calls that are kept.
const MAX_ENDED: usize = 100;

/// Older active calls are dropped: their end was lost, or they ring for an hour.
const MAX_AGE_MILLIS: u64 = 3_600_000;

/// The calls of all workers.
#[derive(Debug)]
pub(crate) struct CallHistory {
    active: HashMap<u64, ActiveCall>,
    max_active: usize,
    ended: VecDeque<EndedCall>,
}

/// A call that is being set up.
#[derive(Clone, Debug)]
pub(crate) struct ActiveCall {
    /// The caller by From.
    pub(crate) from: Aor,
    /// The callee.
    pub(crate) to: Aor,
    /// The number of phones that are called.
    pub(crate) phones: usize,
    /// When the INVITE was received.
    pub(crate) began: Wall,
    /// The trunk that it came from.
    pub(crate) trunk: Option<Box<str>>,
}

/// A call with a final response.
#[derive(Clone, Debug)]
pub(crate) struct EndedCall {
    /// The call.
    pub(crate) call: ActiveCall,
    /// When the final response was forwarded.
    pub(crate) at: Wall,
    /// How it ended.
    pub(crate) ending: Ending,
    /// The status of the final response; `None` if there was none.
    pub(crate) status: Option<u16>,
    /// The phone that sent it, or the only one that was called and did not respond.
    pub(crate) by: Option<String>,
    /// The phones that were called.
    pub(crate) phones: TriedPhones,
    /// Why this server refused it, in words, and the key that decided.
    pub(crate) refusal: Option<(String, Option<ConfigKey>)>,
}

impl CallHistory {
    /// With a limit of active calls.
    pub(crate) fn new(max_active: usize) -> Self {
        Self { active: HashMap::new(), max_active, ended: VecDeque::with_capacity(MAX_ENDED) }
    }

    /// Adds an active call. False if the limit is reached.
    pub(crate) fn begin(&mut self, id: u64, call: ActiveCall) -> bool {
        let has_room = self.active.len() < self.max_active;
        if has_room {
            self.active.insert(id, call);
        }
        has_room
    }

    /// Removes an active call; `None` if it is not known.
    pub(crate) fn end(&mut self, id: u64) -> Option<ActiveCall> {
        self.active.remove(&id)
    }

    /// Adds an ended call, and drops the oldest.
    pub(crate) fn push_ended(&mut self, ended: EndedCall) {
        if self.ended.len() == MAX_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(ended);
    }

    /// Drops active calls that are too old.
    pub(crate) fn sweep(&mut self, now: Wall) {
        self.active.retain(|_, call| now.millis_since(call.began) < MAX_AGE_MILLIS);
    }

    /// The active calls, newest first, at most `max_active`.
    pub(crate) fn active(&self, max_active: usize) -> Vec<ActiveCall> {
        let mut all: Vec<_> = self.active.values().collect();
        all.sort_unstable_by_key(|call| std::cmp::Reverse(call.began));
        all.into_iter().take(max_active).cloned().collect()
    }

    /// Who calls or is called now.
    pub(crate) fn parties(&self) -> HashSet<Aor> {
        self.active.values().flat_map(|call| [call.from.clone(), call.to.clone()]).collect()
    }

    /// The number of active calls.
    pub(crate) fn active_count(&self) -> usize {
        self.active.len()
    }

    /// The ended calls; the one that began last is the first.
    pub(crate) fn ended(&self) -> Vec<EndedCall> {
        let mut ended: Vec<_> = self.ended.iter().rev().cloned().collect();
        // The page shows when they began. The sort is stable.
        ended.sort_by_key(|ended| std::cmp::Reverse(ended.call.began));
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(began: u64) -> ActiveCall {
        let aor = |user: &[u8]| Aor::new(user, b"office.example");
        ActiveCall { from: aor(b"102"), to: aor(b"101"), phones: 1, began: Wall(began), trunk: None }
    }

    fn ended(at: u64) -> EndedCall {
        let phones = TriedPhones { tried: 1, responded: 1, rang: 1 };
        let (ending, status) = (Ending::Busy, Some(486));
        EndedCall { call: call(at), at: Wall(at), ending, status, by: None, phones, refusal: None }
    }

    /// Issue 18: "Last calls" is sorted by end while it shows the start.
    #[test]
    fn ended_calls_are_sorted_by_the_time_that_is_shown() {
        let mut calls = CallHistory::new(2);
        for (began, at) in [(10, 90), (50, 60), (20, 30)] {
            calls.push_ended(EndedCall { call: call(began), ..ended(at) });
        }
        assert_eq!(calls.ended().iter().map(|call| call.call.began.0).collect::<Vec<_>>(), [50, 20, 10]);
    }

    #[test]
    fn both_lists_are_bounded() {
        let mut calls = CallHistory::new(2);
        assert!(calls.begin(1, call(1)) && calls.begin(2, call(2)) && !calls.begin(3, call(3)));
        assert_eq!(calls.active(1).iter().map(|call| call.began).collect::<Vec<_>>(), [Wall(2)]);
        assert_eq!(calls.active_count(), 2);
        assert!(calls.end(3).is_none() && calls.end(2).is_some() && calls.end(2).is_none());
        (0..150).for_each(|at| calls.push_ended(ended(at)));
        let ended_at: Vec<_> = calls.ended().iter().map(|call| call.at.0).collect();
        assert_eq!((ended_at.len(), ended_at.first(), ended_at.last()), (100, Some(&149), Some(&50)));
        calls.sweep(Wall(3_600_000));
        assert_eq!(calls.active_count(), 1);
        calls.sweep(Wall(3_600_001));
        assert_eq!(calls.active_count(), 0);
    }
}
