//! The secret that the keys of the server are derived from. It survives restarts, so that dialogs continue, and several
//! servers of one office share it.
//!
//! Decides where it comes from, how it is replaced, and how long the one before it is valid. Must not log it.

use std::path::Path;
use std::time::Duration;

use location::Wall;
use parser::{hex_octets, hex_text};
use proxy::{Keys, LongLivedKeys};
use sha2::{Digest as _, Sha256};

use super::files;
use crate::cluster::SharedError;
use crate::error::CliError;

/// The file in the data folder.
pub(crate) const FILE: &str = "secret.key";

/// The previous secret is valid for at least this long, so that calls in progress continue; or for as long as a
/// registration, if that is longer.
const PREVIOUS_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The secret, and the one before it with the time at which it was replaced.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret {
    current: [u8; 32],
    previous: Option<([u8; 32], Wall)>,
}

impl Secret {
    /// A new one.
    pub(crate) fn random() -> Result<Self, CliError> {
        Ok(Self { current: random()?, previous: None })
    }

    /// From the data folder, where it is created if it is missing; without a folder a new one.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = folder.map(|folder| folder.join(FILE)) else { return Self::random() };
        let (text, _) = files::read_or_create(&path, || Ok(Self::random()?.text()))?;
        Self::read(&text).ok_or(CliError::Key { path })
    }

    /// Reads what [`Secret::text`] writes: 64 hexadecimal digits; on a second line those of the previous secret, and the
    /// time at which it was replaced, in milliseconds.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let current = hex_octets(lines.next()?.trim().as_bytes())?;
        let previous = match lines.next().map(str::trim).filter(|line| !line.is_empty()) {
            None => None,
            Some(line) => {
                let (secret, replaced) = line.split_once(' ')?;
                Some((hex_octets(secret.as_bytes())?, Wall(replaced.parse().ok()?)))
            }
        };
        lines.all(|line| line.trim().is_empty()).then_some(Self { current, previous })
    }

    /// As it is stored.
    pub(crate) fn text(&self) -> String {
        let previous = self.previous.map(|(secret, replaced)| format!("{} {}\n", hex_text(&secret), replaced.millis()));
        format!("{}\n{}", hex_text(&self.current), previous.unwrap_or_default())
    }

    /// A new secret, with this one as its previous one. `None` while there is a previous one that is valid: what was signed
    /// with that would be refused.
    pub(crate) fn replaced(&self, now: Wall, max_expires: Duration) -> Result<Option<Self>, CliError> {
        if self.previous_until(max_expires).is_some_and(|until| now < until) {
            return Ok(None);
        }
        Ok(Some(Self { current: random()?, previous: Some((self.current, now)) }))
    }

    /// Until when the previous secret is valid. `max_expires`: of a registration.
    pub(crate) fn previous_until(&self, max_expires: Duration) -> Option<Wall> {
        let lifetime = u64::try_from(PREVIOUS_LIFETIME.max(max_expires).as_millis()).unwrap_or(u64::MAX);
        self.previous.map(|(_, replaced)| replaced.plus_millis(lifetime))
    }

    /// The keys. `nonce`: of this run.
    pub(crate) fn keys(&self, nonce: [u8; 16], now: Wall, max_expires: Duration) -> Keys {
        let LongLivedKeys { route, gruu } = long_lived(&self.current);
        let is_valid = self.previous_until(max_expires).is_some_and(|until| now < until);
        let previous = self.previous.filter(|_| is_valid).map(|(secret, _)| long_lived(&secret));
        Keys { route, gruu, nonce, previous }
    }
}

/// Why the keys were not replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotationError {
    /// The previous keys are still valid; those before would be refused.
    #[error("the keys were replaced lately, and what they have signed is still valid: try again in {}", humantime::format_duration(*.0))]
    TooEarly(Duration),
    /// They could not be stored.
    #[error(transparent)]
    File(#[from] CliError),
    /// The other servers could not be told.
    #[error(transparent)]
    Shared(#[from] SharedError),
}

/// Random octets from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], CliError> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets)?;
    Ok(octets)
}

fn long_lived(secret: &[u8; 32]) -> LongLivedKeys {
    let (route, _) = secret.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    LongLivedKeys { route: *route, gruu: derive_key(b"gruu", secret) }
}

/// Derives a key for one purpose, which reveals nothing of the secret.
fn derive_key(purpose: &[u8], secret: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(purpose).chain_update(secret).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_secret_survives_a_restart() {
        // checklist 140
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (Secret::open(Some(folder.path())), Secret::open(Some(folder.path())));
        let (first, second) = (first.expect("a secret"), second.expect("a secret"));
        assert!(first == second && first != Secret::open(None).expect("a secret"));
        let keys = |secret: &Secret| secret.keys([1; 16], Wall(0), HOUR);
        assert_eq!((keys(&first).route, keys(&first).gruu), (keys(&second).route, keys(&second).gruu));
    }

    #[test]
    fn a_file_without_a_key_is_not_overwritten() {
        for text in ["not a key", "00\n", "", &format!("{}\nnot a key\n", "00".repeat(32))] {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join(FILE), text).expect("a file");
            let error = Secret::open(Some(folder.path())).map(|_| ()).expect_err("no key").to_string();
            assert!(error.contains("secret.key"), "{error}");
            assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).expect("a file"), text);
        }
    }

    #[test]
    fn the_previous_secret_is_valid_for_a_day_or_as_long_as_a_registration() {
        let old = Secret::random().expect("a secret");
        let now = Wall(1_000);
        let new = old.replaced(now, HOUR).expect("random numbers").expect("no previous one");
        assert!(Secret::read(&new.text()) == Some(new.clone()), "it is stored with the previous one");
        for (max_expires, hours) in [(HOUR, 24), (30 * HOUR, 30)] {
            let end = now.plus_millis(hours * 3_600_000);
            let previous = |at: Wall| new.keys([1; 16], at, max_expires).previous.map(|keys| keys.route);
            assert_eq!(previous(Wall(end.millis() - 1)), Some(old.keys([1; 16], now, HOUR).route));
            assert_eq!(previous(end), None);
            assert!(new.replaced(Wall(end.millis() - 1), max_expires).expect("random numbers").is_none());
            assert!(new.replaced(end, max_expires).expect("random numbers").is_some());
        }
    }
}
