//! The keys of the server: one that survives restarts, so that dialogs continue, and one that does not.
//!
//! Decides where they come from. Must not log them.

use std::path::Path;

use parser::{hex_octets, hex_text};
use proxy::Keys;
use sha2::{Digest as _, Sha256};

use super::files;
use crate::error::CliError;

const FILE: &str = "secret.key";

/// The keys for a server with this data folder; without a folder all are random.
pub(crate) fn keys(folder: Option<&Path>) -> Result<Keys, CliError> {
    let secret = match folder {
        Some(folder) => load_or_create(&folder.join(FILE))?,
        None => random()?,
    };
    let (route, _) = secret.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    Ok(Keys { route: *route, gruu: derive_key(b"gruu", &secret), nonce: random()?, previous: None })
}

/// Random octets from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], CliError> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets)?;
    Ok(octets)
}

/// Derives a key for one purpose, which reveals nothing of the secret.
fn derive_key(purpose: &[u8], secret: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(purpose).chain_update(secret).finalize().into()
}

fn load_or_create(path: &Path) -> Result<[u8; 32], CliError> {
    let (text, _) = files::read_or_create(path, || Ok(format!("{}\n", hex_text(&random::<32>()?))))?;
    hex_octets(text.trim().as_bytes()).ok_or_else(|| CliError::Key { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_and_gruu_keys_survive_a_restart() {
        // checklist 140
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (keys(Some(folder.path())).expect("keys"), keys(Some(folder.path())).expect("keys"));
        assert_eq!((first.route, first.gruu), (second.route, second.gruu));
        assert_ne!(first.nonce, second.nonce);
        assert_ne!(keys(None).expect("keys").route, first.route);
    }

    #[test]
    fn a_file_without_a_key_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), "not a key").expect("a file");
        let error = keys(Some(folder.path())).expect_err("no key").to_string();
        assert!(error.contains("secret.key"), "{error}");
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).expect("a file"), "not a key");
    }
}
