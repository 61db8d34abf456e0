//! `groups`, `hours`, `numbers` and `voicemail`, and the rules of an account: who is called by which name, and when.
//!
//! Decides the syntax of parties, windows and days, and checks that each name exists: a misspelt one would only show up as
//! a failed call.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use location::Aor;
use proxy::{
    Accounts, AlsoRing, Forward, GroupMember, GroupStrategy, NumberRule, Office, OfficeName, Party, RingGroup,
    UserRules,
};

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::accounts::{AccountEntry, FixedContact, UserName};
use super::error::{Conflict, PathStep};
use super::keys::{entry, section};
use super::scalar::{Flag, Period, Scalar, scalars};
use super::{Config, trunks};

/// How long the members of a group ring if the group does not say.
const RING_TIME: Duration = Duration::from_secs(20);

entry! {
    /// One ring group.
    pub(crate) struct GroupEntry {
        /// the name or number to call
        user: CalledName,
        /// the name of the group for people, on the status page
        name: Option<Label>,
        /// further numbers of the group
        numbers: Vec<CalledName>,
        /// who rings: users, groups, numbers and SIP URIs. Everybody rings once; the caller and users with
        /// `do_not_disturb` do not ring. The `forward` of a member does not apply, unless the member is written as
        /// `{ to: "101", follow: true }`
        members: Vec<MemberEntry>,
        /// `parallel`: all members ring at once; `sequential`: one after another; `wave`: one after another, and the
        /// earlier ones keep ringing; `rotating`: like `sequential`, but each call begins with the next member
        strategy: Option<GroupStrategyName>,
        /// how long all members ring together, or each of them in turn
        ring_time: Option<Period>,
        /// who is called if no member accepts the call: a user, a group, a number, a SIP URI or `voicemail`; without it the
        /// caller gets the response of the members
        otherwise: Option<PartyName>,
    }
}

entry! {
    /// Office hours.
    pub(crate) struct HoursEntry {
        /// the time zone, like `Europe/Berlin`
        zone: Zone,
        /// when the office is open, like `mon-fri 08:00-18:00` or `sat 22:00-02:00`; `24:00` is the end of a day
        open: Vec<OpenTime>,
        /// when it is closed all the same: days like `2026-12-24`, or `2026-12-24/2027-01-02` with both days included
        closed: Vec<Days>,
    }
}

entry! {
    /// A number that leads to somebody.
    pub(crate) struct NumberEntry {
        /// who is called: a user, a group, another number, a SIP URI or `voicemail`
        to: PartyName,
        /// the name of hours: outside of them `closed` is called
        hours: Option<UserName>,
        /// who is called outside of `hours`; without it such callers get 480
        closed: Option<PartyName>,
    }
}

section! {
    /// `forward` of an account: where its calls go.
    pub(crate) struct ForwardEntry {
        /// who gets all calls of this user: a user, a group, a number, a SIP URI or `voicemail`; no phone of the user rings
        always: PartyOrOff = PartyOrOff(None),
        /// who gets a call when the user is busy
        busy: PartyOrOff = PartyOrOff(None),
        /// who gets a call that the user did not answer for the time `forward.after`
        no_answer: PartyOrOff = PartyOrOff(None),
        /// who gets a call when no phone of the user is registered or reachable
        unavailable: PartyOrOff = PartyOrOff(None),
        /// how long the phones ring before `forward.no_answer` applies
        after: Period = Period(Forward::default().after),
    }
}

section! {
    /// `codes`: numbers that users dial to change their own rules.
    pub(crate) struct Codes {
        /// followed by a number, as in `*21102`: all calls of the caller go there. The call ends with 480, and the phone
        /// shows what is set now
        forward_always: CodeOrOff = CodeOrOff(None),
        /// calls of the caller are not forwarded
        forward_off: CodeOrOff = CodeOrOff(None),
        /// the caller is not disturbed
        dnd_on: CodeOrOff = CodeOrOff(None),
        /// the caller may be disturbed again
        dnd_off: CodeOrOff = CodeOrOff(None),
    }
}

