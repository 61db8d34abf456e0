//! The transport between a phone and the server: datagrams or a stream, with whole messages from either. RFC 3261 18.3.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::message::Message;
use super::tls;
use super::websocket::Socket;

/// An open transport.
#[derive(Debug)]
pub(crate) enum Link {
    /// Datagrams from a port of the phone's own.
    Udp(UdpSocket),
    /// One connection.
    Tcp {
        /// The connection.
        stream: TcpStream,
        /// What has arrived and is not a whole message yet.
        unread: Vec<u8>,
        /// Whether the server has closed it.
        closed: bool,
    },
    /// One TLS connection.
    Tls {
        /// The connection.
        socket: Box<tls::Socket>,
        /// What has arrived and is not a whole message yet.
        unread: Vec<u8>,
    },
    /// One WebSocket connection.
    WebSocket(Box<Socket>),
}

impl Link {
    /// A connection that either side has opened.
    pub(crate) fn stream(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("no delay");
        Self::Tcp { stream, unread: Vec::new(), closed: false }
    }

    /// The phone's end of it.
    pub(crate) fn local(&self) -> SocketAddr {
        match self {
            Self::Udp(socket) => socket.local_addr().expect("a bound socket"),
            Self::Tcp { stream, .. } => stream.local_addr().expect("a connected socket"),
            Self::Tls { socket, .. } => socket.local(),
            Self::WebSocket(socket) => socket.local(),
        }
    }

    /// The transport as a Via names it.
    pub(crate) fn transport(&self) -> &'static str {
        match self {
            Self::Udp(_) => "UDP",
            Self::Tcp { .. } => "TCP",
            Self::Tls { .. } => "TLS",
            Self::WebSocket(socket) if socket.is_secure() => "WSS",
            Self::WebSocket(_) => "WS",
        }
    }

    /// Sends octets.
    #[track_caller]
    pub(crate) fn send(&mut self, server: SocketAddr, bytes: &[u8]) {
        match self {
            Self::Udp(socket) => drop(socket.send_to(bytes, server).expect("a datagram goes out")),
            Self::Tcp { stream, .. } => stream.write_all(bytes).expect("a stream takes it"),
            Self::Tls { socket, .. } => socket.send(bytes),
            Self::WebSocket(socket) => socket.send(bytes),
        }
    }

    /// The next message; `None` if none comes in time or the connection has ended.
    #[track_caller]
    pub(crate) fn receive(&mut self, patience: Duration) -> Option<Message> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match self {
                Self::Udp(socket) => {
                    if let Some(message) = datagram(socket, left) {
                        return Some(message);
                    }
                }
                Self::Tcp { stream, unread, closed } => {
                    if let Some(message) = Message::cut(unread) {
                        return Some(message);
                    }
                    *closed = !more(stream, unread, left);
                    if *closed {
                        return None;
                    }
                }
                Self::Tls { socket, unread } => {
                    if let Some(message) = Message::cut(unread) {
                        return Some(message);
                    }
                    if !socket.more(unread, left) {
                        return None;
                    }
                }
                Self::WebSocket(socket) => {
                    let bytes = socket.receive(left)?;
                    let message = Message::parse(&bytes);
                    return Some(message.unwrap_or_else(|| panic!("not SIP: {:?}", String::from_utf8_lossy(&bytes))));
                }
            }
            if Instant::now() >= deadline {
                return None;
            }
        }
    }

    /// Whether the server has closed the connection.
    pub(crate) const fn is_closed(&self) -> bool {
        match self {
            Self::Udp(_) => false,
            Self::Tcp { closed, .. } => *closed,
            Self::Tls { socket, .. } => socket.is_closed(),
            Self::WebSocket(socket) => socket.is_closed(),
        }
    }

    /// The WebSocket connection.
    pub(crate) fn websocket(&mut self) -> &mut Socket {
        let Self::WebSocket(socket) = self else { panic!("it is none") };
        socket
    }

    /// The TLS connection.
    pub(crate) fn tls(&mut self) -> &mut tls::Socket {
        let Self::Tls { socket, .. } = self else { panic!("it is none") };
        socket
    }

    /// The next octets of a stream.
    pub(crate) fn octets(&mut self, count: usize) -> Vec<u8> {
        if let Self::Tls { socket, unread } = self {
            while unread.len() < count && socket.more(unread, PATIENCE) {}
            return unread.drain(..count).collect();
        }
        let Self::Tcp { stream, unread, .. } = self else { panic!("datagrams have no octets") };
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut buffer = vec![0; count.saturating_sub(unread.len())];
        stream.read_exact(&mut buffer).expect("the octets");
        unread.extend(buffer);
        unread.drain(..count).collect()
    }
}

#[track_caller]
fn datagram(socket: &UdpSocket, left: Duration) -> Option<Message> {
    let mut buffer = [0; 65_535];
    socket.set_read_timeout(Some(left)).expect("a timeout");
    match socket.recv_from(&mut buffer) {
        Ok((length, _)) => {
            let message = Message::parse(&buffer[..length]);
            Some(message.unwrap_or_else(|| panic!("not SIP: {:?}", String::from_utf8_lossy(&buffer[..length]))))
        }
        Err(error) => {
            may_wait(&error);
            None
        }
    }
}

/// Reads on; false at the end of the connection.
fn more(stream: &mut TcpStream, unread: &mut Vec<u8>, left: Duration) -> bool {
    let mut buffer = [0; 16_384];
    stream.set_read_timeout(Some(left)).expect("a timeout");
    match stream.read(&mut buffer) {
        Ok(0) => return false,
        Ok(length) => unread.extend_from_slice(&buffer[..length]),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
        Err(error) => may_wait(&error),
    }
    true
}

/// Timeouts, and ICMP errors for an earlier datagram, are ignored.
fn may_wait(error: &Error) {
    let waits = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted, ErrorKind::ConnectionRefused];
    assert!(waits.contains(&error.kind()), "the socket failed: {error}");
}
