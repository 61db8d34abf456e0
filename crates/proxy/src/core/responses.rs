//! Responses to requests that were forwarded without a transaction (RFC 3261 16.11): forwards them to where the
//! request came from, and updates the pin. A request that could not be sent gets the response that stands for its
//! next hop (16.9).

use std::net::SocketAddr;

use bytes::Bytes;
use location::Flow;
use parser::headers::Via;
use parser::{HeaderName, Message, Method, ParseError, Reply, Rewrite, Span, Stamp, reason_phrase};

use super::Core;
use super::calls::pin_responded;
use crate::clock::Now;
use crate::context::ToTag;
use crate::dialog::ResponseCallee;
use crate::event::{Drop, Event};
use crate::forward::{Origin, ViaBranch, write_response};
use crate::mac::Mac;
use crate::outbox::{CoreMessage, Handover, Outbox, Passed};
use crate::pin::{Pin, tag_checksum};
use crate::request::{Received, SentBy, TransactionKey, tag_of};
use crate::response_context::status_for_caller;
use crate::route::may_respond;

/// A response that was forwarded.
pub(super) struct Forwarded<'m> {
    /// The transaction of its request.
    key: TransactionKey,
    /// The method of that request.
    pub(super) method: Method<'m>,
    status: u16,
    /// `None` for a response of this server.
    to_tag: Option<&'m [u8]>,
}

