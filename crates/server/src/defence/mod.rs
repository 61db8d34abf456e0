//! Who guesses is not answered: the failures of each address, and the addresses that are banned (docs/security.md).
//!
//! Decides what counts, when it is too much, and who is spared. Shared by all workers and the main thread. A failure over
//! UDP counts only if its sender receives what is sent to its address (the core says so): else anybody could have another
//! banned by writing that address into datagrams. Spared, and only warned of, are `trusted` networks and addresses from
//! which a phone of ours is registered: a whole office may be behind one address.
//!
//! Each worker has a list of its own of who is banned, so that the check is a load of an atomic while nobody is, and takes
//! no lock while somebody is. All of it is in memory: it survives a reload and ends with the
//! process. Must not look into messages.

mod failure;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;
use location::{AnyStore, Store as _, Wall};
use parking_lot::{Mutex, RwLock};
use proxy::{Event, Registration, Source};

use crate::clock;
use crate::config::Config;
use crate::metrics;

pub(crate) use failure::{Failure, Notice, Outcome, What};

/// Notices that wait to be logged.
const NOTICES: usize = 100;

/// For how long it is known from where phones are registered; then it is looked up again.
const FRESH: Duration = Duration::from_secs(10);

/// Failures and bans.
pub(crate) struct Defence {
    /// How many are banned.
    banned: AtomicUsize,
    /// How many addresses have failures.
    watched: AtomicUsize,
    /// How often that list has changed: read for each message.
    round: AtomicUsize,
    most: usize,
    inner: RwLock<Inner>,
    store: Arc<AnyStore>,
    registered: Mutex<Option<Registered>>,
}

/// A worker's list of who is banned.
#[derive(Default)]
pub(crate) struct Banned {
    round: usize,
    sources: HashSet<Source>,
}

struct Inner {
    rules: Rules,
    watched: HashMap<Source, SubscriberIndex>,
    bans: HashMap<Source, Ban>,
    notices: Vec<Notice>,
    /// Notices that found no room.
    unnoticed: usize,
}

/// As the configuration has it.
#[derive(Clone, Debug)]
struct Rules {
    failures: usize,
    within: Duration,
    ban: Option<Duration>,
    trusted: Vec<IpNet>,
}

/// The failures of one address.
#[derive(Default)]
struct SubscriberIndex {
    /// When they were, the oldest first.
    times: VecDeque<Instant>,
    what: What,
    /// Until when nothing more is said of it.
    spared_until: Option<Instant>,
}

/// An address that is not answered.
#[derive(Clone, Debug)]
pub(crate) struct Ban {
    /// When it began, for people.
    pub(crate) since: Wall,
    /// When it ends.
    pub(crate) ends: Instant,
    /// Failures that led to it.
    pub(crate) failures: usize,
    /// What they were.
    pub(crate) what: What,
}

/// From where phones are registered.
struct Registered {
    at: Instant,
    sources: HashSet<Source>,
}

impl Defence {
    /// Nobody has failed yet. `store` knows from where phones are registered.
    pub(crate) fn new(config: &Config, store: Arc<AnyStore>) -> Self {
        let rules = Rules::of(config);
        let (watched, bans) = (HashMap::new(), HashMap::new());
        let inner = Inner { rules, watched, bans, notices: Vec::new(), unnoticed: 0 };
        Self {
            banned: AtomicUsize::new(0),
            watched: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
            most: config.limits.bans.0,
            inner: RwLock::new(inner),
            store,
            registered: Mutex::new(None),
        }
    }

    /// Takes new rules for what comes. Bans stay as they are.
    pub(crate) fn reconfigure(&self, config: &Config) {
        self.inner.write().rules = Rules::of(config);
    }

    /// How many addresses are banned.
    pub(crate) fn banned(&self) -> usize {
        self.banned.load(Ordering::Relaxed)
    }

    /// Whether this address is not to be answered. For who has no [`Banned`].
    pub(crate) fn covers(&self, ip: IpAddr) -> bool {
        self.banned() > 0 && self.inner.read().bans.contains_key(&Source::from(ip))
    }

