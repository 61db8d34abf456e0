//! The keys of the server: one that outlives restarts, so that calls go on, and one that does not.
//!
//! Decides where they come from. Must not log them.

use std::path::Path;

use proxy::Keys;
use sha2::{Digest as _, Sha256};

use crate::error::Fatal;
use crate::{data, hex};

const FILE: &str = "secret.key";

/// Keys for a server with this data folder; without one, all of them are new.
pub(crate) fn keys(folder: Option<&Path>) -> Result<Keys, Fatal> {
    let secret = match folder {
        Some(folder) => stored(&folder.join(FILE))?,
        None => random()?,
    };
    let (route, _) = secret.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    Ok(Keys { route: *route, gruu: derived(b"gruu", &secret), nonce: random()? })
}

/// Random octets of the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Fatal> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets)?;
    Ok(octets)
}

/// A key for one purpose, which tells nothing of the secret it comes from.
fn derived(purpose: &[u8], secret: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(purpose).chain_update(secret).finalize().into()
}

fn stored(path: &Path) -> Result<[u8; 32], Fatal> {
    let (text, _) = data::read_or_make(path, || Ok(format!("{}\n", hex::write(&random::<32>()?))))?;
    hex::read(text.trim()).ok_or_else(|| Fatal::Key { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_lived_keys_outlive_a_restart() {
        // checklist 140
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (keys(Some(folder.path())).expect("keys"), keys(Some(folder.path())).expect("keys"));
        assert_eq!((first.route, first.gruu), (second.route, second.gruu));
        assert_ne!(first.nonce, second.nonce);
        assert_ne!(keys(None).expect("keys").route, first.route);
    }

    #[test]
    fn something_else_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), "not a key").expect("a file");
        let told = keys(Some(folder.path())).expect_err("no key").to_string();
        assert!(told.contains("secret.key"), "{told}");
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).expect("a file"), "not a key");
    }
}
