//! A phone that looks after itself, as a phone of an office does: it refreshes its registration, notices that its connection
//! has broken or that its server no longer answers, and registers at another server then.
//!
//! Answers every call. What it was told with a 200 is what the judge counts as acknowledged. RFC 3261 8, 10, 12, 13, 17;
//! RFC 5626 4.4 (signs of life), 4.5 (another server).

mod calls;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::harness::dialog::Dialog;
use crate::harness::message::{Message, param, uri};
use crate::harness::phone::unique;
use crate::network::{NODES, phone_ip};
use crate::random::Random;
use crate::wire::{Arrival, Kind, PRIVATE, UdpPort, Wire};

/// What a phone is told to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Registers at this server.
    Move(usize),
    /// Calls a user; the Call-ID.
    Call {
        user: String,
        call: String,
    },
    /// Ends a call.
    HangUp(String),
    Stop,
}

/// What a phone knows, for the judge.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    /// The server it is registered at, the Contact that was acknowledged, and until when it is valid.
    pub(crate) registered: Option<(usize, String, Instant)>,
    pub(crate) calls: HashMap<String, CallState>,
    pub(crate) moves: usize,
}

/// A call as one side sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallState {
    Calling,
    Up,
    /// The other side has ended it, or has confirmed the end.
    Ended,
    Failed(String),
}

/// A phone and its thread.
pub(crate) struct Phone {
    pub(crate) user: String,
    pub(crate) kind: Kind,
    knowledge: Arc<Mutex<Knowledge>>,
    orders: SyncSender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Phone {
    /// A phone that registers at once.
    pub(crate) fn start(number: usize, kind: Kind, random: &mut Random) -> Self {
        let user = format!("user{number}");
        let knowledge = Arc::new(Mutex::default());
        let (orders, inbox) = sync_channel(16);
        let agent = Agent::new(&user, number, kind, random.fork(), Arc::clone(&knowledge));
        let thread = std::thread::spawn(move || agent.run(&inbox));
        Self { user, kind, knowledge, orders, thread: Some(thread) }
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.send(order).expect("the phone runs");
    }

    pub(crate) fn knowledge(&self) -> Knowledge {
        self.knowledge.lock().clone()
    }

    pub(crate) fn call_state(&self, call: &str) -> Option<CallState> {
        self.knowledge.lock().calls.get(call).cloned()
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the phone of {} failed", self.user);
        }
    }
}

/// A connection and the server at its end.
struct Line {
    node: usize,
    wire: Wire,
    /// When the unanswered sign of life was asked for.
    asked: Option<Instant>,
    ask_at: Instant,
}

/// A request that waits for its response.
struct Request {
    message: Message,
    again_at: Instant,
    interval: Duration,
    give_up_at: Instant,
    is_register: bool,
}

/// A call.
struct Call {
    dialog: Option<Dialog>,
    invite: Message,
    /// The 200 until its ACK arrives, and when it is sent again.
    unacknowledged: Option<(Message, Instant)>,
}

struct Agent {
    user: String,
    kind: Kind,
    /// Whether it says which instance it is.
    has_instance: bool,
    ip: Ipv4Addr,
    port: Arc<UdpPort>,
    random: Random,
    knowledge: Arc<Mutex<Knowledge>>,
    line: Option<Line>,
    /// To another server, until it has accepted the registration.
    next: Option<Line>,
    requests: HashMap<String, Request>,
    calls: HashMap<String, Call>,
    call_id: String,
    sequence: u32,
    register_at: Instant,
    refusals: usize,
    try_node: usize,
}

/// RFC 3261 17.1.1.1
const T1: Duration = Duration::from_millis(500);
/// The duration of a registration.
const EXPIRES: u64 = 120;
/// Interval between signs of life. Short, so that rounds are short.
const SIGN: Duration = Duration::from_millis(800);
/// A server that does not answer for so long is left.
const SILENT: Duration = Duration::from_millis(1800);

impl Agent {
    fn new(user: &str, number: usize, kind: Kind, mut random: Random, knowledge: Arc<Mutex<Knowledge>>) -> Self {
        let ip = phone_ip(number);
        let port = UdpPort::bind(ip, kind);
        let try_node = random.below(NODES.len());
        Self {
            user: user.to_owned(),
            kind,
            has_instance: number > 4,
            ip,
            port,
            random,
            knowledge,
            line: None,
            next: None,
            requests: HashMap::new(),
            calls: HashMap::new(),
            call_id: unique("register"),
            sequence: 0,
            register_at: Instant::now(),
            refusals: 0,
            try_node,
        }
    }

    fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            while let Ok(order) = inbox.try_recv() {
                match order {
                    Order::Move(node) => self.try_at(node),
                    Order::Call { user, call } => self.call(&user, call),
                    Order::HangUp(call) => self.hang_up(&call),
                    Order::Stop => return,
                }
            }
            self.maintain();
            for is_next in [false, true] {
                self.receive(is_next);
            }
        }
    }

    /// What is due.
    fn maintain(&mut self) {
        let now = Instant::now();
        if self.line.is_none() && self.next.is_none() && self.register_at <= now {
            let node = self.try_node;
            self.try_node = (node + 1) % NODES.len();
            self.try_at(node);
        }
        if self.register_at <= now && !self.requests.values().any(|request| request.is_register) {
            self.register();
        }
        if let Some(line) = &mut self.line {
            let is_silent = line.asked.is_some_and(|asked| now.duration_since(asked) > SILENT);
            let is_watched = self.kind != Kind::Udp;
            let mut is_broken = is_silent;
            if is_watched && line.ask_at <= now {
                line.ask_at = now + SIGN;
                line.asked.get_or_insert(now);
                is_broken |= line.wire.ping().is_err();
            }
            if is_broken {
                self.leave();
            }
        }
        self.retransmit(now);
    }

    /// The connection has broken, or the server is silent.
    fn leave(&mut self) {
        if let Some(line) = self.line.take() {
            self.try_node = (line.node + 1 + self.random.below(NODES.len() - 1)) % NODES.len();
        }
        if self.next.is_none() {
            self.requests.retain(|_, request| !request.is_register);
            self.register_at = Instant::now();
        }
    }

    /// Registers at a server over a new connection. The old one is kept until then.
    fn try_at(&mut self, node: usize) {
        self.requests.retain(|_, request| !request.is_register);
        self.next = None;
        match Wire::open(self.kind, NODES[node], self.ip, &self.port) {
            Ok(wire) => {
                self.next = Some(Line { node, wire, asked: None, ask_at: Instant::now() + SIGN });
                self.register_at = Instant::now();
                self.register();
            }
            // The next attempt in a moment, not at once.
            Err(_) => self.register_at = Instant::now() + Duration::from_millis(100),
        }
    }

    fn register(&mut self) {
        let contact = self.contact(self.next.as_ref().or(self.line.as_ref()));
        self.sequence += 1;
        let message = Message::request("REGISTER", "sip:office.example")
            .with("From", format!("<sip:{}@office.example>;tag=r", self.user))
            .with("To", format!("<sip:{}@office.example>", self.user))
            .with("Call-ID", &self.call_id)
            .with("CSeq", format!("{} REGISTER", self.sequence))
            .with("Contact", format!("<{contact}>{}", self.instance()))
            .with("Expires", EXPIRES);
        self.register_at = Instant::now() + Duration::from_secs(5);
        self.request(message, true, Duration::from_millis(2500));
    }

    /// The Contact URI on a connection.
    fn contact(&self, line: Option<&Line>) -> String {
        let (user, ip) = (&self.user, self.ip);
        let port = line.map_or(0, |line| line.wire.port());
        match self.kind {
            Kind::Udp => format!("sip:{user}@{ip}:{port}"),
            Kind::Nat => format!("sip:{user}@{PRIVATE}"),
            // Its connection has another port each time: the instance says that it is the same phone.
            Kind::Tcp if self.has_instance => format!("sip:{user}@{ip}:{port};transport=tcp"),
            Kind::Tcp => format!("sip:{user}@{ip};transport=tcp"),
            Kind::WebSocket => format!("sip:{user}@phone.invalid;transport=ws"),
        }
    }

    /// RFC 5626 4.1
    fn instance(&self) -> String {
        let [.., last] = self.ip.octets();
        if self.has_instance { format!(";+sip.instance=\"<urn:uuid:{last:032x}>\"") } else { String::new() }
    }

    /// Sends a request and remembers it.
    fn request(&mut self, message: Message, is_register: bool, patience: Duration) {
        let line = if is_register { self.next.as_mut().or(self.line.as_mut()) } else { self.line.as_mut() };
        let Some(line) = line else {
            self.fail(&message, "no connection");
            return;
        };
        let branch = unique("z9hG4bK");
        let via = format!("SIP/2.0/{};branch={branch};rport", line.wire.via(self.ip));
        let message = message.with_first("Via", via).with("Max-Forwards", 70);
        let is_sent = line.wire.send(&message).is_ok();
        let now = Instant::now();
        // RFC 3261 17.1.2.2: over a stream nothing is sent again.
        let interval = if line.wire.is_datagram() { T1 } else { Duration::from_secs(3600) };
        let give_up_at = if is_sent { now + patience } else { now };
        let request = Request { message, again_at: now + interval, interval, give_up_at, is_register };
        self.requests.insert(branch, request);
    }

    fn retransmit(&mut self, now: Instant) {
        let mut over = Vec::new();
        for (branch, request) in &mut self.requests {
            if request.give_up_at <= now {
                over.push(branch.clone());
            } else if request.again_at <= now {
                request.interval *= 2;
                request.again_at = now + request.interval;
                let line =
                    if request.is_register { self.next.as_mut().or(self.line.as_mut()) } else { self.line.as_mut() };
                if let Some(line) = line {
                    let _ = line.wire.send(&request.message);
                }
            }
        }
        for branch in over {
            let Some(request) = self.requests.remove(&branch) else { continue };
            if request.is_register { self.refused() } else { self.fail(&request.message, "no response") }
        }
        let Some(line) = &mut self.line else { return };
        for call in self.calls.values_mut() {
            if let Some((ok, again_at)) = call.unacknowledged.as_mut().filter(|(_, again_at)| *again_at <= now) {
                *again_at = now + T1;
                let _ = line.wire.send(ok);
            }
        }
    }

    fn receive(&mut self, is_next: bool) {
        let slot = if is_next { &mut self.next } else { &mut self.line };
        let Some(line) = slot else {
            if !is_next {
                std::thread::sleep(Duration::from_millis(5));
            }
            return;
        };
        match line.wire.receive(Duration::from_millis(10)) {
            Ok(Arrival::Nothing) => {}
            // Both lines of a phone on UDP use the same port.
            Ok(Arrival::Pong) => {
                if let Some(line) = &mut self.line {
                    line.asked = None;
                }
            }
            Ok(Arrival::Message(message)) if message.status().is_some() => self.response(&message),
            Ok(Arrival::Message(message)) => self.answer(&message, is_next),
            Err(_) if is_next => {
                self.next = None;
                self.refused();
            }
            Err(_) => self.leave(),
        }
    }

    /// The registration was refused, or there was no response.
    fn refused(&mut self) {
        self.requests.retain(|_, request| !request.is_register);
        self.register_at = Instant::now() + Duration::from_millis(500);
        self.refusals += 1;
        if self.next.take().is_none() {
            // The server that the phone is registered at. RFC 3263 4.3: the next one is tried.
            let Some(line) = &self.line else { return };
            let node = (line.node + 1 + self.refusals % (NODES.len() - 1)) % NODES.len();
            self.try_at(node);
        }
    }

    fn response(&mut self, message: &Message) {
        let status = message.status().unwrap_or_default();
        if message.method() == "INVITE" && (200..300).contains(&status) {
            self.acknowledge(message);
        }
        let branch = message.list("Via").first().and_then(|via| param(via, "branch")).unwrap_or_default();
        if status < 200 {
            if let Some(request) = self.requests.get_mut(branch) {
                // RFC 3261 17.1.1.2: an INVITE that has a provisional response is not sent again.
                request.again_at = Instant::now() + Duration::from_secs(3600);
            }
            return;
        }
        let Some(request) = self.requests.remove(branch) else { return };
        match message.method() {
            "REGISTER" if status == 200 => self.registered(&request.message),
            "REGISTER" => self.refused(),
            "BYE" if status == 200 => {
                self.set(request.message.header("Call-ID"), CallState::Ended);
            }
            _ if status >= 300 => self.fail(&request.message, &message.start),
            _ => {}
        }
    }

    fn registered(&mut self, register: &Message) {
        self.refusals = 0;
        let mut knowledge = self.knowledge.lock();
        if let Some(next) = self.next.take() {
            knowledge.moves += 1;
            self.line = Some(next);
        }
        let Some(line) = &self.line else { return };
        let contact = uri(register.header("Contact")).to_owned();
        knowledge.registered = Some((line.node, contact, Instant::now() + Duration::from_secs(EXPIRES)));
        drop(knowledge);
        self.register_at = Instant::now() + self.random.millis(1500, 4000);
    }
}
