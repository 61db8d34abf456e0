//! A phone's transport to one server. Every failure is a result: a phone goes on after it.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tungstenite::protocol::Message as Frame;
use tungstenite::{Bytes, Error, WebSocket};

use crate::harness::message::Message;
use crate::harness::websocket::request;
use crate::network::Host;

/// What connects a phone with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// UDP, reached at the Contact by every server.
    Udp,
    /// UDP behind a NAT, which lets only the server in that the phone registered at.
    Nat,
    Tcp,
    WebSocket,
}

/// An open transport.
pub(crate) struct Wire {
    server: SocketAddr,
    io: Io,
}

enum Io {
    Udp(Arc<UdpPort>),
    Tcp { stream: TcpStream, unread: Vec<u8> },
    WebSocket(Box<WebSocket<TcpStream>>),
}

/// The UDP port of a phone, perhaps behind a NAT.
pub(crate) struct UdpPort {
    socket: UdpSocket,
    /// When the phone has sent to a server.
    sent: Mutex<HashMap<SocketAddr, Instant>>,
    is_behind_nat: bool,
}

impl UdpPort {
    pub(crate) fn bind(ip: Ipv4Addr, kind: Kind) -> Arc<Self> {
        let socket = UdpSocket::bind((ip, 0)).expect("a UDP port");
        Arc::new(Self { socket, sent: Mutex::default(), is_behind_nat: kind == Kind::Nat })
    }

    fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.sent.lock().insert(to, Instant::now());
        self.socket.send_to(bytes, to).map(|_| ())
    }

    /// RFC 4787 5: a NAT that lets in only those whom the phone has sent something, for a while.
    fn lets_in(&self, from: SocketAddr) -> bool {
        !self.is_behind_nat || self.sent.lock().get(&from).is_some_and(|at| at.elapsed() < NAT_TIME)
    }
}

/// What a phone behind a NAT takes for its address.
pub(crate) const PRIVATE: &str = "192.168.77.7:5060";

/// RFC 4787 4.3 wants two minutes; many NATs forget earlier.
const NAT_TIME: Duration = Duration::from_secs(30);

/// What arrived.
#[derive(Debug)]
pub(crate) enum Arrival {
    Message(Message),
    /// The answer to [`Wire::ping`].
    Pong,
    Nothing,
}

