//! Agents that act by themselves: callers and phones with the transactions of RFC 3261 17, for calls by the thousand.
//!
//! A [`Storm`] lets callers call a user with several phones and judges how each call ended. Issue by issue, more
//! habits and more invariants can be added here; the world does not know what its robots do.

mod caller;
mod phone;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::net::Dice;
use super::settings::DOMAIN;
use super::sip::Sip;
use super::{Agent, World};

use caller::Caller;
use phone::Phone;

pub(crate) use phone::Habits;

/// What a robot does.
pub(crate) enum Deed {
    Send(Sip),
    /// Is woken with this token after so many microseconds.
    Wake {
        micros: u64,
        token: u64,
    },
}

/// An agent that acts by itself.
pub(crate) trait Robot {
    fn hear(&mut self, now: u64, sip: &Sip, deeds: &mut Vec<Deed>);
    fn wake(&mut self, now: u64, token: u64, deeds: &mut Vec<Deed>);
}

/// T1 and T2 in microseconds.
const T1: u64 = 500_000;
const T2: u64 = 4_000_000;

/// How a call ended for its caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) hung_up: bool,
    /// The To tags of its 2xx, each once.
    pub(crate) answered: Vec<String>,
    /// Status and To tag of its other finals, each once.
    pub(crate) failed: Vec<(u16, String)>,
}

/// What the phones have to say in the end.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    ringing: usize,
    /// Microseconds.
    longest_ring: u64,
    /// Failures that were sent and not acknowledged yet.
    unacknowledged: usize,
}

/// Microseconds that a phone may ring: for the ring time, and until the last copy of the CANCEL has come through.
const LONGEST_RING: u64 = 30_000_000 + 64 * T1 + T2;

/// Many calls to one user at once.
pub(crate) struct Storm {
    endings: Rc<RefCell<BTreeMap<String, Ending>>>,
    tally: Rc<RefCell<Tally>>,
    caller: usize,
}

impl Storm {
    /// `calls` calls to bob, who has a phone for each q, within a minute.
    pub(crate) fn new(world: &World, seed: u64, calls: u32, qs: &[&str], habits: Habits) -> Self {
        let tally = Rc::new(RefCell::new(Tally::default()));
        for (index, q) in qs.iter().enumerate() {
            let phone = world.udp(&format!("bob/{index}"));
            phone.registers_with(&format!(";q={q}"));
            let dice = Dice::new(seed * 31 + index as u64);
            phone.becomes(Phone::new(phone.clone(), dice, habits, Rc::clone(&tally)));
        }
        let endings = Rc::new(RefCell::new(BTreeMap::new()));
        let alice = world.udp("alice");
        let mut dice = Dice::new(seed);
        let mut robot = Caller::new(alice.clone(), Rc::clone(&endings));
        for _ in 0..calls {
            let hangs_up = dice.happens(300).then(|| dice.roll(40_000_000));
            let token = robot.plan(alice.request("INVITE", &format!("sip:bob@{DOMAIN}")), hangs_up);
            alice.is_woken(dice.roll(60_000_000), token);
        }
        alice.becomes(robot);
        Self { endings, tally, caller: alice.id() }
    }

    /// Holds every call against what RFC 3261 16.7 promises its caller. Returns how they ended.
    pub(crate) fn judge(&self, world: &World) -> Vec<Ending> {
        let endings = self.endings.borrow();
        for (call, ending) in endings.iter() {
            assert!(ending.failed.len() <= 1, "{call} failed twice: {ending:?}");
            assert!(!(ending.failed.is_empty() && ending.answered.is_empty()), "{call} never ended");
        }
        let mut last_final = BTreeMap::new();
        for sent in world.wire().iter().filter(|sent| sent.by_server && sent.agent == self.caller) {
            let sip = Sip::parse(&sent.bytes);
            let (call, status) = (sip.value("Call-ID").to_owned(), sip.status().unwrap_or_default());
            if sip.method() != "INVITE" {
                continue;
            }
            match last_final.get(&call) {
                Some(200..300) => assert!((200..300).contains(&status), "{call}: {status} after a 2xx"),
                // Timer G repeats it, and each copy of the INVITE does.
                Some(before) => assert!(status == *before || status == 200, "{call}: {status} after {before}"),
                None => {}
            }
            if status >= 200 {
                last_final.insert(call, status);
            }
        }
        let tally = self.tally.borrow();
        assert_eq!((tally.ringing, tally.unacknowledged), (0, 0), "phones ring for nobody, or wait for an ACK");
        assert!(tally.longest_ring <= LONGEST_RING, "a phone rang for {} us", tally.longest_ring);
        endings.values().cloned().collect()
    }
}

impl Agent {
    fn becomes(&self, robot: impl Robot + 'static) {
        self.state().borrow_mut().agents[self.id()].robot = Some(Box::new(robot));
    }

    fn is_woken(&self, micros: u64, token: u64) {
        let mut state = self.state().borrow_mut();
        let at = state.now + micros;
        state.net.at(at, super::net::Parcel::Wake { agent: self.id(), token });
    }
}
