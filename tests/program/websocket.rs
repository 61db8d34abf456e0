//! Phones in browsers: handshakes, frames, calls with phones on other transports, reverse proxies. RFC 7118, RFC 6455.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tungstenite::Message as Frame;

use crate::call::{is_bridged, talk};
use crate::harness::digest::Credentials;
use crate::harness::server::{CLOSED, OPEN};
use crate::harness::{Dialog, PATIENCE, Phone, Server, http, wait_for, websocket};

/// The body of an OPTIONS that needs no answer but 200, without Content-Length.
fn options(phone: &mut Phone) -> Vec<u8> {
    let request = phone.request("OPTIONS", "sip:office.example");
    let request = phone.stamp(request);
    String::from_utf8(request.bytes()).expect("text").replace("Content-Length: 0\r\n", "").into_bytes()
}

/// A masked frame as it is sent, with any first octet.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 77, 177, 217];
    let length = u8::try_from(payload.len()).expect("a short payload");
    let masked = payload.iter().zip(mask.iter().cycle()).map(|(octet, mask)| octet ^ mask);
    [first, 0x80 | length].into_iter().chain(mask).chain(masked).collect()
}

#[test]
fn calls_with_every_other_transport_in_both_directions() {
    // checklist 166
    let server = Server::start(OPEN);
    let (sip, ws) = (server.address(), server.websocket());
    talk(&mut Phone::websocket("alice", ws), &mut Phone::websocket("bob", ws).registered());
    talk(&mut Phone::websocket("alice", ws), &mut Phone::udp("carol", sip).registered());
    talk(&mut Phone::websocket("alice", ws), &mut Phone::tcp("dave", sip).registered());
    talk(&mut Phone::udp("alice", sip), &mut Phone::websocket("erin", ws).registered());
    talk(&mut Phone::tcp("alice", sip), &mut Phone::websocket("frank", ws).registered());
    assert_eq!(server.metrics().sum("frontdesk_lookups_total", &[]), 0.0, "a host in .invalid is never looked up");
    for (name, transport) in [("frontdesk_requests_received_total", "ws"), ("frontdesk_requests_forwarded_total", "ws")]
    {
        assert!(server.metrics().sum(name, &[("transport", transport)]) > 0.0, "{name}");
    }
    assert!(server.metrics().sum("frontdesk_handshakes_total", &[("outcome", "accepted")]) >= 6.0);
}

#[test]
fn each_side_of_a_bridged_call_gets_a_route_for_its_transport() {
    let server = Server::start(OPEN);
    let mut alice = Phone::websocket("alice", server.websocket());
    let mut bob = Phone::udp("bob", server.address()).registered();
    is_bridged(&mut alice, ("WS", "ws"), server.websocket(), &mut bob, server.address());
}

#[test]
fn a_phone_with_a_password_registers_and_calls() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::websocket("alice", server.websocket()).registered_as("wonderland");
    let invite = alice.invite(&bob.aor());
    alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let at_bob = bob.expect("INVITE");
    bob.reply(&at_bob, 486);
    alice.response(486);
}

#[test]
fn a_phone_whose_connection_is_closed_is_not_reached() {
    // checklist 167
    let server = Server::start(OPEN);
    let mut bob = Phone::websocket("bob", server.websocket()).registered();
    let mut alice = Phone::udp("alice", server.address());
    bob.socket().close(1000);
    assert_eq!(bob.socket().close_code(), 1000);
    assert!(bob.socket().is_at_end());
    let invite = alice.invite(&bob.aor());
    alice.send(invite);
    let refused = alice.next_final();
    assert!(matches!(refused.status(), Some(480 | 503)), "{refused}");
    assert_eq!(server.metrics().sum("frontdesk_connections_opened_total", &[("direction", "out")]), 0.0);
}

#[test]
fn a_call_goes_on_over_a_new_connection() {
    let server = Server::start(OPEN);
    let mut alice = Phone::udp("alice", server.address());
    let mut bob = Phone::websocket("bob", server.websocket()).registered();
    for hangs_up_first in [false, true] {
        let invite = alice.invite(&bob.aor());
        let sent = alice.send(invite);
        let at_bob = bob.expect("INVITE");
        let answered = bob.reply(&at_bob, 200);
        let ok = alice.response(200);
        let (mut caller, mut callee) = (Dialog::caller(&sent, &ok), Dialog::callee(&at_bob, &answered));
        alice.send(caller.ack());
        bob.expect("ACK");
        // The old connection is not closed properly, as if the network had changed.
        bob.reconnect();
        bob = bob.registered();
        let (from, to, dialog) = match hangs_up_first {
            true => (&mut bob, &mut alice, &mut callee),
            false => (&mut alice, &mut bob, &mut caller),
        };
        for method in ["INVITE", "BYE"] {
            let request = dialog.request(method).with("Contact", format!("<{}>", from.contact()));
            from.send(request);
            let arrived = to.expect(method);
            to.reply(&arrived, 200);
            from.response(200);
            if method == "INVITE" {
                from.send(dialog.ack());
                to.expect("ACK");
            }
        }
    }
}

