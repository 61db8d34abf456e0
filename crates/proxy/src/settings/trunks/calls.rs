//! The calls that trunks with a limit carry now; one table for all workers, because the BYE of a call may come to another
//! worker than its INVITE.
//!
//! A call is counted from its INVITE to its failure or end, at most [`LIFETIME`]. The BYE of the trunk ends it, and the BYE of
//! the other side when the trunk has confirmed it: otherwise a phone could have more calls than the limit, with BYEs that the
//! trunk refuses. A called party may send the INVITE of a call
//! back; each INVITE is counted by itself, so that the failure of one does not end the count of another. The table has at
//! most as many entries as the limits of all trunks together.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Trunk;
use crate::clock::Instant;

/// A call whose BYE never came is no longer counted after this time.
const LIFETIME: Duration = Duration::from_hours(12);

/// The direction of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    In,
    Out,
}

/// An INVITE of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallSetup {
    /// Identifies the call.
    pub(crate) call: u64,
    /// Identifies the transaction of the INVITE.
    pub(crate) transaction: u64,
}

/// The calls of all trunks with a limit.
#[derive(Debug, Default)]
pub struct TrunkCalls(Mutex<HashMap<(CallSetup, Direction), Counted>>);

#[derive(Debug)]
struct Counted {
    trunk: Box<str>,
    until: Instant,
}

impl TrunkCalls {
    /// Counts a call, and no longer for another trunk that it was tried on before. False if the trunk has `max_calls`
    /// calls already.
    pub(crate) fn begin(&self, setup: CallSetup, direction: Direction, trunk: &Trunk, now: Instant) -> bool {
        let mut calls = self.0.lock();
        calls.remove(&(setup, direction));
        let Some(max) = trunk.max_calls else { return true };
        calls.retain(|_, counted| counted.until > now);
        let is_full = calls.values().filter(|counted| counted.trunk == trunk.name).count() >= max;
        if !is_full {
            calls.insert((setup, direction), Counted { trunk: trunk.name.clone(), until: now + LIFETIME });
        }
        !is_full
    }

    /// An INVITE has failed.
    pub(crate) fn fail(&self, setup: CallSetup) {
        let mut calls = self.0.lock();
        calls.remove(&(setup, Direction::In));
        calls.remove(&(setup, Direction::Out));
    }

    /// The call has ended.
    pub(crate) fn end(&self, call: u64) {
        self.0.lock().retain(|(setup, _), _| setup.call != call);
    }

    /// Whether a call is counted.
    pub(crate) fn has(&self, call: u64) -> bool {
        self.0.lock().keys().any(|(setup, _)| setup.call == call)
    }

    /// The number of calls that are counted for a trunk.
    pub fn count(&self, trunk: &str) -> usize {
        self.0.lock().values().filter(|counted| &*counted.trunk == trunk).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Shows;
    use super::*;

    #[test]
    fn calls_are_counted_until_they_end() {
        let (calls, now) = (TrunkCalls::default(), Instant::from_micros(1));
        let setup = |call| CallSetup { call, transaction: 7 };
        let trunk = |name: &str, max_calls| Trunk {
            name: name.into(),
            server: "sip:192.0.2.1".into(),
            networks: Vec::new(),
            server_addresses: Vec::new(),
            shows: Shows::Asserted,
            caller_id: None,
            max_calls,
            login: None,
            registers: false,
            probe: None,
        };
        let (small, other, free) = (trunk("small", Some(2)), trunk("other", Some(1)), trunk("free", None));
        assert!(
            calls.begin(setup(1), Direction::In, &small, now) && calls.begin(setup(1), Direction::Out, &small, now)
        );
        assert!(!calls.begin(setup(2), Direction::Out, &small, now));
        calls.fail(CallSetup { call: 1, transaction: 8 });
        assert_eq!(calls.count("small"), 2, "another INVITE of the call has failed");
        assert!(
            calls.begin(setup(2), Direction::Out, &other, now) && calls.begin(setup(3), Direction::Out, &free, now)
        );
        calls.end(1);
        assert_eq!((calls.count("small"), calls.count("other"), calls.count("free")), (0, 1, 0));
        // A call that fails over is counted for its last trunk only.
        assert!(calls.begin(setup(2), Direction::Out, &small, now));
        assert_eq!((calls.count("small"), calls.count("other")), (1, 0));
        assert!(calls.begin(setup(4), Direction::In, &small, now));
        assert!(calls.begin(setup(5), Direction::In, &small, now + LIFETIME), "calls without BYE");
    }
}
