//! Opens connections: accepts those of peers, and connects to peers.
//!
//! Decides the layers of a connection by its transport. Handshakes belong here: the reader, the writer and the table
//! only get connections that are ready for SIP messages. Must not choose the peer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use location::Flow;
use parser::Transport;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, Connection};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector, server};

use super::client_rules::ClientRules;
use super::directory::{ConnectionPermit, Directory};
use super::handshakes::HandshakePermit;
use super::layer::ByteStream;
use super::limits::HandshakeLimits;
use super::upgrade::{self, NotUpgraded, Pages, Upgraded, upgrade};
use crate::defence::Defence;
use crate::metrics::{self, DriverLimit, HandshakeOutcome, HandshakeProtocol, PeerHandshakeOutcome, Series};
use crate::tls::{ActiveTls, CertificateSummary};
use crate::transport::Inbound;

/// After a failed accept: time until the next attempt, and between log lines.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The names in the certificate of a client that are considered.
const MAX_HOSTS: usize = 16;

/// Accepts the connections of one listener for one worker.
pub(crate) struct Acceptor {
    /// The transport of the listener.
    pub(crate) transport: Transport,
    /// Limits the number of connections.
    pub(crate) directory: Arc<Directory>,
    /// Knows the banned addresses.
    pub(crate) defence: Arc<Defence>,
    /// The limits of handshakes.
    pub(crate) handshakes: HandshakeLimits,
    /// Which clients may open WebSocket connections.
    pub(crate) rules: Arc<ClientRules>,
    /// Answers requests for further pages.
    pub(crate) pages: Pages,
    /// The certificates.
    pub(crate) tls: Arc<ActiveTls>,
    /// The inbox of the worker.
    pub(crate) inbox: mpsc::Sender<Inbound>,
}

impl Acceptor {
    /// Accepts until the worker ends.
    pub(crate) async fn run(self, listener: TcpListener) {
        let acceptor = Arc::new(self);
        let mut last_logged: Option<Instant> = None;
        loop {
            let inbound = match listener.accept().await {
                Ok((_, remote)) if acceptor.defence.is_banned(remote.ip()) => {
                    metrics::count(Series::Banned { transport: acceptor.transport });
                    continue;
                }
                Ok((socket, remote)) => match acceptor.accept(socket, remote) {
                    Some(inbound) => inbound,
                    None => continue,
                },
                Err(error) => {
                    // Most likely file descriptors are exhausted until another connection is closed.
                    if last_logged.is_none_or(|last| last.elapsed() > ACCEPT_LOG_INTERVAL) {
                        last_logged = Some(Instant::now());
                        tracing::error!(%error, "cannot accept connections");
                    }
                    sleep(ACCEPT_RETRY).await;
                    Inbound::LimitReached(DriverLimit::Connections)
                }
            };
            if acceptor.inbox.send(inbound).await.is_err() {
                return;
            }
        }
    }

    /// Counts the connection and adds its layers. A handshake gets a task with a time limit, so that a slow peer delays no
    /// other one.
    fn accept(self: &Arc<Self>, socket: TcpStream, remote: SocketAddr) -> Option<Inbound> {
        let permit = match self.directory.admit(remote.ip()) {
            Ok(permit) => permit,
            Err(limit) => return Some(Inbound::LimitReached(limit)),
        };
        let transport = self.transport;
        if transport == Transport::Tcp {
            // It fails if the peer has gone.
            let stream = ByteStream::plain(socket).ok()?;
            let (received, hosts) = (Bytes::new(), Vec::new());
            return Some(Inbound::Accepted { stream, transport, remote, received, hosts, permit });
        }
        match self.handshakes.count.admit(remote.ip(), self.rules.read().trusts(remote.ip())) {
            Ok(handshake) => {
                tokio::spawn(Arc::clone(self).handshake(socket, remote, permit, handshake));
                None
            }
            Err(limit) => Some(Inbound::LimitReached(limit)),
        }
    }

    /// Runs the handshakes of a connection within the time limit, and passes it to the worker.
    async fn handshake(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        permit: ConnectionPermit,
        handshake: HandshakePermit,
    ) {
        let outcome = timeout(self.handshakes.timeout, self.open(socket, peer, permit)).await;
        drop(handshake);
        let (outcome, inbound) = match outcome {
            Ok(Ok(inbound)) => (HandshakeOutcome::Accepted, Some(inbound)),
            Ok(Err(outcome)) => (outcome, None),
            Err(_) => (HandshakeOutcome::TimedOut, Some(Inbound::LimitReached(DriverLimit::HandshakeTime))),
        };
        metrics::count(Series::Handshake { protocol: self.protocol(), outcome });
        if let Some(inbound) = inbound {
            // It fails if the worker has ended.
            let _ = self.inbox.send(inbound).await;
        }
    }

    /// The protocol whose handshake comes first.
    fn protocol(&self) -> HandshakeProtocol {
        if self.transport.is_secure() { HandshakeProtocol::Tls } else { HandshakeProtocol::Websocket }
    }

