//! Forwards a request to the targets of its plan, and decides between stateless and stateful (RFC 3261 16.2, 16.11).
//!
//! A plan with one target: the request is forwarded without a transaction and leaves a pin. Any other plan: a
//! response context.

use std::sync::Arc;

use parser::Method;

use super::Core;
use crate::calls::CallRef;
use crate::clock::Now;
use crate::event::{Event, Limit};
use crate::forward::{Forwarding, Origin, ViaBranch, is_looped, loop_mark, prefers_identity, write_request};
use crate::hop::{Hop, Over};
use crate::ingress;
use crate::large;
use crate::mac::Mac;
use crate::node_link::Link;
use crate::outbox::Outbox;
use crate::pin::Match;
use crate::reject::Reject;
use crate::renumbering::Renumbering;
use crate::request::{Proven, Request};
use crate::response_context::{ResponseContext, ResponseContexts, bye_frees_line_later, call_setup};
use crate::route::{self, NextStep, Plan, check_privacy};
use crate::settings::{Direction, Settings, SingleTarget, Trunk};
use crate::target::{NextHop, Target, TargetUri};

impl Core {
    /// Forwards a request to the targets of its plan. All of them have addresses.
    pub(super) fn forward_or_fork(
        &mut self,
        now: Now,
        mut request: Box<Request>,
        plan: &mut Plan,
        outbox: &mut Outbox,
    ) {
        if self.asks_nodes(&request) {
            let step = NextStep::ByPlan(Box::new(std::mem::take(plan)));
            return self.find_at_nodes(now, request, step, outbox);
        }
        request.renumbering =
            request.renumbering.take().and_then(|it| renumbering_for(*it, plan, &self.settings)).map(Box::new);
        let checked =
            check_privacy(&request, plan, &self.settings).and_then(|()| self.check_pickup(&request, now.wall));
        if let Err(reject) = checked {
            return self.refuse(now, &request, reject, outbox);
        }
        let needs_context = bye_frees_line_later(&request, &self.settings, &self.mac);
        // RFC 5393 5.3.3: Max-Breadth allows no branch.
        if request.max_breadth() == 0 && !matches!(request.method(), Method::Ack | Method::Cancel) {
            return self.refuse(now, &request, Reject::Breadth, outbox);
        }
        if needs_context || !is_stateless(&request, plan, &self.settings) {
            return self.fork(now, request, std::mem::take(plan), outbox);
        }
        let mark = outbox.mark();
        let Some(target) = plan.best() else { return };
        let mut sent = self.send_stateless(now, &request, target, outbox);
        // It is large, so that it stays where it is.
        let sent = match &mut sent {
            Ok(sent) => sent,
            Err(reject) => return self.refuse(now, &request, *reject, outbox),
        };
        let over_tcp = self.hop_over_tcp(now, &request, target, sent);
        if over_tcp.is_some() && request.method() != Method::Ack {
            // It may have to go over UDP after all, which only a response context can do.
            outbox.retract(mark);
            return self.fork(now, request, std::mem::take(plan), outbox);
        }
        if let Some(hop) = over_tcp {
            outbox.retract(mark);
            *sent = self.send_large_ack(now, &request, target, (sent, hop), outbox);
        }
        let call = self.begin_call(now, &request, plan, outbox);
        self.sent_stateless(now, &request, plan, (sent, call), outbox);
        self.memory.keep(request);
    }

    /// The hop over TCP for a request that is too long for the hop that it was written for.
    fn hop_over_tcp(&self, now: Now, request: &Request, target: &Target, sent: &Sent) -> Option<Hop> {
        if sent.length <= large::MAX_OVER_UDP || request.method() == Method::Cancel {
            return None;
        }
        large::hop_over_tcp((&sent.hop, target.over_flow), sent.length, &self.settings, &self.udp_only, now.mono)
    }

