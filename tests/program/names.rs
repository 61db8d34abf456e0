//! From the name of a host to the address that a request is sent to. RFC 3263.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use crate::harness::digest::Credentials;
use crate::harness::message::{ack_of, cancel_of};
use crate::harness::server::CLOSED;
use crate::harness::{DnsServer, Message, PATIENCE, Phone, SILENCE, Server, wait_for};

const ALICE: Credentials<'static> = Credentials::new("alice", "wonderland");

/// A server that asks the DNS server, and alice's phone.
fn start() -> (DnsServer, Server, Phone) {
    let dns = DnsServer::start();
    let server = Server::start(&format!("{CLOSED}foreign: authenticated\n{}", dns.config()));
    let alice = Phone::udp("alice", server.address());
    (dns, server, alice)
}

fn far(server: &Server) -> Phone {
    Phone::udp("dave", server.address()).of("far.example")
}

/// `_sip._TRANSPORT.far.example` with a host of its own for each address, the first one with the highest priority.
fn srv(transport: &str, addresses: &[SocketAddr]) -> String {
    let record = |(index, address): (usize, &SocketAddr)| {
        let host = format!("{transport}{index}.far.example");
        let (ip, port) = (address.ip(), address.port());
        format!("_sip._{transport}.far.example SRV {index} 1 {port} {host}\n{host} A {ip}\n")
    };
    addresses.iter().enumerate().map(record).collect()
}

/// Sends the ACK of the refusal that ends the call.
#[track_caller]
fn refused(alice: &mut Phone, invite: &Message) -> Option<u16> {
    let response = alice.next_final();
    alice.send(ack_of(invite, &response));
    response.status()
}

#[test]
fn naptr_and_srv_records_name_the_transport_and_the_port() {
    // checklist 118
    let (dns, server, mut alice) = start();
    let mut dave = far(&server);
    dns.set(&format!("far.example NAPTR 1 1 s SIP+D2U _sip._udp.far.example\n{}", srv("udp", &[dave.local()])));
    let mut queries = Vec::new();
    for _ in 0..2 {
        let invite = alice.invite("sip:dave@far.example");
        let invite = alice.authenticated(invite, ALICE);
        let at_dave = dave.expect("INVITE");
        assert_eq!(at_dave.uri(), "sip:dave@far.example");
        dave.reply(&at_dave, 486);
        assert_eq!(refused(&mut alice, &invite), Some(486));
        // RFC 3263 4.4, RFC 3261 17.1.1.3: to where its INVITE went.
        dave.expect("ACK");
        if queries.is_empty() {
            queries = dns.queries();
        }
    }
    let mut expected =
        ["far.example NAPTR", "_sip._udp.far.example SRV", "udp0.far.example A", "udp0.far.example AAAA"];
    queries.sort_unstable();
    expected.sort_unstable();
    assert_eq!(queries, expected);
    assert_eq!(dns.queries().len(), 4, "the second call is answered by the cache");
}

