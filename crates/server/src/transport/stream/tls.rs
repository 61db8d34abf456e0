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
use tokio::sync::Notify;

use super::layer::{READ_CHUNK, read_some};

/// The most plaintext that is encrypted before there is room for it: one record (RFC 8446 5.1).
const MAX_RECORD: usize = 16 << 10;

/// A TLS connection, used by its reader and its writer.
#[derive(Debug)]
pub(crate) struct TlsSession {
    socket: TcpStream,
    state: Mutex<State>,
    /// The writer has received something for the reader.
    received: Notify,
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
        Self { socket, state, received: Notify::new() }
    }

    /// The address of this side.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// As `ReadHalf::readable`.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if self.state.lock().has_received() {
            return Ok(());
        }
        tokio::select! {
            biased;
            ready = self.socket.readable() => ready,
            () = self.received.notified() => Ok(()),
        }
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
            if state.has_received() {
                self.received.notify_one();
            }
        }
        state.ended
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
        let received = outcome.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
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
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
