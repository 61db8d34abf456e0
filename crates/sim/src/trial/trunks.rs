//! The trunks of a trial: two providers that challenge, fail, redirect or do not respond, like phones; and call.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use location::Aor;
use proxy::{Account, Dialling, Login, Outgoing, Settings, Shows, Trunk};

use super::caller::{Caller, Intent};
use super::gate::{Gate, LOGIN};
use super::population::{MINUTE, Population};
use super::report::Report;
use super::security::{Adversary, Security};
use crate::judge::{LINES, TrunkModel, TrunksModel};
use crate::{Agent, DOMAIN, Random};

/// So many of a thousand seeds in which users have passwords have trunks.
const TRUNKS: u64 = 400;

/// The user with a number, and the number.
const NUMBERED: &str = "tina";
const NUMBER: &str = "+4989112";

/// What users dial. The last one is an emergency number.
const DIALLED: [&str; 5] = ["0891234", "0891234", "0301234567", "00441234", "112"];

/// The number that rules of the office name. Its line has one trunk.
pub(super) const OUTSIDE: &str = "00441234";

/// Users who may dial one class only: one that calls, and one whose calls are forwarded.
const RESTRICTED: [(&str, &str); 2] = [("alice", "national"), ("bob", "national")];

/// What a trunk calls: the number in each form, numbers that may exist, and what it must not reach.
const CALLED: [&str; 12] =
    [NUMBER, NUMBER, "4989112", "700", "701", "bob", "carol", "600", "0891234", "00441234", "112", "+441234"];

/// How many calls each trunk makes.
const CALLS: u64 = 5;

/// The trunks of a trial, with random numbers of their own.
pub(super) struct TrialTrunks {
    pub(super) model: TrunksModel,
    shows: Shows,
    limits_calls: bool,
    random: Random,
}

impl TrialTrunks {
    /// The trunks of a seed, if it has any.
    pub(super) fn draw(seed: u64, security: Security) -> Option<Self> {
        let mut random = Random::new(seed ^ 0x7472_756e_6b73);
        let exists = random.chance(TRUNKS) && security.required;
        // The judge knows attacks by their From, which the trunk must get unchanged then.
        let shows_from = random.chance(500) && security.adversary == Adversary::Absent;
        let shows = if shows_from { Shows::From } else { Shows::Asserted };
        // An adversary that reads the identifiers of a call of others and has an account can end its count.
        let limits_calls = security.adversary != Adversary::User;
        exists.then(|| Self { model: TrunksModel::default(), shows, limits_calls, random })
    }

    /// What a caller dials, if it dials a number.
    pub(super) fn dialled(&mut self) -> Option<&'static str> {
        self.random.chance(300).then(|| DIALLED[self.random.index(DIALLED.len())])
    }

    /// A number to which a phone redirects calls, which must not be dialled.
    pub(super) fn redirection(&mut self) -> Option<String> {
        self.random.chance(200).then(|| format!("sip:{}@{DOMAIN}", DIALLED[self.random.index(DIALLED.len())]))
    }

    fn trunk(&mut self, agent: &Agent, caller: &Agent) -> TrunkModel {
        let contact = agent.contact();
        let server = contact.split_once('@').map_or("", |(_, server)| server).to_owned();
        let max_calls = [None, Some(1), Some(3)][self.random.index(3)];
        // The last trunk has no limit.
        let max_calls = max_calls.filter(|_| self.limits_calls && self.model.trunks.is_empty());
        TrunkModel { agent: agent.id(), caller: caller.id(), server, has_login: self.random.chance(800), max_calls }
    }

    fn apply_to(&self, agents: &[[Agent; 2]], settings: &mut Settings) {
        let network = |agent: &Agent| format!("{}/32", agent.address.ip()).parse().expect("a network");
        let trunk = |(number, (model, agents)): (usize, (&TrunkModel, &[Agent; 2]))| {
            let login = || Login { user: LOGIN.user.into(), password: LOGIN.password.into() };
            Arc::new(Trunk {
                name: format!("trunk{number}").into(),
                server: format!("sip:{}", model.server).into(),
                networks: agents.iter().map(network).collect(),
                server_addresses: Vec::new(),
                shows: self.shows,
                caller_id: Some("+4989100".into()),
                max_calls: model.max_calls,
                login: model.has_login.then(login),
                registers: false,
                probe: None,
            })
        };
        settings.trunks.all = self.model.trunks.iter().zip(agents).enumerate().map(trunk).collect();
        let outgoing = LINES.map(|line| Outgoing {
            prefix: line.prefix.into(),
            strip: line.strip,
            add: line.add.into(),
            digits: None,
            class: line.class.map(Into::into),
            trunks: settings.trunks.all.iter().take(line.trunks).cloned().collect(),
            is_emergency: line.class.is_none(),
        });
        settings.trunks.outgoing = outgoing.into_iter().collect();
        for (user, class) in &self.model.classes {
            let user = Aor::new(user.as_bytes(), DOMAIN.as_bytes());
            let dialling = Dialling { classes: Some(vec![(*class).into()]), caller_id: Some("+4989111".into()) };
            let known = settings.accounts.find(&user).cloned().unwrap_or_default();
            settings.accounts.insert(user, Account { dialling: Some(Box::new(dialling)), ..known });
        }
        let aor = |name: &str| Aor::new(name.as_bytes(), DOMAIN.as_bytes());
        settings.accounts.add_number(&aor(NUMBER), &aor(NUMBERED));
    }
}