entry! {
    /// One party of `also_ring`.
    pub(crate) struct AlsoRingEntry {
        /// who rings beside the phones of the user: a user, a group, a number or a SIP URI
        to: PartyName,
        /// how long after the phones
        after: Option<Period>,
        /// the name of hours: it does not ring outside of them
        hours: Option<UserName>,
    }
}

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
    pub(super) fn aor(&self, domain: &str) -> Aor {
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
    fn party(&self, domain: &str) -> Party {
        match self {
            Self::Name(name) => Party::Name(name.aor(domain)),
            Self::Uri(uri) => Party::Uri(uri.clone()),
            Self::Voicemail => Party::Voicemail,
        }
    }
}

impl AccountEntry {
    /// The rules of its calls; `None` if its phones just ring.
    pub(super) fn rules(&self, domain: &str, config: &Config) -> Option<Box<UserRules>> {
        let party = |party: &PartyOrOff| party.0.as_ref().map(|party| party.party(domain));
        let ForwardEntry { always, busy, no_answer, unavailable, after } = &self.forward;
        let forward = Forward {
            always: party(always),
            busy: party(busy),
            no_answer: party(no_answer),
            unavailable: party(unavailable),
            after: after.0,
        };
        let do_not_disturb = self.do_not_disturb == Some(Flag(true));
        let forwards = [&forward.always, &forward.busy, &forward.no_answer, &forward.unavailable];
        let has_forward = forwards.iter().any(|party| party.is_some());
        let mut also_ring: Vec<_> = self.also_ring.iter().map(|entry| entry.also_ring(domain, config)).collect();
        also_ring.sort_by_key(|party| party.after);
        let has_rules = do_not_disturb || has_forward || !also_ring.is_empty();
        has_rules.then(|| Box::new(UserRules { do_not_disturb, forward, also_ring }))
    }
}

impl Config {
    /// The groups and numbers. They are valid after [`check`].
    pub(crate) fn office(&self) -> Office {
        let domain = self.first_domain();
        let mut office = Office::default();
        let Codes { forward_always, forward_off, dnd_on, dnd_off } = self.codes.clone();
        let [forward_always, forward_off, dnd_on, dnd_off] =
            [forward_always, forward_off, dnd_on, dnd_off].map(|code| code.0);
        office.codes = proxy::Codes { forward_always, forward_off, dnd_on, dnd_off };
        office.voicemail = self.voicemail.as_ref().map(|contact| contact.uri.clone());
        for entry in &self.groups {
            let group = Arc::new(entry.group(domain));
            for name in [&entry.user].into_iter().chain(&entry.numbers) {
                office.add(&name.aor(domain), OfficeName::Group(Arc::clone(&group)));
            }
        }
        let hours: BTreeMap<_, _> = self.hours.iter().map(|(name, entry)| (name, Arc::new(entry.hours()))).collect();
        for (number, entry) in &self.numbers {
            let named = |name: &UserName| Some((name.0.clone(), Arc::clone(hours.get(name)?)));
            let rule = NumberRule {
                to: entry.to.party(domain),
                hours: entry.hours.as_ref().and_then(named),
                closed: entry.closed.as_ref().map(|party| party.party(domain)),
            };
            office.add(&number.aor(domain), OfficeName::Number(Arc::new(rule)));
        }
        office
    }
}

impl GroupEntry {
    fn group(&self, domain: &str) -> RingGroup {
        RingGroup {
            aor: self.user.aor(domain),
            label: self.name.as_ref().map(|label| label.0.clone()).unwrap_or_default(),
            members: self
                .members
                .iter()
                .map(|member| GroupMember { to: member.to.party(domain), follow: member.follow })
                .collect(),
            strategy: self.strategy.map_or(GroupStrategy::Parallel, |strategy| strategy.0),
            ring_time: self.ring_time.map_or(RING_TIME, |time| time.0),
            otherwise: self.otherwise.as_ref().map(|party| party.party(domain)),
            calls: 0.into(),
        }
    }
}

impl AlsoRingEntry {
    fn also_ring(&self, domain: &str, config: &Config) -> AlsoRing {
        let named = |name: &UserName| Some((name.0.clone(), Arc::new(config.hours.get(name)?.hours())));
        AlsoRing {
            to: self.to.party(domain),
            after: self.after.map_or(Duration::ZERO, |after| after.0),
            hours: self.hours.as_ref().and_then(named),
        }
    }
}

