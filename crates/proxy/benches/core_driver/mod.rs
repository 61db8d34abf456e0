//! A core with its store and without sockets, so that the cost of a message is measured without the kernel.
//!
//! It is the driver of the core: it answers questions from memory, as a worker of the server does. It decides nothing.

#![allow(dead_code, reason = "each user of this file needs its own part of it")]
#![allow(clippy::unwrap_used, reason = "a message that is not SIP is a mistake in this file")]

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use location::{Aor, Commit, MemoryStore, Node, Store as _, Ticket};
use md5::{Digest as _, Md5};
use parser::{Message, Transport, hex_text};
use proxy::{
    Answer, Authentication, CallTable, Continuation, Core, Flow, Instant, Limits, NodeAddress, Nodes, Now, OtherNode,
    Outbox, Question, Received, Secrets, Settings, SubscriberIndex, Wall,
};

use sim::DOMAIN;

/// Users that are registered.
pub(crate) const USERS: u32 = 10_000;

/// More calls than any benchmark makes.
const MAX_CALLS: usize = 1_000_000;

/// A core that serves `office.example`, with its store.
pub(crate) struct CoreDriver {
    core: Core,
    settings: Arc<Settings>,
    store: Arc<MemoryStore>,
    calls: Arc<CallTable>,
    outbox: Outbox,
    questions: Vec<(Question, Continuation)>,
    now: Now,
    turn: u32,
}

impl CoreDriver {
    /// With [`USERS`] users, each registered with one phone.
    pub(crate) fn new() -> Self {
        let mut driver = Self::over(Arc::new(MemoryStore::new()), 0, settings().into());
        for user in 0..USERS {
            driver.take(register(user, 1), phone(user));
        }
        driver
    }

    /// One of two nodes, with the same users. Nobody watches calls.
    pub(crate) fn of_cluster() -> Self {
        let mut driver = Self::new();
        let node = |number| Node { number, run: 1 };
        let at = NodeAddress { transport: Transport::Tcp, address: sim::SERVER, host: None };
        let nodes = Nodes::new(node(NonZeroU16::MIN), at.clone()).unwrap();
        let (listeners, advertise) = (Vec::new(), None);
        nodes.replace(vec![OtherNode { node: node(NonZeroU16::MAX), at, is_alive: true, listeners, advertise }]);
        driver.core.reconfigure(Settings { nodes, ..settings() }.into());
        driver
    }

    /// With the same users, who need credentials, and the nonce that each of them has used once.
    pub(crate) fn secured() -> (Self, Vec<String>) {
        let mut settings = settings();
        settings.authentication = Authentication::Required;
        for user in 0..USERS {
            let secrets = Secrets { md5: Some(md5(&a1(user))), ..Secrets::default() };
            settings.accounts.insert(Aor::new(name(user).as_bytes(), DOMAIN.as_bytes()), secrets.into());
        }
        let mut driver = Self::over(Arc::new(MemoryStore::new()), 0, settings.into());
        let nonces = (0..USERS).map(|user| driver.sign_in(user)).collect();
        (driver, nonces)
    }

    fn sign_in(&mut self, user: u32) -> String {
        self.take(register(user, 1), phone(user));
        let refused = String::from_utf8_lossy(self.sent());
        let nonce = refused.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
        self.take(register_with(user, 2, &nonce), phone(user));
        assert!(self.sent().starts_with(b"SIP/2.0 200 "), "{}", String::from_utf8_lossy(self.sent()));
        nonce
    }

    /// With a hundred users who have so many phones each; the others have one.
    pub(crate) fn with_phones(phones: u32) -> Self {
        let mut driver = Self::new();
        for user in 0..100 {
            for line in 2..=phones {
                let text = register(user, line);
                let text = String::from_utf8_lossy(&text).replace(";line=1>", &format!(";line={line}>"));
                driver.take(text.replace("1000-8000", &format!("{line:04}-8000")).into(), phone(user));
            }
        }
        driver
    }

    /// Another worker's core, with the same location map, settings and calls.
    pub(crate) fn beside(&self, worker: u8) -> Self {
        let mut driver = Self::over(Arc::clone(&self.store), worker, Arc::clone(&self.settings));
        driver.core = driver.core.with_calls(Arc::clone(&self.calls));
        driver.calls = Arc::clone(&self.calls);
        driver
    }

    /// The same driver without the table of calls, which grows with each call.
    pub(crate) fn without_calls(mut self) -> Self {
        self.core = self.core.with_calls(Arc::new(CallTable::new(0)));
        self
    }

    fn over(store: Arc<MemoryStore>, worker: u8, settings: Arc<Settings>) -> Self {
        let calls = Arc::new(CallTable::new(MAX_CALLS));
        let core = Core::new(Arc::clone(&settings), &sim::KEYS, worker, 1, SubscriberIndex::new(2).into());
        let core = core.with_calls(Arc::clone(&calls));
        let now = Now { mono: Instant::from_micros(0), wall: Wall(1_700_000_000_000) };
        Self { core, settings, store, calls, outbox: Outbox::new(), questions: Vec::new(), now, turn: 0 }
    }

