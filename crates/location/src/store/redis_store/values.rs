//! Small values that the servers share: keys, settings made at run time, bans.
//!
//! All are kept in memory. A change is a compare and swap, made by the thread that asks for it. Must not know what the values
//! mean.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use redis::Value;

use super::client::Link;
use super::scripts;
use super::state::Shared;
use super::stream_id::StreamId;
use super::{RedisStore, codec};

/// Why a value was not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// Another server, or another thread, has changed it meanwhile. The current value is in memory now.
    #[error("the value was changed by another node")]
    Conflict,
    /// More octets than `RedisOptions::max_value`.
    #[error("a value has at most {max} octets")]
    TooLong {
        /// The maximum.
        max: usize,
    },
    /// There are as many values as there may be.
    #[error("there are {max} values already")]
    TooMany {
        /// The maximum.
        max: usize,
    },
    /// Redis does not answer in time, or refuses. The value may have been set or not.
    #[error("the shared store does not answer")]
    Unreachable,
}

impl RedisStore {
    /// A value and its version, from memory.
    pub fn value(&self, name: &str) -> Option<(Vec<u8>, u64)> {
        self.shared.values.all.lock().get(name).map(|(value, version)| (value.clone(), version.raw()))
    }

    /// The names of all values.
    pub fn value_names(&self) -> Vec<String> {
        self.shared.values.all.lock().keys().cloned().collect()
    }

    /// Sets a value, if the current one has the version `expected` (`None` = there is none). Returns its new version. Waits
    /// for Redis, so no worker may call it. `Hooks::value_changed` is called here too, by this thread.
    ///
    /// # Errors
    /// See [`PutError`].
    pub fn put_value(&self, name: &str, expected: Option<u64>, value: &[u8]) -> Result<u64, PutError> {
        let shared = &*self.shared;
        let max = shared.options.max_value;
        if value.len() > max {
            return Err(PutError::TooLong { max });
        }
        let mut link = shared.values.link.lock();
        // A connection that was idle may have been closed by Redis.
        if link.as_mut().is_none_or(|link| link.one(redis::cmd("PING")).is_err()) {
            *link = Some(shared.address.connect().map_err(|_| PutError::Unreachable)?);
        }
        let Some(open) = link.as_mut() else { return Err(PutError::Unreachable) };
        let expected = expected.map(|raw| StreamId::from_raw(raw).to_string()).unwrap_or_default();
        let answer = put(shared, open, name, &expected, value, "");
        if answer.is_err() {
            *link = None;
        }
        drop(link);
        match answer.map_err(|_| PutError::Unreachable)? {
            Value::BulkString(word) if word == b"full" => Err(PutError::TooMany { max: shared.options.max_values }),
            Value::BulkString(id) => {
                let id = StreamId::parse(&id).ok_or(PutError::Unreachable)?;
                shared.take_value(name, id, value);
                Ok(id.raw())
            }
            Value::Array(current) => {
                if let Some(Value::BulkString(current)) = current.first() {
                    shared.read_value(name, current);
                }
                Err(PutError::Conflict)
            }
            _ => Err(PutError::Unreachable),
        }
    }
}

#[derive(Default)]
pub(super) struct Values {
    all: Mutex<BTreeMap<String, (Vec<u8>, StreamId)>>,
    link: Mutex<Option<Link>>,
}

impl Shared {
    /// Takes over a value as Redis stores it: version, space, octets.
    pub(super) fn read_value(&self, name: &str, stored: &[u8]) {
        if let Some((version, value)) = codec::split(stored) {
            self.take_value(name, version, value);
        }
    }

    fn take_value(&self, name: &str, version: StreamId, value: &[u8]) {
        let mut all = self.values.all.lock();
        if all.get(name).is_some_and(|(_, known)| *known >= version) {
            return;
        }
        all.insert(name.to_owned(), (value.to_vec(), version));
        drop(all);
        (self.hooks.value_changed)(name, value);
    }

    /// Reads the named values, or all, from Redis.
    pub(super) fn load_values(&self, link: &mut Link) -> Result<(), redis::RedisError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(&self.keys.values);
        let all: Vec<(Vec<u8>, Vec<u8>)> = redis::from_redis_value(link.one(command)?)?;
        for (name, stored) in all {
            if let Ok(name) = std::str::from_utf8(&name) {
                self.read_value(name, &stored);
            }
        }
        Ok(())
    }

    /// Gives the values that this server knows to Redis, which has lost them, unless it has later ones.
    pub(super) fn restore_values(&self, link: &mut Link) -> Result<(), redis::RedisError> {
        let all = self.values.all.lock().clone();
        for (name, (value, version)) in all {
            put(self, link, &name, "*", &value, &version.to_string())?;
        }
        Ok(())
    }
}

fn put(
    shared: &Shared,
    link: &mut Link,
    name: &str,
    expected: &str,
    value: &[u8],
    version: &str,
) -> Result<Value, redis::RedisError> {
    let (length, max) = (shared.options.changes.to_string(), shared.options.max_values.to_string());
    let keys: [&[u8]; 2] = [&shared.keys.values, &shared.keys.changes];
    let args = [name.as_bytes(), expected.as_bytes(), value, length.as_bytes(), version.as_bytes(), max.as_bytes()];
    scripts::call(link, scripts::PUT, &keys, &args)
}
