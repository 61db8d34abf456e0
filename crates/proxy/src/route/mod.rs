//! Where does a request go? RFC 3261 16.4, 16.5 and the rules of the house, in order; makes a [`Plan`], never bytes.
//!
//! 1. `loose`: our own Route values come off; a request with one we signed may go on in its dialog.
//! 2. `admission`: who may send what to whom.
//! 3. here: a user of ours by its bindings, anything else by its URI.
//!
//! One rule decides between the stateless and the stateful way, [`Plan::is_single`].

mod admission;
mod contacts;
mod dialog_check;
mod gruu;
mod loose;
mod next_step;
mod own_events;
mod preferences;
mod privacy;
mod redirect;
mod resolved;
mod search;
mod secure;
mod targets;
mod today;
mod user_contacts;

use location::Aor;
use parser::{Host, Method, SipUri, Uri};
use smallvec::SmallVec;

use crate::hop::{Hop, Name};
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::Settings;
use crate::target::{Target, TargetUri, Way, route_uri};

pub(crate) use admission::{
    AuthRequirement, CallsAs, admission, admission_in_dialog, calls_as, is_strangers, outside_of_dialogs, was_proven,
};
pub(crate) use contacts::{ContactSearch, plan_for_contact};
pub(crate) use dialog_check::{DialogCheck, NextLoad};
pub(crate) use gruu::{Callee, Gruus, issued};
pub(crate) use loose::accept_routes;
pub(crate) use next_step::{NextStep, next_step};
pub(crate) use own_events::{is_to_itself, without_sender};
pub(crate) use preferences::Disposition;
pub(crate) use privacy::keeps_privacy;
pub(crate) use redirect::redirects;
pub(crate) use search::{Missing, Purpose, Search, TargetSearch};
pub(crate) use secure::admits_hop;
pub(crate) use targets::{Toward, may_answer, over_flow, plan_for_bindings, plan_for_callee, target_for_next};
pub(crate) use today::flow_today;
pub(crate) use user_contacts::{UserContact, UserContacts};

/// The targets, in the order in which they are tried.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// One after another.
    pub(crate) groups: SmallVec<[Group; 1]>,
    /// Further contacts of phones in the groups, and further addresses of their names (RFC 3263 4.3), the one to try first
    /// at the front: each for when a flow has failed, as a phone is tried at one place at a time (RFC 5626 7).
    pub(crate) spares: Vec<Target>,
    /// Contacts that name users of ours, which are still to be looked up; hardly any plan has them.
    pub(crate) users: Option<Box<UserContacts>>,
    /// The user of ours that it was made for.
    pub(crate) aor: Option<Aor>,
    /// How its request is treated.
    pub(crate) disposition: Disposition,
    /// Whether it leads to the other side of a dialog, wherever that is.
    pub(crate) goes_to_other_side: bool,
}

/// Targets that are tried at once.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The preference that they share, in thousandths.
    pub(crate) q: u16,
    pub(crate) targets: SmallVec<[Target; 1]>,
}

/// Where the Request-URI leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To a user of ours.
    User(Aor),
    /// To one phone, which its GRUU names (RFC 5627): by the name of its user, or by one that hides the user.
    Gruu(Aor),
    /// To this server itself.
    Server,
    /// Somewhere else.
    Elsewhere,
}

impl Plan {
    pub(crate) fn one(target: Target) -> Self {
        let mut group = Group::default();
        group.targets.push(target);
        let mut groups = SmallVec::new();
        groups.push(group);
        Self { groups, ..Self::default() }
    }

    /// Whether it needs no transaction: it has one target.
    pub(crate) fn is_single(&self) -> bool {
        self.phones() == 1 && self.spares.is_empty()
    }

    /// The first target.
    pub(crate) fn into_best(self) -> Option<Target> {
        self.groups.into_iter().next()?.targets.into_iter().next()
    }

    /// Every target, spares last.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.groups.iter().flat_map(|group| &group.targets).chain(&self.spares)
    }

    /// As [`Plan::targets`].
    pub(crate) fn targets_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        self.groups.iter_mut().flat_map(|group| &mut group.targets).chain(&mut self.spares)
    }

    /// Leaves one target only, the first.
    pub(crate) fn keep_best(&mut self) {
        self.groups.truncate(1);
        self.groups.iter_mut().for_each(|group| group.targets.truncate(1));
        self.spares.clear();
    }

    /// Whether a user has to be looked up, or a host name, before it can be used.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.users.is_some() || self.targets().any(|target| matches!(target.way, Way::Name(_)))
    }

    /// The names among the ways, for DNS.
    pub(super) fn names(&self) -> SmallVec<[Name; 1]> {
        let name = |target: &Target| match &target.way {
            Way::Name(name) => Some(name.clone()),
            Way::Hop(_) => None,
        };
        self.targets().filter_map(name).collect()
    }

    /// How many ring, all groups together.
    pub(crate) fn phones(&self) -> usize {
        self.groups.iter().map(|group| group.targets.len()).sum()
    }
}

