//! TLS between the socket of a connection and its reader and writer (RFC 3261 26.2.1), after the handshake.
//!
//! Decides when bytes are encrypted and decrypted: within the calls of the reader and the writer. Must not verify anything:
//! see `crate::tls`.

use std::io::{self, IoSlice, Read as _, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use rustls::Connection;

use super::layer::{Received, read_socket};

/// The most plaintext that is encrypted before there is room for it: one record (RFC 8446 5.1).
const MAX_RECORD: usize = 16 << 10;

/// A TLS connection.
#[derive(Debug)]
pub(crate) struct TlsSession {
    socket: TcpStream,
    connection: Connection,
    /// Decrypted bytes that the reader has not taken.
    decrypted: usize,
    /// Bytes that are encrypted and not completely sent. The writer passes them again.
    encrypted: usize,
    /// The last read of the socket may have left something there.
    has_unread: bool,
    /// The peer has closed its side.
    ended: bool,
}

impl TlsSession {
    /// After the handshake.
    pub(super) fn new(socket: TcpStream, mut connection: Connection) -> Self {
        // A peer may send its first message together with the end of its handshake.
        let (decrypted, ended) = match connection.process_new_packets() {
            Ok(received) => (received.plaintext_bytes_to_read(), received.peer_has_closed()),
            Err(_) => (0, true),
        };
        Self { socket, connection, decrypted, encrypted: 0, has_unread: false, ended }
    }

    /// The address of this side.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket, to be waited for.
    pub(super) const fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// As `ByteStream::read`.
    pub(super) fn read(&mut self, room: &mut [u8]) -> io::Result<Received> {
        if self.decrypted == 0 && !self.ended {
            self.receive()?;
        }
        let mut length = 0;
        if self.decrypted > 0 {
            length = self.connection.reader().read(room)?;
            self.decrypted -= length.min(self.decrypted);
        }
        let is_empty = self.decrypted == 0;
        Ok(Received { length, has_more: self.has_unread || !is_empty, has_ended: self.ended && is_empty })
    }

    /// As `ByteStream::write`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        // These were encrypted by the last call and are at the beginning of `bytes`.
        let mut sent = std::mem::take(&mut self.encrypted).min(bytes.len());
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let record = rest.get(..MAX_RECORD).unwrap_or(rest);
            let length = self.connection.writer().write(record)?;
            match self.flush() {
                Ok(()) => sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.encrypted = length;
                    return if sent > 0 { Ok(sent) } else { Err(error) };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Tells the peer that nothing more is sent (RFC 8446 6.1).
    pub(super) fn close(&mut self) {
        self.connection.send_close_notify();
        // A peer that accepts no data does not get the alert.
        let _ = self.flush();
    }

    /// Reads the socket once and decrypts.
    fn receive(&mut self) -> io::Result<()> {
        self.has_unread = false;
        let mut source = Socket { socket: &self.socket, received: Received::default() };
        match self.connection.read_tls(&mut source) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            outcome => drop(outcome?),
        }
        let has_ended = source.received.has_ended;
        self.has_unread = source.received.has_more;
        let outcome = self.connection.process_new_packets();
        // Alerts and answers to key updates. If there is no room, the next write sends them.
        let _ = self.flush();
        let received = outcome.map_err(|error| {
            self.ended = true;
            io::Error::new(io::ErrorKind::InvalidData, error)
        })?;
        self.decrypted = received.plaintext_bytes_to_read();
        // RFC 8446 6.1: an end without an alert may be the work of an attacker. A message that it cuts is incomplete and
        // not passed on, so both ends mean the same here.
        self.ended |= has_ended || received.peer_has_closed();
        Ok(())
    }

    /// Sends all that is encrypted. `WouldBlock`: there is no room for the rest.
    fn flush(&mut self) -> io::Result<()> {
        let mut socket = Socket { socket: &self.socket, received: Received::default() };
        while self.connection.wants_write() {
            self.connection.write_tls(&mut socket)?;
        }
        Ok(())
    }
}

/// The socket as rustls uses it.
struct Socket<'s> {
    socket: &'s TcpStream,
    /// The outcome of the last read.
    received: Received,
}

