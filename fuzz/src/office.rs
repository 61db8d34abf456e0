//! A small office: two cores, a store, phones, and a clock, driven by a script that a fuzzer can write.
//!
//! The first octet of a script is the office's manners, see [`settings`]. Its steps begin with `%` at the start of a
//! line; the rest of that line is a letter and an octet that says which, the lines below are text:
//!
//! | step | what happens                                                                                     |
//! |------|--------------------------------------------------------------------------------------------------|
//! | `r`  | a phone sends the text                                                                           |
//! | `p`  | whoever got a request answers it: status line and further lines from the text                    |
//! | `k`  | whoever got a message sends it back as it is                                                     |
//! | `d`  | whoever got a 401 or 407 sends the newest text again, with a good answer to the challenge        |
//! | `u`  | a message could not be delivered                                                                 |
//! | `t`  | time passes                                                                                      |
//! | `a`  | the oldest open question is answered                                                             |
//!
//! What must be so: nothing panics, a timer that was due is due no more, what goes out is SIP, what is held stays below
//! its limits, and once everybody is silent nothing is held at all.

mod splice;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use location::{Aor, Commit, ConnectionId, Flow, FlowId, MemoryStore, Store, Ticket, WhenFull};
use md5::{Digest as _, Md5};
use parser::headers::Challenge;
use parser::{HeaderName, Message, Transport};
use proxy::{
    Account, Accounts, Algorithm, Answer, Authentication, Continuation, Core, CoreMessage, Digest, Foreign, Forking,
    Hop, Instant, Interfaces, Keys, Limits, Listener, Now, Outbox, Question, Received, Registrar, Secrets, Settings,
    SingleTarget, Strangers, Strategy, SubscriberIndex, Timers, Wall, Watching, fixed_bindings,
};

pub use splice::splice;

const SERVER: SocketAddr = at(1);
const DOMAIN: &str = "office.example";
const MOST_STEPS: usize = 40;
const LIMITS: Limits = Limits {
    transactions: 6,
    transaction_memory: 1 << 30,
    targets: 6,
    pins: 6,
    nonces: 6,
    unanswered_challenges: 4,
    subscriptions: 4,
    subscriptions_per_user: 3,
    moved_dialogs: 3,
    amplification: 3,
};
/// Microseconds; one that is longer than each timer of the core, and one that is longer than each but the last.
const PAUSES: [u64; 8] = [1, 100_000, 500_000, 4_000_000, 33_000_000, 90_000_000, 182_000_000, 7_300_000_000];

/// The world of one script.
pub struct Office {
    cores: [Core; 2],
    store: MemoryStore,
    /// Whether questions wait for a step of the script.
    slow: bool,
    micros: u64,
    questions: VecDeque<(usize, Question, Continuation)>,
    core_messages: VecDeque<(usize, CoreMessage)>,
    /// What went out last.
    sent: VecDeque<Sent>,
    /// What a phone said last.
    said: (u8, Bytes),
}

struct Sent {
    worker: usize,
    hop: Hop,
    bytes: Bytes,
}

impl Office {
    /// Plays a script, then lets everybody be silent until nothing is due.
    pub fn run(script: &[u8]) {
        let Some((&manners, script)) = script.split_first() else { return };
        let mut office = Self::new(manners);
        let mut rest = script;
        for _ in 0..MOST_STEPS {
            let end = rest.windows(2).position(|pair| pair == b"\n%").unwrap_or(rest.len());
            let (step, after) = rest.split_at(end);
            office.step(step.strip_prefix(b"%").unwrap_or(step));
            let Some(next) = after.get(1..) else { break };
            rest = next;
        }
        office.close();
    }

    fn new(manners: u8) -> Self {
        let (settings, watched) = (Arc::new(settings(manners)), Arc::new(SubscriberIndex::new(2)));
        let keys = Keys { route: [1; 16], gruu: [3; 32], nonce: [2; 16] };
        Self {
            cores: [0, 1].map(|worker| Core::new(Arc::clone(&settings), &keys, worker, 7, Arc::clone(&watched))),
            store: MemoryStore::new(),
            slow: manners & 1 != 0,
            micros: 1_000_000,
            questions: VecDeque::new(),
            core_messages: VecDeque::new(),
            sent: VecDeque::new(),
            said: (0, Bytes::new()),
        }
    }

