//! Decides which refusals get a log line: an attacker who guesses passwords gets a few lines, not one for each attempt.
//!
//! For each kind and source the first few refusals are logged, and after them those whose number is a power of ten;
//! after ten minutes without a refusal the count starts again. Each kind has its own table and its own number of lines
//! per minute, so that a flood of one kind does not suppress another. Refusals without a line are summarised once a
//! minute by kind: their number, addresses and users. All tables are limited to [`MAX_SOURCES`].

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

use hashbrown::{HashMap, HashSet};
use location::{Aor, Wall};
use proxy::{AuthenticationFailure, CallEnd, DialogRequest, Event, Offence, Registration};
use strum::IntoStaticStr;

/// Limit of sources per kind, and of addresses and users that a summary counts exactly.
const MAX_SOURCES: usize = 1024;

/// A source without a refusal for this long is forgotten.
const FORGET_AFTER_MILLIS: u64 = 600_000;

/// Interval of summaries and of the line limit.
const MINUTE_MILLIS: u64 = 60_000;

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum RefusalKind {
    /// Refused credentials.
    Credentials,
    /// A request whose From is not the authenticated user.
    Identity,
    /// A request of a foreign domain.
    Stranger,
    /// A request to a foreign domain, or with a Route that this server did not issue.
    Relay,
    /// Any other refused registration.
    Registration,
    /// Any other refused call.
    Call,
    /// An in-dialog request that does not come from a side of the dialog.
    Dialog,
    /// A message that cannot be parsed.
    Garbage,
}

/// The number of kinds.
pub(crate) const REFUSAL_KINDS: usize = 8;

impl RefusalKind {
    /// All kinds, in the order of their discriminants.
    pub(crate) const ALL: [Self; REFUSAL_KINDS] = [
        Self::Credentials,
        Self::Identity,
        Self::Stranger,
        Self::Relay,
        Self::Registration,
        Self::Call,
        Self::Dialog,
        Self::Garbage,
    ];

    /// The kind of an event; `None` if it is no refusal.
    pub(crate) const fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::AuthenticationFailed {
                reason: AuthenticationFailure::Credentials | AuthenticationFailure::Replay,
                ..
            } => Self::Credentials,
            Event::Registration { outcome: Registration::Refused | Registration::Failed, offence, .. } => {
                Self::or_offence(Self::Registration, *offence)
            }
            Event::CallEnded(record) => match &record.end {
                CallEnd::Refused(refusal) => Self::or_offence(Self::Call, refusal.offence),
                _ => return None,
            },
            Event::RequestRefused { offence, .. } => Self::of_offence(*offence),
            Event::DialogRequest { outcome: DialogRequest::Refused, .. } => Self::Dialog,
            Event::ParseError { .. } => Self::Garbage,
            _ => return None,
        })
    }

    const fn or_offence(self, offence: Option<Offence>) -> Self {
        match offence {
            Some(offence) => Self::of_offence(offence),
            None => self,
        }
    }

    /// The kind of an offence.
    pub(crate) const fn of_offence(offence: Offence) -> Self {
        match offence {
            Offence::Identity => Self::Identity,
            Offence::Stranger => Self::Stranger,
            Offence::Relay | Offence::ForeignRoute => Self::Relay,
        }
    }

    /// How many refusals of one source are all logged. After them only the 10th, the 100th and so on are.
    const fn first_logged(self) -> u32 {
        match self {
            // Failed calls are normal, and a whole office may share one address.
            Self::Call => 20,
            _ => 3,
        }
    }

    /// Name for programs (docs/openapi.yaml).
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

    /// Singular and plural for the summary.
    const fn description(self) -> (&'static str, &'static str) {
        match self {
            Self::Credentials => ("wrong password or unknown user", "wrong passwords or unknown users"),
            Self::Identity => ("request in the name of another user", "requests in the name of another user"),
            Self::Stranger => ("request of a stranger", "requests of strangers"),
            Self::Relay => ("request to be relayed", "requests to be relayed"),
            Self::Registration => ("refused registration", "refused registrations"),
            Self::Call => ("refused call", "refused calls"),
            Self::Dialog => ("request in a call of others", "requests in calls of others"),
            Self::Garbage => ("unreadable message", "unreadable messages"),
        }
    }
}

