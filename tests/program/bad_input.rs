//! Invalid input: it gets a clear refusal, or is dropped and counted, and does not affect others (RFC 3261 16.3 step 1,
//! 18.3; the kind of messages of RFC 4475).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::harness::server::OPEN;
use crate::harness::{Authority, Message, PATIENCE, Phone, SILENCE, Server, tls};

/// Checks that others are served at once over both transports.
#[track_caller]
fn serves(server: &Server) {
    for mut phone in [Phone::udp("judge", server.address()), Phone::tcp("judge", server.address())] {
        let begun = Instant::now();
        let options = phone.request("OPTIONS", "sip:office.example");
        assert_eq!(phone.ask(options).status(), Some(200));
        assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
    }
}

/// Resident memory in KiB.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("the server runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// A small random generator (xorshift): the same octets in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// A complete, valid REGISTER, to be corrupted.
fn good(phone: &mut Phone) -> Message {
    let register = phone.register(Some("<sip:bob@192.0.2.1>")).with("Expires", 600);
    phone.stamp(register)
}

/// Each of these gets a 400 whose reason phrase names the header.
#[track_caller]
fn refuses_all<const N: usize>(phone: &mut Phone, cases: [(&str, Message); N]) {
    let mut wrong = Vec::new();
    for (header, request) in cases {
        phone.send(request.clone());
        let patience = Duration::from_secs(2);
        match phone.next_in(patience) {
            Some(answer) if answer.status() == Some(400) && answer.reason().contains(header) => {}
            other => wrong.push(format!("{header}: sent\n{request}\ngot {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {N} are not refused by name:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_missing_header_is_named() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    // RFC 4475 3.3.1: a sender that can be reached gets a response.
    let cases = ["From", "To", "Call-ID", "CSeq"].map(|header| (header, good(&mut bob).without(header)));
    refuses_all(&mut bob, cases);
    serves(&server);
}

#[test]
fn a_bad_header_is_named() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    let table = [
        ("CSeq", "one REGISTER"),
        ("CSeq", "1 INVITE"),
        ("CSeq", "4294967296 REGISTER"),
        ("CSeq", "1"),
        ("Max-Forwards", "many"),
        ("Max-Forwards", "300"),
        ("From", "\"Bob <sip:bob@office.example>;tag=1"),
        ("From", "<sip:bob@office.example"),
        ("To", ""),
        ("To", "<sip:@@@>"),
        ("Contact", "<sip:bob@192.0.2.1"),
        ("Contact", "<>"),
        ("Contact", "<sip:bob@192.0.2.1:99999>"),
        ("Contact", "<sip:bob@192.0.2.1>;q=2"),
        ("Call-ID", ""),
        ("Content-Length", "ten"),
        ("Content-Length", "-1"),
        ("Content-Length", "500"),
    ];
    let cases = table.map(|(header, value)| (header, good(&mut bob).set(header, value)));
    refuses_all(&mut bob, cases);
    assert!(bob.bindings().is_empty());
}

#[test]
fn a_repeated_single_header_is_refused() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    let table = [
        ("From", "<sip:carol@office.example>;tag=2"),
        ("To", "<sip:carol@office.example>"),
        ("CSeq", "2 REGISTER"),
        ("Call-ID", "other"),
        ("Content-Length", "7"),
    ];
    let cases = table.map(|(header, value)| {
        let request = good(&mut bob);
        let request = if header == "Content-Length" { request.with(header, 0) } else { request };
        (header, request.with(header, value))
    });
    refuses_all(&mut bob, cases);
}

#[test]
fn another_version_is_505() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    let mut request = good(&mut bob);
    request.start = request.start.replace("SIP/2.0", "SIP/7.0");
    assert_eq!(bob.ask(request).status(), Some(505));
}

#[test]
fn garbage_is_dropped_and_counted() {
    let server = Server::start(OPEN);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
    socket.set_read_timeout(Some(SILENCE)).expect("a timeout");
    let datagrams: [&[u8]; 9] = [
        b"",
        b"\0",
        b"\r\n\r\n",
        b"hello",
        b"GET / HTTP/1.1\r\nHost: office.example\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"SIP/2.0 2000 OK\r\nVia: SIP/2.0/UDP 127.0.0.1\r\n\r\n",
        &[0xff; 1_000],
        &[b'\n'; 60_000],
    ];
    for datagram in datagrams {
        socket.send_to(datagram, server.address()).expect("a datagram goes out");
    }
    let mut buffer = [0; 2_000];
    let answer = socket.recv(&mut buffer).ok().map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
    assert_eq!(answer, None, "garbage was answered");
    server.counts("frontdesk_parse_errors_total", &[], |count| count >= 4.0);
    serves(&server);
}

#[test]
fn corrupted_messages_do_not_stop_the_server() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    let mut alice = Phone::udp("alice", server.address());
    let seeds = [good(&mut bob).bytes(), {
        let invite = alice.invite("sip:bob@office.example");
        alice.stamp(invite.with("Route", format!("<sip:{};lr>", server.address()))).bytes()
    }];
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
    let mut noise = Noise(0x5eed_cafe_f00d);
    let marks = b"\r\n:;,<>\"@ =?%\\\0\xff()[]*/0";
    serves(&server);
    let before = memory(&server);
    for round in 0..20_000 {
        let mut octets = seeds[round % seeds.len()].clone();
        for _ in 0..=noise.below(4) {
            let at = noise.below(octets.len().max(1));
            match noise.below(4) {
                _ if octets.is_empty() => {}
                0 => octets[at] = marks[noise.below(marks.len())],
                1 => octets[at] = noise.next() as u8,
                2 => drop(octets.remove(at)),
                _ => octets.truncate(at.max(1)),
            }
        }
        socket.send_to(&octets, server.address()).expect("a datagram goes out");
        // Fewer than fit into the socket buffer of a server that does not run for a while.
        if round % 100 == 0 {
            serves(&server);
        }
    }
    serves(&server);
    let after = memory(&server);
    assert!(after < before + 64 * 1024, "memory grew from {before} to {after} KiB");
}

