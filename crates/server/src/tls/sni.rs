//! The certificate for a client: the first one with the server name that the client sends (RFC 6066 3).
//!
//! Decides nothing about the client. A client that sends no name, or a name that no certificate has, gets the first
//! certificate: many phones connect by address.

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::CertificateSummary;

/// The certificates of the server, the default one first.
#[derive(Debug)]
pub(super) struct Certificates(pub(super) Vec<(CertificateSummary, Arc<CertifiedKey>)>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.0.iter().find(|(summary, _)| summary.serves(name)));
        named.or_else(|| self.0.first()).map(|(_, key)| Arc::clone(key))
    }
}
