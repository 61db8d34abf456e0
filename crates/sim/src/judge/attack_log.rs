//! The attacks, what the server did because of them, and what is known of the agents: the facts that `attack.rs`
//! checks.
//!
//! It records and does not judge. The simulation knows the cause of each message that a core sends, so it is known what
//! an attack caused. If a timer is the cause, the branch tells it.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::{HashMap, HashSet};

use super::transactions::is_transaction;
use crate::{Cause, DOMAIN, Sip, uri_in};

/// The attacks. The adversary adds them and the judge reads them.
#[derive(Clone, Default)]
pub(crate) struct AttackLog(Rc<RefCell<HashMap<*const Sip, Attack>>>);

/// A message that is an attack.
struct Attack {
    /// Kept so that no other message gets this address in memory.
    _sip: Rc<Sip>,
    /// All probes of a group must get the same response.
    group: Option<Rc<str>>,
}

impl AttackLog {
    /// Records an attack. The responses to all attacks of a group must be the same.
    pub(crate) fn note(&self, sip: &Rc<Sip>, group: Option<String>) {
        let attack = Attack { _sip: Rc::clone(sip), group: group.map(Into::into) };
        self.0.borrow_mut().insert(Rc::as_ptr(sip), attack);
    }

    pub(super) fn has(&self, sip: &Rc<Sip>) -> bool {
        self.0.borrow().contains_key(&Rc::as_ptr(sip))
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    fn group(&self, sip: &Rc<Sip>) -> Option<Rc<str>> {
        self.0.borrow().get(&Rc::as_ptr(sip))?.group.clone()
    }
}

/// What each agent is, and what the settings allow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roles {
    /// The user of each agent.
    pub(crate) users: Vec<String>,
    /// The Contact of each agent, without parameters.
    pub(crate) contacts: Vec<String>,
    /// The agents of the adversary.
    pub(crate) adversaries: Vec<usize>,
    /// The agents in a trusted network.
    pub(crate) trusted: Vec<usize>,
    /// The agents of trunks.
    pub(crate) trunks: Vec<usize>,
    /// The agents that subscribe to calls. Their messages are between them and the server.
    pub(crate) watchers: Vec<usize>,
    /// The adversary's user, if it has an account.
    pub(crate) account: Option<&'static str>,
    /// Whether requests need credentials.
    pub(crate) required: bool,
    /// Whether strangers may call users.
    pub(crate) strangers: bool,
    /// Whether users may call other domains.
    pub(crate) foreign: bool,
    /// Whether messages between workers may be lost.
    pub(crate) loses_core_messages: bool,
    /// The longest response over UDP, as a multiple of its request.
    pub(crate) amplification: usize,
}

/// The user that a URI names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// A user of the local domain, whether it exists or not.
    Ours(&'a str),
    Foreign,
}

/// The user that a From, To or Request-URI names.
pub(super) fn named(value: &str) -> Named<'_> {
    let uri = uri_in(value);
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let rest = rest.split([';', '?']).next().unwrap_or_default();
    let (user, host) = rest.split_once('@').unwrap_or(("", rest));
    let host = host.split(':').next().unwrap_or_default();
    let ours = host.eq_ignore_ascii_case(DOMAIN) || ["sip.office.example", "192.0.2.1"].contains(&host);
    if ours { Named::Ours(user) } else { Named::Foreign }
}

/// Whether a message has credentials of this user. They are valid, because the adversary knows no password but its own.
pub(super) fn is_proven(sip: &Sip, user: &str) -> bool {
    let header = if sip.what() == "REGISTER" { "Authorization" } else { "Proxy-Authorization" };
    let name = format!("username=\"{user}\"");
    sip.values(header).any(|value| value.contains(&name))
}

