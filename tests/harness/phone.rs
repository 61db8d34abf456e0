//! A small phone: one socket and one user. It sends what a test tells it and waits for what a test expects.
//!
//! It adds the headers that each request needs (Via, From, To, Call-ID, CSeq, Max-Forwards) if the test did not.
//! Waiting is strict: an unexpected message fails the test, but exact copies (retransmissions) and 100 Trying are
//! skipped unless a test asks for them.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::digest::{Challenge, Credentials};
use super::link::Link;
use super::message::{Message, ack_of};
use super::tls::{self, Authority};
use super::websocket::{self, Socket};
use super::{PATIENCE, SILENCE};

/// A phone.
#[derive(Debug)]
pub(crate) struct Phone {
    /// Its user, as in `sip:user@office.example`.
    pub(crate) user: String,
    /// Its domain.
    pub(crate) domain: String,
    /// Of its own URIs: `sip` or `sips`.
    scheme: &'static str,
    link: Link,
    local: SocketAddr,
    server: SocketAddr,
    tag: String,
    sequence: u32,
    seen: HashSet<Vec<u8>>,
}

impl Phone {
    /// A phone on UDP, on a port of its own.
    pub(crate) fn udp(user: &str, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((own_ip(server), 0)).expect("a UDP port");
        Self::on_socket(user, server, socket)
    }

    /// A phone on a UDP socket that the test made.
    pub(crate) fn on_socket(user: &str, server: SocketAddr, socket: UdpSocket) -> Self {
        Self::new(user, server, Link::Udp(socket))
    }

    /// A phone on TCP that is reached over the connection it opened.
    pub(crate) fn tcp(user: &str, server: SocketAddr) -> Self {
        Self::on_stream(user, server, TcpStream::connect_timeout(&server, PATIENCE).expect("a TCP connection"))
    }

    /// A phone in a browser: it is reached over the WebSocket connection that it opened.
    #[track_caller]
    pub(crate) fn websocket(user: &str, server: SocketAddr) -> Self {
        Self::websocket_with(user, server, &[])
    }

    /// The same, with further headers in its handshake.
    #[track_caller]
    pub(crate) fn websocket_with(user: &str, server: SocketAddr, headers: &[(&str, &str)]) -> Self {
        let (socket, _) = websocket::open(server, headers).expect("the server takes the connection");
        Self::new(user, server, Link::WebSocket(Box::new(socket)))
    }

    /// A phone in a browser, over TLS.
    pub(crate) fn secure_websocket(user: &str, server: SocketAddr, authority: &Authority) -> Self {
        Self::new(user, server, Link::WebSocket(Box::new(websocket::open_secure(server, authority))))
    }

    /// A phone on TLS that is reached over the connection it opened.
    pub(crate) fn tls(user: &str, server: SocketAddr, authority: &Authority) -> Self {
        let socket = tls::Socket::connect(server, tls::NAME, authority.client(None)).expect("a TLS connection");
        Self::on_tls(user, server, socket)
    }

    /// A phone on a TLS connection that either side has opened.
    pub(crate) fn on_tls(user: &str, server: SocketAddr, socket: tls::Socket) -> Self {
        Self::new(user, server, Link::Tls { socket: Box::new(socket), unread: Vec::new() })
    }

    /// A phone on a TCP connection that either side has opened.
    pub(crate) fn on_stream(user: &str, server: SocketAddr, stream: TcpStream) -> Self {
        Self::new(user, server, Link::stream(stream))
    }

    /// Waits for the server to connect to a phone that listens.
    #[track_caller]
    pub(crate) fn accept(user: &str, server: SocketAddr, listener: &TcpListener) -> Self {
        listener.set_nonblocking(true).expect("a listener");
        let stream = super::wait_for(PATIENCE, || listener.accept().ok()).expect("the server connects to the phone").0;
        stream.set_nonblocking(false).expect("a stream");
        Self::on_stream(user, server, stream)
    }

    fn new(user: &str, server: SocketAddr, link: Link) -> Self {
        Self {
            user: user.to_owned(),
            domain: "office.example".to_owned(),
            scheme: "sip",
            local: link.local(),
            link,
            server,
            tag: unique("tag"),
            sequence: 0,
            seen: HashSet::new(),
        }
    }

