//! The agents of a trial: callers, phones, looping proxies and the adversary, and what each of them will do.

use std::cell::RefCell;
use std::rc::Rc;

use super::adversary::{AdversaryState, MALLORY, plan_attack};
use super::caller::{Caller, Intent};
use super::credentials::Credentials;
use super::late_phone::LATE_USER;
use super::looping_proxy::LoopingProxy;
use super::office::TrialOffice;
use super::phone::Phone;
use super::report::Report;
use super::security::{Adversary, Security, USERS};
use super::sites::SITES;
use super::trunks::TrialTrunks;
use crate::judge::{AttackLog, Roles, Site, TWO_FLOWS};
use crate::{Agent, DOMAIN, Random, Simulation, Sip};

/// How many requests the callers of a trial make.
const CALLS: u64 = 50;

pub(super) const MINUTE: u64 = 60_000_000;

/// Three users and two callers without an account: a gateway, which may be in a trusted network, and a stranger.
const CALLERS: [&str; 5] = ["alice", "anna", "adam", "gateway", "stranger"];

/// The index of the gateway, the first caller without an account.
const GATEWAY: usize = 3;

/// How many of a thousand flows are on TCP: only a connection can break.
const FLOWS_ON_STREAMS: u64 = 700;

/// So many of a thousand calls to a user with several phones have one more, which registers after the ring time.
const CALLS_WITH_A_LATE_PHONE: u64 = 200;

/// How many requests the adversary's caller makes.
const OWN_CALLS: u64 = 6;

/// There are at least this many attacks, and at most twice as many.
const ATTACKS: u64 = 50;

/// The phone of the adversary's user, with its credentials.
pub(super) type Mallory = (Agent, Option<Credentials>);

/// Creates the agents of a trial.
pub(super) struct Population<'w> {
    pub(super) sim: &'w Simulation,
    pub(super) workers: u8,
    pub(super) security: Security,
    pub(super) random: Random,
    /// How long a group of phones rings, in microseconds.
    pub(super) ring_time: u64,
    /// The host names with several servers.
    pub(super) sites: Vec<Site>,
    /// The rules of the office, in some seeds.
    pub(super) office: Option<TrialOffice>,
    /// The trunks, in some seeds.
    pub(super) trunks: Option<TrialTrunks>,
}

/// What the other agents of a trial are.
pub(super) struct Others {
    pub(super) trusted: Vec<Agent>,
    pub(super) trunks: Vec<usize>,
    pub(super) mallory: Option<Mallory>,
}

