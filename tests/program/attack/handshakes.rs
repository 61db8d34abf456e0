//! Connections that begin a TLS or WebSocket handshake and never finish it, by the thousand.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::server::OPEN;
use crate::harness::{Authority, PATIENCE, Phone, Server, tls, wait_for};

/// At least so many.
const HANDSHAKES: usize = 10_000;
/// Addresses of the attacker, with as many connections each.
const SOURCES: [[u8; 4]; 4] = [[127, 201, 0, 1], [127, 201, 0, 2], [127, 201, 0, 3], [127, 201, 0, 4]];
/// The latest connections that each address keeps open: more than the server allows.
const KEPT: usize = 80;
/// How often each phone must be served while the attack lasts.
const ROUNDS: usize = 5;
/// How long the attack lasts at most.
const LONGEST: Duration = Duration::from_secs(60);

fn connect(source: [u8; 4], to: SocketAddr) -> Option<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::from((source, 0)).into()).ok()?;
    socket.connect_timeout(&to.into(), Duration::from_secs(5)).ok()?;
    Some(socket.into())
}

/// Opens connections from one address and sends the beginning of a handshake on each, until each phone was served often
/// enough meanwhile. Returns how many were opened.
fn attack(source: [u8; 4], beginnings: &[(SocketAddr, Vec<u8>)], rounds: &AtomicUsize) -> usize {
    let mut kept = VecDeque::new();
    let mut opened = 0;
    let begun = Instant::now();
    let is_over = |opened| opened >= HANDSHAKES / SOURCES.len() && rounds.load(Ordering::Relaxed) >= ROUNDS;
    while !is_over(opened) && begun.elapsed() < LONGEST {
        let (to, octets) = &beginnings[opened % beginnings.len()];
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

/// Checks that a phone is served within the patience of tests, which is shorter than the time that a handshake may take.
#[track_caller]
fn is_served(phone: &mut Phone) {
    let options = phone.request("OPTIONS", "sip:office.example");
    assert_eq!(phone.ask(options).status(), Some(200));
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
    let server = Server::start(&format!("{OPEN}{certificate}limits: {{ handshake_time: 30s }}\n"));
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

    let rounds = AtomicUsize::new(0);
    let (opened, most) = std::thread::scope(|scope| {
        let attackers = SOURCES.map(|source| {
            scope.spawn({
                let (beginnings, rounds) = (&beginnings, &rounds);
                move || attack(source, beginnings, rounds)
            })
        });
        let mut most = before;
        while attackers.iter().any(|attacker| !attacker.is_finished()) {
            is_served(&mut old);
            is_served(&mut browser);
            is_served(&mut Phone::udp("new", server.address()));
            is_served(&mut Phone::tls("new", server.tls(), &authority));
            is_served(&mut Phone::secure_websocket("new", server.secure_websocket(), &authority));
            most = most.max(memory(&server));
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        (attackers.map(|attacker| attacker.join().expect("an attacker")).iter().sum::<usize>(), most)
    });
    let rounds = rounds.into_inner();
    assert!(opened >= HANDSHAKES && rounds >= ROUNDS, "{opened} connections; phones were served {rounds} times");
    assert!(most < before + 64, "memory grew from {before} to {most} MiB");

    // All of them end and are counted: at once, because the attacker has too many, or when it closes them.
    let counted = || {
        let metrics = server.metrics();
        let ended =
            ["failed", "timed_out"].map(|outcome| metrics.sum("frontdesk_handshakes_total", &[("outcome", outcome)]));
        let [limited, all] = ["handshakes_per_source", "handshakes"]
            .map(|limit| metrics.sum("frontdesk_limits_reached_total", &[("limit", limit)]));
        assert_eq!(all, 0.0, "an attacker with four addresses does not use up all handshakes");
        (limited > 0.0 && limited + ended.iter().sum::<f64>() == opened as f64).then_some(())
    };
    assert!(wait_for(PATIENCE, counted).is_some(), "{}", server.metrics().text);
    server.counts("frontdesk_connections", &[], |count| count == 2.0);
    is_served(&mut old);
    is_served(&mut browser);
}