impl io::Read for Socket<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.received = read_socket(self.socket, room)?;
        match self.received {
            Received { length: 0, has_ended: false, .. } => Err(io::ErrorKind::WouldBlock.into()),
            Received { length, .. } => Ok(length),
        }
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            // Most messages are one record. The kernel needs less time for send(2) than for writev(2).
            [only] => self.socket.write(only),
            _ => self.socket.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::crypto::ring;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;
    use tokio::time::timeout;
    use tokio_rustls::{TlsAcceptor, TlsConnector, client};

    use super::super::layer::{ByteStream, READ_CHUNK};
    use super::*;

    /// This side, and the other side.
    async fn pair() -> (ByteStream, client::TlsStream<TcpStream>) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["a.example".to_owned()]).expect("a pair");
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).expect("an authority");
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let server = server.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let key = signing_key.serialize_der().try_into().expect("a key");
        let server = server.with_single_cert(vec![cert.der().clone()], key).expect("a certificate");
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = client.expect("versions").with_root_certificates(roots).with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (ours, theirs) = tokio::join!(
            async {
                let (socket, _) = listener.accept().await.expect("accepted");
                TlsAcceptor::from(Arc::new(server)).accept(socket).await.expect("a handshake")
            },
            async {
                let socket = TcpStream::connect(address).await.expect("connected");
                let name = ServerName::try_from("a.example").expect("a name");
                TlsConnector::from(Arc::new(client)).connect(name, socket).await.expect("a handshake")
            },
        );
        let (socket, session) = ours.into_inner();
        let ours = ByteStream::tls(socket, Connection::Server(session)).expect("a socket");
        (ours, theirs)
    }

    /// Reads until something has come: the bytes, and whether the peer has closed.
    async fn read(stream: &mut ByteStream) -> io::Result<(Vec<u8>, bool)> {
        timeout(Duration::from_secs(5), async {
            let mut room = vec![0; READ_CHUNK];
            loop {
                let Received { length, has_ended, .. } = stream.read(&mut room)?;
                if length > 0 || has_ended {
                    return Ok((room[..length].to_vec(), has_ended));
                }
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("something to read")
    }

    #[tokio::test]
    async fn single_bytes_pass_in_both_directions() {
        let (mut stream, mut peer) = pair().await;
        assert_eq!(stream.read(&mut [0; READ_CHUNK]).ok(), Some(Received::default()));
        for octet in 0..200 {
            peer.write_all(&[octet]).await.expect("sent");
            peer.flush().await.expect("sent");
            assert_eq!(read(&mut stream).await.ok(), Some((vec![octet], false)));
            assert_eq!(stream.write(&[octet]).ok(), Some(1));
            assert_eq!(peer.read_u8().await.ok(), Some(octet));
        }
    }

    #[tokio::test]
    async fn a_long_message_is_read_in_bounded_chunks() {
        let (mut stream, mut peer) = pair().await;
        // Two records, which are in the socket then.
        let sent: Vec<u8> = (0..30_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        peer.write_all(&sent).await.expect("sent");
        peer.flush().await.expect("sent");
        // The socket reports nothing more, so each read has to say whether there is more.
        let (mut received, mut has_more, mut room) = (Vec::new(), true, [0; READ_CHUNK]);
        while has_more {
            let next = stream.read(&mut room).expect("read");
            received.extend_from_slice(&room[..next.length]);
            has_more = next.has_more;
        }
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_blocks_and_loses_nothing() {
        let (mut stream, mut peer) = pair().await;
        let sent: Vec<u8> = (0..8_000_000_u32).map(|at| (at >> 8).to_le_bytes()[0]).collect();
        let mut written = 0;
        let full = loop {
            match stream.write(&sent[written..]) {
                Ok(length) => written += length,
                Err(error) => break error,
            }
        };
        assert_eq!((full.kind(), written < sent.len()), (io::ErrorKind::WouldBlock, true));
        let reading = tokio::spawn(async move {
            let mut received = vec![0; 8_000_000];
            peer.read_exact(&mut received).await.expect("received");
            received
        });
        while written < sent.len() {
            match stream.write(&sent[written..]) {
                Ok(length) => written += length,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            tokio::task::yield_now().await;
        }
        assert!(reading.await.expect("read") == sent);
    }

    #[tokio::test]
    async fn both_sides_learn_that_the_other_one_has_closed() {
        let (mut stream, mut peer) = pair().await;
        assert_eq!(stream.write(b"last").ok(), Some(4));
        drop(stream);
        let mut received = Vec::new();
        // It is an error without the alert that precedes the end.
        assert_eq!(peer.read_to_end(&mut received).await.ok(), Some(4));

        let (mut stream, mut peer) = pair().await;
        peer.write_all(b"last").await.expect("sent");
        peer.shutdown().await.expect("closed");
        let (octets, ended) = read(&mut stream).await.expect("read");
        assert_eq!(octets, b"last");
        assert!(ended || read(&mut stream).await.ok() == Some((Vec::new(), true)));
        // RFC 8446 6.1: this side may still send.
        assert_eq!(stream.write(b"more").ok(), Some(4));
    }

    #[tokio::test]
    async fn garbage_after_the_handshake_is_an_error() {
        let (mut stream, peer) = pair().await;
        let (mut socket, _) = peer.into_inner();
        socket.write_all(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n").await.expect("sent");
        let error = read(&mut stream).await.expect_err("no record");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(&mut stream).await.ok(), Some((Vec::new(), true)));
    }
}