    /// The same phone in another domain.
    pub(crate) fn of(mut self, domain: &str) -> Self {
        self.domain = domain.to_owned();
        self
    }

    /// The same phone with this scheme in its URIs: `sip`, or `sips` on a transport with TLS.
    pub(crate) fn with_scheme(mut self, scheme: &'static str) -> Self {
        self.scheme = scheme;
        self
    }

    /// Its address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Its address of record.
    pub(crate) fn aor(&self) -> String {
        format!("{}:{}@{}", self.scheme, self.user, self.domain)
    }

    /// Its Contact URI.
    pub(crate) fn contact(&self) -> String {
        let transport = match self.link.transport() {
            "TCP" => ";transport=tcp",
            // RFC 5630 3.1.4: a `sips:` URI is over TLS without it.
            "TLS" if self.scheme == "sip" => ";transport=tls",
            // RFC 7118 5.2
            "WS" | "WSS" => ";transport=ws",
            _ => "",
        };
        format!("{}:{}@{}{transport}", self.scheme, self.user, self.host())
    }

    /// What it takes for its address. RFC 7118 5: a browser does not know its own.
    fn host(&self) -> String {
        match &self.link {
            Link::WebSocket(_) => format!("{}.invalid", self.tag),
            Link::Udp(_) | Link::Tcp { .. } | Link::Tls { .. } => self.local.to_string(),
        }
    }

    /// Its TLS connection.
    pub(crate) fn tls_socket(&mut self) -> &mut tls::Socket {
        self.link.tls()
    }

    /// Opens another WebSocket connection, as a browser does whose connection has broken.
    #[track_caller]
    pub(crate) fn reconnect(&mut self) {
        let (socket, _) = websocket::open(self.server, &[]).expect("the server takes the connection");
        self.link = Link::WebSocket(Box::new(socket));
        self.local = self.link.local();
    }

    /// Sends to another server from now on, over UDP.
    pub(crate) fn moves_to(&mut self, server: SocketAddr) {
        self.server = server;
    }

    /// Its WebSocket connection.
    pub(crate) fn socket(&mut self) -> &mut Socket {
        self.link.websocket()
    }

    /// A request outside of a dialog. To is the Request-URI; there is a Contact if the request can create a dialog.
    pub(crate) fn request(&mut self, method: &str, uri: &str) -> Message {
        self.sequence += 1;
        let message = Message::request(method, uri)
            .with("From", format!("<{}>;tag={}", self.aor(), self.tag))
            .with("To", format!("<{uri}>"))
            .with("Call-ID", unique("call"))
            .with("CSeq", format!("{} {method}", self.sequence));
        if matches!(method, "INVITE" | "SUBSCRIBE") {
            message.with("Contact", format!("<{}>", self.contact()))
        } else {
            message
        }
    }

    /// An INVITE with a session description.
    pub(crate) fn invite(&mut self, uri: &str) -> Message {
        let (ip, user) = (self.local.ip(), &self.user);
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let body = format!(
            "v=0\r\no={user} 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
        );
        self.request("INVITE", uri).body("application/sdp", body)
    }

    /// Calls a URI. The INVITE must reach this phone. Returns the INVITE as sent and as received.
    pub(crate) fn calls(&mut self, uri: &str, phone: &mut Self) -> (Message, Message) {
        let invite = self.invite(uri);
        let sent = self.send(invite);
        (sent, phone.expect("INVITE"))
    }

    /// Calls a URI. The INVITE must reach this phone, which responds with 486. Returns the INVITE that it received.
    pub(crate) fn calls_busy_phone(&mut self, uri: &str, phone: &mut Self) -> Message {
        let (_, received) = self.calls(uri, phone);
        phone.reply(&received, 486);
        self.response(486);
        received
    }

    /// A REGISTER of its own AoR with this Contact value; none for a query.
    pub(crate) fn register(&mut self, contact: Option<&str>) -> Message {
        let message = self
            .request("REGISTER", &format!("{}:{}", self.scheme, self.domain))
            .set("To", format!("<{}>", self.aor()));
        // One Call-ID for all registrations of a phone (RFC 3261 10.2).
        let message = message.set("Call-ID", format!("register-{}", self.tag));
        match contact {
            Some(contact) => message.with("Contact", contact),
            None => message,
        }
    }

