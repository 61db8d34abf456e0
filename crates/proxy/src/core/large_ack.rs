//! The ACK of a 2xx that is too long for UDP (RFC 3261 18.1.1): it goes over TCP, and over UDP if TCP is refused.
//!
//! No response says whether it arrived. If no connection opens, the driver returns its text, whose branch names the hop over
//! UDP, so that no state is needed. A peer that accepts connections and ignores what comes over them does not get it.

use parser::{HeaderName, Message};

use super::Core;
use super::send::{Sent, send_request};
use crate::clock::Now;
use crate::event::{Event, LargeRequest};
use crate::forward::{Forwarding, ViaBranch, write_via};
use crate::hop::Hop;
use crate::large;
use crate::node_link::Link;
use crate::outbox::Outbox;
use crate::request::Request;
use crate::target::Target;

impl Core {
    /// Sends an ACK over TCP that was written for UDP.
    pub(super) fn send_large_ack(
        &mut self,
        now: Now,
        request: &Request,
        target: &Target,
        (over_udp, hop): (&Sent, Hop),
        outbox: &mut Outbox,
    ) -> Sent {
        let branch = ViaBranch::of_large_ack(&over_udp.branch, &over_udp.hop, &self.settings);
        let forwarding =
            Forwarding { request, to: target.sent_over(&hop), branch, breadth: request.max_breadth(), history: None };
        let link = Link { settings: &self.settings, mac: &self.mac, now: now.wall };
        send_request(&forwarding, link, &mut self.rewrite, outbox);
        outbox.emit(Event::LargeRequest { outcome: LargeRequest::OverTcp });
        Sent { hop, branch, ..*over_udp }
    }

    /// Sends an ACK over UDP that nobody accepted over TCP.
    pub(super) fn send_over_udp(&mut self, now: Now, sent: &Message, branch: ViaBranch, outbox: &mut Outbox) {
        let ViaBranch::LargeAck { over_udp, .. } = branch else { return };
        let Some(hop) = over_udp.hop(&self.settings) else { return };
        if let Some(refused) = large::instead_of(&hop, &self.settings) {
            let (_, mut context) = self.split(now, outbox);
            large::record_refusal(&refused, context.settings, &mut context);
        }
        let (rewrite, settings) = (&mut self.rewrite, &self.settings);
        rewrite.clear();
        rewrite.remove_first(sent, HeaderName::Via);
        rewrite.put_first(sent, |out| write_via(out, &hop, &branch, settings));
        outbox.send(&hop, false, |out| rewrite.write(sent, out));
    }
}
