//! The core's questions: the store and DNS, and what waits for them.
//!
//! Decides what is answered in the same turn (all that memory knows) and what later. Every question gets exactly one
//! answer; a lookup has a deadline and there are only so many at a time.

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

use crate::inbox::{Addresses, Inbound, Safety};
use crate::metrics::{Cap, Series, Tally};

/// Names are short lists: so many addresses of each are tried at most.
const MOST_ADDRESSES: usize = 8;

/// The questions of one worker.
pub(crate) struct Answers {
    worker: u8,
    store: Arc<AnyStore>,
    /// How many may be registered; none where accounts are the bound.
    most_users: Option<u64>,
    /// `limits.users`
    users: usize,
    waiting: HashMap<u64, Continuation>,
    next: u64,
    lookups: Arc<Semaphore>,
    time: Duration,
    families: Families,
    inbox: mpsc::Sender<Inbound>,
}

/// What DNS may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookupLimits {
    /// At a time.
    pub(crate) most: usize,
    /// Each.
    pub(crate) time: Duration,
}

/// Which addresses can be sent to, by transport: those of a family that something listens on.
#[derive(Clone, Debug)]
struct Families(Arc<[Listener]>);

impl Families {
    fn reach(&self, transport: Transport, remote: IpAddr) -> bool {
        self.0.iter().any(|own| own.transport == transport && own.address.is_ipv4() == remote.is_ipv4())
    }
}

impl Answers {
    /// Nothing waits yet. `users`: as many may be registered where anybody may register.
    pub(crate) fn new(
        worker: u8,
        store: Arc<AnyStore>,
        limits: LookupLimits,
        users: usize,
        settings: &Settings,
        inbox: mpsc::Sender<Inbound>,
    ) -> Self {
        let families = Families(settings.listeners.as_slice().into());
        let lookups = Arc::new(Semaphore::new(limits.most));
        let mut answers = Self {
            worker,
            store,
            most_users: None,
            users,
            waiting: HashMap::default(),
            next: 0,
            lookups,
            time: limits.time,
            families,
            inbox,
        };
        answers.reconfigure(settings);
        answers
    }

    /// The configuration has changed.
    pub(crate) fn reconfigure(&mut self, settings: &Settings) {
        // With accounts nobody else registers, and a reload removes who is left.
        let anybody = settings.authentication == Authentication::Off && settings.accounts.is_empty();
        self.most_users = anybody.then(|| u64::try_from(self.users).unwrap_or(u64::MAX));
    }

    /// The answer, if memory has it; else it comes by [`Answers::committed`] or [`Answers::resolved`].
    pub(crate) fn ask(
        &mut self,
        question: Question,
        parked: Continuation,
        tally: &mut Tally,
    ) -> Option<(Continuation, Answer)> {
        match question {
            Question::Load(aor) => Some((parked, Answer::Loaded(self.store.load(&aor)))),
            Question::Commit { expected, record } => {
                // Records and not live users: one who registers and unregisters is remembered for a while too.
                if expected.is_none() && self.most_users.is_some_and(|most| self.store.records() >= most) {
                    tally.count(Series::CapReached(Cap::Users));
                    return Some((parked, Answer::Full));
                }
                let id = self.number();
                match self.store.commit(expected.as_ref(), record, Ticket { worker: u16::from(self.worker), id }) {
                    Commit::Done => Some((parked, Answer::Committed)),
                    Commit::Conflict => Some((parked, Answer::Conflict)),
                    Commit::Pending => {
                        self.waiting.insert(id, parked);
                        None
                    }
                    Commit::Full => {
                        tally.count(Series::LimitReached(proxy::Limit::StoreQueue));
                        Some((parked, Answer::Full))
                    }
                    // The program is ending. RFC 3261 21.5.4: for maintenance, with a Retry-After; the next run takes it.
                    Commit::Failed(StoreError::Closed) => Some((parked, Answer::Full)),
                    Commit::Failed(error) => {
                        tracing::error!(%error, "a registration could not be stored");
                        Some((parked, Answer::Failed))
                    }
                }
            }
            Question::Resolve(names) => self.resolve(names, parked, tally),
        }
    }

    /// The store has made a commit safe, or has not.
    pub(crate) fn committed(&mut self, id: u64, safety: Safety) -> Option<(Continuation, Answer)> {
        let parked = self.waiting.remove(&id)?;
        let answer = match safety {
            Safety::Safe => Answer::Committed,
            Safety::Full => Answer::Full,
            Safety::Lost => Answer::Failed,
        };
        Some((parked, answer))
    }

    /// DNS has answered, or has not in time.
    pub(crate) fn resolved(
        &mut self,
        id: u64,
        addresses: Option<Addresses>,
        tally: &mut Tally,
    ) -> Option<(Continuation, Answer)> {
        let parked = self.waiting.remove(&id)?;
        let found = addresses.as_ref().is_some_and(|all| all.iter().any(|addresses| !addresses.is_empty()));
        tally.count(Series::Lookup(found));
        Some((parked, addresses.map_or(Answer::Failed, Answer::Resolved)))
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn resolve(
        &mut self,
        names: SmallVec<[Name; 1]>,
        parked: Continuation,
        tally: &mut Tally,
    ) -> Option<(Continuation, Answer)> {
        if let Some(addresses) = names.iter().map(literal).collect::<Option<Addresses>>() {
            return Some((parked, Answer::Resolved(addresses)));
        }
        let Ok(slot) = Arc::clone(&self.lookups).try_acquire_owned() else {
            tally.count(Series::CapReached(Cap::Lookups));
            return Some((parked, Answer::Failed));
        };
        let id = self.number();
        self.waiting.insert(id, parked);
        let (inbox, families, limit) = (self.inbox.clone(), self.families.clone(), self.time);
        // The system's lookup cannot be called off: its slot is free when it has ended, not when we lose patience.
        let lookup = tokio::spawn(async move {
            let addresses = look_up(&names, &families).await;
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

fn literal(name: &Name) -> Option<SmallVec<[SocketAddr; 2]>> {
    let ip = name.host.trim_matches(['[', ']']).parse::<IpAddr>().ok()?;
    Some(SmallVec::from_iter([SocketAddr::new(ip, name.port)]))
}

async fn look_up(names: &[Name], families: &Families) -> Addresses {
    let mut all = Addresses::new();
    for name in names {
        if let Some(known) = literal(name) {
            all.push(known);
            continue;
        }
        let found = tokio::net::lookup_host((&*name.host, name.port)).await;
        let found = found.inspect_err(|error| tracing::debug!(%error, host = %name.host, "no address"));
        let usable = found.into_iter().flatten().filter(|remote| families.reach(name.transport, remote.ip()));
        all.push(usable.take(MOST_ADDRESSES).collect());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_families_that_are_served() {
        let listener = Listener { transport: Transport::Udp, address: ([0, 0, 0, 0], 5060).into() };
        let families = Families(Arc::new([listener]));
        let name = |host: &str, transport| Name { host: host.into(), port: 5070, transport };
        let names = [
            name("localhost", Transport::Udp),
            name("localhost", Transport::Tcp),
            name("[2001:db8::1]", Transport::Udp),
            name("no-such-host.invalid", Transport::Udp),
        ];
        let found = look_up(&names, &families).await;
        let found: Vec<_> = found.iter().map(|addresses| addresses.first().copied()).collect();
        let expected = [Some(([127, 0, 0, 1], 5070).into()), None, "[2001:db8::1]:5070".parse().ok(), None];
        assert_eq!(found, expected);
    }
}
