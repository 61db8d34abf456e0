//! Office hours: windows of the week and closed days, in a time zone.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use crate::clock::Wall;

/// The minutes of a day.
const DAY: u16 = 24 * 60;

/// When an office is open.
#[derive(Clone, Debug, PartialEq)]
pub struct Hours {
    /// Where the office is.
    pub zone: TimeZone,
    /// When it is open.
    pub open: Vec<Window>,
    /// Days on which it is closed all the same.
    pub closed: Vec<RangeInclusive<Date>>,
}

/// The same time on several days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first day.
    pub first: Weekday,
    /// The last day; the window of a week may pass Sunday.
    pub last: Weekday,
    /// The first minute of the day, 0..=1439.
    pub from: u16,
    /// The minute of the day at which it ends, 1..=1440; on the next day if it is not greater than `from`.
    pub to: u16,
}

impl Hours {
    /// Whether the office is open at this time of the machine's clock.
    pub fn is_open(&self, at: Wall) -> bool {
        let Ok(millis) = i64::try_from(at.millis()) else { return false };
        let Ok(at) = Timestamp::from_millisecond(millis) else { return false };
        let local = self.zone.to_datetime(at);
        let minutes = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        let is_closed = self.closed.iter().any(|days| days.contains(&local.date()));
        !is_closed && self.open.iter().any(|window| window.contains(local.weekday(), minutes))
    }
}

impl Window {
    fn contains(self, day: Weekday, minutes: u16) -> bool {
        if self.to > self.from {
            return self.has(day) && (self.from..self.to).contains(&minutes);
        }
        // It passes midnight: its end belongs to the day before.
        (self.has(day) && minutes >= self.from) || (self.has(day.previous()) && minutes < self.to)
    }

    fn has(self, day: Weekday) -> bool {
        let since = |day: Weekday| self.first.until(day);
        since(day) <= since(self.last)
    }

    /// Whether two windows have a minute of the week in common.
    pub fn overlaps(self, other: Self) -> bool {
        let starts = |window: Self| {
            let days = (0..7).map(|at| (at, Weekday::Monday.wrapping_add(at)));
            days.filter(move |(_, day)| window.has(*day))
                .map(move |(at, _)| at * i32::from(DAY) + i32::from(window.from))
        };
        let length = |window: Self| {
            let next_day = if window.to > window.from { 0 } else { DAY };
            i32::from(window.to + next_day - window.from)
        };
        let week = 7 * i32::from(DAY);
        starts(self).any(|one| {
            starts(other)
                .any(|two| (two - one).rem_euclid(week) < length(self) || (one - two).rem_euclid(week) < length(other))
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn window(first: Weekday, last: Weekday, from: u16, to: u16) -> Window {
        Window { first, last, from, to }
    }

    /// Whether it is open at this time of the zone, as `2026-12-01T08:00`.
    fn is_open(hours: &Hours, local: &str) -> bool {
        let at = hours.zone.to_timestamp(local.parse().unwrap()).unwrap();
        hours.is_open(Wall(u64::try_from(at.as_millisecond()).unwrap()))
    }

    #[test]
    fn windows_days_and_closed_days() {
        use Weekday::{Friday, Monday, Saturday, Sunday};
        let hours = Hours {
            zone: TimeZone::fixed(jiff::tz::offset(1)),
            open: vec![
                window(Monday, Friday, 8 * 60, 18 * 60),
                window(Saturday, Saturday, 22 * 60, 2 * 60),
                window(Saturday, Sunday, 9 * 60, 24 * 60 - 180),
            ],
            closed: vec![date(2026, 12, 24)..=date(2027, 1, 2)],
        };
        for (local, expected) in [
            ("2026-11-30T07:59", false),
            ("2026-11-30T08:00", true),
            ("2026-11-30T17:59", true),
            ("2026-11-30T18:00", false),
            ("2026-12-05T22:00", true),
            ("2026-12-06T01:59", true),
            ("2026-12-06T02:00", false),
            ("2026-12-06T22:00", false),
            ("2026-12-24T10:00", false),
            ("2027-01-02T10:00", false),
            ("2027-01-04T10:00", true),
        ] {
            assert_eq!(is_open(&hours, local), expected, "{local}");
        }
    }

    #[test]
    fn overlaps_are_found_across_midnight_and_sunday() {
        use Weekday::{Friday, Monday, Sunday, Tuesday};
        let day = window(Monday, Friday, 8 * 60, 18 * 60);
        assert!(day.overlaps(window(Tuesday, Tuesday, 17 * 60, 19 * 60)));
        assert!(!day.overlaps(window(Tuesday, Tuesday, 18 * 60, 19 * 60)));
        assert!(window(Sunday, Sunday, 20 * 60, 9 * 60).overlaps(day));
        assert!(!window(Sunday, Sunday, 20 * 60, 8 * 60).overlaps(day));
        assert!(window(Friday, Monday, 0, DAY).overlaps(window(Sunday, Sunday, 60, 120)));
    }
}
