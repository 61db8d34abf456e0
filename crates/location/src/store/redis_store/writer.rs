//! The thread that sends changes to Redis: all waiting ones at once, in a few calls of a script.
//!
//! Several changes of one record become one. If another server has changed a record, its record replaces ours, and the changes
//! are reported with [`StoreError::Conflict`], so that the core applies them again. If the outcome of a group is not known, all
//! of it is undone in memory and reported as failed; the reader compares these records with Redis before any other commit. So
//! a phone may be told 503 although its binding is stored, but never the reverse. Must not know registration rules.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use redis::Value;

use super::client::Link;
use super::state::{Part, Shared};
use super::stream_id::StreamId;
use super::{codec, scripts};
use crate::store::queue::TakeResult;
use crate::store::writer::QueuedChange;
use crate::store::{CommitReport, OutsideChange, StoreError, Ticket};
use crate::{Node, Record};

/// Runs until the queue is closed and empty.
pub(super) fn run(shared: &Shared) {
    let mut writer = Writer { shared, link: None, joined: 0, used: Instant::now(), packed: Vec::new() };
    let mut group = Vec::new();
    loop {
        match shared.queue.take(&mut group, shared.options.group, IDLE) {
            TakeResult::Closed => return,
            TakeResult::TimedOut => continue,
            TakeResult::Items => {}
        }
        let start = Instant::now();
        let changes = group.len();
        let outcome = writer.store(&group);
        let ok = outcome.is_ok();
        match outcome {
            Ok(jobs) => writer.finish(&mut group, &jobs),
            Err(reason) => writer.fail(&mut group, reason),
        }
        (shared.hooks.committed)(CommitReport { changes, took: start.elapsed(), ok });
        thread::sleep(shared.options.pace.saturating_sub(start.elapsed()));
    }
}

struct Writer<'s> {
    shared: &'s Shared,
    /// The connection, and the name of the script there.
    link: Option<(Link, Vec<u8>)>,
    /// [`Shared::joined`] when it was opened.
    joined: u64,
    used: Instant,
    packed: Vec<u8>,
}

/// The changes of one record in a group.
struct Job {
    expected: StreamId,
    after: Record,
    /// No change: the current record was committed again.
    is_same: bool,
    outcome: Outcome,
}

enum Outcome {
    Waiting,
    Stored(StreamId),
    /// Redis has this record.
    Taken(Record),
}

