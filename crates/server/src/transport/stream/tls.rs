//! TLS between the socket of a connection and its reader and writer (RFC 3261 26.2.1), after the handshake.
//!
//! Decides when bytes are encrypted and decrypted: within the calls of the reader and the writer, which share the
//! session, so that neither needs a task for it. Must not verify anything: see `crate::tls`.

use std::io::{self, IoSlice, Read as _, Write};
use std::net::SocketAddr;

use bytes::BytesMut;
use parking_lot::Mutex;
use rustls::Connection;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::layer::{READ_CHUNK, read_some};

/// The most plaintext that is encrypted before there is room for it: one record (RFC 8446 5.1).
const MAX_RECORD: usize = 16 << 10;

/// A TLS connection, used by its reader and its writer.
#[derive(Debug)]
pub(crate) struct TlsSession {
    socket: TcpStream,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    /// Decrypted bytes that the reader has not taken.
    decrypted: usize,
    /// Bytes that are encrypted and not completely sent. The writer passes them again.
    encrypted: usize,
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
        let state = Mutex::new(State { connection, decrypted, encrypted: 0, ended });
        Self { socket, state }
    }

    /// The address of this side.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// As `ReadHalf::readable`.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if self.has_received() { Ok(()) } else { self.socket.readable().await }
    }

    /// As `ReadHalf::try_read`. It reads the socket at most once, so that a peer that sends empty records does not keep
    /// the worker.
    pub(super) fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut state = self.state.lock();
        if !state.has_received() {
            state.receive(&mut Socket(&self.socket), &self.socket)?;
        }
        match state.decrypted.min(READ_CHUNK) {
            0 if state.ended => Ok(0),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            length => state.take(length, buffer),
        }
    }

    /// As `WriteHalf::writable`.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// As `WriteHalf::try_write`.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        state.flush(&self.socket)?;
        // These were encrypted by the last call and are at the beginning of `bytes`.
        let mut sent = std::mem::take(&mut state.encrypted).min(bytes.len());
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let record = rest.get(..MAX_RECORD).unwrap_or(rest);
            let length = state.connection.writer().write(record)?;
            match state.flush(&self.socket) {
                Ok(()) => sent += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.encrypted = length;
                    return if sent > 0 { Ok(sent) } else { Err(error) };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// As `WriteHalf::is_peer_closed`: decrypts what the kernel has, since a peer that closes sends an alert first.
    pub(super) fn is_peer_closed(&self) -> bool {
        let mut state = self.state.lock();
        if !state.has_received() {
            let outcome = state.receive(&mut &*SockRef::from(&self.socket), &self.socket);
            state.ended |= outcome.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock);
        }
        state.ended
    }

    /// Whether the reader can take something that is not in the socket any more. If the reader already waits, it has to
    /// be woken.
    pub(super) fn has_received(&self) -> bool {
        self.state.lock().has_received()
    }

    /// Tells the peer that nothing more is sent (RFC 8446 6.1), and shuts down the write side.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.connection.send_close_notify();
        // A peer that accepts no data does not get the alert.
        let _ = state.flush(&self.socket);
        let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Write);
    }
}

impl State {
    const fn has_received(&self) -> bool {
        self.decrypted > 0 || self.ended
    }

    /// Reads from `source` once and decrypts.
    fn receive(&mut self, source: &mut dyn io::Read, socket: &TcpStream) -> io::Result<()> {
        let length = self.connection.read_tls(source)?;
        let outcome = self.connection.process_new_packets();
        // Alerts and answers to key updates. If there is no room, the next write sends them.
        let _ = self.flush(socket);
        let received = outcome.map_err(|error| {
            self.ended = true;
            io::Error::new(io::ErrorKind::InvalidData, error)
        })?;
        self.decrypted = received.plaintext_bytes_to_read();
        // RFC 8446 6.1: an end without an alert may be the work of an attacker. A message that it cuts is incomplete and
        // not passed on, so both ends mean the same here.
        self.ended |= length == 0 || received.peer_has_closed();
        Ok(())
    }

    fn take(&mut self, length: usize, buffer: &mut BytesMut) -> io::Result<usize> {
        let before = buffer.len();
        buffer.resize(before + length, 0);
        let outcome = self.connection.reader().read(buffer.get_mut(before..).unwrap_or_default());
        let taken = *outcome.as_ref().unwrap_or(&0);
        buffer.truncate(before + taken);
        self.decrypted -= taken.min(self.decrypted);
        outcome
    }

    /// Sends all that is encrypted. `WouldBlock`: there is no room for the rest.
    fn flush(&mut self, socket: &TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut Socket(socket))?;
        }
        Ok(())
    }
}

/// The socket as rustls uses it.
struct Socket<'s>(&'s TcpStream);