    async fn open(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        permit: ConnectionPermit,
    ) -> Result<Inbound, HandshakeOutcome> {
        let transport = self.transport;
        let mut hosts = Vec::new();
        let (stream, received, remote, permit) = match transport {
            Transport::Udp | Transport::Tcp => (ByteStream::plain(socket), Bytes::new(), peer, permit),
            Transport::Tls => {
                let encrypted = self.accept_tls(socket, peer).await?;
                hosts = hosts_of(&encrypted);
                (accepted(encrypted), Bytes::new(), peer, permit)
            }
            Transport::Ws => {
                let Upgraded { io, received, client } = self.upgrade(socket, peer).await?;
                (ByteStream::plain(io), received, client.remote, client.permit.unwrap_or(permit))
            }
            Transport::Wss => {
                let encrypted = self.accept_tls(socket, peer).await?;
                let Upgraded { io, received, client } = self.upgrade(encrypted, peer).await?;
                (accepted(io), received, client.remote, client.permit.unwrap_or(permit))
            }
        };
        let stream = stream.map_err(|_| HandshakeOutcome::Failed)?;
        Ok(Inbound::Accepted { stream, transport, remote, received, hosts, permit })
    }

    async fn accept_tls(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
    ) -> Result<server::TlsStream<TcpStream>, HandshakeOutcome> {
        // The configuration has certificates if there is such a listener.
        let config = self.tls.server().ok_or(HandshakeOutcome::Refused)?;
        TlsAcceptor::from(config).accept(socket).await.map_err(|error| {
            tracing::debug!(%error, %peer, "TLS handshake failed");
            HandshakeOutcome::Failed
        })
    }

    async fn upgrade<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: T,
        peer: SocketAddr,
    ) -> Result<Upgraded<T>, HandshakeOutcome> {
        let handshake = upgrade::Handshake {
            peer,
            rules: &self.rules,
            directory: &self.directory,
            defence: &self.defence,
            pages: &self.pages,
        };
        upgrade(io, &handshake).await.map_err(|end| match end {
            NotUpgraded::Page => HandshakeOutcome::Page,
            NotUpgraded::Refused => HandshakeOutcome::Refused,
            NotUpgraded::Failed => HandshakeOutcome::Failed,
        })
    }
}

/// The hosts that the certificate of a client is for. rustls has verified it; without `tls.client_certificates` there is
/// none.
fn hosts_of(stream: &server::TlsStream<TcpStream>) -> Vec<Arc<str>> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let summary = certificate.and_then(CertificateSummary::of).unwrap_or_default();
    summary.identities().iter().take(MAX_HOSTS).map(|host| Arc::from(&**host)).collect()
}

fn accepted(stream: server::TlsStream<TcpStream>) -> io::Result<ByteStream> {
    let (socket, session) = stream.into_inner();
    ByteStream::tls(socket, Connection::Server(session))
}

/// Opens a connection within the time limit, handshakes included. Its local address is the one of the flow, with an
/// ephemeral port. Over TLS the peer has to prove that it is `host`, or without one that it has the address of the flow.
/// `silence`: after this time without an acknowledgement the connection is closed.
pub(super) async fn connect(
    flow: Flow,
    host: Option<Arc<str>>,
    tls: Arc<ActiveTls>,
    (limit, silence): (Duration, Option<Duration>),
) -> io::Result<ByteStream> {
    let deadline = Instant::now() + limit;
    let socket = timeout_at(deadline, connect_socket(flow.local, flow.remote)).await??;
    SockRef::from(&socket).set_tcp_user_timeout(silence)?;
    if flow.transport != Transport::Tls {
        return ByteStream::plain(socket);
    }
    let config = tls.client().ok_or(io::ErrorKind::Unsupported)?;
    let handshake = TlsConnector::from(config).connect(server_name(host.as_deref(), flow.remote)?, socket);
    let outcome = timeout_at(deadline, handshake).await;
    metrics::count(Series::PeerHandshake {
        outcome: match &outcome {
            Ok(Ok(_)) => PeerHandshakeOutcome::Accepted,
            Ok(Err(error)) => failure_of_peer(error),
            Err(_) => PeerHandshakeOutcome::TimedOut,
        },
    });
    let (socket, session) = outcome??.into_inner();
    ByteStream::tls(socket, Connection::Client(session))
}

/// Why a handshake with a peer failed.
fn failure_of_peer(error: &io::Error) -> PeerHandshakeOutcome {
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) else {
        return PeerHandshakeOutcome::Failed;
    };
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                PeerHandshakeOutcome::Name
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::Revoked => PeerHandshakeOutcome::Expired,
            _ => PeerHandshakeOutcome::Untrusted,
        },
        rustls::Error::AlertReceived(_) => PeerHandshakeOutcome::Refused,
        _ => PeerHandshakeOutcome::Failed,
    }
}

fn server_name(host: Option<&str>, remote: SocketAddr) -> io::Result<ServerName<'static>> {
    let Some(host) = host else { return Ok(ServerName::from(remote.ip())) };
    // RFC 6066 3: without the dot of the DNS root.
    let name = host.strip_suffix('.').unwrap_or(host).to_owned();
    ServerName::try_from(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

async fn connect_socket(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !local.ip().is_unspecified() && local.is_ipv4() == remote.is_ipv4() {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    socket.connect(remote).await
}
