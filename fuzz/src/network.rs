//! A simulated network with two cores of a server, a store, phones and a clock. A script, which a fuzzer can generate,
//! says what happens.
//!
//! The first octet of a script selects the settings, see [`settings`]. Then steps follow. A step begins with `%` at the
//! start of a line; the next two octets are a letter and an argument, and the lines after this one are its text:
//!
//! | step | what happens                                                                                           |
//! |------|--------------------------------------------------------------------------------------------------------|
//! | `r`  | a phone sends the text                                                                                 |
//! | `p`  | the receiver of a message responds to it, with the status line and further header lines from the text  |
//! | `k`  | the receiver of a message sends it back unchanged                                                      |
//! | `d`  | the receiver of a 401 or 407 sends the newest text again, with correct credentials                     |
//! | `u`  | a message could not be sent                                                                            |
//! | `t`  | time passes                                                                                            |
//! | `a`  | the oldest open question is answered                                                                   |
//!
//! These properties are checked: nothing panics; after [`Core::timeout`] no timer is due; each message that is sent can
//! be parsed; the state stays below its limits; and when nobody sends anything any more, all state is removed.

mod office;
mod splice;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use location::{Aor, Commit, ConnectionId, Flow, FlowId, MemoryStore, Store, Ticket, WhenFull};
use md5::{Digest as _, Md5};
use parser::headers::Challenge;
use parser::{HeaderName, Message, Transport, hex_text};
use proxy::{
    Account, Accounts, Algorithm, Answer, Authentication, Continuation, Core, CoreMessage, Digest, Foreign, Forking,
    Hop, Instant, Keys, Limits, Listener, Now, Office, Others, Outbox, Query, Question, Received, Records, Registrar,
    Secrets, Settings, SingleTarget, Strangers, Strategy, SubscriberIndex, Wall, fixed_bindings,
};

pub use splice::splice;

const SERVER: SocketAddr = at(1);
const DOMAIN: &str = "office.example";
const MAX_STEPS: usize = 40;
const LIMITS: Limits = Limits {
    transactions: 6,
    transaction_memory: 1 << 30,
    targets: 6,
    pins: 6,
    nonces: 6,
    unanswered_challenges: 4,
    subscriptions: 4,
    subscriptions_per_user: 3,
    unreachable: 4,
    udp_only: 4,
    moved_dialogs: 3,
    amplification: 3,
};
/// In microseconds. The last one is longer than every timer of the core, and the one before it longer than all but one
/// of them.
const PAUSES: [u64; 8] = [1, 100_000, 500_000, 4_000_000, 33_000_000, 90_000_000, 182_000_000, 7_300_000_000];

/// The state of the network while a script runs.
pub struct Network {
    cores: [Core; 2],
    store: MemoryStore,
    /// Whether a question is only answered by a step of the script.
    answers_wait: bool,
    /// The time.
    micros: u64,
    questions: VecDeque<(usize, Question, Continuation)>,
    core_messages: VecDeque<(usize, CoreMessage)>,
    /// The messages that the cores sent last, the newest first.
    sent: VecDeque<Sent>,
    /// The message that a phone sent last, with the argument of that step.
    newest: (u8, Bytes),
}

/// A message that a core sent.
struct Sent {
    worker: usize,
    hop: Hop,
    bytes: Bytes,
}

impl Network {
    /// Runs a script, and then lets time pass until no timer is left.
    pub fn run_script(script: &[u8]) {
        let Some((&options, script)) = script.split_first() else { return };
        let mut network = Self::new(options);
        let mut rest = script;
        for _ in 0..MAX_STEPS {
            let end = rest.windows(2).position(|pair| pair == b"\n%").unwrap_or(rest.len());
            let (step, after) = rest.split_at(end);
            network.step(step.strip_prefix(b"%").unwrap_or(step));
            let Some(next) = after.get(1..) else { break };
            rest = next;
        }
        network.finish();
    }

    fn new(options: u8) -> Self {
        let (settings, watched) = (Arc::new(settings(options)), Arc::new(SubscriberIndex::new(2)));
        let keys = Keys { route: [1; 16], gruu: [3; 32], nonce: [2; 16], previous: None };
        Self {
            cores: [0, 1].map(|worker| Core::new(Arc::clone(&settings), &keys, worker, 7, Arc::clone(&watched))),
            store: MemoryStore::new(),
            answers_wait: options & 1 != 0,
            micros: 1_000_000,
            questions: VecDeque::new(),
            core_messages: VecDeque::new(),
            sent: VecDeque::new(),
            newest: (0, Bytes::new()),
        }
    }

