//! A Request-URI that is the Contact of a phone (RFC 3261 8.1.1.8) and not the name of a user: which user may have
//! registered it.
//!
//! A table of all Contacts would cost memory for each registration, but such requests are rare. So only a few users are
//! tried, all of them named by the request: the user part of the Contact, which most phones set to the name of their
//! user; the user in To; the user in Referred-By of a transfer (RFC 3892); and the caller, whose other phone it may be.
//! A Contact with a random user part is found only through the latter three, or by its GRUU. Must not decide who may
//! send to it.

use location::{Aor, Record};
use parser::{HeaderName, Host, SipUri, Uri};
use smallvec::SmallVec;

use super::current_flow::has_contact;
use super::preferences::Candidates;
use super::targets::{add_candidates, target_for};
use super::{Plan, route_uri};
use crate::clock::Now;
use crate::nat;
use crate::reach;
use crate::request::Request;
use crate::settings::Settings;

/// The search for the binding whose Contact is the Request-URI.
#[derive(Debug)]
pub(crate) struct ContactSearch {
    /// The user that has to authenticate first; `None` if the sender was admitted already.
    pub(crate) sender: Option<Aor>,
    /// The users whose bindings are still to be searched. The most likely one is the last.
    pub(crate) users: SmallVec<[Aor; 4]>,
}

impl ContactSearch {
    /// For a request that may also go to other destinations. `None` if the Request-URI cannot be the Contact of a local
    /// user.
    pub(crate) fn of_admitted(request: &Request, uri: &Uri<'_>, settings: &Settings) -> Option<Box<Self>> {
        let users = users_with_contact(request, uri, settings)?;
        Some(Box::new(Self { sender: None, users }))
    }

    /// For a request that may go to no other destination. `None` also if From names no local user.
    pub(crate) fn of_unproven(request: &Request, uri: &Uri<'_>, settings: &Settings) -> Option<Box<Self>> {
        let users = users_with_contact(request, uri, settings)?;
        let caller = request.uri_of_from().filter(|caller| settings.domain_named_by(caller).is_some())?;
        Some(Box::new(Self { sender: Some(settings.aor_named_by(&caller)), users }))
    }
}

/// The users that may have registered the Request-URI as a Contact, the most likely one last. `None` if nobody can: a
/// Contact names an IP address or a local host name, while a public host name usually is a domain.
pub(crate) fn users_with_contact(request: &Request, uri: &Uri<'_>, settings: &Settings) -> Option<SmallVec<[Aor; 4]>> {
    let uri = uri.sip()?;
    let is_such = match uri.host {
        Host::V4(_) | Host::V6(_) => true,
        Host::Name(name) => nat::is_local(name),
    };
    if !is_such || uri.maddr().is_some() || request.next_route().is_some() {
        return None;
    }
    let caller = request.uri_of_from();
    let domain = caller
        .as_ref()
        .and_then(|caller| settings.domain_named_by(caller))
        .or_else(|| settings.domains.first().map(|it| &**it))?;
    let named = |uri: &SipUri<'_>| settings.domain_named_by(uri).map(|_| settings.aor_named_by(uri));
    let user = uri.user_unescaped();
    let in_domain = |user: &[u8]| (!user.is_empty()).then(|| Aor::new(user, domain.as_bytes()));
    // Some softphones (baresip) append `-` and a number to the user name in their Contact.
    let bare = user.iter().rposition(|octet| *octet == b'-').and_then(|at| user.get(..at)).and_then(in_domain);
    let referrer = request.message.value(HeaderName::ReferredBy).and_then(route_uri).and_then(|uri| named(&uri));
    let addressee = request.uri_of_to().ok().and_then(|to| named(to.sip()?));
    let mut users = SmallVec::new();
    for user in [caller.as_ref().and_then(named), referrer, bare, addressee, in_domain(&user)].into_iter().flatten() {
        users.retain(|known| *known != user);
        users.push(user);
    }
    Some(users)
}

/// The plan for the phone of this user that has the Request-URI as its Contact. `None` if no such phone is registered.
pub(crate) fn plan_for_contact(
    request: &Request,
    user: &Aor,
    record: Option<&Record>,
    settings: &Settings,
    now: Now,
) -> Option<Plan> {
    let Ok(Uri::Sip(uri)) = request.typed_uri() else { return None };
    let mut all = Candidates::new();
    add_candidates(&mut all, record, settings.accounts.contacts(user), now);
    let candidate = all.iter().find(|candidate| has_contact(&candidate.binding, &uri))?;
    let target = target_for(candidate, settings)?;
    super::check_sips_hop(request.uri(), b"", &target.next_hop).ok()?;
    reach::is_reachable(&target, &candidate.binding, settings).then(|| Plan::with_target(target))
}
