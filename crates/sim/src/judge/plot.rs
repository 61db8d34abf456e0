//! What the adversary sent, what the server did because of it, and what is known of the agents: the facts that the
//! invariants of `attack.rs` are held against.
//!
//! Keeps books and judges nothing. Whether something happened because of an attack is known from the world: each message
//! that a core sends has the message that it is a consequence of. Where that was a timer, the branch says it.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::{HashMap, HashSet};

use super::journal::is_transaction;
use crate::{Cause, DOMAIN, Sip, uri_in};

/// The attacks, shared by the adversary, which notes them, and the judge.
#[derive(Clone, Default)]
pub(crate) struct Plot(Rc<RefCell<HashMap<*const Sip, Attack>>>);

/// One message of the adversary's that is an attack.
struct Attack {
    /// Held, so that no other message is ever in its place.
    _sip: Rc<Sip>,
    /// Probes of one group must all be answered alike.
    group: Option<Rc<str>>,
}

impl Plot {
    /// This message is an attack; what is answered to those of one group must be the same.
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

/// Who is who, and what the settings ask of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cast {
    /// The user of each agent.
    pub(crate) users: Vec<String>,
    /// The Contact of each agent, without parameters.
    pub(crate) contacts: Vec<String>,
    /// The agents of the adversary.
    pub(crate) adversaries: Vec<usize>,
    /// The agents in a trusted network.
    pub(crate) trusted: Vec<usize>,
    /// The user that the adversary is, if it is one.
    pub(crate) account: Option<&'static str>,
    /// Whether requests need credentials.
    pub(crate) required: bool,
    /// Whether strangers may call users.
    pub(crate) strangers: bool,
    /// Whether users may call elsewhere.
    pub(crate) foreign: bool,
    /// Whether letters between workers may be lost.
    pub(crate) loses_letters: bool,
    /// How many times as long as its request an answer may be over UDP.
    pub(crate) amplification: usize,
}

/// Who a URI names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// A user of ours, or what would be one.
    Ours(&'a str),
    Foreign,
}

/// Who a From, To or Request-URI names.
pub(super) fn named(value: &str) -> Named<'_> {
    let uri = uri_in(value);
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let rest = rest.split([';', '?']).next().unwrap_or_default();
    let (user, host) = rest.split_once('@').unwrap_or(("", rest));
    let host = host.split(':').next().unwrap_or_default();
    let ours = host.eq_ignore_ascii_case(DOMAIN) || ["sip.office.example", "192.0.2.1"].contains(&host);
    if ours { Named::Ours(user) } else { Named::Foreign }
}

/// Whether a message has credentials of this user. They are good: the adversary knows no secret but its own.
pub(super) fn is_proven(sip: &Sip, user: &str) -> bool {
    let header = if sip.what() == "REGISTER" { "Authorization" } else { "Proxy-Authorization" };
    let name = format!("username=\"{user}\"");
    sip.values(header).any(|value| value.contains(&name))
}

/// The books of the attacks.
#[derive(Default)]
pub(super) struct Attacks {
    pub(super) plot: Plot,
    pub(super) cast: Cast,
    /// Our branches of what left because of an attack.
    sent: HashMap<Rc<str>, Cause>,
    /// The response contexts among them.
    contexts: HashMap<Rc<str>, Cause>,
    /// The attack last heard of an agent under a branch.
    heard: HashMap<(usize, Rc<str>), Cause>,
    /// Agent and branch of attacks that went on.
    admitted: HashSet<(usize, Rc<str>)>,
    /// The others in each call that an attack made, by its Call-ID.
    calls: HashMap<String, Vec<usize>>,
    /// The agents in each call that the adversary's user is in, by its Call-ID.
    own: HashMap<String, Vec<usize>>,
    /// Dialogs of others by their Call-ID.
    dialogs: HashMap<String, Vec<Dialog>>,
    /// Calls of its own that the adversary itself interferes with: nothing is asked of them.
    spoilt: HashSet<String>,
    /// Call-ID and From of attacks that went on: what other proxies make of them is theirs.
    passed: HashSet<(String, String)>,
    /// What was answered to probes, by group; none until there is an answer.
    pub(super) probes: HashMap<Rc<str>, Vec<Probe>>,
}

/// A dialog of others: the tags and the agents of both sides.
struct Dialog {
    tags: [Rc<str>; 2],
    agents: [usize; 2],
}

/// A probe and what was answered to it.
type Probe = (Rc<Sip>, Option<Answered>);

/// What the sender of a probe learns: the status, and which headers there are.
pub(super) type Answered = (u16, Vec<String>);

impl Attacks {
    pub(super) fn new(plot: Plot, cast: Cast) -> Self {
        Self { plot, cast, ..Self::default() }
    }

    pub(super) fn is_adversary(&self, agent: usize) -> bool {
        self.cast.adversaries.contains(&agent)
    }

    /// The adversary's message was heard. True if it is an attack, and not what its user does.
    pub(super) fn hears(&mut self, agent: usize, sip: &Rc<Sip>) -> bool {
        if !self.is_adversary(agent) || !self.plot.has(sip) {
            return false;
        }
        if self.own.contains_key(sip.value("Call-ID")) {
            self.spoilt.insert(sip.value("Call-ID").to_owned());
        }
        if sip.is_request() {
            self.heard.insert((agent, sip.branch().into()), (agent, Rc::clone(sip)));
            if let Some(group) = self.plot.group(sip) {
                self.probes.entry(group).or_default().push((Rc::clone(sip), None));
            }
        }
        true
    }