#[test]
fn the_largest_datagram_is_handled() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    let register = good(&mut bob);
    let room = 65_507 - register.bytes().len() - "X-Filler: \r\n".len();
    let big = register.with("X-Filler", "x".repeat(room));
    let answer = bob.ask(big);
    assert!(matches!(answer.status(), Some(200 | 400 | 413 | 513)), "{answer}");

    let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
    for _ in 0..200 {
        socket.send_to(&[b'A'; 65_507], server.address()).expect("a datagram goes out");
    }
    serves(&server);
}

#[test]
fn a_message_beyond_the_limit_ends_a_connection() {
    let server = Server::start(&format!("{OPEN}limits: {{ message_size: 8KiB }}\n"));
    // A head without an end, and a body that is announced too long.
    let mut endless = Phone::tcp("bob", server.address());
    let register = good(&mut endless).with("X-Filler", "x".repeat(20_000));
    endless.send_raw(&register.bytes());
    assert!(endless.closed(PATIENCE), "still open after a head of 20 KB");
    let mut announced = Phone::tcp("bob", server.address());
    let register = good(&mut announced).with("Content-Length", 4_000_000_000_u32);
    announced.send(register);
    assert!(announced.closed(PATIENCE), "still open after a body of 4 GB was announced");
    serves(&server);
}

#[test]
fn a_slow_sender_does_not_delay_others() {
    let server = Server::start(OPEN);
    let mut slow = Phone::tcp("slow", server.address());
    let octets = good(&mut slow).bytes();
    for (at, octet) in octets.iter().enumerate() {
        slow.send_raw(std::slice::from_ref(octet));
        std::thread::sleep(Duration::from_millis(5));
        if at % 100 == 50 {
            serves(&server);
        }
    }
    // Wherever it is split, it is one message in the end.
    slow.response(200);
}

#[test]
fn a_sender_that_never_finishes_is_dropped() {
    let server = Server::start(&format!("{OPEN}limits: {{ message_time: 1s, connection_idle: 2s }}\n"));
    let mut silent = Phone::tcp("bob", server.address());
    let mut half = Phone::tcp("bob", server.address());
    half.send_raw(b"REGISTER sip:office.example SIP/2.0\r\nVia: ");
    serves(&server);
    assert!(silent.closed(PATIENCE), "a connection that said nothing is still there");
    assert!(half.closed(PATIENCE), "a message that never ends is still awaited");
    // A connection that has sent a message is kept for the idle time.
    let mut idle = Phone::tcp("bob", server.address()).registered();
    assert!(!idle.closed(Duration::from_millis(1_200)), "an idle connection was closed too early");
    assert!(idle.closed(PATIENCE), "an idle connection is still there");
}

#[test]
fn a_stream_needs_a_content_length() {
    let server = Server::start(OPEN);
    let mut bob = Phone::tcp("bob", server.address());
    let text = String::from_utf8(good(&mut bob).bytes()).expect("text").replace("Content-Length: 0\r\n", "");
    bob.send_raw(text.as_bytes());
    // checklist 114
    let refused = bob.next_final();
    assert_eq!(refused.status(), Some(400), "{refused}");
    assert!(refused.reason().contains("Content-Length"), "{}", refused.reason());
    assert!(bob.closed(PATIENCE), "the next message cannot be found");
    serves(&server);
}

