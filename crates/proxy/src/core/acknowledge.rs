//! ACK (RFC 3261 17, RFC 6026 7.1): it ends with the transaction that it acknowledges, goes the way of its INVITE, or goes on in
//! its dialog.
//!
//! The ACK of a 2xx may come on the branch of its INVITE, or without any branch (RFC 2543): its transaction key is that of the
//! INVITE then. In Accepted it is passed on, by its own Route and Request-URI; only the ACK of a refusal has the Request-URI
//! of the INVITE, which is replaced again as it was in the INVITE. The To tag tells which final an ACK acknowledges: with the
//! identifiers and the tags of somebody else's call, the ACK of an INVITE of its own would reach a phone as that call's. An ACK cannot be challenged, so one that nothing here knows
//! goes nowhere.

use super::Core;
use crate::clock::Now;
use crate::context::acknowledges_us;
use crate::event::{Drop, Event};
use crate::fork::Final;
use crate::hop::Hop;
use crate::ingress;
use crate::outbox::Outbox;
use crate::pin::{Acknowledged, Match, tag_checksum};
use crate::request::Request;
use crate::route;
use crate::target::{Target, TargetUri, Way};

impl Core {
    /// Finds out what an ACK belongs to.
    pub(super) fn acknowledge(&mut self, now: Now, mut request: Request, outbox: &mut Outbox) {
        let [_, to_tag] = request.tags();
        if let Some(id) = self.forks.id_of(request.key)
            && self.forks.is_from(id, &request.source(), &self.connections)
        {
            let to_tag = tag_checksum(to_tag);
            let (forks, context) = self.split(now, outbox);
            let sent = forks.with(id, |fork| fork.acknowledged(to_tag, &context));
            if let Some(Final::Success(answered_by)) = sent {
                self.acknowledge_success(now, request, answered_by, outbox);
            }
            return;
        }
        if acknowledges_us(&request, &self.mac) {
            return;
        }
        let pinned = self.pins.find_for(&request, &self.connections);
        let answered_by = match pinned.map(|pin| (pin.hop, pin.acknowledged_by(to_tag))) {
            Ok((hop, Acknowledged::Success)) => Some(hop),
            Ok((_, Acknowledged::Refusal)) if self.forward_by_pin(&mut request, outbox) == Match::Same => return,
            _ => None,
        };
        self.acknowledge_success(now, request, answered_by, outbox);
    }

    /// An ACK that acknowledges no refusal known here goes on in its dialog, from its sender only: it cannot be challenged, and
    /// credentials that it repeats from its INVITE (RFC 3261 22.1) prove nothing to somebody else who has read them.
    /// `answered_by`: which phone sent the 2xx that it acknowledges, if the transaction of its INVITE is still known and the
    /// ACK is from its sender.
    fn acknowledge_success(&mut self, now: Now, mut request: Request, answered_by: Option<Hop>, outbox: &mut Outbox) {
        let dialog = route::accept_routes(&mut request, &self.settings, &self.mac).ok();
        match (dialog.filter(|_| ingress::hops(request.hops).is_ok()), answered_by) {
            (Some(Some(dialog)), _) => self.acknowledge_between_sides(now, request, dialog, outbox),
            (Some(None), None) => self.acknowledge_contact(now, request, outbox),
            (Some(None), Some(hop)) if request.next_route().is_none() => {
                self.acknowledge_phone(now, &request, hop, outbox);
            }
            _ => outbox.emit(Event::Dropped(Drop::StrayAck)),
        }
    }

    /// A caller that ignores Record-Route sends the ACK without a Route. It reaches the phone that sent the 2xx, and nobody
    /// else, whatever the Request-URI says: that is not judged here.
    fn acknowledge_phone(&mut self, now: Now, request: &Request, hop: Hop, outbox: &mut Outbox) {
        let target = Target { uri: TargetUri::Request, way: Way::Hop(hop), over_flow: false };
        let sent = route::admits_hop(request.uri(), b"", &target.way)
            .and_then(|()| self.forward_stateless(now, request, target, outbox));
        if sent.is_err() {
            outbox.emit(Event::Dropped(Drop::StrayAck));
        }
    }
}