    fn step(&mut self, step: &[u8]) {
        let Some((&[verb, which], rest)) = step.split_first_chunk() else { return };
        let line = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        let text = &rest[line..];
        match verb {
            b'r' => self.says(which, Bytes::copy_from_slice(text)),
            b'p' => self.replies(which, text),
            b'k' => {
                let Some(sent) = self.nth(which) else { return };
                let (worker, flow, bytes) = (sent.worker, flow_of(&sent.hop), sent.bytes.clone());
                self.hears(worker, flow, bytes);
            }
            b'd' => self.proves(which),
            b'u' => {
                let Some(sent) = self.nth(which) else { return };
                let (worker, parked) = (sent.worker, Continuation::undelivered(sent.bytes.clone()));
                self.drive(worker, |core, now, outbox| core.answer(now, parked, Answer::Undelivered, outbox));
            }
            b't' => self.passes(PAUSES[usize::from(which) % PAUSES.len()]),
            b'a' => {
                self.answers(which);
                self.settle();
            }
            _ => {}
        }
    }

    fn nth(&self, which: u8) -> Option<&Sent> {
        self.sent.get(usize::from(which) % self.sent.len().max(1))
    }

    fn says(&mut self, which: u8, bytes: Bytes) {
        let phone = which & 7;
        let transport = if phone & 1 == 0 { Transport::Udp } else { Transport::Tcp };
        let id = if transport.is_reliable() { ConnectionId::new(phone.into()) } else { None };
        let flow = Flow {
            transport,
            remote: at(phone + 11),
            local: SERVER,
            id: id.map(FlowId::Connection).unwrap_or_default(),
        };
        self.said = (which, bytes.clone());
        self.hears(usize::from(which >> 3 & 1), flow, bytes);
    }

    /// A response to a request that went out, as a phone makes one.
    fn replies(&mut self, which: u8, text: &[u8]) {
        let Some(sent) = self.nth(which) else { return };
        let Ok(request) = Message::parse(sent.bytes.clone()) else { return };
        let end = text.windows(2).position(|pair| pair == b"\r\n").map_or(text.len(), |at| at + 2);
        let (status, rest) = text.split_at(end);
        let mut reply = if end == text.len() { [status, b"\r\n"].concat() } else { status.to_vec() };
        for line in request.lines() {
            use HeaderName::{CSeq, CallId, From, RecordRoute, To, Via};
            let whole = &request.bytes()[line.whole.start as usize..line.whole.end as usize];
            match line.name {
                To if !whole.windows(5).any(|part| part == b";tag=") => {
                    reply.extend_from_slice(b"To: ");
                    reply.extend_from_slice(request.line_value(&line));
                    reply.extend_from_slice(format!(";tag={which}\r\n").as_bytes());
                }
                Via | From | To | CallId | CSeq | RecordRoute => reply.extend_from_slice(whole),
                _ => {}
            }
        }
        reply.extend_from_slice(rest);
        reply.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        let (worker, flow) = (sent.worker, flow_of(&sent.hop));
        self.hears(worker, flow, reply.into());
    }

    /// RFC 7616 3.4.1, MD5 without qop.
    fn proves(&mut self, which: u8) {
        let Some(refusal) = self.nth(which).and_then(|sent| Message::parse(sent.bytes.clone()).ok()) else { return };
        let (header, value) = match refusal.status() {
            Some(401) => ("Authorization", refusal.value(HeaderName::WwwAuthenticate)),
            Some(407) => ("Proxy-Authorization", refusal.value(HeaderName::ProxyAuthenticate)),
            _ => return,
        };
        let challenge = value.and_then(|value| Challenge::parse(value).ok()).expect("a refusal has a challenge");
        let nonce = challenge.nonce().expect("a challenge has a nonce");
        let nonce = std::str::from_utf8(&nonce).expect("our nonces are text").to_owned();
        let (phone, said) = self.said.clone();
        let Ok(message) = Message::parse(said.clone()) else { return };
        let a2 = hex(&[message.method().as_bytes(), b":sip:office.example"].concat());
        let response = hex(format!("{}:{nonce}:{a2}", hex(secret().as_bytes())).as_bytes());
        let line = format!(
            "{header}: Digest username=\"alice\",realm=\"{DOMAIN}\",nonce=\"{nonce}\",uri=\"sip:office.example\",\
             response=\"{response}\"\r\n"
        );
        let (head, tail) = message.bytes().split_at(message.first_header_at() as usize);
        self.says(phone, [head, line.as_bytes(), tail].concat().into());
        self.said = (phone, said);
    }