/// Where a request goes by its Request-URI.
pub(crate) fn destination_of(request: &Request, settings: &Settings) -> Result<Destination, Reject> {
    destination(&request.typed_uri()?, request.method(), settings)
}

/// RFC 3261 16.3 step 2, 16.5: is this Request-URI ours to look up?
pub(crate) fn destination(uri: &Uri<'_>, method: Method<'_>, settings: &Settings) -> Result<Destination, Reject> {
    // RFC 3261 16.3 step 2: 416 for a scheme that we cannot route by.
    let Uri::Sip(uri) = uri else { return Err(Reject::Scheme) };
    let Some(domain) = settings.domain_named_by(uri) else { return Ok(Destination::Elsewhere) };
    // RFC 3261 16.5: a maddr that is not ours overrides the domain.
    if let Some(maddr) = uri.maddr()
        && !is_own_maddr(&Host::parse(maddr).unwrap_or(Host::Name(maddr)), uri.port, settings)
    {
        return Ok(Destination::Elsewhere);
    }
    let user = uri.user_unescaped();
    if user.is_empty() {
        return Ok(Destination::Server);
    }
    let aor = Aor::new(&user, domain.as_bytes());
    let is_gruu = uri.param("gr").is_some() && method != Method::Register;
    Ok(if is_gruu { Destination::Gruu(aor) } else { Destination::User(aor) })
}

/// Whether a maddr is this server, with the port of its URI; without one it is our address whatever the port, as in a host.
fn is_own_maddr(maddr: &Host<'_>, port: Option<u16>, settings: &Settings) -> bool {
    settings.is_own(maddr, port) || (port.is_none() && maddr.ip().is_some_and(|ip| settings.listens_on(ip)))
}

/// RFC 3261 16.6 step 7: the address that a URI names, or the name that DNS must translate.
pub(crate) fn way_to(uri: &SipUri<'_>, settings: &Settings) -> Result<Way, Reject> {
    // checklist 118: without NAPTR, UDP where the URI names no transport.
    let transport = match uri.transport() {
        // RFC 3261 26.2.2: `sips:` with transport=tcp is TLS over it; over UDP there is none.
        None | Some(parser::Transport::Tcp) if uri.secure => parser::Transport::Tls,
        Some(parser::Transport::Ws) if uri.secure => parser::Transport::Wss,
        Some(parser::Transport::Udp) if uri.secure => return Err(Reject::SipsNotAllowed),
        Some(transport) => transport,
        None => parser::Transport::Udp,
    };
    way_over(uri, transport, settings)
}

/// The same over this transport.
pub(crate) fn way_over(uri: &SipUri<'_>, transport: parser::Transport, settings: &Settings) -> Result<Way, Reject> {
    // RFC 7118 1: a WebSocket client is reached over the connection that it opened, and no other way.
    if transport.is_websocket() {
        return Err(Reject::Unroutable);
    }
    let port = uri.port.unwrap_or_else(|| transport.default_port());
    let host = match uri.maddr() {
        Some(maddr) => Host::parse(maddr).map_err(|_| Reject::Unroutable)?,
        None => uri.host,
    };
    let Some(ip) = host.ip() else {
        let mut name = Vec::new();
        host.write(&mut name);
        if is_invalid(&name) {
            return Err(Reject::Unroutable);
        }
        let host = String::from_utf8(name).map_err(|_| Reject::Unroutable)?.into();
        return Ok(Way::Name(Name { host, port, transport }));
    };
    // Nothing can be sent there, and 0 is what a scanner tries.
    if port == 0 || ip.is_unspecified() || ip.is_multicast() {
        return Err(Reject::Unroutable);
    }
    // What comes back to us would come back again, Max-Forwards times. Without a port our address is ours, whatever the port.
    let is_ours = if uri.port.is_some() { settings.is_own_address(ip, Some(port)) } else { settings.listens_on(ip) };
    if is_ours {
        return Err(Reject::Loop);
    }
    let local = settings.local_for(transport, ip).ok_or(Reject::Unroutable)?;
    Ok(Way::Hop(Hop::to_address(transport, std::net::SocketAddr::new(ip, port), local)))
}

/// Whether a name is one that phones without an address of their own use (RFC 7118 5, RFC 2606 2). RFC 6761 6.4: it is
/// never looked up.
fn is_invalid(name: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let label = name.rsplit(|octet| *octet == b'.').next().unwrap_or_default();
    label.eq_ignore_ascii_case(b"invalid")
}
