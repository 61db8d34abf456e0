//! The trial of several nodes: phones of all kinds at two or three nodes over one store, which die, restart, lose their
//! lease and are cut off from each other, while phones call each other and move. Somebody reads what the nodes send each
//! other, and sends it again, changed or not.
//!
//! The network loses nothing here: the other trials do that. So what must happen is known exactly, and `judge.rs` has it.

mod judge;
mod lamps;
mod phone;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parser::Transport;
use proxy::{Keys, Listener};

use super::Report;
use crate::settings::{KEYS, SERVER};
use crate::{Agent, NodeMessage, Random, Simulation, Sip};

use judge::NodeJudge;
use lamps::Lamps;
use phone::{Kind, Phone};

/// How often the phones look what has arrived.
const TICK: Duration = Duration::from_millis(20);

/// How many ticks a trial has: a minute.
const TICKS: u64 = 3000;

/// After this time a change is known to all nodes.
const SETTLED: u64 = 500_000;

/// How long a node is waited for that does not answer, and how long the others take it for alive, in microseconds.
const LEASE: u64 = 10_000_000;

/// A node as it really is.
struct NodeState {
    is_running: bool,
    has_lease: bool,
    /// Grows with each run.
    run: u32,
    /// When its lease ends, or when it starts again.
    next: Option<u64>,
}

pub(crate) struct NodeTrial {
    sim: Simulation,
    random: Random,
    nodes: Vec<NodeState>,
    phones: Vec<Phone>,
    judge: NodeJudge,
    adversary: Vec<Agent>,
    /// What the adversary has read.
    read: Vec<NodeMessage>,
    /// When something changed that calls depend on.
    changed: u64,
    report: Report,
    /// The calls that are not over, by Call-ID.
    calls: BTreeMap<String, phone::Call>,
    /// The calls that were hung up while all nodes were well.
    hung_up: BTreeSet<String>,
    lamps: Lamps,
}

impl NodeTrial {
    /// Sets up the trial of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x0de5);
        let count = 2 + random.index(2);
        let sim = Simulation::with_nodes(count, |settings| {
            let more = [Transport::Tls, Transport::Wss].map(|transport| Listener { transport, address: SERVER });
            settings.listeners.extend(more);
        });
        sim.changes_take(Duration::from_millis(random.below(200)));
        // Each agent has an address of its own.
        sim.use_network([10, 0, 0]);
        let node = |_| NodeState { is_running: true, has_lease: true, run: 0, next: None };
        let nodes = (0..count).map(node).collect();
        let phones = (0..8).map(|number| Phone::new(&sim, number, count, &mut random)).collect();
        let adversary = [sim.udp("mallory"), sim.tcp("mallory/2")].to_vec();
        let (judge, read, report) = (NodeJudge::default(), Vec::new(), Report::default());
        let (calls, hung_up, lamps) = (BTreeMap::new(), BTreeSet::new(), Lamps::new(count));
        Self { sim, random, nodes, phones, judge, adversary, read, changed: 0, report, calls, hung_up, lamps }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Runs the trial. Panics with a `Violation` if an invariant is violated.
    pub(crate) fn run(&mut self) -> Report {
        self.sim.skip_final_check();
        for tick in 0..TICKS {
            self.change_nodes(tick);
            self.move_phones();
            self.lamps.watch(&self.sim, &self.nodes);
            if self.random.chance(40) && tick > 50 {
                self.begin_call();
            }
            self.hang_up();
            self.attack();
            self.sim.wait(TICK);
            self.receive();
            self.check_calls();
            if tick == TICKS / 2 {
                self.sim.set_keys(Keys { route: [91; 16], previous: Some(KEYS.long_lived()), ..KEYS });
            }
        }
        self.check_lamps();
        std::mem::take(&mut self.report)
    }

    /// The ladder diagram of a call, after a violation.
    pub(crate) fn ladder(&self, call_id: &str) -> String {
        self.sim.ladder(|other| other == call_id || other.starts_with("register-"))
    }

