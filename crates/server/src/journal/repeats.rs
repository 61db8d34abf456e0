//! How often somebody has done it again: a guesser of passwords gets a few lines, not a line a guess.
//!
//! Decides which refusals have a line of their own. Of each kind and source the first few, then the hundredth, the
//! thousandth and so on; after ten quiet minutes it begins anew. Each kind has its own memory and its own number of lines
//! a minute, so that a flood of one kind hides no other. What has no line is summed up once a minute, by kind: how many,
//! from how many addresses, in how many users' names. Bounded: all tables have room for [`MOST`], and say so.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

use hashbrown::{HashMap, HashSet};
use location::{Aor, Wall};
use proxy::{AuthenticationFailure, Event, Offence, Registration};

/// Sources that are remembered, of each kind; and how far addresses and users are counted exactly.
const MOST: usize = 1024;

/// After so long nobody remembers.
const MEMORY_MILLIS: u64 = 600_000;

/// Between two sums, and the time that the lines are counted by.
const MINUTE_MILLIS: u64 = 60_000;

/// What is done again: the kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Deed {
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
pub(crate) const DEEDS: usize = 8;

impl Deed {
    /// All of them, in the order of their places.
    pub(crate) const ALL: [Self; DEEDS] = [
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
    const fn told(self) -> u32 {
        match self {
            // People call in vain now and then, and an office has one address.
            Self::Call => 20,
            _ => 3,
        }
    }

    /// What is counted, after a number.
    const fn words(self) -> &'static str {
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
pub(crate) struct Repeats {
    kinds: [Kind; DEEDS],
    /// Lines a minute, of each kind.
    lines: usize,
    hasher: RandomState,
}

/// Of one kind.
#[derive(Debug, Default)]
struct Kind {
    seen: HashMap<IpAddr, Seen>,
    /// When the minute began in which lines are counted; none if nothing has happened since the last sum.
    began: Option<Wall>,
    lines: usize,
    sum: Sum,
}

#[derive(Debug)]
struct Seen {
    count: u32,
    last: Wall,
}

/// What had no line.
#[derive(Debug, Default)]
struct Sum {
    count: u64,
    addresses: HashSet<IpAddr>,
    /// By their hashes: names may be long.
    users: HashSet<u64>,
    /// Some were not even looked at: there are more addresses and users than are known.
    unseen: bool,
}

impl Repeats {
    /// So many lines a minute of each kind.
    pub(crate) fn new(lines: usize) -> Self {
        Self { kinds: Default::default(), lines, hasher: RandomState::new() }
    }

    /// Which time it is, if that is to be told; else it goes into the next sum.
    pub(crate) fn again(&mut self, deed: Deed, source: IpAddr, user: Option<&Aor>, now: Wall) -> Option<u32> {
        let most = self.lines;
        let kind = self.kinds.get_mut(deed as usize)?;
        kind.began.get_or_insert(now);
        let count = kind.count(source, now);
        let is_told = count <= deed.told() || (count >= 10 && is_power_of_ten(count));
        if is_told && kind.lines < most {
            kind.lines += 1;
            return Some(count);
        }
        kind.sum.count += 1;
        let unknown = kind.sum.addresses.len() < MOST;
        kind.sum.unseen |= !unknown && !kind.sum.addresses.contains(&source);
        if unknown {
            kind.sum.addresses.insert(source);
        }
        if let Some(user) = user.filter(|_| kind.sum.users.len() < MOST) {
            kind.sum.users.insert(self.hasher.hash_one(user));
        }
        None
    }

    /// So many have happened that nobody has looked at.
    pub(crate) fn unseen(&mut self, deed: Deed, count: u64, now: Wall) {
        let Some(kind) = self.kinds.get_mut(deed as usize).filter(|_| count > 0) else { return };
        kind.began.get_or_insert(now);
        kind.sum.count += count;
        kind.sum.unseen = true;
    }

    /// A line for each kind of which something had none, once its minute is over.
    pub(crate) fn sums(&mut self, now: Wall) -> Vec<(Deed, String)> {
        let mut lines = Vec::new();
        for (deed, kind) in Deed::ALL.into_iter().zip(&mut self.kinds) {
            if kind.began.is_none_or(|began| now.millis_since(began) < MINUTE_MILLIS) {
                continue;
            }
            (kind.began, kind.lines) = (None, 0);
            let sum = std::mem::take(&mut kind.sum);
            if sum.count > 0 {
                lines.push((deed, sum.words(deed)));
            }
        }
        lines
    }
}

impl Kind {
    /// Which time it is. A source for which there is no room is always new.
    fn count(&mut self, source: IpAddr, now: Wall) -> u32 {
        if self.seen.len() >= MOST && !self.seen.contains_key(&source) {
            self.seen.retain(|_, seen| now.millis_since(seen.last) < MEMORY_MILLIS);
            if self.seen.len() >= MOST {
                return 1;
            }
        }
        let seen = self.seen.entry(source).or_insert(Seen { count: 0, last: now });
        if now.millis_since(seen.last) >= MEMORY_MILLIS {
            seen.count = 0;
        }
        seen.count = seen.count.saturating_add(1);
        seen.last = now;
        seen.count
    }
}

impl Sum {
    fn words(&self, deed: Deed) -> String {
        let many = |count: usize, one: &str, more: &str| {
            let word = if count == 1 { one } else { more };
            let more_than = if self.unseen || count >= MOST { "more than " } else { "" };
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
        format!("not logged in the last minute: {count} {}{from}{users}", deed.words())
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
    fn kinds_have_places_of_their_own() {
        for (at, deed) in Deed::ALL.into_iter().enumerate() {
            assert_eq!(deed as usize, at);
        }
    }

    #[test]
    fn the_first_three_and_the_powers_of_ten() {
        let mut repeats = Repeats::new(100);
        let told: Vec<_> =
            (0..2000).filter_map(|at| repeats.again(Deed::Credentials, GUESSER, None, Wall(at))).collect();
        assert_eq!(told, [1, 2, 3, 10, 100, 1000]);
        assert_eq!(repeats.again(Deed::Call, GUESSER, None, Wall(2000)), Some(1));
        assert_eq!(repeats.again(Deed::Credentials, GUESSER, None, Wall(2000 + MEMORY_MILLIS)), Some(1));
    }

    #[test]
    fn a_crowd_of_one_kind_hides_no_other() {
        let mut repeats = Repeats::new(100);
        let told = (0..5000).filter_map(|at| repeats.again(Deed::Stranger, crowd(at), None, Wall(7))).count();
        assert_eq!(told, 100);
        for deed in Deed::ALL.into_iter().filter(|deed| *deed != Deed::Stranger) {
            assert_eq!(repeats.again(deed, GUESSER, None, Wall(8)), Some(1), "{deed:?}");
        }
        // A minute later there are lines again, also for a source that finds no room in the memory.
        assert_eq!(repeats.sums(Wall(7 + MINUTE_MILLIS - 1)), []);
        assert_eq!(repeats.sums(Wall(7 + MINUTE_MILLIS)).len(), 1);
        assert_eq!(repeats.again(Deed::Stranger, crowd(9999), None, Wall(60_008)), Some(1));
        assert!(repeats.kinds.iter().all(|kind| kind.seen.len() <= MOST));
    }

    #[test]
    fn what_has_no_line_is_summed_up() {
        let mut repeats = Repeats::new(2);
        let mut again = |deed, source, name: &str, at| repeats.again(deed, source, Some(&user(name)), Wall(at));
        assert_eq!([1, 2].map(|at| again(Deed::Credentials, crowd(at), "101", 1000)), [Some(1), Some(1)]);
        for at in 3..=9 {
            assert_eq!(again(Deed::Credentials, crowd(at), if at == 3 { "102" } else { "101" }, 2000), None);
        }
        again(Deed::Garbage, GUESSER, "101", 40_000);
        let sums = repeats.sums(Wall(61_000));
        let expected = "not logged in the last minute: 7 wrong passwords or unknown users, from 7 addresses, in the name of 2 users";
        assert_eq!(sums, [(Deed::Credentials, expected.to_owned())]);
        // Once.
        assert_eq!(repeats.sums(Wall(200_000)), []);
        // What finds no room anywhere is counted all the same.
        repeats.unseen(Deed::Garbage, 5, Wall(300_000));
        assert_eq!(repeats.sums(Wall(360_000))[0].1, "not logged in the last minute: 5 unreadable messages");
        for at in 0..3000 {
            repeats.again(Deed::Relay, crowd(at), Some(&user(&at.to_string())), Wall(400_000));
        }
        let [(Deed::Relay, line)] = &repeats.sums(Wall(460_000))[..] else { panic!("one line") };
        assert_eq!(
            line,
            "not logged in the last minute: 2998 requests to be relayed, from more than 1024 addresses, in the name of \
             more than 1024 users"
        );
    }
}