    /// Something happened in a core.
    pub(crate) fn see(&self, event: &Event) {
        match event {
            Event::AuthenticationFailed { counts: true, user, flow, .. } => {
                self.failed(flow.remote.ip(), Failure::Credentials(user));
            }
            Event::ParseError { flow, .. } if flow.transport.is_reliable() => {
                self.failed(flow.remote.ip(), Failure::Unreadable);
            }
            // Without authentication: who has no account is told so.
            Event::Registration { outcome: Registration::Refused, status: 404, aor, flow, .. }
                if flow.transport.is_reliable() =>
            {
                self.failed(flow.remote.ip(), Failure::Credentials(aor));
            }
            Event::Registration { outcome: Registration::Registered, flow, .. } => {
                self.registered(flow.remote.ip());
            }
            _ => {}
        }
    }

    /// An address has failed, and it is its own.
    pub(crate) fn failed(&self, ip: IpAddr, failure: Failure<'_>) {
        let (source, now) = (Source::from(ip), Instant::now());
        let (rules, failures, what) = {
            let mut inner = self.inner.write();
            let reached = inner.count(source, failure, now, self.most);
            self.watched.store(inner.watched.len(), Ordering::Relaxed);
            let Some((failures, what)) = reached else { return };
            (inner.rules.clone(), failures, what)
        };
        let outcome = match rules.ban {
            _ if rules.trusted.iter().any(|network| network.contains(&ip.to_canonical())) => Outcome::Trusted,
            _ if self.is_registered(source) => Outcome::Registered,
            None => Outcome::Off,
            Some(time) => Outcome::Banned(time),
        };
        metrics::failed_too_often(matches!(outcome, Outcome::Banned(_)));
        let mut inner = self.inner.write();
        inner.notice(Notice { source, outcome, failures, within: rules.within, what: what.clone() });
        if let Outcome::Banned(time) = outcome {
            inner.watched.remove(&source);
            inner.make_room(self.most);
            inner.bans.insert(source, Ban { since: clock::wall(), ends: now + time, failures, what });
            self.changed(&inner);
        } else if let Some(watched) = inner.watched.get_mut(&source) {
            watched.spared_until = Some(now + rules.within.max(rules.ban.unwrap_or_default()));
        }
    }

    /// A phone has registered from there.
    fn registered(&self, ip: IpAddr) {
        if self.watched.load(Ordering::Relaxed) > 0
            && let Some(known) = &mut *self.registered.lock()
        {
            known.sources.insert(Source::from(ip));
        }
    }

    fn is_registered(&self, source: Source) -> bool {
        let mut known = self.registered.lock();
        // At most once in a while, whoever fails how often: a large store takes some time.
        let fresh = known.take().filter(|known| known.at.elapsed() < FRESH);
        let fresh = fresh.unwrap_or_else(|| {
            let (now, mut sources) = (clock::wall(), HashSet::new());
            self.store.list(&mut |record| {
                sources.extend(record.live(now).map(|binding| Source::from(binding.flow().remote.ip())));
            });
            Registered { at: Instant::now(), sources }
        });
        known.insert(fresh).sources.contains(&source)
    }

    /// Ends what is over.
    pub(crate) fn sweep(&self) {
        if self.banned() == 0 && self.watched.load(Ordering::Relaxed) == 0 {
            return;
        }
        let now = Instant::now();
        let mut inner = self.inner.write();
        let within = inner.rules.within;
        let before = inner.bans.len();
        inner.bans.retain(|_, ban| now < ban.ends);
        if inner.bans.len() != before {
            self.changed(&inner);
        }
        inner.watched.retain(|_, watched| watched.matters(now, within));
        self.watched.store(inner.watched.len(), Ordering::Relaxed);
        drop(inner);
        let mut known = self.registered.lock();
        *known = known.take().filter(|known| known.at.elapsed() < FRESH);
    }

    /// Ends a ban, and forgets the failures of the address. False if it is not banned.
    pub(crate) fn lift(&self, source: Source) -> bool {
        let mut inner = self.inner.write();
        inner.watched.remove(&source);
        let lifted = inner.bans.remove(&source).is_some();
        self.changed(&inner);
        lifted
    }