    /// Registers its own Contact for an hour, without a challenge.
    #[track_caller]
    pub(crate) fn registered(mut self) -> Self {
        let register = self.register(Some(&format!("<{}>", self.contact()))).with("Expires", 3600);
        self.send(register);
        self.response(200);
        self
    }

    /// Registers its own Contact with a q value.
    #[track_caller]
    pub(crate) fn registered_with_q(mut self, q: &str) -> Self {
        let register = self.register(Some(&format!("<{}>;q={q}", self.contact()))).with("Expires", 3600);
        self.send(register);
        self.response(200);
        self
    }

    /// Registers its own Contact and responds to the challenge.
    #[track_caller]
    pub(crate) fn registered_as(mut self, password: &str) -> Self {
        let register = self.register(Some(&format!("<{}>", self.contact()))).with("Expires", 3600);
        let user = self.user.clone();
        self.authenticated(register, Credentials::new(&user, password));
        self.response(200);
        self
    }

    /// Sends a request, and sends it again with credentials after the challenge. Returns the second request.
    #[track_caller]
    pub(crate) fn authenticated(&mut self, request: Message, credentials: Credentials<'_>) -> Message {
        let first = self.send(request.clone());
        let challenge = self.challenged(&first);
        self.send_again(request, credentials, &challenge)
    }

    /// Waits for a 401 or 407 and acknowledges that of an INVITE.
    #[track_caller]
    pub(crate) fn challenged(&mut self, request: &Message) -> Message {
        let challenge = self.next_final();
        assert!(matches!(challenge.status(), Some(401 | 407)), "a challenge was expected, not\n{challenge}");
        if request.method() == "INVITE" {
            self.send(ack_of(request, &challenge));
        }
        challenge
    }

    /// Sends a request with the next CSeq and credentials for a challenge.
    #[track_caller]
    pub(crate) fn send_again(
        &mut self,
        request: Message,
        credentials: Credentials<'_>,
        challenge: &Message,
    ) -> Message {
        self.sequence += 1;
        let request = request.clone().set("CSeq", format!("{} {}", self.sequence, request.method()));
        let challenge = Challenge::of(challenge, credentials.algorithm);
        let answer = credentials.answer(&challenge, &request);
        self.send(request.with(challenge.answer, answer))
    }

    /// The Via of a new request.
    pub(crate) fn via(&self) -> String {
        format!("SIP/2.0/{} {};branch={};rport", self.link.transport(), self.host(), unique("z9hG4bK"))
    }

    /// Sends a message to the server and adds a missing Via and Max-Forwards. Returns what was sent.
    #[track_caller]
    pub(crate) fn send(&mut self, message: Message) -> Message {
        let message = self.stamp(message);
        // RFC 3261 18.2.2: a response goes where the request came from, which may be another server of the office.
        let back = message.status().and_then(|_| message.find("Via")?.split([' ', ';']).nth(1)?.parse().ok());
        self.link.send(back.unwrap_or(self.server), &message.bytes());
        message
    }

