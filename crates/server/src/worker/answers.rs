//! Answers to the core's questions, from the store and DNS.
//!
//! Decides which questions are answered at once (those about what is in memory) and which later. Each question gets
//! exactly one answer; DNS lookups have a timeout, and their number is limited.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use location::{AnyStore, Commit, Store as _, StoreError, Ticket};
use parser::Transport;
use proxy::{Answer, Authentication, Continuation, Listener, Name, Question, Settings};
use smallvec::SmallVec;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::completions::CommitOutcome;
use crate::metrics::{DriverLimit, LookupOutcome, Series, Tally};
use crate::transport::{Addresses, Inbound};

/// Limit of addresses that are used per name.
const MAX_ADDRESSES: usize = 8;

/// Answers the questions of one worker.
pub(crate) struct Answers {
    worker: u8,
    store: Arc<AnyStore>,
    /// Limit of users with a record; `None` where only accounts may register.
    max_users: Option<u64>,
    /// `limits.users`
    users: usize,
    waiting: HashMap<u64, Continuation>,
    next: u64,
    lookups: Arc<Semaphore>,
    lookup_timeout: Duration,
    families: AddressFamilies,
    inbox: mpsc::Sender<Inbound>,
}

/// Limits of DNS lookups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookupLimits {
    /// Concurrent lookups.
    pub(crate) max: usize,
    /// Timeout of a lookup.
    pub(crate) timeout: Duration,
}

/// Which addresses can be sent to, by transport: those of the address families of the listeners.
#[derive(Clone, Debug)]
struct AddressFamilies(Arc<[Listener]>);

impl AddressFamilies {
    fn can_reach(&self, transport: Transport, remote: IpAddr) -> bool {
        self.0.iter().any(|own| own.transport == transport && own.address.is_ipv4() == remote.is_ipv4())
    }
}

impl Answers {
    /// Without pending questions. `users`: limit of registered users where anybody may register.
    pub(crate) fn new(
        worker: u8,
        store: Arc<AnyStore>,
        limits: LookupLimits,
        users: usize,
        settings: &Settings,
        inbox: mpsc::Sender<Inbound>,
    ) -> Self {
        let families = AddressFamilies(settings.listeners.as_slice().into());
        let lookups = Arc::new(Semaphore::new(limits.max));
        let mut answers = Self {
            worker,
            store,
            max_users: None,
            users,
            waiting: HashMap::default(),
            next: 0,
            lookups,
            lookup_timeout: limits.timeout,
            families,
            inbox,
        };
        answers.reconfigure(settings);
        answers
    }

    /// The configuration has changed.
    pub(crate) fn reconfigure(&mut self, settings: &Settings) {
        // With accounts nobody else can register, and a reload removes other users' bindings.
        let anybody = settings.authentication == Authentication::Off && settings.accounts.is_empty();
        self.max_users = anybody.then(|| u64::try_from(self.users).unwrap_or(u64::MAX));
    }

    /// The answer, if it is in memory; otherwise it is returned later by [`Answers::committed`] or
    /// [`Answers::resolved`].
    pub(crate) fn ask(
        &mut self,
        question: Question,
        continuation: Continuation,
        tally: &mut Tally,
    ) -> Option<(Continuation, Answer)> {
        match question {
            Question::Load(aor) => Some((continuation, Answer::Loaded(self.store.load(&aor)))),
            Question::Commit { expected, record } => {
                // Counts records, not users with bindings: the record of a user without bindings is kept for a while
                // too.
                if expected.is_none() && self.max_users.is_some_and(|max| self.store.records() >= max) {
                    tally.count(DriverLimit::Users);
                    return Some((continuation, Answer::Full));
                }
                let id = self.next_id();
                match self.store.commit(expected, record, Ticket { worker: u16::from(self.worker), id }) {
                    Commit::Done => Some((continuation, Answer::Committed)),
                    Commit::Conflict => Some((continuation, Answer::Conflict)),
                    Commit::Pending => {
                        self.waiting.insert(id, continuation);
                        None
                    }
                    Commit::Full => {
                        tally.count(proxy::Limit::StoreQueue);
                        Some((continuation, Answer::Full))
                    }
                    // The program is shutting down. RFC 3261 21.5.4: 503 with Retry-After; the next run accepts the
                    // registration.
                    Commit::Failed(StoreError::Closed) => Some((continuation, Answer::Full)),
                    Commit::Failed(error) => {
                        tracing::error!(%error, "a registration could not be stored");
                        Some((continuation, Answer::Failed))
                    }
                }
            }
            Question::Resolve(names) => self.resolve(names, continuation, tally),
        }
    }

