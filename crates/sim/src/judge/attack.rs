//! Invariants of attacks (issue 12): what the adversary may bring about, and what the others see of it.

use std::rc::Rc;

use super::Judge;
use super::journal::Journal;
use super::plot::{Answered, Attacks, Named, is_proven, named};
use super::rule::{Verdict, enforce, must, rules};
use crate::{Cause, Sip};

/// A message that leaves.
pub(super) struct Leaving<'a> {
    /// To whom, if anybody is there.
    pub(super) to: Option<usize>,
    pub(super) sip: &'a Rc<Sip>,
    /// The message that it is a consequence of, and its sender.
    pub(super) because_of: &'a Cause,
    pub(super) attacks: &'a Attacks,
    pub(super) journal: &'a Journal,
}

/// An invariant of what leaves, by name.
type OfLeaving = (&'static str, fn(&Leaving<'_>) -> Verdict);

impl Leaving<'_> {
    fn attack(&self) -> &Sip {
        &self.because_of.1
    }

    fn goes_to_honest_agent(&self) -> bool {
        self.to.is_some_and(|to| !self.attacks.is_adversary(to))
    }

    /// Whether it is of a call to its user, which others may have made: it may answer that, from where it registered a phone.
    fn is_to_its_user(&self) -> bool {
        let account = self.attacks.cast.account;
        matches!(named(self.sip.value("To")), Named::Ours(user) if account == Some(user))
    }

    /// What led to it, and what it is.
    fn show(&self) -> String {
        format!("to {:?}\n{}because of agent {}'s\n{}", self.to, self.sip, self.because_of.0, self.attack())
    }
}

/// Of a request that leaves because of an attack.
pub(super) const OF_REQUESTS: &[OfLeaving] = rules![
    an_attack_goes_no_way_of_others,
    an_attack_reaches_nobody_but_as_itself,
    an_attack_touches_no_dialog_of_others,
    an_attack_asserts_no_identity,
];

/// Of a response that leaves because of an attack.
pub(super) const OF_RESPONSES: &[OfLeaving] = rules![
    an_attack_answers_nobody,
    an_attack_registers_for_itself,
    an_answer_is_no_longer_than_three_times_its_request
];

/// Of a request that leaves because of what others sent.
pub(super) const OF_OTHERS: &[OfLeaving] = rules![an_identity_needs_its_credentials, no_call_is_led_to_the_adversary];

/// RFC 3261 9.1, 16.10, 17.2.3; issue 12 items 1 to 3: an attack is no copy, no CANCEL and no ACK of what others sent, and
/// moves no response context of theirs.
fn an_attack_goes_no_way_of_others(leaving: &Leaving<'_>) -> Verdict {
    let branch = leaving.sip.branch();
    let made_here = leaving.sip.branch_below().is_none();
    let is_to_user = leaving.is_to_its_user();
    let others = leaving.journal.tried.contains_key(branch) && !is_to_user;
    let own = leaving.attacks.of_branch(branch).is_some();
    must(!others && (own || is_to_user || !made_here), || leaving.show())
}