impl io::Read for Socket<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        read_some(self.0, room)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            // Most messages are one record. The kernel needs less time for send(2) than for writev(2).
            [only] => self.0.try_write(only),
            _ => self.0.try_write_vectored(slices),
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

    use location::{ConnectionId, Flow};
    use parser::Transport;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::crypto::ring;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio::time::timeout;
    use tokio_rustls::{TlsAcceptor, TlsConnector, client};

    use super::super::framing::framing;
    use super::super::layer::{ByteStream, ReadHalf, WriteHalf};
    use super::super::limits::StreamLimits;
    use super::super::writer::ConnectionWriter;
    use super::*;
    use crate::config::Limits;

    /// The two halves of this side, and the other side.
    async fn pair() -> (ReadHalf, WriteHalf, client::TlsStream<TcpStream>) {
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
        let (read_half, write_half) = ByteStream::tls(socket, Connection::Server(session)).into_split();
        (read_half, write_half, theirs)
    }

    async fn read(half: &ReadHalf, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            timeout(Duration::from_secs(5), half.readable()).await.expect("something to read")?;
            match half.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }

    #[tokio::test]
    async fn single_bytes_pass_in_both_directions() {
        let (read_half, write_half, mut peer) = pair().await;
        let mut buffer = BytesMut::from(&b"x"[..]);
        let none = read_half.try_read(&mut buffer).expect_err("nothing was sent");
        assert_eq!((none.kind(), &buffer[..]), (io::ErrorKind::WouldBlock, &b"x"[..]));
        for octet in 0..200 {
            peer.write_all(&[octet]).await.expect("sent");
            peer.flush().await.expect("sent");
            buffer.clear();
            assert_eq!((read(&read_half, &mut buffer).await.ok(), &buffer[..]), (Some(1), &[octet][..]));
            assert_eq!(write_half.try_write(&[octet]).ok(), Some(1));
            assert_eq!(peer.read_u8().await.ok(), Some(octet));
        }
    }

    #[tokio::test]
    async fn a_long_message_is_read_in_bounded_chunks() {
        let (read_half, _write_half, mut peer) = pair().await;
        let sent: Vec<u8> = (0..60_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let copy = sent.clone();
        tokio::spawn(async move {
            peer.write_all(&copy).await.expect("sent");
            peer.flush().await.expect("sent");
            std::future::pending::<()>().await;
        });
        let mut buffer = BytesMut::new();
        while buffer.len() < sent.len() {
            let length = read(&read_half, &mut buffer).await.expect("read");
            assert!((1..=READ_CHUNK).contains(&length));
        }
        assert_eq!(buffer, sent);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_blocks_and_loses_nothing() {
        let (_read_half, write_half, mut peer) = pair().await;
        let sent: Vec<u8> = (0..8_000_000_u32).map(|at| (at >> 8).to_le_bytes()[0]).collect();
        let mut written = 0;
        let full = loop {
            match write_half.try_write(&sent[written..]) {
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
            write_half.writable().await.expect("writable");
            match write_half.try_write(&sent[written..]) {
                Ok(length) => written += length,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert!(reading.await.expect("read") == sent);
    }

    #[tokio::test]
    async fn both_sides_learn_that_the_other_one_has_closed() {
        let (read_half, write_half, mut peer) = pair().await;
        assert!(!write_half.is_peer_closed());
        assert_eq!(write_half.try_write(b"last").ok(), Some(4));
        drop(write_half);
        let mut received = Vec::new();
        // It is an error without the alert that precedes the end.
        assert_eq!(peer.read_to_end(&mut received).await.ok(), Some(4));
        drop(read_half);

        let (read_half, write_half, mut peer) = pair().await;
        peer.write_all(b"last").await.expect("sent");
        peer.shutdown().await.expect("closed");
        let mut buffer = BytesMut::new();
        assert_eq!((read(&read_half, &mut buffer).await.ok(), &buffer[..]), (Some(4), &b"last"[..]));
        while !write_half.is_peer_closed() {
            tokio::task::yield_now().await;
        }
        assert_eq!(read(&read_half, &mut buffer).await.ok(), Some(0));
        // RFC 8446 6.1: this side may still send.
        assert_eq!(write_half.try_write(b"more").ok(), Some(4));
    }

    #[tokio::test]
    async fn what_the_writer_finds_wakes_the_reader() {
        let (read_half, write_half, mut peer) = pair().await;
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let (transport, id) = (Transport::Tls, ConnectionId::FIRST.into());
        let flow = Flow { transport, remote: unknown, local: unknown, id };
        let limits = StreamLimits::of(&Limits::default(), None);
        let (inbox, _keep) = mpsc::channel(1);
        let encoder = framing(transport, limits.max_message).1;
        let writer = ConnectionWriter::new(write_half, encoder, &limits, (ConnectionId::FIRST, flow), inbox);
        let woken = writer.signals().woken();
        peer.write_all(b"request").await.expect("sent");
        peer.flush().await.expect("sent");
        // The kernel has the request now, and the event loop has not seen it.
        std::thread::sleep(Duration::from_millis(20));
        assert!(!writer.is_peer_closed());
        timeout(Duration::from_secs(5), woken).await.expect("a signal");
        let mut buffer = BytesMut::new();
        assert_eq!((read(&read_half, &mut buffer).await.ok(), &buffer[..]), (Some(7), &b"request"[..]));
        // Nothing is left that it would have to be woken for.
        assert!(!writer.is_peer_closed());
        assert!(timeout(Duration::from_millis(50), writer.signals().woken()).await.is_err());
    }

    #[tokio::test]
    async fn garbage_after_the_handshake_is_an_error() {
        let (read_half, write_half, peer) = pair().await;
        let (mut socket, _) = peer.into_inner();
        socket.write_all(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n").await.expect("sent");
        let error = read(&read_half, &mut BytesMut::new()).await.expect_err("no record");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(write_half.is_peer_closed());
    }
}
