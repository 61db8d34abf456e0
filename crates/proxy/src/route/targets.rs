//! From bindings or a URI to a [`Plan`] (RFC 3261 16.5, 16.6 step 7).
//!
//! Groups by the configured strategy; finds out how each target is reached. Does not look at the caller.

use std::cmp::Reverse;

use location::{Aor, Binding, Flow, FlowId, Record};
use parser::{Method, SipUri, Transport, Uri};
use smallvec::SmallVec;

use crate::clock::{Now, Wall};
use crate::dialog::Next;
use crate::hop::Hop;
use crate::reach;
use crate::reject::Reject;
use crate::request::{FlowAhead, Request};
use crate::settings::unregistered_fixed_bindings;
use crate::settings::{Settings, Strategy};
use crate::target::is_sips;

use super::preferences::{self, Candidate, Candidates, Disposition};
use super::{
    Callee, Group, Gruus, Plan, Target, TargetUri, UserContact, Way, admits_hop, route_uri, secure, way_over, way_to,
};

/// The plan for a user with this record.
pub(crate) fn plan_for_bindings(
    request: &Request,
    aor: &Aor,
    record: Option<&Record>,
    settings: &Settings,
    now: Now,
) -> Result<Plan, Reject> {
    plan_for_candidates(request, aor, candidates(record, settings.accounts.contacts(aor), now), settings)
}

/// The plan for a Request-URI that names a user with this record, or one phone of that user (RFC 5627 6.1).
pub(crate) fn plan_for_callee(
    request: &Request,
    callee: &Callee,
    record: Option<&Record>,
    settings: &Settings,
    gruus: &Gruus,
    now: Now,
) -> Result<Plan, Reject> {
    let aor = &callee.aor;
    if callee.phone.is_none() {
        let plan = plan_for_bindings(request, aor, record, settings, now)?;
        return Ok(Plan { aor: Some(aor.clone()), ..plan });
    }
    let mut candidates = candidates(record, None, now);
    candidates.retain(|candidate| gruus.leads_to(callee, &candidate.binding));
    if candidates.is_empty() && callee.is_void() {
        return Err(Reject::NotFound);
    }
    let plan = plan_for_candidates(request, aor, candidates, settings)?;
    if request.in_dialog { within_dialog(plan, request, settings) } else { Ok(plan) }
}

/// In a dialog what is left of its Route is the way, and not the Path of the binding (RFC 5627 6.1); an ACK goes to one
/// place.
fn within_dialog(mut plan: Plan, request: &Request, settings: &Settings) -> Result<Plan, Reject> {
    let route = request.next_route();
    if route.is_some() || request.method() == Method::Ack {
        plan.keep_best();
    }
    for target in plan.targets_mut() {
        if let (Some(route), TargetUri::Binding(record, index)) = (route, &target.uri) {
            let uri = TargetUri::BindingAlone(record.clone(), *index);
            let way = way_to(&route_uri(route).ok_or(Reject::Unroutable)?, settings)?;
            if let Way::Hop(hop) = &way {
                let barred = |barred| Reject::Address { place: "Route", barred };
                reach::may_send(hop.remote.ip(), request.flow.remote.ip(), settings).map_err(barred)?;
            }
            admits_hop(uri.with_path(request).0, route, &way)?;
            *target = Target { uri, way, over_flow: false };
        }
    }
    Ok(plan)
}

