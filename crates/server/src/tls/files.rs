//! Reads certificates, private keys and authorities, and builds the configurations of rustls from them.
//!
//! Decides whether the files can be used. An expired certificate can: phones that do not check it still connect, and the
//! caller warns. Must not log.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, ServerConfig};

use super::certificate::CertificateSummary;
use super::sni::Certificates;
use super::verify::PeerVerifier;

/// The files that `tls` of the configuration names, and how they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// Certificate chain and private key of each name, the default first.
    pub(crate) pairs: Vec<(PathBuf, PathBuf)>,
    /// The authorities that peers are verified with; `None`: those of the system.
    pub(crate) authorities: Option<PathBuf>,
    /// Whether clients need a certificate.
    pub(crate) client_certificates: ClientCertificates,
}

/// Whether clients need a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientCertificates {
    /// They are not asked for one.
    Off,
    /// One that they have must be valid.
    Request,
    /// They need a valid one.
    Require,
}

/// Why files cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct FileError {
    /// Which file.
    pub(crate) role: FileRole,
    /// What is wrong with it.
    pub(crate) message: String,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileRole {
    /// The certificate of this pair.
    Certificate(usize),
    /// The private key of this pair.
    PrivateKey(usize),
    /// The authorities.
    Authorities,
}

/// Certificates and authorities that can be used.
#[derive(Clone, Debug)]
pub(crate) struct Material {
    /// For accepted connections.
    pub(super) server: Arc<ServerConfig>,
    /// For connections to peers.
    pub(super) client: Arc<ClientConfig>,
    /// File and content of each certificate, the default first.
    pub(crate) certificates: Vec<(PathBuf, CertificateSummary)>,
    /// The number of authorities.
    pub(crate) authority_count: usize,
}

impl Material {
    /// Reads the files.
    pub(crate) fn read(files: &TlsFiles) -> Result<Self, FileError> {
        let provider = Arc::new(ring::default_provider());
        let authorities = Arc::new(authorities(files)?);
        let (mut keys, mut certificates) = (Vec::new(), Vec::new());
        for (at, (certificate, private_key)) in files.pairs.iter().enumerate() {
            let (summary, key) = certified_key(at, certificate, private_key, &provider)?;
            certificates.push((certificate.clone(), summary.clone()));
            keys.push((summary, Arc::new(key)));
        }
        let failed = |role, error: rustls::Error| FileError { role, message: error.to_string() };
        let own = keys.first().map(|(_, key)| Arc::clone(key));
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let mut server = server
            .map_err(|error| failed(FileRole::Certificate(0), error))?
            .with_client_cert_verifier(client_verifier(files, &authorities, &provider)?)
            .with_cert_resolver(Arc::new(Certificates(keys)));
        // One ticket resumes a session as well as two.
        server.send_tls13_tickets = 1;
        let verifier = PeerVerifier { authorities: Arc::clone(&authorities), provider: Arc::clone(&provider) };
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = client
            .map_err(|error| failed(FileRole::Authorities, error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        // RFC 3261 26.3.1: a peer that asks for it gets our certificate.
        let client = match own {
            Some(own) => client.with_client_cert_resolver(Arc::new(OwnCertificate(own))),
            None => client.with_no_client_auth(),
        };
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
            certificates,
            authority_count: authorities.len(),
        })
    }
}

/// Sends the certificate of the server to peers that ask for one.
#[derive(Debug)]
struct OwnCertificate(Arc<CertifiedKey>);

impl rustls::client::ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn read_file(path: &Path, role: FileRole) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|error| FileError { role, message: format!("{} cannot be read: {error}", path.display()) })
}

fn certified_key(
    at: usize,
    certificate: &Path,
    private_key: &Path,
    provider: &CryptoProvider,
) -> Result<(CertificateSummary, CertifiedKey), FileError> {
    let role = FileRole::Certificate(at);
    let of_certificate = |what: &str| FileError { role, message: format!("{}: {what}", certificate.display()) };
    let chain = certificates_in(&read_file(certificate, role)?)
        .ok_or_else(|| of_certificate("expected certificates in PEM, the server's own one first"))?;
    let summary = chain.first().and_then(CertificateSummary::of);
    let summary = summary.ok_or_else(|| of_certificate("this is not an X.509 certificate"))?;
    let role = FileRole::PrivateKey(at);
    let of_key = |what: &str| FileError { role, message: format!("{}: {what}", private_key.display()) };
    let key = PrivateKeyDer::from_pem_slice(&read_file(private_key, role)?);
    let key = key.map_err(|_| of_key("expected a private key in PEM, without a passphrase"))?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| of_key("expected a private key of RSA, ECDSA (P-256, P-384) or Ed25519"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok((summary, certified)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(of_key(&format!("this is not the key of the certificate in {}", certificate.display())))
        }
        Err(error) => Err(of_certificate(&error.to_string())),
    }
}

/// The certificates of a PEM file; `None` if there are none, or if one cannot be decoded.
fn certificates_in(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates.ok().filter(|certificates| !certificates.is_empty())
}

fn authorities(files: &TlsFiles) -> Result<RootCertStore, FileError> {
    let mut store = RootCertStore::empty();
    match &files.authorities {
        None => {
            // Certificates that webpki cannot use are of no use for peers.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let role = FileRole::Authorities;
            let fail = |what: String| FileError { role, message: format!("{}: {what}", path.display()) };
            let listed = certificates_in(&read_file(path, role)?)
                .ok_or_else(|| fail("expected certificates of authorities in PEM".to_owned()))?;
            for certificate in listed {
                store.add(certificate).map_err(|error| fail(error.to_string()))?;
            }
        }
    }
    Ok(store)
}

fn client_verifier(
    files: &TlsFiles,
    authorities: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
    if files.client_certificates == ClientCertificates::Off {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(authorities), Arc::clone(provider));
    if files.client_certificates == ClientCertificates::Request {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|_| FileError {
        role: FileRole::Authorities,
        message: "there is no authority that could have signed a client certificate".to_owned(),
    })
}
