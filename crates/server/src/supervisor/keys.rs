//! The keys of the cores in force: from the data folder, or from the store that several servers share; and their replacement
//! by `frontdesk keys rotate`.
//!
//! Decides when the previous keys are dropped. Must not log them.

use std::path::PathBuf;
use std::time::Duration;

use location::Wall;
use proxy::Keys;

use crate::cluster::{SharedError, SharedValues};
use crate::data::files;
use crate::data::secret::{self, RotationError, Secret};
use crate::error::CliError;

/// The value that all servers share.
pub(super) const VALUE: &str = "keys";

/// The keys in force.
pub(crate) struct KeyKeeper {
    secret: Secret,
    /// Of nonces, in this run.
    nonce: [u8; 16],
    place: Place,
    /// When the previous keys end, if there are any.
    previous_until: Option<Wall>,
}

enum Place {
    /// Nowhere: they end with this run.
    Memory,
    /// This file.
    File(PathBuf),
    /// Where all servers find them.
    Shared(SharedValues),
}

impl KeyKeeper {
    /// From the data folder; without one they end with this run.
    pub(super) fn open(folder: Option<&std::path::Path>) -> Result<Self, CliError> {
        let place = folder.map_or(Place::Memory, |folder| Place::File(folder.join(secret::FILE)));
        Self::new(Secret::open(folder)?, place)
    }

    /// Of all servers that share these values. The first server makes them. Waits for the shared store.
    pub(super) fn shared(values: SharedValues) -> Result<Self, CliError> {
        let first = Secret::random()?.text();
        values.change_blocking(VALUE, |current| Ok(current.unwrap_or(first.as_bytes()).to_vec()))?;
        let secret = read(&values)?;
        Self::new(secret, Place::Shared(values))
    }

    fn new(secret: Secret, place: Place) -> Result<Self, CliError> {
        Ok(Self { secret, nonce: secret::random()?, place, previous_until: None })
    }

    /// The keys for the cores. `max_expires`: of a registration.
    pub(crate) fn keys(&mut self, now: Wall, max_expires: Duration) -> Keys {
        self.previous_until = self.secret.previous_until(max_expires).filter(|until| now < *until);
        self.secret.keys(self.nonce, now, max_expires)
    }

    /// Whether the previous keys have ended since they were given to the cores.
    pub(super) fn previous_have_ended(&self, now: Wall) -> bool {
        self.previous_until.is_some_and(|until| until <= now)
    }

    /// Takes over the keys that another server has stored. Returns whether they have changed.
    pub(super) fn read_shared(&mut self) -> bool {
        let Place::Shared(values) = &self.place else { return false };
        match read(values) {
            Ok(secret) => {
                let changed = secret != self.secret;
                self.secret = secret;
                changed
            }
            Err(error) => {
                tracing::error!("keys: {error}");
                false
            }
        }
    }

    /// Replaces the keys, here and at the servers that share them.
    pub(super) async fn rotate(&mut self, now: Wall, max_expires: Duration) -> Result<(), RotationError> {
        let Some(new) = self.secret.replaced(now, max_expires)? else {
            let until = self.secret.previous_until(max_expires).unwrap_or(now);
            let left = Duration::from_secs(until.millis().saturating_sub(now.millis()).div_ceil(1000));
            return Err(RotationError::TooEarly(left));
        };
        match &self.place {
            Place::Memory => self.secret = new,
            Place::File(path) => {
                let stored = files::replace_private(path, &new.text());
                stored.map_err(|source| CliError::File { path: path.clone(), source })?;
                self.secret = new;
            }
            Place::Shared(values) => {
                // If another server was first, its keys are the new ones.
                let (old, new) = (self.secret.text(), new.text());
                let make = move |current: Option<&[u8]>| match current {
                    Some(current) if current != old.as_bytes() => Ok(current.to_vec()),
                    _ => Ok(new.clone().into_bytes()),
                };
                values.change(VALUE, make).await?;
                self.secret = read(values)?;
            }
        }
        Ok(())
    }
}

fn read(values: &SharedValues) -> Result<Secret, SharedError> {
    let text = values.get(VALUE).unwrap_or_default();
    std::str::from_utf8(&text).ok().and_then(Secret::read).ok_or(SharedError::Unreadable)
}