/// Counts refusals by kind and source.
#[derive(Debug)]
pub(crate) struct RateLimit {
    kinds: [KindState; REFUSAL_KINDS],
    /// Lines a minute, of each kind.
    lines_per_minute: usize,
    hasher: RandomState,
}

/// The state of one kind.
#[derive(Debug, Default)]
struct KindState {
    sources: HashMap<IpAddr, SourceCount>,
    /// Start of the current minute; `None` if there was no refusal since the last summary.
    minute_began: Option<Wall>,
    lines: usize,
    summary: Summary,
}

#[derive(Debug)]
struct SourceCount {
    count: u32,
    last: Wall,
}

/// Refusals without a line.
#[derive(Debug, Default)]
struct Summary {
    count: u64,
    addresses: HashSet<IpAddr>,
    /// Hashes, since names may be long.
    users: HashSet<u64>,
    /// More addresses and users exist than were recorded.
    is_incomplete: bool,
}

impl RateLimit {
    /// With a limit of lines per minute and kind.
    pub(crate) fn new(lines_per_minute: usize) -> Self {
        Self { kinds: Default::default(), lines_per_minute, hasher: RandomState::new() }
    }

    /// Counts a refusal. Returns the number of this source's refusals if it is to be logged; otherwise it goes into
    /// the next summary.
    pub(crate) fn count(&mut self, kind: RefusalKind, source: IpAddr, user: Option<&Aor>, now: Wall) -> Option<u32> {
        let max_lines = self.lines_per_minute;
        let state = self.kinds.get_mut(kind as usize)?;
        state.minute_began.get_or_insert(now);
        let count = state.count(source, now);
        let is_logged = count <= kind.first_logged() || (count >= 10 && is_power_of_ten(count));
        if is_logged && state.lines < max_lines {
            state.lines += 1;
            return Some(count);
        }
        state.summary.count += 1;
        let has_room = state.summary.addresses.len() < MAX_SOURCES;
        state.summary.is_incomplete |= !has_room && !state.summary.addresses.contains(&source);
        if has_room {
            state.summary.addresses.insert(source);
        }
        if let Some(user) = user.filter(|_| state.summary.users.len() < MAX_SOURCES) {
            state.summary.users.insert(self.hasher.hash_one(user));
        }
        None
    }

    /// Counts refusals that the event queue dropped.
    pub(crate) fn count_dropped(&mut self, kind: RefusalKind, count: u64, now: Wall) {
        let Some(state) = self.kinds.get_mut(kind as usize).filter(|_| count > 0) else { return };
        state.minute_began.get_or_insert(now);
        state.summary.count += count;
        state.summary.is_incomplete = true;
    }

    /// A summary for each kind with refusals that were not logged, once its minute is over.
    pub(crate) fn summaries(&mut self, now: Wall) -> Vec<(RefusalKind, String)> {
        let mut lines = Vec::new();
        for (kind, state) in RefusalKind::ALL.into_iter().zip(&mut self.kinds) {
            if state.minute_began.is_none_or(|began| now.millis_since(began) < MINUTE_MILLIS) {
                continue;
            }
            (state.minute_began, state.lines) = (None, 0);
            let summary = std::mem::take(&mut state.summary);
            if summary.count > 0 {
                lines.push((kind, summary.description(kind)));
            }
        }
        lines
    }
}

impl KindState {
    /// The number of this source's refusals. If the table is full, an unknown source counts as new.
    fn count(&mut self, source: IpAddr, now: Wall) -> u32 {
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source) {
            self.sources.retain(|_, known| now.millis_since(known.last) < FORGET_AFTER_MILLIS);
            if self.sources.len() >= MAX_SOURCES {
                return 1;
            }
        }
        let known = self.sources.entry(source).or_insert(SourceCount { count: 0, last: now });
        if now.millis_since(known.last) >= FORGET_AFTER_MILLIS {
            known.count = 0;
        }
        known.count = known.count.saturating_add(1);
        known.last = now;
        known.count
    }
}

