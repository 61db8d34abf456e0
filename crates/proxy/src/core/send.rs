//! A plan goes out: the one rule between the stateless and the stateful way (RFC 3261 16.2, 16.11).
//!
//! One target: forwarded without a transaction, and an INVITE is pinned. Anything else: a response context.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use location::{Aor, Flow};
use parser::headers::Via;
use parser::{Header as _, HeaderName, Message, Method, Reply, Stamp, Uri, reason_phrase};
use smallvec::SmallVec;

use super::Core;
use crate::ask::{Continuation, Question, Resume};
use crate::clock::Now;
use crate::context::ToTag;
use crate::dialog::Callee;
use crate::event::{Drop, Event, Limit};
use crate::fork::{ResponseContext, ResponseContexts, is_looped, loop_mark, status_for_caller};
use crate::forward::{Forwarding, Origin, ViaBranch, prefers_identity, write_request, write_response};
use crate::hop::Hop;
use crate::ingress;
use crate::outbox::{CoreMessage, Handover, Outbox, Passed};
use crate::pin::{Match, Pin, tag_checksum};
use crate::reach;
use crate::reject::Reject;
use crate::request::tag_of;
use crate::request::{Proven, Received, Request, TransactionKey};
use crate::route::{self, Plan, keeps_privacy, may_answer};
use crate::settings::{Named, Settings, SingleTarget};
use crate::target::{Target, TargetUri, Way};

/// A response that went back the way of its request.
pub(super) struct Forwarded<'m> {
    /// The transaction of its request.
    key: TransactionKey,
    /// The method of that.
    pub(super) method: Method<'m>,
    status: u16,
    to_tag: &'m [u8],
}

