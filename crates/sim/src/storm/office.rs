//! The people of a storm: callers, phones, mirrors and the adversary, and what each of them means to do.

use std::cell::RefCell;
use std::rc::Rc;

use super::adversary::{MALLORY, Mind, plan_attack};
use super::caller::{Caller, Intent};
use super::credentials::Credentials;
use super::mirror::Mirror;
use super::phone::Phone;
use super::report::Report;
use super::security::{Adversary, Security, USERS};
use crate::judge::{Cast, Plot, TWO_FLOWS};
use crate::{Agent, DOMAIN, Dice, Sip, World};

/// How many requests the callers of one storm mean to make.
const CALLS: u64 = 50;

const MINUTE: u64 = 60_000_000;

/// Three users, then who has no account: a gateway, which a trusted network may have, and a stranger.
const CALLERS: [&str; 5] = ["alice", "anna", "adam", "gateway", "stranger"];

/// Its place among the callers, behind all users.
const GATEWAY: usize = 3;

/// How many the adversary's caller means to make.
const OWN_CALLS: u64 = 6;

/// How many attacks there are at least; at most twice as many.
const ATTACKS: u64 = 50;

/// The phone of the adversary's user, and what it proved itself with.
pub(super) type Mallory = (Agent, Option<Credentials>);

/// The people of a storm.
pub(super) struct Office<'w> {
    pub(super) world: &'w World,
    pub(super) workers: u8,
    pub(super) security: Security,
    pub(super) dice: Dice,
}