    fn step(&mut self, step: &[u8]) {
        let Some((&[letter, argument], rest)) = step.split_first_chunk() else { return };
        let line = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        let text = &rest[line..];
        match letter {
            b'r' => self.send_from_phone(argument, Bytes::copy_from_slice(text)),
            b'p' => self.respond(argument, text),
            b'k' => {
                let Some(sent) = self.nth_sent(argument) else { return };
                let (worker, flow, bytes) = (sent.worker, flow_of(&sent.hop), sent.bytes.clone());
                self.receive(worker, flow, bytes);
            }
            b'd' => self.answer_challenge(argument),
            b'u' => {
                let Some(sent) = self.nth_sent(argument) else { return };
                let (worker, continuation) = (sent.worker, Continuation::undelivered(sent.bytes.clone()));
                self.run_until_idle(worker, |core, now, outbox| {
                    core.answer(now, continuation, Answer::Undelivered, outbox);
                });
            }
            b't' => self.advance(PAUSES[usize::from(argument) % PAUSES.len()]),
            b'a' => {
                self.answer_oldest(argument);
                self.handle_consequences();
            }
            _ => {}
        }
    }

    fn nth_sent(&self, number: u8) -> Option<&Sent> {
        self.sent.get(usize::from(number) % self.sent.len().max(1))
    }

    /// A phone sends a message. Bits 0 to 2 of `argument` are the number of the phone: phones with an even number use
    /// UDP, the others TCP. Bit 3 is the worker that receives the message.
    fn send_from_phone(&mut self, argument: u8, bytes: Bytes) {
        let phone = argument & 7;
        let transport = if phone & 1 == 0 { Transport::Udp } else { Transport::Tcp };
        let id = if transport.is_reliable() { ConnectionId::new(phone.into()) } else { None };
        let flow = Flow {
            transport,
            remote: at(phone + 11),
            local: SERVER,
            id: id.map(FlowId::Connection).unwrap_or_default(),
        };
        self.newest = (argument, bytes.clone());
        self.receive(usize::from(argument >> 3 & 1), flow, bytes);
    }

