//! Names in From that an account may use besides its own address of record: its `may_call_as`.
//!
//! A gateway puts the number of the caller into From; a user with a number of the public network may use that number.
//! Values only: `auth` decides which user the credentials belong to, and `route` allows every user an anonymous From
//! (RFC 3323 4.1.1.3).

use hashbrown::HashSet;
use location::Aor;
use parser::Uri;

use super::Settings;

/// A name, or several of one kind, that an account may have in From.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// This user part or number, at the domain of the account or at a host that is not a domain of this server.
    User(Box<[u8]>),
    /// This user part at this host.
    Address(Aor),
    /// Any user part at this host, in lower case, which is not a domain of this server.
    Host(Box<[u8]>),
}

/// The host of an anonymous From (RFC 3323 4.1.1.3).
const ANONYMOUS: &[u8] = b"anonymous.invalid";

/// The sender of a request as its From names it.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// For a `tel:` URI (RFC 3966): the number, and an empty domain.
    pub(crate) address: Aor,
    /// Whether its domain is a domain of this server.
    pub(crate) is_ours: bool,
}

impl Named {
    /// The name in a URI; `None` if it is neither a SIP URI nor a number.
    pub(crate) fn of(uri: &[u8], settings: &Settings) -> Option<Self> {
        if let Some(address) = settings.plain_aor(uri) {
            return Some(Self { address, is_ours: true });
        }
        match Uri::parse(uri).ok()? {
            Uri::Sip(uri) => {
                let is_ours = settings.domain_named_by(&uri).is_some();
                Some(Self { address: settings.aor_named_by(&uri), is_ours })
            }
            Uri::Other { scheme, rest, .. } if scheme.eq_ignore_ascii_case(b"tel") => {
                // RFC 3966 3: the number ends where its parameters begin.
                let number = rest.split(|octet| *octet == b';').next().unwrap_or_default();
                Some(Self { address: Aor::new(number, b""), is_ours: false })
            }
            Uri::Other { .. } => None,
        }
    }

    /// Whether it does not identify the sender: every user may use it.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.address.domain() == ANONYMOUS
    }
}

impl Caller {
    /// Whether this allows the name of the sender, in a request of an account of this domain.
    pub(crate) fn is(&self, named: &Named, domain: &[u8]) -> bool {
        let Named { address, is_ours } = named;
        match self {
            Self::User(user) => **user == *address.user() && (!is_ours || address.domain() == domain),
            Self::Address(own) => own == address,
            Self::Host(host) => !is_ours && **host == *address.domain(),
        }
    }
}

/// Whether some account of any domain may use this name. Checked for each request of a foreign sender, so it is a
/// lookup in a set instead of a search through the accounts.
pub(super) fn is_among(callers: &HashSet<Caller>, named: &Named) -> bool {
    let Named { address, .. } = named;
    !callers.is_empty()
        && (callers.contains(&Caller::User(address.user().into()))
            || callers.contains(&Caller::Host(address.domain().into()))
            || callers.contains(&Caller::Address(address.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(user: &str, domain: &str, is_ours: bool) -> Named {
        Named { address: Aor::new(user.as_bytes(), domain.as_bytes()), is_ours }
    }

    #[test]
    fn each_kind_of_name_permits_the_names_that_it_describes() {
        let user = Caller::User(b"+49891".as_slice().into());
        let address = Caller::Address(Aor::new(b"door", b"gw.example"));
        let host = Caller::Host(b"192.0.2.60".as_slice().into());
        for (name, by_user, by_address, by_host) in [
            (named("+49891", "office.example", true), true, false, false),
            (named("+49891", "branch.example", true), false, false, false),
            (named("+49891", "192.0.2.60", false), true, false, true),
            (named("+49891", "", false), true, false, false),
            (named("door", "gw.example", false), false, true, false),
            (named("Door", "gw.example", false), false, false, false),
            (named("1", "192.0.2.60", true), false, false, false),
            (named("", "192.0.2.60", false), false, false, true),
        ] {
            let is = [&user, &address, &host].map(|caller| caller.is(&name, b"office.example"));
            assert_eq!(is, [by_user, by_address, by_host], "{name:?}");
            let all = HashSet::from_iter([user.clone(), address.clone(), host.clone()]);
            assert!(!is.contains(&true) || is_among(&all, &name), "{name:?}");
        }
        assert!(!is_among(&HashSet::new(), &named("door", "gw.example", false)));
        assert!(named("anonymous", "Anonymous.Invalid", false).is_anonymous());
        assert!(!named("anonymous", "office.example", true).is_anonymous());
    }
}
