//! The users of one server, all on one socket: they register, send messages to one another, and let calls ring.
//!
//! It keeps a number of requests under way, so that the server is always busy. It never retransmits: over loopback a
//! lost datagram ends the run.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parser::{Message, Method, Reply, Stamp};
use socket2::SockRef;

use crate::flood::{Answer, Template};
use crate::server::Server;

/// How many calls begin at a time.
const BREADTH: u32 = 16;
/// A response that has not arrived by then does not arrive.
const PATIENCE: Duration = Duration::from_secs(2);
/// A prime larger than any number of users: steps of this size visit all of them in an irregular order.
const STRIDE: u64 = 7_368_787;

/// A server and its users.
pub(crate) struct Users {
    server: Server,
    socket: UdpSocket,
    users: u32,
    /// Requests under way at a time.
    window: u32,
    /// So many users, the first ones, have two phones.
    twice: u32,
    turn: u32,
    phone: Template,
    second_phone: Template,
    message: Template,
    invite: Template,
    buffer: Box<[u8]>,
    reply: Vec<u8>,
}

/// The kinds of requests.
#[derive(Clone, Copy)]
enum Ask {
    Phone,
    SecondPhone,
    Message,
    Invite,
}

/// What has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// A response: its status.
    Response(u32),
    /// A request, which was answered.
    Request,
}

impl Users {
    /// Registers so many users with one phone each, with `window` requests under way at a time, now and later.
    pub(crate) fn open(server: Server, users: u32, window: u32) -> Self {
        let socket = UdpSocket::bind((server.address().ip(), 0)).expect("a port");
        socket.connect(server.address()).expect("the server's address");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        SockRef::from(&socket).set_recv_buffer_size(4 << 20).expect("a socket option");
        let own = socket.local_addr().expect("an address");
        let message = "Content-Type: text/plain\r\nContent-Length: 18\r\n\r\nWatson, come here.";
        let mut group = Self {
            server,
            socket,
            users,
            window,
            twice: 0,
            turn: 0,
            phone: register(own, 1),
            second_phone: register(own, 2),
            message: request("MESSAGE", own, message),
            invite: request("INVITE", own, "Content-Length: 0\r\n\r\n"),
            buffer: vec![0; 1 << 16].into(),
            reply: Vec::new(),
        };
        group.flood(Ask::Phone, |turn| (turn < users).then_some(turn));
        group
    }

    /// The process whose processor time is measured.
    pub(crate) fn process(&self) -> u32 {
        self.server.id()
    }

    /// Gives each of the first so many users a second phone.
    pub(crate) fn add_phones(&mut self, users: u32) {
        self.twice = users;
        self.flood(Ask::SecondPhone, |turn| (turn < users).then_some(turn));
    }

    /// Refreshes registrations for a while. Returns how many.
    pub(crate) fn refresh(&mut self, time: Duration) -> u32 {
        let (users, end, first) = (self.users, Instant::now() + time, self.turn);
        self.flood(Ask::Phone, |turn| (Instant::now() < end).then(|| scatter(first + turn, users)))
    }

    /// Refreshes so many registrations a second, however long the responses take. Returns the waiting times in order.
    pub(crate) fn paced(&mut self, rate: u32, time: Duration) -> Vec<Duration> {
        self.socket.set_nonblocking(true).expect("a socket option");
        let (begin, first, count) = (Instant::now(), self.turn + 1, (time.as_secs_f64() * f64::from(rate)) as u32);
        let due = |sent: u32| Duration::from_secs(1) * sent / rate;
        let (mut sent, mut waits) = (0, Vec::new());
        while waits.len() < count as usize {
            assert!(begin.elapsed() < time + PATIENCE, "an answer was lost");
            while sent < count && begin.elapsed() >= due(sent) {
                self.send(Ask::Phone, scatter(sent, self.users));
                sent += 1;
            }
            let Ok(length) = self.socket.recv(&mut self.buffer) else { continue };
            let answer = Answer::read(&self.buffer[..length]).filter(|answer| answer.status == 200).expect("a 200");
            // Measured from the time when it was due, so that a late generator hides nothing.
            waits.push(begin.elapsed() - due(answer.turn - first));
        }
        self.socket.set_nonblocking(false).expect("a socket option");
        waits.sort();
        waits
    }

    /// Sends messages to users with one phone for a while. Returns how many.
    pub(crate) fn message(&mut self, time: Duration) -> u32 {
        let (twice, once) = (self.twice, self.users - self.twice);
        let (end, first) = (Instant::now() + time, self.turn);
        self.flood(Ask::Message, |turn| (Instant::now() < end).then(|| twice + scatter(first + turn, once)))
    }

