//! Password guessing, getting another address banned, and reducing what another phone is offered (docs/security.md).

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::digest::{Challenge, Credentials};
use crate::harness::http;
use crate::harness::server::{CLOSED, PROGRAM, fresh_ip};
use crate::harness::{Algorithm, Message, PATIENCE, Phone, Server};

/// A response that has not arrived by then does not arrive.
const UNANSWERED: Duration = Duration::from_millis(1_500);

const BOB: Credentials<'static> = Credentials::new("bob", "builder");

/// A phone on UDP at this address.
fn udp_at(ip: IpAddr, user: &str, server: &Server) -> Phone {
    Phone::on_socket(user, server.address(), UdpSocket::bind((ip, 0)).expect("a UDP port"))
}

/// A connection from this address.
fn connect_from(ip: IpAddr, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(ip, 0).into())?;
    socket.connect_timeout(&server.into(), PATIENCE)?;
    Ok(socket.into())
}

fn tcp_at(ip: IpAddr, user: &str, server: &Server) -> Phone {
    Phone::on_stream(user, server.address(), connect_from(ip, server.address()).expect("a connection"))
}

fn challenged(phone: &mut Phone) -> Message {
    let request = phone.register(None);
    let challenge = phone.ask(request);
    assert_eq!(challenge.status(), Some(401), "{challenge}");
    challenge
}

/// A REGISTER with a response to this challenge.
fn guess(phone: &mut Phone, credentials: Credentials<'_>, challenge: &Message) -> Message {
    let request = phone.register(None);
    let answer = credentials.answer(&Challenge::of(challenge, credentials.algorithm), &request);
    request.with("Authorization", answer)
}

/// One guess with a challenge of its own; false if there is no response.
fn guesses(phone: &mut Phone, password: &str) -> bool {
    let request = phone.register(None);
    phone.send(request);
    let Some(challenge) = phone.next_in(UNANSWERED) else { return false };
    let request = guess(phone, Credentials::new("bob", password), &challenge);
    phone.send(request);
    phone.next_in(UNANSWERED).is_some()
}

fn wrong_passwords(server: &Server) -> f64 {
    server.metrics().sum("frontdesk_authentication_failures_total", &[("reason", "credentials")])
}

fn bans(server: &Server) -> f64 {
    server.metrics().sum("frontdesk_bans_total", &[("outcome", "banned")])
}