fn plan_for_candidates(
    request: &Request,
    aor: &Aor,
    mut candidates: Candidates<'_>,
    settings: &Settings,
) -> Result<Plan, Reject> {
    let disposition = Disposition::of(request, settings);
    let Disposition { fork, redirect, strategy, .. } = disposition;
    let mut plan = Plan { disposition, ..Plan::default() };
    preferences::apply(&request.message, &mut candidates);
    // RFC 3841 9.1: who asks for the addresses gets them in order, and who asks for one the best.
    let all_at_once = strategy == Strategy::Parallel && fork && !redirect;
    if !all_at_once {
        // Stable: those that are equally good keep the order in which they registered.
        candidates.sort_by_key(|candidate| Reverse(candidate.rank()));
    }
    let (mut last, mut barred, asked_sips) = (None, None, is_sips(request.uri()));
    for candidate in candidates {
        // What was registered before the rule, or under another configuration, is not called.
        let target =
            target_for(&candidate, settings).filter(|target| reach::is_reachable(target, &candidate.binding, settings));
        if request.in_dialog && !is_own_place(&candidate, target.as_ref(), settings) {
            continue;
        }
        if asked_sips || !UserContact::is_none(&candidate.binding, target.as_ref(), settings) {
            match special(&candidate, target.as_ref(), request, settings) {
                Ok(None) => {}
                Ok(Some(user)) => {
                    plan.users.get_or_insert_default().0.push(user);
                    continue;
                }
                Err(reject) => {
                    barred = Some(reject);
                    continue;
                }
            }
        }
        let Some(target) = target.and_then(|target| dedup_by_instance(target, &mut plan)) else { continue };
        let beside = all_at_once || last == Some(candidate.rank());
        match plan.groups.last_mut().filter(|_| beside) {
            Some(group) => group.targets.push(target),
            None => plan.groups.push(Group { q: candidate.rank().0, targets: SmallVec::from_iter([target]) }),
        }
        last = Some(candidate.rank());
    }
    plan.spares.sort_by_key(|spare| Reverse(age(&spare.uri)));
    if plan.groups.is_empty() && plan.users.is_none() {
        // checklist 46
        let unknown = !settings.accounts.is_empty() && settings.accounts.find(aor).is_none();
        return Err(if unknown { Reject::NotFound } else { barred.unwrap_or(Reject::NotRegistered) });
    }
    if !fork && !redirect && plan.users.is_none() {
        plan.keep_best();
    }
    Ok(plan)
}

/// Whether a request in a dialog may go to this binding.
#[cold]
fn is_own_place(candidate: &Candidate<'_>, target: Option<&Target>, settings: &Settings) -> bool {
    let binding = &candidate.binding;
    let is_own = |target: &Target| reach::leads_to_own_place(binding, &target.way, target.over_flow, settings);
    let names_user =
        || !reach::is_believed(binding.flow().remote.ip(), settings) && UserContact::of(candidate, settings).is_some();
    target.is_some_and(is_own) && !names_user()
}

/// Whether a Contact names a user of ours, or may not be called because of `sips:`.
#[cold]
fn special(
    candidate: &Candidate<'_>,
    target: Option<&Target>,
    request: &Request,
    settings: &Settings,
) -> Result<Option<UserContact>, Reject> {
    let contact = candidate.binding.contact();
    if let Some(user) = UserContact::of(candidate, settings) {
        return match (is_sips(request.uri()), is_sips(contact)) {
            (true, false) => Err(Reject::SipsNotAllowed),
            (false, true) => Err(Reject::SipsRequired),
            // The bindings of that user are judged when they are looked up.
            _ => Ok(Some(user)),
        };
    }
    secure::admits(request.uri(), contact, target.map(|target| &target.way)).map(|()| None)
}

/// The bindings that may be called: the registered ones, then those of the configuration.
pub(super) fn candidates<'r>(record: Option<&'r Record>, fixed: Option<&'r Record>, now: Now) -> Candidates<'r> {
    let mut candidates = Candidates::new();
    if let Some(record) = record {
        let live = record.bindings().iter().enumerate().filter(|(_, binding)| binding.is_live(now.wall));
        candidates.extend(live.map(|binding| Candidate::new(record, binding)));
    }
    if let Some(fixed) = fixed {
        candidates
            .extend(unregistered_fixed_bindings(fixed, record, now.wall).map(|binding| Candidate::new(fixed, binding)));
    }
    candidates
}

