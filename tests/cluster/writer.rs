//! Phones that register, refresh and remove their registration all the time, at any server and several for one user, so that
//! every fault meets changes that are being written.
//!
//! Remembers what the last response said: that is what must hold afterwards. After a change without a 200 either state is
//! right (RFC 3261 10.2.8 leaves it open).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::harness::message::{Message, param};
use crate::harness::phone::unique;
use crate::network::{NODES, phone_ip};
use crate::random::Random;

/// What must hold for one Contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// A 200 said so.
    Registered,
    /// A 200 said so.
    Removed,
    /// A change had no 200.
    Open,
}

/// One writer and its thread.
pub(crate) struct Writer {
    pub(crate) user: String,
    pub(crate) contact: String,
    promise: Arc<Mutex<(Promise, String)>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Shared by all writers.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The writers wait.
    pub(crate) paused: AtomicBool,
    stopped: AtomicBool,
    /// Changes that wait for a response.
    pub(crate) pending: AtomicUsize,
    pub(crate) acknowledged: AtomicUsize,
    pub(crate) refused: AtomicUsize,
    pub(crate) unanswered: AtomicUsize,
}

impl Writer {
    pub(crate) fn start(number: usize, users: usize, shared: &Arc<Shared>, random: &mut Random) -> Self {
        let ip = phone_ip(16 + number);
        let user = format!("writer{}", number % users);
        let contact = format!("sip:{user}@{ip}:7000");
        let promise = Arc::new(Mutex::new((Promise::Removed, String::new())));
        let (told, random, shared) = (Arc::clone(&promise), random.fork(), Arc::clone(shared));
        let state = State { user: user.clone(), contact: contact.clone(), ip, random, call: unique("w"), sequence: 0 };
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || state.run(&own, &told));
        Self { user, contact, promise, shared, thread: Some(thread) }
    }

    /// What must hold, and what said so.
    pub(crate) fn promise(&self) -> (Promise, String) {
        self.promise.lock().clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the writer of {} failed", self.user);
        }
    }
}

struct State {
    user: String,
    contact: String,
    ip: Ipv4Addr,
    random: Random,
    call: String,
    sequence: u32,
}

impl State {
    fn run(mut self, shared: &Shared, promise: &Mutex<(Promise, String)>) {
        let socket = UdpSocket::bind((self.ip, 0)).expect("a UDP port");
        while !shared.stopped.load(Ordering::Relaxed) {
            if shared.paused.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            shared.pending.fetch_add(1, Ordering::SeqCst);
            let is_added = self.random.below(4) > 0;
            let node = self.random.below(NODES.len());
            let status = self.change(&socket, node, is_added);
            let said = format!("CSeq {} at {}: {status:?}", self.sequence, NODES[node].name);
            let kept = match (status, is_added) {
                (Some(200), true) => Promise::Registered,
                (Some(200), false) => Promise::Removed,
                _ => Promise::Open,
            };
            let counter = match status {
                Some(200) => &shared.acknowledged,
                Some(_) => &shared.refused,
                None => &shared.unanswered,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            *promise.lock() = (kept, said);
            shared.pending.fetch_sub(1, Ordering::SeqCst);
            std::thread::sleep(self.random.millis(20, 150));
        }
    }

    fn change(&mut self, socket: &UdpSocket, node: usize, is_added: bool) -> Option<u16> {
        self.sequence += 1;
        let branch = unique("z9hG4bK");
        let own = socket.local_addr().expect("a bound socket");
        let address = format!("<sip:{}@office.example>", self.user);
        let message = Message::request("REGISTER", "sip:office.example")
            .with("Via", format!("SIP/2.0/UDP {own};branch={branch};rport"))
            .with("Max-Forwards", 70)
            .with("From", format!("{address};tag=w"))
            .with("To", address)
            .with("Call-ID", &self.call)
            .with("CSeq", format!("{} REGISTER", self.sequence))
            .with("Contact", format!("<{}>", self.contact))
            .with("Expires", if is_added { 600 } else { 0 });
        let (server, bytes) = (SocketAddr::from((NODES[node].ip, 5060)), message.bytes());
        let (end, mut interval) = (Instant::now() + Duration::from_secs(4), Duration::from_millis(500));
        let mut buffer = [0; 65_535];
        while Instant::now() < end {
            let _ = socket.send_to(&bytes, server);
            let again_at = Instant::now() + interval;
            while let Some(left) = again_at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                socket.set_read_timeout(Some(left)).expect("a timeout");
                let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
                let Some(response) = Message::parse(&buffer[..length]) else { continue };
                let is_ours = response.list("Via").first().and_then(|via| param(via, "branch")) == Some(&*branch);
                if let Some(status) = response.status().filter(|status| is_ours && *status >= 200) {
                    return Some(status);
                }
            }
            interval *= 2;
        }
        None
    }
}
