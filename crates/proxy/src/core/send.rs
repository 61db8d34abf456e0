//! A plan goes out: the one rule between the stateless and the stateful way (RFC 3261 16.2, 16.11).
//!
//! One target: forwarded without a transaction, and an INVITE is pinned. Anything else: a response context.

use std::sync::Arc;

use location::Aor;
use parser::{Method, Uri};

use super::Core;
use crate::clock::Now;
use crate::event::{Event, Limit};
use crate::fork::{ResponseContext, ResponseContexts};
use crate::forward::{Forwarding, Origin, ViaBranch, is_looped, loop_mark, prefers_identity, write_request};
use crate::ingress;
use crate::outbox::Outbox;
use crate::pin::Match;
use crate::reject::Reject;
use crate::request::{Proven, Request};
use crate::route::{self, Plan, keeps_privacy};
use crate::settings::{Named, Settings, SingleTarget};
use crate::target::{Target, TargetUri, Way};

impl Core {
    /// Sends a request where its plan says, which lacks nothing.
    pub(super) fn launch(&mut self, now: Now, request: Request, plan: Plan, outbox: &mut Outbox) {
        if let Err(reject) = keeps_privacy(&request, &plan, &self.settings) {
            return self.refuse(now, &request, reject, outbox);
        }
        if begins_call(&request) {
            self.log_call(&request, &plan, outbox);
        }
        // RFC 5393 5.3.3: not even one branch is left.
        if request.max_breadth() == 0 && !matches!(request.method(), Method::Ack | Method::Cancel) {
            return self.refuse(now, &request, Reject::Breadth, outbox);
        }
        if !leaves_alone(&request, &plan, &self.settings) {
            return self.fork(now, request, plan, outbox);
        }
        let Some(target) = plan.into_best() else { return };
        if let Err(reject) = self.forward_stateless(now, &request, target, outbox) {
            self.refuse(now, &request, reject, outbox);
        }
    }

    /// A request that came again, the CANCEL of an INVITE or the ACK of its failure: the way of the first.
    pub(super) fn forward_by_pin(&mut self, request: &mut Request, outbox: &mut Outbox) -> Match {
        let pin = match self.pins.find_for(request, &self.connections) {
            Ok(pin) => pin,
            Err(no_copy) => return no_copy,
        };
        // The way is known; what of the Route is ours still has to come off.
        let dialog = match route::accept_routes(request, &self.settings, &self.mac) {
            Ok(dialog) if ingress::hops(request.hops).is_ok() => dialog,
            _ => return Match::Unknown,
        };
        // The 2xx may have passed at another worker, whose word is still on its way, or after a refusal. The ACK of a refusal has
        // the Route of its INVITE (RFC 3261 17.1.1.3), so one in a dialog that its INVITE was not in acknowledges a 2xx.
        if request.method() == Method::Ack && !pin.in_dialog() && dialog.is_some() {
            return Match::Other;
        }
        // A copy asserts what the first one did.
        if prefers_identity(&request.message) && dialog.is_none() {
            request.proven = self.proven_by_first(request);
        }
        let forwarding = Forwarding {
            request,
            target: &pin.target,
            hop: &pin.hop,
            branch: pin.branch,
            breadth: request.max_breadth(),
        };
        send_request(&forwarding, &self.settings, &self.mac, &mut self.rewrite, outbox);
        Match::Same
    }

    /// The user that the sender of a copy has authenticated as with the first one, octet by octet the same.
    fn proven_by_first(&self, request: &Request) -> Proven {
        let Some(domain) = route::was_proven(request, &self.settings) else { return Proven::Nobody };
        let presented = self.authenticator.read(request, &self.settings);
        let user = self.authenticator.user_in(&presented, domain.as_bytes());
        user.map_or(Proven::Nobody, |user| Proven::As(Box::new(user)))
    }

