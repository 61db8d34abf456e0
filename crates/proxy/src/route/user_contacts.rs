//! Contacts that name a user of ours: looked up as a user, and never connected to. One that registers so forwards its calls.
//!
//! It is what a spiral would do (RFC 3261 6, RFC 5393): the request would come back here with another Request-URI. So each user
//! is followed once for a request, no deeper than Max-Forwards lets a spiral go, and together no more targets are found than
//! `limits.targets`. A circle of users so ends at the phones of all of them. Must not load anything: that is `core`'s.

use std::collections::VecDeque;
use std::net::IpAddr;

use location::{Aor, Binding};
use parser::{Method, Uri};

use super::preferences::Candidate;
use super::{Callee, Destination, Group, Gruus, Plan, Target, Way, destination, is_sips};
use crate::request::Request;
use crate::settings::{Settings, Strategy};

/// Max-Forwards of a request that has none (RFC 3261 16.6 step 3).
const MAX_FORWARDS: u8 = 70;

/// A Contact that names a user of ours.
#[derive(Debug)]
pub(crate) struct UserContact {
    /// The name, and the whole URI if it is a GRUU.
    name: Aor,
    gruu: Option<Box<[u8]>>,
    /// The preference that the user who registered it gave it, in thousandths.
    q: u16,
}

/// Several of them, behind one pointer: a plan is moved often, and hardly any has one.
#[derive(Debug, Default)]
pub(crate) struct UserContacts(pub(super) Vec<UserContact>);

impl UserContact {
    /// Whether a Contact surely names no user of ours, nor is a `sips:` one that is called in the clear. Mostly its host is the
    /// address that it leads to: [`super::way_to`] finds no way to an address of ours, nor one for `sips:` that is not secure.
    pub(super) fn is_none(binding: &Binding<'_>, target: Option<&Target>, settings: &Settings) -> bool {
        if let Some(Target { way: Way::Hop(hop), over_flow: false, .. }) = target
            && binding.path().is_empty()
        {
            return !hop.transport.is_secure() && !settings.has_literal_name(hop.remote.ip());
        }
        let contact = binding.contact();
        let is_foreign = |ip| !settings.listens_on(ip) && !settings.has_literal_name(ip);
        !is_sips(contact) && literal_host(contact).is_some_and(is_foreign)
    }

    /// None if the Contact leads elsewhere, or to this server itself.
    pub(super) fn of(candidate: &Candidate<'_>, settings: &Settings) -> Option<Self> {
        let contact = candidate.binding.contact();
        let uri = Uri::parse(contact).ok()?;
        let q = candidate.q;
        match destination(&uri, Method::Invite, settings).ok()? {
            Destination::User(name) => Some(Self { name, gruu: None, q }),
            Destination::Gruu(name) => Some(Self { name, gruu: Some(contact.into()), q }),
            Destination::Server | Destination::Elsewhere => None,
        }
    }
}

/// A plan whose Contacts that name users of ours are being looked up.
#[derive(Debug)]
pub(crate) struct Expansion {
    plan: Plan,
    /// The users that were looked up already, or are now.
    seen: Vec<Aor>,
    waiting: VecDeque<(Callee, u16, u8)>,
    /// The user that is looked up now, with which preference and how deep.
    current: Option<(Callee, u16, u8)>,
    /// Whether `limits.targets` left somebody out.
    is_cut: bool,
}

impl Expansion {
    /// The plan for this user.
    pub(crate) fn new(mut plan: Plan, callee: &Aor, gruus: &Gruus) -> Self {
        let users = plan.users.take();
        let (seen, waiting) = (vec![callee.clone()], VecDeque::new());
        let mut expansion = Self { plan, seen, waiting, current: None, is_cut: false };
        expansion.queue(users, None, 1, gruus);
        expansion
    }

    /// The user to be looked up next; none if all are.
    pub(crate) fn next(&mut self, request: &Request, settings: &Settings) -> Option<&Callee> {
        let deepest = request.hops.unwrap_or(MAX_FORWARDS);
        while let Some((callee, q, depth)) = self.waiting.pop_front() {
            if self.seen.len() > settings.limits.targets || self.room(settings) == 0 {
                self.is_cut = true;
                self.waiting.clear();
                break;
            }
            if depth < deepest && !self.seen.contains(&callee.aor) {
                self.seen.push(callee.aor.clone());
                return Some(&self.current.insert((callee, q, depth)).0);
            }
        }
        None
    }

    /// The one that is being looked up.
    pub(crate) fn current(&self) -> Option<&Callee> {
        self.current.as_ref().map(|(callee, ..)| callee)
    }

