//! TLS: handshakes, certificates, calls with phones on other transports, peers that prove their names. RFC 3261 26.2,
//! RFC 5922.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::call::{is_bridged, talk};
use crate::harness::digest::Credentials;
use crate::harness::message::ack_of;
use crate::harness::server::{CLOSED, OPEN, PROGRAM, free_port, fresh_ip};
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
    is_bridged(&mut alice, ("TLS", "tls"), server.tls(), &mut bob, server.address());
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

/// The names in the certificate that a client gets which asks for this name.
fn served(server: &Server, name: &str, authority: &Authority) -> Option<Vec<u8>> {
    tls::Socket::connect(server.tls(), name, authority.client(None)).ok().map(|socket| socket.peer_certificate())
}

fn content(pair: &Pair) -> Vec<u8> {
    CertificateDer::from_pem_file(&pair.certificate).expect("a certificate").to_vec()
}

#[test]
fn a_client_gets_the_certificate_with_the_name_that_it_asks_for() {
    let authority = Authority::new();
    let ip = fresh_ip();
    let office = authority.issue("office", &["office.example", &ip.to_string()]);
    let branch = authority.issue("branch", &["branch.example", "sip:branch2.example"]);
    let others = authority.issue("others", &["*.other.example"]);
    let also = |pair: &Pair| {
        format!("{{ certificate: {}, private_key: {} }}", pair.certificate.display(), pair.private_key.display())
    };
    let also = format!(", also: [{}, {}]", also(&branch), also(&others));
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder, ip, &format!("{OPEN}{}", authority.config(&office, &also)));
    for (name, expected) in [
        ("office.example", &office),
        ("branch.example", &branch),
        ("sip.other.example", &others),
        // A client that connects to an address sends no name.
        (&ip.to_string(), &office),
    ] {
        assert_eq!(served(&server, name, &authority), Some(content(expected)), "{name}");
    }
    assert_eq!(served(&server, "unknown.example", &authority), None, "the client refuses the default certificate");
}

#[test]
fn clients_with_and_without_certificates() {
    let (authority, other) = (Authority::new(), Authority::new());
    let office = authority.issue("office", &["office.example"]);
    let (good, bad) = (authority.issue("phone", &["phone.example"]), other.issue("phone", &["phone.example"]));
    for (mode, without, with_bad) in [("off", true, true), ("request", true, false), ("require", false, false)] {
        let keys = format!(", client_certificates: {mode}");
        let server = Server::start(&format!("{OPEN}{}", authority.config(&office, &keys)));
        for (own, expected) in [(None, without), (Some(&bad), with_bad), (Some(&good), true)] {
            // Over TLS 1.3 the refusal follows the end of the client's handshake.
            let registers = tls::Socket::connect(server.tls(), tls::NAME, authority.client(own)).is_ok_and(|socket| {
                let mut phone = Phone::on_tls("alice", server.tls(), socket);
                let register = phone.register(Some("<sip:alice@192.0.2.1>"));
                phone.send(register);
                phone.next_in(PATIENCE).is_some_and(|response| response.status() == Some(200))
            });
            assert_eq!(registers, expected, "{mode} {own:?}");
        }
    }
}

#[test]
fn other_protocols_on_the_port_get_no_connection_and_harm_nobody() {
    let authority = Authority::new();
    let server = start(&authority, OPEN);
    let mut bob = Phone::tls("bob", server.tls(), &authority).registered();
    let sip = b"OPTIONS sip:office.example SIP/2.0\r\nContent-Length: 0\r\n\r\n";
    // The record header of TLS 1.1 with a ClientHello for it.
    let old = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2][..], &[7; 32], &[0, 0, 2, 0, 47, 1, 0]].concat();
    let octets: [&[u8]; 5] = [sip, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[0; 600], &old, b"\x16\x03\x03\xff\xff"];
    for (at, octets) in octets.iter().enumerate() {
        let mut stream = TcpStream::connect(server.tls()).expect("a connection");
        stream.write_all(octets).expect("sent");
        if at == 4 {
            stream.shutdown(std::net::Shutdown::Write).expect("closed");
        }
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset), "{at}");
        assert!(answer.is_empty() || answer[0] == 21, "an alert, not {answer:?}");
    }
    server.counts("frontdesk_handshakes_total", &[("protocol", "tls"), ("outcome", "failed")], |count| count == 5.0);
    // TLS on the port of TCP is no SIP message.
    assert!(tls::Socket::connect(server.address(), tls::NAME, authority.client(None)).is_err());
    talk(&mut Phone::udp("alice", server.address()), &mut bob);
}

#[test]
fn unfinished_handshakes_are_limited_in_number_and_time() {
    let authority = Authority::new();
    let limits = "limits: { handshakes: 300, handshakes_per_source: 200, handshake_time: 2s }\n";
    let server = start(&authority, &format!("{OPEN}{limits}"));
    let mut bob = Phone::tls("bob", server.tls(), &authority).registered();
    let open = || {
        let mut stream = TcpStream::connect(server.tls()).expect("a connection");
        // It may be closed already.
        let _ = stream.write_all(&[22, 3, 1, 2, 0]);
        stream
    };
    let held: Vec<_> = (0..250).map(|_| open()).collect();
    server.counts("frontdesk_limits_reached_total", &[("limit", "handshakes_per_source")], |count| count == 50.0);
    // Open connections are not affected.
    talk(&mut Phone::udp("alice", server.address()), &mut bob);
    server.counts("frontdesk_limits_reached_total", &[("limit", "handshake_time")], |count| count == 200.0);
    server.counts("frontdesk_handshakes_total", &[("outcome", "timed_out")], |count| count == 200.0);
    talk(&mut Phone::tls("carol", server.tls(), &authority), &mut bob);
    drop(held);
}

