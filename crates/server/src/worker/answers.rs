//! Answers to the core's questions, from the store and DNS.
//!
//! Decides which questions are answered at once (those about what is in memory) and which later. Each question gets
//! exactly one answer; DNS lookups have a timeout, and their number is limited.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use location::{AnyStore, Aor, Commit, Store as _, StoreError, Ticket};
use proxy::{Answer, Authentication, CodeCommand, Continuation, Question, Resolution, Settings, Source};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::completions::CommitOutcome;
use crate::data::set_rules::{Author, RuleChange, RuleRequest};
use crate::metrics::{DriverLimit, LookupOutcome, Series, Tally};
use crate::resolver::Resolver;
use crate::transport::{Inbound, ResolvedNames};

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
    /// The lookups under way for each sender of requests.
    by_asker: HashMap<Source, usize>,
    /// The senders of those, by the id of the question.
    askers: HashMap<u64, Source>,
    limits: LookupLimits,
    resolver: Arc<Resolver>,
    inbox: mpsc::Sender<Inbound>,
    rule_requests: mpsc::Sender<RuleRequest>,
    /// The users whose rules are being changed, by the id of the question.
    changing: HashMap<u64, Aor>,
}

/// Limits of DNS lookups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookupLimits {
    /// Concurrent lookups.
    pub(crate) max: usize,
    /// Concurrent lookups for the requests of one address.
    pub(crate) max_per_source: usize,
    /// Timeout of a lookup.
    pub(crate) timeout: Duration,
}

