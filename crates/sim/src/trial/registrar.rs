//! A trunk that plays registrar (RFC 3261 10.3): it challenges, grants any expiry, wants a longer one, fails, is silent, or
//! registers somebody else. Its name leads to one or two addresses.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use proxy::{Login, Shows, Trunk};

use super::client::TimerTokens;
use super::conditions::Conditions;
use super::gate::LOGIN;
use super::population::Population;
use crate::judge::{LEAST_EXPIRY, RegistrarModel};
use crate::{Agent, Behaviour, Fault, Random, Reaction, Simulation, Sip, quoted};

/// So many of a thousand seeds with trunks have one that the server registers at.
const REGISTRARS: u64 = 500;

/// The name of the trunk, and of its host.
const NAME: &str = "registrar";
const HOST: &str = "registrar.example";

/// When the server ends its registration, at the latest, in seconds: the longest pause after that is over before the trial.
const LONGEST: u64 = 1500;

/// One address of the registrar.
struct Registrar {
    agent: Agent,
    random: Random,
    /// Whether it challenges requests.
    challenges: bool,
    /// So many of a thousand requests fail in some way.
    fails: u64,
    /// The number of its newest nonce.
    nonce: u64,
    /// The last response to each request; `None` while it is silent.
    responses: HashMap<String, Option<Rc<Sip>>>,
    timers: TimerTokens<usize>,
    delayed: Vec<Rc<Sip>>,
}

impl Registrar {
    fn challenge(&self) -> String {
        format!("Digest realm=\"{HOST}\", nonce=\"n{}\", algorithm=SHA-256, qop=\"auth\"", self.nonce)
    }

    /// A 401, if the credentials are missing, stale or, as it says now and then, wrong.
    fn refusal(&mut self, request: &Sip) -> Option<Sip> {
        let credentials = request.value("Authorization");
        let is_newest = quoted(credentials, "nonce") == format!("n{}", self.nonce);
        if is_newest {
            let count = credentials.rsplit("nc=").next().and_then(|count| u32::from_str_radix(count, 16).ok());
            let cnonce = quoted(credentials, "cnonce");
            let right = LOGIN.response(&self.challenge(), request, count.expect("a nonce count"), cnonce);
            assert_eq!(quoted(credentials, "response"), right, "wrong credentials\n{request}");
        }
        if !self.challenges || is_newest && !self.random.chance(100) {
            return None;
        }
        let stale = if credentials.is_empty() || self.random.chance(200) { "" } else { ", stale=true" };
        self.nonce += 1;
        Some(self.agent.answer(request, 401).with("WWW-Authenticate", self.challenge() + stale))
    }

    fn response(&mut self, request: &Sip) -> Option<Sip> {
        if self.random.chance(80) {
            return None;
        }
        if let Some(refusal) = self.refusal(request) {
            return Some(refusal);
        }
        let own = request.value("Contact");
        let ok = self.agent.answer(request, 200);
        if request.value("Expires") == "0" {
            return Some(ok);
        }
        if self.random.chance(self.fails) {
            return Some(self.failure(request, &ok));
        }
        let granted = LEAST_EXPIRY + self.random.below(600 - LEAST_EXPIRY);
        Some(match self.random.below(10) {
            // RFC 3261 10.2.4: the expiry of the whole response, or what was asked for.
            0 => ok.with("Contact", own).with("Expires", granted),
            1 => ok,
            2 => ok
                .with("Contact", "<sip:other@192.0.2.77>;expires=7")
                .with("Contact", format_args!("{own};expires={granted}")),
            _ => ok.with("Contact", format_args!("{own};expires={granted}")),
        })
    }