impl Summary {
    fn description(&self, kind: RefusalKind) -> String {
        let many = |count: usize, one: &str, more: &str| {
            let word = if count == 1 { one } else { more };
            let more_than = if self.is_incomplete || count >= MAX_SOURCES { "more than " } else { "" };
            format!("{more_than}{count} {word}")
        };
        let Self { count, addresses, users, .. } = self;
        let from = match addresses.len() {
            0 => String::new(),
            count => format!(", from {}", many(count, "address", "addresses")),
        };
        let users = match users.len() {
            0 => String::new(),
            count => format!(", in the name of {}", many(count, "user", "users")),
        };
        let (one, more) = kind.description();
        let what = if *count == 1 { one } else { more };
        format!("not logged in the last minute: {count} {what}{from}{users}")
    }
}

const fn is_power_of_ten(count: u32) -> bool {
    10_u32.pow(count.ilog10()) == count
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUESSER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));

    fn crowd(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn user(name: &str) -> Aor {
        Aor::new(name.as_bytes(), b"office.example")
    }

    #[test]
    fn kinds_are_indexed_by_their_order() {
        for (at, kind) in RefusalKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }

    #[test]
    fn the_first_three_and_powers_of_ten_are_logged() {
        let mut rate_limit = RateLimit::new(100);
        let logged: Vec<_> =
            (0..2000).filter_map(|at| rate_limit.count(RefusalKind::Credentials, GUESSER, None, Wall(at))).collect();
        assert_eq!(logged, [1, 2, 3, 10, 100, 1000]);
        assert_eq!(rate_limit.count(RefusalKind::Call, GUESSER, None, Wall(2000)), Some(1));
        assert_eq!(
            rate_limit.count(RefusalKind::Credentials, GUESSER, None, Wall(2000 + FORGET_AFTER_MILLIS)),
            Some(1)
        );
    }

    #[test]
    fn a_flood_of_one_kind_does_not_suppress_another() {
        let mut rate_limit = RateLimit::new(100);
        let logged =
            (0..5000).filter_map(|at| rate_limit.count(RefusalKind::Stranger, crowd(at), None, Wall(7))).count();
        assert_eq!(logged, 100);
        for kind in RefusalKind::ALL.into_iter().filter(|kind| *kind != RefusalKind::Stranger) {
            assert_eq!(rate_limit.count(kind, GUESSER, None, Wall(8)), Some(1), "{kind:?}");
        }
        // After a minute lines are logged again, also for a source that is not in the full table.
        assert_eq!(rate_limit.summaries(Wall(7 + MINUTE_MILLIS - 1)), []);
        assert_eq!(rate_limit.summaries(Wall(7 + MINUTE_MILLIS)).len(), 1);
        assert_eq!(rate_limit.count(RefusalKind::Stranger, crowd(9999), None, Wall(60_008)), Some(1));
        assert!(rate_limit.kinds.iter().all(|kind| kind.sources.len() <= MAX_SOURCES));
    }

    #[test]
    fn suppressed_lines_are_summarised() {
        let mut rate_limit = RateLimit::new(2);
        let mut count = |kind, source, name: &str, at| rate_limit.count(kind, source, Some(&user(name)), Wall(at));
        assert_eq!([1, 2].map(|at| count(RefusalKind::Credentials, crowd(at), "101", 1000)), [Some(1), Some(1)]);
        for at in 3..=9 {
            assert_eq!(count(RefusalKind::Credentials, crowd(at), if at == 3 { "102" } else { "101" }, 2000), None);
        }
        count(RefusalKind::Garbage, GUESSER, "101", 40_000);
        let summaries = rate_limit.summaries(Wall(61_000));
        let expected = "not logged in the last minute: 7 wrong passwords or unknown users, from 7 addresses, in the name of 2 users";
        assert_eq!(summaries, [(RefusalKind::Credentials, expected.to_owned())]);
        // A summary is returned once.
        assert_eq!(rate_limit.summaries(Wall(200_000)), []);
        // Dropped events are counted too.
        rate_limit.count_dropped(RefusalKind::Garbage, 5, Wall(300_000));
        assert_eq!(rate_limit.summaries(Wall(360_000))[0].1, "not logged in the last minute: 5 unreadable messages");
        for at in 0..3000 {
            rate_limit.count(RefusalKind::Relay, crowd(at), Some(&user(&at.to_string())), Wall(400_000));
        }
        let [(RefusalKind::Relay, line)] = &rate_limit.summaries(Wall(460_000))[..] else { panic!("one line") };
        assert_eq!(
            line,
            "not logged in the last minute: 2998 requests to be relayed, from more than 1024 addresses, in the name of \
             more than 1024 users"
        );
    }
}
