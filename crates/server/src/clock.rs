//! Clocks: the only place of the program that reads one for the core.
//!
//! Decides what time it is for registrations, nonces and subscriptions: the server's *own time*, which nobody can set. It
//! begins where the store's time is (docs/store.md) and runs with the kernel's clock since boot, which also counts while
//! the machine sleeps. The machine's clock is only shown: in log and page, and as the Date of a 200 (RFC 3261 20.17). That
//! it was set is noticed, said, and kept in the store for the next start.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use location::Wall;
use nix::time::{ClockId, clock_gettime};
use proxy::{Instant, Now};

/// What differs by less is drift, and not worth a write.
const MIN_SHIFT_MILLIS: i64 = 500;

static OWN: OnceLock<OwnTime> = OnceLock::new();

/// How far the machine's clock is ahead of the own time, in milliseconds, as it was last looked at.
static AHEAD: AtomicI64 = AtomicI64::new(0);

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

    /// Monotonic time and the server's own time.
    pub(crate) fn now(&self) -> Now {
        let elapsed = self.origin.elapsed();
        Now { mono: Instant::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)), wall: wall() }
    }

    /// A moment of the core, for the event loop's timer.
    pub(crate) fn at(&self, moment: Instant) -> tokio::time::Instant {
        self.origin + Duration::from_micros(moment.as_micros())
    }
}

/// A time that runs with the clock since boot.
#[derive(Clone, Copy, Debug)]
struct OwnTime {
    began: Wall,
    since_boot: Duration,
}

impl OwnTime {
    fn at(self, since_boot: Duration) -> Wall {
        let passed = since_boot.saturating_sub(self.since_boot).as_millis();
        self.began.plus_millis(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

/// From now on the server has a time of its own, which was `time` when `since_boot` was read. The first call counts.
pub(crate) fn init(time: Wall, since_boot: Duration) {
    if OWN.set(OwnTime { began: time, since_boot }).is_ok() {
        AHEAD.store(millis_between(machine_time(), wall()), Ordering::Relaxed);
    }
}

/// The server's own time; before it has begun, the machine's clock.
pub(crate) fn wall() -> Wall {
    OWN.get().map_or_else(machine_time, |own| own.at(since_boot()))
}

/// A moment of the own time as the machine's clock would have it now: for people.
pub(crate) fn to_machine_time(own: Wall) -> Wall {
    Wall(own.0.saturating_add_signed(ahead()))
}

/// How far the machine's clock is ahead of the own time, in milliseconds.
pub(crate) fn ahead() -> i64 {
    AHEAD.load(Ordering::Relaxed)
}

/// What the machine's clock says.
pub(crate) fn machine_time() -> Wall {
    // A clock before 1970 counts as 1970.
    Wall::since_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// How long ago the machine started.
pub(crate) fn since_boot() -> Duration {
    // Linux has this clock since 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// By how much the machine's clock differs from what it should say, and how far it is ahead of the own time, if that has
/// changed since the last call. To be called about once a second.
pub(crate) fn detect_shift() -> Option<ClockShift> {
    let now = millis_between(machine_time(), wall());
    let shift = now.saturating_sub(ahead());
    (shift.saturating_abs() >= MIN_SHIFT_MILLIS).then(|| {
        AHEAD.store(now, Ordering::Relaxed);
        ClockShift { by: shift, ahead: now }
    })
}

/// The machine's clock was set, or has drifted. In milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockShift {
    /// Forward; back if it is negative.
    pub(crate) by: i64,
    /// How far the machine's clock is ahead of the own time now.
    pub(crate) ahead: i64,
}

fn millis_between(machine: Wall, own: Wall) -> i64 {
    i64::try_from(i128::from(machine.0) - i128::from(own.0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_follows_the_boot_clock_only() {
        let own = OwnTime { began: Wall(1_000_000), since_boot: Duration::from_secs(50) };
        assert_eq!(own.at(Duration::from_secs(50)), Wall(1_000_000));
        assert_eq!(own.at(Duration::from_secs(53)), Wall(1_003_000));
        assert_eq!(own.at(Duration::ZERO), Wall(1_000_000), "it never goes back");
    }

    #[test]
    fn the_machine_s_clock_may_differ() {
        for (machine, own, expected) in [(10, 3, 7), (3, 10, -7), (u64::MAX, 0, 0)] {
            assert_eq!(millis_between(Wall(machine), Wall(own)), expected);
        }
        // The one test of this program that begins the own time: the machine's clock is three hours behind it.
        let hours = 3 * 3_600_000;
        init(machine_time().plus_millis(hours), since_boot());
        init(Wall(0), Duration::ZERO);
        assert!(wall().millis_since(machine_time()).abs_diff(hours) < 1_000, "the first call counts");
        assert!(to_machine_time(wall()).0.abs_diff(machine_time().0) < 1_000);
        assert_eq!(detect_shift(), None);
        // As if it had been set.
        AHEAD.fetch_add(60_000, Ordering::Relaxed);
        let shift = detect_shift().expect("it is noticed");
        assert!((shift.by + 60_000).abs() < 1_000 && (shift.ahead + hours as i64).abs() < 1_000, "{shift:?}");
        assert_eq!(detect_shift(), None, "once");
    }

    #[test]
    fn the_clock_since_boot_runs() {
        let begun = since_boot();
        assert!(!begun.is_zero());
        std::thread::sleep(Duration::from_millis(5));
        assert!(since_boot() >= begun + Duration::from_millis(5));
    }
}