    /// Forwards a retransmission, the CANCEL of an INVITE or the ACK of its failure as the pin of the first request says.
    pub(super) fn forward_by_pin(&mut self, now: Now, request: &mut Request, outbox: &mut Outbox) -> Match {
        let pin = match self.pins.find_for(request, &self.connections) {
            Ok(pin) => pin,
            Err(no_copy) => return no_copy,
        };
        // The pin has the next hop. Our own Route values still have to be removed.
        let dialog = match route::accept_routes(request, &self.settings, &self.mac) {
            Ok(dialog) if ingress::check_max_forwards(request.hops).is_ok() => dialog,
            _ => return Match::Unknown,
        };
        // An ACK in a dialog that its INVITE was not in acknowledges a 2xx: the ACK of a failure has the Route of its
        // INVITE (RFC 3261 17.1.1.3). The pin may not know of the 2xx, if another worker forwarded it just now.
        if request.method() == Method::Ack && !pin.in_dialog() && dialog.is_some() {
            return Match::Other;
        }
        // A retransmission gets the same asserted identity as the first request.
        if prefers_identity(&request.message) && dialog.is_none() {
            request.proven = self.proven_by_first(request);
        }
        let forwarding = Forwarding {
            request,
            to: pin.sent_to(),
            branch: pin.branch,
            breadth: request.max_breadth(),
            history: None,
        };
        let link = Link { settings: &self.settings, mac: &self.mac, now: now.wall };
        send_request(&forwarding, link, &mut self.rewrite, outbox);
        emit_forwarded(request, &pin.hop, outbox);
        Match::Same
    }

    /// The user that the sender authenticated as with the first request; this one has the same octets.
    fn proven_by_first(&self, request: &Request) -> Proven {
        let Some(domain) = route::required_domain(request, &self.settings) else { return Proven::Nobody };
        let presented = self.authenticator.read(request, &self.settings);
        let user = self.authenticator.user_in(&presented, domain.as_bytes());
        user.map_or(Proven::Nobody, |user| Proven::As(Box::new(user)))
    }

    /// Forwards an ACK without a transaction (RFC 3261 16.11). The target must have an address.
    pub(super) fn forward_ack(
        &mut self,
        now: Now,
        request: &Request,
        target: Target,
        outbox: &mut Outbox,
    ) -> Result<(), Reject> {
        let mark = outbox.mark();
        let mut sent = self.send_stateless(now, request, &target, outbox)?;
        if let Some(hop) = self.hop_over_tcp(now, request, &target, &sent) {
            outbox.retract(mark);
            sent = self.send_large_ack(now, request, &target, (&sent, hop), outbox);
        }
        self.sent_stateless(now, request, &mut Plan::with_target(target), (&sent, None), outbox);
        Ok(())
    }

    /// Writes a request that is forwarded without a transaction.
    fn send_stateless(
        &mut self,
        now: Now,
        request: &Request,
        target: &Target,
        outbox: &mut Outbox,
    ) -> Result<Sent, Reject> {
        let NextHop::Hop(hop) = &target.next_hop else { return Err(Reject::Unroutable) };
        let hop = hop.now(&self.connections);
        let origin = Origin::new(request, target.sent_over(&hop), None, &self.settings, &self.mac);
        let limits = &self.settings.limits;
        let invite = request.method() == Method::Invite;
        // Only the bindings, DNS and the servers that failed can change between a request and its retransmission, so only a
        // request that was routed by them needs a pin.
        let is_binding = matches!(target.uri, TargetUri::Binding(..)) && request.method() != Method::Cancel;
        let looked_up = is_binding || request.needs_pin && !matches!(request.method(), Method::Cancel | Method::Ack);
        let mut pinned = invite || looked_up;
        // Half of the pins are reserved for INVITEs: other requests are forwarded without a pin, too.
        if pinned && self.pins.len() >= if invite { limits.pins } else { limits.pins / 2 } {
            outbox.emit(Event::LimitReached(Limit::Pins));
            pinned = self.pins.make_room();
            if invite && !pinned {
                return Err(Reject::Overload);
            }
        }
        // The CANCEL of an INVITE whose pin is gone gets the branch of that INVITE (16.11).
        let branch = if pinned || request.method() == Method::Cancel {
            ViaBranch::Pinned { worker: self.worker, origin }
        } else {
            ViaBranch::Stateless(origin)
        };
        let forwarding =
            Forwarding { request, to: target.sent_over(&hop), branch, breadth: request.max_breadth(), history: None };
        let mark = outbox.mark();
        let link = Link { settings: &self.settings, mac: &self.mac, now: now.wall };
        send_request(&forwarding, link, &mut self.rewrite, outbox);
        Ok(Sent { hop, branch, pinned, length: outbox.len_since(mark) })
    }

