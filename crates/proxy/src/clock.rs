//! Time as an argument.
//!
//! The driver reads the clocks once per batch of messages. Timers use a monotonic clock. Bindings and nonces outlive
//! the process, so they use milliseconds since the Unix epoch, from a clock that runs steadily even if somebody sets
//! the clock of the machine. Must not read a clock itself.

use std::ops::{Add, Sub};
use std::time::Duration;

pub use location::Wall;

/// A point of the driver's monotonic clock, in microseconds since an origin of its choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// The point that lies `micros` microseconds after the driver's origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the driver's origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` until this point; zero if `earlier` is later.
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

/// The clocks, read at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timers.
    pub mono: Instant,
    /// For expiry times and nonces: about milliseconds since the Unix epoch. It must run steadily between calls, so
    /// that setting the clock of the machine neither ends nor extends a registration. See
    /// [`Registrar::clock_ahead`].
    ///
    /// [`Registrar::clock_ahead`]: crate::Registrar::clock_ahead
    pub wall: Wall,
}
