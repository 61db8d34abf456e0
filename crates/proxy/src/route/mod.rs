//! The targets of a request (RFC 3261 16.4, 16.5): from a request to a [`Plan`].
//!
//! 1. `loose` removes our own Route values and reads the token of the dialog.
//! 2. `admission` decides whether the sender has to authenticate.
//! 3. `next_step` decides by the Request-URI: a local user is looked up, any other URI is a target itself.
//!
//! A plan for which [`Plan::is_single`] holds can be forwarded without a transaction. Must not write messages.

mod admission;
mod contacts;
mod current_flow;
mod dialog_check;
mod from_trunk;
mod gruu;
mod loose;
mod mailbox;
mod next_step;
mod node_targets;
mod office;
mod own_events;
mod preferences;
mod privacy;
mod redirect;
mod resolved;
mod search;
mod secure;
mod targets;
mod user_contacts;

use std::net::SocketAddr;

use location::Aor;
use parser::{Host, Method, SipUri, Uri};
use smallvec::SmallVec;

use crate::calls::CallRef;
use crate::hop::{Hop, Name};
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::Settings;
use crate::target::{NextHop, Target, TargetUri, route_uri};

pub(crate) use admission::{
    AuthRequirement, CallerName, auth_requirement, auth_requirement_in_dialog, caller_name, check_outside_of_dialogs,
    refusal_of_stranger, required_domain,
};
pub(crate) use contacts::{ContactSearch, plan_for_contact};
pub(crate) use current_flow::current_flow;
pub(crate) use dialog_check::{DialogCheck, NextLoad};
pub use from_trunk::trunk_resolutions;
pub(crate) use from_trunk::{called_by_trunk, check_refer};
pub(crate) use gruu::{Callee, Gruus, OnePhone, last_issue};
pub(crate) use loose::{accept_routes, invite_key};
pub(crate) use mailbox::mailbox_step;
pub(crate) use next_step::{NextStep, next_step, office_step};
pub use office::Rule;
pub(crate) use office::{Course, Leg, Turn, caller_of, members_in_place_of, next_leg, next_party};
pub(crate) use own_events::{is_to_itself, without_sender};
pub(crate) use preferences::Disposition;
pub(crate) use privacy::check_privacy;
pub(crate) use redirect::contacts_to_follow;
pub(crate) use search::{Missing, NoTarget, Purpose, Search, TargetSearch, turn_of};
pub(crate) use secure::check_sips_hop;
pub(crate) use targets::{Toward, may_respond, plan_for_bindings, plan_for_callee, target_for_next, via_flow};
pub(crate) use user_contacts::{UserContact, UserContacts};

/// The targets of a request, in the order in which they are tried.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The groups, which are tried one after another.
    pub(crate) groups: SmallVec<[Group; 1]>,
    /// Targets for failover: further bindings of phones in the groups, and further addresses of host names (RFC 3263
    /// 4.3), in the order in which they are tried. One is tried only after a flow failed, because a phone is reached
    /// over one flow at a time (RFC 5626 7).
    pub(crate) spares: Vec<Target>,
    /// Contacts that name local users, who are still to be looked up. Few plans have any, so they are boxed.
    pub(crate) users: Option<Box<UserContacts>>,
    /// The local user that the plan is for.
    pub(crate) aor: Option<Aor>,
    /// How the request is treated.
    pub(crate) disposition: Disposition,
    /// The address of the other side of the dialog, if the plan leads there.
    pub(crate) other_side: Option<SocketAddr>,
    /// The course of a call by the rules of the office.
    pub(crate) course: Option<Box<Course>>,
    /// The call that the request begins, once it is forwarded.
    pub(crate) call: Option<CallRef>,
}

/// Targets that are tried at the same time.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The q value of its targets, in thousandths.
    pub(crate) q: u16,
    pub(crate) targets: SmallVec<[Target; 1]>,
}

/// Where a Request-URI leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To a local user.
    User(Aor),
    /// To the phone of a GRUU (RFC 5627). The name is the user, or the encrypted part of a temporary GRUU.
    Gruu(Aor),
    /// To this server itself.
    Server,
    /// To a foreign domain or an address.
    Elsewhere,
}