    /// The outcome of a commit that was pending.
    pub(crate) fn committed(&mut self, id: u64, outcome: CommitOutcome) -> Option<(Continuation, Answer)> {
        let continuation = self.waiting.remove(&id)?;
        let answer = match outcome {
            CommitOutcome::Durable => Answer::Committed,
            CommitOutcome::DiskFull => Answer::Full,
            CommitOutcome::Failed => Answer::Failed,
        };
        Some((continuation, answer))
    }

    /// The outcome of a lookup.
    pub(crate) fn resolved(
        &mut self,
        id: u64,
        addresses: Option<Addresses>,
        tally: &mut Tally,
    ) -> Option<(Continuation, Answer)> {
        let continuation = self.waiting.remove(&id)?;
        let found = addresses.as_ref().is_some_and(|all| all.iter().any(|addresses| !addresses.is_empty()));
        let outcome = if found { LookupOutcome::Found } else { LookupOutcome::Failed };
        tally.count(Series::Lookup { outcome });
        Some((continuation, addresses.map_or(Answer::Failed, Answer::Resolved)))
    }

    fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn resolve(
        &mut self,
        names: SmallVec<[Name; 1]>,
        continuation: Continuation,
        tally: &mut Tally,
    ) -> Option<(Continuation, Answer)> {
        if let Some(addresses) = names.iter().map(literal_address).collect::<Option<Addresses>>() {
            return Some((continuation, Answer::Resolved(addresses)));
        }
        let Ok(slot) = Arc::clone(&self.lookups).try_acquire_owned() else {
            tally.count(DriverLimit::Lookups);
            return Some((continuation, Answer::Failed));
        };
        let id = self.next_id();
        self.waiting.insert(id, continuation);
        let (inbox, families, limit) = (self.inbox.clone(), self.families.clone(), self.lookup_timeout);
        // The system's lookup cannot be cancelled: its slot is freed when it ends, not at the timeout.
        let lookup = tokio::spawn(async move {
            let addresses = resolve_names(&names, &families).await;
            drop(slot);
            addresses
        });
        tokio::spawn(async move {
            let addresses = timeout(limit, lookup).await.ok().and_then(Result::ok);
            let _ = inbox.send(Inbound::Resolved { id, addresses }).await;
        });
        None
    }
}

fn literal_address(name: &Name) -> Option<SmallVec<[SocketAddr; 2]>> {
    let ip = name.host.trim_matches(['[', ']']).parse::<IpAddr>().ok()?;
    Some(SmallVec::from_iter([SocketAddr::new(ip, name.port)]))
}

async fn resolve_names(names: &[Name], families: &AddressFamilies) -> Addresses {
    let mut all = Addresses::new();
    for name in names {
        if let Some(known) = literal_address(name) {
            all.push(known);
            continue;
        }
        let found = tokio::net::lookup_host((&*name.host, name.port)).await;
        let found = found.inspect_err(|error| tracing::debug!(%error, host = %name.host, "no address"));
        let usable = found.into_iter().flatten().filter(|remote| families.can_reach(name.transport, remote.ip()));
        all.push(usable.take(MAX_ADDRESSES).collect());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_addresses_of_the_listeners_families_are_used() {
        let listener = Listener { transport: Transport::Udp, address: ([0, 0, 0, 0], 5060).into() };
        let families = AddressFamilies(Arc::new([listener]));
        let name = |host: &str, transport| Name { host: host.into(), port: 5070, transport };
        let names = [
            name("localhost", Transport::Udp),
            name("localhost", Transport::Tcp),
            name("[2001:db8::1]", Transport::Udp),
            name("no-such-host.invalid", Transport::Udp),
        ];
        let found = resolve_names(&names, &families).await;
        let found: Vec<_> = found.iter().map(|addresses| addresses.first().copied()).collect();
        let expected = [Some(([127, 0, 0, 1], 5070).into()), None, "[2001:db8::1]:5070".parse().ok(), None];
        assert_eq!(found, expected);
    }
}
