//! The state that the `reg` package reports: the contacts that are registered for an address-of-record, and what
//! changed since an earlier moment (RFC 3680).
//!
//! These events are reported:
//! - `registered`, `refreshed`, `unregistered`: a REGISTER caused the change. `expired`: no REGISTER came in time.
//! - `created`, `rejected`: the configuration gained or lost a contact. No REGISTER can bring that contact back.
//! - `deactivated`: an operator removed the binding, or it was removed to make space for another one. The phone may
//!   register again.
//!
//! Two events cannot happen here: `shortened`, because only a REGISTER of the phone changes how long its binding
//! lasts, and `probation`, because an operator who removes a phone cannot say when it may come back.
//!
//! Must not know when a NOTIFY is sent, nor its dialog.

mod contacts;
mod reginfo;

use location::{Aor, Record, Wall};

use crate::mac::Mac;
use crate::settings::Settings;

use contacts::Contacts;
use reginfo::Document;

/// The registration of one address-of-record at one moment.
#[derive(Debug)]
pub(super) struct Registration(Contacts);

impl Registration {
    /// The state of now: the bindings of the record and those of the configuration.
    pub(super) fn now(aor: &Aor, registered: Option<Record>, settings: &Settings, at: Wall) -> Self {
        Self(Contacts { registered, configured: settings.accounts.contacts(aor).cloned(), at })
    }

    /// A registration without contacts.
    pub(super) fn empty(at: Wall) -> Self {
        Self(Contacts { at, ..Contacts::default() })
    }

    /// Appends the document with the changes since `previous`, or with all contacts if that is `None`. Returns whether
    /// there is any change.
    pub(super) fn write(&self, previous: Option<&Self>, aor: &Aor, version: u32, mac: &Mac, out: &mut Vec<u8>) -> bool {
        let Self(contacts) = self;
        let changes = match previous {
            Some(Self(before)) => contacts.since(before, mac),
            None => contacts.all(mac),
        };
        // RFC 3680 3.3: `terminated` if the last binding has gone, `init` if there was none.
        let state = match (contacts.is_active(), previous.is_some_and(|Self(before)| before.is_active())) {
            (true, _) => "active",
            (false, true) => "terminated",
            (false, false) => "init",
        };
        Document { aor, version, full: previous.is_none(), state, changes: &changes, at: contacts.at }.write(mac, out);
        !changes.is_empty()
    }

    /// When the first binding expires. Nothing else reports that moment.
    pub(super) fn changes_at(&self) -> Option<Wall> {
        self.0.expires_at()
    }
}
