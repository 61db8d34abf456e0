//! TLS of phones and peers, by rustls: an authority of the test's own, certificates, connections. RFC 5922.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::PATIENCE;

/// The name that phones connect to unless a test says otherwise.
pub(crate) const NAME: &str = "office.example";

/// A certificate authority, with a folder for the files.
#[derive(Debug)]
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) private_key: PathBuf,
}

/// How a certificate differs from the usual one.
pub(crate) type Change = fn(&mut CertificateParams);

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("frontdesk-tls-").expect("a temporary folder");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(folder.path().join("authority.pem"), certificate.pem()).expect("a file");
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// The file of its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Issues a certificate for host names, addresses and `sip:` URIs, in files of this name.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> Pair {
        self.issue_with(file, names, |_| {})
    }

    /// The same with a change.
    pub(crate) fn issue_with(&self, file: &str, names: &[&str], change: Change) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.subject_alt_names = names.iter().map(|name| alternative_name(name)).collect();
        params.distinguished_name.push(DnType::CommonName, NAME);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let pair = Pair {
            certificate: self.folder.path().join(format!("{file}.pem")),
            private_key: self.folder.path().join(format!("{file}.key")),
        };
        fs::write(&pair.certificate, certificate.pem()).expect("a file");
        fs::write(&pair.private_key, key.serialize_pem()).expect("a file");
        pair
    }

    /// The section `tls` with this certificate, and further keys.
    pub(crate) fn config(&self, pair: &Pair, keys: &str) -> String {
        let Pair { certificate, private_key } = pair;
        format!(
            "tls: {{ certificate: {}, private_key: {}, authorities: {}{keys} }}\n",
            certificate.display(),
            private_key.display(),
            self.file().display()
        )
    }

    /// A phone that trusts this authority, with a certificate of its own or without.
    pub(crate) fn client(&self, own: Option<&Pair>) -> Arc<ClientConfig> {
        client_of(&self.file(), own)
    }
}

/// A phone that trusts the authority in this file, with a certificate of its own or without.
pub(crate) fn client_of(authority: &Path, own: Option<&Pair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("a certificate")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = builder.with_root_certificates(roots);
    Arc::new(match own {
        Some(pair) => {
            let (chain, key) = pair.read();
            builder.with_client_auth_cert(chain, key).expect("a certificate")
        }
        None => builder.with_no_client_auth(),
    })
}

impl Pair {
    fn read(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_file_iter(&self.certificate).expect("a file");
        let key = PrivateKeyDer::from_pem_file(&self.private_key).expect("a key");
        (chain.collect::<Result<_, _>>().expect("certificates"), key)
    }

    /// A peer that the server connects to, with this certificate.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let (chain, key) = self.read();
        Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).expect("a certificate"))
    }
}

/// The first message of a client's handshake, as octets.
pub(crate) fn client_hello(authority: &Authority) -> Vec<u8> {
    let name = ServerName::try_from(NAME).expect("a name");
    let mut connection = ClientConnection::new(authority.client(None), name).expect("a connection");
    let mut octets = Vec::new();
    connection.write_tls(&mut octets).expect("memory");
    octets
}

fn alternative_name(name: &str) -> SanType {
    match (name.parse::<IpAddr>(), name.contains(':')) {
        (Ok(ip), _) => SanType::IpAddress(ip),
        (Err(_), true) => SanType::URI(name.try_into().expect("a URI")),
        (Err(_), false) => SanType::DnsName(name.try_into().expect("a host name")),
    }
}

/// An open TLS connection.
#[derive(Debug)]
pub(crate) struct Socket {
    connection: Connection,
    stream: TcpStream,
    closed: bool,
}

impl Socket {
    /// Connects to a server as this host, and completes the handshake.
    pub(crate) fn connect(server: SocketAddr, name: &str, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        Self::open(stream, ClientConnection::new(config, name).expect("a connection").into())
    }

    /// Completes the handshake of a connection that the server has opened.
    pub(crate) fn accept(stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<Self> {
        Self::open(stream, ServerConnection::new(config).expect("a connection").into())
    }

    fn open(mut stream: TcpStream, mut connection: Connection) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self { connection, stream, closed: false })
    }

    /// The connection for a library that reads and writes itself.
    pub(crate) fn into_client(self) -> StreamOwned<ClientConnection, TcpStream> {
        let Connection::Client(connection) = self.connection else { panic!("the server opened it") };
        StreamOwned::new(connection, self.stream)
    }

    /// This side's address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket")
    }

    /// The certificate of the other side.
    pub(crate) fn peer_certificate(&self) -> Vec<u8> {
        self.connection.peer_certificates().expect("certificates")[0].to_vec()
    }

    /// Sends octets.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        for record in bytes.chunks(1 << 14) {
            self.connection.writer().write_all(record).expect("room");
            while self.connection.wants_write() {
                self.connection.write_tls(&mut self.stream).expect("a connection takes it");
            }
        }
    }

    /// Sends the alert that ends the connection, and keeps the socket.
    pub(crate) fn close(&mut self) {
        self.connection.send_close_notify();
        self.connection.complete_io(&mut self.stream).expect("an alert");
    }

    /// Reads on; false at the end of the connection.
    pub(crate) fn more(&mut self, unread: &mut Vec<u8>, left: Duration) -> bool {
        let mut buffer = [0; 16_384];
        self.stream.set_read_timeout(Some(left)).expect("a timeout");
        let waits = |error: &std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        match self.connection.reader().read(&mut buffer) {
            Ok(length) => {
                self.closed |= length == 0;
                unread.extend_from_slice(&buffer[..length]);
                return !self.closed;
            }
            Err(error) if waits(&error) => {}
            Err(_) => self.closed = true,
        }
        match self.connection.read_tls(&mut self.stream) {
            Ok(_) => self.closed |= self.connection.process_new_packets().is_err(),
            Err(error) => self.closed |= !waits(&error),
        }
        !self.closed
    }

    /// Whether the other side has closed it.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }
}