    /// The next number: of a user, of a transaction.
    pub(crate) fn turn(&mut self) -> u32 {
        self.turn += 1;
        self.turn
    }

    /// What the worker does for a datagram, up to the bytes that it would send. Apart from what came before, for a profiler.
    #[inline(never)]
    pub(crate) fn receive(&mut self, datagram: Bytes, from: SocketAddr) -> usize {
        self.take(datagram, from)
    }

    fn take(&mut self, datagram: Bytes, from: SocketAddr) -> usize {
        self.outbox.clear();
        let flow = Flow { transport: Transport::Udp, remote: from, local: sim::SERVER, id: location::FlowId::None };
        let message = Message::parse(datagram).unwrap();
        self.core.receive(self.now, Received { message, flow }, &mut self.outbox);
        while !self.outbox.questions.is_empty() {
            std::mem::swap(&mut self.outbox.questions, &mut self.questions);
            for (question, parked) in self.questions.drain(..) {
                let answer = answer(&self.store, question);
                self.core.answer(self.now, parked, answer, &mut self.outbox);
            }
        }
        self.outbox.bytes.len()
    }

    /// The messages of a call to a user, and the response to its BYE.
    pub(crate) fn call(&mut self, user: u32, turn: u32) -> usize {
        self.receive(request("INVITE", user, turn), caller());
        let answer = ok(self.sent());
        self.receive(answer, phone(user));
        let answer = self.sent().to_owned();
        self.receive(within(&answer, "ACK", false, turn), caller());
        self.receive(within(&answer, "BYE", false, turn), caller());
        let answer = ok(self.sent());
        self.receive(answer, phone(1))
    }

    /// The last message that it sent.
    pub(crate) fn sent(&self) -> &[u8] {
        self.outbox.transmits.last().map(|transmit| self.outbox.text(transmit)).unwrap_or_default()
    }
}

fn answer(store: &MemoryStore, question: Question) -> Answer {
    match question {
        Question::Load(aor) => Answer::Loaded(store.load(&aor)),
        Question::Commit { expected, record } => match store.commit(expected, record, Ticket { worker: 0, id: 0 }) {
            Commit::Done => Answer::Committed,
            Commit::Conflict => Answer::Conflict,
            Commit::Pending | Commit::Full | Commit::Failed(_) => Answer::Failed,
        },
        Question::Resolve(_) | Question::ChangeRules(..) => Answer::Failed,
    }
}

/// The tag of each called phone.
const TO_TAG: &str = ";tag=a6c85cf";

/// Where a user's phone is.
pub(crate) fn phone(user: u32) -> SocketAddr {
    let [_, high, middle, low] = user.to_be_bytes();
    SocketAddr::from(([10, high, middle, low], 5060))
}

/// Where the calls come from.
pub(crate) fn caller() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 200], 5060))
}

/// A phone's REGISTER; the same phone's next one has the next `cseq`.
pub(crate) fn register(user: u32, cseq: u32) -> Bytes {
    let phone = phone(user);
    format!(
        "REGISTER sip:office.example SIP/2.0\r\nVia: SIP/2.0/UDP {phone};branch=z9hG4bK-{user}-{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"User {user}\" <sip:u{user}@office.example>;tag=f{user}\r\n\
         To: <sip:u{user}@office.example>\r\nCall-ID: {user}-a84b4c76e66710@desk.office.example\r\nCSeq: {cseq} REGISTER\r\n\
         Contact: <sip:u{user}@{phone};line=1>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-{user:012}>\"\r\n\
         Expires: 3600\r\nAllow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n\
         User-Agent: Deskphone T46 66.86.0.15\r\nSupported: path, replaces\r\nContent-Length: 0\r\n\r\n"
    )
    .into()
}

/// The same with credentials, as a phone that knows MD5 alone sends them: its `cseq` is one ahead of its count of the nonce.
pub(crate) fn register_with(user: u32, cseq: u32, nonce: &str) -> Bytes {
    let (uri, nc, cnonce) = ("sip:office.example", format!("{:08x}", cseq - 1), "0a4f113b8e6c42d1");
    let (a1, a2) = (hex_text(&md5(&a1(user))), hex_text(&md5(&format!("REGISTER:{uri}"))));
    let response = hex_text(&md5(&format!("{a1}:{nonce}:{nc}:{cnonce}:auth:{a2}")));
    let credentials = format!(
        "Authorization: Digest username=\"{}\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, cnonce=\"{cnonce}\", qop=auth, nc={nc}\r\n",
        name(user)
    );
    let text = register(user, cseq);
    String::from_utf8_lossy(&text).replace("User-Agent", &format!("{credentials}User-Agent")).into()
}