/// What is known about the attacks.
#[derive(Default)]
pub(super) struct Attacks {
    pub(super) attack_log: AttackLog,
    pub(super) roles: Roles,
    /// Branches of requests that an attack caused.
    sent: HashMap<Rc<str>, Cause>,
    /// The response contexts among them.
    contexts: HashMap<Rc<str>, Cause>,
    /// The last attack of an agent with this branch.
    received: HashMap<(usize, Rc<str>), Cause>,
    /// Agent and branch of attacks that were forwarded.
    admitted: HashSet<(usize, Rc<str>)>,
    /// The other agents in each call that an attack began, by Call-ID.
    calls: HashMap<String, Vec<usize>>,
    /// The agents in each call of the adversary's user, by Call-ID.
    own: HashMap<String, Vec<usize>>,
    /// Dialogs of others by their Call-ID.
    dialogs: HashMap<String, Vec<Dialog>>,
    /// Call-IDs of its own calls that the adversary interferes with. The other invariants are not checked for them.
    tampered: HashSet<String>,
    /// Call-ID and From of attacks that were forwarded. Requests that other proxies derive from them belong to the
    /// attack too.
    passed: HashSet<(String, String)>,
    /// The responses to probes, by group; `None` until there is one.
    pub(super) probes: HashMap<Rc<str>, Vec<Probe>>,
}

/// A dialog of others: the tags and the agents of both sides.
struct Dialog {
    tags: [Rc<str>; 2],
    agents: [usize; 2],
}

/// A probe and its response.
type Probe = (Rc<Sip>, Option<Answered>);

/// What the sender of a probe learns: the status and the names of the headers.
pub(super) type Answered = (u16, Vec<String>);

impl Attacks {
    pub(super) fn new(attack_log: AttackLog, roles: Roles) -> Self {
        Self { attack_log, roles, ..Self::default() }
    }

    pub(super) fn is_adversary(&self, agent: usize) -> bool {
        self.roles.adversaries.contains(&agent)
    }

    /// The server received a message. True if it is an attack.
    pub(super) fn hears(&mut self, agent: usize, sip: &Rc<Sip>) -> bool {
        if !self.is_adversary(agent) || !self.attack_log.has(sip) {
            return false;
        }
        if self.own.contains_key(sip.value("Call-ID")) {
            self.tampered.insert(sip.value("Call-ID").to_owned());
        }
        if sip.is_request() {
            self.received.insert((agent, sip.branch().into()), (agent, Rc::clone(sip)));
            if let Some(group) = self.attack_log.group(sip) {
                self.probes.entry(group).or_default().push((Rc::clone(sip), None));
            }
        }
        true
    }

    /// The attack that caused a message of the server, if one did.
    pub(super) fn behind(&self, agent: Option<usize>, sip: &Sip, cause: Option<&Cause>) -> Option<Cause> {
        match cause {
            // A phone that registers may join a call to its user.
            Some((_, cause)) if cause.what() == "REGISTER" && sip.is_request() => self.of_branch(sip.branch()),
            Some((from, received)) if self.is_adversary(*from) && self.attack_log.has(received) => cause.cloned(),
            Some((_, received)) if !received.is_request() => self.of_branch(received.branch()),
            _ if sip.is_request() => self.of_branch(sip.branch()),
            Some(_) => None,
            None => {
                let agent = agent.filter(|agent| self.is_adversary(*agent))?;
                self.received.get(&(agent, sip.branch().into())).cloned()
            }
        }
    }

    /// The attack that caused the request with this branch.
    pub(super) fn of_branch(&self, branch: &str) -> Option<Cause> {
        self.sent.get(branch).or_else(|| self.contexts.get(context(branch)?)).cloned()
    }

    /// The server sent a request because of an attack. True if its branch is new.
    pub(super) fn request_left(&mut self, attack: &Cause, to: Option<usize>, sip: &Sip) -> bool {
        let (agent, cause) = attack;
        self.admitted.insert((*agent, cause.branch().into()));
        self.calls.entry_ref(sip.value("Call-ID")).or_default().extend(to);
        self.passed.insert((sip.value("Call-ID").to_owned(), sip.value("From").to_owned()));
        if let Some(context) = context(sip.branch()) {
            self.contexts.insert(context.into(), attack.clone());
        }
        self.sent.insert(sip.branch().into(), attack.clone()).is_none()
    }

    /// The server sent a response to an attack.
    pub(super) fn answered(&mut self, (_, attack): &Cause, sip: &Sip) {
        let Some(probes) = self.attack_log.group(attack).and_then(|group| self.probes.get_mut(&group)) else { return };
        let same = |(probe, answer): &&mut Probe| answer.is_none() && Rc::ptr_eq(probe, attack);
        let Some((_, answer)) = probes.iter_mut().find(same) else { return };
        let mut headers: Vec<String> =
            sip.lines().iter().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect();
        headers.sort();
        *answer = Some((sip.status().unwrap_or_default(), headers));
    }

