//! From Redis to memory and back: loading everything, and comparing what both have.
//!
//! Records are compared by their version, in portions. Redis computes no checksum over a part of the keys: it would have to
//! read all of them, and keys that expire would change it, while the versions alone are forty octets each and name the record
//! that differs. The later version wins. After Redis has lost changes, a change that another server made meanwhile without
//! knowing a lost one is joined with it. Must not know registration rules beyond that.

use std::time::Duration;

use hashbrown::HashSet;
use redis::{RedisError, Value};

use super::client::Link;
use super::reader::Reader;
use super::state::Shared;
use super::stream_id::StreamId;
use super::{codec, scripts};
use crate::store::OutsideChange;
use crate::store::map::SHARDS;
use crate::{Record, Wall};

/// How far the comparison that never ends has come.
#[derive(Default)]
pub(super) struct Walk {
    /// Names that are still to be compared.
    names: Vec<Vec<u8>>,
    /// The next part of the memory.
    shard: usize,
    /// The place in the keys of Redis, if it is their turn.
    cursor: Option<Vec<u8>>,
}

/// A page of keys.
struct Page {
    cursor: Vec<u8>,
    names: Vec<Vec<u8>>,
}

impl Reader<'_> {
    /// Reads all records.
    pub(super) fn load(&mut self, link: &mut Link) -> Result<(), RedisError> {
        let keys: usize = redis::from_redis_value(link.one(redis::cmd("DBSIZE"))?)?;
        self.shared.map.reserve(keys);
        // Redis reads one page while this thread takes over the one before.
        let (mut cursor, mut names, mut read): (_, Vec<Vec<u8>>, _) = (Some(b"0".to_vec()), Vec::new(), None);
        while cursor.is_some() || !names.is_empty() || read.is_some() {
            self.check_stopped()?;
            let mut packed = Vec::new();
            if !names.is_empty() {
                self.values_of(&names).write_packed_command(&mut packed);
            }
            if let Some(cursor) = &cursor {
                scan(self.shared, cursor).write_packed_command(&mut packed);
            }
            if !packed.is_empty() {
                link.send(&packed)?;
            }
            if let Some((names, values)) = read.take() {
                self.take_over_all(names, values);
            }
            if !names.is_empty() {
                read = Some((std::mem::take(&mut names), link.receive()?));
            }
            if cursor.is_some() {
                let page = page_of(link.receive()?, self.shared);
                (names, cursor) = (page.names, (page.cursor != b"0").then_some(page.cursor));
            }
        }
        tracing::info!(records = self.shared.map.records(), "read the registrations from Redis");
        Ok(())
    }

    /// Compares all records in both directions. `is_lost`: Redis has lost changes.
    pub(super) fn compare_all(&mut self, link: &mut Link, epoch: &[u8], is_lost: bool) -> Result<(), RedisError> {
        // The latest first: they are the ones that others could miss.
        let mut all: Vec<Record> = Vec::new();
        self.shared.map.list(&mut |record| all.push(record.clone()));
        all.sort_by_key(|record| std::cmp::Reverse(record.meta().stamp()));
        for part in all.chunks(PORTION) {
            self.compare(link, part, epoch, is_lost)?;
        }
        drop(all);
        self.each_page(link, |reader, link, names| {
            let unknown: Vec<_> = names.into_iter().filter(|name| reader.shared.stamp(name).is_none()).collect();
            reader.fetch(link, &unknown)
        })
    }

    /// The part of the comparison that is due after this time.
    pub(super) fn compare_some(&mut self, link: &mut Link, epoch: &[u8], passed: Duration) -> Result<(), RedisError> {
        let Some(share) = share(passed, self.shared.options.compare) else { return Ok(()) };
        // Each record is visited twice: by its place in memory, and by its key.
        let visits = self.shared.map.records().max(MIN_VISITS) * 2;
        self.left = (self.left + visits.saturating_mul(share)).min(PORTION as u64 * 1_000_000);
        if self.left < PORTION as u64 * 100_000 {
            return Ok(());
        }
        let count = usize::try_from(self.left / 1_000_000).unwrap_or(PORTION).max(1);
        self.left = 0;
        // Once around is enough, if there are few records.
        for _ in 0..=SHARDS {
            if self.walk.names.len() >= count {
                break;
            }
            self.walk_on(link)?;
        }
        let kept = self.walk.names.len().saturating_sub(count);
        let names = self.walk.names.split_off(kept);
        self.compare_names(link, &names, epoch, false)
    }

    /// Names from the next shard of the memory, or, when it is through, from the keys of Redis.
    fn walk_on(&mut self, link: &mut Link) -> Result<(), RedisError> {
        if let Some(cursor) = self.walk.cursor.take() {
            let page = page_of(link.one(scan(self.shared, &cursor))?, self.shared);
            self.walk.cursor = (page.cursor != b"0").then_some(page.cursor);
            self.walk.names.extend(page.names);
            return Ok(());
        }
        let records = self.shared.map.shard(self.walk.shard);
        self.walk.names.extend(records.iter().map(|record| record.aor().to_vec()));
        self.walk.shard += 1;
        if self.walk.shard as u64 >= SHARDS {
            (self.walk.shard, self.walk.cursor) = (0, Some(b"0".to_vec()));
        }
        Ok(())
    }

    /// Compares these addresses, which may have no record here.
    pub(super) fn compare_names(
        &mut self,
        link: &mut Link,
        names: &[Vec<u8>],
        epoch: &[u8],
        is_lost: bool,
    ) -> Result<(), RedisError> {
        for part in names.chunks(PORTION) {
            let known: Vec<Record> = part.iter().filter_map(|name| self.shared.map.load(name)).collect();
            self.compare(link, &known, epoch, is_lost)?;
            let unknown: Vec<_> = part.iter().filter(|name| self.shared.stamp(name).is_none()).cloned().collect();
            self.fetch(link, &unknown)?;
        }
        Ok(())
    }

    fn compare(&mut self, link: &mut Link, records: &[Record], epoch: &[u8], is_lost: bool) -> Result<(), RedisError> {
        self.check_stopped()?;
        let shared = self.shared;
        let now = shared.now();
        // A change that waits for its outcome is compared by the writer.
        let stored: Vec<&Record> = records.iter().filter(|record| record.meta().stamp() != 0).collect();
        if stored.is_empty() {
            return Ok(());
        }
        let mut packed = Vec::new();
        for record in &stored {
            let mut command = redis::cmd("GETRANGE");
            command.arg(shared.record_key(record.aor())).arg(0).arg(40).write_packed_command(&mut packed);
        }
        let (mut later, mut earlier) = (Vec::new(), Vec::new());
        link.exchange(&packed, stored.len(), |at, value| {
            let Some(record) = stored.get(at) else { return };
            let Value::BulkString(head) = value else { return };
            let version = codec::split(&head).map(|(version, _)| version).unwrap_or_default();
            match version.raw().cmp(&record.meta().stamp()) {
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Greater => later.push(*record),
                std::cmp::Ordering::Less => earlier.push(*record),
            }
        })?;
        let names: Vec<_> = later.iter().map(|record| record.aor().to_vec()).collect();
        self.fetch(link, &names)?;
        if is_lost {
            self.join(link, &later, epoch, now)?;
        }
        earlier.retain(|record| !codec::is_discardable(record, now));
        self.restore(link, &earlier, epoch, now)
    }

    /// Reads these records, and takes over those that are newer than the ones in memory.
    pub(super) fn fetch(&mut self, link: &mut Link, names: &[Vec<u8>]) -> Result<(), RedisError> {
        for part in names.chunks(PORTION) {
            self.check_stopped()?;
            let values = link.one(self.values_of(part))?;
            self.take_over_all(part.to_vec(), values);
        }
        Ok(())
    }

    fn values_of(&self, names: &[Vec<u8>]) -> redis::Cmd {
        let mut command = redis::cmd("MGET");
        for name in names {
            command.arg(self.shared.record_key(name));
        }
        command
    }

    fn take_over_all(&mut self, names: Vec<Vec<u8>>, values: Value) {
        for (name, value) in names.into_iter().zip(values.into_sequence().unwrap_or_default()) {
            // An absent one has expired.
            let Value::BulkString(value) = value else { continue };
            match self.shared.read(&name, &value) {
                Some(record) => self.take_over(record),
                None => tracing::warn!(
                    address = &*String::from_utf8_lossy(&name),
                    "a record in Redis is damaged, or of another version of this program"
                ),
            }
        }
    }

    fn take_over(&mut self, record: Record) {
        let mut is_waiting = false;
        let replaced = self.shared.map.replace(record.clone(), |current| {
            let Some(current) = current else { return !record.bindings().is_empty() };
            is_waiting = current.meta().stamp() == 0;
            !is_waiting && current.meta().stamp() < record.meta().stamp()
        });
        match replaced {
            Ok(before) => (self.shared.hooks.changed)(OutsideChange::new(before.as_ref(), &record)),
            Err(()) if is_waiting => drop(self.deferred.insert(record.aor().to_vec())),
            Err(()) => {}
        }
    }

    /// Writes these records again.
    fn restore(&self, link: &mut Link, records: &[&Record], epoch: &[u8], now: Wall) -> Result<(), RedisError> {
        let Some(node) = self.shared.node().filter(|_| !records.is_empty()) else { return Ok(()) };
        let restore = scripts::load(link, scripts::RESTORE)?;
        let mut packed = Vec::new();
        for record in records {
            let named = codec::for_others(record, node, now);
            let octets = named.as_ref().unwrap_or(record).octets();
            let version = StreamId::from_raw(record.meta().stamp());
            let mut command = redis::cmd("EVALSHA");
            write_args(self.shared, command.arg(&restore), record, version, octets, epoch, now);
            command.write_packed_command(&mut packed);
        }
        let (mut restored, mut failure) = (0, None);
        link.exchange(&packed, records.len(), |_, value| match value {
            Value::Int(count) => restored += count,
            Value::ServerError(error) => failure = Some(RedisError::from(error)),
            _ => failure = Some((redis::ErrorKind::Io, "Redis has lost changes again").into()),
        })?;
        if restored > 0 {
            tracing::warn!(restored, "records were missing in Redis, or older ones there: written again");
        }
        failure.map_or(Ok(()), Err)
    }

    /// Another server has changed these records after Redis had lost changes of them: joins both.
    fn join(&mut self, link: &mut Link, ours: &[&Record], epoch: &[u8], now: Wall) -> Result<(), RedisError> {
        let Some(node) = self.shared.node() else { return Ok(()) };
        for our in ours {
            let Some(theirs) = self.shared.map.load(our.aor()) else { continue };
            let Some(joined) = our.joined_with(&theirs, now) else { continue };
            let named = codec::for_others(&joined, node, now);
            let octets = named.as_ref().unwrap_or(&joined).octets();
            let expected = StreamId::from_raw(theirs.meta().stamp()).to_string();
            let (lifetime, length) =
                (codec::lifetime(&joined, now).to_string(), self.shared.options.changes.to_string());
            let keys: [&[u8]; 3] =
                [&self.shared.keys.changes, &self.shared.keys.epoch, &self.shared.record_key(our.aor())];
            let args = [epoch, length.as_bytes(), expected.as_bytes(), lifetime.as_bytes(), our.aor(), octets];
            let answer = scripts::call(link, scripts::COMMIT, &keys, &args)?;
            match answer.as_sequence() {
                Some([Value::BulkString(id)]) => {
                    let id = StreamId::parse(id).ok_or((redis::ErrorKind::Io, "Redis has lost changes again"))?;
                    joined.meta().set_stamp(id.raw());
                    self.take_over(joined);
                }
                // Changed once more: its server has seen ours or joins them itself.
                _ => drop(self.deferred.insert(our.aor().to_vec())),
            }
        }
        Ok(())
    }

    fn each_page(
        &mut self,
        link: &mut Link,
        mut visit: impl FnMut(&mut Self, &mut Link, Vec<Vec<u8>>) -> Result<(), RedisError>,
    ) -> Result<(), RedisError> {
        let mut cursor = b"0".to_vec();
        loop {
            let page = page_of(link.one(scan(self.shared, &cursor))?, self.shared);
            visit(self, link, page.names)?;
            cursor = page.cursor;
            if cursor == b"0" {
                return Ok(());
            }
        }
    }

    fn check_stopped(&self) -> Result<(), RedisError> {
        if self.shared.is_stopped() { Err((redis::ErrorKind::Io, "the store is closed").into()) } else { Ok(()) }
    }
}