    /// Bans have come or gone. Called with the lock held, so that who sees another round finds the list of it.
    fn changed(&self, inner: &Inner) {
        self.banned.store(inner.bans.len(), Ordering::Relaxed);
        self.round.fetch_add(1, Ordering::Relaxed);
    }

    /// Those that are banned, in order.
    pub(crate) fn list(&self) -> Vec<(Source, Ban)> {
        let inner = self.inner.read();
        let mut all: Vec<_> = inner.bans.iter().map(|(source, ban)| (*source, ban.clone())).collect();
        drop(inner);
        all.sort_unstable_by_key(|(source, _)| *source);
        all
    }

    /// What is to be logged, and how much more there was.
    pub(crate) fn take_notices(&self) -> (Vec<Notice>, usize) {
        // Read first: mostly there is nothing.
        if self.inner.read().notices.is_empty() {
            return (Vec::new(), 0);
        }
        let mut inner = self.inner.write();
        (std::mem::take(&mut inner.notices), std::mem::take(&mut inner.unnoticed))
    }
}

impl Banned {
    /// Brings it up to date; true if it has changed.
    pub(crate) fn update(&mut self, defence: &Defence) -> bool {
        if self.round == defence.round.load(Ordering::Relaxed) {
            return false;
        }
        let inner = defence.inner.read();
        self.round = defence.round.load(Ordering::Relaxed);
        self.sources.clear();
        self.sources.extend(inner.bans.keys());
        true
    }

    /// Whether this address is not to be answered.
    pub(crate) fn covers(&self, ip: IpAddr) -> bool {
        !self.sources.is_empty() && self.sources.contains(&Source::from(ip))
    }
}

impl Inner {
    /// Counts a failure; if it is one too many, how many there were and what.
    fn count(&mut self, source: Source, failure: Failure<'_>, now: Instant, most: usize) -> Option<(usize, What)> {
        if self.bans.contains_key(&source) {
            return None;
        }
        if self.watched.len() >= most && !self.watched.contains_key(&source) {
            // Any of them: who has many addresses shall not know which are forgotten.
            let any = self.watched.keys().next().copied();
            any.and_then(|any| self.watched.remove(&any));
            metrics::capped(metrics::BANS);
        }
        let watched = self.watched.entry(source).or_default();
        if watched.spared_until.is_some_and(|until| now < until) {
            return None;
        }
        while watched.times.front().is_some_and(|first| now.duration_since(*first) > self.rules.within) {
            watched.times.pop_front();
        }
        if watched.times.is_empty() {
            watched.what = What::default();
        }
        watched.times.push_back(now);
        watched.what.note(failure);
        if watched.times.len() < self.rules.failures {
            return None;
        }
        Some((std::mem::take(&mut watched.times).len(), std::mem::take(&mut watched.what)))
    }

    /// For one more ban: the one that ends first makes room.
    fn make_room(&mut self, most: usize) {
        if self.bans.len() >= most {
            let first = self.bans.iter().min_by_key(|(_, ban)| ban.ends).map(|(source, _)| *source);
            first.and_then(|first| self.bans.remove(&first));
            metrics::capped(metrics::BANS);
        }
    }

    fn notice(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES {
            self.notices.push(notice);
        } else {
            self.unnoticed += 1;
        }
    }
}

impl SubscriberIndex {
    fn matters(&self, now: Instant, within: Duration) -> bool {
        let recent = self.times.back().is_some_and(|last| now.duration_since(*last) <= within);
        recent || self.spared_until.is_some_and(|until| now < until)
    }
}