    /// Calls all users with two phones, which then go on ringing.
    pub(crate) fn ring(&mut self) {
        let mut told = 0;
        for called in 1..=self.twice + BREADTH {
            if called <= self.twice {
                self.send(Ask::Invite, called - 1);
            }
            while told < 2 * called.saturating_sub(BREADTH) {
                match self.next() {
                    Came::Response(180) => told += 1,
                    Came::Response(100) | Came::Request => {}
                    Came::Response(status) => panic!("a call ended with {status}"),
                }
            }
        }
    }

    /// Sends requests to the users that `next` names and waits for all 200s. Returns how many.
    fn flood(&mut self, ask: Ask, mut next: impl FnMut(u32) -> Option<u32>) -> u32 {
        let (mut sent, mut done) = (0, 0);
        loop {
            while sent - done < self.window {
                let Some(user) = next(sent) else { break };
                self.send(ask, user);
                sent += 1;
            }
            if done == sent {
                return done;
            }
            match self.next() {
                Came::Response(200) => done += 1,
                // A phone that was called rings.
                Came::Response(..200) | Came::Request => {}
                Came::Response(status) => panic!("the answer is {status}"),
            }
        }
    }

    fn send(&mut self, ask: Ask, user: u32) {
        self.turn += 1;
        let template = match ask {
            Ask::Phone => &mut self.phone,
            Ask::SecondPhone => &mut self.second_phone,
            Ask::Message => &mut self.message,
            Ask::Invite => &mut self.invite,
        };
        self.socket.send(template.fill(user, self.turn)).expect("the server listens");
    }

    /// Receives the next message. A phone rings for an INVITE and answers all else.
    fn next(&mut self) -> Came {
        let length = self.socket.recv(&mut self.buffer).expect("an answer, which was lost");
        let octets = &self.buffer[..length];
        if let Some(answer) = Answer::read(octets) {
            return Came::Response(answer.status);
        }
        let request = Message::parse(Bytes::copy_from_slice(octets)).expect("SIP");
        let (status, reason): (_, &[u8]) =
            if request.method() == Method::Invite { (180, b"Ringing") } else { (200, b"OK") };
        self.reply.clear();
        Reply::new(&mut self.reply, &request, status, reason, Stamp::default(), Some(b"phone")).finish();
        self.socket.send(&self.reply).expect("the server listens");
        Came::Request
    }
}

fn scatter(turn: u32, users: u32) -> u32 {
    (u64::from(turn) * STRIDE % u64::from(users)) as u32
}

/// A REGISTER like that of a desk phone. Each phone has one Call-ID, so all but the first are refreshes.
fn register(own: SocketAddr, line: u8) -> Template {
    Template::new(&format!(
        "REGISTER sip:office.example SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKUUUUUUU.NNNNNNNNNN;rport\r\n\
         Max-Forwards: 70\r\nFrom: \"User UUUUUUU\" <sip:uUUUUUUU@office.example>;tag=fUUUUUUU\r\n\
         To: <sip:uUUUUUUU@office.example>\r\nCall-ID: {line}-UUUUUUU-a84b4c76@desk.office.example\r\n\
         CSeq: NNNNNNNNNN REGISTER\r\n\
         Contact: <sip:uUUUUUUU@{own};line={line}>;+sip.instance=\"<urn:uuid:0000000{line}-0000-1000-8000-00000UUUUUUU>\"\r\n\
         Expires: 3600\r\nAllow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n\
         User-Agent: Deskphone T46 66.86.0.15\r\nSupported: path, replaces\r\nContent-Length: 0\r\n\r\n"
    ))
}

/// A request to a user; `rest` is its last headers and its body.
fn request(method: &str, own: SocketAddr, rest: &str) -> Template {
    Template::new(&format!(
        "{method} sip:uUUUUUUU@office.example SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKUUUUUUU.NNNNNNNNNN;rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Caller\" <sip:caller@office.example>;tag=1928301774\r\n\
         To: \"User UUUUUUU\" <sip:uUUUUUUU@office.example>\r\nCall-ID: NNNNNNNNNN-a84b4c76e66710@pc33.office.example\r\n\
         CSeq: 314159 {method}\r\nContact: <sip:caller@{own}>\r\nUser-Agent: Softphone 5.19.1\r\n{rest}"
    ))
}