impl Office<'_> {
    /// Everybody but the adversary. Returns those in a trusted network.
    pub(super) fn open(&mut self, report: &Rc<RefCell<Report>>) -> (Vec<Agent>, Option<Mallory>) {
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
        let mirrors =
            [self.mirror("dave/mirror", ["dave", "bob", "carol"]), self.mirror("eve/mirror", ["eve", "bob", "dave"])];
        let phone = self.agent("dave/0");
        self.furnish(&phone, true, "");
        let callers = CALLERS.map(|name| self.agent(name));
        let trusted: Vec<Agent> = mirrors.iter().chain([&callers[GATEWAY]]).cloned().collect();
        let trusted = if self.security.trusts { trusted } else { Vec::new() };
        let networks = trusted.iter().map(|agent| agent.address.ip().into()).collect();
        self.world.reconfigure(|settings| settings.trusted = networks);
        // From here on no time passes before the storm.
        let mallory = self.mallory();
        // Outside, and not registered.
        let partner = self.agent("partner");
        let robot = self.phone(&partner, 0, "", None);
        partner.becomes(robot);
        let mut robots = callers
            .each_ref()
            .map(|caller| Caller::new(caller.clone(), Rc::clone(report), self.security.credentials(caller.user())));
        for _ in 0..CALLS {
            let which = if self.dice.happens(100) { self.dice.below(callers.len()) } else { self.dice.below(GATEWAY) };
            let intent = self.intent(&callers[which], &partner);
            let token = robots[which].plan(intent);
            callers[which].is_woken(self.dice.roll(MINUTE), token);
        }
        for (caller, robot) in callers.iter().zip(robots) {
            caller.becomes(robot);
        }
        (trusted, mallory)
    }

    /// The phone of the adversary's user, registered.
    fn mallory(&mut self) -> Option<Mallory> {
        if self.security.adversary != Adversary::User {
            return None;
        }
        let phone = self.agent("mallory/0");
        let mut credentials = self.security.credentials(MALLORY);
        register(&phone, "", credentials.as_mut());
        Some((phone, credentials))
    }

    /// The adversary's addresses. It may be there and not attack.
    pub(super) fn let_in_adversary(
        &mut self,
        plot: &Plot,
        report: &Rc<RefCell<Report>>,
        mallory: Option<Mallory>,
        attacks: bool,
    ) -> Vec<Agent> {
        if self.security.adversary == Adversary::Absent {
            return Vec::new();
        }
        let seed = self.dice.roll(u64::MAX);
        let mind = Mind::new(self.world.wire(), Dice::new(seed), plot.clone(), self.security);
        let mut limbs = Vec::new();
        if let Some((phone, credentials)) = mallory {
            let robot = self.phone(&phone, 2, "", credentials);
            phone.becomes(Mind::extend(&mind, &phone, Some(Box::new(robot))));
            let caller = self.agent("mallory/1");
            let mut robot = Caller::new(caller.clone(), Rc::clone(report), self.security.credentials(MALLORY));
            for _ in 0..OWN_CALLS {
                let intent = self.intent(&caller, &phone);
                caller.is_woken(self.dice.roll(MINUTE), robot.plan(intent));
            }
            caller.becomes(Mind::extend(&mind, &caller, Some(Box::new(robot))));
            limbs.extend([phone, caller]);
        }
        for name in ["rogue/0", "rogue/1", "rogue/2"] {
            let stream = name == "rogue/2";
            let rogue = if stream { self.world.tcp(name) } else { self.world.udp(name) };
            rogue.lands_on(self.dice.below(usize::from(self.workers)));
            rogue.becomes(Mind::extend(&mind, &rogue, None));
            limbs.push(rogue);
        }
        limbs.iter().for_each(Agent::is_apart);
        for _ in 0..ATTACKS + self.dice.roll(ATTACKS) {
            let (limb, at) = (self.dice.below(limbs.len()), self.dice.roll(MINUTE * 3 / 2));
            if attacks {
                plan_attack(&limbs[limb], at);
            }
        }
        limbs
    }

    /// Who is who, for the judge.
    pub(super) fn cast(&self, limbs: &[Agent], trusted: &[Agent], loses_letters: bool) -> Cast {
        let Security { required, strangers, foreign, adversary, .. } = self.security;
        Cast {
            users: self.world.users(),
            contacts: self.world.contacts(),
            adversaries: limbs.iter().map(Agent::id).collect(),
            trusted: trusted.iter().map(Agent::id).collect(),
            account: (adversary == Adversary::User).then_some(MALLORY),
            required,
            strangers,
            foreign,
            loses_letters,
            amplification: self.security.amplification(),
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
    fn mirror(&mut self, name: &str, users: [&str; 3]) -> Agent {
        let agent = self.world.udp(name);
        agent.lands_on(self.dice.below(usize::from(self.workers)));
        let mut credentials = self.security.credentials(agent.user());
        register(&agent, "", credentials.as_mut());
        // What passes it is on its way twice, and no packet lives longer than T4.
        agent.is_near();
        let user = users[self.dice.below(users.len())];
        agent.becomes(Mirror::new(agent.clone(), format!("sip:{user}@{DOMAIN}")));
        agent
    }

    /// A phone or one of its flows, with what will become of its registration in the next minute.
    fn furnish(&mut self, phone: &Agent, registered: bool, flow: &str) {
        let mut credentials = self.security.credentials(phone.user());
        if registered {
            register(phone, &format!("{}{flow}", self.preference()), credentials.as_mut());
        }
        let changes = self.dice.roll(4);
        let robot = self.phone(phone, changes, flow, credentials);
        phone.becomes(robot);
    }

    /// What acts there, and changes its registration so often.
    fn phone(&mut self, phone: &Agent, changes: u64, flow: &str, credentials: Option<Credentials>) -> Phone {
        let elsewhere = ["dave", "carol", "nobody", "bob"][self.dice.below(4)];
        let forges = if self.dice.happens(500) { 60 } else { 0 };
        let seed = self.dice.roll(u64::MAX);
        let elsewhere = format!("sip:{elsewhere}@{DOMAIN}");
        let mut robot = Phone::new(phone.clone(), Dice::new(seed), forges, elsewhere, credentials);
        let mut at = 0;
        for _ in 0..changes {
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
        robot
    }

    fn preference(&mut self) -> String {
        ["", ";q=1.0", ";q=0.5", ";q=0.5", ";q=0.1"][self.dice.below(5)].to_owned()
    }

    fn intent(&mut self, caller: &Agent, partner: &Agent) -> Intent {
        let outside = self.security.required && self.dice.happens(40);
        let to_adversary = self.security.adversary == Adversary::User && self.dice.happens(60);
        let dice = &mut self.dice;
        let user = match dice.roll(100) {
            _ if to_adversary => MALLORY,
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
        let uri = if outside { partner.contact() } else { format!("sip:{user}@{DOMAIN}") };
        let request = caller.request(method, &uri);
        let request = if USERS.contains(&caller.user()) {
            request
        } else {
            let from = request.value("From").replace(DOMAIN, "provider.example");
            request.set("From", from)
        };
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

/// A phone registers, and proves who it is if it has to. It works: there is no storm yet.
fn register(phone: &Agent, params: &str, credentials: Option<&mut Credentials>) {
    let request = phone.register().set("Contact", format_args!("<{}>{params}", phone.contact()));
    phone.sends(&request);
    if let Some(credentials) = credentials {
        credentials.learn(&phone.expects("401"));
        phone.sends(&credentials.sign(&phone.again(&request)).expect("there is a nonce"));
    }
    phone.expects("200");
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