#[test]
fn renewed_certificates_are_used_and_bad_ones_are_not() {
    let authority = Authority::new();
    let old = authority.issue("office", &["office.example"]);
    let server = Server::start(&format!("{OPEN}{}", authority.config(&old, "")));
    let mut bob = Phone::tls("bob", server.tls(), &authority).registered();
    let first = content(&old);
    assert_eq!(served(&server, tls::NAME, &authority), Some(first.clone()));
    let expiry = server.metrics().sum("frontdesk_tls_certificate_expiry_seconds", &[]);
    assert!(expiry > 0.0);
    // The certificate of another key.
    std::fs::copy(authority.issue("other", &["office.example"]).certificate, &old.certificate).expect("a copy");
    server.counts("frontdesk_tls_certificate_refused", &[], |refused| refused == 1.0);
    server.logs("renewed certificates were refused");
    assert_eq!(served(&server, tls::NAME, &authority), Some(first.clone()));
    authority.issue_with("office", &["office.example"], |params| params.not_after = rcgen::date_time_ymd(2090, 1, 1));
    server.logs("renewed certificates are in use: office.example until 2090-01-01");
    let second = served(&server, tls::NAME, &authority);
    assert!(second == Some(content(&old)) && second != Some(first));
    let metrics = server.metrics();
    assert_eq!(metrics.sum("frontdesk_tls_certificate_refused", &[]), 0.0);
    assert_eq!(metrics.sum("frontdesk_tls_certificate_expiry_seconds", &[]), 3_786_912_000.0);
    assert_eq!(server.log().matches("were refused").count(), 1, "{}", server.log());
    // Connections stay.
    talk(&mut Phone::tls("alice", server.tls(), &authority), &mut bob);
}

#[test]
fn check_names_the_certificates_and_errors_name_their_key() {
    let authority = Authority::new();
    let (office, other) = (authority.issue("office", &["office.example", "sip:a.example"]), authority.issue("b", &[]));
    let check = |text: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("frontdesk.yaml");
        std::fs::write(&file, text).expect("a file");
        let output = Command::new(PROGRAM).args(["check", "--config"]).arg(&file).output().expect("the program");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).expect("text"))
    };
    let (is_good, text) = check(&authority.config(&office, ""));
    assert!(is_good && text.contains("sip:a.example, office.example until 4096-01-01T00:00:00Z"), "{text}");
    let expired =
        authority.issue_with("c", &["office.example"], |params| params.not_after = rcgen::date_time_ymd(2021, 1, 1));
    let (is_good, text) = check(&authority.config(&expired, ""));
    assert!(is_good && text.contains("(expired)"), "{text}");
    let mixed = Pair { private_key: other.private_key, ..office.clone() };
    let swapped = Pair { certificate: office.private_key.clone(), private_key: office.certificate.clone() };
    let absent = Pair { certificate: "none.pem".into(), ..office.clone() };
    let require = authority.config(&office, "").replace(&authority.file().display().to_string(), "nowhere.pem");
    for (config, key, reason) in [
        (authority.config(&mixed, ""), "tls.private_key", "this is not the key of the certificate"),
        (authority.config(&swapped, ""), "tls.certificate", "expected certificates in PEM"),
        (authority.config(&absent, ""), "tls.certificate", "none.pem cannot be read"),
        (require, "tls.authorities", "nowhere.pem cannot be read"),
    ] {
        let (is_good, text) = check(&format!("\n{config}"));
        assert!(!is_good && text.contains("frontdesk.yaml:2:"), "{text}");
        assert!(text.contains(key) && text.contains(reason), "{key} {reason}: {text}");
    }
}

#[test]
fn a_phone_that_has_closed_its_connection_is_not_reached() {
    let authority = Authority::new();
    let server = start(&authority, OPEN);
    let mut bob = Phone::tls("bob", server.tls(), &authority).registered();
    bob.tls_socket().close();
    server.counts("frontdesk_connections", &[], |count| count == 0.0);
    assert!(bob.closed(PATIENCE), "the server closes its side too");
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite(&bob.aor());
    // RFC 3261 16.7 step 6: the 503 of the closed connection becomes 500.
    assert!(matches!(alice.ask(invite).status(), Some(480 | 500)));
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

#[test]
fn keep_alives_are_answered_over_ipv6_too() {
    let authority = Authority::new();
    let pair = authority.issue("office", &["office.example"]);
    let address = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], free_port(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]))));
    let listen = format!("listen: [\"tls://{address}\"]\n");
    let server = Server::start(&format!("{OPEN}{listen}{}", authority.config(&pair, "")));
    let mut phone = Phone::tls("alice", address, &authority).registered();
    for _ in 0..3 {
        phone.send_raw(b"\r\n\r\n");
        assert_eq!(phone.octets(2), b"\r\n");
    }
    server.counts("frontdesk_keepalives_total", &[("transport", "tls")], |count| count == 3.0);
    talk(&mut Phone::tls("carol", address, &authority), &mut phone);
}
