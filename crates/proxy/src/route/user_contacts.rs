//! Contacts that name a user of ours: the user is looked up (`search`), and nothing connects to the host of the Contact. A user
//! that registers such a Contact forwards its calls.
//!
//! Decides which Contacts name a user. Must not load anything: that is done by `core`.

use std::net::IpAddr;

use location::{Aor, Binding};
use parser::{Method, Uri};

use super::preferences::Candidate;
use super::{Callee, Destination, Gruus, NextHop, Plan, Target, destination};
use crate::settings::{Settings, Strategy};
use crate::target::is_sips;

/// A Contact that names a user of ours.
#[derive(Debug)]
pub(crate) struct UserContact {
    /// The name, and the whole URI if it is a GRUU.
    name: Aor,
    gruu: Option<Box<[u8]>>,
    /// The preference that the user who registered it gave it, in thousandths.
    pub(super) q: u16,
}

/// Several of them, behind one pointer: a plan is moved often, and hardly any has one.
#[derive(Debug, Default)]
pub(crate) struct UserContacts(pub(super) Vec<UserContact>);

impl UserContact {
    /// Whether a Contact surely names no user of ours, nor is a `sips:` one that is called in the clear. Mostly its host is the
    /// address that it leads to: [`super::way_to`] finds no way to an address of ours, nor one for `sips:` that is not secure.
    pub(super) fn is_none(binding: &Binding<'_>, target: Option<&Target>, settings: &Settings) -> bool {
        if let Some(Target { next_hop: NextHop::Hop(hop), over_flow: false, .. }) = target
            && binding.path().is_empty()
        {
            return !hop.transport.is_secure() && !settings.has_literal_name(hop.remote.ip());
        }
        let contact = binding.contact();
        let is_foreign = |ip| !settings.listens_on(ip) && !settings.has_literal_name(ip);
        !is_sips(contact) && literal_host(contact).is_some_and(is_foreign)
    }

    /// Whom it names; none if it is a GRUU that was not made here.
    pub(super) fn into_callee(self, gruus: &Gruus) -> Option<Callee> {
        match self.gruu {
            None => Some(Callee::user(self.name)),
            Some(uri) => gruus.read(&uri, self.name).ok(),
        }
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
