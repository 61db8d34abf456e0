//! TLS connections to peers that prove the name that was called (RFC 5922), and which names a connection is used for
//! (RFC 5923).

use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener};

use crate::harness::digest::Credentials;
use crate::harness::message::ack_of;
use crate::harness::server::{CLOSED, OPEN};
use crate::harness::tls::{self, Pair};
use crate::harness::{Authority, DnsServer, Message, PATIENCE, Phone, Server, wait_for};
use crate::tls::start;

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

    /// The connection of the server, and what came over it; an error if the server does not trust this peer.
    #[track_caller]
    fn accept(&self) -> std::io::Result<(tls::Socket, Vec<u8>)> {
        let accepted = wait_for(PATIENCE, || self.listener.accept().ok()).expect("the server connects").0;
        accepted.set_nonblocking(false).expect("a stream");
        let mut socket = tls::Socket::accept(accepted, self.certificate.server())?;
        // Over TLS 1.3 the client's alert follows the end of the handshake.
        let mut unread = Vec::new();
        while unread.is_empty() && socket.more(&mut unread, PATIENCE) {}
        match unread.is_empty() {
            true => Err(ErrorKind::ConnectionAborted.into()),
            false => Ok((socket, unread)),
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

const BOB: &str = "sip:bob@office.example";

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
    // checklist 168, 169
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
    for (outcome, count) in [("accepted", 3.0), ("name", 6.0)] {
        server.counts("frontdesk_peer_handshakes_total", &[("outcome", outcome)], |counted| counted == count);
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
    for outcome in ["expired", "untrusted"] {
        server.counts("frontdesk_peer_handshakes_total", &[("outcome", outcome)], |counted| counted == 1.0);
    }
}

#[test]
fn a_connection_is_used_again_for_the_name_that_its_peer_has_proved() {
    let authority = Authority::new();
    // checklist 169
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

#[test]
fn a_response_after_the_connection_was_closed_goes_to_the_name_in_via() {
    // checklist 111
    let authority = Authority::new();
    let server = start(&authority, OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    for (name, is_believed) in [("a.example", true), ("b.example", false)] {
        let mut alice = Phone::tls("alice", server.tls(), &authority);
        let peer = Peer::new("a.example", alice.local().ip(), authority.issue(name, &["a.example"]));
        let port = peer.listener.local_addr().expect("an address").port();
        let via = format!("SIP/2.0/TLS {name}:{port};branch=z9hG4bK-{port}");
        let invite = alice.invite(BOB).with_first("Via", via);
        alice.send(invite);
        let received = bob.expect("INVITE");
        alice.tls_socket().close();
        assert!(alice.closed(PATIENCE));
        bob.reply(&received, 486);
        let answered = peer.accept().map(|(_, unread)| String::from_utf8_lossy(&unread).starts_with("SIP/2.0 486"));
        assert_eq!(answered.ok(), is_believed.then_some(true), "{name}");
    }
}

#[test]
fn a_connection_of_a_peer_is_used_for_the_names_in_its_certificate_only() {
    // checklist 170
    let authority = Authority::new();
    let dns = DnsServer::start();
    let office = authority.issue("office", &["office.example"]);
    let tls_keys = authority.config(&office, ", client_certificates: request");
    let server = Server::start(&format!("{CLOSED}foreign: authenticated\n{}{tls_keys}", dns.config()));
    let mut alice = Phone::udp("alice", server.address());
    // The name that is called, the one in the certificate of the client, what its Via says, and whether its connection is used.
    let cases = [
        ("a.example", Some("a.example"), ";alias", 0, true),
        ("b.example", Some("b.example"), "", 0, false),
        ("c.example", Some("c.example"), ";alias", 1, false),
        ("d.example", Some("other.example"), ";alias", 0, false),
        ("e.example", None, ";alias", 0, false),
    ];
    let mut zone = String::new();
    for (name, own, param, another_port, is_used) in cases {
        let own = own.map(|own| authority.issue(own, &[own]));
        let client = authority.client(own.as_ref());
        let socket = tls::Socket::connect(server.tls(), tls::NAME, client).expect("a connection");
        let mut dave = Phone::on_tls("dave", server.tls(), socket);
        let peer = Peer::new(name, dave.local().ip(), authority.issue(&format!("server-{name}"), &[name]));
        zone.push_str(&peer.zone());
        dns.set(&zone);
        let port = peer.listener.local_addr().expect("an address").port() - another_port;
        let via = format!("SIP/2.0/TLS {name}:{port};branch=z9hG4bK-{port}{param}");
        let options = dave.request("OPTIONS", "sip:office.example").with_first("Via", via);
        assert_eq!(dave.ask(options).status(), Some(200));
        if is_used {
            let invite = alice.invite(&format!("sip:dave@{name};transport=tls"));
            let invite = alice.authenticated(invite, ALICE);
            refuse(&mut alice, &invite, &mut dave);
            dave.expect("ACK");
            assert!(peer.listener.accept().is_err(), "no other connection is needed");
            // Once it is closed it is not used any more.
            dave.tls_socket().close();
            assert!(dave.closed(PATIENCE));
        }
        peer.is_called(&server, &mut alice);
    }
}