impl Core {
    /// Forwards a response to where its request came from (RFC 3261 16.11). Returns what is known of it; `None` if it
    /// was dropped, because its mark is wrong (RFC 6026 8.2) or it does not come from where the request went.
    /// `source` is `None` for a response of this server.
    pub(super) fn forward_marked<'m>(
        &mut self,
        now: Now,
        response: &'m Message,
        branch: &ViaBranch,
        source: Option<&Flow>,
        outbox: &mut Outbox,
    ) -> Option<Forwarded<'m>> {
        let below = via_below(response);
        let response_address = branch.origin().map(Origin::response_address);
        let known = below.zip(response_address).and_then(|(below, address)| {
            self.mac.find(|mac| {
                let (key, method) = TransactionKey::of(response, &below, address, mac)?;
                let sent_to = source.and_then(|source| self.sent_to(branch, key, source, mac));
                (source.is_none() || sent_to.is_some()).then_some((key, method, sent_to))
            })
        });
        let Some((key, method, sent_to)) = known else {
            match (branch, source) {
                // The worker with the pin knows from which other addresses the phone may respond.
                (ViaBranch::Pinned { worker, .. }, Some(source)) if *worker != self.worker => {
                    let received = Received { message: response.clone(), flow: *source };
                    let core_message = CoreMessage::Response(Box::new(received));
                    outbox.handovers.push(Handover { worker: Some(*worker), core_message });
                }
                _ => outbox.emit(Event::Dropped(Drop::StrayResponse)),
            }
            return None;
        };
        let sent_by = below.and_then(|below| below.name());
        let hop = branch.origin().and_then(|origin| origin.peer.hop(&self.settings));
        let Some(hop) = hop.map(|hop| hop.for_response(sent_by, &self.connections)) else {
            outbox.emit(Event::Dropped(Drop::Unroutable));
            return None;
        };
        let status = response.status().unwrap_or_default();
        outbox.emit(Event::ResponseSent { method: method.as_str_or("other"), status, transport: hop.transport });
        let (settings, mac, rewrite) = (&self.settings, &self.mac, &mut self.rewrite);
        let to_tag = tag_of(response, HeaderName::To).unwrap_or_default();
        let callee = ResponseCallee { tag: to_tag, address: sent_to };
        // RFC 5626 11.5: the node that holds the flow says that it is gone. That is for this server only.
        let is_of_node = branch.origin().is_some_and(|origin| origin.at_node.is_some());
        let changed = if is_of_node && status == 430 { with_status_for_caller(response, rewrite) } else { None };
        let shown = changed.as_ref().unwrap_or(response);
        outbox.send(&hop, false, |out| write_response(shown, callee, settings, mac, rewrite, out, |_| {}));
        self.note_answer(now, (key, method), (status, source.is_none()), outbox);
        Some(Forwarded { key, method, status, to_tag: source.map(|_| to_tag) })
    }

    /// The address that the request went to, if the response comes from there with a valid mark, or from another
    /// address that the phone may respond from.
    fn sent_to(&self, branch: &ViaBranch, key: TransactionKey, source: &Flow, mac: &Mac) -> Option<SocketAddr> {
        let is_valid = branch.verify(key, source, &self.settings, mac);
        let at_node = branch.origin().and_then(|origin| origin.at_node);
        // Over a stream the mark does not cover the port: the phone may respond over a connection of its own.
        if is_valid && (at_node.is_some() || !source.transport.is_reliable()) {
            return Some(at_node.unwrap_or(source.remote));
        }
        // The branch names where the response goes: with another branch a sender could choose that.
        let Some(pin) = self.pins.find(key).filter(|pin| pin.branch == *branch) else {
            return is_valid.then_some(source.remote);
        };
        let may_respond = is_valid || may_respond(pin.sent_to(), source, &self.settings);
        may_respond.then(|| pin.sent_to().remote())
    }

    /// Answers a forwarded request that could not be sent as if its next hop had refused it (RFC 3261 16.9).
    pub(super) fn undelivered(&mut self, now: Now, text: Bytes, outbox: &mut Outbox) {
        let Ok(sent) = Message::parse(text) else { return };
        let top = sent.header::<Via<'_>>().ok().flatten();
        let branch = top.and_then(|via| ViaBranch::parse(via.branch()?));
        match branch {
            Some(ViaBranch::Transaction { id, .. }) => {
                let (response_contexts, mut context) = self.split(now, outbox);
                response_contexts.with(id.context, &mut context, |it, context| it.undelivered(id, context));
            }
            Some(ViaBranch::Notify { id, .. }) => self.notify_undelivered(now, id, outbox),
            Some(ViaBranch::Trunk { id, .. }) => self.trunk_undelivered(now, id, outbox),
            Some(branch @ ViaBranch::ForNode(_)) if sent.is_request() => {
                let Some(key) = via_below(&sent).and_then(|below| {
                    let address = branch.origin()?.response_address();
                    Some(TransactionKey::of(&sent, &below, address, &self.mac)?.0)
                }) else {
                    return;
                };
                // The connection has just been closed, or ICMP says that nothing listens: the flow failed (RFC 5626 11.5).
                let answer = own_answer(&sent, 430, key, &self.mac);
                if let Ok(message) = answer {
                    self.answer_node(&message, &branch, None, outbox);
                }
            }
            Some(branch @ ViaBranch::LargeAck { .. }) => self.send_over_udp(now, &sent, branch, outbox),
            // No state is needed: the response is made from the request as it was sent, and goes to where its Via says.
            Some(ViaBranch::Stateless(origin) | ViaBranch::Pinned { origin, .. }) if sent.is_request() => {
                let key = via_below(&sent)
                    .and_then(|below| TransactionKey::of(&sent, &below, origin.response_address(), &self.mac));
                let Some((key, _)) = key else { return };
                let pin = self.pins.find(key);
                // This is a retransmission of an INVITE that was accepted: a failure now would end the call at the
                // caller.
                if pin.is_some_and(Pin::is_accepted) {
                    return;
                }
                let failure = if origin.at_node.is_some() { 430 } else { pin.map_or(503, |pin| pin.hop.failure()) };
                if let Ok(message) = own_answer(&sent, status_for_caller(failure), key, &self.mac) {
                    self.route_response(now, branch.as_ref(), &message, None, outbox);
                }
            }
            _ => {}
        }
    }

    /// Reports a forwarded response to the pin of its INVITE, at this worker or another one.
    pub(super) fn note_response(
        &mut self,
        now: Now,
        worker: u8,
        Forwarded { key, status, to_tag, .. }: Forwarded<'_>,
        outbox: &mut Outbox,
    ) {
        let response = match status {
            ..200 => Passed::Provisional { status },
            _ => Passed::Final { status, to_tag: to_tag.map(tag_checksum) },
        };
        let to_tag = to_tag.unwrap_or_default();
        if worker == self.worker {
            self.response_passed(now, key, (response, to_tag), outbox);
        } else {
            let core_message = CoreMessage::ResponsePassed { key: key.0, response, to_tag: to_tag.into() };
            outbox.handovers.push(Handover { worker: Some(worker), core_message });
        }
    }

    /// After a final response a pin is kept for retransmissions only; a provisional one extends it. `to_tag`: its To tag.
    pub(super) fn response_passed(
        &mut self,
        now: Now,
        key: TransactionKey,
        (response, to_tag): (Passed, &[u8]),
        outbox: &mut Outbox,
    ) {
        let timers = &self.settings.timers;
        match response {
            Passed::Provisional { status } => {
                if let Some(pin) = self.pins.proceeds(key, status, now.mono + timers.c) {
                    pin_responded(&mut self.calls, pin, (status, to_tag), (false, false), now.wall, outbox);
                }
            }
            Passed::Final { status, to_tag: sum } => {
                let until = now.mono + timers.last_copy();
                if let Some((pin, ends_setup)) = self.pins.answered(key, (status, sum), until, &mut self.timers) {
                    let how = (ends_setup, sum.is_none());
                    pin_responded(&mut self.calls, pin, (status, to_tag), how, now.wall, outbox);
                }
            }
        }
    }
}

/// The response of this server to a request as it was sent.
fn own_answer(sent: &Message, status: u16, key: TransactionKey, mac: &Mac) -> Result<Message, ParseError> {
    let tag = ToTag::of_key(key, mac);
    let mut answer = Vec::new();
    let reason = reason_phrase(status).as_bytes();
    Reply::new(&mut answer, sent, status, reason, Stamp::default(), Some(tag.as_bytes())).finish();
    Message::parse(answer.into())
}

/// The same response with the status that the caller gets.
fn with_status_for_caller(response: &Message, rewrite: &mut Rewrite) -> Option<Message> {
    let status = status_for_caller(response.status()?);
    let line = memchr::memchr(b'\r', response.bytes())?;
    rewrite.clear();
    rewrite.replace(Span { start: 0, end: u32::try_from(line).ok()? }, |out| {
        out.extend_from_slice(format!("SIP/2.0 {status} {}", reason_phrase(status)).as_bytes());
    });
    let mut out = Vec::new();
    rewrite.write(response, &mut out);
    Message::parse(out.into()).ok()
}

/// The Via below ours.
pub(super) fn via_below(message: &Message) -> Option<SentBy<'_>> {
    message.values(HeaderName::Via).nth(1).and_then(SentBy::of)
}
