//! Attacks on the operation of the server: its log, its HTTP interface, its file descriptors, its memory, its clock.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::harness::digest::Credentials;
use crate::harness::server::{CLOSED, OPEN};
use crate::harness::{PATIENCE, Phone, Server, http};

/// A UDP phone at an address of its own.
fn phone_at(ip: [u8; 4], user: &str, server: &Server) -> Phone {
    let socket = UdpSocket::bind((IpAddr::from(ip), 0)).expect("a loopback address");
    Phone::on_socket(user, server.address(), socket)
}

#[test]
fn many_refused_requests_do_not_hide_other_log_lines() {
    let mut server = Server::start(CLOSED);
    for number in 0..1_100_u16 {
        let [high, low] = number.to_be_bytes();
        let mut stranger = phone_at([127, 200, high, low], "eve", &server).of("elsewhere.example");
        let invite = stranger.invite("sip:bob@office.example");
        stranger.send(invite);
    }
    server.counts("frontdesk_requests_received_total", &[("method", "INVITE")], |count| count == 1_100.0);
    // Other kinds of lines have their own limit.
    let mut mallory = Phone::udp("bob", server.address());
    let register = mallory.register(Some("<sip:mallory@192.0.2.66>"));
    mallory.authenticated(register, Credentials::new("bob", "guess"));
    mallory.response(401);
    server.logs("registration of bob refused: wrong password");
    // The number of suppressed lines is logged once a minute and at the end.
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(5)).is_some_and(|status| status.success()));
    let log = server.log();
    let line = log.lines().find(|line| line.contains("not logged")).expect("a line");
    let lines = log.lines().filter(|line| line.contains("call of eve@elsewhere.example refused")).count();
    assert!(line.contains(&format!("{} requests of strangers", 1_100 - lines)), "{line}");
    assert!(line.contains("addresses") && line.contains("1 user"), "{line}");
    assert!((1..=100).contains(&lines), "{lines} lines");
}

#[test]
fn garbage_and_foreign_identities_are_logged() {
    let server = Server::start(CLOSED);
    Phone::udp("x", server.address()).send_raw(b"\0\0\0 this is no SIP\r\n\r\n");
    server.logs("unreadable message over udp, from 127.");
    let mut bob = Phone::udp("bob", server.address());
    let invite = bob.invite("sip:carol@office.example");
    let invite = invite.set("From", "<sip:alice@office.example>;tag=1");
    bob.authenticated(invite, Credentials::new("bob", "builder"));
    bob.response(403);
    server.logs("Authenticated as another user (see accounts.may_call_as)");
    let mut stranger = Phone::udp("eve", server.address()).of("elsewhere.example");
    let message = stranger.request("MESSAGE", "sip:bob@office.example");
    stranger.send(message);
    stranger.response(407);
    server.logs("MESSAGE of eve@elsewhere.example refused: Callers without an account are not accepted (see strangers, trusted)");
}