/// Issue 12 items 1 and 2: to users of ours, as the user whose credentials it has or, where they may, as a stranger; to
/// elsewhere, as a user who may; and to the other side of its own dialog.
fn an_attack_reaches_nobody_but_as_itself(leaving: &Leaving<'_>) -> Verdict {
    let (attacks, attack, sip) = (leaving.attacks, leaving.attack(), leaving.sip);
    // They cannot be challenged (RFC 3261 22.1), and go the way of their INVITE.
    let follows = matches!(attack.what(), "ACK" | "CANCEL") && attacks.follows_its_own(leaving.because_of);
    let itself = |user: &str| attacks.cast.account == Some(user);
    // A Route that is not the attack's own is the Path of a registration.
    let has_own_route = sip.values("Route").any(|route| attack.values("Route").any(|own| own == route));
    let users_only = matches!(named(attack.uri()), Named::Ours(user) if !user.is_empty()) && !has_own_route;
    // The Contact of a phone counts as a name of its user, for what begins something: who may call the user may call the phone.
    // Without its connection it reaches nobody.
    let contact = attack.uri().split(';').next();
    let phone = attacks.cast.contacts.iter().position(|known| Some(known.as_str()) == contact);
    let user_of = |agent: usize| attacks.cast.users.get(agent);
    // Of its own phone there may be a Path to elsewhere.
    let is_contact = phone
        .is_some_and(|phone| attacks.is_adversary(phone) || leaving.to.is_none_or(|to| user_of(to) == user_of(phone)));
    let calls_phone = is_contact && attack.to_tag().is_empty() && !has_own_route;
    // A CANCEL of what is not known any more goes on from where its sender is registered (RFC 3261 16.10).
    let calls_off = attack.what() == "CANCEL" && users_only;
    let is_in_own_dialog = !sip.to_tag().is_empty() && attacks.is_own_call(sip.value("Call-ID"), leaving.to);
    let good = match named(sip.value("From")) {
        Named::Ours(user) => {
            let proven = is_proven(attack, user) && (users_only || calls_phone || attacks.cast.foreign);
            itself(user) && (proven || is_in_own_dialog || calls_off)
        }
        // Within a dialog a callee is named as its caller named it, which may be by a name of another domain.
        Named::Foreign => is_in_own_dialog || attacks.cast.strangers && users_only,
    };
    // A name or an address of somebody else that leads to a phone of its own reaches nobody else.
    let reaches_itself = leaving.to.is_some_and(|to| attacks.is_adversary(to));
    // A response of its own phone may end the other branches of its call.
    let is_its_call = || attacks.of_branch(sip.branch()).is_some() || leaving.is_to_its_user();
    let made_here = sip.branch_below().is_none();
    // Or have the next phone of its user tried.
    let is_of_its_call = matches!(sip.what(), "ACK" | "CANCEL") && made_here && is_its_call()
        || !attack.is_request() && leaving.is_to_its_user();
    must(good || follows || reaches_itself || is_of_its_call, || leaving.show())
}

/// RFC 3261 12.2, 15: whatever it proves, it is not of their dialog: it neither ends nor changes it.
fn an_attack_touches_no_dialog_of_others(leaving: &Leaving<'_>) -> Verdict {
    let Leaving { sip, attacks, .. } = leaving;
    // RFC 3261 9.2, 17.2.3: on the branch of its own INVITE they are of that transaction, whatever dialog they name.
    let is_of_own_invite = matches!(sip.what(), "ACK" | "CANCEL") && attacks.of_branch(sip.branch()).is_some();
    let touches = attacks.is_in_dialog_of_others(sip, leaving.to);
    must(!touches || is_of_own_invite, || leaving.show())
}

/// RFC 3325 5, issue 12 item 6.
fn an_attack_asserts_no_identity(leaving: &Leaving<'_>) -> Verdict {
    const ASSERTIONS: [&str; 4] = ["P-Asserted-Identity", "Remote-Party-ID", "Diversion", "History-Info"];
    let itself = leaving.attacks.cast.account;
    let lies = |value: &str| named(value) != Named::Ours(itself.unwrap_or_default());
    let lie = ASSERTIONS.into_iter().find(|name| leaving.sip.values(name).any(lies));
    must(lie.is_none(), || leaving.show())
}

/// Issue 12, "no call of others is answered": neither by a response of the adversary's, nor by one that the server makes or
/// repeats because of it.
fn an_attack_answers_nobody(leaving: &Leaving<'_>) -> Verdict {
    must(!leaving.goes_to_honest_agent() || leaving.is_to_its_user(), || leaving.show())
}

/// RFC 3261 10.3 steps 3 and 4.
fn an_attack_registers_for_itself(leaving: &Leaving<'_>) -> Verdict {
    let (attack, account) = (leaving.attack(), leaving.attacks.cast.account);
    let good = account.is_some_and(|own| named(attack.value("To")) == Named::Ours(own) && is_proven(attack, own));
    let registered = attack.what() == "REGISTER" && leaving.sip.status() == Some(200);
    must(!registered || good, || leaving.show())
}

