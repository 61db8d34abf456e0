//! How often somebody has done it again: a guesser of passwords gets a few lines, not a line a guess.
//!
//! Decides which refusals have a line of their own. Of each kind and source the first few, then the hundredth, the
//! thousandth and so on; after ten quiet minutes it begins anew. Each kind has its own memory and its own number of lines
//! a minute, so that a flood of one kind hides no other. What has no line is summed up once a minute, by kind: how many,
//! from how many addresses, in how many users' names. Bounded: all tables have room for [`MAX_SOURCES`], and say so.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

use hashbrown::{HashMap, HashSet};
use location::{Aor, Wall};
use proxy::{AuthenticationFailure, Event, Offence, Registration};

/// Sources that are remembered, of each kind; and how far addresses and users are counted exactly.
const MAX_SOURCES: usize = 1024;

/// After so long nobody remembers.
const FORGET_AFTER_MILLIS: u64 = 600_000;

/// Between two sums, and the time that the lines are counted by.
const MINUTE_MILLIS: u64 = 60_000;

/// What is done again: the kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RefusalKind {
    /// Credentials that were refused.
    Credentials,
    /// A request in the name of somebody else than its sender proved to be.
    Identity,
    /// A request of somebody from elsewhere.
    Stranger,
    /// A request to somebody elsewhere, or by a Route that is not ours.
    Relay,
    /// A registration that was refused for another reason.
    Registration,
    /// A call that was refused for another reason.
    Call,
    /// A request in a dialog that did not come from a side of it.
    Dialog,
    /// What cannot be read.
    Garbage,
}

/// How many kinds there are.
pub(crate) const REFUSAL_KINDS: usize = 8;

impl RefusalKind {
    /// All of them, in the order of their places.
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

    /// The kind of an event; none if it is no refusal.
    pub(crate) const fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::AuthenticationFailed {
                reason: AuthenticationFailure::Credentials | AuthenticationFailure::Replay,
                ..
            } => Self::Credentials,
            Event::Registration { outcome: Registration::Refused | Registration::Failed, offence, .. } => {
                Self::or_offence(Self::Registration, *offence)
            }
            Event::CallRefused { offence, .. } => Self::or_offence(Self::Call, *offence),
            Event::RequestRefused { offence, .. } => Self::of_offence(*offence),
            Event::DialogRequest { .. } => Self::Dialog,
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

    /// The kind of what somebody may not.
    pub(crate) const fn of_offence(offence: Offence) -> Self {
        match offence {
            Offence::Identity => Self::Identity,
            Offence::Stranger => Self::Stranger,
            Offence::Relay | Offence::ForeignRoute => Self::Relay,
        }
    }

    /// How often it is told in any case.
    const fn logged_always(self) -> u32 {
        match self {
            // People call in vain now and then, and an office has one address.
            Self::Call => 20,
            _ => 3,
        }
    }

    /// What is counted, after a number.
    const fn description(self) -> &'static str {
        match self {
            Self::Credentials => "wrong passwords or unknown users",
            Self::Identity => "requests in the name of another user",
            Self::Stranger => "requests of strangers",
            Self::Relay => "requests to be relayed",
            Self::Registration => "refused registrations",
            Self::Call => "refused calls",
            Self::Dialog => "requests in calls of others",
            Self::Garbage => "unreadable messages",
        }
    }
}

/// Who did what how often.
#[derive(Debug)]
pub(crate) struct RateLimit {
    kinds: [KindState; REFUSAL_KINDS],
    /// Lines a minute, of each kind.
    lines_per_minute: usize,
    hasher: RandomState,
}

/// Of one kind.
#[derive(Debug, Default)]
struct KindState {
    sources: HashMap<IpAddr, SourceCount>,
    /// When the minute began in which lines are counted; none if nothing has happened since the last sum.
    minute_began: Option<Wall>,
    lines: usize,
    summary: Summary,
}

#[derive(Debug)]
struct SourceCount {
    count: u32,
    last: Wall,
}

/// What had no line.
#[derive(Debug, Default)]
struct Summary {
    count: u64,
    addresses: HashSet<IpAddr>,
    /// By their hashes: names may be long.
    users: HashSet<u64>,
    /// Some were not even looked at: there are more addresses and users than are known.
    is_incomplete: bool,
}

impl RateLimit {
    /// So many lines a minute of each kind.
    pub(crate) fn new(lines_per_minute: usize) -> Self {
        Self { kinds: Default::default(), lines_per_minute, hasher: RandomState::new() }
    }

    /// Which time it is, if that is to be told; else it goes into the next sum.
    pub(crate) fn count(&mut self, kind: RefusalKind, source: IpAddr, user: Option<&Aor>, now: Wall) -> Option<u32> {
        let max_lines = self.lines_per_minute;
        let state = self.kinds.get_mut(kind as usize)?;
        state.minute_began.get_or_insert(now);
        let count = state.count(source, now);
        let is_logged = count <= kind.logged_always() || (count >= 10 && is_power_of_ten(count));
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

    /// So many have happened that nobody has looked at.
    pub(crate) fn count_dropped(&mut self, kind: RefusalKind, count: u64, now: Wall) {
        let Some(state) = self.kinds.get_mut(kind as usize).filter(|_| count > 0) else { return };
        state.minute_began.get_or_insert(now);
        state.summary.count += count;
        state.summary.is_incomplete = true;
    }

    /// A line for each kind of which something had none, once its minute is over.
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
    /// Which time it is. A source for which there is no room is always new.
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
        format!("not logged in the last minute: {count} {}{from}{users}", kind.description())
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
        let logged_always: Vec<_> =
            (0..2000).filter_map(|at| rate_limit.count(RefusalKind::Credentials, GUESSER, None, Wall(at))).collect();
        assert_eq!(logged_always, [1, 2, 3, 10, 100, 1000]);
        assert_eq!(rate_limit.count(RefusalKind::Call, GUESSER, None, Wall(2000)), Some(1));
        assert_eq!(
            rate_limit.count(RefusalKind::Credentials, GUESSER, None, Wall(2000 + FORGET_AFTER_MILLIS)),
            Some(1)
        );
    }

    #[test]
    fn a_flood_of_one_kind_does_not_suppress_another() {
        let mut rate_limit = RateLimit::new(100);
        let logged_always =
            (0..5000).filter_map(|at| rate_limit.count(RefusalKind::Stranger, crowd(at), None, Wall(7))).count();
        assert_eq!(logged_always, 100);
        for kind in RefusalKind::ALL.into_iter().filter(|kind| *kind != RefusalKind::Stranger) {
            assert_eq!(rate_limit.count(kind, GUESSER, None, Wall(8)), Some(1), "{kind:?}");
        }
        // A minute later there are lines again, also for a source that finds no room in the memory.
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
        // Once.
        assert_eq!(rate_limit.summaries(Wall(200_000)), []);
        // What finds no room anywhere is counted all the same.
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