impl Core {
    /// Sends a request where its plan says.
    pub(super) fn launch(&mut self, now: Now, request: Request, plan: Plan, outbox: &mut Outbox) {
        let names = plan.names();
        if !names.is_empty() {
            return outbox
                .ask(Question::Resolve(names), Continuation(Resume::Resolve(Box::new(request), Box::new(plan))));
        }
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

    /// RFC 3261 16.11: a response goes back the way its request came.
    /// Returns what is known of it; none if it was dropped, because its mark is not ours (RFC 6026 8.2) or it does not
    /// come from where the request went. `source` is `None` for a response that was made here.
    pub(super) fn forward_marked<'m>(
        &mut self,
        response: &'m Message,
        branch: &ViaBranch,
        source: Option<&Flow>,
        outbox: &mut Outbox,
    ) -> Option<Forwarded<'m>> {
        let below = via_below(response);
        let way_back = branch.origin().map(Origin::way_back);
        let key = below.zip(way_back).and_then(|(below, way)| TransactionKey::of(response, &below, way, &self.mac));
        let sent_to = key.zip(source).and_then(|((key, _), source)| self.sent_to(branch, key, source));
        let Some((key, method)) = key.filter(|_| source.is_none() || sent_to.is_some()) else {
            match (branch, source) {
                // The worker with the pin knows where else the phone may speak from.
                (ViaBranch::Pinned { worker, .. }, Some(source)) if *worker != self.worker => {
                    let received = Received { message: response.clone(), flow: *source };
                    let core_message = CoreMessage::Response(Box::new(received));
                    outbox.handovers.push(Handover { worker: Some(*worker), core_message });
                }
                _ => outbox.emit(Event::Dropped(Drop::StrayResponse)),
            }
            return None;
        };
        let Some(hop) = branch.origin().and_then(|origin| origin.peer.hop(&self.settings)) else {
            outbox.emit(Event::Dropped(Drop::Unroutable));
            return None;
        };
        let status = response.status().unwrap_or_default();
        outbox.emit(Event::ResponseSent { method: method.as_str_or("other"), status, transport: hop.transport });
        let (settings, mac, rewrite) = (&self.settings, &self.mac, &mut self.rewrite);
        let to_tag = tag_of(response, HeaderName::To).unwrap_or_default();
        let callee = Callee { tag: to_tag, address: sent_to };
        outbox.send(hop, false, |out| write_response(response, callee, settings, mac, rewrite, out, |_| {}));
        Some(Forwarded { key, method, status, to_tag })
    }

    /// Where the request of a response went, if the mark of that verifies and it came from there, or from where else its
    /// phone may speak.
    fn sent_to(&self, branch: &ViaBranch, key: TransactionKey, source: &Flow) -> Option<SocketAddr> {
        if branch.verify(key, source, &self.mac) {
            return Some(source.remote);
        }
        // The same branch, so that nobody sends the response elsewhere.
        let pin = self.pins.find(key).filter(|pin| pin.branch == *branch)?;
        may_answer(&pin.hop, &pin.target, source, &self.settings).then(|| pin.target.remote(&pin.hop))
    }

    /// A request of ours could not be sent: as if its next hop had refused it (RFC 3261 16.9).
    pub(super) fn undelivered(&mut self, now: Now, text: Bytes, outbox: &mut Outbox) {
        let Ok(sent) = Message::parse(text) else { return };
        let top = sent.header::<Via<'_>>().ok().flatten();
        let branch = top.and_then(|via| ViaBranch::parse(via.branch()?));
        match branch {
            Some(ViaBranch::Transaction { id, .. }) => {
                let (forks, mut context) = self.split(now, outbox);
                forks.with(id.fork, |fork| fork.undelivered(id, &mut context));
            }
            Some(ViaBranch::Notify { id, .. }) => self.notify_undelivered(now, id, outbox),
            // Nothing was kept of it, and nothing is needed: the answer is made of the request as it was sent, and
            // goes back the way that its Via says.
            Some(ViaBranch::Stateless(origin) | ViaBranch::Pinned { origin, .. }) if sent.is_request() => {
                let key =
                    via_below(&sent).and_then(|below| TransactionKey::of(&sent, &below, origin.way_back(), &self.mac));
                let Some((key, _)) = key else { return };
                let pin = self.pins.find(key);
                // A late copy of an INVITE that was accepted: the caller would take the call for failed.
                if pin.is_some_and(Pin::is_accepted) {
                    return;
                }
                let tag = ToTag::of_key(key, &self.mac);
                let status = status_for_caller(pin.map_or(503, |pin| pin.hop.failure()));
                let mut answer = Vec::new();
                let reason = reason_phrase(status).as_bytes();
                let unstamped = Stamp { received: None, rport: None };
                Reply::new(&mut answer, &sent, status, reason, unstamped, Some(tag.as_bytes())).finish();
                if let Ok(message) = Message::parse(answer.into()) {
                    self.route_response(now, branch, &message, None, outbox);
                }
            }
            _ => {}
        }
    }

    /// A response to a pinned INVITE has passed: its pin is at this worker.
    pub(super) fn note_response(
        &mut self,
        now: Now,
        worker: u8,
        Forwarded { key, status, to_tag, .. }: Forwarded<'_>,
        outbox: &mut Outbox,
    ) {
        let response = match status {
            // RFC 3261 16.7 step 2: a 100 says nothing of the phone.
            ..=100 => return,
            101..200 => Passed::Provisional,
            _ => Passed::Final { status, to_tag: tag_checksum(to_tag) },
        };
        if worker == self.worker {
            self.response_passed(now, key, response, outbox);
        } else {
            let core_message = CoreMessage::ResponsePassed { key: key.0, response };
            outbox.handovers.push(Handover { worker: Some(worker), core_message });
        }
    }

    /// A final lets a pin go soon, a phone that rings keeps it.
    pub(super) fn response_passed(&mut self, now: Now, key: TransactionKey, response: Passed, outbox: &mut Outbox) {
        let timers = &self.settings.timers;
        match response {
            Passed::Provisional => self.pins.rings(key, now.mono + timers.c),
            Passed::Final { status, to_tag } => {
                if let Some(by) = self.pins.answered(key, (status, to_tag), now.mono, timers.last_copy()) {
                    outbox.emit(Event::CallEnded { call: key.0, status: Some(status), tried: 1, by: Some(by) });
                }
            }
        }
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
        let hop = hop.today(&self.connections);
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

impl Plan {
    /// The plan with addresses in place of names; targets without any fall out. Where a request may be tried again, the
    /// further addresses of a name are spares (RFC 3263 4.3).
    pub(super) fn resolved(
        mut self,
        addresses: &[SmallVec<[SocketAddr; 2]>],
        may_try_again: bool,
        from: Option<IpAddr>,
        settings: &Settings,
    ) -> Result<Self, Reject> {
        let mut found = addresses.iter();
        let mut further = Vec::new();
        for target in self.targets_mut() {
            let Way::Name(name) = &target.way else { continue };
            let transport = name.transport;
            let reachable = |remote: &SocketAddr| {
                // The sender that named the host (`from` where no binding did) may have it lead elsewhere by now.
                if settings.is_own_address(remote.ip(), Some(remote.port()))
                    || !reach::may_lead_to(target, remote.ip(), from, settings)
                {
                    return None;
                }
                let local = settings.local_for(transport, remote.ip())?;
                Some(Way::Hop(Hop { transport, remote: *remote, local, connection: 0 }))
            };
            let ways: SmallVec<[Way; 2]> = found.next().into_iter().flatten().filter_map(reachable).collect();
            let mut ways = ways.into_iter();
            if let Some(way) = ways.next() {
                target.way = way;
                further.extend(ways.filter(|_| may_try_again).map(|way| Target { way, ..target.clone() }));
            }
        }
        for group in &mut self.groups {
            group.targets.retain(|target| matches!(target.way, Way::Hop(_)));
        }
        self.groups.retain(|group| !group.targets.is_empty());
        self.spares.retain(|target| matches!(target.way, Way::Hop(_)));
        self.spares.extend(further);
        if self.groups.is_empty() { Err(Reject::Unroutable) } else { Ok(self) }
    }
}

/// The second Via of what has ours on top.
fn via_below(message: &Message) -> Option<Via<'_>> {
    Via::parse(message.values(HeaderName::Via).nth(1)?).ok()
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
