//! TLS: handshakes, certificates, calls with phones on other transports, peers that prove their names. RFC 3261 26.2,
//! RFC 5922.

use std::net::{IpAddr, TcpListener};

use crate::call::talk;
use crate::harness::digest::Credentials;
use crate::harness::message::{ack_of, uri};
use crate::harness::server::{CLOSED, OPEN};
use crate::harness::tls::{self, Pair};
use crate::harness::{Authority, DnsServer, Message, PATIENCE, Phone, Server, wait_for};

/// A server with a certificate for `office.example`.
fn start(authority: &Authority, config: &str) -> Server {
    let pair = authority.issue("office", &["office.example"]);
    Server::start(&format!("{config}{}", authority.config(&pair, "")))
}

#[test]
fn calls_with_every_other_transport_in_both_directions() {
    let authority = Authority::new();
    let server = start(&authority, OPEN);
    let (sip, tls, ws) = (server.address(), server.tls(), server.websocket());
    let phone = |user| Phone::tls(user, tls, &authority);
    talk(&mut phone("alice"), &mut phone("bob").registered());
    talk(&mut phone("alice"), &mut Phone::udp("carol", sip).registered());
    talk(&mut phone("alice"), &mut Phone::tcp("dave", sip).registered());
    talk(&mut phone("alice"), &mut Phone::websocket("erin", ws).registered());
    talk(&mut Phone::udp("alice", sip), &mut phone("frank").registered());
    talk(&mut Phone::tcp("alice", sip), &mut phone("grace").registered());
    talk(&mut Phone::websocket("alice", ws), &mut phone("heidi").registered());
    let metrics = server.metrics();
    for name in ["frontdesk_requests_received_total", "frontdesk_requests_forwarded_total"] {
        assert!(metrics.sum(name, &[("transport", "tls")]) > 0.0, "{name}");
    }
    let accepted = [("protocol", "tls"), ("outcome", "accepted")];
    assert_eq!(metrics.sum("frontdesk_handshakes_total", &accepted), 8.0);
    assert_eq!(metrics.sum("frontdesk_connections_opened_total", &[("direction", "out")]), 0.0);
}

#[test]
fn each_side_of_a_bridged_call_gets_a_route_for_its_transport() {
    let authority = Authority::new();
    let server = start(&authority, OPEN);
    let mut alice = Phone::tls("alice", server.tls(), &authority);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let invite = alice.invite(&bob.aor());
    alice.send(invite);
    let at_bob = bob.expect("INVITE");
    // RFC 5658: the first value is for the callee, the second one for the caller.
    let routes = at_bob.list("Record-Route");
    let (sip, tls) = (format!("@{};lr", server.address()), format!("@{};transport=tls;lr", server.tls()));
    assert!(routes.len() == 2 && uri(routes[0]).ends_with(&sip) && uri(routes[1]).ends_with(&tls), "{at_bob}");
    let via = at_bob.list("Via");
    assert!(via[0].starts_with("SIP/2.0/UDP ") && via[1].starts_with("SIP/2.0/TLS "), "{at_bob}");
    bob.reply(&at_bob, 486);
    alice.response(486);
}

#[test]
fn a_phone_with_a_password_registers_and_calls() {
    let authority = Authority::new();
    let server = start(&authority, CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::tls("alice", server.tls(), &authority).registered_as("wonderland");
    let invite = alice.invite(&bob.aor());
    alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let at_bob = bob.expect("INVITE");
    bob.reply(&at_bob, 486);
    alice.response(486);
}

#[test]
fn browsers_call_over_secure_websocket() {
    // checklist 166
    let authority = Authority::new();
    let server = start(&authority, OPEN);
    let browser = |user| Phone::secure_websocket(user, server.secure_websocket(), &authority);
    let phone = |user| Phone::tls(user, server.tls(), &authority);
    talk(&mut browser("alice"), &mut browser("bob").registered());
    talk(&mut browser("alice"), &mut phone("carol").registered());
    talk(&mut phone("alice"), &mut browser("dave").registered());
    talk(&mut browser("alice"), &mut Phone::udp("erin", server.address()).registered());
    talk(&mut Phone::websocket("alice", server.websocket()), &mut browser("frank").registered());
    assert_eq!(server.metrics().sum("frontdesk_lookups_total", &[]), 0.0, "a host in .invalid is never looked up");
}

/// Where a call to `dave@HOST` over TLS leads: a listener with this certificate, below the name of an SRV target.
struct Peer {
    host: String,
    listener: TcpListener,
    certificate: Pair,
}

impl Peer {
    fn new(host: &str, ip: IpAddr, certificate: Pair) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener");
        Self { host: host.to_owned(), listener, certificate }
    }

    fn zone(&self) -> String {
        let (host, address) = (&self.host, self.listener.local_addr().expect("an address"));
        let (ip, port) = (address.ip(), address.port());
        format!("_sips._tcp.{host} SRV 0 1 {port} target.{host}\ntarget.{host} A {ip}\n")
    }

    /// The connection of the server; an error if the server does not trust this peer.
    #[track_caller]
    fn accept(&self) -> std::io::Result<tls::Socket> {
        let accepted = wait_for(PATIENCE, || self.listener.accept().ok()).expect("the server connects").0;
        accepted.set_nonblocking(false).expect("a stream");
        let mut socket = tls::Socket::accept(accepted, self.certificate.server())?;
        // Over TLS 1.3 the client's alert follows the end of the handshake.
        let mut unread = Vec::new();
        while unread.is_empty() && socket.more(&mut unread, PATIENCE) {}
        match unread.is_empty() {
            true => Err(std::io::ErrorKind::ConnectionAborted.into()),
            false => Ok(socket),
        }
    }

    /// A call must arrive here. It is refused with 486.
    #[track_caller]
    fn is_called(&self, server: &Server, alice: &mut Phone) -> Phone {
        let uri = format!("sip:dave@{};transport=tls", self.host);
        let invite = alice.invite(&uri);
        let invite = alice.authenticated(invite, ALICE);
        let accepted = wait_for(PATIENCE, || self.listener.accept().ok()).expect("the server connects").0;
        accepted.set_nonblocking(false).expect("a stream");
        let socket = tls::Socket::accept(accepted, self.certificate.server()).expect("a handshake");
        let mut dave = Phone::on_tls("dave", server.tls(), socket);
        refuse(alice, &invite, &mut dave);
        dave
    }
}

