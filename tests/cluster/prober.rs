//! Who reaches whom: an OPTIONS to every phone through every server, several times a second.
//!
//! Counts for how long a phone was not reached: through one server, and through any. A caller tries the next server if one
//! does not answer (RFC 3263 4.3), so a phone is reachable if it is through any.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::harness::message::{Message, param};
use crate::network::{NODES, phone_ip};

/// The time from one OPTIONS to the next, for one phone and one server.
const INTERVAL: Duration = Duration::from_millis(200);

/// When phones were reached.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    /// Of each phone: the last time through each server.
    last: Vec<[Instant; NODES.len()]>,
    /// Of each phone: the longest time without, through each server, and through any.
    gaps: Vec<[Duration; NODES.len()]>,
    any_gaps: Vec<Duration>,
    /// Of each phone and server: the last status.
    statuses: Vec<[u16; NODES.len()]>,
}

/// The thread.
pub(crate) struct Prober {
    reached: Arc<Mutex<Reached>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reached {
    fn new(phones: usize) -> Self {
        Self {
            last: vec![[Instant::now(); NODES.len()]; phones],
            gaps: vec![[Duration::ZERO; NODES.len()]; phones],
            any_gaps: vec![Duration::ZERO; phones],
            statuses: vec![[0; NODES.len()]; phones],
        }
    }

    fn note(&mut self, phone: usize, node: usize, status: u16) {
        self.statuses[phone][node] = status;
        if status == 200 {
            self.measure(phone, node);
            self.last[phone][node] = Instant::now();
        }
    }

    fn measure(&mut self, phone: usize, node: usize) {
        let last = &self.last[phone];
        let any = last.iter().max().expect("servers").elapsed();
        self.gaps[phone][node] = self.gaps[phone][node].max(last[node].elapsed());
        self.any_gaps[phone] = self.any_gaps[phone].max(any);
    }

    /// The longest time that the phone was not reached, through the best server at each moment, and through the worst.
    pub(crate) fn worst(&self, phone: usize) -> (Duration, Duration) {
        (self.any_gaps[phone], self.gaps[phone].iter().max().copied().unwrap_or_default())
    }

    /// The last status through each server, and how long ago it was reached.
    pub(crate) fn now(&self, phone: usize) -> String {
        let parts = NODES.iter().enumerate().map(|(node, host)| {
            let ago = self.last[phone][node].elapsed().as_secs_f32();
            format!("{}: {} ({ago:.1} s ago)", host.name, self.statuses[phone][node])
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Phones that were not reached through some server for this long.
    pub(crate) fn not_within(&self, time: Duration) -> Vec<usize> {
        let is_late = |last: &[Instant; NODES.len()]| last.iter().any(|at| at.elapsed() > time);
        self.last.iter().enumerate().filter(|(_, last)| is_late(last)).map(|(phone, _)| phone).collect()
    }
}

impl Prober {
    /// Begins with these users.
    pub(crate) fn start(users: Vec<String>) -> Self {
        let reached = Arc::new(Mutex::new(Reached::new(users.len())));
        let stopped = Arc::new(AtomicBool::new(false));
        let (own, end) = (Arc::clone(&reached), Arc::clone(&stopped));
        let thread = Some(std::thread::spawn(move || run(&users, &own, &end)));
        Self { reached, stopped, thread }
    }

    /// Forgets the gaps so far.
    pub(crate) fn reset(&self) {
        let mut reached = self.reached.lock();
        let phones = reached.last.len();
        let statuses = std::mem::take(&mut reached.statuses);
        *reached = Reached { statuses, ..Reached::new(phones) };
    }

    /// What was measured, gaps that still last included.
    pub(crate) fn reached(&self) -> Reached {
        let mut reached = self.reached.lock().clone();
        for phone in 0..reached.last.len() {
            (0..NODES.len()).for_each(|node| reached.measure(phone, node));
        }
        reached
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(users: &[String], reached: &Mutex<Reached>, stopped: &AtomicBool) {
    let socket = UdpSocket::bind((phone_ip(31), 0)).expect("a UDP port");
    let own = socket.local_addr().expect("a bound socket");
    let pairs: Vec<_> = (0..users.len()).flat_map(|user| (0..NODES.len()).map(move |node| (user, node))).collect();
    let pause = INTERVAL / u32::try_from(pairs.len()).expect("few");
    let (mut number, mut next_at, mut buffer) = (0_usize, Instant::now(), [0; 65_535]);
    while !stopped.load(Ordering::Relaxed) {
        if next_at <= Instant::now() {
            next_at = (next_at + pause).max(Instant::now().checked_sub(INTERVAL).unwrap_or(next_at));
            let (user, node) = pairs[number % pairs.len()];
            let uri = format!("sip:{}@office.example", users[user]);
            let message = Message::request("OPTIONS", &uri)
                .with("Via", format!("SIP/2.0/UDP {own};branch=z9hG4bKp.{number}.{user}.{node};rport"))
                .with("Max-Forwards", 70)
                .with("From", "<sip:prober@office.example>;tag=p")
                .with("To", format!("<{uri}>"))
                .with("Call-ID", format!("probe-{number}"))
                .with("CSeq", "1 OPTIONS");
            let _ = socket.send_to(&message.bytes(), SocketAddr::from((NODES[node].ip, 5060)));
            number += 1;
        }
        let left = next_at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left)).expect("a timeout");
        let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
        let Some(message) = Message::parse(&buffer[..length]) else { continue };
        let Some(status) = message.status().filter(|status| *status >= 200) else { continue };
        let list = message.list("Via");
        let branch = list.first().and_then(|via| param(via, "branch")).unwrap_or_default();
        let mut parts = branch.split('.').skip(2).filter_map(|part| part.parse::<usize>().ok());
        if let (Some(user), Some(node)) = (parts.next(), parts.next()) {
            reached.lock().note(user, node, status);
        }
    }
}
