//! What every step of one verb shares: the time, the keys, scratch memory and the way out.

use parser::{Reply, Rewrite};

use crate::amplification::{self, Fitted};
use crate::clock::Now;
use crate::connections::Connections;
use crate::event::Event;
use crate::mac::{Mac, Purpose, hex};
use crate::outbox::Outbox;
use crate::request::{Request, TransactionKey};
use crate::settings::Settings;

/// Lent to every step of a verb.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) mac: &'a Mac,
    pub(crate) worker: u8,
    /// Those of now; what has begun keeps those it began with.
    pub(crate) settings: &'a Settings,
    pub(crate) connections: &'a Connections,
    pub(crate) rewrite: &'a mut Rewrite,
    pub(crate) outbox: &'a mut Outbox,
}

impl Context<'_> {
    /// Answers a request with a response made here.
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

    /// As [`Context::reply`], with this To tag. Returns what was sent; nothing if nothing may be
    /// ([`amplification`]).
    pub(crate) fn reply_as(
        &mut self,
        request: &Request,
        tag: &[u8],
        status: u16,
        reason: &[u8],
        more: impl FnOnce(&mut Reply<'_>),
    ) -> &[u8] {
        // RFC 3261 8.2.6.2: a 100 has no tag of ours.
        let tag = (status > 100).then_some(tag);
        let limit = amplification::limit(request, self.settings);
        let mut fitted = Fitted::Whole;
        self.outbox.send(request.back, false, |out| {
            let start = out.len();
            let mut reply = Reply::new(out, &request.message, status, reason, request.stamp, tag);
            let own = reply.end();
            more(&mut reply);
            reply.finish();
            fitted = amplification::fit(out, start, own, limit);
        });
        if !self.outbox.emit_fitted(fitted) {
            return b"";
        }
        self.outbox.emit(Event::ResponseSent {
            method: request.method().as_str_or("other"),
            status,
            transport: request.back.transport,
        });
        self.outbox.last()
    }
}

/// Our To tag in responses to a request: the same for every copy of it (RFC 3261 8.2.7), so that the ACK can be
/// recognised without having kept anything.
pub(crate) struct ToTag([u8; TO_TAG_DIGITS]);

const TO_TAG_DIGITS: usize = 16;

impl ToTag {
    pub(crate) fn new(request: &Request, mac: &Mac) -> Self {
        Self::of_key(request.key, mac)
    }

    pub(crate) fn of_key(key: TransactionKey, mac: &Mac) -> Self {
        Self(hex(mac.sign(Purpose::ToTag, &[&key.0.to_be_bytes()])))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether an ACK acknowledges a final response that was made here: then it ends here.
pub(crate) fn acknowledges_us(ack: &Request, mac: &Mac) -> bool {
    let [_, to_tag] = ack.tags();
    to_tag.len() == TO_TAG_DIGITS && to_tag == ToTag::new(ack, mac).as_bytes()
}