#[test]
fn text_of_a_peer_is_escaped_in_the_log() {
    let server = Server::start(OPEN);
    let mut phone = Phone::udp("mallory", server.address());
    let agent = "A\u{202e}B\u{2028}C\u{2066}D\u{85}E\u{200b}F\u{feff}G";
    let aor = "sip:x%E2%80%AE%C2%9By@office.example";
    let register = phone.register(Some(&format!("<{}>", phone.contact())));
    let register =
        register.set("To", format!("<{aor}>")).set("From", format!("<{aor}>;tag=1")).with("User-Agent", agent);
    phone.send(register);
    phone.response(200);
    server.logs("registered from");
    let shown = |text: &str| text.chars().find(|c| !c.is_ascii() && *c != '…');
    assert_eq!(shown(&server.log()), None, "{:?}", server.log());
    assert!(server.log().contains("\\u202e"), "{}", server.log());
    for path in ["/api/v1/users", "/api/v1/explain?to=x%E2%80%AEy", "/api/v1/users/x%E2%80%AE%C2%9By"] {
        let answer = http::get(server.http(), path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(shown(&answer.body), None, "{path}: {:?}", answer.body);
    }
}

#[test]
fn an_http_request_needs_exactly_one_host() {
    // RFC 9112 3.2
    let server = Server::start(OPEN);
    let host = server.http();
    let ask = |head: &str| http::send(host, head).status;
    for path in ["/api/v1/users", "/health", "/metrics", "/"] {
        let get = |more: &str| format!("GET {path} HTTP/1.1\r\n{more}");
        assert_eq!(ask(&get(&format!("Host: {host}\r\n"))), 200, "{path}");
        assert_eq!(ask(&get(&format!("Host: {host}\r\nHost: {host}\r\n"))), 400, "{path}");
        assert_eq!(ask(&get(&format!("Host: {host}\r\nHost: evil.example\r\n"))), 400, "{path}");
        assert_eq!(ask(&get("")), 400, "{path}");
        assert_eq!(ask(&get("Host: a b\r\n")), 400, "{path}");
        assert_eq!(ask(&get(&format!("Host: evil.example@{host}\r\n"))), 400, "{path}");
        assert_eq!(
            ask(&get(&format!("Host: {host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n"))),
            400,
            "{path}"
        );
        assert_eq!(ask(&format!("GET http://evil.example{path} HTTP/1.1\r\nHost: {host}\r\n")), 400, "{path}");
    }
    // An old load balancer.
    assert_eq!(ask("GET /health HTTP/1.0\r\n"), 200);
}

#[test]
fn slow_http_clients_do_not_delay_others() {
    let server = Server::start(&format!("{OPEN}limits: {{ admin_connections: 2 }}\n"));
    let host = server.http();
    let slow: Vec<_> = (0..6)
        .map(|_| {
            let mut stream = TcpStream::connect(host).expect("a connection");
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHos").expect("a part of a head");
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(100));
    for _ in 0..10 {
        let begun = Instant::now();
        assert_eq!(http::get(host, "/health").status, 200);
        assert!(begun.elapsed() < Duration::from_millis(500), "/health took {:?}", begun.elapsed());
    }
    drop(slow);
    server.counts("frontdesk_limits_reached_total", &[("limit", "admin_connections")], |count| count >= 1.0);
}

/// Connections that send nothing.
fn idle(server: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).filter_map(|_| TcpStream::connect_timeout(&server, PATIENCE).ok()).collect()
}

#[test]
fn more_connections_than_file_descriptors_do_not_stop_the_server() {
    // As many as the system allows: the soft limit is raised to the hard one.
    let server = Server::start_limited(OPEN, "ulimit -Sn 64 && ulimit -Hn 512");
    let many = idle(server.address(), 200);
    server.counts("frontdesk_connections", &[], |open| open == 200.0);
    assert_eq!(http::get(server.http(), "/health").status, 200);
    drop(many);
    // If that is fewer than `limits.connections`, this is logged, and the rest is kept for everything else.
    let server = Server::start_limited(OPEN, "ulimit -n 160");
    server.logs("limits.connections");
    let many = idle(server.address(), 300);
    server.counts("frontdesk_limits_reached_total", &[("limit", "connections")], |count| count >= 1.0);
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(http::get(server.http(), path).status, 200, "{path}");
    }
    assert!(!server.log().contains("cannot accept"), "{}", server.log());
    Phone::udp("bob", server.address()).registered();
    drop(many);
    server.takes_connections();
    Phone::tcp("bob", server.address()).registered();
}

#[test]
fn a_final_dot_is_the_same_domain() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::udp("alice", server.address()).of("Office.Example.");
    let invite = alice.invite("sip:bob@office.example.");
    alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let at_bob = bob.expect("INVITE");
    bob.reply(&at_bob, 486);
    alice.response(486);
    // It is no way around the password either.
    let mut eve = Phone::udp("alice", server.address()).of("office.example.");
    let invite = eve.invite("sip:bob@office.example");
    let invite = eve.send(invite);
    eve.challenged(&invite);
    let mut dotted = Phone::udp("carol", server.address()).of("office.example.");
    let register = dotted.register(Some(&format!("<{}>", dotted.contact())));
    dotted.authenticated(register, Credentials::new("carol", "christmas"));
    dotted.response(200);
    assert_eq!(http::get(server.http(), "/api/v1/users/carol").json()["phones"].as_array().map(Vec::len), Some(1));
}

#[test]
fn open_registration_has_a_limit_on_users() {
    let server = Server::start(&format!("{OPEN}limits: {{ users: 3 }}\n"));
    let mut first = Phone::udp("user1", server.address()).registered();
    for user in ["user2", "user3"] {
        Phone::udp(user, server.address()).registered();
    }
    let mut fourth = Phone::udp("user4", server.address());
    let register = fourth.register(Some(&format!("<{}>", fourth.contact())));
    let refused = fourth.ask(register);
    assert_eq!(refused.status(), Some(503), "{refused}");
    assert!(refused.find("Retry-After").is_some(), "{refused}");
    server.counts("frontdesk_limits_reached_total", &[("limit", "users")], |count| count == 1.0);
    // Registered users may refresh and add a second phone.
    let register = first.register(Some(&format!("<{}>", first.contact())));
    assert_eq!(first.ask(register).status(), Some(200));
    Phone::udp("user1", server.address()).registered();
}

#[test]
fn a_slow_reader_does_not_delay_others() {
    let server = Server::start(&format!("{OPEN}limits: {{ admin_connections: 2 }}\n"));
    let host = server.http();
    let slow: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(host).expect("a connection");
            let many = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").repeat(200);
            let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
            let _ = stream.write_all(many.as_bytes());
            stream
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(http::get(host, "/health").status, 200);
    assert!(begun.elapsed() < Duration::from_millis(500), "/health took {:?}", begun.elapsed());
    let mut rest = Vec::new();
    slow.into_iter().for_each(|mut stream| {
        let _ = stream.set_read_timeout(Some(Duration::from_millis(10)));
        let _ = stream.read_to_end(&mut rest);
    });
}