    /// What was found for it.
    pub(crate) fn found(&mut self, mut found: Plan, gruus: &Gruus, settings: &Settings) {
        let Some((_, q, depth)) = self.current.take() else { return };
        self.queue(found.users.take(), Some(q), depth.saturating_add(1), gruus);
        // What this user tries after one another stays in that order, before those with a lower preference.
        let place = self.plan.groups.partition_point(|group| group.q > q);
        for (at, group) in (place..).zip(found.groups) {
            let targets: Vec<_> = group.targets.into_iter().filter(|target| !self.has(target)).collect();
            let room = self.room(settings);
            self.is_cut |= targets.len() > room;
            let targets = targets.into_iter().take(room);
            let beside = if self.plan.is_parallel() {
                self.plan.groups.first_mut()
            } else {
                self.plan.groups.get_mut(at).filter(|beside| beside.q == q)
            };
            match beside {
                Some(beside) => beside.targets.extend(targets),
                None => self.plan.groups.insert(at, Group { q, targets: targets.collect() }),
            }
        }
        self.plan.groups.retain(|group| !group.targets.is_empty());
        let room = self.room(settings);
        self.plan.spares.extend(found.spares.into_iter().take(room));
    }

    /// The plan with all that was found, and whether `limits.targets` left anything out.
    pub(crate) fn into_plan(mut self) -> (Plan, bool) {
        if !self.plan.disposition.fork && !self.plan.disposition.redirect {
            self.plan.keep_best();
        }
        (self.plan, self.is_cut)
    }

    fn queue(&mut self, users: Option<Box<UserContacts>>, q: Option<u16>, depth: u8, gruus: &Gruus) {
        for user in users.into_iter().flat_map(|users| users.0) {
            let callee = match user.gruu {
                None => Some(Callee::user(user.name)),
                Some(uri) => gruus.read(&uri, user.name).ok(),
            };
            self.waiting.extend(callee.map(|callee| (callee, q.unwrap_or(user.q), depth)));
        }
    }

    fn room(&self, settings: &Settings) -> usize {
        settings.limits.targets.saturating_sub(self.plan.targets().count())
    }

    /// RFC 3261 16.5, RFC 5626 7: a URI is in a target set once, and a phone that has two lines is tried at one of them.
    fn has(&self, target: &Target) -> bool {
        let (instance, contact) =
            (target.uri.instance(), target.uri.binding().map(|binding| binding.contact().to_vec()));
        self.plan.targets().any(|other| {
            let same_phone = instance.is_some() && other.uri.instance() == instance;
            same_phone || other.uri.binding().is_some_and(|binding| Some(binding.contact()) == contact.as_deref())
        })
    }
}

/// The IPv4 address that stands as the host of a SIP URI; none if it is something else.
fn literal_host(uri: &[u8]) -> Option<IpAddr> {
    let host = uri.get(memchr::memchr(b'@', uri)? + 1..)?;
    let (mut octets, mut at, mut value) = ([0_u8; 4], 0, None);
    for octet in host {
        match octet {
            b'0'..=b'9' => value = Some(value.unwrap_or(0_u8).checked_mul(10)?.checked_add(octet - b'0')?),
            b'.' => {
                *octets.get_mut(at)? = value.take()?;
                at += 1;
            }
            _ => break,
        }
    }
    let [_, _, _, last] = &mut octets;
    *last = value.filter(|_| at == 3)?;
    Some(IpAddr::V4(octets.into()))
}

impl Plan {
    /// Whether all its targets are tried at once.
    pub(super) fn is_parallel(&self) -> bool {
        self.disposition.strategy == Strategy::Parallel && self.disposition.fork && !self.disposition.redirect
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_is_read_as_one() {
        for (uri, ip) in [
            ("sip:a@192.0.2.11", Some([192, 0, 2, 11])),
            ("sip:a@192.0.2.11:5060;x=1.2", Some([192, 0, 2, 11])),
            ("sip:a@192.0.2.11?x", Some([192, 0, 2, 11])),
            ("sip:a@192.0.2", None),
            ("sip:a@192.0.2.256", None),
            ("sip:a@1.2.3.4.5", None),
            ("sip:a@1..3.4", None),
            ("sip:a@office.example", None),
            ("sip:192.0.2.11", None),
            ("sip:a@[::1]", None),
            ("sip:a@", None),
        ] {
            assert_eq!(literal_host(uri.as_bytes()), ip.map(IpAddr::from), "{uri}");
        }
    }
}