fn write_args(
    shared: &Shared,
    command: &mut redis::Cmd,
    record: &Record,
    version: StreamId,
    octets: &[u8],
    epoch: &[u8],
    now: Wall,
) {
    command.arg(3).arg(shared.record_key(record.aor())).arg(&shared.keys.changes).arg(&shared.keys.epoch);
    command.arg(epoch).arg(version.to_string()).arg(codec::lifetime(record, now));
    command.arg(record.aor()).arg(octets).arg(shared.options.changes);
}

fn scan(shared: &Shared, cursor: &[u8]) -> redis::Cmd {
    // The prefix may contain what a pattern gives a meaning to.
    let mut pattern = Vec::new();
    for &octet in &shared.keys.records {
        if b"*?[]^\\-".contains(&octet) {
            pattern.push(b'\\');
        }
        pattern.push(octet);
    }
    pattern.push(b'*');
    let mut command = redis::cmd("SCAN");
    command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(PORTION);
    command
}

fn page_of(value: Value, shared: &Shared) -> Page {
    let mut parts = value.into_sequence().unwrap_or_default().into_iter();
    let cursor = match parts.next() {
        Some(Value::BulkString(cursor)) => cursor,
        _ => b"0".to_vec(),
    };
    let keys = parts.next().and_then(|keys| keys.into_sequence().ok()).unwrap_or_default();
    let name_of = |key| match key {
        Value::BulkString(key) => key.strip_prefix(&*shared.keys.records).map(<[u8]>::to_vec),
        _ => None,
    };
    // SCAN may return a key twice.
    let names: HashSet<Vec<u8>> = keys.into_iter().filter_map(name_of).collect();
    Page { cursor, names: names.into_iter().collect() }
}

/// The share of a period that has passed, in millionths.
fn share(passed: Duration, period: Duration) -> Option<u64> {
    let share = passed.as_micros().checked_mul(1_000_000)?.checked_div(period.as_micros())?;
    u64::try_from(share).ok()
}

/// Records in one request: it occupies Redis for about a millisecond.
const PORTION: usize = 512;

/// So that a server with few records still looks for those that it does not know.
const MIN_VISITS: u64 = 256;
