//! Invariants of attacks (issue 12): what an attack may cause, and what reaches others because of it.

use std::rc::Rc;

use super::Judge;
use super::attack_log::{Answered, Attacks, Named, is_proven, named};
use super::legs::user_of;
use super::rule::{Verdict, enforce, must, rules};
use super::transactions::Transactions;
use super::trunks::is_emergency;
use crate::{Cause, Sip, uri_in};

/// A message that the server sends.
pub(super) struct Leaving<'a> {
    /// The agent that it goes to, if there is one at that address.
    pub(super) to: Option<usize>,
    pub(super) sip: &'a Rc<Sip>,
    /// The message that caused it, and the sender of that.
    pub(super) because_of: &'a Cause,
    pub(super) attacks: &'a Attacks,
    pub(super) transactions: &'a Transactions,
}

/// An invariant of messages that the server sends, with its name.
type OfLeaving = (&'static str, fn(&Leaving<'_>) -> Verdict);

impl Leaving<'_> {
    fn attack(&self) -> &Sip {
        &self.because_of.1
    }

    fn goes_to_honest_agent(&self) -> bool {
        self.to.is_some_and(|to| !self.attacks.is_adversary(to))
    }

    /// Whether it belongs to a call to the adversary's user. Others may have made that call, and the adversary may
    /// respond to it from a phone that it registered.
    fn is_to_its_user(&self) -> bool {
        let account = self.attacks.roles.account;
        matches!(named(self.sip.value("To")), Named::Ours(user) if account == Some(user))
    }

    fn is_to_trunk(&self) -> bool {
        self.to.is_some_and(|to| self.attacks.roles.trunks.contains(&to))
    }

    /// Whether it is an emergency call in the name of this user, for which a registered phone needs no credentials.
    fn is_emergency_of(&self, user: &str, sender: usize) -> bool {
        let roles = &self.attacks.roles;
        let is_own = roles.users.get(sender).is_some_and(|own| own == user) || roles.adversaries.contains(&sender);
        self.is_to_trunk() && is_own && is_emergency(self.because_of.1.uri())
    }

    /// The From of the sender: a trunk gets another one.
    fn from(&self) -> &str {
        if self.is_to_trunk() { self.attack().value("From") } else { self.sip.value("From") }
    }

    /// The message and its cause, as text.
    fn show(&self) -> String {
        format!("to {:?}\n{}caused by agent {}:\n{}", self.to, self.sip, self.because_of.0, self.attack())
    }
}

/// For requests that an attack caused.
pub(super) const OF_REQUESTS: &[OfLeaving] = rules![
    an_attack_joins_no_transaction_of_others,
    an_attack_is_forwarded_only_in_its_own_name,
    an_attack_enters_no_dialog_of_others,
    an_attack_asserts_no_identity,
    an_attack_reaches_no_trunk_but_by_dialling,
];

/// For responses that an attack caused.
pub(super) const OF_RESPONSES: &[OfLeaving] = rules![
    an_attack_causes_no_response_to_others,
    an_attack_registers_only_its_own_user,
    a_response_is_at_most_three_times_its_request
];

/// For requests that another agent's message caused.
pub(super) const OF_OTHERS: &[OfLeaving] =
    rules![a_user_identity_needs_its_credentials, no_call_of_others_reaches_the_adversary];

/// RFC 3261 9.1, 16.10, 17.2.3; issue 12 items 1 to 3: an attack does not count as a retransmission, CANCEL or ACK of
/// others' messages and does not affect their response contexts.
fn an_attack_joins_no_transaction_of_others(leaving: &Leaving<'_>) -> Verdict {
    let branch = leaving.sip.branch();
    let made_here = leaving.sip.branch_below().is_none();
    let is_to_user = leaving.is_to_its_user();
    let others = leaving.transactions.outgoing.contains_key(branch) && !is_to_user;
    let own = leaving.attacks.of_branch(branch).is_some();
    must(!others && (own || is_to_user || !made_here), || leaving.show())
}