/// RFC 5626 7, RFC 5627 6.1: of several contacts of one phone the one that was refreshed last is tried, wherever the
/// others stand; they are spares. None if the phone is in the plan already.
fn dedup_by_instance(mut target: Target, plan: &mut Plan) -> Option<Target> {
    if plan.groups.is_empty() {
        return Some(target);
    }
    let Some(instance) = target.uri.instance() else { return Some(target) };
    let rival = plan.groups.iter_mut().flat_map(|group| &mut group.targets);
    let Some(rival) = rival.into_iter().find(|rival| rival.uri.instance() == Some(instance)) else {
        return Some(target);
    };
    if age(&target.uri) > age(&rival.uri) {
        std::mem::swap(rival, &mut target);
    }
    plan.spares.push(target);
    None
}

/// When it was refreshed; of the same moment the Contact that was added later is the younger one.
fn age(uri: &TargetUri) -> Option<(Wall, usize)> {
    match uri {
        TargetUri::Binding(_, index) | TargetUri::BindingAlone(_, index) => {
            Some((uri.binding()?.registered_at(), *index))
        }
        TargetUri::Request | TargetUri::Redirect(_) => None,
    }
}

/// How far a request may lead that goes by its own Route or Request-URI.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Toward {
    /// Nowhere that its sender could not register.
    Anybody,
    /// To the other side of its dialog, wherever that is; over its flow, if only that leads there.
    OtherSide(Option<FlowAhead>),
}

/// The target of a request that goes by its own Route or Request-URI.
pub(crate) fn target_for_next(
    next: &Next<'_>,
    toward: Toward,
    request: &Request,
    settings: &Settings,
) -> Result<Target, Reject> {
    let uri = TargetUri::Request;
    if let Toward::OtherSide(Some(ahead)) = toward
        && let Some(flow) = ahead.peer.hop(settings)
    {
        let hop = if ahead.or_named { over_flow(flow, &next.uri) } else { flow.only_over_connection() };
        let way = Way::Hop(hop);
        admits_hop(request.uri(), next.uri.as_bytes(), &way)?;
        return Ok(Target { uri, way, over_flow: true });
    }
    let way = match way_to(&next.uri, settings) {
        // Nothing here speaks TLS.
        Err(Reject::Unroutable) if next.uri.secure => return Err(Reject::SipsNotAllowed),
        way => way?,
    };
    admits_hop(request.uri(), next.uri.as_bytes(), &way)?;
    if let (Toward::Anybody, Way::Hop(hop)) = (toward, &way) {
        let place = if next.by_route { "Route" } else { "Request-URI" };
        let from = request.flow.remote.ip();
        reach::may_send(hop.remote.ip(), from, settings).map_err(|barred| Reject::Address { place, barred })?;
    }
    Ok(Target { uri, way, over_flow: false })
}

/// Whether a response comes from where its request went, so that nobody else answers a call. Besides the hop itself: where
/// the phone registered from, as some phones listen at one port and send from another; any port of a host that is no
/// phone of ours; and a host in the trunk's own networks.
pub(crate) fn may_answer(hop: &Hop, target: &Target, source: &Flow, settings: &Settings) -> bool {
    if hop.is_source_of(source) {
        return true;
    }
    let same_host = hop.remote.ip() == source.remote.ip();
    let registered_there =
        || target.uri.binding().is_some_and(|binding| Hop::back(&binding.flow()).is_source_of(source));
    let trusted = || settings.trusts(hop.remote.ip()) && settings.trusts(source.remote.ip());
    hop.transport == source.transport && ((same_host && target.uri.aor().is_empty()) || registered_there() || trusted())
}

/// None if the binding cannot be called.
pub(super) fn target_for(candidate: &Candidate<'_>, settings: &Settings) -> Option<Target> {
    let Candidate { record, index, binding, .. } = candidate;
    let (way, over_flow) = way_of(binding, settings)?;
    Some(Target { uri: TargetUri::Binding((*record).clone(), *index), way, over_flow })
}

