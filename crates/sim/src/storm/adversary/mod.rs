//! The adversary: reads everything on the wire, sends what it likes from addresses of its own, and in most seeds has an
//! account, `mallory`, with a phone that is called and a caller that calls.
//!
//! It never has the address and port of another agent on UDP, nor its connection: a proxy cannot know such a packet from
//! that agent's own. What it sends as an attack is noted in the [`Plot`], by which the judge knows it again.

mod identity;
mod moves;
mod own;
mod spoils;

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::HashSet;

use super::credentials::Credentials;
use super::security::{Adversary, Security};
use crate::judge::{PHONE_MARK, Plot};
use crate::{Agent, Dice, Robot, Sip, Turn, Wire};

/// The account of the adversary.
pub(super) const MALLORY: &str = "mallory";

/// Tokens from here on begin an attack.
const ATTACK: u64 = 1 << 40;

/// All of the adversary.
pub(super) struct Mind {
    limbs: Vec<Part>,
    wire: Wire,
    dice: Dice,
    plot: Plot,
    security: Security,
    /// How many names it made up.
    made: u32,
}

/// One address of the adversary.
struct Part {
    agent: Agent,
    credentials: Option<Credentials>,
    /// Whether it has registered as a phone of mallory.
    is_phone: bool,
    /// The branches of what it sent as attacks: responses to them are not for the phone or caller at this address.
    branches: HashSet<String>,
}

/// What acts at one address of the adversary: attacks, and what a user does there besides.
pub(super) struct Limb {
    mind: Rc<RefCell<Mind>>,
    index: usize,
    /// The phone or caller there.
    user: Option<Box<dyn Robot>>,
}

impl Mind {
    pub(super) fn new(wire: Wire, dice: Dice, plot: Plot, security: Security) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self { limbs: Vec::new(), wire, dice, plot, security, made: 0 }))
    }

    /// One more address.
    pub(super) fn extend(mind: &Rc<RefCell<Self>>, agent: &Agent, user: Option<Box<dyn Robot>>) -> Limb {
        let mut all = mind.borrow_mut();
        let is_user = all.security.adversary == Adversary::User;
        let credentials = all.security.credentials(MALLORY).filter(|_| is_user);
        all.limbs.push(Part { agent: agent.clone(), credentials, is_phone: false, branches: HashSet::new() });
        Limb { mind: Rc::clone(mind), index: all.limbs.len() - 1, user }
    }

    /// Sends something as an attack.
    fn strike(&mut self, limb: usize, sip: Sip, group: Option<String>, turn: &mut Turn) {
        let sip = Rc::new(sip);
        self.limbs[limb].branches.insert(sip.branch().to_owned());
        self.plot.note(&sip, group);
        turn.resend(&sip);
    }

    /// A response to an attack: nonces are taken from it, and an answered call is acknowledged now and then.
    fn learn(&mut self, limb: usize, sip: &Sip, turn: &mut Turn) {
        if let Some(credentials) = &mut self.limbs[limb].credentials {
            credentials.learn(sip);
        }
        if sip.status() != Some(200) || sip.method() != "INVITE" {
            return;
        }
        if self.dice.happens(500) {
            let ack = self.acknowledge(limb, sip);
            self.strike(limb, ack, None, turn);
        }
        for request in self.take_over(limb, sip) {
            self.strike(limb, request, None, turn);
        }
    }

    /// A name that was never used before.
    fn name(&mut self) -> String {
        self.made += 1;
        format!("evil{}", self.made)
    }
}

impl Robot for Limb {
    fn hear(&mut self, sip: &Rc<Sip>, turn: &mut Turn) {
        let mut mind = self.mind.borrow_mut();
        let agent = mind.limbs[self.index].agent.clone();
        if !sip.is_request() && mind.limbs[self.index].branches.contains(sip.branch()) {
            return mind.learn(self.index, sip, turn);
        }
        drop(mind);
        match &mut self.user {
            Some(user) => user.hear(sip, turn),
            None if !sip.is_request() || sip.what() == "ACK" => {}
            // It was called at a Contact that it put there, or within a dialog that it made.
            None => {
                let mind = self.mind.borrow();
                let other_tag = if sip.what() == "INVITE" { mind.other_tag(sip) } else { None };
                let status = if sip.what() == "INVITE" && other_tag.is_none() { 486 } else { 200 };
                let answer = agent.answer(sip, status).with(PHONE_MARK, MALLORY);
                turn.send(match other_tag {
                    Some(tag) => answer.set("To", format_args!("{};tag={tag}", sip.value("To"))),
                    None => answer,
                });
            }
        }
    }

    fn wake(&mut self, token: u64, turn: &mut Turn) {
        match &mut self.user {
            _ if token >= ATTACK => self.mind.borrow_mut().attack(self.index, turn),
            Some(user) => user.wake(token, turn),
            None => {}
        }
    }
}

/// Has a limb attack after so many microseconds.
pub(super) fn plan_attack(agent: &Agent, micros: u64) {
    agent.is_woken(micros, ATTACK);
}
