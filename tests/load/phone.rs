//! One phone: it registers, answers every request, and in its turn has one transaction or call.
//!
//! It never retransmits: over loopback a lost datagram counts as a missing response.

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use parser::{Contact, HeaderName, Message, Method, Reply, Stamp};
use tokio::sync::{Barrier, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::arguments::{Arguments, Scenario, Target};
use crate::line::Line;

/// A response that has not arrived by then counts as missing.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the phones of a target share.
pub(crate) struct Phones {
    pub(crate) arguments: Rc<Arguments>,
    pub(crate) target: Target,
    pub(crate) tls: Option<TlsConnector>,
    /// Permits to have a transaction or call pending, in the order in which phones ask for one.
    pub(crate) turns: Semaphore,
    /// Permits to register: Kamailio gives up connections if hundreds send their first message at once.
    pub(crate) registering: Semaphore,
    /// Transactions or whole calls that succeeded.
    pub(crate) done: Cell<u64>,
    /// Responses other than 2xx, and missing responses.
    pub(crate) bad: Cell<u64>,
}

/// A phone with its user's name and its connection.
pub(crate) struct Phone {
    number: usize,
    phones: Rc<Phones>,
    line: Line,
    /// The address in its Contact and its Call-IDs: that of its first connection.
    own: SocketAddr,
    sequence: u32,
    text: String,
    answer: Vec<u8>,
}

impl Phone {
    /// A phone that is connected, and not yet registered.
    pub(crate) async fn connect(number: usize, phones: &Rc<Phones>) -> Self {
        let phones = Rc::clone(phones);
        let line = Line::open(number, &phones.target, phones.tls.as_ref()).await;
        let own = line.own();
        Self { number, phones, line, own, sequence: 0, text: String::new(), answer: Vec::new() }
    }

    /// Registers, waits for the others, and then runs until the program ends.
    pub(crate) async fn live(mut self, registered: Rc<Barrier>) {
        let phones = Rc::clone(&self.phones);
        let permit = phones.registering.acquire().await.expect("never closed");
        assert!(self.transact(Scenario::Register).await, "phone {} could not register", self.number);
        drop(permit);
        registered.wait().await;
        // An idle phone keeps no memory, since thousands of them are in this process.
        (self.text, self.answer) = (String::new(), Vec::new());
        loop {
            let mut turn = pin!(phones.turns.acquire());
            let turn = loop {
                tokio::select! {
                    turn = &mut turn => break turn.expect("never closed"),
                    message = self.next() => match message {
                        Some(message) => self.serve(&message).await,
                        None => return,
                    },
                }
            };
            let good = match phones.arguments.scenario {
                Scenario::Handshake => self.reconnect().await,
                scenario => self.transact(scenario).await,
            };
            let count = if good { &phones.done } else { &phones.bad };
            count.set(count.get() + 1);
            drop(turn);
        }
    }

    /// Registers over a new connection, and closes the earlier one.
    async fn reconnect(&mut self) -> bool {
        let new = Line::open(self.number, &self.phones.target, self.phones.tls.as_ref()).await;
        std::mem::replace(&mut self.line, new).close().await;
        self.transact(Scenario::Register).await
    }

    /// One transaction or call; whether it succeeded.
    async fn transact(&mut self, scenario: Scenario) -> bool {
        self.sequence += 1;
        let method = match scenario {
            Scenario::Options => "OPTIONS",
            Scenario::Register | Scenario::Handshake | Scenario::Idle => "REGISTER",
            Scenario::Message => "MESSAGE",
            Scenario::Invite => "INVITE",
        };
        self.write_request(method, None);
        self.send_text().await;
        let Some(ok) = self.final_response(method).await else { return false };
        if scenario != Scenario::Invite {
            return true;
        }
        self.write_request("ACK", Some(&ok));
        self.send_text().await;
        self.write_request("BYE", Some(&ok));
        self.send_text().await;
        self.final_response("BYE").await.is_some()
    }

    /// The 2xx of the request that was just sent; other requests are answered meanwhile.
    async fn final_response(&mut self, method: &str) -> Option<Message> {
        loop {
            let message = timeout(PATIENCE, self.next()).await.ok()??;
            match message.status() {
                None => self.serve(&message).await,
                // The response to an earlier request that timed out, or a 1xx.
                Some(..200) => {}
                Some(_) if message.method().as_bytes() != method.as_bytes() => {}
                Some(status) => return (status < 300).then_some(message),
            }
        }
    }

    /// Answers a request with 200.
    async fn serve(&mut self, request: &Message) {
        if !request.is_request() || request.method() == Method::Ack {
            return;
        }
        let (own, number, transport) = (self.own, self.number, self.phones.target.transport);
        let mut answer = std::mem::take(&mut self.answer);
        answer.clear();
        let mut reply = Reply::new(&mut answer, request, 200, b"OK", Stamp::default(), Some(b"callee"));
        for route in request.values(HeaderName::RecordRoute) {
            reply.header(HeaderName::RecordRoute, |out| out.extend_from_slice(route));
        }
        if request.method() == Method::Invite {
            let contact = format!("<sip:u{number}@{own};transport={}>", transport.param());
            reply.header(HeaderName::Contact, |out| out.extend_from_slice(contact.as_bytes()));
        }
        reply.finish();
        self.line.send(&answer).await;
        self.answer = answer;
    }

    /// Writes a request into `text`, within the dialog of `ok` if there is one.
    fn write_request(&mut self, method: &str, ok: Option<&Message>) {
        let Self { number, own, sequence, phones, text, .. } = self;
        let (domain, transport) = (&phones.arguments.domain, phones.target.transport);
        let other = (*number + 1) % phones.arguments.phones;
        let uri = match (method, ok) {
            (_, Some(ok)) => remote_target(ok),
            ("OPTIONS" | "REGISTER", _) => format!("sip:{domain}"),
            _ => format!("sip:u{other}@{domain}"),
        };
        let to = if matches!(method, "REGISTER") { *number } else { other };
        let tag = if ok.is_some() { ";tag=callee" } else { "" };
        // A call or a registration has one Call-ID, with ascending CSeq numbers.
        let cseq = *sequence * 2 + u32::from(method == "BYE");
        let call = if method == "REGISTER" { 0 } else { *sequence };
        text.clear();
        let _ = write!(
            text,
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{} {own};branch=z9hG4bK-{number}-{sequence}-{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:u{number}@{domain}>;tag=caller\r\nTo: <sip:u{to}@{domain}>{tag}\r\n\
             Call-ID: {call}-{number}@{own}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:u{number}@{own};transport={}>\r\nUser-Agent: load\r\n",
            transport.as_str(),
            transport.param(),
        );
        let routes: Vec<_> = ok.into_iter().flat_map(|ok| ok.values(HeaderName::RecordRoute)).collect();
        for route in routes.into_iter().rev() {
            let _ = write!(text, "Route: {}\r\n", String::from_utf8_lossy(route));
        }
        text.push_str(if method == "REGISTER" {
            "Expires: 3600\r\nContent-Length: 0\r\n\r\n"
        } else {
            "Content-Length: 0\r\n\r\n"
        });
    }

    async fn send_text(&mut self) {
        self.line.send(self.text.as_bytes()).await;
    }

    async fn next(&mut self) -> Option<Message> {
        self.line.next().await
    }
}

/// The Contact of a 200 (RFC 3261 12.1.2).
fn remote_target(ok: &Message) -> String {
    let contact = ok.required::<Contact<'_>>().expect("a Contact");
    let uri = contact.address().map(|address| address.uri.as_bytes()).unwrap_or_default();
    String::from_utf8_lossy(uri).into_owned()
}