impl Rules {
    fn of(config: &Config) -> Self {
        Self {
            failures: config.defence.failures.0,
            within: config.defence.within.0,
            ban: config.defence.ban.0,
            trusted: config.trusted.iter().map(|network| network.0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use location::{Aor, MemoryStore};

    use super::*;

    fn defence(text: &str) -> Defence {
        let config: Config = serde_yaml::from_str(text).expect("a configuration");
        Defence::new(&config, Arc::new(AnyStore::Memory(MemoryStore::new())))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn aor(user: &str) -> Aor {
        Aor::new(user.as_bytes(), b"office.example")
    }

    fn fails(defence: &Defence, address: &str, times: usize) {
        for at in 0..times {
            defence.failed(ip(address), Failure::Credentials(&aor(&at.to_string())));
        }
    }

    #[test]
    fn so_many_failures_are_too_many() {
        let defence = defence("defence: { failures: 3 }");
        fails(&defence, "198.51.100.7", 2);
        assert!(!defence.covers(ip("198.51.100.7")));
        fails(&defence, "198.51.100.7", 1);
        assert!(defence.covers(ip("198.51.100.7")) && defence.covers(ip("::ffff:198.51.100.7")));
        assert!(!defence.covers(ip("198.51.100.8")));
        let mut list = Banned::default();
        assert!(list.update(&defence) && !list.update(&defence));
        assert!(list.covers(ip("198.51.100.7")) && !list.covers(ip("198.51.100.8")));
        assert_eq!(defence.banned(), 1);
        let (notices, more) = defence.take_notices();
        let [Notice { outcome: Outcome::Banned(time), failures: 3, what, .. }] = &notices[..] else {
            panic!("{notices:?}")
        };
        assert_eq!((*time, more, &what.users[..]), (Duration::from_secs(600), 0, &[aor("0"), aor("1")][..]));
        // What still comes of it is not counted.
        fails(&defence, "198.51.100.7", 10);
        assert_eq!((defence.take_notices().0.len(), defence.list().len()), (0, 1));
        assert!(defence.lift(Source::from(ip("198.51.100.7"))) && !defence.covers(ip("198.51.100.7")));
        assert!(!defence.lift(Source::from(ip("198.51.100.7"))));
        assert!(list.update(&defence) && !list.covers(ip("198.51.100.7")));
    }

    #[test]
    fn they_count_within_their_time_and_bans_end() {
        let defence = defence("defence: { failures: 2, within: 50ms, ban: 60ms }");
        fails(&defence, "198.51.100.7", 1);
        std::thread::sleep(Duration::from_millis(70));
        fails(&defence, "198.51.100.7", 1);
        assert_eq!(defence.banned(), 0);
        fails(&defence, "198.51.100.7", 1);
        assert_eq!(defence.banned(), 1);
        std::thread::sleep(Duration::from_millis(80));
        defence.sweep();
        assert!(!defence.covers(ip("198.51.100.7")) && defence.inner.read().watched.is_empty());
    }

    #[test]
    fn who_is_spared_is_spoken_of_once() {
        for (config, outcome) in [
            ("trusted: [198.51.100.0/24]\ndefence: { failures: 2 }", Outcome::Trusted),
            ("defence: { failures: 2, ban: off }", Outcome::Off),
        ] {
            let defence = defence(config);
            fails(&defence, "198.51.100.7", 50);
            let told: Vec<_> = defence.take_notices().0.iter().map(|notice| notice.outcome).collect();
            assert_eq!((told, defence.banned()), (vec![outcome], 0), "{config}");
        }
    }

    #[test]
    fn of_an_ipv6_address_the_network_counts() {
        let defence = defence("defence: { failures: 4 }");
        for host in 0..4 {
            fails(&defence, &format!("2001:db8::{host}"), 1);
        }
        assert!(defence.covers(ip("2001:db8::ffff")) && !defence.covers(ip("2001:db8:0:1::1")));
        assert_eq!(defence.list()[0].0.to_string(), "2001:db8::/64");
    }

    #[test]
    fn nothing_grows_without_bound() {
        let defence = defence("defence: { failures: 1 }\nlimits: { bans: 3 }");
        for host in 0..200 {
            fails(&defence, &format!("198.51.100.{host}"), 1);
        }
        assert_eq!(defence.banned(), 3);
        let (notices, more) = defence.take_notices();
        assert_eq!((notices.len(), more), (NOTICES, 100));
        let defence = self::defence("limits: { bans: 3 }");
        for host in 0..200 {
            fails(&defence, &format!("198.51.100.{host}"), 1);
        }
        assert_eq!(defence.inner.read().watched.len(), 3);
    }
}