impl Answers {
    /// Without pending questions. `users`: limit of registered users where anybody may register.
    pub(crate) fn new(
        worker: u8,
        store: Arc<AnyStore>,
        (resolver, limits): (Arc<Resolver>, LookupLimits),
        users: usize,
        settings: &Settings,
        (inbox, rule_requests): (mpsc::Sender<Inbound>, mpsc::Sender<RuleRequest>),
    ) -> Self {
        let lookups = Arc::new(Semaphore::new(limits.max));
        let mut answers = Self {
            worker,
            store,
            max_users: None,
            users,
            waiting: HashMap::default(),
            next: 0,
            lookups,
            by_asker: HashMap::default(),
            askers: HashMap::default(),
            limits,
            resolver,
            inbox,
            rule_requests,
            changing: HashMap::default(),
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
                    // The program is shutting down, or the shared database is away. RFC 3261 21.5.4: 503 with
                    // Retry-After; the registration is accepted later, by the next run or another server.
                    Commit::Failed(StoreError::Closed | StoreError::Unreachable { .. }) => {
                        Some((continuation, Answer::Full))
                    }
                    Commit::Failed(error) => {
                        tracing::error!(%error, "a registration could not be stored");
                        Some((continuation, Answer::Failed))
                    }
                }
            }
            Question::ChangeRules(user, command) => self.change_rules(user, &command, continuation, tally),
            Question::Resolve(resolutions) => self.resolve(resolutions, continuation, tally),
        }
    }

    /// The outcome of a commit that was pending.
    pub(crate) fn committed(&mut self, id: u64, outcome: CommitOutcome) -> Option<(Continuation, Answer)> {
        let continuation = self.waiting.remove(&id)?;
        let answer = match outcome {
            CommitOutcome::Durable => Answer::Committed,
            CommitOutcome::DiskFull | CommitOutcome::Unreachable => Answer::Full,
            CommitOutcome::Conflict => Answer::Conflict,
            CommitOutcome::Failed => Answer::Failed,
        };
        Some((continuation, answer))
    }

    /// The outcome of a lookup.
    pub(crate) fn resolved(
        &mut self,
        id: u64,
        endpoints: ResolvedNames,
        tally: &mut Tally,
    ) -> Option<(Continuation, Answer)> {
        let continuation = self.waiting.remove(&id)?;
        self.ended(id);
        let found = endpoints.iter().any(|endpoints| !endpoints.is_empty());
        let outcome = if found { LookupOutcome::Found } else { LookupOutcome::Failed };
        tally.count(Series::Lookup { outcome });
        Some((continuation, Answer::Resolved(endpoints)))
    }

    /// A lookup has ended.
    fn ended(&mut self, id: u64) {
        let Some(asker) = self.askers.remove(&id) else { return };
        if let Some(own) = self.by_asker.get_mut(&asker) {
            *own -= 1;
            if *own == 0 {
                self.by_asker.remove(&asker);
            }
        }
    }

    /// The outcome of a change of rules.
    pub(crate) fn rules_changed(&mut self, id: u64, changed: bool) -> Option<(Continuation, Answer)> {
        self.changing.remove(&id);
        Some((self.waiting.remove(&id)?, Answer::RulesChanged(changed)))
    }

    /// The main loop makes the change, and the workers get the new settings before the answer comes. A user who dials one
    /// code after another has one change in the queue, so that the changes of others are made.
    fn change_rules(
        &mut self,
        user: Aor,
        command: &CodeCommand,
        continuation: Continuation,
        tally: &mut Tally,
    ) -> Option<(Continuation, Answer)> {
        let Some(change) = RuleChange::of_code(command) else {
            return Some((continuation, Answer::RulesChanged(false)));
        };
        let (reply, outcome) = oneshot::channel();
        let is_changing = self.changing.values().any(|other| *other == user);
        let request = RuleRequest { user: user.clone(), author: Author::User, change, reply };
        if is_changing || self.rule_requests.try_send(request).is_err() {
            tally.count(DriverLimit::RuleChanges);
            return Some((continuation, Answer::Failed));
        }
        let id = self.next_id();
        self.waiting.insert(id, continuation);
        self.changing.insert(id, user);
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let changed = matches!(outcome.await, Ok(Ok(_)));
            let _ = inbox.send(Inbound::RulesChanged { id, changed }).await;
        });
        None
    }

    fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn resolve(
        &mut self,
        resolutions: Vec<Resolution>,
        continuation: Continuation,
        tally: &mut Tally,
    ) -> Option<(Continuation, Answer)> {
        let asker = resolutions.first().and_then(Resolution::asker);
        if asker.is_some_and(|asker| self.by_asker.get(&asker).is_some_and(|own| *own >= self.limits.max_per_source)) {
            tally.count(DriverLimit::LookupsPerSource);
            return Some((continuation, Answer::Failed));
        }
        let Ok(slot) = Arc::clone(&self.lookups).try_acquire_owned() else {
            tally.count(DriverLimit::Lookups);
            return Some((continuation, Answer::Failed));
        };
        let id = self.next_id();
        self.waiting.insert(id, continuation);
        if let Some(asker) = asker {
            *self.by_asker.entry(asker).or_insert(0) += 1;
            self.askers.insert(id, asker);
        }
        let (resolver, inbox, limit) = (Arc::clone(&self.resolver), self.inbox.clone(), self.limits.timeout);
        tokio::spawn(async move {
            let endpoints = resolver.resolve_all(resolutions, limit).await;
            drop(slot);
            let _ = inbox.send(Inbound::Resolved { id, endpoints }).await;
        });
        None
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use location::MemoryStore;

    use super::*;
    use crate::resolver::ResolverSettings;

    #[tokio::test]
    async fn a_user_who_dials_many_codes_does_not_hold_up_the_changes_of_others() {
        let resolver = ResolverSettings { servers: Vec::new(), timeout: Duration::ZERO, queries: 1, cache: 1 };
        let limits = LookupLimits { max: 1, max_per_source: 1, timeout: Duration::ZERO };
        let ((inbox, mut answered), (rule_requests, mut requested)) = (mpsc::channel(4), mpsc::channel(4));
        let store = Arc::new(AnyStore::Memory(MemoryStore::new()));
        let (settings, resolver) = (Settings::default(), (Arc::new(Resolver::new(resolver)), limits));
        let mut answers = Answers::new(0, store, resolver, 1, &settings, (inbox, rule_requests));
        let asks = |answers: &mut Answers, user: &str| {
            let user = Aor::new(user.as_bytes(), b"office.example");
            let question = Question::ChangeRules(user, CodeCommand::DoNotDisturb(true));
            answers
                .ask(question, Continuation::undelivered(Bytes::new()), &mut Tally::default())
                .map(|(_, answer)| answer)
        };
        assert!(asks(&mut answers, "alice").is_none());
        for _ in 0..10 {
            assert!(matches!(asks(&mut answers, "alice"), Some(Answer::Failed)));
        }
        assert!(asks(&mut answers, "bob").is_none());
        // When the change is made, the next one of the same user may come.
        let RuleRequest { user, reply, .. } = requested.recv().await.expect("the first request");
        assert_eq!(user.user(), b"alice");
        drop(reply);
        let Some(Inbound::RulesChanged { id, changed }) = answered.recv().await else { panic!("no answer") };
        assert!(matches!(answers.rules_changed(id, changed), Some((_, Answer::RulesChanged(false)))));
        assert!(asks(&mut answers, "alice").is_none());
    }
}
