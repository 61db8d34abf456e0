//! What happened in the last day, for the graphs of the status page: a ring of slots of five minutes.
//!
//! Decides which calls count as failed. It is lost at the end of the program; Prometheus keeps more.

use std::collections::VecDeque;

use location::Wall;

use crate::text::ending::Ending;

/// Slots that are kept: a day.
const SLOTS: usize = 288;

/// Duration of a slot.
pub(crate) const SLOT_SECONDS: u64 = 300;

/// What happened in one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Number of registered phones at its end.
    pub(crate) phones: u64,
    /// Calls that ended in it, with whatever result.
    pub(crate) calls: u64,
    /// Those of them that failed: something is wrong with a phone, a trunk or the configuration.
    pub(crate) failed: u64,
    /// Requests that were refused because of their sender.
    pub(crate) refused: u64,
}

/// The slots of the last day.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// One for each five minutes in turn, the newest last.
    slots: VecDeque<Slot>,
    /// The number of the newest slot, counted from the epoch of `Wall`.
    newest: u64,
}

impl Activity {
    /// A call ended.
    pub(crate) fn call_ended(&mut self, at: Wall, ending: Ending) {
        let Some(slot) = self.at(at) else { return };
        slot.calls += 1;
        slot.failed += u64::from(is_failure(ending));
    }

    /// A request was refused because of its sender.
    pub(crate) fn refused(&mut self, at: Wall) {
        if let Some(slot) = self.at(at) {
            slot.refused += 1;
        }
    }

    /// So many phones are registered now.
    pub(crate) fn set_phones(&mut self, now: Wall, phones: u64) {
        if let Some(slot) = self.at(now) {
            slot.phones = phones;
        }
    }

    /// When the first slot began, and all slots, the oldest first.
    pub(crate) fn slots(&self) -> (Wall, Vec<Slot>) {
        let first = (self.newest + 1).saturating_sub(self.slots.len() as u64);
        (Wall(first * SLOT_SECONDS * 1000), self.slots.iter().copied().collect())
    }

    /// The slot of a time. Slots without an event have the number of phones before them. `None` for a time before the
    /// oldest slot, since the clock may be set back.
    fn at(&mut self, at: Wall) -> Option<&mut Slot> {
        let number = at.millis() / 1000 / SLOT_SECONDS;
        if self.slots.is_empty() {
            self.newest = number;
            self.slots.push_back(Slot::default());
        }
        let missing = usize::try_from(number.saturating_sub(self.newest)).unwrap_or(SLOTS).min(SLOTS);
        for _ in 0..missing {
            let phones = self.slots.back().map_or(0, |slot| slot.phones);
            if self.slots.len() == SLOTS {
                self.slots.pop_front();
            }
            self.slots.push_back(Slot { phones, ..Slot::default() });
        }
        self.newest = self.newest.max(number);
        let back = usize::try_from(self.newest - number).ok()?;
        let index = self.slots.len().checked_sub(back + 1)?;
        self.slots.get_mut(index)
    }
}

/// Whether somebody should look at it: nobody chose this end.
const fn is_failure(ending: Ending) -> bool {
    match ending {
        Ending::Answered
        | Ending::Busy
        | Ending::Declined
        | Ending::Cancelled
        | Ending::Unanswered
        | Ending::Unavailable
        | Ending::Moved
        | Ending::Lost => false,
        Ending::Unreachable | Ending::Unregistered | Ending::Unknown | Ending::Forbidden | Ending::Failed => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: u64 = SLOT_SECONDS * 1000;

    fn failed_calls(activity: &Activity) -> Vec<(u64, u64)> {
        activity.slots().1.iter().map(|slot| (slot.calls, slot.failed)).collect()
    }

    #[test]
    fn events_are_counted_in_their_slots() {
        let mut activity = Activity::default();
        activity.set_phones(Wall(10 * SLOT), 3);
        activity.call_ended(Wall(10 * SLOT + 1), Ending::Answered);
        activity.call_ended(Wall(12 * SLOT), Ending::Unreachable);
        activity.call_ended(Wall(11 * SLOT - 1), Ending::Failed);
        activity.refused(Wall(12 * SLOT));
        let (first, slots) = activity.slots();
        assert_eq!((first, failed_calls(&activity)), (Wall(10 * SLOT), vec![(2, 1), (0, 0), (1, 1)]));
        assert_eq!(slots.iter().map(|slot| (slot.phones, slot.refused)).collect::<Vec<_>>(), [(3, 0), (3, 0), (3, 1)]);
    }

    #[test]
    fn a_day_is_kept() {
        let mut activity = Activity::default();
        for number in 0..400 {
            activity.call_ended(Wall(number * SLOT), Ending::Busy);
        }
        assert_eq!((activity.slots().0, activity.slots().1.len()), (Wall(112 * SLOT), SLOTS));
        // The clock is set ahead by years, and back.
        activity.set_phones(Wall(10_000_000 * SLOT), 7);
        assert_eq!(failed_calls(&activity), [(0, 0); SLOTS]);
        activity.call_ended(Wall(400 * SLOT), Ending::Failed);
        assert_eq!(failed_calls(&activity), [(0, 0); SLOTS]);
        assert_eq!(activity.slots().1.last().map(|slot| slot.phones), Some(7));
    }

    #[test]
    fn a_time_before_the_first_slot_is_not_counted() {
        let mut activity = Activity::default();
        activity.refused(Wall(5 * SLOT));
        activity.refused(Wall(4 * SLOT));
        assert_eq!(activity.slots().1.len(), 1);
    }
}