impl HoursEntry {
    fn hours(&self) -> proxy::Hours {
        proxy::Hours {
            zone: self.zone.0.clone(),
            open: self.open.iter().map(|time| time.0).collect(),
            closed: self.closed.iter().map(|days| days.0.clone()).collect(),
        }
    }
}

/// Checks the names that `groups`, `hours` and `numbers` define and use.
pub(super) fn check(config: &Config, accounts: &Accounts) -> Result<(), Conflict> {
    check_hours(config)?;
    let names = check_definitions(config, accounts)?;
    let check = |party: &PartyName, path: Vec<PathStep>| check_party(party, path, config, &names);
    for (at, group) in config.groups.iter().enumerate() {
        let path = [PathStep::Key("groups"), PathStep::Item(at)];
        if group.members.is_empty() {
            return conflict(path.to_vec(), "members: expected at least one user, group, number or SIP URI".to_owned());
        }
        for (item, member) in group.members.iter().enumerate() {
            let path = path.iter().cloned().chain([PathStep::Key("members"), PathStep::Item(item)]).collect();
            if member.to == PartyName::Voicemail {
                return conflict(path, "expected a member that can ring; voicemail may be in `otherwise`".to_owned());
            }
            check(&member.to, path)?;
        }
        if let Some(otherwise) = &group.otherwise {
            check(otherwise, path.iter().cloned().chain([PathStep::Key("otherwise")]).collect())?;
        }
    }
    for (number, entry) in &config.numbers {
        let path = |key| vec![PathStep::Key("numbers"), PathStep::Name(number.text().into()), PathStep::Key(key)];
        check(&entry.to, path("to"))?;
        if let Some(closed) = &entry.closed {
            check(closed, path("closed"))?;
        }
        check_hours_name(entry.hours.as_ref(), path("hours"), config)?;
        if entry.hours.is_none() && entry.closed.is_some() {
            return conflict(path("closed"), "needs `hours`, which say when the office is closed".to_owned());
        }
    }
    Ok(())
}

/// Checks the parties in the rules of accounts, which are at `path` of their file.
pub(super) fn check_rules(
    config: &Config,
    accounts: &Accounts,
    entries: &[AccountEntry],
    path: &[PathStep],
) -> Result<(), Conflict> {
    let names = Names { accounts, is_complete: true, may_be_outside: true };
    for (at, entry) in entries.iter().enumerate() {
        let ForwardEntry { always, busy, no_answer, unavailable, .. } = &entry.forward;
        for (key, party) in [("always", always), ("busy", busy), ("no_answer", no_answer), ("unavailable", unavailable)]
        {
            if let Some(party) = &party.0 {
                let steps = [PathStep::Item(at), PathStep::Key("forward"), PathStep::Key(key)];
                check_party(party, path.iter().cloned().chain(steps).collect(), config, &names)?;
            }
        }
        for (item, also) in entry.also_ring.iter().enumerate() {
            let path = |key| {
                let steps = [at, item].map(PathStep::Item);
                let [at, item] = steps;
                path.iter()
                    .cloned()
                    .chain([at, PathStep::Key("also_ring"), item, PathStep::Key(key)])
                    .collect::<Vec<_>>()
            };
            if also.to == PartyName::Voicemail {
                return conflict(
                    path("to"),
                    "expected a party that can ring; voicemail may be in `forward`".to_owned(),
                );
            }
            check_party(&also.to, path("to"), config, &names)?;
            check_hours_name(also.hours.as_ref(), path("hours"), config)?;
        }
    }
    Ok(())
}

/// Reads a party, or `off`, of a user of this domain; `None` if it is off or invalid.
pub(crate) fn read_party(text: &str, domain: &str) -> Option<Party> {
    PartyOrOff::read(text)?.0.map(|party| party.party(domain))
}

/// Checks the text of a party, or `off`; the error says what was expected.
pub(crate) fn check_party_text(text: &str, config: &Config, accounts: &Accounts) -> Result<(), String> {
    let Some(PartyOrOff(party)) = PartyOrOff::read(text) else {
        return Err(format!("invalid value {text:?}, expected {}", PartyOrOff::EXPECTED));
    };
    let names = Names { accounts, is_complete: true, may_be_outside: true };
    let checked = party.map_or(Ok(()), |party| check_party(&party, Vec::new(), config, &names));
    checked.map_err(|conflict| conflict.message)
}