/// Issue 12 items 1 and 2: an attack reaches local users only as the user whose credentials it has, or as a stranger
/// where strangers may call. It reaches other domains only as a user who may call them. It also reaches the other side
/// of its own dialog.
fn an_attack_is_forwarded_only_in_its_own_name(leaving: &Leaving<'_>) -> Verdict {
    let (attacks, attack, sip) = (leaving.attacks, leaving.attack(), leaving.sip);
    // ACK and CANCEL cannot be challenged (RFC 3261 22.1) and take the route of their INVITE.
    let follows = matches!(attack.what(), "ACK" | "CANCEL") && attacks.follows_its_own(leaving.because_of);
    let itself = |user: &str| attacks.roles.account == Some(user);
    // A Route that is not in the attack comes from the Path of a registration.
    let has_own_route = sip.values("Route").any(|route| attack.values("Route").any(|own| own == route));
    let users_only = matches!(named(attack.uri()), Named::Ours(user) if !user.is_empty()) && !has_own_route;
    // For a request outside of a dialog, the Contact of a phone counts as a name of its user: who may call the user may
    // call the phone. Without its connection the phone is not reached.
    let contact = attack.uri().split(';').next();
    let phone = attacks.roles.contacts.iter().position(|known| Some(known.as_str()) == contact);
    let user_of = |agent: usize| attacks.roles.users.get(agent);
    // The Path of the adversary's own phone may lead elsewhere.
    let is_contact = phone
        .is_some_and(|phone| attacks.is_adversary(phone) || leaving.to.is_none_or(|to| user_of(to) == user_of(phone)));
    let calls_phone = is_contact && attack.to_tag().is_empty() && !has_own_route;
    // A CANCEL without a known INVITE is forwarded from where its sender is registered (RFC 3261 16.10).
    let calls_off = attack.what() == "CANCEL" && users_only;
    let is_in_own_dialog = !sip.to_tag().is_empty() && attacks.is_own_call(sip.value("Call-ID"), leaving.to);
    let good = match named(leaving.from()) {
        Named::Ours(user) => {
            let proven = is_proven(attack, user) && (users_only || calls_phone || attacks.roles.foreign);
            let is_emergency = leaving.is_emergency_of(user, leaving.because_of.0);
            itself(user) && (proven || is_in_own_dialog || calls_off || is_emergency)
        }
        // Within a dialog, the callee has the name that the caller used, which may be in another domain.
        Named::Foreign => is_in_own_dialog || attacks.roles.strangers && users_only,
    };
    // A name or address of others that leads to the adversary's own phone reaches nobody else.
    let reaches_itself = leaving.to.is_some_and(|to| attacks.is_adversary(to));
    // A response of its own phone may end the other branches of its call.
    let is_its_call = || attacks.of_branch(sip.branch()).is_some() || leaving.is_to_its_user();
    let made_here = sip.branch_below().is_none();
    // Such a response may also make the server try the next phone of its user.
    let is_of_its_call = matches!(sip.what(), "ACK" | "CANCEL") && made_here && is_its_call()
        || !attack.is_request() && leaving.is_to_its_user();
    must(good || follows || reaches_itself || is_of_its_call, || leaving.show())
}

/// RFC 3261 12.2, 15: an attack neither ends nor changes a dialog of others, whatever credentials it has.
fn an_attack_enters_no_dialog_of_others(leaving: &Leaving<'_>) -> Verdict {
    let Leaving { sip, attacks, .. } = leaving;
    // RFC 3261 9.2, 17.2.3: an ACK or CANCEL with the branch of its own INVITE belongs to that transaction, whatever
    // dialog it names.
    let is_of_own_invite = matches!(sip.what(), "ACK" | "CANCEL") && attacks.of_branch(sip.branch()).is_some();
    let touches = attacks.is_in_dialog_of_others(sip, leaving.to);
    must(!touches || is_of_own_invite, || leaving.show())
}