    /// A request was forwarded without a transaction: counts it, and adds its pin.
    fn sent_stateless(
        &mut self,
        now: Now,
        request: &Request,
        plan: &mut Plan,
        (sent, call): (&Sent, Option<CallRef>),
        outbox: &mut Outbox,
    ) {
        emit_forwarded(request, &sent.hop, outbox);
        // A retransmission must not go over TCP later, when the refusal is forgotten.
        let may_change = sent.length > large::MAX_OVER_UDP && large::needs_pin(request.method());
        let pinned = sent.pinned || may_change && self.pins.len() < self.settings.limits.pins / 2;
        let timers = &self.settings.timers;
        if request.method() == Method::Invite {
            let ends = (now.mono + timers.give_up(), now.mono + timers.c);
            self.pins.insert((request, call), (plan, &sent.hop, &sent.branch), ends, &mut self.timers);
        } else if pinned {
            let way = (plan, &sent.hop, &sent.branch);
            self.pins.insert_brief(request, way, now.mono + timers.last_copy(), &mut self.timers);
        }
        self.bound_timers();
    }

    fn fork(&mut self, now: Now, request: Box<Request>, mut plan: Plan, outbox: &mut Outbox) {
        // This is a retransmission that came while the first request waited for DNS.
        if self.response_contexts.id_of(request.key).is_some() {
            return;
        }
        let mark = loop_mark(&request, &self.mac);
        if let Err(reject) = self.may_fork(&request, mark, outbox) {
            return self.refuse(now, &request, reject, outbox);
        }
        let id = self.response_contexts.next_id(&self.mac);
        let key = request.key;
        let settings = Arc::clone(&self.settings);
        if let Err(trunk) = take_incoming_line(now, &request, &settings, &self.mac) {
            outbox.emit(Event::LimitReached(Limit::MaxCalls));
            outbox.emit(Event::TrunkFull { trunk: trunk.name.clone() });
            return self.refuse(now, &request, Reject::TrunkFull, outbox);
        }
        let is_joinable = settings.forking.late_registration && is_new_call(&request) && plan.disposition.fork;
        plan.call = self.begin_call(now, &request, &plan, outbox);
        let callee = plan.aor.take().filter(|_| is_joinable);
        let (response_contexts, mut context) = self.split(now, outbox);
        let is_joinable = callee.is_some();
        let started = ResponseContext::start(id, request, plan, is_joinable, mark, settings, &mut context);
        response_contexts.insert(id, key, callee, started, context.timers);
        self.bound_timers();
    }

    fn may_fork(&mut self, request: &Request, mark: u64, outbox: &mut Outbox) -> Result<(), Reject> {
        if request.method() == Method::Cancel {
            return Err(Reject::NoTransaction);
        }
        // RFC 3261 16.3 step 4, RFC 5393 4.2
        if is_looped(&request.message, mark, &self.settings) {
            return Err(Reject::Loop);
        }
        self.room_for_context(outbox)
    }

    /// While a limit is reached, removes the response context that ended longest ago. Fails if none has ended.
    pub(super) fn room_for_context(&mut self, outbox: &mut Outbox) -> Result<(), Reject> {
        let limits = &self.settings.limits;
        let reached = |response_contexts: &ResponseContexts| {
            if response_contexts.len() >= limits.transactions {
                Some(Limit::Transactions)
            } else {
                (response_contexts.held() >= limits.transaction_memory).then_some(Limit::TransactionMemory)
            }
        };
        let Some(limit) = reached(&self.response_contexts) else { return Ok(()) };
        outbox.emit(Event::LimitReached(limit));
        while reached(&self.response_contexts).is_some() {
            if !self.response_contexts.make_room() {
                return Err(Reject::Overload);
            }
        }
        Ok(())
    }
}

