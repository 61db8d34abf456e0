//! From bindings or a URI to a [`Plan`] (RFC 3261 16.5, 16.6 step 7).
//!
//! Groups by the configured strategy; finds out how each target is reached. Does not look at the caller.

use std::sync::Arc;

use location::{Aor, Binding, Record};
use parser::{Transport, Uri};

use crate::clock::Now;
use crate::hop::Hop;
use crate::registrar::SYMMETRIC;
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
    if let Some(record) = record {
        let mut usable: smallvec::SmallVec<[(u16, usize); 8]> = smallvec::SmallVec::new();
        for (index, binding) in record.bindings().iter().enumerate() {
            if binding.is_live(now.wall) {
                usable.push((binding.q().unwrap_or(DEFAULT_Q), index));
            }
        }
        if settings.forking.strategy == Strategy::Sequential {
            // Stable: equal q keep the order in which they registered.
            usable.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
        }
        let mut last_q = None;
        for (q, index) in usable {
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
    }
    if plan.groups.is_empty() {
        // checklist 46
        let unknown = !settings.accounts.is_empty() && settings.accounts.find(aor).is_none();
        return Err(if unknown { Reject::NotFound } else { Reject::NotRegistered });
    }
    Ok(plan)
}

/// The target of a request that goes by its own Route or Request-URI.
pub(crate) fn target_for_uri(request: &Request, settings: &Settings) -> Result<Target, Reject> {
    let way = match request.routes().next() {
        Some(route) => way_to(&route_uri(route).ok_or(Reject::Unroutable)?, settings)?,
        None => match Uri::parse(request.uri()) {
            Ok(Uri::Sip(uri)) => way_to(&uri, settings)?,
            _ => return Err(Reject::Scheme),
        },
    };
    Ok(Target { uri: TargetUri::Request, way })
}

/// None if the binding cannot be called: another scheme, or a transport that we do not speak.
fn target_for_binding(record: &Arc<Record>, index: usize, settings: &Settings) -> Option<Target> {
    let binding = record.bindings().get(index)?;
    let way = match first_path(binding.path()) {
        Some(path) => way_to(&route_uri(path)?, settings).ok()?,
        None => {
            let Ok(Uri::Sip(uri)) = Uri::parse(binding.contact()) else { return None };
            way_over_flow(binding, &uri, settings).map_or_else(|| way_to(&uri, settings).ok(), Some)?
        }
    };
    Some(Target { uri: TargetUri::Binding(Arc::clone(record), index), way })
}

fn first_path(path: &[u8]) -> Option<&[u8]> {
    parser::elements(path).next()
}

/// The way that the REGISTER came, where the Contact alone would not lead to the phone.
fn way_over_flow(binding: &Binding, uri: &parser::SipUri<'_>, settings: &Settings) -> Option<Way> {
    let flow = binding.flow();
    if flow.transport.is_reliable() {
        // A phone behind a firewall cannot be connected to; its own connection is there. When it has closed, the
        // Contact's address is what is left to try.
        let same = uri.transport().unwrap_or(Transport::Udp) == flow.transport && flow.connection != 0;
        if !same {
            return None;
        }
        let port = uri.port.unwrap_or_else(|| flow.transport.default_port());
        let remote = uri.host.ip().map_or(flow.remote, |ip| std::net::SocketAddr::new(ip, port));
        return Some(Way::Hop(Hop { remote, ..Hop::back(flow) }));
    }
    let translated = flow.connection == SYMMETRIC && uri.host.ip().is_some_and(|ip| ip != flow.remote.ip());
    if !translated || uri.transport().is_some_and(|transport| transport != flow.transport) {
        return None;
    }
    let local = settings.local_for(flow.transport, flow.remote.ip()).unwrap_or(flow.local);
    Some(Way::Hop(Hop { transport: flow.transport, remote: flow.remote, local, connection: 0 }))
}
