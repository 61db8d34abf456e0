//! Contacts that name a local user: a user that registers such a Contact forwards its calls to that user. The user is
//! looked up by `search`; nothing is sent to the host of the Contact.
//!
//! Decides which Contacts name a user. Must not load anything; that is done by `core`.

use std::net::IpAddr;

use location::{Aor, Binding};
use parser::{Method, Uri};

use super::preferences::Candidate;
use super::{Callee, Destination, Gruus, NextHop, Plan, Target, destination};
use crate::settings::{Settings, Strategy};
use crate::target::is_sips;

/// A Contact that names a local user.
#[derive(Debug)]
pub(crate) struct UserContact {
    /// The user; for a GRUU the name in it, with the URI in `gruu`.
    name: Aor,
    gruu: Option<Box<[u8]>>,
    /// The q value of the Contact, in thousandths.
    pub(super) q: u16,
}

/// The Contacts of a plan that name users, behind one pointer: plans are moved often, and few have any.
#[derive(Debug, Default)]
pub(crate) struct UserContacts(pub(super) Vec<UserContact>);

impl UserContact {
    /// Whether a Contact certainly needs none of the checks for user names and `sips:`. This is the fast path for
    /// ordinary phones. Usually the next hop tells: [`super::next_hop_of`] never returns an address of this server, nor
    /// an insecure hop for `sips:`.
    pub(super) fn is_ruled_out(binding: &Binding<'_>, target: Option<&Target>, settings: &Settings) -> bool {
        if let Some(Target { next_hop: NextHop::Hop(hop), over_flow: false, .. }) = target
            && binding.path().is_empty()
        {
            return !hop.transport.is_secure() && !settings.has_literal_name(hop.remote.ip());
        }
        let contact = binding.contact();
        let is_foreign = |ip| !settings.listens_on(ip) && !settings.has_literal_name(ip);
        !is_sips(contact) && literal_host(contact).is_some_and(is_foreign)
    }

    /// The user or phone that it names; `None` if it is a GRUU that this server did not issue.
    pub(super) fn into_callee(self, gruus: &Gruus) -> Option<Callee> {
        match self.gruu {
            None => Some(Callee::user(self.name)),
            Some(uri) => gruus.read(&uri, self.name).ok(),
        }
    }

    /// `None` if the Contact names a foreign address or this server itself.
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

/// The IPv4 address that is the host of a SIP URI with a user part; `None` for any other host.
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
            b':' | b';' | b'?' => break,
            _ => return None,
        }
    }
    let [_, _, _, last] = &mut octets;
    *last = value.filter(|_| at == 3)?;
    Some(IpAddr::V4(octets.into()))
}

impl Plan {
    /// Whether all targets are tried at the same time.
    pub(super) fn is_parallel(&self) -> bool {
        self.disposition.strategy == Strategy::Parallel && self.disposition.fork && !self.disposition.redirect
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ipv4_address_is_read_as_one() {
        for (uri, ip) in [
            ("sip:a@192.0.2.11", Some([192, 0, 2, 11])),
            ("sip:a@192.0.2.11:5060;x=1.2", Some([192, 0, 2, 11])),
            ("sip:a@192.0.2.11?x", Some([192, 0, 2, 11])),
            ("sip:a@192.0.2", None),
            ("sip:a@192.0.2.256", None),
            ("sip:a@1.2.3.4.5", None),
            ("sip:a@1..3.4", None),
            ("sip:a@office.example", None),
            ("sip:a@192.0.2.11x.example", None),
            ("sip:192.0.2.11", None),
            ("sip:a@[::1]", None),
            ("sip:a@", None),
        ] {
            assert_eq!(literal_host(uri.as_bytes()), ip.map(IpAddr::from), "{uri}");
        }
    }
}