    fn failure(&mut self, request: &Sip, ok: &Sip) -> Sip {
        let status = [423, 423, 503, 500, 403, 302, 408, 200][self.random.index(8)];
        let response = self.agent.answer(request, status);
        match status {
            423 => response.with("Min-Expires", self.random.below(1200)),
            500 | 503 if self.random.chance(400) => response.with("Retry-After", self.random.below(300)),
            // Somebody else is registered.
            200 => ok.clone().with("Contact", "<sip:other@192.0.2.77>;expires=600"),
            _ => response,
        }
    }
}

impl Behaviour for Registrar {
    fn on_message(&mut self, sip: &Rc<Sip>, reaction: &mut Reaction) {
        if !sip.is_request() || sip.what() == "ACK" {
            return;
        }
        if let Some(known) = self.responses.get(sip.branch()) {
            return known.iter().for_each(|response| reaction.resend(response));
        }
        // Others may find it by its name.
        let response = if sip.what() == "REGISTER" { self.response(sip) } else { Some(self.agent.answer(sip, 403)) };
        let response = response.map(Rc::new);
        self.responses.insert(sip.branch().to_owned(), response.clone());
        let Some(response) = response else { return };
        if self.random.chance(300) {
            self.delayed.push(response);
            let token = self.timers.add(self.delayed.len() - 1);
            return reaction.set_timer(self.random.below(6_000_000), token);
        }
        reaction.resend(&response);
    }

    fn on_timer(&mut self, token: u64, reaction: &mut Reaction) {
        reaction.resend(&self.delayed[self.timers.what(token)]);
    }
}

impl Population<'_> {
    /// Adds a trunk that the server registers at, in some seeds with trunks.
    pub(super) fn add_registrar(&self, conditions: &Conditions, seed: u64) -> Option<RegistrarModel> {
        let mut random = Random::new(seed ^ 0x7265_6769_7374);
        if self.trunks.is_none() || !random.chance(REGISTRARS) {
            return None;
        }
        let challenges = random.chance(800);
        let mut agents = Vec::new();
        for number in 0..1 + random.index(2) {
            let agent = self.sim.udp(&format!("{NAME}/{number}"));
            agent.acts_as(Registrar {
                agent: agent.clone(),
                random: Random::new(random.below(u64::MAX)),
                challenges,
                fails: [0, 100, 300, 900][random.index(4)],
                nonce: 0,
                responses: HashMap::new(),
                timers: TimerTokens::new(),
                delayed: Vec::new(),
            });
            agents.push(agent);
        }
        let has_name = agents.len() > 1 || random.chance(300);
        let server = if has_name { HOST.to_owned() } else { agents[0].address.to_string() };
        self.sim.dns(HOST, &agents.iter().map(|agent| agent.address).collect::<Vec<_>>());
        let network = |agent: &Agent| format!("{}/32", agent.address.ip()).parse().expect("a network");
        let trunk = Trunk {
            name: NAME.into(),
            server: format!("sip:{server}").into(),
            networks: agents.iter().map(network).collect(),
            server_addresses: Vec::new(),
            shows: Shows::Asserted,
            caller_id: None,
            max_calls: None,
            login: Some(Login { user: LOGIN.user.into(), password: LOGIN.password.into() }),
            registers: true,
            probe: None,
        };
        self.sim.reconfigure(|settings| settings.trunks.all.push(trunk.into()));
        let ends = (60 + random.below(LONGEST)) * 1_000_000;
        self.sim.inject(Duration::from_micros(ends), Fault::EndRegistrations);
        Some(RegistrarModel {
            agents: agents.iter().map(Agent::id).collect(),
            ends: u64::try_from(self.sim.elapsed().as_micros()).expect("a short time") + ends,
            dns: has_name.then(|| conditions.longest_dns()),
        })
    }
}

/// The server does not register at trunks any more.
pub(super) fn close_registrar(sim: &Simulation) {
    sim.reconfigure(|settings| {
        for trunk in &mut settings.trunks.all {
            *trunk = Arc::new(Trunk { registers: false, ..Trunk::clone(trunk) });
        }
    });
}
