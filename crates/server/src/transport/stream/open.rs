//! Opens connections: accepts those of peers, and connects to peers.
//!
//! Decides the layers of a connection by its transport. Handshakes belong here: the reader, the writer and the table
//! only get connections that are ready for SIP messages. Must not choose the peer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use location::Flow;
use parser::Transport;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::directory::Directory;
use super::layer::ByteStream;
use crate::defence::Defence;
use crate::metrics::{self, DriverLimit, Series};
use crate::transport::Inbound;

/// After a failed accept: time until the next attempt, and between log lines.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Accepts the connections of one listener for one worker.
pub(crate) struct Acceptor {
    /// The transport of the listener.
    pub(crate) transport: Transport,
    /// Limits the number of connections.
    pub(crate) directory: Arc<Directory>,
    /// Knows the banned addresses.
    pub(crate) defence: Arc<Defence>,
    /// The inbox of the worker.
    pub(crate) inbox: mpsc::Sender<Inbound>,
}

impl Acceptor {
    /// Accepts until the worker ends.
    pub(crate) async fn run(self, listener: TcpListener) {
        let mut last_logged: Option<Instant> = None;
        loop {
            let inbound = match listener.accept().await {
                Ok((_, remote)) if self.defence.is_banned(remote.ip()) => {
                    metrics::count(Series::Banned { transport: Transport::Tcp });
                    continue;
                }
                Ok((socket, remote)) => self.accept(socket, remote),
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
            if self.inbox.send(inbound).await.is_err() {
                return;
            }
        }
    }

    /// Counts the connection and adds its layers. A layer with a handshake needs a task with a time limit for it, so
    /// that a slow peer delays no other one; the permit is taken before, so that handshakes are limited too.
    fn accept(&self, socket: TcpStream, remote: SocketAddr) -> Inbound {
        match self.directory.admit(remote.ip()) {
            Ok(permit) => {
                let stream = ByteStream::plain(socket);
                Inbound::Accepted { stream, transport: self.transport, remote, permit }
            }
            Err(limit) => Inbound::LimitReached(limit),
        }
    }
}

/// Opens a connection within the time limit, handshakes included. Its local address is the one of the flow, with an
/// ephemeral port.
pub(super) async fn connect(flow: Flow, limit: Duration) -> io::Result<ByteStream> {
    let opened = async { Ok(ByteStream::plain(connect_socket(flow.local, flow.remote).await?)) };
    timeout(limit, opened).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn connect_socket(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !local.ip().is_unspecified() && local.is_ipv4() == remote.is_ipv4() {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    socket.connect(remote).await
}