impl Wire {
    /// Opens a transport to a server. `port` is that of a phone on UDP.
    pub(crate) fn open(kind: Kind, server: Host, own: Ipv4Addr, port: &Arc<UdpPort>) -> io::Result<Self> {
        let (number, limit) = (if kind == Kind::WebSocket { 5080 } else { 5060 }, Duration::from_millis(700));
        let server = SocketAddr::from((server.ip, number));
        let connect = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from((own, 0)).into())?;
            socket.connect_timeout(&server.into(), limit)?;
            let stream = TcpStream::from(socket);
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(limit))?;
            stream.set_read_timeout(Some(limit))?;
            io::Result::Ok(stream)
        };
        let io = match kind {
            Kind::Udp | Kind::Nat => Io::Udp(Arc::clone(port)),
            Kind::Tcp => Io::Tcp { stream: connect()?, unread: Vec::new() },
            Kind::WebSocket => {
                let opened = tungstenite::client(request(server, &[]), connect()?);
                Io::WebSocket(Box::new(opened.map_err(|_| ErrorKind::ConnectionRefused)?.0))
            }
        };
        Ok(Self { server, io })
    }

    /// The transport and address that a Via names.
    pub(crate) fn via(&self, own: Ipv4Addr) -> String {
        match &self.io {
            Io::Udp(port) if port.is_behind_nat => format!("UDP {PRIVATE}"),
            Io::Udp(port) => format!("UDP {}", port.socket.local_addr().expect("a bound socket")),
            Io::Tcp { .. } => format!("TCP {own}:5060"),
            Io::WebSocket(_) => "WS phone.invalid".to_owned(),
        }
    }

    /// Whether the phone has to retransmit.
    pub(crate) const fn is_datagram(&self) -> bool {
        matches!(self.io, Io::Udp(_))
    }

    /// The phone's port.
    pub(crate) fn port(&self) -> u16 {
        let address = match &self.io {
            Io::Udp(port) => port.socket.local_addr(),
            Io::Tcp { stream, .. } => stream.local_addr(),
            Io::WebSocket(socket) => socket.get_ref().local_addr(),
        };
        address.map_or(0, |address| address.port())
    }

    /// Sends a message. A response over UDP goes where the request came from (RFC 3261 18.2.2).
    pub(crate) fn send(&mut self, message: &Message) -> io::Result<()> {
        let bytes = message.bytes();
        match &mut self.io {
            Io::Udp(port) => {
                let via = || message.find("Via")?.split([' ', ';']).nth(1)?.parse::<SocketAddr>().ok();
                let back = message.status().and_then(|_| via());
                port.send(back.unwrap_or(self.server), &bytes)
            }
            Io::Tcp { stream, .. } => stream.write_all(&bytes),
            Io::WebSocket(socket) => {
                let text = String::from_utf8(bytes).expect("a message in UTF-8");
                socket.send(Frame::text(text)).map_err(|_| ErrorKind::BrokenPipe.into())
            }
        }
    }

    /// Asks for a sign of life: a Binding request of STUN (RFC 5626 3.5.2), two CRLF (3.5.1), or a ping frame.
    pub(crate) fn ping(&mut self) -> io::Result<()> {
        match &mut self.io {
            Io::Udp(port) => {
                // RFC 8489 5: type, length, magic cookie, transaction.
                let mut binding = [0; 20];
                binding[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
                port.send(self.server, &binding)
            }
            Io::Tcp { stream, .. } => stream.write_all(b"\r\n\r\n"),
            Io::WebSocket(socket) => socket.send(Frame::Ping(Bytes::new())).map_err(|_| ErrorKind::BrokenPipe.into()),
        }
    }

    /// The next arrival.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) fn receive(&mut self, patience: Duration) -> io::Result<Arrival> {
        match &mut self.io {
            Io::Udp(port) => {
                let mut buffer = [0; 65_535];
                port.socket.set_read_timeout(Some(patience))?;
                match port.socket.recv_from(&mut buffer) {
                    Ok((_, from)) if !port.lets_in(from) => Ok(Arrival::Nothing),
                    // RFC 8489 5: a success response of the method Binding.
                    Ok((length, _)) if buffer[..length].starts_with(&[1, 1]) => Ok(Arrival::Pong),
                    Ok((length, _)) => Ok(Message::parse(&buffer[..length]).map_or(Arrival::Nothing, Arrival::Message)),
                    Err(error) if waits(&error) || error.kind() == ErrorKind::ConnectionRefused => Ok(Arrival::Nothing),
                    Err(error) => Err(error),
                }
            }
            Io::Tcp { stream, unread } => {
                stream.set_read_timeout(Some(patience))?;
                tcp(stream, unread)
            }
            Io::WebSocket(socket) => {
                socket.get_ref().set_read_timeout(Some(patience))?;
                match socket.read() {
                    Ok(Frame::Pong(_)) => Ok(Arrival::Pong),
                    Ok(Frame::Text(text)) => {
                        Ok(Message::parse(text.as_bytes()).map_or(Arrival::Nothing, Arrival::Message))
                    }
                    Ok(Frame::Close(_)) => Err(ErrorKind::ConnectionReset.into()),
                    Ok(_) => Ok(Arrival::Nothing),
                    Err(Error::Io(error)) if waits(&error) => Ok(Arrival::Nothing),
                    Err(_) => Err(ErrorKind::ConnectionReset.into()),
                }
            }
        }
    }
}

fn tcp(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<Arrival> {
    if unread.starts_with(b"\r\n") {
        unread.drain(..2);
        return Ok(Arrival::Pong);
    }
    if let Some(message) = Message::cut(unread) {
        return Ok(Arrival::Message(message));
    }
    let mut buffer = [0; 16_384];
    match stream.read(&mut buffer) {
        Ok(0) => Err(ErrorKind::ConnectionReset.into()),
        Ok(length) => {
            unread.extend_from_slice(&buffer[..length]);
            Ok(Arrival::Nothing)
        }
        Err(error) if waits(&error) => Ok(Arrival::Nothing),
        Err(error) => Err(error),
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