    /// Sends a request and waits for its final response.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: Message) -> Message {
        self.send(request);
        self.next_final()
    }

    /// The Contact values of its AoR from a query, without a challenge.
    #[track_caller]
    pub(crate) fn bindings(&mut self) -> Vec<String> {
        let query = self.register(None);
        self.send(query);
        self.response(200).list("Contact").into_iter().map(str::to_owned).collect()
    }

    /// Gives a request the Via and Max-Forwards it lacks.
    pub(crate) fn stamp(&self, mut message: Message) -> Message {
        if message.status().is_none() && message.find("Via").is_none() {
            message = message.with_first("Via", self.via());
        }
        if message.status().is_none() && message.find("Max-Forwards").is_none() {
            message = message.with("Max-Forwards", 70);
        }
        message
    }

    /// Sends octets to the server.
    #[track_caller]
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.link.send(self.server, bytes);
    }

    /// Responds to a request. Returns what was sent.
    #[track_caller]
    pub(crate) fn reply(&mut self, request: &Message, status: u16) -> Message {
        let answer = self.answer(request, status);
        self.send(answer)
    }

    /// The response to a request (RFC 3261 8.2.6): with a tag unless it is a 100, and a Contact if it can create a
    /// dialog.
    pub(crate) fn answer(&self, request: &Message, status: u16) -> Message {
        let mut answer = Message::response(status, "As The Test Says")
            .copy(request, "Via")
            .copy(request, "Record-Route")
            .copy(request, "From")
            .copy(request, "To")
            .copy(request, "Call-ID")
            .copy(request, "CSeq");
        if status > 100 && request.tag("To").is_none() {
            answer = answer.clone().set("To", format!("{};tag={}", request.header("To"), self.tag));
        }
        // RFC 6665 8.2: a 2xx to a SUBSCRIBE too.
        if status > 100 && status < 300 && matches!(request.method(), "INVITE" | "SUBSCRIBE") {
            answer = answer.with("Contact", format!("<{}>", self.contact()));
        }
        answer
    }

    /// The next message of any kind, retransmissions too. `None` if none arrives in time.
    pub(crate) fn next_any(&mut self, patience: Duration) -> Option<Message> {
        self.link.receive(patience)
    }

    /// The next message that is not a copy of an earlier one.
    pub(crate) fn next_in(&mut self, patience: Duration) -> Option<Message> {
        let deadline = Instant::now() + patience;
        loop {
            let message = self.next_any(deadline.saturating_duration_since(Instant::now()))?;
            if self.seen.insert(message.bytes()) {
                return Some(message);
            }
        }
    }

    /// The next message except 100 Trying; one must arrive.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Message {
        loop {
            let user = &self.user;
            let nothing = format!("{user} received nothing");
            let message = self.next_in(PATIENCE).unwrap_or_else(|| panic!("{nothing}"));
            if message.status() != Some(100) {
                return message;
            }
        }
    }

    /// The next final response; provisional ones are skipped.
    #[track_caller]
    pub(crate) fn next_final(&mut self) -> Message {
        loop {
            let message = self.next();
            match message.status() {
                Some(101..=199) => {}
                Some(_) => return message,
                None => panic!("a final response was expected, not\n{message}"),
            }
        }
    }

    /// The next message must be a response with this status.
    #[track_caller]
    pub(crate) fn response(&mut self, status: u16) -> Message {
        let message = self.next();
        assert_eq!(message.status(), Some(status), "{} expected a {status}, not\n{message}", self.user);
        message
    }

    /// The next message must be a request with this method.
    #[track_caller]
    pub(crate) fn expect(&mut self, method: &str) -> Message {
        let message = self.next();
        assert!(
            message.status().is_none() && message.method() == method,
            "{} expected {method}, not\n{message}",
            self.user
        );
        message
    }

    /// A 100 Trying must arrive within `patience`.
    #[track_caller]
    pub(crate) fn trying(&mut self, patience: Duration) -> Message {
        let message = self.next_in(patience).unwrap_or_else(|| panic!("no 100 Trying within {patience:?}"));
        assert_eq!(message.status(), Some(100), "100 Trying was expected, not\n{message}");
        message
    }

    /// No new message may arrive for a while, not even a 100.
    #[track_caller]
    pub(crate) fn silence(&mut self) {
        if let Some(message) = self.next_in(SILENCE) {
            panic!("{} expected silence, not\n{message}", self.user);
        }
    }

    /// Whether the server has closed the connection, or does so within `patience`; what it still sends is dropped.
    pub(crate) fn closed(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.next_any(deadline.saturating_duration_since(Instant::now())).is_some() {}
        self.link.is_closed()
    }

    /// Reads raw octets of a stream: for keep-alives.
    pub(crate) fn octets(&mut self, count: usize) -> Vec<u8> {
        self.link.octets(count)
    }
}

/// A token that is unique in this run.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{prefix}{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The address of a phone on the same machine as this server.
fn own_ip(server: SocketAddr) -> IpAddr {
    match server.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => IpAddr::from([127, 0, 0, 1]),
        ip => ip,
    }
}
