//! `application/dialog-info+xml`: the dialogs of a user as a document (RFC 4235 4).
//!
//! Decides the shape, never which dialogs are reported, nor what of them a watcher may learn. Peers wrote the
//! identifiers and identities (`xml.rs`).

use location::{Aor, Wall};

use crate::notifier::xml::{attribute, escape, identity, number, uri_of};

use super::{Direction, UserDialog};

/// One document.
pub(super) struct Document<'a> {
    /// The observed user.
    pub(super) aor: &'a Aor,
    pub(super) version: u32,
    /// Whether it has the full state, or only the changes.
    pub(super) full: bool,
    pub(super) dialogs: &'a [&'a UserDialog],
    pub(super) at: Wall,
}

impl Document<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<?xml version=\"1.0\"?>\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\"");
        number(out, "version", self.version);
        attribute(out, "state", if self.full { b"full" } else { b"partial" });
        let entity = uri_of(self.aor);
        attribute(out, "entity", &entity);
        out.extend_from_slice(b">\n");
        for dialog in self.dialogs {
            self.write_dialog(dialog, &entity, out);
        }
        out.extend_from_slice(b"</dialog-info>\n");
    }

    fn write_dialog(&self, dialog: &UserDialog, entity: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"<dialog");
        identity(out, dialog.id);
        if let Some(identifiers) = &dialog.identifiers {
            attribute(out, "call-id", &identifiers.call_id);
            for (name, tag) in [("local-tag", &identifiers.local_tag), ("remote-tag", &identifiers.remote_tag)] {
                if !tag.is_empty() {
                    attribute(out, name, tag);
                }
            }
        }
        let direction: &[u8] = match dialog.direction {
            Direction::Initiator => b"initiator",
            Direction::Recipient => b"recipient",
        };
        attribute(out, "direction", direction);
        out.extend_from_slice(b">\n<state");
        if let Some(end) = dialog.state.end() {
            if let Some(event) = end.event {
                attribute(out, "event", event.as_str().as_bytes());
            }
            if let Some(status) = end.status {
                number(out, "code", status);
            }
        }
        out.push(b'>');
        out.extend_from_slice(dialog.state.as_str().as_bytes());
        out.extend_from_slice(b"</state>\n");
        if dialog.state.end().is_none() {
            element(out, "duration", |out| parser::write_decimal(out, self.at.millis_since(dialog.since) / 1000));
        }
        // An ended dialog has both sides too: pjsip 2.15 crashes if a dialog has none and an earlier one had.
        write_participant(out, "local", entity, b"");
        write_participant(out, "remote", &dialog.remote.uri, &dialog.remote.display);
        out.extend_from_slice(b"</dialog>\n");
    }
}

/// Writes a side of a dialog. `uri` is the target too: requests to it come through this server, which finds the phone.
/// RFC 4235 4.1.6.2 has the Contact of the phone there; a watcher would send requests to it past the server, and does
/// not need to know the addresses of phones.
fn write_participant(out: &mut Vec<u8>, name: &str, uri: &[u8], display: &[u8]) {
    element(out, name, |out| {
        out.extend_from_slice(b"<identity");
        if !display.is_empty() {
            // RFC 4235 4.1.6.1 says `display`, and the schema in 4.4 `display-name`. Phones read the first.
            attribute(out, "display", display);
        }
        out.push(b'>');
        escape(uri, out);
        out.extend_from_slice(b"</identity><target");
        attribute(out, "uri", uri);
        out.extend_from_slice(b"/>");
    });
}

fn element(out: &mut Vec<u8>, name: &str, content: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
    content(out);
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b">\n");
}