/// RFC 3325 5, issue 12 item 6.
fn an_attack_asserts_no_identity(leaving: &Leaving<'_>) -> Verdict {
    const ASSERTIONS: [&str; 2] = ["P-Asserted-Identity", "Remote-Party-ID"];
    let itself = leaving.attacks.roles.account;
    // A trunk is told the number of the caller.
    let lies = |value: &str| match leaving.is_to_trunk() {
        true => ASSERTIONS.iter().any(|name| leaving.attack().values(name).any(|own| own == value)),
        false => named(value) != Named::Ours(itself.unwrap_or_default()),
    };
    let lie = ASSERTIONS.into_iter().find(|name| leaving.sip.values(name).any(lies));
    must(lie.is_none() && !claims_a_way(leaving), || leaving.show())
}

/// Nobody calls at the expense of the office: a call of an attack reaches a trunk if it dials a number of a line of that
/// trunk, or if a user's rules forward it there, and not by a registration, a redirection or a Route.
fn an_attack_reaches_no_trunk_but_by_dialling(leaving: &Leaving<'_>) -> Verdict {
    let Leaving { sip, attacks, .. } = leaving;
    let attack = leaving.attack();
    let begins_call = sip.to_tag().is_empty() && !matches!(sip.what(), "ACK" | "CANCEL");
    if !leaving.is_to_trunk() || !begins_call || leaving.to.is_some_and(|to| attacks.is_adversary(to)) {
        return Ok(());
    }
    let is_dialled =
        leaving.transactions.number_at_trunk(attack.uri()).is_some_and(|number| number == user_of(sip.uri()));
    let is_forwarded = leaving.transactions.rules_lead_outside(user_of(sip.uri()));
    must(is_dialled || is_forwarded, || leaving.show())
}

/// Whether a request has the History-Info or Diversion of an attack. The server adds its own if it diverts the call:
/// History-Info begins with the name that was called, and there is a Diversion for each entry but the last.
fn claims_a_way(leaving: &Leaving<'_>) -> bool {
    let entries = |sip: &Sip| sip.values("History-Info").map(str::to_owned).collect::<Vec<_>>();
    let (came, went) = (entries(leaving.attack()), entries(leaving.sip));
    let begins_here = came.first().is_some_and(|first| {
        let called = uri_in(first).split('?').next().unwrap_or_default();
        called == leaving.attack().uri()
    });
    let is_copied = !came.is_empty() && went.starts_with(&came) && !begins_here;
    is_copied || leaving.sip.values("Diversion").count() > went.len().saturating_sub(1)
}

/// Issue 12, "no call of others is answered": an attack causes no response to others, neither one of the adversary nor
/// one that the server creates or retransmits.
fn an_attack_causes_no_response_to_others(leaving: &Leaving<'_>) -> Verdict {
    must(!leaving.goes_to_honest_agent() || leaving.is_to_its_user(), || leaving.show())
}

/// RFC 3261 10.3 steps 3 and 4.
fn an_attack_registers_only_its_own_user(leaving: &Leaving<'_>) -> Verdict {
    let (attack, account) = (leaving.attack(), leaving.attacks.roles.account);
    let good = account.is_some_and(|own| named(attack.value("To")) == Named::Ours(own) && is_proven(attack, own));
    let registered = attack.what() == "REGISTER" && leaving.sip.status() == Some(200);
    must(!registered || good, || leaving.show())
}

/// Issue 12 item 5: applies over UDP to a sender that has not used a nonce, which would show that it receives at its
/// address.
fn a_response_is_at_most_three_times_its_request(leaving: &Leaving<'_>) -> Verdict {
    let Leaving { sip, attacks, .. } = leaving;
    let attack = leaving.attack();
    let proven = attacks.roles.account.is_some_and(|own| is_proven(attack, own));
    let made_here = !sip.has(super::PHONE_MARK);
    let stream = attack.value("Via").starts_with("SIP/2.0/TCP");
    let (incoming, sent) = (attack.bytes().len(), sip.bytes().len());
    let good = !made_here || proven || stream || sent <= attacks.roles.amplification * incoming;
    must(good, || format!("{sent} octets in response to {incoming}: {}", leaving.show()))
}