    /// The attack that a message of the server is a consequence of, if it is one.
    pub(super) fn behind(&self, agent: Option<usize>, sip: &Sip, cause: Option<&Cause>) -> Option<Cause> {
        match cause {
            // Who registers may join a call to that user.
            Some((_, cause)) if cause.what() == "REGISTER" && sip.is_request() => self.of_branch(sip.branch()),
            Some((from, heard)) if self.is_adversary(*from) && self.plot.has(heard) => cause.cloned(),
            Some((_, heard)) if !heard.is_request() => self.of_branch(heard.branch()),
            _ if sip.is_request() => self.of_branch(sip.branch()),
            Some(_) => None,
            None => {
                let agent = agent.filter(|agent| self.is_adversary(*agent))?;
                self.heard.get(&(agent, sip.branch().into())).cloned()
            }
        }
    }

    /// The attack that this branch of ours was made for.
    pub(super) fn of_branch(&self, branch: &str) -> Option<Cause> {
        self.sent.get(branch).or_else(|| self.contexts.get(context(branch)?)).cloned()
    }

    /// A request left because of an attack. True if its branch is new.
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

    /// A response to an attack left.
    pub(super) fn answered(&mut self, (_, attack): &Cause, sip: &Sip) {
        let Some(probes) = self.plot.group(attack).and_then(|group| self.probes.get_mut(&group)) else { return };
        let same = |(probe, answer): &&mut Probe| answer.is_none() && Rc::ptr_eq(probe, attack);
        let Some((_, answer)) = probes.iter_mut().find(same) else { return };
        let mut headers: Vec<String> =
            sip.lines().iter().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect();
        headers.sort();
        *answer = Some((sip.status().unwrap_or_default(), headers));
    }

    /// Whether this CANCEL or ACK is of an attack of the same agent that went on.
    pub(super) fn follows_its_own(&self, (agent, sip): &Cause) -> bool {
        self.admitted.contains(&(*agent, sip.branch().into()))
    }

    /// A call that is no attack has reached an agent. It is the adversary's own, too, if it is to its user, who may have
    /// registered the phone of somebody else.
    pub(super) fn joined(&mut self, request: &Sip, from: usize, to: Option<usize>) {
        let call_id = request.value("Call-ID");
        let is_to_user = matches!(named(request.uri()), Named::Ours(user) if self.cast.account == Some(user));
        let own = is_to_user || self.is_adversary(from) || to.is_some_and(|to| self.is_adversary(to));
        if own {
            self.own.entry_ref(call_id).or_default();
        }
        // What goes round through another proxy reaches others too.
        for calls in [&mut self.own, &mut self.calls] {
            calls.get_mut(call_id).into_iter().for_each(|agents| agents.extend([Some(from), to].into_iter().flatten()));
        }
    }

    /// Whether an agent, or another of its user, is in a call that the adversary is in. The adversary is in all of them.
    pub(super) fn is_own_call(&self, call_id: &str, agent: Option<usize>) -> bool {
        let user = |agent: usize| self.cast.users.get(agent);
        let trusted = |agent: usize| self.cast.trusted.contains(&agent);
        // A provider may move a call to another of its hosts, and all that is trusted counts as one provider.
        let same = |one: usize, other: usize| user(one) == user(other) || trusted(one) && trusted(other);
        let is_in = |agents: &Vec<usize>| match agent {
            Some(agent) => self.is_adversary(agent) || agents.iter().any(|other| same(*other, agent)),
            // Nobody is there: the other side is cut off.
            None => true,
        };
        [&self.own, &self.calls].into_iter().filter_map(|calls| calls.get(call_id)).any(is_in)
    }

    /// A response that makes a dialog of others, or may make one, was sent: by a phone to a caller.
    pub(super) fn dialog_made(&mut self, sip: &Sip, agents: [usize; 2]) {
        let call_id = sip.value("Call-ID");
        // What an attack began, and another proxy sent on, is its own.
        let own = match named(sip.value("From")) {
            Named::Ours(user) => self.cast.account == Some(user),
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

    /// Whether a request to an agent belongs to a dialog of others, and the agent is a side of it.
    pub(super) fn is_in_dialog_of_others(&self, sip: &Sip, to: Option<usize>) -> bool {
        let tags = [sip.param("From", "tag").unwrap_or_default(), sip.to_tag()];
        let same = |dialog: &Dialog| {
            let [one, other] = &dialog.tags;
            let same_tags = [&**one, &**other] == tags || [&**other, &**one] == tags;
            same_tags && to.is_some_and(|to| dialog.agents.contains(&to))
        };
        self.dialogs.get(sip.value("Call-ID")).is_some_and(|dialogs| dialogs.iter().any(same))
    }

    /// Whether a message is of a call of its own that the adversary interferes with, or of one that an attack began.
    pub(super) fn is_spoilt(&self, sip: &Sip) -> bool {
        let call_id = sip.value("Call-ID");
        // Its user may have registered any phone of others, and each of them at the same time.
        if matches!(named(sip.value("To")), Named::Ours(user) if self.cast.account == Some(user)) {
            return true;
        }
        let passed = |name| self.passed.contains(&(call_id.to_owned(), sip.value(name).to_owned()));
        // Most calls have nothing to do with it.
        self.spoilt.contains(call_id) || self.calls.contains_key(call_id) && (passed("From") || passed("To"))
    }
}

/// The part of a branch of ours that names a response context.
fn context(branch: &str) -> Option<&str> {
    is_transaction(branch).then(|| branch.get(7..26)).flatten()
}