#[test]
fn the_phone_in_the_browser_is_served_and_nothing_of_the_admin_api() {
    let server = Server::start(OPEN);
    let page = http::get(server.websocket(), "/phone");
    assert!(page.status == 200 && page.header("Content-Type").starts_with("text/html"), "{}", page.head);
    assert_eq!(http::get(server.websocket(), "/phone/config").json()["websocket"], "/");
    for path in ["/", "/metrics", "/api/users", "/health"] {
        assert_eq!(http::get(server.websocket(), path).status, 426, "{path}");
    }
    server.counts("frontdesk_handshakes_total", &[("outcome", "page")], |count| count == 2.0);
}

#[test]
fn after_a_restart_a_phone_is_not_looked_up() {
    // checklist 166
    let config = format!("{OPEN}location: {{ store: disk, path: data/location }}\n");
    let server = Server::start(&config);
    let (ip, address) = (server.ip(), server.address());
    let bob = Phone::websocket("bob", server.websocket()).registered();
    let server = Server::start_in(server.stop(), ip, &config);
    let mut alice = Phone::udp("alice", address);
    let invite = alice.invite(&bob.aor());
    assert_eq!(alice.ask(invite).status(), Some(480));
    assert_eq!(server.metrics().sum("frontdesk_lookups_total", &[]), 0.0);
}

#[test]
fn messages_are_answered_in_their_kind() {
    // checklist 165
    let server = Server::start(OPEN);
    let mut phone = Phone::websocket("alice", server.websocket());
    for is_binary in [false, true, false] {
        phone.socket().is_binary = is_binary;
        let request = options(&mut phone);
        phone.send_raw(&request);
        let answer = phone.next();
        assert_eq!((answer.status(), phone.socket().received_binary), (Some(200), is_binary), "{answer}");
    }
}

#[test]
fn fragments_pings_and_keep_alives() {
    // checklist 167
    let server = Server::start(OPEN);
    let mut phone = Phone::websocket("alice", server.websocket());
    let request = options(&mut phone);
    let (start, rest) = request.split_at(100);
    phone.socket().send_raw(&frame(0x01, start));
    phone.socket().send_raw(&frame(0x89, b"are you there"));
    assert_eq!(phone.socket().receive(PATIENCE).as_deref(), Some(&b"are you there"[..]));
    for piece in rest.chunks(100) {
        phone.socket().send_raw(&frame(0x00, piece));
    }
    phone.socket().send_raw(&frame(0x80, b""));
    assert_eq!(phone.next().status(), Some(200));
    // RFC 5626 3.5.1
    phone.send_raw(b"\r\n\r\n");
    assert_eq!(phone.socket().receive(PATIENCE).as_deref(), Some(&b"\r\n"[..]));
    server.counts("frontdesk_keepalives_total", &[("transport", "ws")], |count| count == 2.0);
}

