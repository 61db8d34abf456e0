//! A storm: an office of callers, phones and mirrors that a seed makes up, and a minute or two of calls in bad weather.

mod adversary;
mod caller;
mod client;
mod climate;
mod credentials;
mod manner;
mod mirror;
mod office;
mod phone;
mod report;
mod security;

use std::cell::RefCell;
use std::rc::Rc;

use crate::judge::{Court, Plot, enforce, must};
use crate::{Agent, Dice, Sent, World};

use adversary::plan_attack;
use climate::Climate;
use office::Office;
use security::Adversary;

pub use report::Report;

/// One seed's world.
pub(crate) struct Storm {
    world: World,
    court: Court,
    report: Rc<RefCell<Report>>,
    seed: u64,
    /// The adversary's addresses.
    limbs: Vec<Agent>,
    /// Whether nothing that it does may be seen by others.
    is_outsider: bool,
}

/// How many attacks come after the cores were started anew.
const LATE_ATTACKS: u64 = 20;

impl Storm {
    /// Builds the office of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, true)
    }

    /// The same office, where the adversary may be there and do nothing.
    fn with(seed: u64, attacks: bool) -> Self {
        let mut dice = Dice::new(seed);
        let climate = Climate::draw(&mut dice);
        let world = World::build(climate.workers, seed, |settings| climate.settle_in(settings));
        // Each agent has a machine of its own, which a phone may listen on at another port than it calls from.
        world.is_in([10, 0, 0]);
        let report = Rc::new(RefCell::new(Report::default()));
        let plot = Plot::default();
        let mut office = Office { world: &world, workers: climate.workers, security: climate.security, dice };
        let (trusted, mallory) = office.open(&report);
        let limbs = office.let_in_adversary(&plot, &report, mallory, attacks);
        let cast = office.cast(&limbs, &trusted, climate.loses_letters());
        let court = Court::new(climate.terms(), plot, cast);
        world.is_watched_by(court.clone());
        let Office { mut dice, security, .. } = office;
        let others = (0..world.agents()).filter(|agent| !limbs.iter().any(|limb| limb.id() == *agent));
        climate.break_out(&world, others, &mut dice);
        Self { world, court, report, seed, limbs, is_outsider: security.adversary == Adversary::Outsider }
    }

    /// Lets it blow over. Panics if anything is broken.
    pub(crate) fn run(&self) -> Report {
        let settled = self.world.settled();
        self.court.close(settled);
        if self.is_outsider {
            self.compare();
        }
        // What was captured before a restart must be as worthless after it.
        if !self.limbs.is_empty() {
            self.world.restart();
            let limbs = self.limbs.iter().cycle();
            (0..LATE_ATTACKS).zip(limbs).for_each(|(second, limb)| plan_attack(limb, second * 1_000_000));
        }
        let seen = self.court.adjourn(self.world.settled());
        // The callers tell how their calls ended when they leave.
        self.world.is_deserted();
        let mut report = self.report.take();
        report.seeds = 1;
        report.seen = seen;
        report.messages = self.world.messages() as u64;
        report
    }

    /// Issue 12, "honest calls are not disturbed": with an adversary that has no account, everybody else sends and gets what
    /// they would without it, at the same microsecond.
    fn compare(&self) {
        let quiet = Self::with(self.seed, false);
        quiet.world.give_up();
        let _ = quiet.world.settled();
        let (attacked, undisturbed) = (self.timeline(), quiet.timeline());
        let differs = attacked.iter().zip(&undisturbed).find(|(a, b)| a != b);
        let longer = attacked.len().max(undisturbed.len()) > attacked.len().min(undisturbed.len());
        let verdict = must(differs.is_none() && !longer, || format!("{differs:?}"));
        enforce("others_see_nothing_of_an_outsider", differs.map_or("", |(a, _)| &a.2), verdict);
    }

    /// What everybody but the adversary sent and got, and when.
    fn timeline(&self) -> Vec<(u64, usize, String, String)> {
        let wire = self.world.wire();
        let wire = wire.borrow();
        let others = wire.iter().filter(|sent| !self.limbs.iter().any(|limb| limb.id() == sent.agent));
        let line = |sent: &Sent| {
            let Sent { micros, agent, by_server, sip, copies } = sent;
            let what = format!("{by_server} {copies} {} {}", sip.start, sip.value("CSeq"));
            (*micros, *agent, sip.value("Call-ID").to_owned(), what)
        };
        others.map(line).collect()
    }

    /// All messages of a call, in order, once something is broken.
    pub(crate) fn ladder(&self, call_id: &str) -> String {
        self.world.give_up();
        self.world.ladder(|other| other == call_id)
    }
}
