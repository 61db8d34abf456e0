//! The connection of a phone: SIP messages over UDP, TCP, TLS or WebSocket.
//!
//! Each TLS connection begins with a full handshake of TLS 1.3: sessions are never resumed.

use std::fs;
use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use parser::{Frame, Framer, Message, Transport};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::arguments::Target;

/// The name in the certificate of the server.
pub(crate) const NAME: &str = "office.example";

/// Phones have this many addresses, so that there are enough ports for connections that were closed a moment ago.
const SOURCES: usize = 32;

/// The mask of all WebSocket frames; a browser chooses a new one for each.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x11, 0x7e];

/// A connection.
pub(crate) struct Line {
    inner: Inner,
    own: SocketAddr,
}

enum Inner {
    Udp { socket: UdpSocket, buffer: Box<[u8]> },
    Stream { stream: Box<dyn Stream>, framing: Framing, buffer: BytesMut },
}

enum Framing {
    ContentLength(Framer),
    WebSocket,
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// The client side of TLS, for servers with this certificate.
pub(crate) fn tls(certificate: &Path) -> TlsConnector {
    let pem = fs::read(certificate).expect("the certificate");
    let mut authorities = RootCertStore::empty();
    authorities.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3");
    let mut config = config.with_root_certificates(authorities).with_no_client_auth();
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

impl Line {
    /// Opens the connection of a phone.
    pub(crate) async fn open(number: usize, target: &Target, tls: Option<&TlsConnector>) -> Self {
        if target.transport == Transport::Udp {
            let socket = UdpSocket::bind((target.server.ip(), 0)).await.expect("a socket");
            socket.connect(target.server).await.expect("a server");
            let own = socket.local_addr().expect("an address");
            return Self { inner: Inner::Udp { socket, buffer: vec![0; 4096].into() }, own };
        }
        let socket = connect(number, target.server).await;
        let own = socket.local_addr().expect("an address");
        let mut stream: Box<dyn Stream> = Box::new(socket);
        if target.transport.is_secure() {
            let name = ServerName::try_from(NAME).expect("a name");
            let tls = tls.expect("--certificate");
            stream = Box::new(tls.connect(name, stream).await.expect("a TLS connection"));
        }
        let mut framing = Framing::ContentLength(Framer::new(1 << 16));
        if target.transport.is_websocket() {
            upgrade(&mut *stream, target.server).await;
            framing = Framing::WebSocket;
        }
        Self { inner: Inner::Stream { stream, framing, buffer: BytesMut::new() }, own }
    }

    /// The phone's end of it.
    pub(crate) const fn own(&self) -> SocketAddr {
        self.own
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, text: &[u8]) {
        match &mut self.inner {
            Inner::Udp { socket, .. } => drop(socket.send(text).await),
            Inner::Stream { stream, framing, .. } => {
                let sent = match framing {
                    Framing::ContentLength(_) => stream.write_all(text).await,
                    Framing::WebSocket => stream.write_all(&frame(text)).await,
                };
                sent.expect("a connection");
                stream.flush().await.expect("a connection");
            }
        }
    }

    /// The next message; `None` when the connection has ended. Nothing is lost if this is cancelled.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        match &mut self.inner {
            Inner::Udp { socket, buffer } => {
                let length = socket.recv(buffer).await.ok()?;
                Message::parse(Bytes::copy_from_slice(buffer.get(..length)?)).ok()
            }
            Inner::Stream { stream, framing, buffer } => loop {
                if let Some(message) = framing.take(buffer) {
                    return Message::parse(message).ok();
                }
                if buffer.is_empty() {
                    // Thousands of idle phones need no buffers.
                    *buffer = BytesMut::new();
                }
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            },
        }
    }

    /// Closes it.
    pub(crate) async fn close(self) {
        if let Inner::Stream { mut stream, .. } = self.inner {
            let _ = stream.shutdown().await;
        }
    }
}

impl Framing {
    /// The first message in the buffer.
    fn take(&mut self, buffer: &mut BytesMut) -> Option<Bytes> {
        match self {
            Self::ContentLength(framer) => loop {
                match framer.next(buffer).expect("SIP") {
                    Frame::Complete(length) => return Some(buffer.split_to(length).freeze()),
                    Frame::Ping(length) | Frame::Crlf(length) => drop(buffer.split_to(length)),
                    Frame::Partial => return None,
                }
            },
            Self::WebSocket => {
                let mut header = Cursor::new(&buffer[..]);
                let (head, length) = FrameHeader::parse(&mut header).expect("a frame")?;
                assert!(head.is_final && matches!(head.opcode, OpCode::Data(_)), "{head:?}");
                let (start, length) = (usize::try_from(header.position()).ok()?, usize::try_from(length).ok()?);
                if buffer.len() < start + length {
                    return None;
                }
                buffer.advance(start);
                Some(buffer.split_to(length).freeze())
            }
        }
    }
}

async fn connect(number: usize, server: SocketAddr) -> TcpStream {
    let socket = if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.expect("a socket");
    let last = u8::try_from(number % SOURCES).unwrap_or_default();
    let source = if server.is_ipv4() { IpAddr::from(Ipv4Addr::new(127, 0, 1, last + 1)) } else { server.ip() };
    socket.set_reuseaddr(true).expect("a socket option");
    socket.bind((source, 0).into()).expect("a free port");
    let stream = socket.connect(server).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket option");
    stream
}

/// RFC 6455 4.1, RFC 7118 4.1
async fn upgrade(stream: &mut dyn Stream, server: SocketAddr) {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("a connection");
    stream.flush().await.expect("a connection");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("a response"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
}

/// RFC 6455 5.2: clients mask what they send.
fn frame(text: &[u8]) -> Vec<u8> {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), mask: Some(MASK), ..FrameHeader::default() };
    let mut frame = Vec::with_capacity(text.len() + 14);
    header.format(text.len() as u64, &mut frame).expect("memory");
    frame.extend(text.iter().zip(MASK.iter().cycle()).map(|(octet, mask)| octet ^ mask));
    frame
}
