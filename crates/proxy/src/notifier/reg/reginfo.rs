//! `application/reginfo+xml`: contacts and their events as a document (RFC 3680 5).
//!
//! Decides the shape, never which contacts are reported. Peers wrote the URIs, parameters and Call-IDs (`xml.rs`).

use location::{Aor, Wall};
use parser::Params;

use crate::mac::{Mac, Purpose};
use crate::registrar::{GRANTED_PARAMS, write_q};

use super::contacts::{Contact, ContactEvent};
use crate::notifier::xml::{attribute, escape, identity, number, uri_of};

/// One document.
pub(super) struct Document<'a> {
    pub(super) aor: &'a Aor,
    pub(super) version: u32,
    /// Whether it has the full state, or only the changes.
    pub(super) full: bool,
    /// Of the registration: `init`, `active` or `terminated`.
    pub(super) state: &'static str,
    pub(super) changes: &'a [(Contact<'a>, ContactEvent)],
    pub(super) at: Wall,
}

impl Document<'_> {
    pub(super) fn write(&self, mac: &Mac, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<?xml version=\"1.0\"?>\n<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\"");
        number(out, "version", self.version);
        attribute(out, "state", if self.full { b"full" } else { b"partial" });
        out.extend_from_slice(b">\n<registration");
        attribute(out, "aor", &uri_of(self.aor));
        identity(out, mac.sign(Purpose::Notifier, &[b"registration", self.aor.as_bytes()]));
        attribute(out, "state", self.state.as_bytes());
        out.extend_from_slice(b">\n");
        for (contact, event) in self.changes {
            self.write_contact(contact, *event, out);
        }
        out.extend_from_slice(b"</registration>\n</reginfo>\n");
    }

    fn write_contact(&self, Contact { id, binding, configured }: &Contact<'_>, event: ContactEvent, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<contact");
        identity(out, *id);
        attribute(out, "state", if event.is_active() { b"active" } else { b"terminated" });
        attribute(out, "event", event.as_str().as_bytes());
        if !configured {
            let seconds = self.at.millis_since(binding.since()) / 1000;
            number(out, "duration-registered", seconds);
            if event.is_active() {
                number(out, "expires", binding.remaining(self.at));
            }
        }
        if let Some(q) = binding.q() {
            let mut text = Vec::with_capacity(5);
            write_q(&mut text, q);
            attribute(out, "q", &text);
        }
        if !configured {
            attribute(out, "callid", binding.call_id());
            number(out, "cseq", binding.cseq());
        }
        out.extend_from_slice(b">\n<uri>");
        escape(binding.contact(), out);
        out.extend_from_slice(b"</uri>\n");
        let own = |name: &[u8]| GRANTED_PARAMS.iter().any(|own| name.eq_ignore_ascii_case(own));
        for (name, value) in Params::new(binding.params()).iter().filter(|(name, _)| !own(name)) {
            out.extend_from_slice(b"<unknown-param");
            attribute(out, "name", name);
            out.push(b'>');
            escape(value.unwrap_or_default(), out);
            out.extend_from_slice(b"</unknown-param>\n");
        }
        out.extend_from_slice(b"</contact>\n");
    }
}
