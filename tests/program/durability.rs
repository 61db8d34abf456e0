//! A 200 to a REGISTER is a promise: `kill -9` under load loses no binding that was acknowledged, and restores none
//! whose removal was acknowledged. Six kills, or as many as `FRONTDESK_KILL_ROUNDS` says:
//!
//!     FRONTDESK_KILL_ROUNDS=100 cargo test --release --test program -- --nocapture durability::a_kill

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::flood::{Answer, Template, after, digits};
use crate::harness::message::uri;
use crate::harness::server::{OPEN, PROGRAM, fresh_ip};
use crate::harness::{PATIENCE, Phone, Server};

const ROUNDS: u32 = 6;
const SENDERS: u32 = 4;
/// Users of each sender.
const USERS: u32 = 2_000;
/// Requests under way at a time, per sender: the store commits in groups some milliseconds apart, and all responses of
/// a group are sent at once.
const WINDOW: usize = 160;

fn config() -> String {
    format!("{OPEN}location: {{ store: disk, path: data/location }}\n")
}

/// The turn of the last request of a user, and of the last one that got its 200. Turn 0 is before the first one.
#[derive(Clone, Copy, Default)]
struct User {
    asked: u32,
    acknowledged: u32,
}

/// The Contact of a turn. Every seventh request is a removal.
const fn contact_of(turn: u32) -> Option<u32> {
    if turn.is_multiple_of(7) { None } else { Some(turn) }
}

/// Users whose phones register, refresh and unregister; each has one request under way.
struct Sender {
    first: u32,
    users: Vec<User>,
    turn: u32,
    bind: Template,
    remove: Template,
    list: Template,
}

impl Sender {
    fn new(number: u32) -> Self {
        Self {
            first: number * USERS,
            users: vec![User::default(); USERS as usize],
            turn: 0,
            bind: register("phone", "Contact: <sip:uUUUUUUU@192.0.2.1>;turn=NNNNNNNNNN;expires=3600\r\n"),
            remove: register("phone", "Contact: *\r\nExpires: 0\r\n"),
            list: register("judge", ""),
        }
    }

    /// Sends requests as fast as the server answers them until the server is gone. Returns how many were acknowledged.
    fn load(&mut self, server: SocketAddr, until: Instant) -> usize {
        let socket = connect(server, Duration::from_millis(20));
        let (mut acknowledged, mut open) = (0, 0);
        let mut buffer = [0; 4096];
        // A little longer than the server lives, so that it dies with requests under way.
        while Instant::now() < until + Duration::from_millis(100) {
            while open < WINDOW {
                if !self.ask(&socket) {
                    return acknowledged;
                }
                open += 1;
            }
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    let answer = read(&buffer[..length]);
                    let user = &mut self.users[(answer.user - self.first) as usize];
                    assert_eq!(user.asked, answer.turn, "it was not asked");
                    user.acknowledged = answer.turn;
                    (acknowledged, open) = (acknowledged + 1, open - 1);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
        acknowledged
    }

    /// Sends a request of the next user that has none under way. False if the server is gone.
    fn ask(&mut self, socket: &UdpSocket) -> bool {
        let user = loop {
            self.turn += 1;
            let user = &mut self.users[(self.turn % USERS) as usize];
            if user.asked == user.acknowledged {
                break user;
            }
        };
        user.asked = self.turn;
        let template = if contact_of(self.turn).is_some() { &mut self.bind } else { &mut self.remove };
        socket.send(template.fill(self.first + self.turn % USERS, self.turn)).is_ok()
    }

    /// Compares the bindings with what was acknowledged. What it finds counts as acknowledged afterwards.
    fn check(&mut self, server: SocketAddr) {
        let socket = connect(server, PATIENCE);
        let mut buffer = [0; 4096];
        for (users, first) in self.users.chunks_mut(64).zip((self.first..).step_by(64)) {
            self.turn += 1;
            for (user, _) in (first..).zip(users.iter()) {
                socket.send(self.list.fill(user, self.turn)).expect("the server is there");
            }
            for _ in 0..users.len() {
                let length = socket.recv(&mut buffer).expect("an answer");
                let answer = read(&buffer[..length]);
                let turn = after(answer.text, b";turn=").map(|turn| digits(&turn[..10]).expect("what we wrote"));
                let user = &mut users[(answer.user - first) as usize];
                // A request without a response may have been carried out.
                let carried_out = [user.asked, user.acknowledged].into_iter().find(|asked| contact_of(*asked) == turn);
                *user = match carried_out {
                    Some(asked) => User { asked, acknowledged: asked },
                    None => panic!(
                        "user {}: turn {} was acknowledged and {} asked for last (every seventh removes), but there is {turn:?}",
                        answer.user, user.acknowledged, user.asked
                    ),
                };
            }
        }
    }
}

/// A REGISTER of a phone that always has the same Call-ID.
fn register(call_id: &str, contact: &str) -> Template {
    Template::new(&format!(
        "REGISTER sip:office.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKUUUUUUU.NNNNNNNNNN\r\n\
         Max-Forwards: 70\r\nFrom: <sip:uUUUUUUU@office.example>;tag=t\r\nTo: <sip:uUUUUUUU@office.example>\r\n\
         Call-ID: {call_id}-UUUUUUU\r\nCSeq: NNNNNNNNNN REGISTER\r\n{contact}Content-Length: 0\r\n\r\n"
    ))
}

fn connect(server: SocketAddr, patience: Duration) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
    socket.connect(server).expect("the server's address");
    socket.set_read_timeout(Some(patience)).expect("a timeout");
    socket
}