/// A request that was written to be forwarded without a transaction.
pub(super) struct Sent {
    pub(super) hop: Hop,
    pub(super) branch: ViaBranch,
    /// Whether it gets a pin.
    pub(super) pinned: bool,
    /// Its length in octets.
    pub(super) length: usize,
}

pub(super) fn is_new_call(request: &Request) -> bool {
    request.method() == Method::Invite && !request.in_dialog
}

pub(super) fn send_request(
    forwarding: &Forwarding<'_>,
    link: Link<'_>,
    rewrite: &mut parser::Rewrite,
    outbox: &mut Outbox,
) {
    // RFC 3261 17: an ACK is never answered, so a failure to send it is not reported, unless it can go over UDP.
    let reports = forwarding.request.method() != Method::Ack || forwarding.to.hop.over == Over::InsteadOfUdp;
    let Link { settings, mac, .. } = link;
    outbox.send_over(forwarding.to.hop, reports, link, |out| write_request(forwarding, settings, mac, rewrite, out));
}

fn emit_forwarded(request: &Request, hop: &Hop, outbox: &mut Outbox) {
    let (method, transport) = (request.method().as_str_or("other"), hop.transport);
    outbox.emit(Event::RequestForwarded { method, transport });
}

/// How the numbers of a request in a dialog are changed, if it goes to the trunk; `None` if it goes elsewhere. The trunk's
/// challenge is answered only if it comes from an address of the trunk. Otherwise somebody who knows a dialog could name
/// an address of their own in it, challenge a request, and guess the password from the response.
fn renumbering_for(renumbering: Renumbering, plan: &Plan, settings: &Settings) -> Option<Renumbering> {
    let peer = plan.other_side?;
    let trunk = renumbering.trunk().and_then(|id| settings.trunks.with_id(id));
    let is_of_trunk = |target: &Target| {
        let NextHop::Hop(hop) = &target.next_hop else { return false };
        let ip = hop.remote.ip();
        ip == peer.ip() || trunk.is_some_and(|trunk| trunk.networks.iter().any(|network| network.contains(&ip)))
    };
    Some(if plan.targets().all(is_of_trunk) { renumbering } else { renumbering.without_trunk() })
}

/// Whether a request is forwarded without a transaction: it has one target, and is neither a call to a user where
/// `forking.single_target` asks for a response context, nor a request in a dialog whose challenge is answered. An ACK gets
/// no response; and a CANCEL without a response context belongs to nothing that is known.
pub(super) fn is_stateless(request: &Request, plan: &Plan, settings: &Settings) -> bool {
    let wants_context =
        settings.forking.single_target == SingleTarget::Stateful && plan.aor.is_some() && is_new_call(request);
    let wants_context = wants_context || request.renumbering.is_some() && request.method() != Method::Ack;
    plan.is_single() && !wants_context && !(is_new_call(request) && limited_trunk(request, settings).is_some())
}

/// The trunk that a call comes from, if it limits its calls.
fn limited_trunk<'s>(request: &Request, settings: &'s Settings) -> Option<&'s Trunk> {
    let limits = settings.trunks.limits_calls();
    let trunk = limits.then(|| settings.trunk_at(request.flow.remote.ip())).flatten()?;
    trunk.max_calls.is_some().then_some(trunk)
}

/// Counts a call that comes from a trunk. Refused if the trunk has `max_calls` calls already.
fn take_incoming_line<'s>(now: Now, request: &Request, settings: &'s Settings, mac: &Mac) -> Result<(), &'s Trunk> {
    let Some(trunk) = limited_trunk(request, settings).filter(|_| is_new_call(request)) else { return Ok(()) };
    let has_room = settings.trunks.calls.begin(call_setup(request, mac), Direction::In, trunk, now.mono);
    if has_room { Ok(()) } else { Err(trunk) }
}
