//! The time, which the driver passes to each call.
//!
//! The driver reads the clocks once per batch. Timers use a monotonic clock. Bindings and nonces outlive a process,
//! so they use a wall clock, which the driver keeps steady when the clock of the machine is set. Code of this crate
//! must not read a clock.

use std::ops::{Add, Sub};
use std::time::Duration;

pub use location::Wall;

/// A moment of the driver's monotonic clock, in microseconds since an origin that the driver chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// The moment `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero if this moment is the earlier one.
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
    /// For expiry times and nonces: about milliseconds since the Unix epoch. It must run steadily from one call to
    /// the next, so that setting the clock of the machine neither removes nor extends a binding. See
    /// [`Registrar::clock_ahead`].
    ///
    /// [`Registrar::clock_ahead`]: crate::Registrar::clock_ahead
    pub wall: Wall,
}