    /// A phone responds to a request that a core sent.
    fn respond(&mut self, argument: u8, text: &[u8]) {
        let Some(sent) = self.nth_sent(argument) else { return };
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
                    reply.extend_from_slice(format!(";tag={argument}\r\n").as_bytes());
                }
                Via | From | To | CallId | CSeq | RecordRoute => reply.extend_from_slice(whole),
                _ => {}
            }
        }
        reply.extend_from_slice(rest);
        reply.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        let (worker, flow) = (sent.worker, flow_of(&sent.hop));
        self.receive(worker, flow, reply.into());
    }

    /// A phone sends its newest request again, with credentials for a challenge (RFC 7616 3.4.1, MD5 without qop).
    fn answer_challenge(&mut self, argument: u8) {
        let Some(refusal) = self.nth_sent(argument).and_then(|sent| Message::parse(sent.bytes.clone()).ok()) else {
            return;
        };
        let (header, value) = match refusal.status() {
            Some(401) => ("Authorization", refusal.value(HeaderName::WwwAuthenticate)),
            Some(407) => ("Proxy-Authorization", refusal.value(HeaderName::ProxyAuthenticate)),
            _ => return,
        };
        let challenge = value.and_then(|value| Challenge::parse(value).ok()).expect("a 401 or 407 has a challenge");
        let nonce = challenge.nonce().expect("a challenge has a nonce");
        let nonce = std::str::from_utf8(&nonce).expect("a nonce of the server is text").to_owned();
        let (phone, newest) = self.newest.clone();
        let Ok(message) = Message::parse(newest.clone()) else { return };
        let a2 = md5(&[message.method().as_bytes(), b":sip:office.example"].concat());
        let response = md5(format!("{}:{nonce}:{a2}", md5(secret().as_bytes())).as_bytes());
        let line = format!(
            "{header}: Digest username=\"alice\",realm=\"{DOMAIN}\",nonce=\"{nonce}\",uri=\"sip:office.example\",\
             response=\"{response}\"\r\n"
        );
        let (head, tail) = message.bytes().split_at(message.first_header_at() as usize);
        self.send_from_phone(phone, [head, line.as_bytes(), tail].concat().into());
        self.newest = (phone, newest);
    }

    /// A core receives a message.
    fn receive(&mut self, worker: usize, flow: Flow, bytes: Bytes) {
        match Message::parse(bytes) {
            Ok(message) => {
                self.run_until_idle(worker, |core, now, outbox| core.receive(now, Received { message, flow }, outbox))
            }
            Err(_) => self.run_until_idle(worker, |core, _, outbox| core.garbage(&flow, outbox)),
        }
    }

    /// Lets time pass. Each timer that expires meanwhile is handled at its time.
    fn advance(&mut self, pause: u64) {
        let end = self.micros + pause;
        while let Some((due, worker)) = self.next_timeout().filter(|(due, _)| *due <= end) {
            self.micros = self.micros.max(due);
            self.run_until_idle(worker, |core, now, outbox| core.timeout(now, outbox));
            let next = self.cores[worker].next_timeout();
            assert!(next.is_none_or(|next| next.as_micros() > self.micros), "a timer is due after timeout()");
        }
        self.micros = end;
    }

    /// When the next timer expires, and the worker that it belongs to.
    fn next_timeout(&self) -> Option<(u64, usize)> {
        let due = |(worker, core): (usize, &Core)| core.next_timeout().map(|due| (due.as_micros(), worker));
        self.cores.iter().enumerate().filter_map(due).min()
    }

    /// Answers the oldest question, in the way that bits 0 and 1 of `how` select. Returns whether there was a question.
    fn answer_oldest(&mut self, how: u8) -> bool {
        let Some((worker, question, continuation)) = self.questions.pop_front() else { return false };
        let answer = match question {
            _ if how & 3 == 1 => Answer::Failed,
            Question::Load(aor) => Answer::Loaded(self.store.load(&aor)),
            Question::Commit { .. } if how & 3 == 2 => Answer::Conflict,
            Question::Commit { expected, record } => {
                match self.store.commit(expected, record, Ticket { worker: 0, id: 0 }) {
                    Commit::Done => Answer::Committed,
                    Commit::Conflict => Answer::Conflict,
                    _ => Answer::Failed,
                }
            }
            Question::ChangeRules(..) => Answer::RulesChanged(how & 3 == 0),
            Question::Resolve(resolutions) => {
                let addresses = match how & 3 {
                    0 => vec![at(40).ip(), at(41).ip()],
                    2 => Vec::new(),
                    // The address of the server, which makes a loop.
                    _ => vec![SERVER.ip()],
                };
                let look_up = |query: &Query| match query {
                    Query::Addresses(_) => Records::Addresses(addresses.clone()),
                    Query::Naptr(_) | Query::Srv(_) => Records::Srv(Vec::new()),
                };
                Answer::Resolved(resolutions.into_iter().map(|resolution| resolution.run(look_up)).collect())
            }
        };
        self.call_core(worker, |core, now, outbox| core.answer(now, continuation, answer, outbox));
        true
    }

    /// Calls a method of a core, and handles all consequences.
    fn run_until_idle(&mut self, worker: usize, call: impl FnOnce(&mut Core, Now, &mut Outbox)) {
        self.call_core(worker, call);
        self.handle_consequences();
    }

    /// Delivers the messages between the cores, and answers their questions unless the script does.
    fn handle_consequences(&mut self) {
        loop {
            if let Some((worker, core_message)) = self.core_messages.pop_front() {
                self.call_core(worker, |core, now, outbox| core.deliver(now, core_message, outbox));
            } else if self.answers_wait || !self.answer_oldest(0) {
                return;
            }
        }
    }

    /// Calls a method of a core, and takes what it puts into its outbox.
    fn call_core(&mut self, worker: usize, call: impl FnOnce(&mut Core, Now, &mut Outbox)) {
        let now = Now { mono: Instant::from_micros(self.micros), wall: Wall(1_750_000_000_000 + self.micros / 1000) };
        let mut outbox = Outbox::new();
        call(&mut self.cores[worker], now, &mut outbox);
        self.take_output(worker, outbox);
    }

    fn take_output(&mut self, worker: usize, outbox: Outbox) {
        let load = self.cores[worker].load();
        assert!(load.transactions <= LIMITS.transactions && load.pins <= LIMITS.pins && load.nonces <= LIMITS.nonces);
        assert!(load.subscriptions <= LIMITS.subscriptions);
        assert!(outbox.transmits.len() <= 64, "a call sends at most 64 messages");
        for transmit in &outbox.transmits {
            let bytes = Bytes::copy_from_slice(outbox.text(transmit));
            let message = Message::parse(bytes.clone()).expect("a message that is sent can be parsed");
            // A response may repeat the malformed headers of its request.
            assert!(!message.is_request() || message.defect().is_none(), "{}", String::from_utf8_lossy(&bytes));
            assert_eq!(transmit.hop.local, SERVER, "a message is sent from an address of the server");
            self.sent.push_front(Sent { worker, hop: transmit.hop.clone(), bytes });
        }
        self.sent.truncate(16);
        self.questions
            .extend(outbox.questions.into_iter().map(|(question, continuation)| (worker, question, continuation)));
        for handover in outbox.handovers {
            let receivers = match handover.worker {
                Some(other) => vec![usize::from(other)],
                None => (0..self.cores.len()).filter(|other| *other != worker).collect(),
            };
            for other in receivers {
                assert!(other < self.cores.len() && other != worker, "a core sends no message to itself");
                self.core_messages.push_back((other, handover.core_message.clone()));
            }
        }
    }

    /// Lets time pass without a message until all state must be gone. All questions fail.
    fn finish(&mut self) {
        self.fail_questions();
        for _ in 0..8 {
            self.advance(7_300_000_000);
            self.fail_questions();
        }
        for core in &self.cores {
            assert_eq!(core.next_timeout(), None, "no timer is left");
            let load = core.load();
            let held = (load.transactions, load.pins, load.subscriptions);
            assert_eq!(held, (0, 0, 0), "no state is left");
        }
    }

    fn fail_questions(&mut self) {
        while self.answer_oldest(1) {
            self.handle_consequences();
        }
    }
}