    fn hears(&mut self, worker: usize, flow: Flow, bytes: Bytes) {
        match Message::parse(bytes) {
            Ok(message) => {
                self.drive(worker, |core, now, outbox| core.receive(now, Received { message, flow }, outbox))
            }
            Err(_) => self.drive(worker, |core, _, outbox| core.garbage(&flow, outbox)),
        }
    }

    /// Lets time pass, and everything happen that is due in it.
    fn passes(&mut self, pause: u64) {
        let end = self.micros + pause;
        while let Some((due, worker)) = self.next_timeout().filter(|(due, _)| *due <= end) {
            self.micros = self.micros.max(due);
            self.drive(worker, |core, now, outbox| core.timeout(now, outbox));
            let next = self.cores[worker].next_timeout();
            assert!(next.is_none_or(|next| next.as_micros() > self.micros), "a timer that was due stays due");
        }
        self.micros = end;
    }

    fn next_timeout(&self) -> Option<(u64, usize)> {
        let due = |(worker, core): (usize, &Core)| core.next_timeout().map(|due| (due.as_micros(), worker));
        self.cores.iter().enumerate().filter_map(due).min()
    }

    /// Whether there was a question.
    fn answers(&mut self, how: u8) -> bool {
        let Some((worker, question, parked)) = self.questions.pop_front() else { return false };
        let answer = match question {
            _ if how & 3 == 1 => Answer::Failed,
            Question::Load(aor) => Answer::Loaded(self.store.load(&aor)),
            Question::Commit { .. } if how & 3 == 2 => Answer::Conflict,
            Question::Commit { expected, record } => {
                match self.store.commit(expected.as_ref(), record, Ticket { worker: 0, id: 0 }) {
                    Commit::Done => Answer::Committed,
                    Commit::Conflict => Answer::Conflict,
                    _ => Answer::Failed,
                }
            }
            Question::Resolve(names) => {
                let address = |port| match how & 3 {
                    0 => [SocketAddr::new(at(40).ip(), port), SocketAddr::new(at(41).ip(), port)].into_iter().collect(),
                    2 => smallvec::SmallVec::new(),
                    // To ourselves: a loop.
                    _ => [SERVER].into_iter().collect(),
                };
                Answer::Resolved(names.iter().map(|name| address(name.port)).collect())
            }
        };
        self.turn(worker, |core, now, outbox| core.answer(now, parked, answer, outbox));
        true
    }

    /// Calls one verb of a core, and does what it says.
    fn drive(&mut self, worker: usize, verb: impl FnOnce(&mut Core, Now, &mut Outbox)) {
        self.turn(worker, verb);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            if let Some((worker, core_message)) = self.core_messages.pop_front() {
                self.turn(worker, |core, now, outbox| core.deliver(now, core_message, outbox));
            } else if self.slow || !self.answers(0) {
                return;
            }
        }
    }

    fn turn(&mut self, worker: usize, verb: impl FnOnce(&mut Core, Now, &mut Outbox)) {
        let now = Now { mono: Instant::from_micros(self.micros), wall: Wall(1_750_000_000_000 + self.micros / 1000) };
        let mut outbox = Outbox::new();
        verb(&mut self.cores[worker], now, &mut outbox);
        self.carry_out(worker, outbox);
    }

    fn carry_out(&mut self, worker: usize, outbox: Outbox) {
        let load = self.cores[worker].load();
        assert!(load.transactions <= LIMITS.transactions && load.pins <= LIMITS.pins && load.nonces <= LIMITS.nonces);
        assert!(load.subscriptions <= LIMITS.subscriptions);
        assert!(outbox.transmits.len() <= 64, "one cause has few effects");
        for transmit in &outbox.transmits {
            let bytes = Bytes::copy_from_slice(outbox.text(transmit));
            let message = Message::parse(bytes.clone()).expect("what goes out is SIP");
            // A 400 repeats what it complains about.
            assert!(!message.is_request() || message.defect().is_none(), "{}", String::from_utf8_lossy(&bytes));
            assert_eq!(transmit.hop.local, SERVER, "it goes out from an address of ours");
            self.sent.push_front(Sent { worker, hop: transmit.hop, bytes });
        }
        self.sent.truncate(16);
        self.questions.extend(outbox.questions.into_iter().map(|(question, parked)| (worker, question, parked)));
        for handover in outbox.handovers {
            let addressees = match handover.worker {
                Some(other) => vec![usize::from(other)],
                None => (0..self.cores.len()).filter(|other| *other != worker).collect(),
            };
            for other in addressees {
                assert!(other < self.cores.len() && other != worker, "a core_message has somebody else to read it");
                self.core_messages.push_back((other, handover.core_message.clone()));
            }
        }
    }

    /// Nobody says anything more.
    fn close(&mut self) {
        while self.answers(1) {
            self.settle();
        }
        for _ in 0..8 {
            self.passes(7_300_000_000);
            while self.answers(1) {
                self.settle();
            }
        }
        for core in &self.cores {
            assert_eq!(core.next_timeout(), None, "everything ends");
            let load = core.load();
            let held = (load.transactions, load.pins, load.subscriptions);
            assert_eq!(held, (0, 0, 0), "what has ended is forgotten");
        }
    }
}