    /// RFC 3261 16.11. The target has to have its address.
    pub(super) fn forward_stateless(
        &mut self,
        now: Now,
        request: &Request,
        target: Target,
        outbox: &mut Outbox,
    ) -> Result<(), Reject> {
        let Way::Hop(hop) = target.way else { return Err(Reject::Unroutable) };
        let hop = hop.now(&self.connections);
        let origin = Origin::new(request, (&hop, &target), None, &self.settings, &self.mac);
        let Settings { limits, timers, .. } = &*self.settings;
        let invite = request.method() == Method::Invite;
        // What another place than the location table decides, decides alike for a copy.
        let is_binding = matches!(target.uri, TargetUri::Binding(..)) && request.method() != Method::Cancel;
        let looked_up =
            is_binding || request.is_no_contact && !matches!(request.method(), Method::Cancel | Method::Ack);
        let mut pinned = invite || looked_up;
        // Other requests leave half of the room to INVITEs: without a pin they still go.
        if pinned && self.pins.len() >= if invite { limits.pins } else { limits.pins / 2 } {
            outbox.emit(Event::LimitReached(Limit::Pins));
            pinned = self.pins.make_room();
            if invite && !pinned {
                return Err(Reject::Overload);
            }
        }
        // The CANCEL of an INVITE that is not known any more gets the branch that it had (16.11).
        let branch = if pinned || request.method() == Method::Cancel {
            ViaBranch::Pinned { worker: self.worker, origin }
        } else {
            ViaBranch::Stateless(origin)
        };
        let forwarding = Forwarding { request, target: &target, hop: &hop, branch, breadth: request.max_breadth() };
        send_request(&forwarding, &self.settings, &self.mac, &mut self.rewrite, outbox);
        if invite {
            self.pins.insert(request, (target, hop, branch), now.mono, timers.c);
        } else if pinned {
            self.pins.insert_brief(request, (target, hop, branch), now.mono, timers.last_copy());
        }
        Ok(())
    }

    fn fork(&mut self, now: Now, request: Request, mut plan: Plan, outbox: &mut Outbox) {
        // A copy that came while the first one waited for DNS.
        if self.forks.id_of(request.key).is_some() {
            return;
        }
        let mark = loop_mark(&request, &self.mac);
        if let Err(reject) = self.may_fork(&request, mark, outbox) {
            return self.refuse(now, &request, reject, outbox);
        }
        let id = self.forks.next_id(&self.mac);
        let key = request.key;
        let settings = Arc::clone(&self.settings);
        let joinable = settings.forking.late_registration && begins_call(&request) && plan.disposition.fork;
        plan.aor.take_if(|_| !joinable);
        let (forks, mut context) = self.split(now, outbox);
        forks.insert(id, key, ResponseContext::start(id, request, plan, mark, settings, &mut context));
    }

    fn may_fork(&mut self, request: &Request, mark: u64, outbox: &mut Outbox) -> Result<(), Reject> {
        if request.method() == Method::Cancel {
            return Err(Reject::NoTransaction);
        }
        // RFC 3261 16.3 step 4, RFC 5393 4.2
        if is_looped(&request.message, mark, &self.settings) {
            return Err(Reject::Loop);
        }
        let limits = &self.settings.limits;
        let reached = |forks: &ResponseContexts| {
            if forks.len() >= limits.transactions {
                Some(Limit::Transactions)
            } else {
                (forks.held() >= limits.transaction_memory).then_some(Limit::TransactionMemory)
            }
        };
        let Some(limit) = reached(&self.forks) else { return Ok(()) };
        outbox.emit(Event::LimitReached(limit));
        while reached(&self.forks).is_some() {
            if !self.forks.make_room() {
                return Err(Reject::Overload);
            }
        }
        Ok(())
    }

    fn log_call(&self, request: &Request, plan: &Plan, outbox: &mut Outbox) {
        let Some((from, to)) = parties(request, plan.aor.as_ref(), &self.settings) else { return };
        outbox.emit(Event::Call { call: request.key.0, from, to, targets: plan.phones() });
    }
}

fn begins_call(request: &Request) -> bool {
    request.method() == Method::Invite && !request.in_dialog
}

fn send_request(
    forwarding: &Forwarding<'_>,
    settings: &Settings,
    mac: &crate::mac::Mac,
    rewrite: &mut parser::Rewrite,
    outbox: &mut Outbox,
) {
    // RFC 3261 17: an ACK is never answered, so a failure to send it is not reported.
    let reports = forwarding.request.method() != Method::Ack;
    let method = forwarding.request.method().as_str_or("other");
    outbox.emit(Event::RequestForwarded { method, transport: forwarding.hop.transport });
    outbox.send(*forwarding.hop, reports, |out| write_request(forwarding, settings, mac, rewrite, out));
}

/// Whether a request leaves without a transaction: it has one target, and is no call to one phone where such a one is to
/// be treated as one to several.
pub(super) fn leaves_alone(request: &Request, plan: &Plan, settings: &Settings) -> bool {
    let wants_context =
        settings.forking.single_target == SingleTarget::Stateful && plan.aor.is_some() && begins_call(request);
    plan.is_single() && !wants_context
}

/// The caller by its From, and the called user if that is not known yet: for the log.
pub(super) fn parties(request: &Request, called: Option<&Aor>, settings: &Settings) -> Option<(Aor, Aor)> {
    let to = match called {
        Some(aor) => aor.clone(),
        None => settings.aor_named_by(Uri::parse(request.uri()).ok()?.sip()?),
    };
    Some((Named::of(request.caller_text(), settings)?.address, to))
}
