//! Date (RFC 3261 20.17): when a message was first sent.

use crate::{Element, ErrorKind, Header, HeaderName};

/// Date: `rfc1123-date = wkday "," SP date1 SP time SP "GMT"` (RFC 3261 25.1), case-sensitive and always in GMT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// Seconds since the Unix epoch; negative before.
    pub seconds: i64,
}

const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const MONTHS: [(&[u8], i64); 12] = [
    (b"Jan", 31),
    (b"Feb", 28),
    (b"Mar", 31),
    (b"Apr", 30),
    (b"May", 31),
    (b"Jun", 30),
    (b"Jul", 31),
    (b"Aug", 31),
    (b"Sep", 30),
    (b"Oct", 31),
    (b"Nov", 30),
    (b"Dec", 31),
];

impl Header<'_> for Date {
    const NAME: HeaderName = HeaderName::Date;
    const SHAPE: &'static [Element] = &[];

    fn parse(value: &[u8]) -> Result<Self, ErrorKind> {
        if value.is_empty() {
            return Err(ErrorKind::Empty);
        }
        seconds(value).map(|seconds| Self { seconds }).ok_or(ErrorKind::Date)
    }
}

/// The day of the week is not compared with the date: it is redundant.
fn seconds(value: &[u8]) -> Option<i64> {
    let mut words = value.split(|&byte| byte == b' ');
    let mut word = || words.next();
    let (weekday, day, month, year, time, zone) = (word()?, word()?, word()?, word()?, word()?, word()?);
    if word().is_some() || zone != b"GMT" || !WEEKDAYS.contains(&weekday.strip_suffix(b",")?) {
        return None;
    }
    let month = MONTHS.iter().position(|(name, _)| *name == month)?;
    let year = digits(year, 4)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = MONTHS.get(month)?.1 + i64::from(leap && month == 1);
    let day = digits(day, 2).filter(|day| (1..=length).contains(day))?;
    let mut time = time.split(|&byte| byte == b':');
    let (hour, minute, second) = (time.next()?, time.next()?, time.next()?);
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    if time.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days of the full years since year 1, then of the full months of this year.
    let before = year - 1;
    let leaps = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let months: i64 = MONTHS.iter().take(month).map(|(_, days)| days).sum();
    let days = before * 365 + leaps + months + i64::from(leap && month > 1) + day - 1 - EPOCH;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from the first of January of the year 1 to that of 1970.
const EPOCH: i64 = 1969 * 365 + 1969 / 4 - 1969 / 100 + 1969 / 400;

fn digits(text: &[u8], len: usize) -> Option<i64> {
    let number = crate::octets::number(text).filter(|_| text.len() == len)?;
    i64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_since_the_epoch() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
            ("Sat, 13 Nov 2010 23:29:00 GMT", 1_289_690_940),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Sun, 01 Mar 2026 00:00:01 GMT", 1_772_323_201),
            ("Mon, 31 Dec 2001 23:59:59 GMT", 1_009_843_199),
        ] {
            assert_eq!(Date::parse(text.as_bytes()), Ok(Date { seconds }), "{text}");
        }
    }

    #[test]
    fn malformed_dates_are_refused() {
        for text in [
            "Fri, 01 Jan 2010 16:00:00 EST",
            "Fri, 01 Jan 2010 16:00:00",
            "Fri, 1 Jan 2010 16:00:00 GMT",
            "fri, 01 Jan 2010 16:00:00 GMT",
            "Fri, 29 Feb 2010 16:00:00 GMT",
            "Fri, 00 Jan 2010 16:00:00 GMT",
            "Fri, 01 Jan 2010 24:00:00 GMT",
            "Fri, 01 Jan 2010 16:00:60 GMT",
            "Fri, 01 Jan 10 16:00:00 GMT",
            "Fri 01 Jan 2010 16:00:00 GMT",
            "Fri, 01 Jan 2010 16:00:00 GMT x",
            "soon",
        ] {
            assert_eq!(Date::parse(text.as_bytes()), Err(ErrorKind::Date), "{text}");
        }
        assert_eq!(Date::parse(b""), Err(ErrorKind::Empty));
    }
}