/// A command of the program against this server.
fn frontdesk(server: &Server, line: &str) -> String {
    let mut command = std::process::Command::new(PROGRAM);
    command.args(line.split_whitespace()).args(["--config", "frontdesk.yaml"]).current_dir(server.path());
    let output = command.output().expect("the program");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_nonce_permits_five_guesses() {
    let server = Server::start(CLOSED);
    let mut mallory = udp_at(fresh_ip(), "bob", &server);
    let challenge = challenged(&mut mallory);
    for count in 1..400 {
        let password = if count == 300 { "builder" } else { "guess" };
        let request = guess(&mut mallory, Credentials::new("bob", password).nth(count), &challenge);
        mallory.send(request);
        let answer = mallory.next_final();
        assert_eq!(answer.status(), Some(401), "guess {count}: {answer}");
        // The right password is among them, and the responses do not show which one it was.
        let stale = Challenge::of(&answer, Algorithm::Sha256).param("stale") == Some("true");
        assert_eq!(stale, count > 5, "guess {count}: {answer}");
    }
    assert_eq!((wrong_passwords(&server), bans(&server)), (5.0, 0.0));
    // A forged nonce does not either.
    let nonce = Challenge::of(&challenge, Algorithm::Sha256).required("nonce").to_owned();
    let mut made_up = challenge;
    for (_, value) in &mut made_up.headers {
        *value = value.replace(&nonce, &"0".repeat(nonce.len()));
    }
    for password in ["builder", "guess"] {
        let request = guess(&mut mallory, Credentials::new("bob", password), &made_up);
        let answer = mallory.ask(request);
        assert_eq!(Challenge::of(&answer, Algorithm::Sha256).param("stale"), Some("true"), "{password}: {answer}");
    }
    assert_eq!(wrong_passwords(&server), 5.0);
}

#[test]
fn a_guesser_over_udp_is_banned() {
    let server = Server::start(CLOSED);
    let ip = fresh_ip();
    let mut mallory = udp_at(ip, "bob", &server);
    let answered = (0..100).take_while(|at| guesses(&mut mallory, &at.to_string())).count();
    assert!((19..=20).contains(&answered), "{answered} guesses were answered");
    // Whatever it sends, from any port, with the right password too, and over TCP.
    assert!(!guesses(&mut udp_at(ip, "bob", &server), "builder"));
    let mut over_tcp = tcp_at(ip, "bob", &server);
    assert!(over_tcp.closed(PATIENCE), "the connection is closed");
    server.counts("frontdesk_bans", &[], |count| count == 1.0);
    server.counts("frontdesk_banned_dropped_total", &[("transport", "udp")], |count| count >= 1.0);
    server.counts("frontdesk_banned_dropped_total", &[("transport", "tcp")], |count| count >= 1.0);
    server.logs(&format!("{ip} is banned for 10m: 20 failures within 1m, wrong passwords for bob"));
    assert_eq!(wrong_passwords(&server), 20.0);
    // Other addresses are not affected.
    Phone::udp("bob", server.address()).registered_as("builder");
    // A reload applies the new limits and ends no ban.
    server.rewrite(&format!("{CLOSED}defence: {{ failures: 2 }}\n"));
    frontdesk(&server, "reload");
    let mut other = udp_at(fresh_ip(), "bob", &server);
    assert!(guesses(&mut other, "one") && guesses(&mut other, "two") && !guesses(&mut other, "three"));
    frontdesk(&server, &format!("bans remove {}", other.local().ip()));
    let list = frontdesk(&server, "bans");
    assert!(list.starts_with(&format!("{ip}  9m ")) && list.contains("20 failures  bob@office.example"), "{list}");
    assert!(!guesses(&mut mallory, "builder"));
    assert_eq!(frontdesk(&server, &format!("bans remove {ip}")), format!("{ip} is answered again\n"));
    assert!(frontdesk(&server, &format!("bans remove {ip}")).contains("not banned"));
    assert!(frontdesk(&server, "bans remove office.example").contains("expected an IP address"));
    udp_at(ip, "bob", &server).registered_as("builder");
}

#[test]
fn a_guesser_over_tcp_loses_all_connections() {
    let server = Server::start(&format!("{CLOSED}workers: 4\ndefence: {{ failures: 6, ban: 5s }}\n"));
    let ip = fresh_ip();
    let mut idle: Vec<_> = (0..8).map(|_| tcp_at(ip, "bob", &server)).collect();
    // One connection for each guess, as if they were many peers.
    let answered = (0..20)
        .take_while(|at| {
            let Ok(stream) = connect_from(ip, server.address()) else { return false };
            let mut mallory = Phone::on_stream("bob", server.address(), stream);
            let challenge = {
                let request = mallory.register(None);
                mallory.send(request);
                mallory.next_in(UNANSWERED)
            };
            let Some(challenge) = challenge else { return false };
            let request = guess(&mut mallory, Credentials::new("bob", &at.to_string()), &challenge);
            mallory.send(request);
            mallory.next_in(UNANSWERED).is_some()
        })
        .count();
    assert!((5..=6).contains(&answered), "{answered} guesses were answered");
    for connection in &mut idle {
        assert!(connection.closed(Duration::from_secs(4)), "a connection stays open");
    }
    // The ban expires.
    server.counts("frontdesk_bans", &[], |count| count == 0.0);
    tcp_at(ip, "bob", &server).registered_as("builder");
}

#[test]
fn invalid_messages_count_over_tcp_only() {
    let server = Server::start(&format!("{CLOSED}defence: {{ failures: 5 }}\n"));
    let (over_udp, over_tcp) = (fresh_ip(), fresh_ip());
    let mut phone = udp_at(over_udp, "bob", &server);
    for at in 0..50 {
        phone.send_raw(format!("garbage {at}\r\n\r\n").as_bytes());
    }
    server.counts("frontdesk_parse_errors_total", &[("transport", "udp")], |count| count == 50.0);
    phone.registered_as("builder");
    for _ in 0..5 {
        let mut mallory = tcp_at(over_tcp, "bob", &server);
        mallory.send_raw(b"garbage without end\r\n\r\n");
        assert!(mallory.closed(PATIENCE));
    }
    server.logs(&format!("{over_tcp} is banned for 10m: 5 failures within 1m, unreadable messages"));
    assert_eq!(bans(&server), 1.0);
}

#[test]
fn an_attacker_cannot_get_another_address_banned() {
    let server = Server::start(&format!("{CLOSED}defence: {{ failures: 3 }}\n"));
    let mut mallory = udp_at(fresh_ip(), "bob", &server);
    let victim = fresh_ip();
    // Messages of mallory with the source address of the victim: with a nonce of mallory, which is not accepted, and
    // without any.
    let mut forged = udp_at(victim, "bob", &server);
    for at in 0..20 {
        let own = challenged(&mut mallory);
        let request = guess(&mut forged, Credentials::new("bob", "guess"), &own);
        assert_eq!(forged.ask(request).status(), Some(401), "forged {at}");
        let request = forged.register(None).with("Authorization", "Digest username=\"bob\", realm=\"office.example\"");
        forged.ask(request);
    }
    assert_eq!((wrong_passwords(&server), bans(&server)), (20.0, 0.0));
    // A phone behind a NAT whose address changes is challenged once more.
    let challenge = challenged(&mut mallory);
    let mut moved = udp_at(fresh_ip(), "bob", &server);
    let request = guess(&mut moved, BOB, &challenge);
    let stale = moved.ask(request);
    assert!(stale.header("WWW-Authenticate").contains("stale=true"), "{stale}");
    let request = guess(&mut moved, BOB, &stale);
    assert_eq!(moved.ask(request).status(), Some(200));
    udp_at(victim, "bob", &server).registered_as("builder");
}

#[test]
fn a_shared_address_is_not_banned_for_one_phone() {
    let (shared, trusted) = (fresh_ip(), fresh_ip());
    let server = Server::start(&format!("{CLOSED}trusted: [{trusted}]\ndefence: {{ failures: 4 }}\n"));
    let _alice = udp_at(shared, "alice", &server).registered_as("wonderland");
    for (ip, why) in [(shared, "a phone is registered from there"), (trusted, "it is trusted")] {
        let mut mallory = udp_at(ip, "bob", &server);
        for at in 0..12 {
            assert!(guesses(&mut mallory, &at.to_string()), "{why}");
        }
        server.logs(&format!("{ip} is not banned, since {why}: 4 failures within 1m, wrong passwords for bob"));
    }
    server.counts("frontdesk_bans_total", &[("outcome", "spared")], |count| count == 2.0);
    assert_eq!(bans(&server), 0.0);
}

#[test]
fn a_wrong_token_counts_and_a_right_one_is_accepted() {
    let token = "admin: { token: 0123456789abcdef }\ndefence: { failures: 3 }\n";
    let server = Server::start(&format!("{CLOSED}{token}"));
    let ask = |token: &str| {
        let address = server.http();
        http::send(
            address,
            &format!("GET /api/v1/bans HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n"),
        )
    };
    assert_eq!(http::get(server.http(), "/api/v1/bans").status, 401, "none is no wrong one");
    for _ in 0..3 {
        assert_eq!(ask("fedcba9876543210").status, 401);
    }
    server.logs("127.0.0.1 is banned for 10m: 3 failures within 1m, a wrong admin.token");
    let list = ask("0123456789abcdef");
    assert_eq!((list.status, &list.json()["total"]), (200, &1.into()), "{list:?}");
    assert_eq!(frontdesk(&server, "bans remove 127.0.0.1"), "127.0.0.1 is answered again\n");
}

#[test]
fn a_phone_at_the_same_address_cannot_reduce_the_offer_to_md5() {
    let server = Server::start(CLOSED);
    let ip = fresh_ip();
    let (mut mallory, mut phone) = (udp_at(ip, "bob", &server), udp_at(ip, "bob", &server));
    let offered = |phone: &mut Phone| {
        let request = phone.register(None).with("User-Agent", "Good Phone 1.2.3");
        Challenge::all(&phone.ask(request)).len()
    };
    offered(&mut mallory);
    std::thread::sleep(Duration::from_millis(5_200));
    assert_eq!(offered(&mut mallory), 1, "who gives up is offered MD5 alone");
    assert_eq!(offered(&mut phone), 2, "another phone is not");
}

#[test]
fn an_account_with_sha_256_only_is_not_locked_out() {
    let hash = Algorithm::Sha256.hash("dave:office.example:ladder");
    let server = Server::start(&format!("{CLOSED}  - {{ user: dave, ha1: {{ sha-256: {hash} }} }}\n"));
    let mut dave = Phone::udp("dave", server.address());
    for agent in ["SIPp", "old phone", "old phone"] {
        let request = dave.register(None).with("User-Agent", agent);
        let challenge = dave.ask(request.clone());
        let offered: Vec<_> =
            Challenge::all(&challenge).iter().map(|each| each.required("algorithm").to_owned()).collect();
        assert_eq!(offered, ["SHA-256"], "{agent}");
        std::thread::sleep(Duration::from_millis(if agent == "SIPp" { 0 } else { 5_200 }));
    }
    dave.registered_as("ladder");
}