fn read(text: &[u8]) -> Answer<'_> {
    let answer = Answer::read(text).filter(|answer| answer.status == 200);
    answer.unwrap_or_else(|| panic!("not a 200 to us: {}", String::from_utf8_lossy(text)))
}

fn query(server: SocketAddr, user: &str) -> Vec<String> {
    let contacts = Phone::udp(user, server).bindings();
    contacts.iter().map(|contact| uri(contact).to_owned()).collect()
}

#[test]
fn a_kill_loses_no_acknowledged_change() {
    let ip: IpAddr = fresh_ip();
    let mut folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let mut senders: Vec<_> = (0..SENDERS).map(Sender::new).collect();
    let rounds = std::env::var("FRONTDESK_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let (mut acknowledged, mut under_load) = (0, Duration::ZERO);
    for round in 0..rounds {
        let server = Server::start_in(folder, ip, &config());
        senders.iter_mut().for_each(|sender| sender.check(server.address()));
        let address = server.address();
        // The rounds end at different times.
        let life = Duration::from_millis(100 + u64::from(round) * 373 % 1_100);
        let until = Instant::now() + life;
        under_load += life;
        folder = thread::scope(|scope| {
            let loads: Vec<_> =
                senders.iter_mut().map(|sender| scope.spawn(move || sender.load(address, until))).collect();
            thread::sleep(until.saturating_duration_since(Instant::now()));
            let folder = server.kill();
            acknowledged += loads.into_iter().map(|load| load.join().expect("a sender")).sum::<usize>();
            folder
        });
    }
    let server = Server::start_in(folder, ip, &config());
    senders.iter_mut().for_each(|sender| sender.check(server.address()));
    assert!(acknowledged > rounds as usize, "the servers did nothing");
    let rate = acknowledged as f64 / under_load.as_secs_f64();
    println!("{rounds} kills after {acknowledged} 200s, {rate:.0} a second: no binding was lost, none came back");
}

#[test]
fn a_full_disk_is_reported_and_keeps_registrations() {
    // checklist 21
    let server = Server::start_on_small_disk(&config(), 600);
    let user = |number: u32| format!("user{number}");
    let mut first = Phone::udp(&user(0), server.address()).registered();
    // A long User-Agent fills the disk sooner.
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
fn a_backup_of_a_running_server_contains_its_registrations() {
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
    // Issue 18: `backup` says nothing, writes mode 0644 and calls an existing target a store error.
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("copied the registrations in ") && text.contains("data/copy: "), "{text}");
    let mode = fs::metadata(server.path().join("data/copy")).expect("the copy").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = backup();
    let text = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(1), "nothing is overwritten");
    assert!(text.contains("data/copy\" exists already") && !text.contains("location store"), "{text}");
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
fn a_clean_stop_keeps_all_registrations() {
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

/// Issue 18: "1 phones of 1 users".
#[test]
fn one_phone_of_one_user_is_singular() {
    let ip = fresh_ip();
    let server = Server::start_in(TempDir::with_prefix("frontdesk-test-").expect("a temporary folder"), ip, &config());
    Phone::udp("bob", server.address()).registered();
    let server = Server::start_in(server.stop(), ip, &config());
    server.logs("0 accounts, 1 phone of 1 user restored");
}
