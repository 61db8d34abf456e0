//! A storm: an office of callers, phones and mirrors that a seed makes up, and a minute or two of calls in bad weather.

mod caller;
mod client;
mod climate;
mod manner;
mod mirror;
mod phone;
mod report;

use std::cell::RefCell;
use std::rc::Rc;

use crate::judge::{Court, TWO_FLOWS};
use crate::sim::{Agent, DOMAIN, Dice, Sip, World};

use caller::{Caller, Intent};
use climate::Climate;
use mirror::Mirror;
use phone::Phone;

pub(crate) use report::Report;

/// How many requests the callers of one storm mean to make.
const CALLS: u64 = 50;

const MINUTE: u64 = 60_000_000;

/// One seed's world.
pub(crate) struct Storm {
    world: World,
    court: Court,
    report: Rc<RefCell<Report>>,
}

impl Storm {
    /// Builds the office of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let climate = Climate::draw(&mut dice);
        let world = World::build(climate.workers, seed, |settings| climate.settle_in(settings));
        let report = Rc::new(RefCell::new(Report::default()));
        let mut office = Office { world: &world, workers: climate.workers, dice };
        office.open(&report);
        let court = Court::new(climate.terms());
        world.is_watched_by(court.clone());
        let Office { mut dice, .. } = office;
        climate.break_out(&world, world.agents(), &mut dice);
        Self { world, court, report }
    }

    /// Lets it blow over. Panics if anything is broken.
    pub(crate) fn run(&self) -> Report {
        let settled = self.world.settled();
        let seen = self.court.close(settled);
        // The callers tell how their calls ended when they leave.
        self.world.is_deserted();
        let mut report = self.report.take();
        report.seeds = 1;
        report.seen = seen;
        report.messages = self.world.messages() as u64;
        report
    }

    /// All messages of a call, in order, once something is broken.
    pub(crate) fn ladder(&self, call_id: &str) -> String {
        self.world.give_up();
        self.world.ladder(|other| other == call_id)
    }
}

/// The people of a storm.
struct Office<'w> {
    world: &'w World,
    workers: u8,
    dice: Dice,
}

