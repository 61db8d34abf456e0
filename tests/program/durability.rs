//! A 200 to a REGISTER is a promise: `kill -9` under load loses no binding that was acknowledged, and brings back none
//! whose removal was. Six kills, or as many as `FRONTDESK_KILL_ROUNDS` says:
//!
//!     FRONTDESK_KILL_ROUNDS=100 cargo test --release --test program -- --nocapture durability::a_kill

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::message::uri;
use crate::harness::server::{OPEN, PROGRAM, fresh_ip};
use crate::harness::{Message, Phone, Server};

const ROUNDS: u32 = 6;
const SENDERS: u32 = 4;
/// Requests under way at a time, per sender.
const WINDOW: usize = 24;

fn config() -> String {
    format!("{OPEN}location: {{ store: disk, path: data/location }}\n")
}

/// What was acknowledged last: user to Contact, or to nothing if it was removed.
type Promises = BTreeMap<String, Option<String>>;

/// One sender's promises, and the users whose last request may or may not have been carried out.
#[derive(Default)]
struct Heard {
    acknowledged: usize,
    promised: Promises,
    open: BTreeMap<String, Option<String>>,
}

/// Registers, refreshes and removes as fast as the server takes it, until it is gone.
fn load(server: SocketAddr, sender: u32, round: u32, until: Instant) -> Heard {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
    socket.connect(server).expect("the server's address");
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    let mut heard = Heard::default();
    let mut number = 0;
    let mut buffer = vec![0; 65_535];
    // A little longer than the server lives, so that it dies with requests under way.
    while Instant::now() < until + Duration::from_millis(100) {
        while heard.open.len() < WINDOW {
            number += 1;
            let user = format!("u{sender}x{}", number % 500);
            if heard.open.contains_key(&user) {
                continue;
            }
            let contact = (number % 7 != 0).then(|| format!("sip:{user}@192.0.2.{}", round % 200 + 1));
            if socket.send(&request(&user, contact.as_deref(), round, sender, number)).is_err() {
                return heard;
            }
            heard.open.insert(user, contact);
        }
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let answer = Message::parse(&buffer[..length]).expect("an answer in SIP");
        assert_eq!(answer.status(), Some(200), "{answer}");
        let user = uri(answer.header("To")).trim_start_matches("sip:").split('@').next().unwrap_or_default().to_owned();
        if let Some(contact) = heard.open.remove(&user) {
            heard.acknowledged += 1;
            heard.promised.insert(user, contact);
        }
    }
    heard
}

/// A REGISTER that adds or refreshes this Contact, or removes all.
fn request(user: &str, contact: Option<&str>, round: u32, sender: u32, number: u32) -> Vec<u8> {
    let message = Message::request("REGISTER", "sip:office.example")
        .with("Via", format!("SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKd{round}x{sender}x{number}"))
        .with("Max-Forwards", 70)
        .with("From", format!("<sip:{user}@office.example>;tag=t"))
        .with("To", format!("<sip:{user}@office.example>"))
        .with("Call-ID", format!("d{round}x{sender}x{number}"))
        .with("CSeq", "1 REGISTER");
    let message = match contact {
        Some(contact) => message.with("Contact", format!("<{contact}>;expires=3600")),
        None => message.with("Contact", "*").with("Expires", 0),
    };
    message.bytes()
}

fn query(server: SocketAddr, user: &str) -> Vec<String> {
    let contacts = Phone::udp(user, server).bindings();
    contacts.iter().map(|contact| uri(contact).to_owned()).collect()
}

