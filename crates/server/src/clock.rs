//! Clocks: the only place of the program that reads a clock for the core.
//!
//! Decides the time that registrations, nonces and subscriptions use: the server's *own time*, which nobody can set.
//! It continues from the store's time (docs/store.md) with the kernel's clock since boot, which also counts while the
//! machine is suspended. The machine's clock is only displayed: in the log, on the page, and in Date of a 200 (RFC
//! 3261 20.17). A change of it is detected, logged, and kept in the store for the next start.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use location::Wall;
use nix::time::{ClockId, clock_gettime};
use proxy::{Instant, Now};

/// Smaller differences are drift and not stored.
const MIN_SHIFT_MILLIS: i64 = 500;

static OWN: OnceLock<OwnTime> = OnceLock::new();

/// How far the machine's clock was ahead of the own time at the last check, in milliseconds.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// The origin of the core's monotonic time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// A clock that starts at zero now.
    pub(crate) fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    /// Monotonic time and the server's own time.
    pub(crate) fn now(&self) -> Now {
        let elapsed = self.origin.elapsed();
        Now { mono: Instant::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)), wall: wall() }
    }

    /// A time of the core, for the timer of the event loop.
    pub(crate) fn at(&self, moment: Instant) -> tokio::time::Instant {
        self.origin + Duration::from_micros(moment.as_micros())
    }
}

/// A time that advances with the clock since boot.
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

/// Starts the own time, which was `time` when `since_boot` was read. Only the first call has an effect.
pub(crate) fn init(time: Wall, since_boot: Duration) {
    if OWN.set(OwnTime { began: time, since_boot }).is_ok() {
        AHEAD.store(millis_between(machine_time(), wall()), Ordering::Relaxed);
    }
}

/// The server's own time; before [`init`], the machine's clock.
pub(crate) fn wall() -> Wall {
    OWN.get().map_or_else(machine_time, |own| own.at(since_boot()))
}

/// Converts an own time to the machine's clock, for display.
pub(crate) fn to_machine_time(own: Wall) -> Wall {
    Wall(own.0.saturating_add_signed(ahead()))
}

/// How far the machine's clock is ahead of the own time, in milliseconds.
pub(crate) fn ahead() -> i64 {
    AHEAD.load(Ordering::Relaxed)
}

/// The machine's clock.
pub(crate) fn machine_time() -> Wall {
    // A clock before 1970 counts as 1970.
    Wall::since_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// The machine's clock, in microseconds since 1970.
pub(crate) fn machine_micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Time since boot.
pub(crate) fn since_boot() -> Duration {
    // Linux has this clock since 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// The change of the machine's clock relative to the own time since the last call, if there was one. Has to be called
/// about once a second.
pub(crate) fn detect_shift() -> Option<ClockShift> {
    let now = millis_between(machine_time(), wall());
    let shift = now.saturating_sub(ahead());
    (shift.saturating_abs() >= MIN_SHIFT_MILLIS).then(|| {
        AHEAD.store(now, Ordering::Relaxed);
        ClockShift { by: shift, ahead: now }
    })
}

/// A change of the machine's clock, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockShift {
    /// Positive: forward. Negative: back.
    pub(crate) by: i64,
    /// How far the machine's clock is ahead of the own time now.
    pub(crate) ahead: i64,
}

fn millis_between(machine: Wall, own: Wall) -> i64 {
    i64::try_from(i128::from(machine.0) - i128::from(own.0)).unwrap_or(0)
}

/// A server time as RFC 3339 text in UTC, by the clock of the machine.
pub(crate) fn rfc3339(own: Wall) -> String {
    // RFC 3339 ends with the year 9999.
    let millis = to_machine_time(own).millis().min(253_402_300_799_000);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)).to_string()
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
    fn a_change_of_the_machines_clock_is_detected() {
        for (machine, own, expected) in [(10, 3, 7), (3, 10, -7), (u64::MAX, 0, 0)] {
            assert_eq!(millis_between(Wall(machine), Wall(own)), expected);
        }
        // The only test of this crate that starts the own time: three hours ahead of the machine's clock.
        let hours = 3 * 3_600_000;
        init(machine_time().plus_millis(hours), since_boot());
        init(Wall(0), Duration::ZERO);
        assert!(wall().millis_since(machine_time()).abs_diff(hours) < 1_000, "the first call counts");
        assert!(to_machine_time(wall()).0.abs_diff(machine_time().0) < 1_000);
        assert_eq!(detect_shift(), None);
        // Simulates a change of the clock.
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