impl Population<'_> {
    /// Adds the phones of the user with a number, if there are trunks that call it.
    pub(super) fn add_numbered_user(&mut self) {
        let phones = if self.trunks.is_some() { 2 } else { 0 };
        for number in 0..phones {
            let phone = self.agent(&format!("{NUMBERED}/{number}"));
            self.add_phone(&phone, true, "");
        }
    }

    /// Adds the agents of the trunks, and the settings.
    pub(super) fn open_trunks(&mut self, report: &Rc<RefCell<Report>>) -> Vec<usize> {
        let Some(mut trunks) = self.trunks.take() else { return Vec::new() };
        let mut agents = Vec::new();
        for number in 0..2 {
            let agent = self.agent(&format!("trunk/{number}"));
            let gate = Gate::draw(&mut trunks.random);
            let mut phone = self.phone(&agent, 0, "", None);
            phone.redirects_to(format!("sip:00999@{DOMAIN}"));
            agent.acts_as(match gate {
                Some(gate) => phone.with_gate(gate),
                None => phone,
            });
            let caller = self.agent(&format!("caller/{number}"));
            let mut behaviour = Caller::new(caller.clone(), Rc::clone(report), None);
            for _ in 0..CALLS {
                let intent = call(&caller, &mut trunks.random);
                caller.set_timer(trunks.random.below(MINUTE), behaviour.plan(intent));
            }
            caller.acts_as(behaviour);
            let model = trunks.trunk(&agent, &caller);
            trunks.model.trunks.push(model);
            agents.push([agent, caller]);
        }
        trunks.model.classes = RESTRICTED.to_vec();
        let offices = self.office.iter().flat_map(|office| office.model.numbers.keys());
        trunks.model.numbers = [NUMBER].into_iter().map(str::to_owned).chain(offices.cloned()).collect();
        self.sim.reconfigure(|settings| trunks.apply_to(&agents, settings));
        self.trunks = Some(trunks);
        agents.iter().flatten().map(Agent::id).collect()
    }
}

/// A call from a trunk.
fn call(caller: &Agent, random: &mut Random) -> Intent {
    let uri = format!("sip:{}@{DOMAIN}", CALLED[random.index(CALLED.len())]);
    let request = caller.request(if random.chance(900) { "INVITE" } else { "MESSAGE" }, &uri);
    let from = request.value("From").replace(DOMAIN, "provider.example");
    Intent {
        hangs_up: random.chance(200).then(|| random.below(20_000_000)).filter(|_| request.what() == "INVITE"),
        request: request.set("From", from).set("Max-Forwards", 8),
        reason: None,
        forgets_ack: false,
        talks: random.chance(800).then(|| random.below(30_000_000)),
        holds: random.chance(200),
    }
}
