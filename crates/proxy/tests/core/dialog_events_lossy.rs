//! Whatever happens on the network, between the workers and between nodes, a watcher that processes its NOTIFYs by RFC 4235 4.3 knows the
//! current calls in the end.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "test code outside of test functions")]

use std::time::Duration;

use sim::{Agent, DialogView, Impairments, Random, Simulation, Sip};

use crate::accounts::aor;
use crate::dialog_events::add_accounts;

/// Whom the board watches.
const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// A call, and what its two sides do until it ends.
struct Call {
    caller: usize,
    callee: usize,
    invite: Sip,
    received: Option<Sip>,
    ok: Option<Sip>,
    is_over: bool,
}

struct Trial {
    sim: Simulation,
    /// Workers, or nodes.
    workers: usize,
    /// The nodes that do not reach another one, if there are nodes.
    cut: Option<Vec<(usize, usize)>>,
    random: Random,
    phones: Vec<Agent>,
    watchers: Vec<(Agent, DialogView)>,
    notifies: usize,
    calls: Vec<Call>,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let workers = 1 + u8::try_from(seed % 3).unwrap_or(0);
        let sim = Simulation::build(workers, seed, add_accounts);
        sim.core_messages_take(Duration::from_millis(20 * (seed % 4)));
        Self::of(sim, seed, workers)
    }

    fn of_nodes(seed: u64) -> Self {
        Self { cut: Some(Vec::new()), ..Self::of(Simulation::with_nodes(3, add_accounts), seed, 3) }
    }

    fn of(sim: Simulation, seed: u64, workers: u8) -> Self {
        let phones: Vec<Agent> = USERS.iter().map(|name| sim.udp(name)).collect();
        phones.iter().for_each(Agent::registers);
        let watchers = (0..).zip(USERS).map(|(at, user)| {
            let watcher = sim.udp(&format!("board/{user}"));
            watcher.reaches_worker(at % usize::from(workers));
            let uri = format!("sip:{user}@office.example");
            watcher.sends(&watcher.request("SUBSCRIBE", &uri).with("Event", "dialog").with("Expires", 7000));
            watcher.expects("200");
            (watcher, DialogView::default())
        });
        let watchers = watchers.collect();
        // The phones here do not retransmit, so that some calls never end.
        sim.impair(Impairments { delay: (1, 30), lost: 100, duplicated: 100, late: 20, core_messages_lost: 200 });
        let workers = usize::from(workers);
        Self { sim, workers, cut: None, random: Random::new(seed), phones, watchers, notifies: 0, calls: Vec::new() }
    }

    /// Interrupts what nodes say to each other, or lets it pass again. One of them may be taken for dead, too.
    fn changes_nodes(&mut self) {
        let Some(cut) = &mut self.cut else { return };
        match self.random.index(8) {
            0 => {
                let pair = (self.random.index(3), self.random.index(3));
                self.sim.cut(pair.0, pair.1);
                cut.push(pair);
            }
            1..4 => cut.drain(..).for_each(|(from, to)| self.sim.mend(from, to)),
            4 => self.sim.lose_lease(self.random.index(3)),
            5 | 6 => (0..3).for_each(|node| self.sim.regain_lease(node)),
            _ => {}
        }
    }

    /// Nothing is interrupted any more.
    fn calms_down(&mut self) {
        self.sim.impair(Impairments::NONE);
        if let Some(cut) = &mut self.cut {
            cut.drain(..).for_each(|(from, to)| self.sim.mend(from, to));
            (0..3).for_each(|node| self.sim.regain_lease(node));
        }
    }

    fn process_notifies(&mut self) {
        for (watcher, view) in &mut self.watchers {
            for notify in watcher.all_received().iter().filter(|sip| sip.what() == "NOTIFY") {
                view.apply(notify);
                // The response to every third one is lost. If all were lost by chance, the subscription would end.
                self.notifies += 1;
                if !self.notifies.is_multiple_of(3) {
                    watcher.answers(notify, 200);
                }
            }
        }
    }

    /// Lets the time pass, and the phones react to what they have received.
    fn wait(&mut self, millis: u64) {
        for _ in 0..millis.div_ceil(100) {
            self.sim.millis(100);
            self.process_notifies();
            for at in 0..self.phones.len() {
                for sip in self.phones[at].all_received() {
                    self.react(at, &sip);
                }
            }
        }
    }

    fn react(&mut self, at: usize, sip: &Sip) {
        let phone = &self.phones[at];
        let call = self.calls.iter_mut().find(|call| call.invite.value("Call-ID") == sip.value("Call-ID"));
        let Some(call) = call else { return };
        match sip.what() {
            "INVITE" => call.received = Some(sip.clone()),
            "BYE" => {
                phone.answers(sip, 200);
            }
            "CANCEL" => {
                phone.answers(sip, 200);
                phone.answers(call.received.as_ref().unwrap_or(sip), 487);
                call.is_over = true;
            }
            _ => match sip.status() {
                Some(200) if sip.value("CSeq").ends_with("INVITE") => {
                    phone.acks(&call.invite, sip);
                    call.ok = Some(sip.clone());
                }
                Some(300..) => {
                    phone.acks(&call.invite, sip);
                    call.is_over = true;
                }
                _ => {}
            },
        }
    }

    fn begins(&mut self) {
        let caller = self.random.index(3);
        let callee = (caller + 1 + self.random.index(2)) % 3;
        let worker = self.random.index(self.workers);
        let phone = self.phones[caller].reaches_worker(worker);
        let invite = phone.calls(USERS[callee]);
        self.calls.push(Call { caller, callee, invite, received: None, ok: None, is_over: false });
    }

    /// The next step of one call.
    fn proceeds(&mut self) {
        let live: Vec<usize> = (0..self.calls.len()).filter(|at| !self.calls[*at].is_over).collect();
        if live.is_empty() {
            return;
        }
        let at = live[self.random.index(live.len())];
        let call = &mut self.calls[at];
        let (caller, callee) = (&self.phones[call.caller], &self.phones[call.callee]);
        if self.cut.is_some() {
            for phone in [caller, callee] {
                phone.reaches_node(self.random.index(3));
            }
        }
        match (&call.received, &call.ok, self.random.index(4)) {
            (Some(received), None, 0) => drop(callee.answers(received, 180)),
            (Some(received), None, 1) => drop(callee.answers(received, 200)),
            (Some(received), None, 2) => drop(callee.answers(received, 486)),
            (Some(_), None, _) => drop(caller.cancels(&call.invite)),
            (_, Some(ok), 0) => {
                caller.sends(&caller.within(&call.invite, ok, "BYE"));
                call.is_over = true;
            }
            (Some(received), Some(ok), 1) => {
                callee.sends(&callee.within_as_callee(received, ok, "BYE"));
                call.is_over = true;
            }
            _ => {}
        }
    }
}

