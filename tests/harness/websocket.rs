//! A WebSocket connection of a phone, by the client side of tungstenite. RFC 6455, RFC 7118.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::client::{Request, Response};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use rustls::{ClientConnection, StreamOwned};

use super::PATIENCE;
use super::tls::{self, Authority};

/// An open connection.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: WebSocket<Io>,
    closed: Option<Option<u16>>,
    /// Whether it sends binary messages.
    pub(crate) is_binary: bool,
    /// Whether the last message of the server was binary.
    pub(crate) received_binary: bool,
}

/// The bytes below the frames.
#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Io {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref(),
        }
    }
}

impl Read for Io {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Io {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// The request that opens a connection, with further headers.
pub(crate) fn request(server: SocketAddr, headers: &[(&str, &str)]) -> Request {
    let mut request = format!("ws://{server}/").into_client_request().expect("a request");
    request.headers_mut().insert("Sec-WebSocket-Protocol", "sip".parse().expect("a value"));
    for (name, value) in headers {
        let name: tungstenite::http::HeaderName = name.parse().expect("a name");
        request.headers_mut().insert(name, value.parse().expect("a value"));
    }
    request
}

/// Opens a connection; the status of the response if the server refuses it.
pub(crate) fn open(server: SocketAddr, headers: &[(&str, &str)]) -> Result<(Socket, Response), u16> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE).expect("a TCP connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    handshake(server, headers, Io::Plain(stream))
}

/// Opens a connection over TLS.
pub(crate) fn open_secure(server: SocketAddr, authority: &Authority) -> Socket {
    let stream = tls::Socket::connect(server, tls::NAME, authority.client(None)).expect("a TLS connection");
    handshake(server, &[], Io::Tls(Box::new(stream.into_client()))).expect("a WebSocket connection").0
}

fn handshake(server: SocketAddr, headers: &[(&str, &str)], io: Io) -> Result<(Socket, Response), u16> {
    match tungstenite::client(request(server, headers), io) {
        Ok((inner, response)) => {
            Ok((Socket { inner, closed: None, is_binary: false, received_binary: false }, response))
        }
        Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
        Err(error) => panic!("the handshake failed: {error}"),
    }
}

impl Socket {
    /// Whether it is encrypted.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self.inner.get_ref(), Io::Tls(_))
    }

    /// The phone's end of it.
    pub(crate) fn local(&self) -> SocketAddr {
        self.inner.get_ref().tcp().local_addr().expect("a connected socket")
    }

    /// Sends a message in one frame.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let message = match std::str::from_utf8(bytes) {
            Ok(text) if !self.is_binary => Message::text(text),
            _ => Message::binary(bytes.to_vec()),
        };
        self.inner.send(message).expect("a connection takes it");
    }

    /// Sends any message of the protocol.
    #[track_caller]
    pub(crate) fn send_message(&mut self, message: Message) {
        self.inner.send(message).expect("a connection takes it");
    }

    /// Sends octets that need not be frames.
    #[track_caller]
    pub(crate) fn send_raw(&mut self, octets: &[u8]) {
        self.inner.get_mut().write_all(octets).expect("a stream takes it");
    }

    /// The next message or pong; `None` if none comes in time or the connection has ended.
    pub(crate) fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + patience;
        while self.closed.is_none() && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.inner.get_ref().tcp().set_read_timeout(Some(left)).expect("a timeout");
            match self.inner.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    self.received_binary = message.is_binary();
                    return Some(message.into_data().to_vec());
                }
                Ok(Message::Pong(payload)) => return Some(payload.to_vec()),
                Ok(Message::Close(frame)) => self.closed = Some(frame.map(|frame| frame.code.into())),
                Ok(_) => {}
                Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => self.closed = Some(None),
            }
        }
        None
    }

    /// The code that the server closes the connection with.
    #[track_caller]
    pub(crate) fn close_code(&mut self) -> u16 {
        while self.receive(PATIENCE).is_some() {}
        self.closed.expect("the connection is closed").expect("with a code")
    }

    /// Whether the server has closed the connection.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Whether the server has closed the TCP connection too.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.inner.get_ref().tcp().set_read_timeout(Some(PATIENCE)).expect("a timeout");
        !matches!(self.inner.get_mut().read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Begins to close the connection.
    pub(crate) fn close(&mut self, code: u16) {
        let frame = tungstenite::protocol::CloseFrame { code: CloseCode::from(code), reason: "".into() };
        self.inner.close(Some(frame)).expect("a close frame");
    }
}
