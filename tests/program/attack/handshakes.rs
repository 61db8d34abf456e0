//! Connections that begin a TLS or WebSocket handshake and never finish it, by the thousand.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::server::OPEN;
use crate::harness::{Authority, PATIENCE, Phone, Server, tls, wait_for};

const HANDSHAKES: usize = 10_000;
/// Addresses of the attacker, with as many connections each.
const SOURCES: [[u8; 4]; 4] = [[127, 201, 0, 1], [127, 201, 0, 2], [127, 201, 0, 3], [127, 201, 0, 4]];
/// The latest connections that each address keeps open: more than the server allows.
const KEPT: usize = 80;
/// How often each phone must be served while the attack lasts.
const ROUNDS: usize = 5;

fn connect(source: [u8; 4], to: SocketAddr) -> Option<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::from((source, 0)).into()).ok()?;
    socket.connect_timeout(&to.into(), Duration::from_secs(5)).ok()?;
    Some(socket.into())
}

/// Opens connections from one address and sends the beginning of a handshake on each. Returns how many were opened.
fn attack(source: [u8; 4], beginnings: &[(SocketAddr, Vec<u8>)]) -> usize {
    let mut kept = VecDeque::new();
    let mut opened = 0;
    for at in 0..HANDSHAKES / SOURCES.len() {
        let (to, octets) = &beginnings[at % beginnings.len()];
        let Some(mut stream) = connect(source, *to) else { continue };
        // The server may have closed it already.
        let _ = stream.write_all(octets);
        opened += 1;
        // Otherwise most are closed before the server has accepted them.
        std::thread::sleep(Duration::from_millis(2));
        kept.push_back(stream);
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }
    opened
}

/// Checks that a phone is served soon.
#[track_caller]
fn is_served(phone: &mut Phone) {
    let begun = Instant::now();
    let options = phone.request("OPTIONS", "sip:office.example");
    assert_eq!(phone.ask(options).status(), Some(200));
    assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
}

/// Resident memory in MiB.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("the server runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number") / 1024
}

#[test]
fn ten_thousand_unfinished_handshakes_harm_nobody() {
    let authority = Authority::new();
    let certificate = authority.config(&authority.issue("office", &["office.example"]), "");
    let server = Server::start(&format!("{OPEN}{certificate}limits: {{ handshake_time: 3s }}\n"));
    let hello = tls::client_hello(&authority);
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nX-Long: ";
    let beginnings = [
        (server.tls(), hello[..hello.len() / 2].to_vec()),
        (server.tls(), hello.clone()),
        (server.secure_websocket(), hello),
        (server.websocket(), request.to_vec()),
        (server.secure_websocket(), Vec::new()),
    ];
    let mut old = Phone::tls("old", server.tls(), &authority);
    let mut browser = Phone::secure_websocket("browser", server.secure_websocket(), &authority);
    let before = memory(&server);

    let is_over = AtomicBool::new(false);
    let (opened, rounds, most) = std::thread::scope(|scope| {
        let beginnings = &beginnings;
        let attackers = SOURCES.map(|source| scope.spawn(move || attack(source, beginnings)));
        let counter = scope.spawn(|| {
            let opened = attackers.into_iter().map(|attacker| attacker.join().expect("an attacker")).sum::<usize>();
            is_over.store(true, Ordering::Relaxed);
            opened
        });
        let (mut rounds, mut most) = (0, before);
        while !is_over.load(Ordering::Relaxed) {
            is_served(&mut old);
            is_served(&mut browser);
            is_served(&mut Phone::udp("new", server.address()));
            is_served(&mut Phone::tls("new", server.tls(), &authority));
            is_served(&mut Phone::secure_websocket("new", server.secure_websocket(), &authority));
            most = most.max(memory(&server));
            rounds += 1;
        }
        (counter.join().expect("a number"), rounds, most)
    });
    assert_eq!(opened, HANDSHAKES, "connections");
    assert!(rounds >= ROUNDS, "phones were served {rounds} times");
    assert!(most < before + 64, "memory grew from {before} to {most} MiB");

    // All of them end and are counted: at once, because the attacker has too many, or when it closes them.
    let counted = || {
        let metrics = server.metrics();
        let ended =
            ["failed", "timed_out"].map(|outcome| metrics.sum("frontdesk_handshakes_total", &[("outcome", outcome)]));
        let [limited, all] = ["handshakes_per_source", "handshakes"]
            .map(|limit| metrics.sum("frontdesk_limits_reached_total", &[("limit", limit)]));
        assert_eq!(all, 0.0, "an attacker with four addresses does not use up all handshakes");
        (limited > 0.0 && limited + ended.iter().sum::<f64>() == HANDSHAKES as f64).then_some(())
    };
    assert!(wait_for(PATIENCE, counted).is_some(), "{}", server.metrics().text);
    server.counts("frontdesk_connections", &[], |count| count == 2.0);
    is_served(&mut old);
    is_served(&mut browser);
}