/// Issue 12 item 5: over UDP, to one that has not shown a nonce which was sent to it.
fn an_answer_is_no_longer_than_three_times_its_request(leaving: &Leaving<'_>) -> Verdict {
    let Leaving { sip, attacks, .. } = leaving;
    let attack = leaving.attack();
    let proven = attacks.cast.account.is_some_and(|own| is_proven(attack, own));
    let made_here = !sip.has(super::PHONE_MARK);
    let stream = attack.value("Via").starts_with("SIP/2.0/TCP");
    let (asked, said) = (attack.bytes().len(), sip.bytes().len());
    let good = !made_here || proven || stream || said <= attacks.cast.amplification * asked;
    must(good, || format!("{said} octets for {asked}: {}", leaving.show()))
}

/// RFC 3261 16.3 step 6, 22.3: in the name of a user of ours only what that user sent, with credentials unless it is within
/// a dialog; in a trusted network anybody may say anything.
fn an_identity_needs_its_credentials(leaving: &Leaving<'_>) -> Verdict {
    let (cast, (from, request)) = (&leaving.attacks.cast, leaving.because_of);
    if !cast.required || cast.trusted.contains(from) {
        return Ok(());
    }
    let good = match named(leaving.sip.value("From")) {
        // Who was called by another name, as after a redirection, says BYE by it.
        _ if !request.to_tag().is_empty() => true,
        Named::Ours(user) => cast.users.get(*from).is_some_and(|own| own == user) && is_proven(request, user),
        Named::Foreign => cast.strangers,
    };
    must(good, || leaving.show())
}

/// Issue 12, "no call of others is redirected": what reaches the adversary is for its user, or of a dialog that it is in.
fn no_call_is_led_to_the_adversary(leaving: &Leaving<'_>) -> Verdict {
    let Leaving { to, sip, attacks, because_of: (from, request), .. } = leaving;
    if attacks.is_adversary(*from) || !to.is_some_and(|to| attacks.is_adversary(to)) {
        return Ok(());
    }
    let good = match sip.to_tag() {
        "" => matches!(named(request.uri()), Named::Ours(user) if attacks.cast.account == Some(user)),
        _ => attacks.is_own_call(sip.value("Call-ID"), Some(*from)),
    };
    must(good, || leaving.show())
}

/// Issue 12 item 3: what comes back for a user with a phone, for one without and for one that does not exist is the same.
pub(super) fn nobody_learns_who_is_registered(attacks: &Attacks) -> Verdict {
    for (group, probes) in &attacks.probes {
        // Strangers who may call learn who answers.
        if attacks.cast.strangers && group.contains("stranger") {
            continue;
        }
        // Where letters between workers may be lost, no answer says nothing.
        let says = |answer: &&Option<Answered>| answer.is_some() || !attacks.cast.loses_letters;
        let mut answers = probes.iter().map(|(_, answer)| answer).filter(says);
        let Some(first) = answers.next() else { continue };
        if let Some(other) = answers.find(|other| *other != first) {
            return Err(format!("{group}: {first:?} and {other:?}"));
        }
    }
    Ok(())
}

impl Judge {
    /// Something leaves because of what the adversary sent.
    pub(super) fn attack_sent(&mut self, attack: &Cause, to: Option<usize>, sip: &Rc<Sip>) {
        let (attacks, journal) = (&self.attacks, &self.journal);
        let leaving = Leaving { to, sip, because_of: attack, attacks, journal };
        let rules = if sip.is_request() { OF_REQUESTS } else { OF_RESPONSES };
        for (rule, check) in rules {
            enforce(rule, sip.value("Call-ID"), check(&leaving));
        }
        if !sip.is_request() {
            self.attacks.answered(attack, sip);
        } else if self.attacks.request_left(attack, to, sip) {
            self.seen.admitted += 1;
        }
    }

    /// A request leaves because of what others sent, or what the adversary's user did as others do.
    pub(super) fn others_sent(&mut self, to: Option<usize>, sip: &Rc<Sip>) {
        let below = sip.branch_below().unwrap_or_default();
        let (Some(from), Some(asked)) = (self.journal.senders.get(below), self.journal.asked.get(below)) else {
            return;
        };
        let because_of = (*from, Rc::clone(&asked.request));
        if sip.what() == "INVITE" {
            self.attacks.joined(&asked.request, *from, to);
        }
        let leaving = Leaving { to, sip, because_of: &because_of, attacks: &self.attacks, journal: &self.journal };
        for (rule, check) in OF_OTHERS {
            enforce(rule, sip.value("Call-ID"), check(&leaving));
        }
    }
}
