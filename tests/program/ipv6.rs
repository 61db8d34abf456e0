//! Connections that the server opens over IPv6: to the Contact of a phone, and to a host name. RFC 3261 18.1.1, RFC 3263.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};

use tempfile::TempDir;

use crate::bridged_calls::{End, connects, follows, transport};
use crate::harness::digest::Credentials;
use crate::harness::message::ack_of;
use crate::harness::server::{CLOSED, OPEN, fresh_ip};
use crate::harness::tls::{self, Pair};
use crate::harness::{Authority, DnsServer, PATIENCE, Phone, Server, wait_for};

const LOOPBACK: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ALICE: Credentials<'static> = Credentials::new("alice", "wonderland");

/// A server that listens on UDP, TCP and TLS over IPv4 and IPv6.
fn start(config: &str, authority: &Authority) -> Server {
    let ip = fresh_ip();
    let listeners = ["udp", "tcp", "tls"].map(|name| format!("\"{name}://{ip}:0\", \"{name}://[::1]:0\""));
    let certificate = authority.config(&authority.issue("office", &["office.example"]), "");
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    Server::start_in(folder, ip, &format!("{config}listen: [{}]\n{certificate}", listeners.join(", ")))
}

/// A phone that listens for connections of the server.
struct Listening {
    name: &'static str,
    listener: TcpListener,
    certificate: Pair,
}

impl Listening {
    fn new(name: &'static str, ip: IpAddr, certificate: Pair) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener");
        Self { name, listener, certificate }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    /// Waits for the server to connect.
    #[track_caller]
    fn accept(&self, user: &str) -> Phone {
        let stream = wait_for(PATIENCE, || self.listener.accept().ok()).expect("the server connects").0;
        stream.set_nonblocking(false).expect("a stream");
        let server = stream.peer_addr().expect("an address");
        if self.name == "tcp" {
            return Phone::on_stream(user, server, stream);
        }
        let socket = tls::Socket::accept(stream, self.certificate.server()).expect("a handshake");
        Phone::on_tls(user, server, socket)
    }
}

#[test]
fn a_phone_is_reached_at_the_ipv6_address_in_its_contact() {
    let authority = Authority::new();
    let server = start(OPEN, &authority);
    let udp = [server.ip(), LOOPBACK].map(|ip| server.listens("udp", ip));
    for name in ["tcp", "tls"] {
        let phone = Listening::new(name, LOOPBACK, authority.issue(name, &["::1"]));
        let mut bob = Phone::udp("bob", udp[1]);
        let register = bob.register(Some(&format!("<sip:bob@{};transport={name}>", phone.address())));
        assert_eq!(bob.ask(register).status(), Some(200));

        let mut alice = Phone::udp("alice", udp[0]);
        let invite = alice.invite("sip:bob@office.example");
        let sent = alice.send(invite);
        let mut bob = phone.accept("bob");
        let at_bob = bob.expect("INVITE");
        bob.reply(&at_bob, 486);
        let busy = alice.response(486);
        alice.send(ack_of(&sent, &busy));

        // The next calls use the same connection, from both address families.
        let mut callee = End { transport: transport(name), listener: server.listens(name, LOOPBACK), phone: bob };
        callee.phone.expect("ACK");
        for listener in udp {
            let mut caller = End { transport: transport("udp"), listener, phone: Phone::udp("carol", listener) };
            let (mut at_caller, mut at_callee) = connects(&mut caller, &mut callee, "sip");
            follows(&mut callee, &mut caller, &mut at_callee, "INVITE");
            follows(&mut caller, &mut callee, &mut at_caller, "BYE");
        }
        let remove = callee.phone.register(Some("*")).with("Expires", 0);
        assert_eq!(callee.phone.ask(remove).status(), Some(200));
    }
    assert_eq!(server.metrics().sum("frontdesk_connections_opened_total", &[("direction", "out")]), 2.0);
}

#[test]
fn a_name_with_an_ipv6_address_is_reached_over_tcp_and_tls() {
    let (authority, dns) = (Authority::new(), DnsServer::start());
    let server = start(&format!("{CLOSED}foreign: authenticated\n{}", dns.config()), &authority);
    let far = Listening::new("tcp", LOOPBACK, authority.issue("far", &["far.example"]));
    let safe = Listening::new("tls", LOOPBACK, authority.issue("safe", &["safe.example"]));
    let closed = Listening::new("tcp", LOOPBACK, authority.issue("closed", &[])).address();
    let old = Listening::new("tcp", server.ip(), authority.issue("old", &[]));
    dns.set(&format!(
        "_sip._tcp.far.example SRV 0 1 {} host.far.example\nhost.far.example AAAA ::1\n\
         _sips._tcp.safe.example SRV 0 1 {} host.safe.example\nhost.safe.example AAAA ::1\n\
         _sip._tcp.both.example SRV 0 1 {} v6.both.example\nv6.both.example AAAA ::1\n\
         _sip._tcp.both.example SRV 1 1 {} v4.both.example\nv4.both.example A {}\n",
        far.address().port(),
        safe.address().port(),
        closed.port(),
        old.address().port(),
        old.address().ip(),
    ));
    let mut alice = Phone::udp("alice", server.listens("udp", LOOPBACK));
    for (uri, peer, via) in [
        ("sip:dave@far.example;transport=tcp", &far, "SIP/2.0/TCP [::1]:"),
        ("sip:dave@safe.example;transport=tls", &safe, "SIP/2.0/TLS [::1]:"),
        // Nothing listens at the IPv6 address, so the IPv4 address is tried.
        ("sip:dave@both.example;transport=tcp", &old, "SIP/2.0/TCP 127."),
    ] {
        let invite = alice.invite(uri);
        let invite = alice.authenticated(invite, ALICE);
        let mut dave = peer.accept("dave");
        let at_dave = dave.expect("INVITE");
        assert!(at_dave.header("Via").starts_with(via), "{at_dave}");
        dave.reply(&at_dave, 486);
        let busy = alice.next_final();
        assert_eq!(busy.status(), Some(486), "{uri}\n{busy}");
        alice.send(ack_of(&invite, &busy));
    }
}
