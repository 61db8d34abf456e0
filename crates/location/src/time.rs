//! Wall-clock time in milliseconds, with saturating arithmetic, and the lifetime of a tombstone.
//!
//! Must not read a clock: every `now` is an argument. Expiry is stored as an absolute time, so that it survives a restart
//! (RFC 3261 10.2.1.1 defines it as seconds from the time of the REGISTER).

use std::time::Duration;

/// A time: milliseconds since the Unix epoch. All arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

impl Wall {
    /// The time at `elapsed` after the Unix epoch, e.g. the result of `SystemTime::duration_since(UNIX_EPOCH)`.
    pub fn since_epoch(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// This many seconds later.
    #[must_use]
    pub fn plus_secs(self, secs: u32) -> Self {
        self.plus_millis(u64::from(secs) * 1000)
    }

    /// This many milliseconds later.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this time, 0 if `earlier` is later.
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How long a removed or expired binding is kept as a tombstone: 64*T1 with the default T1 of RFC 3261 17.1.1.1. After
/// that no retransmission of an earlier REGISTER can arrive.
pub(crate) const TOMBSTONE_MILLIS: u64 = 32_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Wall(u64::MAX).plus_secs(1), Wall(u64::MAX));
        assert_eq!(Wall(1).millis_since(Wall(2)), 0);
        assert_eq!(Wall(1_999).secs(), 1);
        assert_eq!(Wall::since_epoch(Duration::from_secs(2)), Wall(2_000));
    }
}