impl Plan {
    /// A plan with one target.
    pub(crate) fn with_target(target: Target) -> Self {
        let mut group = Group::default();
        group.targets.push(target);
        let mut groups = SmallVec::new();
        groups.push(group);
        Self { groups, ..Self::default() }
    }

    /// Whether it can be forwarded without a transaction: it has one target, and none for failover.
    pub(crate) fn is_single(&self) -> bool {
        self.phones() == 1 && self.spares.is_empty() && self.course.is_none()
    }

    /// The first target.
    pub(crate) fn best(&self) -> Option<&Target> {
        self.groups.first()?.targets.first()
    }

    /// Takes the only target.
    pub(crate) fn take_single(&mut self) -> Option<Target> {
        self.groups.first_mut()?.targets.pop()
    }

    /// All targets; those for failover are the last.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.groups.iter().flat_map(|group| &group.targets).chain(&self.spares)
    }

    /// All targets, as [`Plan::targets`].
    pub(crate) fn targets_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        self.groups.iter_mut().flat_map(|group| &mut group.targets).chain(&mut self.spares)
    }

    /// The same targets in one group.
    pub(super) fn in_one_group(mut self) -> Self {
        let targets = self.groups.drain(..).flat_map(|group| group.targets).collect::<SmallVec<_>>();
        if !targets.is_empty() {
            self.groups.push(Group { q: 0, targets });
        }
        self
    }

    /// Removes all targets but the first.
    pub(crate) fn keep_best(&mut self) {
        self.groups.truncate(1);
        self.groups.iter_mut().for_each(|group| group.targets.truncate(1));
        self.spares.clear();
    }

    /// Whether a user must be looked up or a host name resolved before it can be used.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.users.is_some() || self.targets().any(|target| matches!(target.next_hop, NextHop::Name(_)))
    }

    /// The host names that must be resolved.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.targets().filter_map(|target| match &target.next_hop {
            NextHop::Name(name) => Some(name),
            NextHop::Hop(_) => None,
        })
    }

    /// The number of targets in all groups.
    pub(crate) fn phones(&self) -> usize {
        self.groups.iter().map(|group| group.targets.len()).sum()
    }
}

/// Where a request goes according to its Request-URI.
pub(crate) fn destination_of(request: &Request, settings: &Settings) -> Result<Destination, Reject> {
    Ok(destination_and_uri(request, settings)?.0)
}

/// The same with the Request-URI; without, if it is the plain name of a user or of the first domain and no Route leads
/// elsewhere, as nearly always outside of dialogs.
pub(crate) fn destination_and_uri<'r>(
    request: &'r Request,
    settings: &Settings,
) -> Result<(Destination, Option<Uri<'r>>), Reject> {
    if request.next_route().is_none() {
        if let Some(aor) = settings.plain_aor(request.uri()) {
            return Ok((Destination::User(aor), None));
        }
        if settings.is_plain_domain(request.uri()) {
            return Ok((Destination::Server, None));
        }
    }
    let uri = request.typed_uri()?;
    Ok((destination_of_uri(&uri, request.method(), settings)?, Some(uri)))
}

/// As [`destination`], for a Request-URI: a telephone number (RFC 3966) is a name of the office, if it has rules, and so is
/// `urn:service:sos`.
fn destination_of_uri(uri: &Uri<'_>, method: Method<'_>, settings: &Settings) -> Result<Destination, Reject> {
    if let Uri::Other { scheme, rest, .. } = uri
        && let Some(number) = number_of(scheme, rest, settings)
    {
        return Ok(number);
    }
    destination(uri, method, settings)
}

