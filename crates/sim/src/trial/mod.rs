//! A trial, the run of one seed: callers, phones, looping proxies and often an adversary, and a minute or two of calls
//! over an impaired network.

mod adversary;
mod call_plan;
mod caller;
mod calls;
mod client;
mod conditions;
mod credentials;
mod gate;
mod late_phone;
mod looping_proxy;
mod nodes;
mod office;
mod phone;
mod population;
mod registrar;
mod report;
mod security;
mod sites;
mod trunks;
mod watchers;

use std::cell::RefCell;
use std::rc::Rc;

use crate::judge::{AttackLog, SharedJudge, enforce, must};
use crate::{Agent, Random, Sent, Simulation};

use adversary::plan_attack;
use calls::check_calls;
use conditions::Conditions;
use office::TrialOffice;
use population::Population;
use registrar::close_registrar;
use security::Adversary;
use trunks::TrialTrunks;
use watchers::Watcher;

pub(crate) use nodes::NodeTrial;
pub use report::Report;

/// The trial of one seed.
pub(crate) struct Trial {
    sim: Simulation,
    judge: SharedJudge,
    report: Rc<RefCell<Report>>,
    seed: u64,
    /// The agents of the adversary.
    addresses: Vec<Agent>,
    watchers: Vec<Watcher>,
    /// Whether the adversary must have no effect on others.
    is_outsider: bool,
}

/// How many attacks follow the restart of the server.
const LATE_ATTACKS: u64 = 20;

impl Trial {
    /// Sets up the trial of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, true)
    }

    /// The same trial; without `attacks` the adversary is there and does nothing.
    fn with(seed: u64, attacks: bool) -> Self {
        let mut random = Random::new(seed);
        let conditions = Conditions::draw(&mut random);
        let sim = Simulation::build(conditions.workers, seed, |settings| conditions.apply_to(settings));
        // Each agent has an address of its own, since a phone may listen at another port than it sends from.
        sim.use_network([10, 0, 0]);
        let report = Rc::new(RefCell::new(Report::default()));
        let attack_log = AttackLog::default();
        let mut population = Population {
            sim: &sim,
            workers: conditions.workers,
            security: conditions.security,
            random,
            ring_time: conditions.judge_settings().ring_time,
            sites: Vec::new(),
            office: TrialOffice::draw(seed),
            trunks: TrialTrunks::draw(seed, conditions.security),
        };
        let mut others = population.add_agents(&report);
        let registrar = population.add_registrar(&conditions, seed);
        others.trunks.extend(registrar.iter().flat_map(|registrar| registrar.agents.clone()));
        let sites = population.sites.clone();
        let office = population.office.as_ref().map(|office| office.model.clone());
        let trunks = population.trunks.as_ref().map(|trunks| trunks.model.clone());
        let addresses = population.add_adversary(&attack_log, &report, others.mallory.take(), attacks);
        let watchers = if conditions.security.required { Vec::new() } else { Watcher::all(&sim, conditions.workers) };
        let mut roles = population.roles(&addresses, &others, conditions.loses_core_messages());
        roles.watchers = watchers.iter().map(Watcher::id).collect();
        let judge =
            SharedJudge::new(conditions.judge_settings(), (sites, office, trunks), attack_log, (roles, registrar));
        sim.observe_with(judge.clone());
        let Population { mut random, security, .. } = population;
        let spared: Vec<usize> = addresses.iter().map(Agent::id).chain(watchers.iter().map(Watcher::id)).collect();
        let others = (0..sim.agents()).filter(|agent| !spared.contains(agent));
        conditions.inject_faults(&sim, others, &mut random);
        Self { sim, judge, report, seed, addresses, watchers, is_outsider: security.adversary == Adversary::Outsider }
    }

    /// Runs the trial. Panics with a `Violation` if an invariant is violated.
    pub(crate) fn run(&self) -> Report {
        let settled = self.sim.run_to_end();
        self.judge.check_end(settled);
        let watched = self.watchers.iter().filter(|watcher| watcher.check(&self.sim)).count();
        check_calls(&self.sim, &self.addresses);
        if self.is_outsider {
            self.compare();
        }
        // Captured messages must be useless after a restart too.
        if !self.addresses.is_empty() {
            close_registrar(&self.sim);
            self.sim.restart();
            let addresses = self.addresses.iter().cycle();
            (0..LATE_ATTACKS).zip(addresses).for_each(|(second, address)| plan_attack(address, second * 1_000_000));
        }
        let seen = self.judge.finish(self.sim.run_to_end());
        // The callers report how their requests ended when they are dropped.
        self.sim.stop_agents();
        let mut report = self.report.take();
        report.seeds = 1;
        report.seen = seen;
        report.watched = watched as u64;
        report.messages = self.sim.messages() as u64;
        report
    }

    /// Issue 12, "honest calls are not disturbed": if the adversary has no account, all others send and receive the
    /// same messages as without it, at the same microsecond.
    fn compare(&self) {
        let quiet = Self::with(self.seed, false);
        quiet.sim.skip_final_check();
        let _ = quiet.sim.run_to_end();
        let (attacked, undisturbed) = (self.timeline(), quiet.timeline());
        let differs = attacked.iter().zip(&undisturbed).find(|(a, b)| a != b);
        let longer = attacked.len().max(undisturbed.len()) > attacked.len().min(undisturbed.len());
        let verdict = must(differs.is_none() && !longer, || format!("{differs:?}"));
        enforce("an_outsider_has_no_effect_on_others", differs.map_or("", |(a, _)| &a.2), verdict);
    }

    /// What all agents but the adversary sent and received, and when.
    fn timeline(&self) -> Vec<(u64, usize, String, String)> {
        let wire = self.sim.wire();
        let wire = wire.borrow();
        let others = wire.iter().filter(|sent| !self.addresses.iter().any(|address| address.id() == sent.agent));
        let line = |sent: &Sent| {
            let Sent { micros, agent, by_server, sip, copies } = sent;
            let what = format!("{by_server} {copies} {} {}", sip.start, sip.value("CSeq"));
            (*micros, *agent, sip.value("Call-ID").to_owned(), what)
        };
        others.map(line).collect()
    }

    /// The ladder diagram of a call, after a violation.
    pub(crate) fn ladder(&self, call_id: &str) -> String {
        self.sim.skip_final_check();
        self.sim.ladder(|other| other == call_id)
    }
}