/// How a binding is reached, and whether that is its flow. None if it cannot be called: another scheme, a transport that we do
/// not speak, or a flow that is gone.
pub(super) fn way_of(binding: &Binding<'_>, settings: &Settings) -> Option<(Way, bool)> {
    if let Some(path) = first_path(binding.path()) {
        return Some((way_to(&route_uri(path)?, settings).ok()?, false));
    }
    let Ok(Uri::Sip(contact)) = Uri::parse(binding.contact()) else { return None };
    let flow = binding.flow();
    if is_outbound(binding) {
        return Some((Way::Hop(only_over(&flow, settings)?), true));
    }
    match flow_of(binding, &contact, settings) {
        Some(flow) => Some((Way::Hop(over_flow(flow, &contact)), true)),
        // The connection ended with an earlier run of the program. Its transport is the one that the phone speaks.
        None if flow.transport.is_reliable() && fits(&contact, flow.transport) => {
            Some((way_over(&contact, flow.transport, settings).ok()?, false))
        }
        None => Some((way_to(&contact, settings).ok()?, false)),
    }
}

/// Whether the phone keeps this flow open for us, and says which of its flows it is (RFC 5626 4.2).
fn is_outbound(binding: &Binding<'_>) -> bool {
    binding.reg_id().is_some() && binding.instance().is_some()
}

/// RFC 5626 7: over the flow that registered, and no other way. `None` if it ended with an earlier run of the program, or
/// if it ends at another server.
fn only_over(flow: &Flow, settings: &Settings) -> Option<Hop> {
    if flow.id.is_elsewhere() {
        return None;
    }
    if !flow.transport.is_reliable() {
        return Some(back_through_nat(flow, settings));
    }
    flow.id.connection().map(|_| Hop::back(flow).only_over_connection())
}

/// To where a datagram came from, from the address of ours that leads there now.
fn back_through_nat(flow: &Flow, settings: &Settings) -> Hop {
    let local = settings.local_for(flow.transport, flow.remote.ip()).unwrap_or(flow.local);
    Hop::to_address(flow.transport, flow.remote, local)
}

/// A phone's flow. When its connection has closed, the address that the phone names is what is left to try, unless only the
/// phone can open a connection.
pub(crate) fn over_flow(flow: Hop, named: &SipUri<'_>) -> Hop {
    match crate::dialog::literal(named) {
        Some(remote) if flow.transport.is_reliable() && !flow.transport.is_websocket() => Hop { remote, ..flow },
        _ => flow,
    }
}

fn first_path(path: &[u8]) -> Option<&[u8]> {
    parser::elements(path).next()
}

/// The way that the REGISTER came, where that leads to the phone and the Contact may not: a phone that registered over a
/// stream is called over it, unless its Contact names another transport; one behind a NAT is called at its source (`nat`).
fn flow_of(binding: &Binding<'_>, contact: &SipUri<'_>, settings: &Settings) -> Option<Hop> {
    let flow = binding.flow();
    if !fits(contact, flow.transport) {
        return None;
    }
    match flow.id {
        FlowId::None | FlowId::Elsewhere(_) => None,
        FlowId::Nat => Some(back_through_nat(&flow, settings)),
        FlowId::Connection(_) => Some(Hop::back(&flow)),
    }
}

/// Whether a Contact can be reached over this transport: it names it, or none.
fn fits(contact: &SipUri<'_>, transport: Transport) -> bool {
    match contact.param("transport") {
        // RFC 7118 5.2: `ws` in URIs, also over TLS.
        Some(_) if transport == Transport::Wss => contact.transport().is_some_and(|named| named.is_websocket()),
        Some(_) => contact.transport() == Some(transport),
        // RFC 3261 26.2.2: no clear text for `sips:`.
        None => !contact.secure || matches!(transport, Transport::Tls | Transport::Wss),
    }
}