/// Where a Request-URI leads (RFC 3261 16.3 step 2, 16.5).
pub(crate) fn destination(uri: &Uri<'_>, method: Method<'_>, settings: &Settings) -> Result<Destination, Reject> {
    // RFC 3261 16.3 step 2: 416 for a scheme that cannot be routed.
    let Uri::Sip(uri) = uri else { return Err(Reject::Scheme) };
    let Some(domain) = settings.domain_named_by(uri) else { return Ok(Destination::Elsewhere) };
    // RFC 3261 16.5: a maddr of another host overrides the domain.
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

/// The number in a `tel:` URI (RFC 3966 3), or the one that `urn:service:sos` stands for with its more special services
/// (RFC 5031 4.2), as a name of the first domain. `None` where no name is a number.
fn number_of(scheme: &[u8], rest: &[u8], settings: &Settings) -> Option<Destination> {
    let domain = settings.domains.first().filter(|_| !settings.has_no_office_rules())?;
    let number = if scheme.eq_ignore_ascii_case(b"tel") {
        // RFC 3966 3: the number ends where its parameters begin.
        rest.split(|octet| *octet == b';').next()?
    } else {
        let service = rest.get(..11).filter(|_| scheme.eq_ignore_ascii_case(b"urn"))?;
        let is_sos = service.eq_ignore_ascii_case(b"service:sos") && matches!(rest.get(11), None | Some(b'.'));
        settings.emergency_number().filter(|_| is_sos)?.as_bytes()
    };
    Some(Destination::User(Aor::new(number, domain.as_bytes())))
}

/// Whether a maddr is this server. The port of the URI must be ours too; without one, any listener of the address will
/// do.
fn is_own_maddr(maddr: &Host<'_>, port: Option<u16>, settings: &Settings) -> bool {
    settings.is_own(maddr, port) || (port.is_none() && maddr.ip().is_some_and(|ip| settings.listens_on(ip)))
}

/// The next hop of a URI: an address, or a host name to resolve (RFC 3261 16.6 step 7).
pub(crate) fn next_hop_of(uri: &SipUri<'_>, settings: &Settings) -> Result<NextHop, Reject> {
    let transport = match uri.transport() {
        // RFC 3261 26.2.2: `sips:` with transport=tcp means TLS over TCP. There is no secure variant of UDP.
        None | Some(parser::Transport::Tcp) if uri.secure => parser::Transport::Tls,
        Some(parser::Transport::Ws) if uri.secure => parser::Transport::Wss,
        Some(parser::Transport::Udp) if uri.secure => return Err(Reject::SipsNotAllowed),
        transport => return next_hop_over(uri, transport, settings),
    };
    next_hop_over(uri, Some(transport), settings)
}

/// The next hop of a URI over this transport, if it is known.
pub(crate) fn next_hop_over(
    uri: &SipUri<'_>,
    transport: Option<parser::Transport>,
    settings: &Settings,
) -> Result<NextHop, Reject> {
    // RFC 7118 1: a WebSocket client is reached over the connection that it opened, and no other way.
    if transport.is_some_and(|transport| transport.is_websocket()) {
        return Err(Reject::Unroutable);
    }
    // Nothing can be sent there. Scanners use it.
    if uri.port == Some(0) {
        return Err(Reject::Unroutable);
    }
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
        return Ok(NextHop::Name(Name { host, port: uri.port, transport, secure: uri.secure }));
    };
    // RFC 3263 4.1: UDP if a URI with an address names no transport.
    let transport = transport.unwrap_or(parser::Transport::Udp);
    let port = uri.port.unwrap_or_else(|| transport.default_port());
    next_hop_at(transport, SocketAddr::new(ip, port), uri.port.is_some(), settings)
}

/// The next hop of a URI with this address. `has_port`: whether the URI names the port.
fn next_hop_at(
    transport: parser::Transport,
    address: SocketAddr,
    has_port: bool,
    settings: &Settings,
) -> Result<NextHop, Reject> {
    let ip = address.ip();
    // Nothing can be sent to these.
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(Reject::Unroutable);
    }
    // A request to ourselves would come back as often as Max-Forwards permits. A URI without a port is ours if its
    // address is.
    let is_ours = if has_port { settings.is_own_address(ip, Some(address.port())) } else { settings.listens_on(ip) };
    if is_ours {
        return Err(Reject::Loop);
    }
    let local = settings.local_for(transport, ip).ok_or(Reject::Unroutable)?;
    Ok(NextHop::Hop(Hop::to_address(transport, address, local)))
}

/// Whether a name is one that phones without an address of their own use (RFC 7118 5, RFC 2606 2). RFC 6761 6.4: it is
/// never looked up.
fn is_invalid(name: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let label = name.rsplit(|octet| *octet == b'.').next().unwrap_or_default();
    label.eq_ignore_ascii_case(b"invalid")
}
