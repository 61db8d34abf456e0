//! From bindings or a URI to a [`Plan`] (RFC 3261 16.5, 16.6 step 7).
//!
//! Puts the targets into groups and chooses the next hop of each. Must not decide whether the caller may call them.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

use location::{Aor, Binding, Flow, FlowId, Record};
use parser::{Method, SipUri, Transport, Uri};
use smallvec::SmallVec;

use crate::clock::{Now, Wall};
use crate::dialog::{Next, plain_udp_address};
use crate::hop::{Hop, Over};
use crate::reach;
use crate::reject::Reject;
use crate::request::{FlowToPeer, Request};
use crate::settings::{Settings, Strategy, fixed_bindings, unregistered_fixed_bindings};
use crate::target::{BoundContact, SentTo, ToTrunk, is_sips};

use super::node_targets::{hop_of_node, without_node};
use super::preferences::{self, Candidate, Candidates, Disposition};
use super::{
    Callee, Group, Gruus, NextHop, OnePhone, Plan, Target, TargetUri, UserContact, check_sips_hop, next_hop_at,
    next_hop_of, next_hop_over, route_uri, secure,
};

/// The plan for a user with this record.
pub(crate) fn plan_for_bindings(
    request: &Request,
    aor: &Aor,
    record: Option<&Record>,
    settings: &Settings,
    now: Now,
) -> Result<Plan, Reject> {
    let mut candidates = Candidates::new();
    add_candidates(&mut candidates, record, settings.accounts.contacts(aor), now);
    plan_for_candidates(request, (aor, true), &mut candidates, settings)
}

/// The plan for a URI of the configuration. Its address is not checked, as for a configured binding.
pub(super) fn plan_for_uri(request: &Request, uri: &str, settings: &Settings, now: Now) -> Result<Plan, Reject> {
    let record = fixed_bindings([(uri, None)]);
    let mut candidates = Candidates::new();
    add_candidates(&mut candidates, None, Some(&record), now);
    plan_for_candidates(request, (&Aor::new(b"", b""), false), &mut candidates, settings)
}

/// The plan for a callee with this record: all phones of the user, or the one that a GRUU names (RFC 5627 6.1).
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
        return plan_for_bindings(request, aor, record, settings, now);
    }
    let mut candidates = Candidates::new();
    if let Some(OnePhone::At(address)) = callee.phone {
        add_candidates(&mut candidates, record, settings.accounts.contacts(aor), now);
        keep_phone_at(address, &mut candidates);
        return plan_for_candidates(request, (aor, true), &mut candidates, settings);
    }
    add_candidates(&mut candidates, record, None, now);
    candidates.retain(|candidate| gruus.matches(callee, &candidate.binding));
    if candidates.is_empty() && callee.is_temporary() {
        return Err(Reject::NotFound);
    }
    let plan = plan_for_candidates(request, (aor, false), &mut candidates, settings)?;
    if request.in_dialog { within_dialog(plan, request, settings) } else { Ok(plan) }
}

/// Keeps the bindings of the phone that sends from this address. A phone may register over another connection than it
/// calls; then those of its host are kept.
fn keep_phone_at(address: SocketAddr, candidates: &mut Candidates<'_>) {
    let flow = |candidate: &Candidate<'_>| candidate.binding.flow().remote;
    if candidates.iter().any(|candidate| flow(candidate) == address) {
        candidates.retain(|candidate| flow(candidate) == address);
    } else if candidates.iter().any(|candidate| flow(candidate).ip() == address.ip()) {
        candidates.retain(|candidate| flow(candidate).ip() == address.ip());
    }
}