/// The INVITE of alice is at dave's, who refuses it.
#[track_caller]
fn refuse(alice: &mut Phone, invite: &Message, dave: &mut Phone) {
    let at_dave = dave.expect("INVITE");
    assert!(at_dave.header("Via").starts_with("SIP/2.0/TLS "), "{at_dave}");
    dave.reply(&at_dave, 486);
    let response = alice.next_final();
    assert_eq!(response.status(), Some(486), "{response}");
    alice.send(ack_of(invite, &response));
}

const ALICE: Credentials<'static> = Credentials::new("alice", "wonderland");

/// A server that asks the DNS server and calls foreign domains, and alice's phone.
fn start_with_dns(authority: &Authority) -> (DnsServer, Server, Phone) {
    let dns = DnsServer::start();
    let server = start(authority, &format!("{CLOSED}foreign: authenticated\n{}", dns.config()));
    let alice = Phone::udp("alice", server.address());
    (dns, server, alice)
}

#[test]
fn a_peer_proves_the_name_that_was_called() {
    let authority = Authority::new();
    let (dns, server, mut alice) = start_with_dns(&authority);
    // RFC 5922 7.1, 7.2
    let cases: [(&str, &[&str], bool); 9] = [
        ("a.example", &["a.example"], true),
        ("b.example", &["other.example", "B.Example"], true),
        ("c.example", &["sip:c.example", "other.example"], true),
        ("d.example", &["sip:other.example", "d.example"], false),
        ("e.example", &["*.example"], false),
        ("f.example", &["target.f.example"], false),
        ("g.example", &["sip:dave@g.example"], false),
        ("h.example", &["127.0.0.1"], false),
        // Its common name is this name.
        ("office2.example", &[], false),
    ];
    let peers: Vec<_> = cases
        .iter()
        .map(|(host, names, _)| {
            let certificate = authority.issue_with(host, names, |params| {
                params.distinguished_name.push(rcgen::DnType::CommonName, "office2.example");
            });
            Peer::new(host, server.ip(), certificate)
        })
        .collect();
    dns.set(&peers.iter().map(Peer::zone).collect::<String>());
    for (peer, (host, names, is_believed)) in peers.iter().zip(cases) {
        if is_believed {
            peer.is_called(&server, &mut alice);
            continue;
        }
        let invite = alice.invite(&format!("sip:dave@{host};transport=tls"));
        let invite = alice.authenticated(invite, ALICE);
        assert!(peer.accept().is_err(), "{host} {names:?}");
        let response = alice.next_final();
        assert!(matches!(response.status(), Some(500 | 503)), "{host} {names:?}\n{response}");
        alice.send(ack_of(&invite, &response));
    }
}

#[test]
fn a_peer_of_an_unknown_authority_or_with_an_expired_certificate_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (dns, server, mut alice) = start_with_dns(&authority);
    let expired = authority.issue_with("expired", &["a.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let peers = [
        Peer::new("a.example", server.ip(), expired),
        Peer::new("b.example", server.ip(), other.issue("other", &["b.example"])),
    ];
    dns.set(&peers.iter().map(Peer::zone).collect::<String>());
    for peer in peers {
        let invite = alice.invite(&format!("sip:dave@{};transport=tls", peer.host));
        let invite = alice.authenticated(invite, ALICE);
        assert!(peer.accept().is_err(), "{}", peer.host);
        let response = alice.next_final();
        assert!(matches!(response.status(), Some(500 | 503)), "{response}");
        alice.send(ack_of(&invite, &response));
    }
}

#[test]
fn a_connection_is_used_again_for_the_name_that_its_peer_has_proved() {
    let authority = Authority::new();
    let (dns, server, mut alice) = start_with_dns(&authority);
    let peer = Peer::new("a.example", server.ip(), authority.issue("a", &["a.example"]));
    // Both names lead to the same address.
    let port = peer.listener.local_addr().expect("an address").port();
    dns.set(&format!("{}_sips._tcp.b.example SRV 0 1 {port} target.a.example\n", peer.zone()));
    let mut dave = peer.is_called(&server, &mut alice);
    dave.expect("ACK");
    let invite = alice.invite("sip:dave@a.example;transport=tls");
    let invite = alice.authenticated(invite, ALICE);
    refuse(&mut alice, &invite, &mut dave);
    assert_eq!(server.metrics().sum("frontdesk_connections_opened_total", &[("direction", "out")]), 1.0);
    let invite = alice.invite("sip:dave@b.example;transport=tls");
    alice.authenticated(invite, ALICE);
    assert!(peer.accept().is_err(), "the certificate does not name b.example");
    assert!(matches!(alice.next_final().status(), Some(500 | 503)));
}