    /// Whether this CANCEL or ACK belongs to a forwarded attack of the same agent.
    pub(super) fn follows_its_own(&self, (agent, sip): &Cause) -> bool {
        self.admitted.contains(&(*agent, sip.branch().into()))
    }

    /// A call that is not an attack has reached an agent. It counts as the adversary's own if it is for its user, which
    /// may have registered the phone of somebody else.
    pub(super) fn record_call(&mut self, request: &Sip, from: usize, to: Option<usize>) {
        let call_id = request.value("Call-ID");
        let is_to_user = matches!(named(request.uri()), Named::Ours(user) if self.roles.account == Some(user));
        let own = is_to_user || self.is_adversary(from) || to.is_some_and(|to| self.is_adversary(to));
        if own {
            self.own.entry_ref(call_id).or_default();
        }
        // A request that passes through another proxy reaches further agents.
        for calls in [&mut self.own, &mut self.calls] {
            calls.get_mut(call_id).into_iter().for_each(|agents| agents.extend([Some(from), to].into_iter().flatten()));
        }
    }

    /// Whether an agent, or another one of its user, takes part in a call of the adversary. The adversary takes part in
    /// all of them.
    pub(super) fn is_own_call(&self, call_id: &str, agent: Option<usize>) -> bool {
        let user = |agent: usize| self.roles.users.get(agent);
        let trusted = |agent: usize| self.roles.trusted.contains(&agent) || self.roles.trunks.contains(&agent);
        // A provider may move a call to another of its hosts. All trusted agents count as one provider.
        let same = |one: usize, other: usize| user(one) == user(other) || trusted(one) && trusted(other);
        let use_network = |agents: &Vec<usize>| match agent {
            Some(agent) => self.is_adversary(agent) || agents.iter().any(|other| same(*other, agent)),
            // The agent of the other side is disconnected.
            None => true,
        };
        [&self.own, &self.calls].into_iter().filter_map(|calls| calls.get(call_id)).any(use_network)
    }

    /// The server sent a response to a caller that creates a dialog of others.
    pub(super) fn dialog_made(&mut self, sip: &Sip, agents: [usize; 2]) {
        let call_id = sip.value("Call-ID");
        // A call that an attack began and another proxy forwarded is the adversary's own.
        let own = match named(sip.value("From")) {
            Named::Ours(user) => self.roles.account == Some(user),
            Named::Foreign => self.calls.contains_key(call_id),
        };
        let own = own || self.own.contains_key(call_id);
        let Some(from) = sip.param("From", "tag").filter(|_| !own) else { return };
        let tags: [Rc<str>; 2] = [from.into(), sip.to_tag().into()];
        let dialogs = self.dialogs.entry_ref(call_id).or_default();
        if !dialogs.iter().any(|dialog| dialog.tags == tags) {
            dialogs.push(Dialog { tags, agents });
        }
    }

    /// Whether a request belongs to a dialog of others and goes to a side of it.
    pub(super) fn is_in_dialog_of_others(&self, sip: &Sip, to: Option<usize>) -> bool {
        let tags = [sip.param("From", "tag").unwrap_or_default(), sip.to_tag()];
        let same = |dialog: &Dialog| {
            let [one, other] = &dialog.tags;
            let same_tags = [&**one, &**other] == tags || [&**other, &**one] == tags;
            same_tags && to.is_some_and(|to| dialog.agents.contains(&to))
        };
        self.dialogs.get(sip.value("Call-ID")).is_some_and(|dialogs| dialogs.iter().any(same))
    }

    /// Whether a message belongs to a call that an attack began, or to one of its own calls that the adversary
    /// interferes with.
    pub(super) fn is_tampered_with(&self, sip: &Sip) -> bool {
        let call_id = sip.value("Call-ID");
        // Its user may have registered any phone of others, even at the same time as that phone.
        if matches!(named(sip.value("To")), Named::Ours(user) if self.roles.account == Some(user)) {
            return true;
        }
        let passed = |name| self.passed.contains(&(call_id.to_owned(), sip.value(name).to_owned()));
        // Most calls are not affected by the adversary, so the Call-ID is checked first.
        self.tampered.contains(call_id) || self.calls.contains_key(call_id) && (passed("From") || passed("To"))
    }
}

/// The part of our branch that identifies a response context.
fn context(branch: &str) -> Option<&str> {
    is_transaction(branch).then(|| branch.get(8..26)).flatten()
}