/// An INVITE of a user to the next one, with credentials; `nc` is the count of the nonce.
pub(crate) fn call_with(user: u32, turn: u32, nc: u32, nonce: &str) -> Bytes {
    let (called, nc, cnonce, own) = ((user + 1) % USERS, format!("{nc:08x}"), "0a4f113b8e6c42d1", phone(user));
    let uri = format!("sip:u{called}@office.example");
    let (a1, a2) = (hex_text(&md5(&a1(user))), hex_text(&md5(&format!("INVITE:{uri}"))));
    let response = hex_text(&md5(&format!("{a1}:{nonce}:{nc}:{cnonce}:auth:{a2}")));
    let credentials = format!(
        "Proxy-Authorization: Digest username=\"{}\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, cnonce=\"{cnonce}\", qop=auth, nc={nc}\r\n",
        name(user)
    );
    let text = request("INVITE", called, turn);
    let text = String::from_utf8_lossy(&text).replace("User-Agent", &format!("{credentials}User-Agent"));
    text.replace("sip:caller@office.example", &format!("sip:u{user}@office.example"))
        .replace(&caller().to_string(), &own.to_string())
        .into()
}

fn name(user: u32) -> String {
    format!("u{user}")
}

fn a1(user: u32) -> String {
    format!("{}:{DOMAIN}:secret of {user}", name(user))
}

fn md5(text: &str) -> [u8; 16] {
    Md5::digest(text).into()
}

/// A request to a user, with a body.
pub(crate) fn request(method: &str, user: u32, turn: u32) -> Bytes {
    let (caller, body) = (caller(), body(method));
    let length = body.len();
    format!(
        "{method} sip:u{user}@office.example SIP/2.0\r\nVia: SIP/2.0/UDP {caller};branch=z9hG4bK-776asdhds-{turn};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Caller\" <sip:caller@office.example>;tag=1928301774\r\n\
         To: \"User {user}\" <sip:u{user}@office.example>\r\nCall-ID: {turn}-a84b4c76e66710@pc33.office.example\r\n\
         CSeq: 314159 {method}\r\nContact: <sip:caller@{caller}>\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n\
         User-Agent: Softphone 5.19.1\r\nSupported: replaces, timer\r\n{body_type}Content-Length: {length}\r\n\r\n{body}",
        body_type = if length > 0 { "Content-Type: application/sdp\r\n" } else { "" },
    )
    .into()
}

/// A phone wants to know what becomes of its user's registrations.
pub(crate) fn subscribe(user: u32) -> Bytes {
    let own = format!("\"User {user}\" <sip:u{user}@office.example>;tag=1928301774");
    let text = request("SUBSCRIBE", user, user);
    let text = String::from_utf8_lossy(&text).replace("\"Caller\" <sip:caller@office.example>;tag=1928301774", &own);
    text.replace("Content-Length", "Event: reg\r\nContent-Length").into()
}

/// The server itself is asked.
pub(crate) fn options(turn: u32) -> Bytes {
    let text = request("OPTIONS", 0, turn);
    String::from_utf8_lossy(&text).replace("sip:u0@office.example SIP", "sip:office.example SIP").into()
}

/// The 200 of the phone that was called with `invite`, as it left here.
pub(crate) fn ok(invite: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(invite);
    let repeated = text.split("\r\n").filter(|line| {
        ["Via:", "Record-Route:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name))
    });
    let head: String = repeated.flat_map(|line| [line, "\r\n"]).collect();
    // The 200 to a BYE has the tag already.
    let head = if head.contains(TO_TAG) { head } else { head.replace("\r\nCall-ID", &format!("{TO_TAG}\r\nCall-ID")) };
    let (body, length) = (body("INVITE"), body("INVITE").len());
    format!(
        "SIP/2.0 200 OK\r\n{head}Contact: <sip:u1@10.0.0.1:5060>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into()
}

/// A request in the dialog that this 200 made: of the caller, or of the phone that gave it.
pub(crate) fn within(ok: &[u8], method: &str, back: bool, turn: u32) -> Bytes {
    let text = String::from_utf8_lossy(ok).into_owned();
    let value = |name: &str| text.split("\r\n").find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let (from, to) = if back { (value("To: "), value("From: ")) } else { (value("From: "), value("To: ")) };
    let (sender, target) = if back { (phone(1), caller()) } else { (caller(), phone(1)) };
    format!(
        "{method} sip:u1@{target} SIP/2.0\r\nVia: SIP/2.0/UDP {sender};branch=z9hG4bK-within-{turn};rport\r\n\
         Route: {}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {}\r\n\
         CSeq: 314160 {method}\r\nUser-Agent: Softphone 5.19.1\r\nContent-Length: 0\r\n\r\n",
        value("Record-Route: "),
        value("Call-ID: "),
    )
    .into()
}

fn body(method: &str) -> &'static str {
    match method {
        "INVITE" => {
            "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns= \r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
             m=audio 54400 RTP/AVP 0 8 96\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:96 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n"
        }
        "MESSAGE" => "Watson, come here.",
        _ => "",
    }
}

/// The settings of the simulator with larger limits: a benchmark is a flood.
fn settings() -> Settings {
    let mut settings = sim::default_settings();
    settings.limits = Limits {
        pins: 10_000_000,
        transaction_memory: usize::MAX,
        nonces: usize::MAX,
        unanswered_challenges: usize::MAX,
        subscriptions: usize::MAX,
        ..settings.limits
    };
    settings
}