/// Adapts the plan to a request in a dialog: its own Route is followed instead of the Path of the binding (RFC 5627
/// 6.1), and an ACK has one target.
fn within_dialog(mut plan: Plan, request: &Request, settings: &Settings) -> Result<Plan, Reject> {
    let route = request.next_route();
    if route.is_some() || request.method() == Method::Ack {
        plan.keep_best();
    }
    for target in plan.targets_mut() {
        if let (Some(route), TargetUri::Binding(contact)) = (route, &target.uri) {
            let uri = TargetUri::BindingAlone(contact.clone());
            let next_hop = next_hop_of(&route_uri(route).ok_or(Reject::Unroutable)?, settings)?;
            if let NextHop::Hop(hop) = &next_hop {
                let barred = |barred| Reject::Address { place: "Route", barred };
                reach::check_address(hop.remote.ip(), request.flow.remote.ip(), settings).map_err(barred)?;
            }
            check_sips_hop(uri.with_path(request).0, route, &next_hop)?;
            *target = Target { uri, next_hop, over_flow: false };
        }
    }
    Ok(plan)
}

/// `is_for_user`: whether the plan is for all phones of `aor`.
fn plan_for_candidates(
    request: &Request,
    (aor, is_for_user): (&Aor, bool),
    candidates: &mut Candidates<'_>,
    settings: &Settings,
) -> Result<Plan, Reject> {
    let disposition = Disposition::of(request, settings);
    let Disposition { fork, redirect, strategy, .. } = disposition;
    let mut plan = Plan { disposition, aor: is_for_user.then(|| aor.clone()), ..Plan::default() };
    preferences::apply_preferences(&request.message, candidates);
    // RFC 3841 9.1: a redirection lists the addresses in order, and without forking only the best is tried.
    let all_at_once = strategy == Strategy::Parallel && fork && !redirect;
    if !all_at_once {
        // The sort is stable: equal candidates stay in the order of their registration.
        candidates.sort_by_key(|candidate| Reverse(candidate.rank()));
    }
    let has_twins = have_twins(candidates);
    let (mut last, mut refusal, asked_sips) = (None, None, is_sips(request.uri()));
    for candidate in &*candidates {
        // A binding may have been stored before its address was forbidden by the configuration.
        let mut target = target_for(candidate, settings);
        target.take_if(|target| !reach::is_reachable(target, &candidate.binding, settings));
        if request.in_dialog && !is_own_address(candidate, target.as_ref(), settings) {
            continue;
        }
        if asked_sips || !UserContact::is_ruled_out(&candidate.binding, target.as_ref(), settings) {
            match check_contact(candidate, target.as_ref(), request, settings) {
                Ok(None) => {}
                Ok(Some(user)) => {
                    plan.users.get_or_insert_default().0.push(user);
                    continue;
                }
                Err(reject) => {
                    refusal = Some(reject);
                    continue;
                }
            }
        }
        let once = |target| if has_twins { dedup_by_instance(target, &mut plan) } else { Some(target) };
        let Some(target) = target.and_then(once) else { continue };
        let joins_group = all_at_once || last == Some(candidate.rank());
        match plan.groups.last_mut().filter(|_| joins_group) {
            Some(group) => group.targets.push(target),
            None => plan.groups.push(Group { q: candidate.rank().0, targets: SmallVec::from_buf([target]) }),
        }
        last = Some(candidate.rank());
    }
    plan.spares.sort_by_key(|spare| Reverse(refreshed_at(&spare.uri)));
    if plan.groups.is_empty() && plan.users.is_none() {
        // checklist 46
        let unknown = !settings.accounts.is_empty() && settings.accounts.find(aor).is_none();
        return Err(if unknown { Reject::NotFound } else { refusal.unwrap_or(Reject::NotRegistered) });
    }
    if !fork && !redirect && plan.users.is_none() {
        plan.keep_best();
    }
    Ok(plan)
}