impl Population<'_> {
    /// Adds all agents but the adversary.
    pub(super) fn add_agents(&mut self, report: &Rc<RefCell<Report>>) -> Others {
        let phones = 2 + self.random.index(3);
        for number in 0..phones {
            let phone = self.agent(&format!("bob/{number}"));
            self.add_phone(&phone, true, "");
        }
        // At most one phone is registered at a time, so that calls to this user are stateless.
        for number in 0..2 {
            let phone = self.agent(&format!("carol/{number}"));
            self.add_phone(&phone, number == 0, "");
        }
        // One phone that keeps two flows (RFC 5626).
        for number in 1..=2 {
            let flow = self.agent_on(&format!("{TWO_FLOWS}/{number}"), FLOWS_ON_STREAMS);
            let instance = "<urn:uuid:00000000-0000-1000-8000-000a95a0e128>";
            self.add_phone(&flow, true, &format!(";+sip.instance=\"{instance}\";reg-id={number}"));
        }
        let looping_proxies = [
            self.looping_proxy("dave/proxy", ["dave", "bob", "carol"]),
            self.looping_proxy("eve/proxy", ["eve", "bob", "dave"]),
        ];
        let phone = self.agent("dave/0");
        self.add_phone(&phone, true, "");
        for user in SITES {
            let site = self.add_site(user);
            self.sites.push(site);
        }
        self.add_numbered_user();
        self.register_name();
        let callers = CALLERS.map(|name| self.agent(name));
        let trusted: Vec<Agent> = looping_proxies.iter().chain([&callers[GATEWAY]]).cloned().collect();
        let trusted = if self.security.trusts { trusted } else { Vec::new() };
        let networks = trusted.iter().map(|agent| agent.address.ip().into()).collect();
        self.sim.reconfigure(|settings| settings.trusted = networks);
        // No simulated time passes from here until the calls begin.
        let mallory = self.mallory();
        // An agent in another domain, which is not registered.
        let partner = self.agent("partner");
        let behaviour = self.phone(&partner, 0, "", None);
        partner.acts_as(behaviour);
        self.open_office(&partner);
        let trunks = self.open_trunks(report);
        let mut behaviours = callers
            .each_ref()
            .map(|caller| Caller::new(caller.clone(), Rc::clone(report), self.security.credentials(caller.user())));
        let late_user = format!("sip:{LATE_USER}@{DOMAIN}");
        let mut late_calls = Vec::new();
        for _ in 0..CALLS {
            let which =
                if self.random.chance(100) { self.random.index(callers.len()) } else { self.random.index(GATEWAY) };
            let intent = self.intent(&callers[which], &partner);
            let at = self.random.below(MINUTE);
            if intent.request.uri() == late_user && self.random.chance(CALLS_WITH_A_LATE_PHONE) {
                late_calls.push(at);
            }
            callers[which].set_timer(at, behaviours[which].plan(intent));
        }
        self.add_late_phone(&late_calls);
        for (caller, behaviour) in callers.iter().zip(behaviours) {
            caller.acts_as(behaviour);
        }
        Others { trusted, trunks, mallory }
    }

    /// Draws the rules of the office, if the seed has any. A caller gets a phone, and the voicemail server is another
    /// agent that is not registered.
    fn open_office(&mut self, partner: &Agent) {
        let Some(mut office) = self.office.take() else { return };
        let phone = self.agent("anna/0");
        self.add_phone(&phone, true, "");
        let voicemail = self.agent_on("vm", 0);
        let behaviour = self.phone(&voicemail, 0, "", None);
        voicemail.acts_as(behaviour);
        office.dials = self.trunks.is_some();
        office.draw_rules(&partner.contact(), &voicemail.contact());
        self.sim.reconfigure(|settings| office.apply_to(settings));
        self.office = Some(office);
    }

    /// Registers the name of the first site as a Contact of its user. A registration over a stream would lead to the
    /// connection instead.
    fn register_name(&mut self) {
        let Site { user, uri, .. } = self.sites[0].clone();
        let registrar = self.agent_on(&format!("{user}/name"), 0).named(&uri);
        let mut credentials = self.security.credentials(registrar.user());
        register(&registrar, &self.preference(), credentials.as_mut());
        let changes = self.random.below(3);
        let behaviour = self.phone(&registrar, changes, "", credentials);
        registrar.acts_as(behaviour);
    }

    /// The registered phone of the adversary's user.
    fn mallory(&mut self) -> Option<Mallory> {
        if self.security.adversary != Adversary::User {
            return None;
        }
        let phone = self.agent("mallory/0");
        let mut credentials = self.security.credentials(MALLORY);
        register(&phone, "", credentials.as_mut());
        Some((phone, credentials))
    }

    /// Adds the agents of the adversary. Without `attacks` they do nothing.
    pub(super) fn add_adversary(
        &mut self,
        attack_log: &AttackLog,
        report: &Rc<RefCell<Report>>,
        mallory: Option<Mallory>,
        attacks: bool,
    ) -> Vec<Agent> {
        if self.security.adversary == Adversary::Absent {
            return Vec::new();
        }
        let seed = self.random.below(u64::MAX);
        let state = AdversaryState::new(self.sim.wire(), Random::new(seed), attack_log.clone(), self.security);
        let mut addresses = Vec::new();
        if let Some((phone, credentials)) = mallory {
            let behaviour = self.phone(&phone, 2, "", credentials);
            phone.acts_as(AdversaryState::add_address(&state, &phone, Some(Box::new(behaviour))));
            let caller = self.agent("mallory/1");
            let mut behaviour = Caller::new(caller.clone(), Rc::clone(report), self.security.credentials(MALLORY));
            for _ in 0..OWN_CALLS {
                let intent = self.intent(&caller, &phone);
                caller.set_timer(self.random.below(MINUTE), behaviour.plan(intent));
            }
            caller.acts_as(AdversaryState::add_address(&state, &caller, Some(Box::new(behaviour))));
            addresses.extend([phone, caller]);
        }
        for name in ["rogue/0", "rogue/1", "rogue/2"] {
            let stream = name == "rogue/2";
            let rogue = if stream { self.sim.tcp(name) } else { self.sim.udp(name) };
            rogue.reaches_worker(self.random.index(usize::from(self.workers)));
            rogue.acts_as(AdversaryState::add_address(&state, &rogue, None));
            addresses.push(rogue);
        }
        addresses.iter().for_each(Agent::has_own_random);
        for _ in 0..ATTACKS + self.random.below(ATTACKS) {
            let (address, at) = (self.random.index(addresses.len()), self.random.below(MINUTE * 3 / 2));
            if attacks {
                plan_attack(&addresses[address], at);
            }
        }
        addresses
    }

    /// What each agent is, for the judge.
    pub(super) fn roles(&self, addresses: &[Agent], others: &Others, loses_core_messages: bool) -> Roles {
        let Security { required, strangers, foreign, adversary, .. } = self.security;
        Roles {
            users: self.sim.users(),
            contacts: self.sim.contacts(),
            adversaries: addresses.iter().map(Agent::id).collect(),
            trusted: others.trusted.iter().map(Agent::id).collect(),
            trunks: others.trunks.clone(),
            watchers: Vec::new(),
            account: (adversary == Adversary::User).then_some(MALLORY),
            required,
            strangers,
            foreign,
            loses_core_messages,
            amplification: self.security.amplification(),
        }
    }

    /// An agent on UDP or TCP whose packets arrive at a random worker.
    pub(super) fn agent(&mut self, name: &str) -> Agent {
        self.agent_on(name, 300)
    }

    /// The same, on TCP in so many of a thousand cases.
    pub(super) fn agent_on(&mut self, name: &str, streams: u64) -> Agent {
        let stream = self.random.chance(streams);
        let agent = if stream { self.sim.tcp(name) } else { self.sim.udp(name) };
        agent.reaches_worker(self.random.index(usize::from(self.workers)));
        agent
    }

    /// A proxy that forwards the requests for its user to one of these users.
    fn looping_proxy(&mut self, name: &str, users: [&str; 3]) -> Agent {
        let agent = self.sim.udp(name);
        agent.reaches_worker(self.random.index(usize::from(self.workers)));
        let mut credentials = self.security.credentials(agent.user());
        register(&agent, "", credentials.as_mut());
        // What passes this proxy is on its way twice, and no packet may live longer than T4.
        agent.is_never_late();
        let user = users[self.random.index(users.len())];
        agent.acts_as(LoopingProxy::new(agent.clone(), format!("sip:{user}@{DOMAIN}")));
        agent
    }

    /// Adds a phone or one of its flows, and plans the changes of its registration.
    pub(super) fn add_phone(&mut self, phone: &Agent, registered: bool, flow: &str) {
        let mut credentials = self.security.credentials(phone.user());
        if registered {
            register(phone, &format!("{}{flow}", self.preference()), credentials.as_mut());
        }
        let changes = self.random.below(4);
        let behaviour = self.phone(phone, changes, flow, credentials);
        phone.acts_as(behaviour);
    }

    /// The behaviour of a phone that changes its registration so often.
    pub(super) fn phone(&mut self, phone: &Agent, changes: u64, flow: &str, credentials: Option<Credentials>) -> Phone {
        let elsewhere = ["dave", "carol", "nobody", "bob", "grace"][self.random.index(5)];
        let forges = if self.random.chance(500) { 60 } else { 0 };
        let seed = self.random.below(u64::MAX);
        let elsewhere = format!("sip:{elsewhere}@{DOMAIN}");
        let elsewhere = self.trunks.as_mut().and_then(TrialTrunks::redirection).unwrap_or(elsewhere);
        let mut behaviour = Phone::new(phone.clone(), Random::new(seed), forges, elsewhere, credentials);
        let mut at = 0;
        for _ in 0..changes {
            at += self.random.below(MINUTE / 2);
            let register = phone.register();
            let contact = phone.contact();
            let register = if self.random.chance(400) {
                register.set("Contact", format_args!("<{contact}>;expires=0{flow}"))
            } else {
                register.set("Contact", format_args!("<{contact}>{}{flow}", self.preference()))
            };
            phone.set_timer(at, behaviour.plan(register));
        }
        behaviour
    }

    fn preference(&mut self) -> String {
        ["", ";q=1.0", ";q=0.5", ";q=0.5", ";q=0.1"][self.random.index(5)].to_owned()
    }

    fn intent(&mut self, caller: &Agent, partner: &Agent) -> Intent {
        let outside = self.security.required && self.random.chance(if self.security.foreign { 150 } else { 40 });
        let to_adversary = self.security.adversary == Adversary::User && self.random.chance(60);
        let random = &mut self.random;
        let user = match random.below(100) {
            _ if to_adversary => MALLORY,
            0..52 => "bob",
            52..64 => SITES[0],
            64..74 => "carol",
            74..84 => TWO_FLOWS,
            84..96 => "dave",
            96..99 => "eve",
            _ => "nobody",
        };
        let dialled = if to_adversary { None } else { self.office.as_mut().and_then(TrialOffice::dialled) };
        let number = if to_adversary { None } else { self.trunks.as_mut().and_then(TrialTrunks::dialled) };
        let user = number.or(dialled).unwrap_or(user);
        let method = match random.below(100) {
            0..85 => "INVITE",
            85..93 => "MESSAGE",
            93..97 => "SUBSCRIBE",
            _ => "OPTIONS",
        };
        // RFC 3261 9.1: there is nothing to cancel but an INVITE.
        let cancelled = if method == "INVITE" { 350 } else { 0 };
        let uri = match (outside, self.security.foreign) {
            _ if number.is_some() => format!("sip:{user}@{DOMAIN}"),
            (true, true) if random.chance(700) => self.sites[1].uri.clone(),
            (true, _) => partner.contact(),
            (false, _) => format!("sip:{user}@{DOMAIN}"),
        };
        let request = caller.request(method, &uri);
        let request = if USERS.contains(&caller.user()) {
            request
        } else {
            let from = request.value("From").replace(DOMAIN, "provider.example");
            request.set("From", from)
        };
        Intent {
            request: add_headers(request, user, number.is_none() && dialled.is_some(), random),
            hangs_up: random
                .chance(cancelled)
                .then(|| if random.chance(300) { random.below(600_000) } else { random.below(40_000_000) }),
            reason: [None, None, Some("SIP;cause=200;text=\"elsewhere\""), Some("Q.850;cause=16")][random.index(4)],
            forgets_ack: random.chance(20),
            talks: random.chance(700).then(|| random.below(30_000_000)),
            holds: random.chance(150),
        }
    }
}

