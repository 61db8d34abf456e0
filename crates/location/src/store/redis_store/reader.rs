//! The thread that reads Redis: everything at the start, then the changes of the other servers.
//!
//! A change in the stream names a record; the record is read if it is newer than the one in memory. Before each reading the
//! thread checks that its last position is still in the stream. If it is not, changes were missed, and all records are
//! compared (`reconcile.rs`). Nothing of a record whose own change waits for its outcome is replaced: it is looked at again.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hashbrown::HashSet;
use redis::{RedisError, Value};

use super::client::{Backoff, Link};
use super::reconcile::Walk;
use super::scripts;
use super::state::{Part, Shared};
use super::stream_id::StreamId;
use crate::Wall;

/// Runs until the store is stopped.
pub(super) fn run(shared: &Shared) {
    let mut reader =
        Reader { shared, position: None, has_gap: false, deferred: HashSet::new(), walk: Walk::default(), left: 0 };
    let mut backoff = Backoff::new(shared.options.retry);
    let mut logged: Option<String> = None;
    while !shared.is_stopped() {
        let began = Instant::now();
        let outcome = shared.address.connect().and_then(|mut link| reader.session(&mut link));
        if let Err(error) = outcome.as_ref().or_else(|error| if shared.is_stopped() { Ok(&()) } else { Err(error) }) {
            // Once, not for each attempt.
            let text = error.to_string();
            if logged.as_ref() != Some(&text) {
                tracing::warn!(%error, "Redis cannot be read");
                logged = Some(text);
            }
            shared.set(Part::Redis, Err("Redis does not answer"));
        }
        if began.elapsed() > shared.options.retry {
            backoff.reset();
            logged = None;
        }
        shared.sleep(backoff.pause(), false);
    }
}

/// The state of the reader.
pub(super) struct Reader<'s> {
    pub(super) shared: &'s Shared,
    /// The last change that was read; `None` before everything was read.
    position: Option<StreamId>,
    /// Changes were missed.
    has_gap: bool,
    /// Records that have changed in Redis while an own change of them waits.
    pub(super) deferred: HashSet<Vec<u8>>,
    pub(super) walk: Walk,
    /// Records that the comparison may still visit now, in millionths.
    pub(super) left: u64,
}