/// Whether a request in a dialog may go to this binding ([`reach::is_own_address`] has the reason).
#[cold]
fn is_own_address(candidate: &Candidate<'_>, target: Option<&Target>, settings: &Settings) -> bool {
    let binding = &candidate.binding;
    let is_own = |target: &Target| reach::leads_to_own_address(binding, &target.next_hop, target.over_flow, settings);
    let names_user = || {
        !reach::is_exempt_source(binding.flow().remote.ip(), settings) && UserContact::of(candidate, settings).is_some()
    };
    target.is_some_and(is_own) && !names_user()
}

/// The user that a Contact names, if it names one. Otherwise checks `sips:`.
#[cold]
fn check_contact(
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
            // The `sips:` rule is checked for the bindings of that user when they are looked up.
            _ => Ok(Some(user)),
        };
    }
    secure::check_sips_contact(request.uri(), contact, target.map(|target| &target.next_hop)).map(|()| None)
}

/// Adds the bindings that can be called: the registered ones, then the configured ones.
pub(super) fn add_candidates<'r>(
    candidates: &mut Candidates<'r>,
    record: Option<&'r Record>,
    fixed: Option<&'r Record>,
    now: Now,
) {
    if let Some(record) = record {
        let live = record.bindings().iter().enumerate().filter(|(_, binding)| binding.is_live(now.wall));
        candidates.extend(live.map(|binding| Candidate::new(record, binding)));
    }
    if let Some(fixed) = fixed {
        candidates
            .extend(unregistered_fixed_bindings(fixed, record, now.wall).map(|binding| Candidate::new(fixed, binding)));
    }
}

/// Whether two bindings are of one phone.
fn have_twins(candidates: &Candidates<'_>) -> bool {
    let instances = || candidates.iter().filter_map(|candidate| candidate.binding.instance());
    instances().enumerate().any(|(at, instance)| instances().take(at).any(|other| other == instance))
}

/// Ensures that a phone with several bindings is called once (RFC 5626 7, RFC 5627 6.1): the binding that was refreshed
/// last becomes the target, and the other one a target for failover. `None` if the phone is in the plan already.
fn dedup_by_instance(mut target: Target, plan: &mut Plan) -> Option<Target> {
    let Some(instance) = target.uri.instance() else { return Some(target) };
    let mut targets = plan.groups.iter_mut().flat_map(|group| &mut group.targets);
    let Some(other) = targets.find(|other| other.uri.instance() == Some(instance)) else {
        return Some(target);
    };
    if refreshed_at(&target.uri) > refreshed_at(&other.uri) {
        std::mem::swap(other, &mut target);
    }
    plan.spares.push(target);
    None
}

/// When the binding was refreshed. If the times are equal, the binding with the higher index was added later.
fn refreshed_at(uri: &TargetUri) -> Option<(Wall, usize)> {
    match uri {
        TargetUri::Binding(contact) | TargetUri::BindingAlone(contact) => {
            Some((contact.binding()?.registered_at(), contact.index()))
        }
        TargetUri::Request | TargetUri::RequestAgain(_) | TargetUri::Redirect(_) | TargetUri::Trunk(_) => None,
    }
}

/// Which addresses a request may reach by its own Route or Request-URI.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Toward {
    /// Those that its sender could register as a Contact.
    Anybody,
    /// Any that its other side may name, because it goes to that side of its dialog.
    OtherSide {
        /// The address of the other side.
        address: SocketAddr,
        /// The flow to it, which is used if there is one.
        flow: Option<FlowToPeer>,
    },
}

impl Toward {
    /// The address of the other side of the dialog, if it goes there.
    pub(super) const fn other_side(self) -> Option<SocketAddr> {
        match self {
            Self::Anybody => None,
            Self::OtherSide { address, .. } => Some(address),
        }
    }
}