/// Port 5060 of a host in the office's network.
const fn at(host: u8) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, host)), 5060)
}

fn flow_of(hop: &Hop) -> Flow {
    Flow {
        transport: hop.transport,
        remote: hop.remote,
        local: hop.local,
        id: hop.connection().map(FlowId::Connection).unwrap_or_default(),
    }
}

fn hex(text: &[u8]) -> String {
    Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn secret() -> String {
    format!("alice:{DOMAIN}:secret")
}

/// Alice has a password and may register for bob, and watch him; the door never registers.
fn accounts() -> Accounts {
    let aor = |user: &str| Aor::new(user.as_bytes(), DOMAIN.as_bytes());
    let md5 = Some(Md5::digest(secret().as_bytes()).into());
    let others = || vec![aor("bob")];
    let alice = Account { may_register: others(), may_watch: others(), ..Secrets { md5, ..Secrets::default() }.into() };
    let door = Account { contacts: Some(fixed_bindings([("sip:door@192.0.2.14", Some(500))])), ..Account::default() };
    let mut accounts = Accounts::default();
    for (user, account) in [("alice", alice), ("bob", Account::default()), ("door", door)] {
        accounts.insert(aor(user), account);
    }
    accounts
}

/// Bit 0: questions wait for a step. 1: users prove who they are. 2: one phone after the other. 3: our users may call
/// foreign domains. 4: strangers may call ours. 5: the server has a name.
fn settings(manners: u8) -> Settings {
    let is = |bit: u8| manners & 1 << bit != 0;
    let listener = |transport| Listener { transport, address: SERVER };
    let accounts = if is(1) { accounts() } else { Accounts::default() };
    Settings {
        domains: vec![DOMAIN.into()],
        aliases: vec!["sip.office.example".into()],
        listeners: vec![listener(Transport::Udp), listener(Transport::Tcp)],
        advertise: is(5).then(|| "edge.office.example".into()),
        interfaces: Interfaces::default(),
        authentication: if is(1) { Authentication::Required } else { Authentication::Off },
        digest: Digest { algorithms: vec![Algorithm::Md5], ..Digest::default() },
        accounts,
        trusted: Vec::new(),
        strangers: if is(4) { Strangers::Accept } else { Strangers::Refuse },
        foreign: if is(3) { Foreign::Authenticated } else { Foreign::Refuse },
        registrar: Registrar {
            limits: location::Limits {
                max_contacts: 4,
                when_full: if is(2) { WhenFull::ReplaceOldest } else { WhenFull::Refuse },
                jitter: 10,
                ..location::Limits::DEFAULT
            },
            service_route: vec!["sip:proxy.office.example;lr".into()],
            ..Registrar::default()
        },
        watching: Watching::default(),
        forking: Forking {
            strategy: if is(2) { Strategy::Sequential } else { Strategy::Parallel },
            ring_time: Duration::from_secs(30),
            recurse: true,
            late_registration: true,
            single_target: if is(2) { SingleTarget::Stateful } else { SingleTarget::Stateless },
        },
        timers: Timers {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            c: Duration::from_secs(181),
        },
        limits: LIMITS,
    }
}
