//! Checks the certificate of a server that this server connects to (RFC 5922 7.3, RFC 3261 26.3.2.2).
//!
//! Decides whether the peer is the host that was looked up. The chain is verified by webpki up to one of the
//! authorities; the names are compared here, because HTTPS permits wildcards and SIP does not (RFC 5922 7.2).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate::CertificateSummary;

/// Verifies servers.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    /// The authorities that are believed.
    pub(super) authorities: Arc<RootCertStore>,
    /// The algorithms.
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.authorities, intermediates, now, algorithms)?;
        let summary = CertificateSummary::of(certificate).ok_or(CertificateError::BadEncoding)?;
        let is_named = match name {
            ServerName::DnsName(name) => summary.identifies(name.as_ref()),
            ServerName::IpAddress(address) => summary.identifies_address((*address).into()),
            _ => false,
        };
        if is_named { Ok(ServerCertVerified::assertion()) } else { Err(CertificateError::NotValidForName.into()) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