#[test]
fn a_kill_loses_nothing_that_was_promised() {
    let ip: IpAddr = fresh_ip();
    // Each round's Contact is another one.
    let config = config() + "registrar: { max_contacts: 300 }\n";
    let mut folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let mut promised = Promises::new();
    let mut unsure = BTreeMap::new();
    let rounds = std::env::var("FRONTDESK_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let (mut acknowledged, mut under_load) = (0, Duration::ZERO);
    for round in 0..rounds {
        let server = Server::start_in(folder, ip, &config);
        check(server.address(), &promised, &unsure);
        let address = server.address();
        // No two rounds end at the same place.
        let life = Duration::from_millis(100 + u64::from(round) * 373 % 1_100);
        let until = Instant::now() + life;
        under_load += life;
        let senders: Vec<_> =
            (0..SENDERS).map(|sender| thread::spawn(move || load(address, sender, round, until))).collect();
        thread::sleep(until.saturating_duration_since(Instant::now()));
        folder = server.kill();
        for sender in senders {
            let heard = sender.join().expect("a sender");
            acknowledged += heard.acknowledged;
            for (user, contact) in heard.promised {
                unsure.remove(&user);
                promised.insert(user, contact);
            }
            unsure.extend(heard.open);
        }
    }
    let server = Server::start_in(folder, ip, &config);
    check(server.address(), &promised, &unsure);
    assert!(acknowledged > rounds as usize, "the servers did nothing");
    let rate = acknowledged as f64 / under_load.as_secs_f64();
    println!("{rounds} kills after {acknowledged} 200s, {rate:.0} a second: no binding was lost, none came back");
}

/// Compares what is there with what was promised.
#[track_caller]
fn check(server: SocketAddr, promised: &Promises, unsure: &Promises) {
    for (user, contact) in promised {
        let there = query(server, user);
        // A request whose answer was not heard may have been carried out after the promise.
        if unsure.contains_key(user) {
            continue;
        }
        match contact {
            Some(contact) => assert!(there.contains(contact), "{user}: {contact} is lost: {there:?}"),
            None => assert!(there.is_empty(), "{user} was removed, but there is {there:?}"),
        }
    }
}

#[test]
fn a_full_disk_is_told_and_keeps_what_was_there() {
    // checklist 21
    let server = Server::start_cramped(&config(), 600);
    let user = |number: u32| format!("user{number}");
    let mut first = Phone::udp(&user(0), server.address()).registered();
    // A long User-Agent fills it the sooner.
    let agent = "phone".repeat(400);
    let refusal = (1..2_000).find_map(|number| {
        let mut phone = Phone::udp(&user(number), server.address());
        let contact = format!("<{}>", phone.contact());
        let register = phone.register(Some(&contact)).with("User-Agent", &agent);
        let answer = phone.ask(register);
        (answer.status() != Some(200)).then_some(answer)
    });
    let refusal = refusal.expect("the disk is full at last");
    assert_eq!(refusal.status(), Some(503), "{refusal}");
    assert!(refusal.header("Retry-After").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{refusal}");
    assert_eq!(first.bindings().len(), 1);
    server.logs("the disk is full");
}

#[test]
fn a_backup_of_a_running_server_has_its_registrations() {
    let server = Server::start(&config());
    for number in 0..50 {
        Phone::udp(&format!("user{number}"), server.address()).registered();
    }
    let backup = || {
        let mut command = Command::new(PROGRAM);
        command.current_dir(server.path()).args(["backup", "data/copy", "--config", "frontdesk.yaml"]);
        command.output().expect("the program starts")
    };
    let output = backup();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(backup().status.code(), Some(1), "nothing is overwritten");
    let folder = server.kill();
    for part in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(folder.path().join(format!("data/location{part}")));
    }
    fs::rename(folder.path().join("data/copy"), folder.path().join("data/location")).expect("the copy in its place");
    let server = Server::start_in(folder, fresh_ip(), &config());
    for number in 0..50 {
        assert_eq!(query(server.address(), &format!("user{number}")).len(), 1);
    }
}

#[test]
fn a_clean_stop_keeps_everything() {
    let ip = fresh_ip();
    let server = Server::start_in(TempDir::with_prefix("frontdesk-test-").expect("a temporary folder"), ip, &config());
    for number in 0..50 {
        Phone::udp(&format!("user{number}"), server.address()).registered();
    }
    let folder = server.stop();
    let server = Server::start_in(folder, ip, &config());
    for number in 0..50 {
        assert_eq!(query(server.address(), &format!("user{number}")).len(), 1);
    }
    server.counts("frontdesk_bindings", &[], |count| count == 50.0);
}
