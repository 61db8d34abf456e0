//! What the methods below the core share during one call: time, keys, settings, scratch memory and the outbox.

use bytes::Bytes;
use parser::{Reply, Rewrite, hex_number};

use crate::amplification::{self, Fitted};
use crate::call_writer::Calls;
use crate::clock::Now;
use crate::connections::Connections;
use crate::event::Event;
use crate::hop::Hop;
use crate::mac::{Mac, Purpose};
use crate::node_link::Link;
use crate::outbox::Outbox;
use crate::request::{Request, TransactionKey};
use crate::route::Search;
use crate::settings::Settings;
use crate::timer_queue::TimerQueue;
use crate::unreachable::Unreachable;

/// Borrowed from the core for one call of the driver.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) mac: &'a Mac,
    pub(crate) worker: u8,
    /// The current settings. A response context keeps the settings that it started with.
    pub(crate) settings: &'a Settings,
    pub(crate) connections: &'a Connections,
    pub(crate) rewrite: &'a mut Rewrite,
    pub(crate) timers: &'a mut TimerQueue,
    pub(crate) unreachable: &'a mut Unreachable,
    /// Where TCP was refused (`large`).
    pub(crate) udp_only: &'a mut Unreachable,
    pub(crate) calls: &'a mut Calls,
    pub(crate) outbox: &'a mut Outbox,
    /// Searches that response contexts wait for. The core begins them at the end of the call.
    pub(crate) searches: &'a mut Vec<Search>,
}

impl Context<'_> {
    /// Sends a kept ACK or CANCEL. `settings`: those that its INVITE was sent with.
    pub(crate) fn resend(&mut self, hop: &Hop, settings: &Settings, text: &Bytes) {
        let link = Link { settings, mac: self.mac, now: self.now.wall };
        self.outbox.send_over(hop, false, link, |out| out.extend_from_slice(text));
    }

    /// Sends a response of this server.
    pub(crate) fn reply(
        &mut self,
        request: &Request,
        status: u16,
        reason: &[u8],
        more: impl FnOnce(&mut Reply<'_>),
    ) -> &[u8] {
        let tag = ToTag::new(request, self.mac);
        self.reply_as(request, tag.as_bytes(), status, reason, more)
    }

    /// As [`Context::reply`], with this To tag. Returns the response; empty if none may be sent ([`amplification`]).
    pub(crate) fn reply_as(
        &mut self,
        request: &Request,
        tag: &[u8],
        status: u16,
        reason: &[u8],
        more: impl FnOnce(&mut Reply<'_>),
    ) -> &[u8] {
        // RFC 3261 8.2.6.2: a 100 gets no To tag.
        let tag = (status > 100).then_some(tag);
        let limit = amplification::max_len(request, self.settings);
        let mut fitted = Fitted::Whole;
        self.outbox.send(&request.response_hop, false, |out| {
            let start = out.len();
            let mut reply = Reply::new(out, &request.message, status, reason, request.stamp, tag);
            let own = reply.end();
            more(&mut reply);
            reply.finish();
            fitted = amplification::shorten(out, start, own, limit);
        });
        if !self.outbox.emit_fitted(fitted) {
            return b"";
        }
        self.outbox.emit(Event::ResponseSent {
            method: request.method().as_str_or("other"),
            status,
            transport: request.response_hop.transport,
        });
        self.outbox.last()
    }
}

/// Our To tag in responses to a request. Each retransmission gets the same one (RFC 3261 8.2.7), so that the ACK can
/// be recognised without any state.
pub(crate) struct ToTag([u8; TO_TAG_DIGITS]);

const TO_TAG_DIGITS: usize = 16;

impl ToTag {
    pub(crate) fn new(request: &Request, mac: &Mac) -> Self {
        Self::of_key(request.key, mac)
    }

    pub(crate) fn of_key(key: TransactionKey, mac: &Mac) -> Self {
        Self(hex_number(mac.sign(Purpose::ToTag, &[&key.0.to_be_bytes()])))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether an ACK belongs to a final response of this server: it repeats the To tag that we would give to its INVITE.
pub(crate) fn acknowledges_us(ack: &Request, mac: &Mac) -> bool {
    let [_, to_tag] = ack.tags();
    to_tag.len() == TO_TAG_DIGITS && to_tag == ToTag::new(ack, mac).as_bytes()
}
