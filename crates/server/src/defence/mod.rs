//! Failures of each address, and banned addresses (docs/security.md).
//!
//! Decides which failures count, when an address is banned, and which addresses are exempt. Shared by all workers and
//! the main thread. A failure over UDP counts only if the core has proof that the sender receives packets at its
//! address: otherwise anybody could get another address banned with forged datagrams. `trusted` networks and
//! addresses from which a phone is registered are exempt and only logged, since a whole office may share one address.
//!
//! Each worker has a copy of the ban list, so that a check reads one atomic while nothing has changed, and takes no
//! lock. Everything is in memory: it survives a reload and is lost at exit. `shared` has the bans that servers of one office
//! share. Must not look into messages.

mod ban_list;
mod failure;
mod foreign_pages;
mod shared;
mod table;

use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashSet;
use location::{AnyStore, Store as _};
use parking_lot::{Mutex, RwLock};
use proxy::{ConfigKey, Event, Flow, Registration, Source};

use crate::clock;
use crate::config::Config;
use crate::metrics::{self, FailedAddress, Series};

pub(crate) use ban_list::BanList;
pub(crate) use failure::{BanNotice, BanOutcome, Failure, FailureSummary};
pub(crate) use shared::{SharedBans, VALUE as SHARED_BANS};
pub(crate) use table::Ban;

use foreign_pages::ForeignPages;
use table::{Rules, Table};

/// Lifetime of the cached set of registered addresses.
const REGISTERED_MAX_AGE: Duration = Duration::from_secs(10);

/// Failures and bans.
pub(crate) struct Defence {
    /// Number of bans.
    banned: AtomicUsize,
    /// Number of addresses with failures.
    history_count: AtomicUsize,
    /// Incremented when the ban list changes; read for each message.
    version: AtomicUsize,
    max_addresses: usize,
    table: RwLock<Table>,
    store: Arc<AnyStore>,
    registered: Mutex<Option<Registered>>,
    foreign_pages: Mutex<ForeignPages>,
}

/// Cached set of the addresses from which phones are registered.
struct Registered {
    at: Instant,
    sources: HashSet<Source>,
}

impl Defence {
    /// Without failures. `store` contains the addresses from which phones are registered.
    pub(crate) fn new(config: &Config, store: Arc<AnyStore>) -> Self {
        Self {
            banned: AtomicUsize::new(0),
            history_count: AtomicUsize::new(0),
            version: AtomicUsize::new(0),
            max_addresses: config.limits.bans.0,
            table: RwLock::new(Table::new(Rules::of(config, &[]))),
            store,
            registered: Mutex::new(None),
            foreign_pages: Mutex::default(),
        }
    }

    /// Applies a new configuration. Existing bans stay. `trunks`: where calls of trunks come from, who are not banned.
    pub(crate) fn reconfigure(&self, config: &Config, trunks: &[IpNet]) {
        self.table.write().rules = Rules::of(config, trunks);
    }

    /// Number of banned addresses.
    pub(crate) fn ban_count(&self) -> usize {
        self.banned.load(Ordering::Relaxed)
    }

    /// Whether the address is banned, for code without a [`BanList`]. Takes a lock if any address is banned.
    pub(crate) fn is_banned(&self, ip: IpAddr) -> bool {
        self.ban_count() > 0 && self.table.read().bans.contains_key(&Source::from(ip))
    }

    /// Counts the failures among the events of a core.
    pub(crate) fn observe(&self, event: &Event) {
        match event {
            Event::AuthenticationFailed { counts: true, user, flow, .. } => {
                self.record_failure(flow.remote.ip(), Failure::Credentials(user));
            }
            Event::ParseError { flow, .. } if flow.transport.is_reliable() => self.unreadable(flow),
            // Without authentication an unknown user gets 404.
            Event::Registration {
                outcome: Registration::Refused,
                key: Some(ConfigKey::Accounts),
                status: 404,
                aor,
                flow,
                ..
            } if flow.transport.is_reliable() => {
                self.record_failure(flow.remote.ip(), Failure::Credentials(aor));
            }
            Event::Registration { outcome: Registration::Registered, flow, .. } => {
                self.registered(flow.remote.ip());
            }
            _ => {}
        }
    }

    /// A WebSocket connection was opened from this address. `is_foreign_page`: by a page that is neither listed nor of this
    /// server.
    pub(crate) fn websocket_opened(&self, client: SocketAddr, is_foreign_page: bool) {
        self.foreign_pages.lock().opened(client, is_foreign_page, self.max_addresses);
    }