/// Reads a duration.
pub(crate) fn read_period(text: &str) -> Option<Duration> {
    Period::read(text).map(|period| period.0)
}

/// The error of a text that is no duration.
pub(crate) fn expected_period(text: &str) -> String {
    format!("invalid value {text:?}, expected {}", Period::EXPECTED)
}

/// The names of users.
struct Names<'a> {
    accounts: &'a Accounts,
    /// Whether there are no other users than these.
    is_complete: bool,
    /// Whether the party may be a number outside of the office: a user dials it.
    may_be_outside: bool,
}

fn check_party(party: &PartyName, path: Vec<PathStep>, config: &Config, names: &Names<'_>) -> Result<(), Conflict> {
    match party {
        PartyName::Voicemail if config.voicemail.is_none() => {
            conflict(path, "voicemail needs the key `voicemail`, the SIP URI of a voicemail server".to_owned())
        }
        PartyName::Voicemail | PartyName::Uri(_) => Ok(()),
        PartyName::Name(name) => {
            let aor = name.aor(config.first_domain());
            let is_group = config.groups.iter().any(|group| group.user == *name || group.numbers.contains(name));
            let is_user = names.accounts.find(&aor).is_some() || names.accounts.has_number(&aor);
            if is_group || is_user || config.numbers.contains_key(name) {
                return Ok(());
            }
            match trunks::is_outside(config, name) {
                true if names.may_be_outside => return Ok(()),
                true => {
                    let message = "is a number outside of the office; only `forward` of a user leads there";
                    return conflict(path, format!("{:?} {message}", name.text()));
                }
                false if !names.is_complete => return Ok(()),
                false => {}
            }
            conflict(path, format!("{:?} is no user, group or number of `numbers`", name.text()))
        }
    }
}

/// Checks that each name has one meaning.
fn check_definitions<'a>(config: &Config, accounts: &'a Accounts) -> Result<Names<'a>, Conflict> {
    let domain = config.first_domain();
    let mut office = Office::default();
    let mut define = |name: &CalledName, path: Vec<PathStep>| {
        let aor: Aor = name.aor(domain);
        if accounts.find(&aor).is_some() || accounts.has_number(&aor) {
            return conflict(path, format!("{:?} is a user or the number of a user already", name.text()));
        }
        let rule = NumberRule { to: Party::Voicemail, hours: None, closed: None };
        match office.add(&aor, OfficeName::Number(Arc::new(rule))) {
            true => Ok(()),
            false => conflict(path, format!("{:?} is a group or number already", name.text())),
        }
    };
    for (at, group) in config.groups.iter().enumerate() {
        let path = |key| vec![PathStep::Key("groups"), PathStep::Item(at), PathStep::Key(key)];
        define(&group.user, path("user"))?;
        for (item, number) in group.numbers.iter().enumerate() {
            define(number, path("numbers").into_iter().chain([PathStep::Item(item)]).collect())?;
        }
    }
    for number in config.numbers.keys() {
        define(number, vec![PathStep::Key("numbers"), PathStep::Name(number.text().into())])?;
    }
    // Without accounts in the configuration there are those of the first start, or anybody may register.
    Ok(Names { accounts, is_complete: !accounts.is_empty(), may_be_outside: false })
}

fn check_hours_name(name: Option<&UserName>, path: Vec<PathStep>, config: &Config) -> Result<(), Conflict> {
    match name {
        Some(name) if !config.hours.contains_key(name) => {
            conflict(path, format!("{:?} is not defined in `hours`", name.0))
        }
        _ => Ok(()),
    }
}

fn check_hours(config: &Config) -> Result<(), Conflict> {
    for (name, entry) in &config.hours {
        let path = |key, item| {
            let name = PathStep::Name(name.0.clone());
            vec![PathStep::Key("hours"), name, PathStep::Key(key), PathStep::Item(item)]
        };
        for (item, time) in entry.open.iter().enumerate() {
            let earlier = entry.open.iter().take(item);
            if earlier.into_iter().any(|other| other.0.overlaps(time.0)) {
                return conflict(path("open", item), "overlaps with an earlier time of the same hours".to_owned());
            }
        }
    }
    Ok(())
}

fn conflict<T>(path: Vec<PathStep>, message: String) -> Result<T, Conflict> {
    Err(Conflict { path, message })
}
