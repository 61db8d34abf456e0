//! TLS: handshakes, certificates, calls with phones on other transports. RFC 3261 26.2.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::call::{is_bridged, talk};
use crate::harness::digest::Credentials;
use crate::harness::server::{CLOSED, OPEN, PROGRAM, free_port, fresh_ip};
use crate::harness::tls::{self, Pair};
use crate::harness::{Authority, PATIENCE, Phone, Server};

/// A server with a certificate for `office.example`.
pub(crate) fn start(authority: &Authority, config: &str) -> Server {
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
