//! The written form of parties, members, hours and codes.

use std::fmt;
use std::ops::RangeInclusive;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use location::Aor;
use proxy::{GroupStrategy, Party};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::config::accounts::{FixedContact, UserName};
use crate::config::scalar::{Flag, Scalar, scalars};

/// A feature code, or `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CodeOrOff(pub(crate) Option<Box<str>>);

/// A name for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label(pub(crate) Box<str>);

/// A party as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PartyName {
    /// A user, group or number.
    Name(CalledName),
    /// A SIP URI.
    Uri(Box<str>),
    /// The voicemail server.
    Voicemail,
}

/// A name or number to call. The visual separators of a number, such as spaces, are left out (RFC 3966 5.1.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CalledName(pub(crate) UserName);

/// A member of a group: a party, or `{ to: PARTY, follow: true }`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct MemberEntry {
    pub(crate) to: PartyName,
    pub(crate) follow: bool,
}

/// The keys of a member that is written as a mapping.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberKeys {
    to: PartyName,
    follow: Option<Flag>,
}

impl<'de> serde::Deserialize<'de> for MemberEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl<'de> Visitor<'de> for Visit {
            type Value = MemberEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}, or keys like `to` and `follow`", PartyName::EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<MemberEntry, E> {
                let invalid = || E::custom(format_args!("invalid value {text:?}, expected {}", PartyName::EXPECTED));
                Ok(MemberEntry { to: PartyName::read(text).ok_or_else(invalid)?, follow: false })
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<MemberEntry, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MemberEntry, A::Error> {
                let MemberKeys { to, follow } = serde::Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                Ok(MemberEntry { to, follow: follow == Some(Flag(true)) })
            }
        }

        deserializer.deserialize_any(Visit)
    }
}

/// A party, or `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartyOrOff(pub(crate) Option<PartyName>);

/// The strategy of a group by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupStrategyName(pub(crate) GroupStrategy);

/// A time zone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Zone(pub(crate) TimeZone);

/// A window of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenTime(pub(crate) proxy::Window);

/// A day, or several days in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Days(pub(crate) RangeInclusive<Date>);

scalars!(CalledName, CodeOrOff, Label, PartyName, PartyOrOff, GroupStrategyName, Zone, OpenTime, Days);

impl Scalar for Label {
    const EXPECTED: &'static str = "a name of 1 to 128 characters";

    fn read(text: &str) -> Option<Self> {
        let is_valid = (1..=128).contains(&text.chars().count()) && !text.contains(char::is_control);
        is_valid.then(|| Self(text.into()))
    }
}

impl Scalar for CalledName {
    const EXPECTED: &'static str = "a name or number to call, like 600, sales or \"+49 89 123451\"";

    fn read(text: &str) -> Option<Self> {
        let number = proxy::plain_number(text.as_bytes()).and_then(|number| String::from_utf8(number).ok());
        UserName::read(number.as_deref().unwrap_or(text)).map(Self)
    }
}

impl CalledName {
    pub(crate) fn aor(&self, domain: &str) -> Aor {
        self.0.aor(domain)
    }

    /// As it is dialled.
    pub(crate) const fn text(&self) -> &str {
        &self.0.0
    }
}

impl Scalar for PartyName {
    const EXPECTED: &'static str = "a user, a group, a number, a SIP URI like sip:support@192.0.2.50, or voicemail";

    fn read(text: &str) -> Option<Self> {
        if text == "voicemail" {
            return Some(Self::Voicemail);
        }
        if text.starts_with("sip:") || text.starts_with("sips:") {
            return FixedContact::read(text)
                .filter(|contact| contact.q.is_none())
                .map(|contact| Self::Uri(contact.uri));
        }
        CalledName::read(text).map(Self::Name)
    }
}

impl Scalar for PartyOrOff {
    const EXPECTED: &'static str = "a user, a group, a number, a SIP URI, voicemail, or off";

    fn read(text: &str) -> Option<Self> {
        match text {
            "off" | "false" => Some(Self(None)),
            _ => PartyName::read(text).map(|party| Self(Some(party))),
        }
    }
}

impl Scalar for CodeOrOff {
    const EXPECTED: &'static str = "a code of digits, * and #, like *21, or off";

    fn read(text: &str) -> Option<Self> {
        if matches!(text, "off" | "false") {
            return Some(Self(None));
        }
        let is_valid = |octet: u8| octet.is_ascii_digit() || matches!(octet, b'*' | b'#');
        ((1..=16).contains(&text.len()) && text.bytes().all(is_valid)).then(|| Self(Some(text.into())))
    }
}

impl Scalar for GroupStrategyName {
    const EXPECTED: &'static str = "parallel, sequential, wave or rotating";

    fn read(text: &str) -> Option<Self> {
        Some(Self(match text {
            "parallel" => GroupStrategy::Parallel,
            "sequential" => GroupStrategy::Sequential,
            "wave" => GroupStrategy::Wave,
            "rotating" => GroupStrategy::Rotating,
            _ => return None,
        }))
    }
}

impl Scalar for Zone {
    const EXPECTED: &'static str = "a time zone like Europe/Berlin, America/New_York or UTC";

    fn read(text: &str) -> Option<Self> {
        TimeZone::get(text).ok().map(Self)
    }
}

impl Scalar for OpenTime {
    const EXPECTED: &'static str = "days and a time like mon-fri 08:00-18:00, sat 09:00-12:00 or sun 22:00-02:00";

    fn read(text: &str) -> Option<Self> {
        let (days, times) = text.split_once(' ')?;
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        let (from, to) = times.trim().split_once('-')?;
        let (first, last) = (weekday(first)?, weekday(last)?);
        let (from, to) = (minutes(from)?, minutes(to)?);
        // A window of no length, and 24:00 as a start, are typing errors.
        (from != to && from < 24 * 60 && to > 0).then_some(Self(proxy::Window { first, last, from, to }))
    }
}

fn weekday(name: &str) -> Option<Weekday> {
    Some(match &*name.to_ascii_lowercase() {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        _ => return None,
    })
}

/// The minutes of `08:00`; at most 24:00.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| (digits.len() == 2).then(|| digits.parse::<u16>().ok())?;
    let minutes = number(minutes).filter(|minutes| *minutes < 60)?;
    Some(number(hours)? * 60 + minutes).filter(|all| *all <= 24 * 60)
}

impl Scalar for Days {
    const EXPECTED: &'static str = "a day like 2026-12-24, or days like 2026-12-24/2027-01-02";

    fn read(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('/').unwrap_or((text, text));
        let (first, last) = (first.parse::<Date>().ok()?, last.parse::<Date>().ok()?);
        (first <= last).then_some(Self(first..=last))
    }
}

impl fmt::Display for PartyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name(name) => name.text(),
            Self::Uri(uri) => uri,
            Self::Voicemail => "voicemail",
        })
    }
}

impl PartyName {
    pub(super) fn party(&self, domain: &str) -> Party {
        match self {
            Self::Name(name) => Party::Name(name.aor(domain)),
            Self::Uri(uri) => Party::Uri(uri.clone()),
            Self::Voicemail => Party::Voicemail,
        }
    }
}