#[test]
fn other_protocols_on_each_port_get_no_connection_and_harm_nobody() {
    let authority = Authority::new();
    let certificate = authority.config(&authority.issue("office", &["office.example"]), "");
    let server = Server::start(&format!("{OPEN}{certificate}limits: {{ message_time: 2s, handshake_time: 2s }}\n"));
    let hello = tls::client_hello(&authority);
    let sip: &[u8] = b"OPTIONS sip:office.example SIP/2.0\r\nVia: SIP/2.0/TCP x.invalid\r\nContent-Length: 0\r\n\r\n";
    let http: &[u8] = b"GET /phone HTTP/1.1\r\nHost: x\r\n\r\n";
    let zeros = [0; 2_000];
    // What the answer may begin with; nothing if there must be none.
    for (port, octets, answer) in [
        (server.address(), http, ""),
        (server.address(), &hello, ""),
        (server.address(), &zeros, ""),
        (server.websocket(), sip, "HTTP/1.1 400"),
        (server.websocket(), &hello, "HTTP/1.1 400"),
        (server.websocket(), &zeros, "HTTP/1.1 400"),
        // The alert of TLS 1.2 and 1.3.
        (server.tls(), http, "\u{15}\u{3}\u{3}"),
        (server.secure_websocket(), sip, "\u{15}\u{3}\u{3}"),
        (server.secure_websocket(), http, "\u{15}\u{3}\u{3}"),
        (server.secure_websocket(), &zeros, "\u{15}\u{3}\u{3}"),
    ] {
        let mut stream = TcpStream::connect_timeout(&port, PATIENCE).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(octets).expect("a stream takes it");
        let mut received = Vec::new();
        let ended = stream.read_to_end(&mut received);
        let is_open = ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        let text = String::from_utf8_lossy(&received);
        let sent = String::from_utf8_lossy(&octets[..octets.len().min(20)]);
        assert!(!is_open, "{port} {sent:?}: the connection is still open");
        assert!(text.starts_with(answer) && (!answer.is_empty() || text.is_empty()), "{port} {sent:?}: {text:?}");
    }
    serves(&server);
}

#[test]
fn messages_in_one_segment_are_all_read() {
    let server = Server::start(OPEN);
    let mut bob = Phone::tcp("bob", server.address());
    let mut octets = Vec::new();
    for _ in 0..20 {
        let options = bob.request("OPTIONS", "sip:office.example").body("text/plain", "hello");
        octets.extend(bob.stamp(options).bytes());
        octets.extend(b"\r\n");
    }
    bob.send_raw(&octets);
    for _ in 0..20 {
        bob.response(200);
    }
}

#[test]
fn keep_alives_are_answered() {
    let server = Server::start(OPEN);
    let mut bob = Phone::tcp("bob", server.address()).registered();
    // checklist 145
    bob.send_raw(b"\r\n\r\n");
    assert_eq!(bob.octets(2), b"\r\n");
    assert_eq!(bob.bindings().len(), 1);
}

#[test]
fn many_connections_of_one_peer_leave_room_for_others() {
    let server = Server::start(&format!("{OPEN}limits: {{ connections_per_source: 100 }}\n"));
    let mut before = Phone::tcp("early", server.address());
    // From one loopback address; the phones that check the service use another one.
    let crowd: Vec<_> = (0..200).filter_map(|_| from([127, 0, 0, 2], server.address())).collect();
    assert!(crowd.len() >= 100, "{} connections", crowd.len());
    serves(&server);
    let options = before.request("OPTIONS", "sip:office.example");
    assert_eq!(before.ask(options).status(), Some(200));
    server.counts("frontdesk_limits_reached_total", &[("limit", "connections_per_source")], |count| count >= 1.0);
    drop(crowd);
    serves(&server);
}

#[test]
fn the_server_survives_running_out_of_file_descriptors() {
    let server = Server::start_with_file_limit(&format!("{OPEN}limits: {{ message_time: 2s }}\n"), 64);
    let crowd: Vec<_> = (0..100).filter_map(|_| from([127, 0, 0, 3], server.address())).collect();
    assert!(crowd.len() >= 64, "{} connections", crowd.len());
    // Datagrams need no file descriptor.
    let mut judge = Phone::udp("judge", server.address());
    let options = judge.request("OPTIONS", "sip:office.example");
    assert_eq!(judge.ask(options).status(), Some(200));
    drop(crowd);
    server.takes_connections();
    serves(&server);
}

/// A connection from a certain loopback address.
fn from(source: [u8; 4], to: SocketAddr) -> Option<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::from((source, 0)).into()).ok()?;
    socket.connect_timeout(&to.into(), Duration::from_secs(2)).ok()?;
    Some(socket.into())
}

#[test]
fn a_peer_that_never_reads_is_dropped() {
    let server = Server::start(&format!("{OPEN}limits: {{ connection_queue: 64KiB }}\n"));
    let mut deaf = Phone::tcp("deaf", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let body = "x".repeat(30_000);
    let before = memory(&server);
    for _ in 0..1_000 {
        let message = alice.request("MESSAGE", "sip:deaf@office.example").body("text/plain", body.clone());
        alice.send(message);
    }
    serves(&server);
    let after = memory(&server);
    assert!(after < before + 64 * 1024, "memory grew from {before} to {after} KiB");
    // Its connection is closed sooner or later; what was sent before may still be read.
    deaf.closed(Duration::from_millis(200));
}