    /// Kills, starts and cuts off nodes.
    fn change_nodes(&mut self, tick: u64) {
        let now = self.now();
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            if node.next.is_some_and(|at| at <= now) {
                (self.changed, node.next) = (now, None);
                if !node.is_running && node.has_lease && self.random.chance(500) {
                    node.has_lease = false;
                    node.next = Some(now + self.random.below(2 * LEASE));
                    self.sim.lose_lease(index);
                } else if node.is_running {
                    node.has_lease = true;
                    self.sim.regain_lease(index);
                } else {
                    (node.is_running, node.has_lease, node.run) = (true, true, node.run + 1);
                    self.sim.start_node(index);
                }
            }
        }
        let all_well = self.nodes.iter().all(|node| node.is_running && node.has_lease);
        if tick % 300 == 299 && all_well && tick < TICKS - 600 {
            let index = self.random.index(self.nodes.len());
            let node = &mut self.nodes[index];
            self.changed = now;
            if self.random.chance(700) {
                // Half of them are restarted at once, before their phones look for another node.
                let down = if self.random.chance(500) { LEASE } else { LEASE / 20 };
                (node.is_running, node.next) = (false, Some(now + self.random.below(down)));
                self.sim.kill_node(index);
                self.phones.iter_mut().for_each(|phone| phone.lose(index));
            } else {
                // It is alive, but the others do not see it.
                (node.has_lease, node.next) = (false, Some(now + self.random.below(LEASE)));
                self.sim.lose_lease(index);
            }
        }
    }

    /// Phones register, again, or at another node.
    fn move_phones(&mut self) {
        let now = self.now();
        for phone in &mut self.phones {
            let is_lost = !self.nodes[phone.node].is_running;
            let due = phone.registered.is_none_or(|(at, _)| now > at + 8_000_000);
            if !(is_lost && self.random.chance(10) || due && self.random.chance(20)) || phone.is_busy {
                continue;
            }
            let alive: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_running).collect();
            let stays = !is_lost && self.random.chance(600);
            phone.node = if stays { phone.node } else { alive[self.random.index(alive.len())] };
            phone.registers(now);
            self.changed = now;
        }
    }

    /// Whether calls to this phone must reach it: it is registered, all nodes know it, and its flow exists.
    fn is_reachable(&self, phone: &Phone) -> bool {
        let node = &self.nodes[phone.node];
        let same_run = phone.kind == Kind::Nat || phone.kind == Kind::Udp || phone.run == node.run;
        phone.registered.is_some_and(|(at, confirmed)| confirmed && at + SETTLED < self.now())
            && node.is_running
            && node.has_lease
            && same_run
    }

    /// Whether another node cannot reach this phone, and knows it.
    fn is_gone(&self, phone: &Phone, from: usize) -> bool {
        let is_bound = matches!(phone.kind, Kind::Nat | Kind::Wss);
        phone.registered.is_none() || is_bound && phone.node != from && !self.nodes[phone.node].has_lease
    }

    /// Whether nothing has changed for long enough.
    fn is_settled(&self) -> bool {
        self.changed + SETTLED < self.now()
    }

    fn begin_call(&mut self) {
        let [from, to] = [0; 2].map(|_| self.random.index(self.phones.len()));
        let (caller, callee) = (&self.phones[from], &self.phones[to]);
        if caller.user == callee.user || !self.nodes[caller.node].is_running || caller.registered.is_none() {
            return;
        }
        let of_callee = || self.phones.iter().filter(|phone| phone.user == callee.user);
        let settled = self.is_settled();
        let must_reach =
            settled && of_callee().any(|phone| self.is_reachable(phone)) && self.nodes[caller.node].has_lease;
        let is_gone = settled && of_callee().all(|phone| self.is_gone(phone, caller.node));
        let invite = caller.agent.calls(&callee.user.clone());
        let call = phone::Call::new(from, invite, self.now(), (must_reach, is_gone), self.random.chance(300));
        self.judge.sent(&call.invite);
        self.calls.insert(call.invite.value("Call-ID").to_owned(), call);
    }

    /// One side of a call sends BYE, which must arrive if both sides are reachable.
    fn hang_up(&mut self) {
        let now = self.now();
        let ids: Vec<String> = self.calls.keys().cloned().collect();
        for id in ids {
            let Some(call) = self.calls.get(&id) else { continue };
            let Some((callee, received, answer, ok)) = call.up.clone().filter(|_| call.bye.is_none()) else { continue };
            let ready = self.is_reachable(&self.phones[call.caller]) && self.is_reachable(&self.phones[callee]);
            let wants = now > call.at + 1_500_000 && self.is_settled() && ready;
            if !wants || self.hash(&id) % 4 == self.now() / 20_000 % 4 {
                continue;
            }
            let by_caller = self.hash(&id).is_multiple_of(2);
            let (caller, callee_agent) = (&self.phones[call.caller].agent, &self.phones[callee].agent);
            let bye = match by_caller {
                true => caller.within(&call.invite, &ok, "BYE"),
                false => callee_agent.within_as_callee(&received, &answer, "BYE"),
            };
            if by_caller { caller } else { callee_agent }.sends(&bye);
            self.judge.sent(&bye);
            if let Some(call) = self.calls.get_mut(&id) {
                call.bye = Some(now);
            }
        }
    }

    fn hash(&self, id: &str) -> u64 {
        id.bytes().fold(7, |sum: u64, octet| sum.wrapping_mul(31).wrapping_add(octet.into()))
            ^ (self.nodes.len() as u64)
    }

    /// Sends again what nodes have sent each other.
    fn attack(&mut self) {
        let (sent, now) = (self.sim.between_nodes(), self.now());
        sent.iter().for_each(|message| self.judge.handed_over(&message.sip, now));
        self.read.extend(sent);
        let excess = self.read.len().saturating_sub(4000);
        self.read.drain(..excess);
        if self.read.is_empty() || !self.random.chance(150) {
            return;
        }
        // Half of what is sent again is as old as possible.
        let newest = if self.random.chance(500) { self.read.len() } else { self.read.len().div_ceil(20) };
        let message = self.read[self.random.index(newest)].clone();
        let adversary = &self.adversary[self.random.index(self.adversary.len())];
        if !self.nodes[message.to].is_running {
            return;
        }
        adversary.reaches_node(message.to);
        let forged = match self.random.below(4) {
            0 => message.bytes.to_vec(),
            1 => (*message.sip).clone().with("X-Forged", "1").bytes(),
            2 => (*message.sip).clone().set("Via", adversary.via()).with("X-Forged", "2").bytes(),
            _ => {
                let mut octets = message.bytes.to_vec();
                let at = self.random.index(octets.len());
                octets[at] = octets[at].wrapping_add(1);
                octets
            }
        };
        if message.sip.is_request() {
            adversary.sends_raw(forged);
        }
    }

    fn receive(&mut self) {
        let now = self.now();
        self.adversary.iter().for_each(|agent| drop(agent.all_received()));
        for index in 0..self.phones.len() {
            for sip in self.phones[index].agent.all_received() {
                match sip.is_request() {
                    true => self.receive_request(index, &sip, now),
                    false => self.receive_response(index, &sip, now),
                }
            }
            let answered = self.phones[index].answer_later(now);
            for (received, answer) in answered {
                if let Some(call) = self.calls.get_mut(received.value("Call-ID")) {
                    call.answers.insert(index, (received, answer));
                }
            }
        }
    }

    fn receive_request(&mut self, index: usize, sip: &Sip, now: u64) {
        let phone = &mut self.phones[index];
        self.judge.check_request(phone, sip, now);
        if phone.repeats(sip) {
            return;
        }
        phone.handle(sip, now);
        if sip.method() == "BYE"
            && let Some(call) = self.calls.get_mut(sip.value("Call-ID"))
        {
            call.bye_arrived = true;
        }
    }

    fn receive_response(&mut self, index: usize, sip: &Sip, now: u64) {
        let phone = &mut self.phones[index];
        self.judge.check_response(phone, sip);
        if sip.method() == "REGISTER" {
            let run = self.nodes[phone.node].run;
            return phone.confirmed(sip, now, run);
        }
        let Some(call) = self.calls.get_mut(sip.value("Call-ID")) else { return };
        if sip.method() == "BYE" && sip.status() == Some(200) {
            call.bye_answered = true;
            if call.bye.is_some_and(|at| self.changed < at)
                && self.nodes.iter().all(|node| node.is_running && node.has_lease)
            {
                self.hung_up.insert(sip.value("Call-ID").to_owned());
            }
        }
        if sip.method() == "INVITE" && call.caller == index {
            let copy = call.on_response(sip, now, &self.phones);
            if let Some(status) = copy {
                self.report.ended("INVITE", Some(status));
            }
        }
    }

    /// Checks what must have happened by now, and ends calls.
    fn check_calls(&mut self) {
        let now = self.now();
        let settled_since = self.changed;
        for call in self.calls.values_mut() {
            self.judge.check_call(call, now, settled_since);
            if call.cancels_at.is_some_and(|at| at <= now) && call.rings && call.status.is_none() {
                call.cancels_at = None;
                let cancel = self.phones[call.caller].agent.cancels(&call.invite);
                self.judge.sent(&cancel);
            }
        }
        self.calls.retain(|_, call| now < call.at + 20_000_000 && !(call.bye_answered && call.bye_arrived));
    }
}
