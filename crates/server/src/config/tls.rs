//! `tls`: the certificates of the server, and the authorities that it believes.
//!
//! Decides which files are read; paths are relative to the folder of the configuration file. Must not decide whether a
//! certificate can be used: see `crate::tls`.

use std::fmt;
use std::path::{Path, PathBuf};

use parser::Transport;

use super::Config;
use super::error::{Conflict, PathStep};
use super::keys::section;
use super::scalar::{Scalar, scalars};
use crate::tls::{ClientCertificates, FileError, FileRole, TlsFiles};

section! {
    /// `tls`: certificates for `tls://` and `wss://`.
    pub(crate) struct Tls {
        /// the certificate of the server for `tls://` and `wss://`: a PEM file with the server's own certificate first
        /// and then those that link it to its authority. A renewed file is used within 10 s. The path is relative to
        /// the folder of the configuration file, like all paths of `tls`
        certificate: Option<PathBuf> = None,
        /// the private key of `tls.certificate`: a PEM file without a passphrase
        private_key: Option<PathBuf> = None,
        /// further certificates, as `{ certificate: FILE, private_key: FILE }`: a phone that asks for a name (SNI) gets
        /// the first certificate with this name, otherwise `tls.certificate`
        also: Vec<CertificatePair> = Vec::new(),
        /// the certificate authorities for connections that the server opens, and for certificates of phones: `system`,
        /// or a PEM file
        authorities: Authorities = Authorities(None),
        /// certificates of phones: `off`: the server does not ask for one; `request`: it asks, and refuses one that
        /// `tls.authorities` did not sign; `require`: it refuses connections without one, too. Passwords are needed all
        /// the same
        client_certificates: ClientCertificatesName = ClientCertificatesName(ClientCertificates::Off),
    }
}

/// A further certificate.
#[derive(Clone, Debug, serde::Deserialize, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificatePair {
    /// The file of the certificate.
    pub(crate) certificate: PathBuf,
    /// The file of its private key.
    pub(crate) private_key: PathBuf,
}

/// The file of the authorities; `None`: those of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorities(pub(crate) Option<PathBuf>);

/// How client certificates are handled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientCertificatesName(pub(crate) ClientCertificates);

scalars!(Authorities, ClientCertificatesName);

impl Scalar for Authorities {
    const EXPECTED: &'static str = "system, or a PEM file";

    fn read(text: &str) -> Option<Self> {
        match text {
            "" => None,
            "system" => Some(Self(None)),
            path => Some(Self(Some(path.into()))),
        }
    }
}

impl Scalar for ClientCertificatesName {
    const EXPECTED: &'static str = "off, request or require";

    fn read(text: &str) -> Option<Self> {
        match text {
            "off" | "false" => Some(Self(ClientCertificates::Off)),
            "request" => Some(Self(ClientCertificates::Request)),
            "require" => Some(Self(ClientCertificates::Require)),
            _ => None,
        }
    }
}

impl fmt::Debug for ClientCertificatesName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ClientCertificates::Off => "off",
            ClientCertificates::Request => "request",
            ClientCertificates::Require => "require",
        })
    }
}

impl Tls {
    /// The file of the authorities, for a configuration in `file`.
    pub(super) fn authorities_file(&self, file: Option<&Path>) -> Option<PathBuf> {
        let path = self.authorities.0.as_ref()?;
        Some(file.and_then(Path::parent).map_or_else(|| path.clone(), |folder| folder.join(path)))
    }

    /// The files, for a configuration in `file`; `None` without a certificate.
    pub(crate) fn files(&self, file: &Path) -> Option<TlsFiles> {
        let resolve = |path: &PathBuf| file.parent().map_or_else(|| path.clone(), |folder| folder.join(path));
        let first = (resolve(self.certificate.as_ref()?), resolve(self.private_key.as_ref()?));
        let also = self.also.iter().map(|pair| (resolve(&pair.certificate), resolve(&pair.private_key)));
        Some(TlsFiles {
            pairs: std::iter::once(first).chain(also).collect(),
            authorities: self.authorities.0.as_ref().map(resolve),
            client_certificates: self.client_certificates.0,
        })
    }
}

/// The first conflict between `tls` and `listen`, if there is one.
pub(super) fn check(config: &Config) -> Result<(), Conflict> {
    let conflict = |path: Vec<PathStep>, message: &str| Err(Conflict { path, message: message.to_owned() });
    let Tls { certificate, private_key, also, .. } = &config.tls;
    let at = |key| vec![PathStep::Key("tls"), PathStep::Key(key)];
    match (certificate.is_some(), private_key.is_some()) {
        (true, false) => {
            return conflict(at("private_key"), "expected the file of the private key of `tls.certificate`");
        }
        (false, true) => {
            return conflict(at("certificate"), "expected the file of the certificate of `tls.private_key`");
        }
        (false, false) if !also.is_empty() => {
            return conflict(at("also"), "these are further certificates: expected `tls.certificate` as the first one");
        }
        _ => {}
    }
    let is_secure = |transport: Transport| transport.is_secure() && certificate.is_none();
    match config.listen.iter().position(|listen| is_secure(listen.transport)) {
        Some(item) => conflict(
            vec![PathStep::Key("listen"), PathStep::Item(item)],
            "this listener needs a certificate: expected `tls.certificate` and `tls.private_key`",
        ),
        None => Ok(()),
    }
}

/// A file that cannot be used, as an error of its key.
pub(super) fn conflict(error: FileError) -> Conflict {
    let pair = |at: usize, key| match at.checked_sub(1) {
        None => vec![PathStep::Key("tls"), PathStep::Key(key)],
        Some(item) => vec![PathStep::Key("tls"), PathStep::Key("also"), PathStep::Item(item), PathStep::Key(key)],
    };
    let path = match error.role {
        FileRole::Certificate(at) => pair(at, "certificate"),
        FileRole::PrivateKey(at) => pair(at, "private_key"),
        FileRole::Authorities => vec![PathStep::Key("tls"), PathStep::Key("authorities")],
    };
    Conflict { path, message: error.message }
}