/// RFC 3261 16.3 step 6, 22.3: a request in the name of a local user comes from that user, with credentials unless it
/// is within a dialog. Agents in a trusted network may use any name.
fn a_user_identity_needs_its_credentials(leaving: &Leaving<'_>) -> Verdict {
    let (roles, (from, request)) = (&leaving.attacks.roles, leaving.because_of);
    if !roles.required || roles.trusted.contains(from) {
        return Ok(());
    }
    // A trunk needs no credentials for calls to numbers.
    if roles.trunks.contains(from) {
        return Ok(());
    }
    let good = match named(leaving.from()) {
        // A callee that was called by another name, as after a redirection, sends its BYE with that name.
        _ if !request.to_tag().is_empty() => true,
        Named::Ours(user) if leaving.is_emergency_of(user, *from) => true,
        Named::Ours(user) => roles.users.get(*from).is_some_and(|own| own == user) && is_proven(request, user),
        Named::Foreign => roles.strangers,
    };
    must(good, || leaving.show())
}

/// Issue 12, "no call of others is redirected": a request that reaches the adversary is for its user or belongs to one
/// of its dialogs.
fn no_call_of_others_reaches_the_adversary(leaving: &Leaving<'_>) -> Verdict {
    let Leaving { to, sip, attacks, because_of: (from, request), .. } = leaving;
    if attacks.is_adversary(*from) || !to.is_some_and(|to| attacks.is_adversary(to)) {
        return Ok(());
    }
    let good = match sip.to_tag() {
        "" => matches!(named(request.uri()), Named::Ours(user) if attacks.roles.account == Some(user)),
        _ => attacks.is_own_call(sip.value("Call-ID"), Some(*from)),
    };
    must(good, || leaving.show())
}

/// Issue 12 item 3: the response is the same for a user with a phone, a user without one and a user that does not
/// exist.
pub(super) fn registrations_cannot_be_probed(attacks: &Attacks) -> Verdict {
    for (group, probes) in &attacks.probes {
        // A stranger who may call learns who answers.
        if attacks.roles.strangers && group.contains("stranger") {
            continue;
        }
        // If messages between workers may be lost, a missing response means nothing.
        let says = |answer: &&Option<Answered>| answer.is_some() || !attacks.roles.loses_core_messages;
        let mut answers = probes.iter().map(|(_, answer)| answer).filter(says);
        let Some(first) = answers.next() else { continue };
        if let Some(other) = answers.find(|other| *other != first) {
            return Err(format!("{group}: {first:?} and {other:?}"));
        }
    }
    Ok(())
}

impl Judge {
    /// The server sends a message because of an attack.
    pub(super) fn attack_sent(&mut self, attack: &Cause, to: Option<usize>, sip: &Rc<Sip>) {
        let (attacks, transactions) = (&self.attacks, &self.transactions);
        let leaving = Leaving { to, sip, because_of: attack, attacks, transactions };
        let rules = if sip.is_request() { OF_REQUESTS } else { OF_RESPONSES };
        for (rule, check) in rules {
            enforce(rule, sip.value("Call-ID"), check(&leaving));
        }
        if let Some(to) = to.filter(|_| sip.is_request()) {
            self.transactions.attacked.insert(to, self.transactions.now);
        }
        if !sip.is_request() {
            self.attacks.answered(attack, sip);
        } else if self.attacks.request_left(attack, to, sip) {
            self.seen.admitted += 1;
        }
    }

    /// The server sends a request because of another agent's message, or one of the adversary's user that is not an
    /// attack.
    pub(super) fn others_sent(&mut self, to: Option<usize>, sip: &Rc<Sip>) {
        let below = sip.branch_below().unwrap_or_default();
        let (Some(from), Some(incoming)) =
            (self.transactions.senders.get(below), self.transactions.incoming.get(below))
        else {
            return;
        };
        let because_of = (*from, Rc::clone(&incoming.request));
        if sip.what() == "INVITE" {
            self.attacks.record_call(&incoming.request, *from, to);
        }
        let leaving =
            Leaving { to, sip, because_of: &because_of, attacks: &self.attacks, transactions: &self.transactions };
        for (rule, check) in OF_OTHERS {
            enforce(rule, sip.value("Call-ID"), check(&leaving));
        }
    }
}
