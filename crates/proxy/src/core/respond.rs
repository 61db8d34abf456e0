//! Responses of this server: refusals, and responses to requests to the server itself (RFC 3261 8.2, 11).

use location::Aor;
use parser::{HeaderName, Method, write_target};
use smallvec::SmallVec;

use super::Core;
use crate::clock::Now;
use crate::context::Context;
use crate::event::{Drop, Event, Registration};
use crate::event_package::EventPackage;
use crate::ingress;
use crate::outbox::Outbox;
use crate::registrar::address_of_record;
use crate::reject::Reject;
use crate::request::Request;
use crate::route::Plan;

impl Core {
    /// Answers a request with its refusal. An ACK is never answered (RFC 3261 17).
    pub(super) fn refuse(&mut self, now: Now, request: &Request, reject: Reject, outbox: &mut Outbox) {
        if request.method() == Method::Ack {
            return outbox.emit(Event::Dropped(Drop::StrayAck));
        }
        self.report(now, request, reject, outbox);
        let challenges = match reject {
            Reject::Challenge { of, stale } => self.authenticator.challenges(request, of, stale, &self.settings, now),
            _ => SmallVec::new(),
        };
        let mut context = Context {
            now,
            mac: &self.mac,
            worker: self.worker,
            settings: &self.settings,
            connections: &self.connections,
            rewrite: &mut self.rewrite,
            timers: &mut self.timers,
            unreachable: &mut self.unreachable,
            udp_only: &mut self.udp_only,
            calls: &mut self.calls,
            searches: &mut self.searches,
            outbox,
        };
        context.reply(request, reject.status(), reject.phrase().as_bytes(), |reply| {
            challenges.iter().for_each(|challenge| challenge.write(reply));
            reject.write_headers(reply, &request.message);
        });
    }

    /// Answers a request to the server itself (RFC 3261 11).
    pub(super) fn serve(&mut self, now: Now, request: &Request, outbox: &mut Outbox) {
        if request.method() != Method::Options {
            return self.refuse(now, request, Reject::NotFound, outbox);
        }
        if let Err(reject) = ingress::understood(&request.message, HeaderName::Require, &[]) {
            return self.refuse(now, request, reject, outbox);
        }
        let (_, mut context) = self.split(now, outbox);
        context.reply(request, 200, b"OK", |reply| {
            reply.header(HeaderName::Allow, |out| out.extend_from_slice(b"OPTIONS, REGISTER, SUBSCRIBE"));
            EventPackage::write_allow_events(reply);
            reply.header(HeaderName::Accept, |out| out.extend_from_slice(b"application/sdp"));
            reply.header(HeaderName::Supported, |out| out.extend_from_slice(b"path, outbound, gruu"));
        });
    }

    /// Answers a request with the Contacts of its targets, as its caller asked (RFC 3841 9.1), in the order of the plan.
    pub(super) fn redirect(&mut self, now: Now, request: &Request, plan: &Plan, outbox: &mut Outbox) {
        let steps = plan.groups.len().max(1);
        let (_, mut context) = self.split(now, outbox);
        context.reply(request, 302, b"Moved Temporarily", |reply| {
            for (group, place) in plan.groups.iter().zip(0..) {
                // RFC 3841 7.2.4: q states the order only; otherwise the caller would apply its feature preferences
                // again.
                let q = 1000 - 1000 * place / steps;
                for target in &group.targets {
                    reply.header(HeaderName::Contact, |out| {
                        out.push(b'<');
                        // Without the header part of the Contact: the caller would add it to its request.
                        write_target(out, target.uri(request));
                        out.extend_from_slice(format!(">;q={}.{:03}", q / 1000, q % 1000).as_bytes());
                    });
                }
            }
        });
    }

    /// Emits the event of a refusal.
    pub(super) fn report(&self, now: Now, request: &Request, reject: Reject, outbox: &mut Outbox) {
        match request.method() {
            Method::Register => self.report_registration(request, reject, outbox),
            Method::Invite => self.call_refused(now, request, reject, outbox),
            _ => self.report_request(request, reject, outbox),
        }
    }

    fn report_registration(&self, request: &Request, reject: Reject, outbox: &mut Outbox) {
        // A phone with a wrong domain is reported under the address that it wants to register.
        let named = || request.uri_of_to().ok()?.sip().map(|to| self.settings.aor_named_by(to));
        let aor = address_of_record(request, &self.settings).ok().or_else(named);
        let aor = aor.unwrap_or_else(|| Aor::new(b"", b""));
        let outcome = match reject {
            Reject::Challenge { .. } => Registration::Challenged,
            Reject::Store | Reject::StoreFull | Reject::Overload => Registration::Failed,
            _ => Registration::Refused,
        };
        let (status, reason, flow, offence) = (reject.status(), reject.reason(), request.flow, reject.offence());
        let (before, bindings, expires, record, key) = (0, 0, 0, None, reject.key(Method::Register));
        outbox.emit(Event::Registration {
            outcome,
            status,
            reason,
            aor,
            before,
            bindings,
            expires,
            flow,
            record,
            offence,
            key,
        });
    }

    /// Of other requests and challenged INVITEs, only refusals of something that the sender is not allowed to do are reported.
    pub(super) fn report_request(&self, request: &Request, reject: Reject, outbox: &mut Outbox) {
        let Some(offence) = reject.offence().filter(|_| !request.in_dialog) else { return };
        let from = request.uri_of_from().map(|caller| self.settings.aor_named_by(&caller));
        let from = from.unwrap_or_else(|| Aor::new(b"", b""));
        let (reason, key) = (reject.reason(), reject.key(request.method()));
        let (method, source) = (request.method().as_str_or("other"), request.flow.remote);
        outbox.emit(Event::RequestRefused { offence, reason, key, method, from, source });
    }
}