/// The target of a request that follows its own Route or Request-URI.
pub(crate) fn target_for_next(
    next: &Next<'_>,
    toward: Toward,
    request: &Request,
    settings: &Settings,
) -> Result<Target, Reject> {
    let uri = TargetUri::Request;
    if let Toward::OtherSide { flow: Some(ahead), .. } = toward
        && let Some(flow) = ahead.peer.hop(settings)
    {
        let hop = match ahead.may_use_uri {
            true => without_node(via_flow(flow, &next.uri), &next.uri, settings),
            false => flow.only_over_connection(),
        };
        let next_hop = NextHop::Hop(hop);
        check_sips_hop(request.uri(), next.uri.as_bytes(), &next_hop)?;
        return Ok(Target { uri, next_hop, over_flow: true });
    }
    let next_hop = match next_hop_of(&next.uri, settings) {
        // There is no TLS listener to send from.
        Err(Reject::Unroutable) if next.uri.secure => return Err(Reject::SipsNotAllowed),
        next_hop => next_hop?,
    };
    check_sips_hop(request.uri(), next.uri.as_bytes(), &next_hop)?;
    if let (Toward::Anybody, NextHop::Hop(hop)) = (toward, &next_hop) {
        let place = if next.by_route { "Route" } else { "Request-URI" };
        let from = request.flow.remote.ip();
        reach::check_address(hop.remote.ip(), from, settings).map_err(|barred| Reject::Address { place, barred })?;
    }
    Ok(Target { uri, next_hop, over_flow: false })
}

/// The target of a call by a trunk.
pub(super) fn target_for_trunk(request: &Request, to: Arc<ToTrunk>, settings: &Settings) -> Result<Target, Reject> {
    let Ok(Uri::Sip(uri)) = Uri::parse(to.uri.as_bytes()) else { return Err(Reject::Unroutable) };
    let next_hop = next_hop_of(&uri, settings)?;
    // RFC 3261 26.2.2: a call to a `sips:` URI goes over TLS.
    if is_sips(request.uri()) && !next_hop.is_secure() {
        return Err(Reject::SipsNotAllowed);
    }
    Ok(Target { uri: TargetUri::Trunk(to), next_hop, over_flow: false })
}

/// Whether a response comes from the phone or server that its request was sent to, so that nobody else can answer a
/// call.
///
/// Accepted are the next hop itself; the source of the registration if the next hop is a registered phone, because some
/// phones send from another port than they listen at; any port of the next hop if it is anything else, as the proxy
/// in a Path; and another host in `trusted` if the next hop is in `trusted` too, as trunks have several hosts.
pub(crate) fn may_respond(SentTo { uri, hop, .. }: SentTo<'_>, source: &Flow, settings: &Settings) -> bool {
    if let Over::Elsewhere(flow) = &hop.over {
        return settings.nodes.is_source(flow, source);
    }
    if hop.is_source_of(source) {
        return true;
    }
    let is_its = match uri.registered_phone() {
        Some(phone) => Hop::back(&phone.flow()).is_source_of(source),
        None => hop.remote.ip() == source.remote.ip(),
    };
    let trusted = || settings.trusts(hop.remote.ip()) && settings.trusts(source.remote.ip());
    hop.transport == source.transport && (is_its || trusted())
}

/// The target of a binding. `None` if it cannot be called.
pub(super) fn target_for(candidate: &Candidate<'_>, settings: &Settings) -> Option<Target> {
    let Candidate { record, index, binding, .. } = candidate;
    let (next_hop, over_flow) = next_hop_of_binding(binding, settings)?;
    let uri = TargetUri::Binding(BoundContact::new(record, *index, binding));
    Some(Target { uri, next_hop, over_flow })
}