/// Registers a phone before the calls begin. Panics if this fails.
fn register(phone: &Agent, params: &str, credentials: Option<&mut Credentials>) {
    let request = phone.register().set("Contact", format_args!("<{}>{params}", phone.contact()));
    phone.sends(&request);
    if let Some(credentials) = credentials {
        credentials.on_response(&phone.expects("401"));
        phone.sends(&credentials.sign(&phone.again(&request)).expect("there is a nonce"));
    }
    phone.expects("200");
}

/// Adds headers that a proxy must process, and a body.
fn add_headers(request: Sip, user: &str, is_office: bool, random: &mut Random) -> Sip {
    let request = match random.below(100) {
        // It would loop until Max-Forwards is used up.
        _ if is_office || matches!(user, "dave" | "eve") => request.set("Max-Forwards", 2 + random.below(9)),
        0..5 => request.set("Max-Forwards", random.below(4)),
        5..10 => request.without("Max-Forwards"),
        _ => request,
    };
    let request = match random.below(100) {
        0..15 => request.with("Max-Breadth", random.below(6)),
        15..18 => request.with("Max-Breadth", 100),
        _ => request,
    };
    let request = match random.below(100) {
        0..15 => request.with("Supported", "199"),
        15..20 => request.with("Supported", "199, 100rel"),
        20..40 => request.with("Supported", "100rel"),
        _ => request,
    };
    if random.chance(300) { request.with("Subject", "lunch").with_body("v=0\r\n") } else { request }
}
