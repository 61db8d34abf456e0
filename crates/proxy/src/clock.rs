//! Time as an argument.
//!
//! The driver reads both clocks once per batch. Timers use the monotonic one; bindings and nonces, which outlive a
//! process or are shown to people, use the wall clock. Nothing in this crate asks for the time.

use std::ops::{Add, Sub};
use std::time::Duration;

pub use location::Wall;

/// A moment of the driver's monotonic clock, in microseconds since an origin of its choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// The moment that lies `micros` microseconds after the driver's origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the driver's origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this moment is; zero if it is before.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Both clocks, read at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timers.
    pub mono: Instant,
    /// For expiry times and nonces: milliseconds since the Unix epoch.
    pub wall: Wall,
}