/// The next hop of a binding, and whether that is its flow. `None` if it cannot be called: its scheme or transport is
/// not supported, or its only flow is closed.
pub(super) fn next_hop_of_binding(binding: &Binding<'_>, settings: &Settings) -> Option<(NextHop, bool)> {
    if let Some(path) = first_path(binding.path()) {
        return Some((next_hop_of(&route_uri(path)?, settings).ok()?, false));
    }
    let flow = binding.flow();
    // Fast path for most phones: they are reached over UDP at the address in their Contact.
    if flow.transport == Transport::Udp
        && flow.id == FlowId::None
        && !is_outbound(binding)
        && let Some(address) = plain_udp_address(binding.contact())
    {
        return Some((next_hop_at(Transport::Udp, address, true, settings).ok()?, false));
    }
    let Ok(Uri::Sip(contact)) = Uri::parse(binding.contact()) else { return None };
    if let FlowId::Elsewhere(at) = flow.id {
        return hop_of_node(&flow, &at, binding, &contact, settings);
    }
    if is_outbound(binding) {
        return Some((NextHop::Hop(flow_only_hop(&flow, settings)?), true));
    }
    match flow_of(binding, &contact, settings) {
        Some(flow) => Some((NextHop::Hop(via_flow(flow, &contact)), true)),
        // The program was restarted, so the connection is gone. The phone is called over the same transport.
        None if flow.transport.is_reliable() && allows_transport(&contact, flow.transport) => {
            Some((next_hop_over(&contact, Some(flow.transport), settings).ok()?, false))
        }
        None => Some((next_hop_of(&contact, settings).ok()?, false)),
    }
}

/// Whether the phone maintains this flow and identifies it (RFC 5626 4.2).
pub(super) fn is_outbound(binding: &Binding<'_>) -> bool {
    binding.reg_id().is_some() && binding.instance().is_some()
}

/// The hop over the flow of the registration and no other (RFC 5626 7). `None` if the connection was closed by a
/// restart.
fn flow_only_hop(flow: &Flow, settings: &Settings) -> Option<Hop> {
    if !flow.transport.is_reliable() {
        return Some(back_through_nat(flow, settings));
    }
    flow.id.connection().map(|_| Hop::back(flow).only_over_connection())
}

/// The hop to the source of a datagram. The local address is looked up again, as it may have changed since.
pub(super) fn back_through_nat(flow: &Flow, settings: &Settings) -> Hop {
    let local = settings.local_for(flow.transport, flow.remote.ip()).unwrap_or(flow.local);
    Hop::to_address(flow.transport, flow.remote, local)
}

/// The hop over the flow of a phone. If its connection is closed, a new one goes to the address in the URI `named`, unless
/// only the phone can open a connection.
pub(crate) fn via_flow(flow: Hop, named: &SipUri<'_>) -> Hop {
    match crate::dialog::literal_address(named) {
        _ if matches!(flow.over, Over::Elsewhere(_)) => flow,
        Some(remote) if flow.transport.is_reliable() && !flow.transport.is_websocket() => Hop { remote, ..flow },
        _ => flow,
    }
}

fn first_path(path: &[u8]) -> Option<&[u8]> {
    parser::elements(path).next()
}

/// The flow of a registration, if it must be used instead of the Contact: that of a phone that registered over a
/// stream, unless its Contact names another transport, or the source of a phone behind a NAT (`nat`).
fn flow_of(binding: &Binding<'_>, contact: &SipUri<'_>, settings: &Settings) -> Option<Hop> {
    let flow = binding.flow();
    match flow.id {
        FlowId::None | FlowId::Elsewhere(_) => None,
        _ if !allows_transport(contact, flow.transport) => None,
        FlowId::Nat => Some(back_through_nat(&flow, settings)),
        FlowId::Connection(_) => Some(Hop::back(&flow)),
    }
}

/// Whether a Contact can be reached over this transport: it names this transport or none.
pub(super) fn allows_transport(contact: &SipUri<'_>, transport: Transport) -> bool {
    match contact.param("transport") {
        // RFC 7118 5.2: `ws` in URIs, also over TLS.
        Some(_) if transport == Transport::Wss => contact.transport().is_some_and(|named| named.is_websocket()),
        Some(_) => contact.transport() == Some(transport),
        // RFC 3261 26.2.2: a `sips:` Contact needs a secure transport.
        None => !contact.secure || matches!(transport, Transport::Tls | Transport::Wss),
    }
}
