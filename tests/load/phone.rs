//! One phone: it registers, answers every request, and, if it is a caller, keeps one transaction or call going.
//!
//! It never retransmits: over loopback a lost datagram counts as a missing response.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parser::{Contact, Frame, Framer, HeaderName, Message, Method, Reply, Stamp, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Barrier;
use tokio::time::timeout;

use crate::Tally;
use crate::arguments::{Arguments, Scenario};

/// A response that has not arrived by then counts as missing.
const PATIENCE: Duration = Duration::from_secs(2);

/// A phone with its user's name and its connection.
pub(crate) struct Phone {
    number: usize,
    arguments: Rc<Arguments>,
    tally: Rc<Tally>,
    line: Line,
    own: SocketAddr,
    sequence: u32,
    text: String,
    answer: Vec<u8>,
}

enum Line {
    Udp { socket: UdpSocket, buffer: Box<[u8]> },
    Tcp { stream: TcpStream, framer: Framer, buffer: BytesMut },
}

impl Phone {
    /// A phone that is connected, and not yet registered.
    pub(crate) async fn connect(number: usize, arguments: &Rc<Arguments>, tally: &Rc<Tally>) -> Self {
        let (line, own) = match arguments.transport {
            Transport::Udp => {
                let socket = UdpSocket::bind((arguments.server.ip(), 0)).await.expect("a socket");
                socket.connect(arguments.server).await.expect("a server");
                let own = socket.local_addr().expect("an address");
                (Line::Udp { socket, buffer: vec![0; 4096].into() }, own)
            }
            _ => {
                let stream = TcpStream::connect(arguments.server).await.expect("a connection");
                stream.set_nodelay(true).expect("a socket option");
                let own = stream.local_addr().expect("an address");
                (Line::Tcp { stream, framer: Framer::new(1 << 16), buffer: BytesMut::with_capacity(4096) }, own)
            }
        };
        Self {
            number,
            arguments: Rc::clone(arguments),
            tally: Rc::clone(tally),
            line,
            own,
            sequence: 0,
            text: String::new(),
            answer: Vec::new(),
        }
    }

    /// Registers, waits for the others, and then runs until the program ends.
    pub(crate) async fn live(mut self, registered: Rc<Barrier>) {
        assert!(self.transact(Scenario::Register).await, "phone {} could not register", self.number);
        registered.wait().await;
        if self.number >= self.arguments.callers {
            while let Some(message) = self.next().await {
                self.serve(&message).await;
            }
            return;
        }
        loop {
            let good = self.transact(self.arguments.scenario).await;
            let count = if good { &self.tally.done } else { &self.tally.bad };
            count.set(count.get() + 1);
        }
    }

    /// One transaction or call; whether it succeeded.
    async fn transact(&mut self, scenario: Scenario) -> bool {
        self.sequence += 1;
        let method = match scenario {
            Scenario::Options => "OPTIONS",
            Scenario::Register => "REGISTER",
            Scenario::Message => "MESSAGE",
            Scenario::Invite => "INVITE",
        };
        self.write_request(method, None);
        self.send_text().await;
        let Some(ok) = self.final_response(method).await else { return false };
        if scenario != Scenario::Invite {
            return true;
        }
        self.write_request("ACK", Some(&ok));
        self.send_text().await;
        self.write_request("BYE", Some(&ok));
        self.send_text().await;
        self.final_response("BYE").await.is_some()
    }

    /// The 2xx of the request that was just sent; other requests are answered meanwhile.
    async fn final_response(&mut self, method: &str) -> Option<Message> {
        loop {
            let message = timeout(PATIENCE, self.next()).await.ok()??;
            match message.status() {
                None => self.serve(&message).await,
                // The response to an earlier request that timed out, or a 1xx.
                Some(..200) => {}
                Some(_) if message.method().as_bytes() != method.as_bytes() => {}
                Some(status) => return (status < 300).then_some(message),
            }
        }
    }

