//! The certificates in force, shared by all workers, and their renewal.
//!
//! Decides when the files are read again: when one of them changes, because a program that renews certificates replaces
//! them while the server runs. Files with an error leave the previous certificates in force. A connection keeps the
//! certificate that it began with.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use rustls::{ClientConfig, ServerConfig};

use super::files::{FileError, Material, TlsFiles};

/// The certificates in force.
#[derive(Debug, Default)]
pub(crate) struct ActiveTls {
    material: RwLock<Option<Arc<Material>>>,
}

impl ActiveTls {
    /// With these certificates; none if no listener has TLS.
    pub(crate) fn new(material: Option<Arc<Material>>) -> Self {
        Self { material: RwLock::new(material) }
    }

    /// Replaces the certificates.
    pub(crate) fn replace(&self, material: Option<Arc<Material>>) {
        *self.material.write() = material;
    }

    /// The configuration of accepted connections.
    pub(crate) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.material.read().as_ref().map(|material| Arc::clone(&material.server))
    }

    /// The configuration of connections to peers.
    pub(crate) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.material.read().as_ref().map(|material| Arc::clone(&material.client))
    }
}

/// Notices that files were replaced.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    seen: Option<(TlsFiles, Vec<FileVersion>)>,
}

/// What changes when a file is written or replaced; `None` if it cannot be read.
type FileVersion = Option<(SystemTime, u64, u64)>;

impl Renewal {
    /// Reads the files if they are not those that were last seen. `None`: they are.
    pub(crate) fn poll(&mut self, files: &TlsFiles) -> Option<Result<Material, FileError>> {
        if !self.has_changed(files) {
            return None;
        }
        Some(Material::read(files))
    }

    /// Remembers the files as they are now. Returns whether they differ from those that were last seen.
    pub(crate) fn has_changed(&mut self, files: &TlsFiles) -> bool {
        let pairs = files.pairs.iter().flat_map(|(certificate, private_key)| [certificate, private_key]);
        let versions = pairs.chain(&files.authorities).map(|path| version(path)).collect();
        let now = Some((files.clone(), versions));
        let changed = self.seen != now;
        self.seen = now;
        changed
    }
}

fn version(path: &Path) -> FileVersion {
    // Follows symbolic links: certbot replaces links.
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