impl Reader<'_> {
    /// Reads until the connection fails, or until Redis has to be joined again.
    fn session(&mut self, link: &mut Link) -> Result<(), RedisError> {
        let shared = self.shared;
        let (seconds, micros): (String, String) = redis::from_redis_value(link.one(redis::cmd("TIME"))?)?;
        let millis =
            seconds.parse::<u64>().unwrap_or_default() * 1000 + micros.parse::<u64>().unwrap_or_default() / 1000;
        shared.start_clock(Wall(millis));
        // The flows of this server in what is read have its number.
        while shared.node().is_none() {
            if shared.is_stopped() {
                return Ok(());
            }
            shared.sleep(MEMBER_PAUSE, false);
        }
        let known_epoch = shared.epoch.lock().clone();
        let joined = join(shared, link, &known_epoch)?;
        let is_lost = !known_epoch.is_empty() && joined.epoch != known_epoch;
        let is_first = self.position.is_none();
        if is_lost {
            shared.set(Part::Redis, Err("Redis has lost changes: they are written again"));
            tracing::warn!("Redis has lost changes: this node writes again what it knows");
        }
        if is_first {
            self.load(link)?;
        } else if is_lost || self.has_gap || !joined.found {
            if !is_lost {
                (shared.hooks.missed)();
            }
            self.compare_all(link, &joined.epoch, is_lost)?;
        }
        if is_first || is_lost || !joined.found || self.has_gap {
            shared.restore_values(link)?;
            shared.load_values(link)?;
            self.position = Some(joined.id);
        }
        self.has_gap = false;
        shared.learn(joined.id);
        let is_new = shared.epoch.lock().clone() != joined.epoch;
        shared.epoch.lock().clone_from(&joined.epoch);
        self.look_at_uncertain(link, &joined.epoch)?;
        if is_new {
            self.wait_for_others(&joined.epoch, millis, is_first);
        }
        shared.joined.fetch_add(1, Ordering::Relaxed);
        shared.set(Part::Redis, Ok(()));
        self.follow(link, &joined.epoch)
    }

    fn look_at_uncertain(&mut self, link: &mut Link, epoch: &[u8]) -> Result<(), RedisError> {
        let uncertain = {
            // Whoever undoes changes has listed all of them when this lock is free.
            let _guard = self.shared.undo_lock.read();
            std::mem::take(&mut *self.shared.uncertain.lock())
        };
        let names: Vec<_> = uncertain.iter().map(|aor| aor.as_bytes().to_vec()).collect();
        let outcome = self.compare_names(link, &names, epoch, false);
        if outcome.is_err() {
            self.shared.uncertain.lock().extend(uncertain);
        }
        outcome
    }

    /// After Redis has lost changes, no commit may be based on what is there before every server has written what it knows.
    /// The others are those that were alive before, and those that are alive now. A server that has just been started knows
    /// of none, and waits until the epoch is as old as a lease: by then the others are back, or gone.
    fn wait_for_others(&self, epoch: &[u8], joined_at: u64, is_first: bool) {
        let (shared, lease) = (self.shared, self.shared.options.lease);
        // The epoch begins with the time at which it was made.
        let made = std::str::from_utf8(epoch).ok().and_then(|text| text.split_once('-')?.0.parse::<u64>().ok());
        let age = Duration::from_millis(joined_at.saturating_sub(made.unwrap_or_default()));
        let wait = (lease + LEASE_SLACK).saturating_sub(age);
        if is_first && !wait.is_zero() {
            shared.set(
                Part::Redis,
                Err("Redis is new or was emptied: the other nodes have a lease to write what they know"),
            );
        }
        let end = Instant::now() + wait;
        let last = Instant::now() + lease * MAX_LEASES;
        let round = shared.members.lock().round;
        while !shared.is_stopped() {
            shared.poke();
            shared.sleep(MEMBER_PAUSE, false);
            let members = shared.members.lock();
            let is_alive = |name: &str| members.alive.iter().any(|(entry, _)| entry.name == name);
            let mut recent = members.seen.iter().filter(|(_, at)| at.elapsed() < lease * 2 + LOOK_BACK);
            let are_back = !is_first && recent.all(|(name, _)| is_alive(name));
            let mut others = members.alive.iter().filter(|(entry, _)| entry.name != shared.options.node);
            // Two rounds: the one that was under way may have read the others before.
            let are_ready = members.round > round + 1 && others.all(|(_, filled)| filled == epoch);
            if are_ready && (are_back || Instant::now() >= end) {
                return;
            }
            if Instant::now() >= last {
                tracing::warn!("a node that is alive has not written again what it knows: not waiting any longer");
                return;
            }
        }
    }

    fn follow(&mut self, link: &mut Link, epoch: &[u8]) -> Result<(), RedisError> {
        let mut last = Instant::now();
        loop {
            // The writer says so if the outcome of a group is not known.
            if self.shared.is_stopped() || !self.shared.is_set(Part::Redis) {
                return Ok(());
            }
            let start = Instant::now();
            if !self.pass(link, epoch)? {
                return Ok(());
            }
            self.compare_some(link, epoch, last.elapsed())?;
            last = start;
            self.shared.sleep(self.shared.options.read_pace.saturating_sub(start.elapsed()), false);
        }
    }

    /// Reads changes once. False if Redis has to be joined again.
    fn pass(&mut self, link: &mut Link, epoch: &[u8]) -> Result<bool, RedisError> {
        let shared = self.shared;
        let position = self.position.unwrap_or_default().to_string();
        let block =
            if self.deferred.is_empty() { BLOCK } else { shared.options.read_pace.max(Duration::from_millis(1)) };
        link.allow(block)?;
        let mut packed = Vec::new();
        let changes = &shared.keys.changes;
        redis::cmd("XRANGE").arg(changes).arg(&position).arg(&position).write_packed_command(&mut packed);
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(COUNT).arg("BLOCK").arg(block.as_millis() as u64);
        read.arg("STREAMS").arg(changes).arg(&position);
        read.write_packed_command(&mut packed);
        let (mut is_there, mut entries) = (false, Ok(Vec::new()));
        link.exchange(&packed, 2, |at, value| match (at, value) {
            (0, value) => is_there = value.as_sequence().is_some_and(|found| !found.is_empty()),
            (_, Value::ServerError(error)) => entries = Err(RedisError::from(error)),
            (_, value) => entries = Ok(entries_of(value)),
        })?;
        if !is_there {
            tracing::warn!("changes in Redis were missed: all records are compared");
            self.has_gap = true;
            return Ok(false);
        }
        let entries = entries?;
        let mut wanted: HashSet<Vec<u8>> = std::mem::take(&mut self.deferred);
        let (mut rejoin, mut last, mut values) = (false, self.position, Vec::new());
        for Entry { id, mut fields } in entries {
            last = last.max(Some(id));
            shared.learn(id);
            let mut version = id;
            if let [(kind, _), (_, restored)] = &*fields
                && kind == b"restored"
            {
                version = StreamId::parse(restored).unwrap_or(id);
                fields.truncate(1);
            }
            for (kind, name) in fields {
                match &*kind {
                    b"aor" | b"restored" if shared.stamp(&name).is_none_or(|stamp| stamp < version) => {
                        wanted.insert(name);
                    }
                    b"value" => values.push(name),
                    b"node" => shared.poke(),
                    b"epoch" => rejoin |= name != epoch,
                    _ => {}
                }
            }
        }
        let wanted: Vec<_> = wanted.into_iter().collect();
        if let Err(error) = self.fetch(link, &wanted) {
            self.deferred.extend(wanted);
            return Err(error);
        }
        values.iter().try_for_each(|name| self.read_value(link, name))?;
        // Not before: if the connection fails meanwhile, these changes are read again.
        self.position = last;
        Ok(!rejoin)
    }

    fn read_value(&self, link: &mut Link, name: &[u8]) -> Result<(), RedisError> {
        let mut command = redis::cmd("HGET");
        command.arg(&self.shared.keys.values).arg(name);
        if let (Value::BulkString(stored), Ok(name)) = (link.one(command)?, std::str::from_utf8(name)) {
            self.shared.read_value(name, &stored);
        }
        Ok(())
    }
}

