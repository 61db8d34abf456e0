//! How many challenges were answered for INVITEs within dialogs, which the ACK and the PRACK of such an INVITE have to know
//! (`renumbering.rs`); one table for all workers, because the ACK of a 2xx is a request of its own and may come to another
//! worker than its INVITE.
//!
//! Only an INVITE that a trunk has challenged has an entry.

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::clock::Instant;

/// The table. The key identifies an INVITE.
#[derive(Debug, Default)]
pub struct SentNumbers(Mutex<HashMap<u64, (u8, Instant)>>);

impl SentNumbers {
    /// Keeps the number of challenges that were answered for an INVITE until this moment. False if the table has `limit`
    /// entries.
    pub(crate) fn keep(&self, invite: u64, answered: u8, (now, until): (Instant, Instant), limit: usize) -> bool {
        let mut numbers = self.0.lock();
        // Only when the table would grow, so that the cost of an entry does not depend on the number of entries.
        if numbers.len() == numbers.capacity() || numbers.len() >= limit {
            numbers.retain(|_, (_, until)| *until > now);
        }
        let has_room = numbers.len() < limit || numbers.contains_key(&invite);
        if has_room {
            numbers.insert(invite, (answered, until));
        }
        has_room
    }

    /// The number of challenges that were answered for an INVITE.
    pub(crate) fn answered(&self, invite: u64) -> Option<u8> {
        self.0.lock().get(&invite).map(|(answered, _)| *answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expired_entries_make_room() {
        let (numbers, now) = (SentNumbers::default(), Instant::from_micros(1));
        let later = Instant::from_micros(2);
        assert!(numbers.keep(1, 1, (now, later), 2) && numbers.keep(2, 2, (now, Instant::from_micros(9)), 2));
        assert!(!numbers.keep(3, 1, (now, later), 2), "the limit");
        assert!(numbers.keep(1, 2, (now, later), 2), "an entry that is there");
        assert_eq!((numbers.answered(1), numbers.answered(3)), (Some(2), None));
        assert!(numbers.keep(3, 1, (later, Instant::from_micros(9)), 2));
        assert_eq!((numbers.answered(1), numbers.answered(2), numbers.answered(3)), (None, Some(2), Some(1)));
    }
}
