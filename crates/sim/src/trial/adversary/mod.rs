//! The adversary. It reads everything on the wire and sends anything from its own addresses. In most trials it has an
//! account, `mallory`, with a phone that others call and a caller.
//!
//! It never sends from the address and port of another agent on UDP, nor over the connection of another agent: a proxy
//! cannot tell such a packet from one of that agent. It adds each attack to the [`AttackLog`], from which the judge
//! recognises it.

mod account;
mod captured;
mod identity;
mod replay;

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::{HashMap, HashSet};

use super::credentials::Credentials;
use super::security::{Adversary, Security};
use crate::judge::{AttackLog, PHONE_MARK};
use crate::{Agent, Behaviour, Random, Reaction, Sip, Wire};

/// The account of the adversary.
pub(super) const MALLORY: &str = "mallory";

/// Timers with tokens from here on begin an attack.
const ATTACK: u64 = 1 << 40;

/// The state that all addresses of the adversary share.
pub(super) struct AdversaryState {
    addresses: Vec<Address>,
    wire: Wire,
    random: Random,
    attack_log: AttackLog,
    security: Security,
    /// A response in a dialog of others, by the Call-ID of the call that imitates this dialog.
    models: HashMap<String, Rc<Sip>>,
    /// How many identifiers it has created.
    made: u32,
}

/// One address of the adversary.
struct Address {
    agent: Agent,
    credentials: Option<Credentials>,
    /// Whether it has registered as a phone of mallory.
    is_phone: bool,
    /// The branches of its attacks. Responses to them do not belong to the phone or caller at this address.
    branches: HashSet<String>,
}

/// The behaviour at one address of the adversary: attacks, and those of its phone or caller.
pub(super) struct AddressBehaviour {
    state: Rc<RefCell<AdversaryState>>,
    index: usize,
    /// The phone or caller at this address.
    user: Option<Box<dyn Behaviour>>,
}

impl AdversaryState {
    pub(super) fn new(wire: Wire, random: Random, attack_log: AttackLog, security: Security) -> Rc<RefCell<Self>> {
        let (addresses, models) = (Vec::new(), HashMap::new());
        Rc::new(RefCell::new(Self { addresses, wire, random, attack_log, security, models, made: 0 }))
    }

    /// Adds an address.
    pub(super) fn add_address(
        state: &Rc<RefCell<Self>>,
        agent: &Agent,
        user: Option<Box<dyn Behaviour>>,
    ) -> AddressBehaviour {
        let mut all = state.borrow_mut();
        let is_user = all.security.adversary == Adversary::User;
        let credentials = all.security.credentials(MALLORY).filter(|_| is_user);
        all.addresses.push(Address { agent: agent.clone(), credentials, is_phone: false, branches: HashSet::new() });
        AddressBehaviour { state: Rc::clone(state), index: all.addresses.len() - 1, user }
    }

    /// Sends an attack.
    fn send_attack(&mut self, address: usize, sip: Sip, group: Option<String>, reaction: &mut Reaction) {
        let sip = Rc::new(sip);
        self.addresses[address].branches.insert(sip.branch().to_owned());
        self.attack_log.note(&sip, group);
        reaction.resend(&sip);
    }

    /// A response to an attack has arrived. It may contain a nonce, and a 2xx may get an ACK.
    fn on_response(&mut self, address: usize, sip: &Sip, reaction: &mut Reaction) {
        if let Some(credentials) = &mut self.addresses[address].credentials {
            credentials.on_response(sip);
        }
        if !matches!(sip.status(), Some(101..=200)) || sip.method() != "INVITE" {
            return;
        }
        if let Some(request) = self.enter_other_dialog(address, sip) {
            self.send_attack(address, request, None, reaction);
        }
        if sip.status() != Some(200) {
            return;
        }
        if self.random.chance(500) {
            let ack = self.acknowledge(address, sip);
            self.send_attack(address, ack, None, reaction);
        }
        for request in self.take_over(address, sip) {
            self.send_attack(address, request, None, reaction);
        }
    }

    /// An identifier that was not used before.
    fn name(&mut self) -> String {
        self.made += 1;
        format!("evil{}", self.made)
    }
}

impl Behaviour for AddressBehaviour {
    fn on_message(&mut self, sip: &Rc<Sip>, reaction: &mut Reaction) {
        let mut state = self.state.borrow_mut();
        let agent = state.addresses[self.index].agent.clone();
        if !sip.is_request() && state.addresses[self.index].branches.contains(sip.branch()) {
            return state.on_response(self.index, sip, reaction);
        }
        drop(state);
        match &mut self.user {
            Some(user) => user.on_message(sip, reaction),
            None if !sip.is_request() || sip.what() == "ACK" => {}
            // It was called at a Contact that it registered, or within a dialog that it created.
            None => {
                let state = self.state.borrow();
                let other_tag = if sip.what() == "INVITE" { state.other_tag(sip) } else { None };
                let status = if sip.what() == "INVITE" && other_tag.is_none() { 486 } else { 200 };
                let answer = agent.answer(sip, status).with(PHONE_MARK, MALLORY);
                reaction.send(match other_tag {
                    Some(tag) => answer.set("To", format_args!("{};tag={tag}", sip.value("To"))),
                    None => answer,
                });
            }
        }
    }

    fn on_timer(&mut self, token: u64, reaction: &mut Reaction) {
        match &mut self.user {
            _ if token >= ATTACK => self.state.borrow_mut().attack(self.index, reaction),
            Some(user) => user.on_timer(token, reaction),
            None => {}
        }
    }
}

/// Plans an attack from this agent after so many microseconds.
pub(super) fn plan_attack(agent: &Agent, micros: u64) {
    agent.set_timer(micros, ATTACK);
}
