//! The byte layer of a connection: what the reader and the writer use instead of a socket.
//!
//! Decides which bytes of the socket are bytes of SIP: all of them over TCP, the decrypted ones over TLS (`tls`). Must not
//! look for messages in the bytes: see `framing`. No call blocks.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use rustls::Connection;
use socket2::{SockRef, TcpKeepalive};

use super::tls::TlsSession;

/// Size of one read.
pub(super) const READ_CHUNK: usize = 4 << 10;

/// Idle time after which TCP keep-alive probes are sent.
const KEEPALIVE: Duration = Duration::from_secs(120);

/// An open connection after all handshakes. It is shut down on drop.
#[derive(Debug)]
pub(crate) enum ByteStream {
    /// TCP.
    Plain(TcpStream),
    /// TLS. In a box, because a session is large.
    Tls(Box<TlsSession>),
}

/// The outcome of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// The number of bytes.
    pub(super) length: usize,
    /// Whether another read may find more. Otherwise nothing is left, so that no read is needed to find that out.
    pub(super) has_more: bool,
    /// Whether the peer has closed its side.
    pub(super) has_ended: bool,
}

impl Drop for ByteStream {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl ByteStream {
    /// A TCP connection.
    pub(super) fn plain(socket: tokio::net::TcpStream) -> io::Result<Self> {
        Ok(Self::Plain(configured(socket)?))
    }

    /// A TLS connection after its handshake.
    pub(super) fn tls(socket: tokio::net::TcpStream, session: Connection) -> io::Result<Self> {
        Ok(Self::Tls(Box::new(TlsSession::new(configured(socket)?, session))))
    }

    /// The address of this side.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(socket) => socket.local_addr(),
            Self::Tls(session) => session.local_addr(),
        }
    }

    /// The socket, to be waited for.
    pub(super) const fn socket_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(session) => session.socket_mut(),
        }
    }

    /// Reads into `room`, whose length is [`READ_CHUNK`]. The socket is read at most once, so that no peer keeps the worker.
    pub(super) fn read(&mut self, room: &mut [u8]) -> io::Result<Received> {
        match self {
            Self::Plain(socket) => read_socket(socket, room),
            Self::Tls(session) => session.read(room),
        }
    }

    /// Hands some of these bytes to the socket, from the first one on, and returns their number. `WouldBlock`: there is
    /// no room, and the next call has to begin with the same bytes. So a layer may encrypt bytes before there is room
    /// for them, and only the caller has a queue.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(session) => session.write(bytes),
        }
    }

    /// Tells the peer that nothing more is sent.
    pub(super) fn shut_down(&mut self) {
        if let Self::Tls(session) = self {
            session.close();
        }
        // It fails if the peer has reset the connection.
        let _ = self.socket_mut().shutdown(Shutdown::Write);
    }
}

/// The event loop of the runtime does not wait for the socket any more: see `readiness`.
fn configured(socket: tokio::net::TcpStream) -> io::Result<TcpStream> {
    // The connection works without these options too.
    let _ = socket.set_nodelay(true);
    let _ = SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    Ok(TcpStream::from_std(socket.into_std()?))
}

/// Reads a socket once.
pub(super) fn read_socket(mut socket: &TcpStream, room: &mut [u8]) -> io::Result<Received> {
    match socket.read(room) {
        Ok(length) => Ok(Received { length, has_more: length == room.len(), has_ended: length == 0 }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::default()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// The peer's end of a connection, and this end.
    pub(in crate::transport::stream) async fn pair() -> (tokio::net::TcpStream, ByteStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let local = listener.local_addr().expect("an address");
        let (peer, ours) = tokio::join!(tokio::net::TcpStream::connect(local), listener.accept());
        let ours = ByteStream::plain(ours.expect("accepted").0).expect("a socket");
        assert_eq!(ours.local_addr().ok(), Some(local));
        (peer.expect("connected"), ours)
    }

    #[tokio::test]
    async fn reads_and_writes_do_not_block() {
        let (mut peer, mut stream) = pair().await;
        let mut room = [0; READ_CHUNK];
        assert_eq!(stream.read(&mut room).ok(), Some(Received::default()));
        peer.write_all(b"two").await.expect("sent");
        let received = stream.read(&mut room).expect("over loopback it is there at once");
        assert_eq!((received, &room[..3]), (Received { length: 3, ..Received::default() }, &b"two"[..]));
        peer.write_all(&[b'x'; READ_CHUNK]).await.expect("sent");
        let full = Received { length: READ_CHUNK, has_more: true, has_ended: false };
        assert_eq!(stream.read(&mut room).ok(), Some(full));
        // The peer does not read, so the buffers of the system become full.
        let full = loop {
            match stream.write(&[b'x'; 1 << 16]) {
                Ok(length) => assert!(length > 0),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        peer.shutdown().await.expect("closed");
        assert_eq!(stream.read(&mut room).ok(), Some(Received { has_ended: true, ..Received::default() }));
    }
}