impl Writer<'_> {
    /// Sends a group. `Err` if the outcome of any of it is not known, with the reason.
    fn store(&mut self, group: &[QueuedChange]) -> Result<Vec<Job>, &'static str> {
        if !self.shared.is_set(Part::Redis) {
            return Err(AWAY);
        }
        let node = self.shared.node().ok_or("this node has no number")?;
        let mut jobs = jobs_of(group);
        let sent = self.send(&mut jobs, node).and_then(|()| self.send_again(&mut jobs, node));
        if sent.is_err() {
            // An answer that comes late must not be taken for the next one.
            self.link = None;
        }
        sent.map(|()| jobs)
    }

    /// Opens a connection, unless there is one that still works: a group that is lost with a dead one is refused.
    fn check_link(&mut self) -> Result<(), &'static str> {
        let joined = self.shared.joined.load(Ordering::Relaxed);
        let is_fresh = self.joined == joined;
        let is_idle = self.used.elapsed() > IDLE;
        self.used = Instant::now();
        if let Some((link, _)) = &mut self.link
            && is_fresh
            && (!is_idle || link.one(redis::cmd("PING")).is_ok())
        {
            return Ok(());
        }
        let mut link = self.shared.address.connect().map_err(away)?;
        let script = scripts::load(&mut link, scripts::COMMIT).map_err(away)?;
        (self.link, self.joined) = (Some((link, script)), joined);
        Ok(())
    }

    /// Sends the jobs that wait for an answer.
    fn send(&mut self, jobs: &mut [Job], node: Node) -> Result<(), &'static str> {
        self.check_link()?;
        let Some((link, script)) = &mut self.link else { return Err(AWAY) };
        let shared = self.shared;
        let (epoch, now) = (shared.epoch.lock().clone(), shared.now());
        self.packed.clear();
        let waiting: Vec<usize> = indices(jobs, |job| !job.is_same && matches!(job.outcome, Outcome::Waiting));
        for part in waiting.chunks(PER_CALL) {
            let jobs = || part.iter().filter_map(|at| jobs.get(*at));
            let mut command = redis::cmd("EVALSHA");
            command.arg(&**script).arg(2 + part.len()).arg(&shared.keys.changes).arg(&shared.keys.epoch);
            for job in jobs() {
                command.arg(shared.record_key(job.after.aor()));
            }
            command.arg(&epoch).arg(shared.options.changes);
            for job in jobs() {
                let named = codec::for_others(&job.after, node, now);
                let octets = named.as_ref().unwrap_or(&job.after).octets();
                let expected = if job.expected.is_none() { String::new() } else { job.expected.to_string() };
                command.arg(expected).arg(codec::lifetime(&job.after, now)).arg(job.after.aor()).arg(octets);
            }
            command.write_packed_command(&mut self.packed);
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let replicas = shared.options.replicas;
        let wait = u64::try_from(shared.options.timeout.as_millis()).unwrap_or(u64::MAX);
        if replicas > 0 {
            redis::cmd("WAIT").arg(replicas).arg(wait).write_packed_command(&mut self.packed);
            link.allow(shared.options.timeout).map_err(away)?;
        }
        let mut failure = None;
        let calls = waiting.len().div_ceil(PER_CALL);
        let received = link.exchange(&self.packed, calls + usize::from(replicas > 0), |at, value| {
            let outcome = match (waiting.chunks(PER_CALL).nth(at), value) {
                (Some(part), value) => take_answer(shared, jobs, part, value),
                (None, Value::Int(found)) if found >= i64::from(replicas) => Ok(()),
                (None, _) => Err("too few replicas have the change"),
            };
            failure = failure.or_else(|| outcome.err());
        });
        received.map_err(away)?;
        failure.map_or(Ok(()), Err)
    }

    /// Redis may keep a record a little longer than this server, whose clock runs on its own. If nothing of it is of use any
    /// more, there is nothing to apply again: the change is sent with its version.
    fn send_again(&mut self, jobs: &mut [Job], node: Node) -> Result<(), &'static str> {
        let now = self.shared.now();
        let mut any = false;
        for job in jobs.iter_mut().filter(|job| job.expected.is_none()) {
            let Outcome::Taken(record) = &job.outcome else { continue };
            if codec::is_discardable(record, now) {
                (job.expected, job.outcome) = (StreamId::from_raw(record.meta().stamp()), Outcome::Waiting);
                any = true;
            }
        }
        if any { self.send(jobs, node) } else { Ok(()) }
    }

    /// Reports the outcome of each change.
    fn finish(&self, group: &mut Vec<QueuedChange>, jobs: &[Job]) {
        let mut taken: HashMap<&[u8], &Record> = HashMap::new();
        for job in jobs {
            match &job.outcome {
                Outcome::Stored(id) => {
                    job.after.meta().set_stamp(id.raw());
                    self.shared.learn(*id);
                }
                Outcome::Taken(record) => drop(taken.insert(record.aor(), record)),
                Outcome::Waiting => {}
            }
        }
        if !taken.is_empty() {
            self.replace(group, &taken);
        }
        self.shared.queue.mark_done(group.len());
        let is_taken = |change: &QueuedChange| taken.contains_key(change.after.aor());
        let (conflicts, done): (Vec<_>, Vec<_>) = group.drain(..).partition(is_taken);
        self.report(&done, Ok(()));
        self.report(&conflicts, Err(&StoreError::Conflict));
    }

    /// Replaces the records that another server has changed, and adds to the group the queued changes that were computed from
    /// those that are replaced.
    fn replace(&self, group: &mut Vec<QueuedChange>, taken: &HashMap<&[u8], &Record>) {
        let guard = self.shared.undo_lock.write();
        self.shared.queue.extract(group, |change| taken.contains_key(change.after.aor()));
        taken.values().for_each(|record| self.shared.map.restore((*record).clone()));
        drop(guard);
        // The last change of each record is what others may have acted on.
        let last: HashMap<&[u8], &Record> = group.iter().map(|change| (change.after.aor(), &change.after)).collect();
        for (aor, record) in taken {
            (self.shared.hooks.changed)(OutsideChange::new(last.get(aor).copied(), record));
        }
    }

    /// Undoes all changes that are queued, the latest first, since they may have been computed from those that failed.
    fn fail(&self, group: &mut Vec<QueuedChange>, reason: &'static str) {
        let shared = self.shared;
        let guard = shared.undo_lock.write();
        shared.set(Part::Redis, Err(reason));
        shared.queue.drain(group);
        // The current record may have been committed again: then it is not undone, and others may have replaced it since.
        let changed = || group.iter().rev().filter(|change| !change.is_same());
        for change in changed() {
            match &change.before {
                Some(before) => shared.map.restore(before.clone()),
                None => shared.map.remove(change.after.aor()),
            }
        }
        shared.uncertain.lock().extend(changed().map(|change| change.after.address()));
        drop(guard);
        for change in changed() {
            let after = change.before.clone().unwrap_or_else(|| Record::empty(&change.after.address()));
            (shared.hooks.changed)(OutsideChange::new(Some(&change.after), &after));
        }
        shared.queue.mark_done(group.len());
        self.report(group, Err(&StoreError::Unreachable { reason }));
        group.clear();
    }

    fn report(&self, changes: &[QueuedChange], outcome: Result<(), &StoreError>) {
        if !changes.is_empty() {
            let tickets: Vec<Ticket> = changes.iter().map(|change| change.ticket).collect();
            (self.shared.hooks.done)(&tickets, outcome);
        }
    }
}