    /// Counts a message over a connection that cannot be parsed, unless a foreign page sent it.
    pub(crate) fn unreadable(&self, flow: &Flow) {
        if !flow.transport.is_websocket() || !self.foreign_pages.lock().contains(flow.remote) {
            self.record_failure(flow.remote.ip(), Failure::Unreadable);
        }
    }

    /// Counts a failure of an address that is known not to be forged.
    pub(crate) fn record_failure(&self, ip: IpAddr, failure: Failure<'_>) {
        let (source, now) = (Source::from(ip), Instant::now());
        let (rules, failures, summary) = {
            let mut table = self.table.write();
            let exceeded = table.count(source, failure, now, self.max_addresses);
            self.history_count.store(table.histories.len(), Ordering::Relaxed);
            let Some((failures, summary)) = exceeded else { return };
            (table.rules.clone(), failures, summary)
        };
        let outcome = match rules.ban {
            _ if rules.trusted.iter().any(|network| network.contains(&ip.to_canonical())) => BanOutcome::Trusted,
            _ if self.is_registered(source) => BanOutcome::Registered,
            None => BanOutcome::Off,
            Some(time) => BanOutcome::Banned(time),
        };
        metrics::count(Series::AddressFailed {
            outcome: match outcome {
                BanOutcome::Banned(_) => FailedAddress::Banned,
                BanOutcome::Trusted | BanOutcome::Registered | BanOutcome::Off => FailedAddress::Spared,
            },
        });
        let mut table = self.table.write();
        table.notice(BanNotice { source, outcome, failures, within: rules.within, summary: summary.clone() });
        if let BanOutcome::Banned(time) = outcome {
            let ban = Ban { since: clock::wall(), ends: now + time, failures, summary, is_shared: false };
            table.ban(source, ban, self.max_addresses);
            self.bans_changed(&table);
        } else if let Some(history) = table.histories.get_mut(&source) {
            history.quiet_until = Some(now + rules.within.max(rules.ban.unwrap_or_default()));
        }
    }

    /// Adds an address to the cached set.
    fn registered(&self, ip: IpAddr) {
        if self.history_count.load(Ordering::Relaxed) > 0
            && let Some(cached) = &mut *self.registered.lock()
        {
            cached.sources.insert(Source::from(ip));
        }
    }

    fn is_registered(&self, source: Source) -> bool {
        let mut cached = self.registered.lock();
        // Cached, since scanning a large store takes time and failures may be frequent.
        let current = cached.take().filter(|cached| cached.at.elapsed() < REGISTERED_MAX_AGE);
        let current = current.unwrap_or_else(|| {
            let (now, mut sources) = (clock::wall(), HashSet::new());
            self.store.list(&mut |record| {
                sources.extend(record.live(now).map(|binding| Source::from(binding.flow().remote.ip())));
            });
            Registered { at: Instant::now(), sources }
        });
        cached.insert(current).sources.contains(&source)
    }

    /// Removes expired bans and failures.
    pub(crate) fn sweep(&self) {
        if self.ban_count() == 0 && self.history_count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let now = Instant::now();
        let mut table = self.table.write();
        let within = table.rules.within;
        let before = table.bans.len();
        table.bans.retain(|_, ban| now < ban.ends);
        if table.bans.len() != before {
            self.bans_changed(&table);
        }
        table.histories.retain(|_, history| history.is_current(now, within));
        self.history_count.store(table.histories.len(), Ordering::Relaxed);
        drop(table);
        let mut cached = self.registered.lock();
        *cached = cached.take().filter(|cached| cached.at.elapsed() < REGISTERED_MAX_AGE);
    }

    /// Removes a ban and the failures of the address. False if it is not banned.
    pub(crate) fn lift(&self, source: Source) -> bool {
        let mut table = self.table.write();
        table.histories.remove(&source);
        let lifted = table.bans.remove(&source).is_some();
        self.bans_changed(&table);
        lifted
    }

    /// Publishes a change of the bans. Called with the lock held, so that a reader that sees the new version also
    /// finds the new list.
    fn bans_changed(&self, table: &Table) {
        self.banned.store(table.bans.len(), Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// The bans, sorted by address.
    pub(crate) fn list(&self) -> Vec<(Source, Ban)> {
        let table = self.table.read();
        let mut bans: Vec<_> = table.bans.iter().map(|(source, ban)| (*source, ban.clone())).collect();
        drop(table);
        bans.sort_unstable_by_key(|(source, _)| *source);
        bans
    }

    /// Takes the notices, and the number of dropped ones.
    pub(crate) fn take_notices(&self) -> (Vec<BanNotice>, usize) {
        // A read lock first: mostly there is nothing.
        if self.table.read().notices.is_empty() {
            return (Vec::new(), 0);
        }
        let mut table = self.table.write();
        (std::mem::take(&mut table.notices), std::mem::take(&mut table.dropped_notices))
    }
}

#[cfg(test)]
mod tests {
    use location::{Aor, MemoryStore};

    use super::table::MAX_NOTICES;
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
            defence.record_failure(ip(address), Failure::Credentials(&aor(&at.to_string())));
        }
    }