#[test]
fn a_naptr_record_can_choose_tcp() {
    let (dns, server, mut alice) = start();
    let listener = TcpListener::bind((server.address().ip(), 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    dns.set(&format!("far.example NAPTR 1 1 s SIP+D2T _sip._tcp.far.example\n{}", srv("tcp", &[address])));
    let invite = alice.invite("sip:dave@far.example");
    let invite = alice.authenticated(invite, ALICE);
    let mut dave = Phone::accept("dave", server.address(), &listener);
    let at_dave = dave.expect("INVITE");
    assert!(at_dave.header("Via").starts_with("SIP/2.0/TCP"), "{at_dave}");
    dave.reply(&at_dave, 603);
    assert_eq!(refused(&mut alice, &invite), Some(603));
}

#[test]
fn after_503_the_next_server_is_tried_with_another_branch() {
    let (dns, server, mut alice) = start();
    let (mut first, mut second) = (far(&server), far(&server));
    // checklist 120
    dns.set(&srv("udp", &[first.local(), second.local()]));
    let invite = alice.invite("sip:dave@far.example");
    let invite = alice.authenticated(invite, ALICE);
    let at_first = first.expect("INVITE");
    first.reply(&at_first, 503);
    first.expect("ACK");
    let at_second = second.expect("INVITE");
    assert_ne!(at_first.header("Via"), at_second.header("Via"));
    second.reply(&at_second, 480);
    assert_eq!(refused(&mut alice, &invite), Some(480));
    second.expect("ACK");
    // `dns.unreachable_for`: the next call goes to the second one at once, and to the first one only after it.
    let invite = alice.invite("sip:dave@far.example");
    let invite = alice.authenticated(invite, ALICE);
    let at_second = second.expect("INVITE");
    second.reply(&at_second, 503);
    second.expect("ACK");
    let at_first = first.expect("INVITE");
    first.reply(&at_first, 486);
    assert_eq!(refused(&mut alice, &invite), Some(486));
}

#[test]
fn after_a_refused_connection_the_next_server_is_tried() {
    let (dns, server, mut alice) = start();
    let (closed, open) = (
        TcpListener::bind((server.address().ip(), 0)).expect("a free port"),
        TcpListener::bind((server.address().ip(), 0)).expect("a free port"),
    );
    dns.set(&srv("tcp", &[closed.local_addr().expect("an address"), open.local_addr().expect("an address")]));
    drop(closed);
    let invite = alice.invite("sip:dave@far.example;transport=tcp");
    let invite = alice.authenticated(invite, ALICE);
    let mut dave = Phone::accept("dave", server.address(), &open);
    let at_dave = dave.expect("INVITE");
    dave.reply(&at_dave, 486);
    assert_eq!(refused(&mut alice, &invite), Some(486));
}

#[test]
fn a_slow_name_delays_no_other_one() {
    let (dns, server, mut alice) = start();
    let mut dave = far(&server);
    dns.set(&format!("slow.example SILENT -\n{}", srv("udp", &[dave.local()])));
    let mut slow = Phone::udp("alice", server.address());
    let to_slow = slow.invite("sip:dave@slow.example");
    let to_slow = slow.authenticated(to_slow, ALICE);
    let begun = Instant::now();
    let invite = alice.invite("sip:dave@far.example");
    let invite = alice.authenticated(invite, ALICE);
    let at_dave = dave.expect("INVITE");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    dave.reply(&at_dave, 486);
    assert_eq!(refused(&mut alice, &invite), Some(486));
    // `limits.lookup_time` ends the other one.
    assert!(refused(&mut slow, &to_slow) >= Some(400));
}

#[test]
fn a_call_can_be_cancelled_while_dns_does_not_answer() {
    // checklist 78
    let (dns, server, mut alice) = start();
    dns.set("slow.example SILENT -\n");
    let invite = alice.invite("sip:dave@slow.example");
    let invite = alice.authenticated(invite, ALICE);
    assert!(
        wait_for(PATIENCE, || dns.queries().iter().any(|query| query.contains("slow.example")).then_some(())).is_some()
    );
    alice.send(cancel_of(&invite));
    assert_eq!(alice.response(200).method(), "CANCEL");
    let terminated = alice.response(487);
    assert_eq!(terminated.method(), "INVITE");
    alice.send(ack_of(&invite, &terminated));
    // The lookup ends by `limits.lookup_time`.
    server.counts("frontdesk_lookups_total", &[("outcome", "failed")], |count| count == 1.0);
    assert!(alice.next_in(SILENCE).is_none());
    server.counts("frontdesk_calls_ended_total", &[("ending", "cancelled")], |count| count == 1.0);
}

#[test]
fn a_caller_with_many_lookups_does_not_occupy_those_of_others() {
    let dns = DnsServer::start();
    let limits = "workers: 1\nlimits: { lookups: 4, lookups_per_source: 2 }\n";
    let server = Server::start(&format!("{CLOSED}foreign: authenticated\n{limits}{}", dns.config()));
    let at = |ip: &str| UdpSocket::bind((ip, 0)).expect("a UDP port");
    let mut dave = far(&server);
    dns.set(&format!("a.example SILENT -\nb.example SILENT -\nc.example SILENT -\n{}", srv("udp", &[dave.local()])));
    let mut greedy: Vec<_> = (0..3).map(|_| Phone::on_socket("alice", server.address(), at("127.0.0.21"))).collect();
    for (phone, name) in greedy.iter_mut().zip(["a", "b", "c"]) {
        let invite = phone.invite(&format!("sip:dave@{name}.example"));
        phone.authenticated(invite, ALICE);
    }
    let begun = Instant::now();
    assert!(greedy[2].next_final().status() >= Some(400));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    server.counts("frontdesk_limits_reached_total", &[("limit", "lookups_per_source")], |count| count == 1.0);
    let mut other = Phone::on_socket("alice", server.address(), at("127.0.0.22"));
    let invite = other.invite("sip:dave@far.example");
    let invite = other.authenticated(invite, ALICE);
    let at_dave = dave.expect("INVITE");
    dave.reply(&at_dave, 486);
    assert_eq!(refused(&mut other, &invite), Some(486));
    dave.expect("ACK");
    // They are free again when the first ones have ended.
    assert!(greedy[0].next_final().status() >= Some(400));
    assert!(greedy[1].next_final().status() >= Some(400));
    let invite = greedy[2].invite("sip:dave@far.example");
    let invite = greedy[2].authenticated(invite, ALICE);
    let at_dave = dave.expect("INVITE");
    dave.reply(&at_dave, 486);
    assert_eq!(refused(&mut greedy[2], &invite), Some(486));
}

#[test]
fn names_that_dns_does_not_answer_leave_the_other_phones_of_a_user() {
    let dns = DnsServer::start();
    let limits = "limits: { lookup_time: 1s }\n";
    let contacts = "[\"sip:d@slow.example\", \"sip:d@silent.example\", \"sip:dave@far.example\"]";
    let accounts = format!("accounts: [{{ user: dave, contacts: {contacts} }}, {{ user: alice, password: x }}]\n");
    let config = dns.config().replace("] }", "], timeout: 400ms }");
    let server = Server::start(&format!("authentication: off\n{config}{limits}{accounts}"));
    let mut dave = far(&server);
    dns.set(&format!("slow.example SILENT -\nsilent.example SILENT -\n{}", srv("udp", &[dave.local()])));
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:dave@office.example");
    alice.send(invite.clone());
    let at_dave = dave.expect("INVITE");
    dave.reply(&at_dave, 603);
    assert_eq!(refused(&mut alice, &invite), Some(603));
}

#[test]
fn names_that_lead_nowhere_or_to_the_server_itself_end_the_call() {
    let (dns, server, mut alice) = start();
    let own = server.address();
    dns.set(&format!(
        "own.example NAPTR 1 1 s SIP+D2U _sip._udp.own.example\n\
         _sip._udp.own.example SRV 1 1 {} host.own.example\nhost.own.example A {}\n\
         loop.example NAPTR 1 1 s SIP+D2U _sip._udp.loop.example\n\
         _sip._udp.loop.example SRV 1 1 5060 _sip._udp.loop.example\n\
         none.example A 192.0.2.1\n_sip._udp.none.example SRV 0 0 0 .\n",
        own.port(),
        own.ip()
    ));
    for host in ["own.example", "loop.example", "none.example;transport=udp", "missing.example"] {
        let invite = alice.invite(&format!("sip:dave@{host}"));
        let invite = alice.authenticated(invite, ALICE);
        assert!(refused(&mut alice, &invite) >= Some(400), "{host}");
    }
}
