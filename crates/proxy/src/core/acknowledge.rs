//! ACK (RFC 3261 17, RFC 6026 7.1): the ACK of a response of this server ends here, the ACK of a forwarded failure is
//! forwarded like its INVITE, and the ACK of a 2xx is forwarded within its dialog.
//!
//! The ACK of a 2xx may have the branch of its INVITE, or no branch (RFC 2543): then its transaction key is that of
//! the INVITE. In state Accepted it is forwarded by its own Route and Request-URI. Only the ACK of a failure has the
//! Request-URI of the INVITE, which is replaced as it was in the INVITE. The To tag says which final response an ACK
//! acknowledges: otherwise an attacker could send an INVITE with the identifiers of another call, and its ACK would
//! reach a phone as the ACK of that call. An ACK cannot be challenged, so an ACK that belongs to nothing known here
//! is dropped.

use super::Core;
use crate::clock::Now;
use crate::context::{Context, acknowledges_us};
use crate::event::{Drop, Event};
use crate::hop::Hop;
use crate::ingress;
use crate::outbox::Outbox;
use crate::pin::{Acknowledged, Match, tag_checksum};
use crate::request::Request;
use crate::response_context::{Final, ResponseContext};
use crate::route;
use crate::target::{NextHop, Target, TargetUri};

impl Core {
    /// Finds the transaction, the pin or the dialog that an ACK belongs to.
    pub(super) fn acknowledge(&mut self, now: Now, mut request: Box<Request>, outbox: &mut Outbox) {
        let [_, to_tag] = request.tags();
        if let Some(id) = self.response_contexts.id_of(request.key)
            && self.response_contexts.is_from(id, &request.source(), &self.connections)
        {
            let to_tag = tag_checksum(to_tag);
            let (response_contexts, mut context) = self.split(now, outbox);
            let acknowledge = |it: &mut ResponseContext, context: &mut Context<'_>| it.acknowledged(to_tag, context);
            let sent = response_contexts.with(id, &mut context, acknowledge);
            if let Some(Final::Success(answered_by)) = sent {
                self.acknowledge_success(now, request, answered_by, outbox);
            }
            return;
        }
        if acknowledges_us(&request, &self.mac) {
            return;
        }
        let pinned = self.pins.find_for(&request, &self.connections);
        let answered_by = match pinned.map(|pin| (pin.hop.clone(), pin.acknowledged_by(to_tag))) {
            Ok((hop, Acknowledged::Success)) => Some(hop),
            Ok((_, Acknowledged::Refusal)) if self.forward_by_pin(now, &mut request, outbox) == Match::Same => return,
            _ => None,
        };
        self.acknowledge_success(now, request, answered_by, outbox);
    }

    /// Forwards the ACK of a 2xx within its dialog, if it comes from the sender that the dialog knows: an ACK cannot
    /// be challenged, and the credentials that it repeats from its INVITE (RFC 3261 22.1) prove nothing, since others
    /// have read them. `answered_by`: the hop of the phone that sent the 2xx, if the transaction of the INVITE is
    /// still known and the ACK comes from its sender.
    fn acknowledge_success(
        &mut self,
        now: Now,
        mut request: Box<Request>,
        answered_by: Option<Hop>,
        outbox: &mut Outbox,
    ) {
        let mut dialog = route::accept_routes(&mut request, &self.settings, &self.mac);
        let has_hops = ingress::check_max_forwards(request.hops).is_ok();
        match (&mut dialog, answered_by) {
            (Ok(Some(dialog)), _) if has_hops => self.acknowledge_between_sides(now, request, dialog, outbox),
            (Ok(None), None) if has_hops => self.acknowledge_contact(now, request, outbox),
            (Ok(None), Some(hop)) if has_hops && request.next_route().is_none() => {
                self.acknowledge_phone(now, &request, hop, outbox);
            }
            _ => outbox.emit(Event::Dropped(Drop::StrayAck)),
        }
    }

    /// Forwards the ACK of a caller that ignores Record-Route, and so sends no Route, to the phone that sent the 2xx. The
    /// Request-URI is not authorized here, so it must not choose the next hop.
    fn acknowledge_phone(&mut self, now: Now, request: &Request, hop: Hop, outbox: &mut Outbox) {
        let target = Target { uri: TargetUri::Request, next_hop: NextHop::Hop(hop), over_flow: false };
        let sent = route::check_sips_hop(request.uri(), b"", &target.next_hop)
            .and_then(|()| self.forward_ack(now, request, target, outbox));
        if sent.is_err() {
            outbox.emit(Event::Dropped(Drop::StrayAck));
        }
    }
}