/// Port 5060 of a host in the simulated network.
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

fn md5(text: &[u8]) -> String {
    hex_text(&Md5::digest(text))
}

/// The text whose MD5 is H(A1) of Alice (RFC 7616 3.4.2).
fn secret() -> String {
    format!("alice:{DOMAIN}:secret")
}

/// Alice has a password, and may register phones for Bob and subscribe to his registrations. The door phone has a
/// configured Contact and does not register.
fn accounts() -> Accounts {
    let aor = |user: &str| Aor::new(user.as_bytes(), DOMAIN.as_bytes());
    let md5 = Some(Md5::digest(secret().as_bytes()).into());
    let others = || vec![aor("bob")];
    let alice = Account {
        may_register: others(),
        may_watch: Others::Listed(others()),
        ..Secrets { md5, ..Secrets::default() }.into()
    };
    let door = Account { contacts: Some(fixed_bindings([("sip:door@192.0.2.14", Some(500))])), ..Account::default() };
    let mut accounts = Accounts::default();
    for (user, account) in [("alice", alice), ("bob", Account::default()), ("door", door)] {
        accounts.insert(aor(user), account);
    }
    accounts
}

/// The meaning of the bits of `options`:
///
/// - 0: a question is only answered by a step of the script;
/// - 1: authentication is required;
/// - 2: the phones of a user are called one after the other, in a response context, and a new binding replaces the
///   oldest one;
/// - 3: users may call foreign domains;
/// - 4: strangers may call users;
/// - 5: the server writes a name, instead of its address, into Via and Record-Route;
/// - 6: there is an office, see [`office`].
fn settings(options: u8) -> Settings {
    let is = |bit: u8| options & 1 << bit != 0;
    let listener = |transport| Listener { transport, address: SERVER };
    let mut accounts = if is(1) { accounts() } else { Accounts::default() };
    let aor = |user: &str| Aor::new(user.as_bytes(), DOMAIN.as_bytes());
    if is(6) {
        office::add_rules(&mut accounts, aor);
    }
    let basis = Settings::default();
    Settings {
        domains: vec![DOMAIN.into()],
        aliases: vec!["sip.office.example".into()],
        listeners: vec![listener(Transport::Udp), listener(Transport::Tcp)],
        advertise: is(5).then(|| "edge.office.example".into()),
        authentication: if is(1) { Authentication::Required } else { Authentication::Off },
        digest: Digest { algorithms: vec![Algorithm::Md5], ..basis.digest },
        accounts,
        office: if is(6) { office::office(aor) } else { Office::default() },
        strangers: if is(4) { Strangers::Accept } else { Strangers::Refuse },
        foreign: if is(3) { Foreign::Authenticated } else { Foreign::Refuse },
        registrar: Registrar {
            limits: location::Limits {
                max_contacts: 4,
                when_full: if is(2) { WhenFull::ReplaceOldest } else { WhenFull::Refuse },
                jitter: 10,
                ..basis.registrar.limits
            },
            service_route: vec!["sip:proxy.office.example;lr".into()],
            ..basis.registrar
        },
        forking: Forking {
            strategy: if is(2) { Strategy::Sequential } else { Strategy::Parallel },
            single_target: if is(2) { SingleTarget::Stateful } else { SingleTarget::Stateless },
            ..basis.forking
        },
        limits: LIMITS,
        ..Settings::default()
    }
}