impl Office<'_> {
    fn open(&mut self, report: &Rc<RefCell<Report>>) {
        let phones = 2 + self.dice.below(3);
        for number in 0..phones {
            let phone = self.agent(&format!("bob/{number}"));
            self.furnish(&phone, true, "");
        }
        // One phone at a time: calls to her need no transaction.
        for number in 0..2 {
            let phone = self.agent(&format!("carol/{number}"));
            self.furnish(&phone, number == 0, "");
        }
        // One phone that keeps two flows (RFC 5626).
        for number in 1..=2 {
            let flow = self.agent(&format!("{TWO_FLOWS}/{number}"));
            let instance = "<urn:uuid:00000000-0000-1000-8000-000a95a0e128>";
            self.furnish(&flow, true, &format!(";+sip.instance=\"{instance}\";reg-id={number}"));
        }
        self.mirror("dave/mirror", ["dave", "bob", "carol"]);
        let phone = self.agent("dave/0");
        self.furnish(&phone, true, "");
        self.mirror("eve/mirror", ["eve", "bob", "dave"]);
        let callers = ["alice", "anna", "adam"].map(|name| self.agent(name));
        let mut robots = callers.each_ref().map(|caller| Caller::new(caller.clone(), Rc::clone(report)));
        for _ in 0..CALLS {
            let which = self.dice.below(callers.len());
            let intent = self.intent(&callers[which]);
            let token = robots[which].plan(intent);
            callers[which].is_woken(self.dice.roll(MINUTE), token);
        }
        for (caller, robot) in callers.iter().zip(robots) {
            caller.becomes(robot);
        }
    }

    /// An agent on either transport, somewhere.
    fn agent(&mut self, name: &str) -> Agent {
        let stream = self.dice.happens(300);
        let agent = if stream { self.world.tcp(name) } else { self.world.udp(name) };
        agent.lands_on(self.dice.below(usize::from(self.workers)));
        agent
    }

    /// A proxy that sends what its user gets to one of these users.
    fn mirror(&mut self, name: &str, users: [&str; 3]) {
        let agent = self.world.udp(name);
        agent.lands_on(self.dice.below(usize::from(self.workers)));
        agent.registers();
        // What passes it is on its way twice, and no packet lives longer than T4.
        agent.is_near();
        let user = users[self.dice.below(users.len())];
        agent.becomes(Mirror::new(agent.clone(), format!("sip:{user}@{DOMAIN}")));
    }

    /// A phone or one of its flows, with what will become of its registration in the next minute.
    fn furnish(&mut self, phone: &Agent, registered: bool, flow: &str) {
        if registered {
            phone.registers_with(&format!("{}{flow}", self.preference()));
        }
        let elsewhere = ["dave", "carol", "nobody", "bob"][self.dice.below(4)];
        let forges = if self.dice.happens(500) { 60 } else { 0 };
        let seed = self.dice.roll(u64::MAX);
        let mut robot = Phone::new(phone.clone(), Dice::new(seed), forges, format!("sip:{elsewhere}@{DOMAIN}"));
        let mut at = 0;
        for _ in 0..self.dice.roll(4) {
            at += self.dice.roll(MINUTE / 2);
            let register = phone.register();
            let contact = phone.contact();
            let register = if self.dice.happens(400) {
                register.set("Contact", format_args!("<{contact}>;expires=0{flow}"))
            } else {
                register.set("Contact", format_args!("<{contact}>{}{flow}", self.preference()))
            };
            phone.is_woken(at, robot.plan(register));
        }
        phone.becomes(robot);
    }

    fn preference(&mut self) -> String {
        ["", ";q=1.0", ";q=0.5", ";q=0.5", ";q=0.1"][self.dice.below(5)].to_owned()
    }

    fn intent(&mut self, caller: &Agent) -> Intent {
        let dice = &mut self.dice;
        let user = match dice.roll(100) {
            0..58 => "bob",
            58..74 => "carol",
            74..84 => TWO_FLOWS,
            84..96 => "dave",
            96..99 => "eve",
            _ => "nobody",
        };
        let method = match dice.roll(100) {
            0..85 => "INVITE",
            85..93 => "MESSAGE",
            93..97 => "SUBSCRIBE",
            _ => "OPTIONS",
        };
        // RFC 3261 9.1: there is nothing to cancel but an INVITE.
        let patience = if method == "INVITE" { 350 } else { 0 };
        let request = caller.request(method, &format!("sip:{user}@{DOMAIN}"));
        Intent {
            request: embellish(request, user, dice),
            hangs_up: dice
                .happens(patience)
                .then(|| if dice.happens(300) { dice.roll(600_000) } else { dice.roll(40_000_000) }),
            reason: [None, None, Some("SIP;cause=200;text=\"elsewhere\""), Some("Q.850;cause=16")][dice.below(4)],
            forgets_ack: dice.happens(20),
            talks: dice.happens(700).then(|| dice.roll(30_000_000)),
            holds: dice.happens(150),
        }
    }
}

/// Headers that a proxy has to count with, and a body.
fn embellish(request: Sip, user: &str, dice: &mut Dice) -> Sip {
    let request = match dice.roll(100) {
        // It would go round as long as its hops last.
        _ if matches!(user, "dave" | "eve") => request.set("Max-Forwards", 2 + dice.roll(9)),
        0..5 => request.set("Max-Forwards", dice.roll(4)),
        5..10 => request.without("Max-Forwards"),
        _ => request,
    };
    let request = match dice.roll(100) {
        0..15 => request.with("Max-Breadth", dice.roll(6)),
        15..18 => request.with("Max-Breadth", 100),
        _ => request,
    };
    let request = if dice.happens(200) { request.with("Supported", "199") } else { request };
    if dice.happens(300) { request.with("Subject", "lunch").with_body("v=0\r\n") } else { request }
}
