//! TLS (RFC 3261 26.2, RFC 5922): certificates of this server, and how peers prove their names.
//!
//! `files` reads and checks the certificates, `certificate` what one contains, `sni` chooses one for a client, `verify`
//! checks the peers of our own connections, `active` holds the certificates in force. Must not know sockets: see
//! `transport::stream`. This file only lists the modules.

mod active;
mod certificate;
mod files;
mod sni;
mod verify;

pub(crate) use active::{ActiveTls, Renewal};
pub(crate) use certificate::{CertificateSummary, Validity};
pub(crate) use files::{ClientCertificates, FileError, FileRole, Material, TlsFiles};
