//! Whose phone a Request-URI may name that is a Contact (RFC 3261 8.1.1.8) and no name of a user.
//!
//! There is no table of all Contacts: it would cost every registration an entry, for a request that is rare. The Contact itself
//! mostly says whose it is, by its user part; else the request does, by the user that it is to (To, of a request in a dialog), or
//! by the one who transfers (Referred-By, RFC 3892), or it is from a phone to another one of the same user. A Contact with
//! a user part of chance is found in these ways only, or by its GRUU. Must not decide who may send there.

use location::{Aor, Record};
use parser::{HeaderName, Host, SipUri, Uri};
use smallvec::SmallVec;

use super::targets::{candidates, target_for};
use super::today::is_at;
use super::{Plan, route_uri};
use crate::clock::Now;
use crate::nat;
use crate::reach;
use crate::request::Request;
use crate::settings::Settings;

/// A search for the binding whose Contact the Request-URI is.
#[derive(Debug)]
pub(crate) struct ContactSearch {
    /// The user that has to authenticate first; none if that is done.
    pub(crate) sender: Option<Aor>,
    /// Whose bindings are still to be looked at, the likeliest last.
    pub(crate) users: SmallVec<[Aor; 4]>,
}

impl ContactSearch {
    /// For a request that may go anywhere. None if its Request-URI cannot be a Contact of ours.
    pub(crate) fn of_admitted(request: &Request, uri: &Uri<'_>, settings: &Settings) -> Option<Box<Self>> {
        let users = users_with_contact(request, uri, settings)?;
        Some(Box::new(Self { sender: None, users }))
    }

    /// For one that may go nowhere else. None as well if its sender names itself by no user of ours.
    pub(crate) fn of_unproven(request: &Request, uri: &Uri<'_>, settings: &Settings) -> Option<Box<Self>> {
        let users = users_with_contact(request, uri, settings)?;
        let caller = request.from_uri().filter(|caller| settings.domain_named_by(caller).is_some())?;
        Some(Box::new(Self { sender: Some(settings.aor_named_by(&caller)), users }))
    }
}

/// The users whose Contact the Request-URI may be, the likeliest last. None if it can be nobody's: Contacts name addresses, or
/// hosts that no DNS has, and a public host is mostly meant as such.
pub(crate) fn users_with_contact(request: &Request, uri: &Uri<'_>, settings: &Settings) -> Option<SmallVec<[Aor; 4]>> {
    let uri = uri.sip()?;
    let is_such = match uri.host {
        Host::V4(_) | Host::V6(_) => true,
        Host::Name(name) => nat::is_local(name),
    };
    if !is_such || uri.maddr().is_some() || request.next_route().is_some() {
        return None;
    }
    let caller = request.from_uri();
    let domain = caller
        .as_ref()
        .and_then(|caller| settings.domain_named_by(caller))
        .or_else(|| settings.domains.first().map(|it| &**it))?;
    let named = |uri: &SipUri<'_>| settings.domain_named_by(uri).map(|_| settings.aor_named_by(uri));
    let user = uri.user_unescaped();
    let in_domain = |user: &[u8]| (!user.is_empty()).then(|| Aor::new(user, domain.as_bytes()));
    // Some softphones (baresip) append a number to the name, so that they know their own Contact again.
    let bare = user.iter().rposition(|octet| *octet == b'-').and_then(|at| user.get(..at)).and_then(in_domain);
    let referrer = request.message.value(HeaderName::ReferredBy).and_then(route_uri).and_then(|uri| named(&uri));
    let addressee = request.to_uri().ok().and_then(|to| named(to.sip()?));
    let mut users = SmallVec::new();
    for user in [caller.as_ref().and_then(named), referrer, bare, addressee, in_domain(&user)].into_iter().flatten() {
        users.retain(|known| *known != user);
        users.push(user);
    }
    Some(users)
}

/// The plan for the phone of this user whose Contact the Request-URI is. None if it is no phone's that is registered now.
pub(crate) fn plan_for_contact(
    request: &Request,
    user: &Aor,
    record: Option<&Record>,
    settings: &Settings,
    now: Now,
) -> Option<Plan> {
    let Ok(Uri::Sip(uri)) = request.typed_uri() else { return None };
    let all = candidates(record, settings.accounts.contacts(user), now);
    let candidate = all.iter().find(|candidate| is_at(&candidate.binding, &uri))?;
    let target = target_for(candidate, settings)?;
    super::admits_hop(request.uri(), b"", &target.next_hop).ok()?;
    reach::is_reachable(&target, &candidate.binding, settings).then(|| Plan::one(target))
}
