//! From bindings or a URI to a [`Plan`] (RFC 3261 16.5, 16.6 step 7).
//!
//! Groups by the configured strategy; finds out how each target is reached. Does not look at the caller.

use std::net::SocketAddr;
use std::sync::Arc;

use location::{Aor, Binding, Record};
use parser::{SipUri, Uri};

use crate::clock::Now;
use crate::hop::Hop;
use crate::registrar::{SYMMETRIC, besides};
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::{Settings, Strategy};

use super::{Group, Plan, Target, TargetUri, Way, route_uri, way_to};

/// q of a binding that has none: as if it were the highest (RFC 3261 16.6 leaves it open; phones that say nothing
/// should ring first).
const DEFAULT_Q: u16 = 1000;

/// The plan for a user with this record.
pub(crate) fn plan_for_bindings(
    aor: &Aor,
    record: Option<&Arc<Record>>,
    settings: &Settings,
    now: Now,
) -> Result<Plan, Reject> {
    let mut plan = Plan { groups: smallvec::SmallVec::new() };
    let mut usable = usable(record, settings.accounts.contacts(aor), now);
    if settings.forking.strategy == Strategy::Sequential {
        // Stable: equal q keep the order in which they registered.
        usable.sort_by_key(|(q, ..)| std::cmp::Reverse(*q));
    }
    let mut last_q = None;
    for (q, record, index) in usable {
        let Some(target) = target_for_binding(record, index, settings) else { continue };
        let same_group = settings.forking.strategy == Strategy::Parallel || last_q == Some(q);
        match plan.groups.last_mut().filter(|_| same_group) {
            Some(group) => group.targets.push(target),
            None => {
                let mut group = Group::default();
                group.targets.push(target);
                plan.groups.push(group);
            }
        }
        last_q = Some(q);
    }
    if plan.groups.is_empty() {
        // checklist 46
        let unknown = !settings.accounts.is_empty() && settings.accounts.find(aor).is_none();
        return Err(if unknown { Reject::NotFound } else { Reject::NotRegistered });
    }
    Ok(plan)
}

/// The bindings that may be called, each as its place and its q: the registered ones, then those of the configuration.
fn usable<'r>(
    record: Option<&'r Arc<Record>>,
    fixed: Option<&'r Arc<Record>>,
    now: Now,
) -> smallvec::SmallVec<[(u16, &'r Arc<Record>, usize); 8]> {
    let mut usable = smallvec::SmallVec::new();
    let q = |binding: &Binding| binding.q().unwrap_or(DEFAULT_Q);
    if let Some(record) = record {
        let live = record.bindings().iter().enumerate().filter(|(_, binding)| binding.is_live(now.wall));
        usable.extend(live.map(|(index, binding)| (q(binding), record, index)));
    }
    if let Some(fixed) = fixed {
        let registered = record.map(|record| &**record);
        usable.extend(besides(fixed, registered, now.wall).map(|(index, binding)| (q(binding), fixed, index)));
    }
    usable
}

/// The target of a request that goes by its own Route or Request-URI.
pub(crate) fn target_for_uri(request: &Request, settings: &Settings) -> Result<Target, Reject> {
    let uri = TargetUri::Request;
    if let Some(route) = request.routes().next() {
        let way = way_to(&route_uri(route).ok_or(Reject::Unroutable)?, settings)?;
        return Ok(Target { uri, way, over_flow: false });
    }
    let Ok(Uri::Sip(remote_target)) = Uri::parse(request.uri()) else { return Err(Reject::Scheme) };
    match request.flow_ahead.and_then(|peer| peer.hop(settings)) {
        Some(flow) => Ok(Target { uri, way: Way::Hop(over_flow(flow, &remote_target)), over_flow: true }),
        None => Ok(Target { uri, way: way_to(&remote_target, settings)?, over_flow: false }),
    }
}

/// None if the binding cannot be called: another scheme, or a transport that we do not speak.
fn target_for_binding(record: &Arc<Record>, index: usize, settings: &Settings) -> Option<Target> {
    let binding = record.bindings().get(index)?;
    let uri = TargetUri::Binding(Arc::clone(record), index);
    if let Some(path) = first_path(binding.path()) {
        return Some(Target { uri, way: way_to(&route_uri(path)?, settings).ok()?, over_flow: false });
    }
    let Ok(Uri::Sip(contact)) = Uri::parse(binding.contact()) else { return None };
    match flow_of(binding, &contact, settings) {
        Some(flow) => Some(Target { uri, way: Way::Hop(over_flow(flow, &contact)), over_flow: true }),
        None => Some(Target { uri, way: way_to(&contact, settings).ok()?, over_flow: false }),
    }
}

/// A phone's flow. When its connection has closed, the address that the phone names is what is left to try.
fn over_flow(flow: Hop, named: &SipUri<'_>) -> Hop {
    let port = named.port.unwrap_or_else(|| flow.transport.default_port());
    match named.host.ip() {
        Some(ip) if flow.transport.is_reliable() => Hop { remote: SocketAddr::new(ip, port), ..flow },
        _ => flow,
    }
}

fn first_path(path: &[u8]) -> Option<&[u8]> {
    parser::elements(path).next()
}

/// The way that the REGISTER came, where the Contact alone may not lead to the phone: one behind a firewall cannot be
/// connected to, and one behind a NAT names an address that is not its own. A phone that named its flow wants no other
/// (RFC 5626 7).
fn flow_of(binding: &Binding, contact: &SipUri<'_>, settings: &Settings) -> Option<Hop> {
    let flow = binding.flow();
    let transport = contact.transport();
    if flow.transport.is_reliable() {
        return (transport == Some(flow.transport) && flow.connection != 0).then(|| Hop::back(flow));
    }
    let named = binding.reg_id().is_some();
    let translated = flow.connection == SYMMETRIC && contact.host.ip().is_some_and(|ip| ip != flow.remote.ip());
    let fits = transport.is_none_or(|transport| transport == flow.transport);
    let local = settings.local_for(flow.transport, flow.remote.ip()).unwrap_or(flow.local);
    (named || translated && fits).then_some(Hop { local, connection: 0, ..Hop::back(flow) })
}
