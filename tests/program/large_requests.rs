//! Requests that are too long for UDP (RFC 3261 18.1.1): over TCP where the phone accepts it, else over UDP. The ACK of a
//! 2xx and a NOTIFY, too.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::harness::dialog::Dialog;
use crate::harness::message::{Message, ack_of};
use crate::harness::{Phone, Server};

const OPEN: &str = "authentication: off\n";
const BOB: &str = "sip:bob@office.example";

/// A registered UDP phone whose port is free for TCP.
fn bob(server: &Server) -> (Phone, Socket) {
    let ip = Phone::udp("x", server.address()).local().ip();
    loop {
        let socket = UdpSocket::bind((ip, 0)).expect("a UDP port");
        let tcp = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a TCP socket");
        if tcp.bind(&socket.local_addr().expect("an address").into()).is_ok() {
            return (Phone::on_socket("bob", server.address(), socket).registered(), tcp);
        }
    }
}

fn large_invite(phone: &mut Phone) -> Message {
    phone.request("INVITE", BOB).body("text/plain", "x".repeat(2_000))
}

#[test]
fn a_large_request_goes_over_tcp() {
    // checklist 106
    let server = Server::start(OPEN);
    let (_udp, tcp) = bob(&server);
    tcp.listen(8).expect("a listener");
    let mut alice = Phone::udp("alice", server.address());
    let invite = large_invite(&mut alice);
    let invite = alice.send(invite);
    let mut bob = Phone::accept("bob", server.address(), &TcpListener::from(tcp));
    let received = bob.expect("INVITE");
    assert!(received.header("Via").starts_with("SIP/2.0/TCP"), "{received}");
    bob.reply(&received, 486);
    let busy = alice.response(486);
    alice.send(ack_of(&invite, &busy));
    bob.expect("ACK");
    // The connection is used again.
    let invite = large_invite(&mut alice);
    alice.send(invite);
    bob.expect("INVITE");
    server.counts("frontdesk_large_requests_total", &[("outcome", "over_tcp")], |count| count == 2.0);
}

#[test]
fn a_phone_that_drops_connection_requests_delays_one_call_only() {
    // checklist 106
    let server = Server::start(OPEN);
    let (mut bob, tcp) = bob(&server);
    // With a full queue of connections, the system drops further requests for one, as a firewall does.
    tcp.listen(0).expect("a listener");
    let waits = |_| TcpStream::connect_timeout(&bob.local(), Duration::from_millis(200));
    let _full: Vec<_> = (0..3).map(waits).collect();
    let mut alice = Phone::udp("alice", server.address());
    for longest in [Duration::from_millis(3_000), Duration::from_millis(700)] {
        let sent_at = Instant::now();
        let invite = large_invite(&mut alice);
        let invite = alice.send(invite);
        let received = bob.expect("INVITE");
        assert!(received.header("Via").starts_with("SIP/2.0/UDP"), "{received}");
        assert!(sent_at.elapsed() < longest, "{:?}", sent_at.elapsed());
        bob.reply(&received, 486);
        let busy = alice.response(486);
        alice.send(ack_of(&invite, &busy));
        bob.expect("ACK");
    }
    server.counts("frontdesk_large_requests_total", &[("outcome", "refused")], |count| count == 1.0);
    assert!(server.metrics().sum("frontdesk_connections_failed_total", &[]) < 0.5, "that is no error");
}

/// A call that the phone has accepted over UDP, with its ACK, which is too long for UDP.
fn large_ack(alice: &mut Phone, bob: &mut Phone) -> Message {
    let (invite, received) = alice.calls(BOB, bob);
    bob.reply(&received, 200);
    let ok = alice.response(200);
    Dialog::caller(&invite, &ok).ack().body("text/plain", "x".repeat(2_000))
}

#[test]
fn a_large_ack_of_a_2xx_goes_over_tcp() {
    // checklist 106
    let server = Server::start(OPEN);
    let (mut bob, tcp) = bob(&server);
    tcp.listen(8).expect("a listener");
    let mut alice = Phone::udp("alice", server.address());
    let ack = large_ack(&mut alice, &mut bob);
    alice.send(ack);
    let mut over_tcp = Phone::accept("bob", server.address(), &TcpListener::from(tcp));
    let received = over_tcp.expect("ACK");
    assert!(received.header("Via").starts_with("SIP/2.0/TCP"), "{received}");
    server.counts("frontdesk_large_requests_total", &[("outcome", "over_tcp")], |count| count == 1.0);
}

#[test]
fn a_large_ack_of_a_2xx_goes_over_udp_if_tcp_is_refused() {
    // checklist 106
    let server = Server::start(OPEN);
    // Nothing listens at the TCP port.
    let (mut bob, _tcp) = bob(&server);
    let mut alice = Phone::udp("alice", server.address());
    for _ in 0..2 {
        let ack = large_ack(&mut alice, &mut bob);
        alice.send(ack);
        let received = bob.expect("ACK");
        assert!(received.header("Via").starts_with("SIP/2.0/UDP"), "{received}");
        assert_eq!((received.body.len(), received.list("Via").len()), (2_000, 2));
    }
    server.counts("frontdesk_large_requests_total", &[("outcome", "refused")], |count| count == 1.0);
}

#[test]
fn a_large_notify_goes_over_udp_if_tcp_is_refused() {
    // checklist 106
    let server = Server::start(OPEN);
    let (mut bob, _tcp) = bob(&server);
    let mut desk = Phone::udp("bob", server.address());
    let long = format!("<{};pad={}>", desk.contact(), "x".repeat(1_000));
    let register = desk.register(Some(&long)).with("Expires", 600);
    desk.send(register);
    desk.response(200);
    let subscribe = bob.request("SUBSCRIBE", BOB).with("Event", "reg").with("Expires", 600);
    bob.send(subscribe);
    bob.response(200);
    let notify = bob.expect("NOTIFY");
    assert!(notify.header("Via").starts_with("SIP/2.0/UDP"), "{notify}");
    assert!(notify.bytes().len() > 1300);
    bob.reply(&notify, 200);
    server.counts("frontdesk_large_requests_total", &[("outcome", "refused")], |count| count == 1.0);
}