    /// Answers a request with 200.
    async fn serve(&mut self, request: &Message) {
        if !request.is_request() || request.method() == Method::Ack {
            return;
        }
        let (own, number) = (self.own, self.number);
        let mut answer = std::mem::take(&mut self.answer);
        answer.clear();
        let mut reply = Reply::new(&mut answer, request, 200, b"OK", Stamp::default(), Some(b"callee"));
        for route in request.values(HeaderName::RecordRoute) {
            reply.header(HeaderName::RecordRoute, |out| out.extend_from_slice(route));
        }
        if request.method() == Method::Invite {
            let contact = format!("<sip:u{number}@{own};transport={}>", self.arguments.transport.param());
            reply.header(HeaderName::Contact, |out| out.extend_from_slice(contact.as_bytes()));
        }
        reply.finish();
        self.send(&answer).await;
        self.answer = answer;
    }

    /// Writes a request into `text`, within the dialog of `ok` if there is one.
    fn write_request(&mut self, method: &str, ok: Option<&Message>) {
        let Self { number, own, sequence, arguments, text, .. } = self;
        let (domain, transport) = (&arguments.domain, arguments.transport);
        let other = (*number + 1) % arguments.phones;
        let uri = match (method, ok) {
            (_, Some(ok)) => remote_target(ok),
            ("OPTIONS" | "REGISTER", _) => format!("sip:{domain}"),
            _ => format!("sip:u{other}@{domain}"),
        };
        let to = if matches!(method, "REGISTER") { *number } else { other };
        let tag = if ok.is_some() { ";tag=callee" } else { "" };
        // A call or a registration has one Call-ID, with ascending CSeq numbers.
        let cseq = *sequence * 2 + u32::from(method == "BYE");
        let call = if method == "REGISTER" { 0 } else { *sequence };
        text.clear();
        let _ = write!(
            text,
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{} {own};branch=z9hG4bK-{number}-{sequence}-{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:u{number}@{domain}>;tag=caller\r\nTo: <sip:u{to}@{domain}>{tag}\r\n\
             Call-ID: {call}-{number}@{own}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:u{number}@{own};transport={}>\r\nUser-Agent: load\r\n",
            transport.as_str(),
            transport.param(),
        );
        let routes: Vec<_> = ok.into_iter().flat_map(|ok| ok.values(HeaderName::RecordRoute)).collect();
        for route in routes.into_iter().rev() {
            let _ = write!(text, "Route: {}\r\n", String::from_utf8_lossy(route));
        }
        text.push_str(if method == "REGISTER" {
            "Expires: 3600\r\nContent-Length: 0\r\n\r\n"
        } else {
            "Content-Length: 0\r\n\r\n"
        });
    }

    async fn send_text(&mut self) {
        let text = std::mem::take(&mut self.text);
        self.send(text.as_bytes()).await;
        self.text = text;
    }

    async fn send(&mut self, text: &[u8]) {
        match &mut self.line {
            Line::Udp { socket, .. } => drop(socket.send(text).await),
            Line::Tcp { stream, .. } => stream.write_all(text).await.expect("a connection"),
        }
    }

    /// The next message; `None` when the connection has ended.
    async fn next(&mut self) -> Option<Message> {
        match &mut self.line {
            Line::Udp { socket, buffer } => {
                let length = socket.recv(buffer).await.ok()?;
                Message::parse(Bytes::copy_from_slice(buffer.get(..length)?)).ok()
            }
            Line::Tcp { stream, framer, buffer } => loop {
                match framer.next(buffer).expect("SIP") {
                    Frame::Complete(length) => return Message::parse(buffer.split_to(length).freeze()).ok(),
                    Frame::Ping(length) | Frame::Crlf(length) => drop(buffer.split_to(length)),
                    Frame::Partial => {
                        if stream.read_buf(buffer).await.ok()? == 0 {
                            return None;
                        }
                    }
                }
            },
        }
    }
}

/// The Contact of a 200 (RFC 3261 12.1.2).
fn remote_target(ok: &Message) -> String {
    let contact = ok.required::<Contact<'_>>().expect("a Contact");
    let uri = contact.address().map(|address| address.uri.as_bytes()).unwrap_or_default();
    String::from_utf8_lossy(uri).into_owned()
}
