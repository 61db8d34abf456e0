//! The phones of the trial of several nodes, and their calls.

use std::collections::BTreeMap;

use crate::{Agent, Random, Simulation, Sip};

/// How a phone is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Udp,
    Nat,
    Tcp,
    Wss,
}

pub(super) struct Phone {
    pub(super) agent: Agent,
    pub(super) user: String,
    pub(super) kind: Kind,
    /// The node that it sends to.
    pub(super) node: usize,
    /// When it registered last, and whether it has got the 200.
    pub(super) registered: Option<(u64, bool)>,
    /// The run of its node in which it did.
    pub(super) run: u32,
    /// Whether its REGISTER is not answered yet.
    pub(super) is_busy: bool,
    /// Whether it answers calls; otherwise it rings until the call is cancelled.
    accepts: bool,
    /// What it has answered, by the branch and method of the request.
    answered: BTreeMap<(String, String), Vec<Sip>>,
    /// The INVITEs that it answers at these times.
    ringing: Vec<(u64, Sip)>,
}

impl Phone {
    pub(super) fn new(sim: &Simulation, number: usize, nodes: usize, random: &mut Random) -> Self {
        let kind = [Kind::Udp, Kind::Nat, Kind::Nat, Kind::Tcp, Kind::Wss, Kind::Wss][random.index(6)];
        // Six users, two of whom have two phones.
        let user = format!("user{}", number % 6);
        let name = format!("{user}/{number}");
        let agent = match kind {
            Kind::Udp => sim.udp(&name),
            Kind::Nat => {
                let agent = sim.udp(&name).named(&format!("sip:{user}@192.168.1.{}", 11 + number));
                agent.sends_from(([198, 51, 100, 7], 1026 + u16::try_from(number).unwrap_or_default()).into());
                agent
            }
            Kind::Tcp => sim.tcp(&name),
            Kind::Wss => sim.wss(&name),
        };
        Self {
            agent,
            user,
            kind,
            node: random.index(nodes),
            registered: None,
            run: 0,
            is_busy: false,
            accepts: number < 6,
            answered: BTreeMap::new(),
            ringing: Vec::new(),
        }
    }

    pub(super) fn registers(&mut self, now: u64) {
        self.agent.reaches_node(self.node);
        self.agent.sends(&self.agent.register());
        (self.registered, self.is_busy) = (Some((now, false)), true);
    }

    pub(super) fn confirmed(&mut self, sip: &Sip, now: u64, run: u32) {
        self.is_busy = false;
        self.registered = (sip.status() == Some(200)).then_some((now, true));
        self.run = run;
    }

    /// Its node has died.
    pub(super) fn lose(&mut self, node: usize) {
        if self.node == node {
            self.is_busy = false;
        }
    }

    /// Answers a copy of a request as it answered the first one.
    pub(super) fn repeats(&self, sip: &Sip) -> bool {
        let known = self.answered.get(&(sip.branch().to_owned(), sip.method().to_owned()));
        known.into_iter().flatten().for_each(|answer| self.agent.sends(answer));
        known.is_some()
    }

    /// Answers a new request.
    pub(super) fn handle(&mut self, sip: &Sip, now: u64) {
        let mut answers = Vec::new();
        match sip.method() {
            "ACK" => {}
            "INVITE" => {
                answers.push(self.agent.answers(sip, 180));
                if self.accepts {
                    self.ringing.push((now + 100_000, sip.clone()));
                } else {
                    self.ringing.push((u64::MAX, sip.clone()));
                }
            }
            "CANCEL" => {
                answers.push(self.agent.answers(sip, 200));
                let is_it = |(_, invite): &(u64, Sip)| invite.branch() == sip.branch();
                if let Some(at) = self.ringing.iter().position(is_it) {
                    let (_, invite) = self.ringing.swap_remove(at);
                    self.finish(&invite, 487);
                }
            }
            _ => answers.push(self.agent.answers(sip, 200)),
        }
        self.answered.insert((sip.branch().to_owned(), sip.method().to_owned()), answers);
    }

    fn finish(&mut self, invite: &Sip, status: u16) -> Sip {
        let answer = self.agent.answers(invite, status);
        let key = (invite.branch().to_owned(), "INVITE".to_owned());
        self.answered.insert(key, vec![answer.clone()]);
        answer
    }

    /// Accepts the calls that have rung long enough: each INVITE and its 200.
    pub(super) fn answer_later(&mut self, now: u64) -> Vec<(Sip, Sip)> {
        let (due, rest) = std::mem::take(&mut self.ringing).into_iter().partition(|(at, _)| *at <= now);
        self.ringing = rest;
        let due: Vec<(u64, Sip)> = due;
        due.into_iter().map(|(_, invite)| (invite.clone(), self.finish(&invite, 200))).collect()
    }
}

/// A call that is up: the called phone, the INVITE that it got, its 200, and the 200 that the caller got.
type Up = (usize, Sip, Sip, Sip);

pub(super) struct Call {
    pub(super) caller: usize,
    pub(super) invite: Sip,
    pub(super) at: u64,
    /// Whether it must reach a phone, and whether no phone of the user can be reached.
    pub(super) expected: (bool, bool),
    pub(super) rings: bool,
    pub(super) status: Option<u16>,
    /// When the final response came.
    pub(super) ended: Option<u64>,
    pub(super) cancels_at: Option<u64>,
    /// What the phones have answered.
    pub(super) answers: BTreeMap<usize, (Sip, Sip)>,
    pub(super) up: Option<Up>,
    /// When a side hung up.
    pub(super) bye: Option<u64>,
    pub(super) bye_arrived: bool,
    pub(super) bye_answered: bool,
}

impl Call {
    pub(super) fn new(caller: usize, invite: Sip, at: u64, expected: (bool, bool), is_brief: bool) -> Self {
        Self {
            caller,
            invite,
            at,
            expected,
            rings: false,
            status: None,
            ended: None,
            cancels_at: Some(at + if is_brief { 40_000 } else { 2_000_000 }),
            answers: BTreeMap::new(),
            up: None,
            bye: None,
            bye_arrived: false,
            bye_answered: false,
        }
    }

    /// The caller gets a response. Returns the status of the first final one.
    pub(super) fn on_response(&mut self, sip: &Sip, now: u64, phones: &[Phone]) -> Option<u16> {
        let status = sip.status().unwrap_or_default();
        match status {
            ..=100 => return None,
            101..200 => {
                self.rings = true;
                return None;
            }
            _ => {}
        }
        let agent = &phones[self.caller].agent;
        agent.acks(&self.invite, sip);
        if self.status.is_some() {
            return None;
        }
        (self.status, self.ended) = (Some(status), Some(now));
        if status == 200 {
            let of_tag = |(_, (_, answer)): &(&usize, &(Sip, Sip))| answer.to_tag() == sip.to_tag();
            let found = self.answers.iter().find(of_tag);
            self.up = found.map(|(index, (received, answer))| (*index, received.clone(), answer.clone(), sip.clone()));
        }
        Some(status)
    }
}