    #[test]
    fn an_address_is_banned_at_the_failure_limit() {
        let defence = defence("defence: { failures: 3 }");
        fails(&defence, "198.51.100.7", 2);
        assert!(!defence.is_banned(ip("198.51.100.7")));
        fails(&defence, "198.51.100.7", 1);
        assert!(defence.is_banned(ip("198.51.100.7")) && defence.is_banned(ip("::ffff:198.51.100.7")));
        assert!(!defence.is_banned(ip("198.51.100.8")));
        let mut list = BanList::default();
        assert!(list.update(&defence) && !list.update(&defence));
        assert!(list.is_banned(ip("198.51.100.7")) && !list.is_banned(ip("198.51.100.8")));
        assert_eq!(defence.ban_count(), 1);
        let (notices, more) = defence.take_notices();
        let [BanNotice { outcome: BanOutcome::Banned(time), failures: 3, summary, .. }] = &notices[..] else {
            panic!("{notices:?}")
        };
        assert_eq!((*time, more, &summary.users[..]), (Duration::from_secs(600), 0, &[aor("0"), aor("1")][..]));
        // Failures of a banned address are not counted.
        fails(&defence, "198.51.100.7", 10);
        assert_eq!((defence.take_notices().0.len(), defence.list().len()), (0, 1));
        assert!(defence.lift(Source::from(ip("198.51.100.7"))) && !defence.is_banned(ip("198.51.100.7")));
        assert!(!defence.lift(Source::from(ip("198.51.100.7"))));
        assert!(list.update(&defence) && !list.is_banned(ip("198.51.100.7")));
    }

    #[test]
    fn failures_and_bans_expire() {
        let defence = defence("defence: { failures: 2, within: 50ms, ban: 60ms }");
        fails(&defence, "198.51.100.7", 1);
        std::thread::sleep(Duration::from_millis(70));
        fails(&defence, "198.51.100.7", 1);
        assert_eq!(defence.ban_count(), 0);
        fails(&defence, "198.51.100.7", 1);
        assert_eq!(defence.ban_count(), 1);
        std::thread::sleep(Duration::from_millis(80));
        defence.sweep();
        assert!(!defence.is_banned(ip("198.51.100.7")) && defence.table.read().histories.is_empty());
    }

    #[test]
    fn an_exempt_address_is_reported_once() {
        for (config, outcome) in [
            ("trusted: [198.51.100.0/24]\ndefence: { failures: 2 }", BanOutcome::Trusted),
            ("defence: { failures: 2, ban: off }", BanOutcome::Off),
        ] {
            let defence = defence(config);
            fails(&defence, "198.51.100.7", 50);
            let outcomes: Vec<_> = defence.take_notices().0.iter().map(|notice| notice.outcome).collect();
            assert_eq!((outcomes, defence.ban_count()), (vec![outcome], 0), "{config}");
        }
    }

    #[test]
    fn an_ipv6_ban_covers_the_64() {
        let defence = defence("defence: { failures: 4 }");
        for host in 0..4 {
            fails(&defence, &format!("2001:db8::{host}"), 1);
        }
        assert!(defence.is_banned(ip("2001:db8::ffff")) && !defence.is_banned(ip("2001:db8:0:1::1")));
        assert_eq!(defence.list()[0].0.to_string(), "2001:db8::/64");
    }

    #[test]
    fn all_tables_are_bounded() {
        let defence = defence("defence: { failures: 1 }\nlimits: { bans: 3 }");
        for host in 0..200 {
            fails(&defence, &format!("198.51.100.{host}"), 1);
        }
        assert_eq!(defence.ban_count(), 3);
        let (notices, more) = defence.take_notices();
        assert_eq!((notices.len(), more), (MAX_NOTICES, 100));
        let defence = self::defence("limits: { bans: 3 }");
        for host in 0..200 {
            fails(&defence, &format!("198.51.100.{host}"), 1);
        }
        assert_eq!(defence.table.read().histories.len(), 3);
    }
}
