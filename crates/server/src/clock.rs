//! Both clocks, read at one moment: the only place of the program that does it for the core.

use std::time::SystemTime;

use location::Wall;
use proxy::{Instant, Now};

/// Where the core's monotonic time begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    /// Monotonic and wall time.
    pub(crate) fn now(&self) -> Now {
        let elapsed = self.origin.elapsed();
        Now { mono: Instant::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)), wall: wall() }
    }

    /// A moment of the core, for the event loop's timer.
    pub(crate) fn at(&self, moment: Instant) -> tokio::time::Instant {
        self.origin + std::time::Duration::from_micros(moment.as_micros())
    }
}

/// Time as people have it.
pub(crate) fn wall() -> Wall {
    // A clock before 1970 counts as 1970: everything expires late, nothing early.
    Wall::since_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