fn run_trial(mut trial: Trial, seed: u64) {
    trial.wait(100);
    for _ in 0..60 {
        trial.changes_nodes();
        match trial.random.index(3) {
            0 => trial.begins(),
            _ => trial.proceeds(),
        }
        let pause = [0, 100, 700, 2000][trial.random.index(4)];
        trial.wait(pause);
    }
    // Until the last NOTIFY is answered, and a change that was missed is noticed.
    trial.calms_down();
    trial.wait(60_000);
    let mut partial = 0;
    for (user, (_, view)) in USERS.iter().zip(&trial.watchers) {
        let known = view.is_of(&aor(user), &trial.sim.calls_of(user));
        assert_eq!(known, Ok(()), "seed {seed}");
        partial += view.partial;
    }
    assert!(partial > 10, "seed {seed}: {partial} changes");
    trial.sim.skip_final_check();
}

#[test]
fn the_last_notified_state_matches_the_calls() {
    // checklist 173
    (0..40).for_each(|seed| run_trial(Trial::new(seed), seed));
}

#[test]
fn the_last_notified_state_matches_the_calls_of_all_nodes() {
    // checklist 173
    (0..40).for_each(|seed| run_trial(Trial::of_nodes(seed), seed));
}

#[test]
fn a_lost_message_between_workers_is_noticed() {
    // checklist 173
    let sim = Simulation::build(2, 1, add_accounts);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let watcher = sim.udp("board");
    watcher.reaches_worker(1);
    watcher.sends(&watcher.request("SUBSCRIBE", "sip:alice@office.example").with("Event", "dialog"));
    watcher.expects("200");
    watcher.answers(&watcher.expects("NOTIFY"), 200);
    sim.impair(Impairments { core_messages_lost: 1000, ..Impairments::NONE });
    alice.reaches_worker(0).calls("bob");
    sim.seconds(1);
    watcher.receives_nothing();
    sim.seconds(10);
    let notify = watcher.next_message();
    assert!(notify.body.contains("<state>trying</state>"), "{notify}");
    sim.skip_final_check();
}
