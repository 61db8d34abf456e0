//! The byte layer of a connection: what the reader and the writer use instead of a socket.
//!
//! Decides which bytes of the socket are bytes of SIP: all of them over TCP, the decrypted ones over TLS (`tls`). Must not
//! look for messages in the bytes: see `framing`.
//!
//! No call blocks, so that a worker can write without a task of its own. [`ReadHalf`] and [`WriteHalf`] state what a
//! layer with buffers of its own has to observe.

use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::Connection;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::tls::TlsSession;

/// Size of one read.
pub(super) const READ_CHUNK: usize = 4 << 10;

/// Idle time after which TCP keep-alive probes are sent.
const KEEPALIVE: Duration = Duration::from_secs(120);

/// An open connection after all handshakes.
#[derive(Debug)]
pub(crate) enum ByteStream {
    /// TCP.
    Plain(TcpStream),
    /// TLS.
    Tls(Arc<TlsSession>),
}

/// The read side of a connection.
#[derive(Debug)]
pub(super) enum ReadHalf {
    /// TCP.
    Plain(OwnedReadHalf),
    /// TLS.
    Tls(Arc<TlsSession>),
}

/// The write side of a connection. The stream is shut down on drop.
#[derive(Debug)]
pub(super) enum WriteHalf {
    /// TCP.
    Plain(OwnedWriteHalf),
    /// TLS.
    Tls(TlsWriteHalf),
}

/// The write side of a TLS connection.
#[derive(Debug)]
pub(super) struct TlsWriteHalf(Arc<TlsSession>);

impl Drop for TlsWriteHalf {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl ByteStream {
    /// A TCP connection.
    pub(super) fn plain(socket: TcpStream) -> Self {
        set_options(&socket);
        Self::Plain(socket)
    }

    /// A TLS connection.
    pub(super) fn tls(socket: TcpStream, session: Connection) -> Self {
        set_options(&socket);
        Self::Tls(Arc::new(TlsSession::new(socket, session)))
    }

    /// The address of this side.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(socket) => socket.local_addr(),
            Self::Tls(session) => session.local_addr(),
        }
    }

    /// The two sides.
    pub(super) fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Plain(socket) => {
                let (read_half, write_half) = socket.into_split();
                (ReadHalf::Plain(read_half), WriteHalf::Plain(write_half))
            }
            Self::Tls(session) => (ReadHalf::Tls(Arc::clone(&session)), WriteHalf::Tls(TlsWriteHalf(session))),
        }
    }
}

impl ReadHalf {
    /// Waits until [`ReadHalf::try_read`] can return something. A layer that still holds received bytes, for example
    /// decrypted ones, is readable even if its socket is not.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(half) => half.readable().await,
            Self::Tls(session) => session.readable().await,
        }
    }

    /// Appends received bytes to `buffer`, at most [`READ_CHUNK`], and returns their number; 0: the peer has closed.
    /// `WouldBlock`: there are none.
    pub(super) fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(half) => read_socket(half.as_ref(), buffer),
            Self::Tls(session) => session.try_read(buffer),
        }
    }
}

impl WriteHalf {
    /// Waits until [`WriteHalf::try_write`] can send something.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(half) => half.writable().await,
            Self::Tls(half) => half.0.writable().await,
        }
    }

    /// Hands some of these bytes to the socket, from the first one on, and returns their number. `WouldBlock`: there is
    /// no room, and the next call has to begin with the same bytes. So a layer may encrypt bytes before there is room
    /// for them, and only the caller has a queue.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.try_write(bytes),
            Self::Tls(half) => half.0.try_write(bytes),
        }
    }

    /// Whether the peer has closed its side, even if the event loop has not seen that yet: data sent then would be
    /// lost without an error. Asks the kernel; see also [`WriteHalf::has_received`].
    pub(super) fn is_peer_closed(&self) -> bool {
        match self {
            Self::Plain(half) => is_peer_closed(half.as_ref()),
            Self::Tls(half) => half.0.is_peer_closed(),
        }
    }

    /// Whether this side has taken something from the socket that the reader has to be woken for.
    pub(super) fn has_received(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(half) => half.0.has_received(),
        }
    }
}

fn set_options(socket: &TcpStream) {
    // The connection works without these options too.
    let _ = socket.set_nodelay(true);
    let _ = SockRef::from(socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
}

fn read_socket(socket: &TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    let before = buffer.len();
    buffer.resize(before + READ_CHUNK, 0);
    let outcome = read_some(socket, buffer.get_mut(before..).unwrap_or_default());
    buffer.truncate(before + outcome.as_ref().unwrap_or(&0));
    outcome
}

/// Reads received bytes of a socket; 0: the peer has closed.
pub(super) fn read_some(socket: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let (mut length, most) = (0, room.len());
    let outcome = socket.try_io(Interest::READABLE, || {
        length = (&*SockRef::from(socket)).read(room)?;
        // A short read has emptied the socket: `WouldBlock` clears the readiness and saves a read that would return
        // nothing.
        if (1..most).contains(&length) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    if length > 0 { Ok(length) } else { outcome.map(|()| 0) }
}

fn is_peer_closed(socket: &TcpStream) -> bool {
    let mut octet = [MaybeUninit::uninit()];
    match SockRef::from(socket).peek(&mut octet) {
        Ok(length) => length == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn reads_and_writes_do_not_block() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let local = listener.local_addr().expect("an address");
        let (peer, ours) = tokio::join!(TcpStream::connect(local), listener.accept());
        let (mut peer, stream) = (peer.expect("connected"), ByteStream::plain(ours.expect("accepted").0));
        assert_eq!(stream.local_addr().ok(), Some(local));
        let (read_half, write_half) = stream.into_split();
        let mut buffer = BytesMut::from(&b"one "[..]);
        let none = read_half.try_read(&mut buffer).expect_err("nothing was sent");
        assert_eq!(
            (none.kind(), &buffer[..], write_half.is_peer_closed()),
            (io::ErrorKind::WouldBlock, &b"one "[..], false)
        );
        peer.write_all(b"two").await.expect("sent");
        read_half.readable().await.expect("readable");
        assert_eq!((read_half.try_read(&mut buffer).ok(), &buffer[..]), (Some(3), &b"one two"[..]));
        // The peer does not read, so the buffers of the system become full.
        write_half.writable().await.expect("writable");
        let full = loop {
            match write_half.try_write(&[b'x'; 1 << 16]) {
                Ok(length) => assert!(length > 0),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(peer);
        while !write_half.is_peer_closed() {
            tokio::task::yield_now().await;
        }
    }
}