#[test]
fn bad_frames_end_their_connection_with_a_code() {
    let server = Server::start(&format!("{OPEN}limits: {{ message_size: 4KiB }}\n"));
    let mut other = Phone::websocket("bob", server.websocket()).registered();
    let of_length = |length: u64| [&[0x81, 0xff], &length.to_be_bytes()[..], &[1, 2, 3, 4]].concat();
    for (name, octets, code) in [
        ("not masked", b"\x81\x04\r\n\r\n".to_vec(), 1002),
        ("the first reserved bit", frame(0xc1, b"x"), 1002),
        ("the second reserved bit", frame(0xa1, b"x"), 1002),
        ("the third reserved bit", frame(0x91, b"x"), 1002),
        ("a ping of 126 octets", [&[0x89, 0xfe, 0, 126, 1, 2, 3, 4], &[0; 126][..]].concat(), 1002),
        ("a close frame of one octet", frame(0x88, b"x"), 1002),
        ("a message within a message", [frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002),
        ("an unknown opcode", frame(0x83, b"x"), 1002),
        ("a fragmented ping", frame(0x09, b"x"), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        (
            "SIP instead of frames",
            b"OPTIONS sip:office.example SIP/2.0\r\nVia: SIP/2.0/WS x.invalid\r\n\r\n".to_vec(),
            1002,
        ),
        ("2^63 octets", of_length(1 << 63), 1009),
        ("more than the limit", of_length(4097), 1009),
        ("text that is not UTF-8", frame(0x81, b"\xff"), 1007),
    ] {
        let mut phone = Phone::websocket("alice", server.websocket());
        phone.socket().send_raw(&octets);
        assert_eq!(phone.socket().close_code(), code, "{name}");
        assert!(phone.socket().is_at_end(), "{name}");
    }
    server.counts("frontdesk_parse_errors_total", &[("transport", "ws")], |count| count == 14.0);
    let request = options(&mut other);
    other.send_raw(&request);
    other.response(200);
}

#[test]
fn a_frame_that_is_no_message_harms_only_itself() {
    let server = Server::start(OPEN);
    let mut phone = Phone::websocket("alice", server.websocket());
    phone.socket().send_message(Frame::text("hello"));
    // RFC 7118 5: a frame has one message, so what follows the body is not a second one.
    let request = options(&mut phone);
    let two = String::from_utf8([request.clone(), request].concat()).expect("text");
    let (head, _) = two.split_once("\r\n\r\n").expect("a head");
    let two = two.replacen(head, &format!("{head}\r\nContent-Length: 0"), 1);
    phone.send_raw(two.as_bytes());
    assert_eq!(phone.next().status(), Some(200));
    phone.silence();
}

#[test]
fn requests_that_open_no_connection_get_an_http_error() {
    // checklist 164
    let server = Server::start(&format!("{OPEN}ws: {{ origins: [\"https://office.example\"] }}\n"));
    let address = server.websocket();
    let refused = |headers: &[(&str, &str)]| websocket::open(address, headers).map(drop).expect_err("refused");
    assert_eq!(refused(&[("Sec-WebSocket-Protocol", "mqtt, xmpp")]), 400);
    assert_eq!(refused(&[("Sec-WebSocket-Version", "8")]), 426);
    assert_eq!(refused(&[("Sec-WebSocket-Key", "short")]), 400);
    assert_eq!(refused(&[("Connection", "close")]), 400);
    assert_eq!(refused(&[("Content-Length", "5")]), 400);
    assert_eq!(refused(&[("Origin", "https://evil.example")]), 403);
    assert_eq!(refused(&[("Origin", "null")]), 403);
    assert_eq!(http::get(address, "/").status, 426);
    assert_eq!(http::get(address, "/metrics").status, 426, "nothing of the admin API is here");
    assert_eq!(http::change(address, "POST", "/").status, 405);
    let mut long = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    long.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let sent = long.write_all(format!("GET / HTTP/1.1\r\nX-Long: {}", "x".repeat(100_000)).as_bytes());
    let ended = long.read_to_end(&mut Vec::new());
    assert!(sent.is_err() || !matches!(ended, Err(error) if error.kind() == ErrorKind::WouldBlock), "closed at once");

    let (_, response) = websocket::open(address, &[("Origin", "https://Office.Example")]).expect("its own page");
    assert_eq!(response.headers()["sec-websocket-protocol"], "sip");
    assert!(!response.headers().contains_key("sec-websocket-extensions"));
    websocket::open(address, &[("Sec-WebSocket-Protocol", "xmpp, sip")]).expect("a client that is not a browser");
    server.counts("frontdesk_handshakes_total", &[("outcome", "refused")], |count| count >= 10.0);

    server.rewrite(&format!("{OPEN}ws: {{ origins: [\"https://evil.example\"] }}\n"));
    server.signal("HUP");
    let allowed = || websocket::open(address, &[("Origin", "https://evil.example")]).ok();
    assert!(wait_for(PATIENCE, allowed).is_some(), "a reload applies");
}

#[test]
fn slow_handshakes_are_limited_in_number_and_time() {
    let limits = "limits: { handshake_time: 2s, handshakes_per_source: 40 }\n";
    let server = Server::start(&format!("{OPEN}{limits}"));
    let begun = Instant::now();
    let slow: Vec<_> = (0..60)
        .map(|at| {
            let mut stream = TcpStream::connect_timeout(&server.websocket(), PATIENCE).expect("a connection");
            let request = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nX-Slow: ";
            let _ = stream.write_all(&request[..at % request.len()]);
            stream
        })
        .collect();
    server.counts("frontdesk_limits_reached_total", &[("limit", "handshakes_per_source")], |count| count >= 20.0);
    // Phones on other transports do not notice.
    drop(Phone::udp("bob", server.address()).registered());
    for mut stream in slow {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        assert!(stream.read(&mut [0; 16]).map_or(true, |length| length == 0), "closed without a response");
    }
    assert!(begun.elapsed() < Duration::from_secs(8));
    server.counts("frontdesk_limits_reached_total", &[("limit", "handshake_time")], |count| count == 40.0);
    server.counts("frontdesk_handshakes_total", &[("outcome", "timed_out")], |count| count == 40.0);
    drop(Phone::websocket("alice", server.websocket()).registered());
}

/// A phone behind a reverse proxy that adds this header.
fn behind_proxy(user: &str, server: SocketAddr, forwarded: &str) -> Phone {
    Phone::websocket_with(user, server, &[("X-Forwarded-For", forwarded)])
}

#[test]
fn behind_a_trusted_proxy_failures_count_for_the_client() {
    let defence = "trusted: [127.0.0.1]\ndefence: { failures: 3 }\n";
    let server = Server::start(&format!("{CLOSED}{defence}"));
    let mut attacker = behind_proxy("alice", server.websocket(), "192.0.2.66, 198.51.100.7");
    for _ in 0..3 {
        let register = attacker.register(Some("<sip:alice@x.invalid;transport=ws>"));
        attacker.authenticated(register, Credentials::new("alice", "guess"));
        if attacker.next_in(PATIENCE).is_none() {
            break;
        }
    }
    server.counts("frontdesk_bans_total", &[("outcome", "banned")], |count| count == 1.0);
    server.logs("198.51.100.7");
    assert!(attacker.closed(PATIENCE), "the connection of a banned address is closed");
    let again = websocket::open(server.websocket(), &[("X-Forwarded-For", "198.51.100.7")]);
    assert_eq!(again.map(drop).expect_err("banned"), 403);
    // Others behind the same proxy are not affected. They are not trusted like the proxy, so they are challenged.
    let mut bob = behind_proxy("bob", server.websocket(), "2001:db8::9");
    let register = bob.register(Some(&format!("<{}>", bob.contact())));
    bob.authenticated(register, Credentials::new("bob", "builder"));
    bob.response(200);
    let invite = bob.invite("sip:carol@office.example");
    let sent = bob.send(invite);
    bob.challenged(&sent);
}

#[test]
fn calls_to_clients_behind_a_proxy_with_other_address_families() {
    let server = Server::start(&format!("{OPEN}trusted: [127.0.0.1]\n"));
    let mut bob = behind_proxy("bob", server.websocket(), "2001:db8::9").registered();
    talk(&mut Phone::udp("alice", server.address()), &mut bob);
    talk(&mut behind_proxy("erin", server.websocket(), "2001:db8::9"), &mut bob);
    talk(
        &mut behind_proxy("frank", server.websocket(), "2001:db8::9"),
        &mut Phone::udp("carol", server.address()).registered(),
    );
}

#[test]
fn other_peers_cannot_claim_an_address() {
    let server = Server::start(&format!("{CLOSED}trusted: [192.0.2.1]\n"));
    let mut phone = behind_proxy("alice", server.websocket(), "198.51.100.7");
    let register = phone.register(Some(&format!("<{}>", phone.contact())));
    let challenge = phone.ask(register);
    assert!(challenge.header("Via").contains("received=127.0.0.1"), "{challenge}");
}

#[test]
fn the_peers_are_told_that_the_server_stops() {
    let server = Server::start(OPEN);
    let mut phone = Phone::websocket("alice", server.websocket()).registered();
    drop(server.stop());
    assert_eq!(phone.socket().close_code(), 1001);
}

#[test]
fn an_idle_connection_is_closed_with_a_code() {
    let server = Server::start(&format!("{OPEN}limits: {{ message_time: 1s, connection_idle: 2s }}\n"));
    let mut silent = Phone::websocket("alice", server.websocket());
    assert_eq!(silent.socket().close_code(), 1008);
    let mut halfway = Phone::websocket("alice", server.websocket());
    halfway.socket().send_raw(&frame(0x01, b"OPTIONS"));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) && !halfway.socket().is_closed() {
        // Pings do not extend the time of an incomplete message.
        halfway.socket().send_raw(&frame(0x89, b""));
        let _ = halfway.socket().receive(Duration::from_millis(200));
    }
    assert_eq!(halfway.socket().close_code(), 1008);
}

/// Issue 18: a page of any origin may get the address of its user banned by unreadable messages.
#[test]
fn unreadable_messages_of_a_foreign_page_do_not_count_towards_a_ban() {
    for (origin, is_banned) in
        [(Some("https://evil.example"), false), (Some("http://localhost:9090"), true), (None, true)]
    {
        let server = Server::start(&format!("{OPEN}defence: {{ failures: 5 }}\n"));
        let headers: Vec<_> = origin.map(|origin| ("Origin", origin)).into_iter().collect();
        let mut page = Phone::websocket_with("mallory", server.websocket(), &headers);
        for _ in 0..10 {
            page.send_raw(b"this is no SIP");
        }
        server.counts("frontdesk_parse_errors_total", &[("transport", "ws")], |count| count >= 5.0);
        server.counts("frontdesk_bans", &[], |count| count == f64::from(u8::from(is_banned)));
        if !is_banned {
            server.counts("frontdesk_parse_errors_total", &[("transport", "ws")], |count| count == 10.0);
            server.counts("frontdesk_bans", &[], |count| count == 0.0);
        }
    }
}