fn jobs_of(group: &[QueuedChange]) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::with_capacity(group.len());
    let mut by_aor: HashMap<&[u8], usize> = HashMap::with_capacity(group.len());
    for change in group {
        let known = by_aor.get(change.after.aor()).and_then(|at| jobs.get_mut(*at));
        if let Some(job) = known {
            job.is_same &= change.is_same();
            job.after = change.after.clone();
            continue;
        }
        by_aor.insert(change.after.aor(), jobs.len());
        let expected = change.before.as_ref().map(|before| before.meta().stamp()).unwrap_or_default();
        jobs.push(Job {
            expected: StreamId::from_raw(expected),
            after: change.after.clone(),
            is_same: change.is_same(),
            outcome: Outcome::Waiting,
        });
    }
    jobs
}

fn indices(jobs: &[Job], which: impl Fn(&Job) -> bool) -> Vec<usize> {
    jobs.iter().enumerate().filter(|(_, job)| which(job)).map(|(at, _)| at).collect()
}

/// Takes the answer to one call of the script, for these jobs.
fn take_answer(shared: &Shared, jobs: &mut [Job], part: &[usize], value: Value) -> Result<(), &'static str> {
    let answer = match value {
        Value::Array(answer) => answer,
        Value::BulkString(word) if word == b"epoch" => return Err(LOST),
        Value::ServerError(error) => {
            tracing::warn!(code = error.code(), details = error.details(), "Redis refuses a change");
            return Err("Redis refuses changes");
        }
        _ => return Err(AWAY),
    };
    let mut answer = answer.into_iter();
    let Some(Value::BulkString(id)) = answer.next() else { return Err(AWAY) };
    while let (Some(Value::Int(place)), Some(Value::BulkString(current))) = (answer.next(), answer.next()) {
        let at = usize::try_from(place).ok().and_then(|place| part.get(place.checked_sub(1)?));
        let job = at.and_then(|at| jobs.get_mut(*at)).ok_or(AWAY)?;
        let record = shared.read(job.after.aor(), &current).ok_or("Redis has a record that is damaged")?;
        // An older one than this server was told is stored.
        if record.meta().stamp() < job.expected.raw() {
            return Err(LOST);
        }
        job.outcome = Outcome::Taken(record);
    }
    let stored = part.iter().filter(|at| jobs.get(**at).is_some_and(|job| matches!(job.outcome, Outcome::Waiting)));
    let stored: Vec<usize> = stored.copied().collect();
    if stored.is_empty() {
        return Ok(());
    }
    let id = StreamId::parse(&id).ok_or(AWAY)?;
    for at in stored {
        if let Some(job) = jobs.get_mut(at) {
            job.outcome = Outcome::Stored(id);
        }
    }
    Ok(())
}

fn away(error: redis::RedisError) -> &'static str {
    tracing::warn!(%error, "a group of changes did not reach Redis");
    AWAY
}

const AWAY: &str = "Redis does not answer in time";
const LOST: &str = "Redis has lost changes";

/// Changes in one call of the script: Redis does nothing else for about half a millisecond.
const PER_CALL: usize = 64;

/// How often the thread looks whether the store was closed, at least; and how long a connection is trusted without a use.
const IDLE: Duration = Duration::from_secs(1);