struct Joined {
    epoch: Vec<u8>,
    id: StreamId,
    found: bool,
}

/// Joins Redis: see [`scripts::JOIN`].
fn join(shared: &Shared, link: &mut Link, known_epoch: &[u8]) -> Result<Joined, RedisError> {
    let unexpected = || RedisError::from((redis::ErrorKind::UnexpectedReturnType, "the answer to a server that joins"));
    let random = getrandom::u64().unwrap_or_default();
    let new = format!("{}-{random:016x}", shared.now().millis());
    let known = if shared.known().is_none() { String::new() } else { shared.known().to_string() };
    let length = shared.options.changes.to_string();
    let args = [new.as_bytes(), known_epoch, known.as_bytes(), length.as_bytes()];
    let answer = scripts::call(link, scripts::JOIN, &[&shared.keys.changes, &shared.keys.epoch], &args)?;
    let (epoch, id, found): (Vec<u8>, Vec<u8>, i64) = redis::from_redis_value(answer)?;
    if shared.options.replicas > 0 {
        let mut wait = redis::cmd("WAIT");
        wait.arg(shared.options.replicas).arg(shared.options.timeout.as_millis() as u64);
        link.allow(shared.options.timeout)?;
        let reached: i64 = redis::from_redis_value(link.one(wait)?)?;
        link.allow(Duration::ZERO)?;
        if reached < i64::from(shared.options.replicas) {
            return Err((redis::ErrorKind::Io, "Redis has too few replicas").into());
        }
    }
    Ok(Joined { epoch, id: StreamId::parse(&id).ok_or_else(unexpected)?, found: found > 0 })
}

/// An entry of the stream.
struct Entry {
    id: StreamId,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The entries that XREAD answers with. What is not one is left out.
fn entries_of(value: Value) -> Vec<Entry> {
    let sequence = |value: Value| value.into_sequence().unwrap_or_default();
    let streams = sequence(value).into_iter().flat_map(sequence);
    streams.flat_map(sequence).filter_map(|entry| entry_of(sequence(entry))).collect()
}

fn entry_of(parts: Vec<Value>) -> Option<Entry> {
    let mut parts = parts.into_iter();
    let (Value::BulkString(id), Value::Array(fields)) = (parts.next()?, parts.next()?) else { return None };
    let mut texts = fields.into_iter().map(|field| match field {
        Value::BulkString(text) => Some(text),
        _ => None,
    });
    let fields = std::iter::from_fn(|| Some((texts.next()??, texts.next()??))).collect();
    Some(Entry { id: StreamId::parse(&id)?, fields })
}

/// Entries in one reading. One has the changes of a call of a script.
const COUNT: usize = 200;

/// How long Redis holds a reading until there is a change: the writer's failures are noticed after it.
const BLOCK: Duration = Duration::from_millis(100);

/// The others need a moment to come back after their lease was lost with Redis.
const LEASE_SLACK: Duration = Duration::from_millis(50);

/// Pause between two looks at the lease, or at the other servers, while this one waits for them.
const MEMBER_PAUSE: Duration = Duration::from_millis(20);

/// A server that was seen this long before Redis was lost, besides its lease, is waited for.
const LOOK_BACK: Duration = Duration::from_secs(60);

/// A server that is alive and does not write what it knows delays the others for this many leases at most.
const MAX_LEASES: u32 = 6;
