//! What it costs that several servers share their registrations: a REGISTER through Redis and a MESSAGE beside it, compared
//! with the store on disk; how long a phone waits; and how soon another server knows a change.
//!
//! Redis writes every change to its disk before it answers. It shares processor 1 with the generator. Its processor time
//! does not count.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::server::{Layout, Server, Store};
use crate::slices;
use crate::usage;
use crate::users::Users;

const USERS: u32 = 100_000;
/// Enough to keep a server busy that answers in groups.
const WINDOW: u32 = 512;
const RATE: u32 = 5_000;
/// Changes that another server has to learn of.
const CHANGES: u32 = 1_000;

/// Prints the table.
pub(crate) fn measure(program: &Path) {
    let redis = Redis::start();
    let stores = [Store::Disk, Store::Redis(redis.port, "a")];
    let names = ["store on disk", "store in Redis"];
    let mut groups = stores.map(|store| Users::open(Server::start(program, store, Layout::Pinned).0, USERS, WINDOW));
    let costs = slices::compare(&mut groups, Users::refresh);
    slices::print("REGISTER again", names.map(str::to_owned), &costs);
    for (group, name) in groups.iter_mut().zip(names) {
        let mut runs: Vec<_> = (0..5).map(|_| paced(group)).collect();
        runs.sort_by(|one, other| one.0.total_cmp(&other.0));
        let cost = runs.iter().map(|run| run.2).fold(f64::MAX, f64::min);
        let (most, middle, _) = runs[0];
        let what = format!("{name}, {RATE} a second");
        println!("{what:<44}{middle:>8.2} ms p50, {most:.2} ms p99, the best of five; {cost:.2} us at least");
    }
    let costs = slices::compare(&mut groups, Users::message);
    slices::print("MESSAGE forwarded", names.map(str::to_owned), &costs);
    drop(groups);
    visible(program, &redis);
}

/// p99 and p50 in milliseconds, and microseconds of processor time for each.
fn paced(group: &mut Users) -> (f64, f64, f64) {
    let time = Duration::from_secs(2);
    let before = usage::of(group.process());
    let waits = group.paced(RATE, time);
    let cost = (usage::of(group.process()) - before).as_secs_f64() * 1e6 / waits.len() as f64;
    let at = |share: usize| waits[waits.len() * share / 100].as_secs_f64() * 1e3;
    (at(99), at(50), cost)
}

/// From the 200 at one server until the other one lists the Contact.
fn visible(program: &Path, redis: &Redis) {
    let [one, other] = ["a", "b"].map(|node| Server::start(program, Store::Redis(redis.port, node), Layout::Pinned).0);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut waits: Vec<_> = (0..CHANGES)
        .map(|number| {
            assert!(ask(&socket, one.address(), number, 1, true).starts_with("SIP/2.0 200"), "the phone registers");
            let began = Instant::now();
            let is_there = |turn| ask(&socket, other.address(), number, turn, false).contains("Contact:");
            assert!((2..100_000).any(is_there), "the other server learns of it");
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    let at = |share: usize| waits[waits.len() * share / 100];
    println!("{:<44}{:>8.2} ms p50, {:.2} ms p99", "a change is known at another server", at(50), at(99));
}

fn ask(socket: &UdpSocket, server: SocketAddr, number: u32, turn: u32, is_change: bool) -> String {
    let own = socket.local_addr().expect("an address");
    let contact =
        if is_change { format!("Contact: <sip:new{number}@{own}>\r\nExpires: 600\r\n") } else { String::new() };
    let request = format!(
        "REGISTER sip:office.example SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKn{number}.{turn}\r\nMax-Forwards: 70\r\n\
         From: <sip:new{number}@office.example>;tag=n\r\nTo: <sip:new{number}@office.example>\r\n\
         Call-ID: n{number}-{is_change}\r\nCSeq: {turn} REGISTER\r\n{contact}Content-Length: 0\r\n\r\n"
    );
    socket.send_to(request.as_bytes(), server).expect("a datagram");
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// A Redis of its own; it is ended when dropped.
struct Redis {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    fn start() -> Self {
        let folder = TempDir::with_prefix("frontdesk-redis-").expect("a temporary folder");
        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("an address").port();
        let mut command = Command::new("taskset");
        command.args(["-c", "1", "redis-server", "--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("taskset(1) and redis-server");
        let redis = Self { child, port, _folder: folder };
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
