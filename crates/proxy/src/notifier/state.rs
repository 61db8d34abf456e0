//! The state of a resource, as its event package reports it: where it comes from, and how a NOTIFY body describes what
//! changed (RFC 6665 5.4.7).
//!
//! Passes each call on to the module of the package; one variant for each package.

use location::{Aor, Wall};

use crate::ask::{Answer, Question};
use crate::calls::CallInProgress;
use crate::context::Context;
use crate::event_package::EventPackage;
use crate::mac::Mac;
use crate::settings::Settings;

use super::dialogs::Dialogs;
use super::reg::Registration;
use super::subscriber::Subscriber;

/// The state of a resource at one moment.
#[derive(Debug)]
pub(super) enum State {
    /// Of the package `reg`.
    Reg(Registration),
    /// Of the package `dialog`.
    Dialog(Dialogs),
}

/// What a package answers to the question for the current state.
pub(super) enum Reading {
    /// The state.
    Known(State),
    /// [`State::answered`] reads the answer to this question.
    Asked(Question),
}

impl State {
    /// Reads the state of `resource` as `subscriber` may see it.
    pub(super) fn read(
        package: EventPackage,
        resource: &Aor,
        subscriber: &Subscriber,
        context: &Context<'_>,
    ) -> Reading {
        match package {
            EventPackage::Reg => Reading::Asked(Question::Load(resource.clone())),
            EventPackage::Dialog => {
                let access = subscriber.access_to_calls(resource, context.settings);
                Reading::Known(Self::Dialog(Dialogs::now(resource, access, context)))
            }
        }
    }

    /// The state of now; `None` if the question could not be answered.
    pub(super) fn answered(
        package: EventPackage,
        resource: &Aor,
        answer: Answer,
        settings: &Settings,
        at: Wall,
    ) -> Option<Self> {
        match (package, answer) {
            (EventPackage::Reg, Answer::Loaded(record)) => {
                Some(Self::Reg(Registration::now(resource, record, settings, at)))
            }
            (EventPackage::Reg | EventPackage::Dialog, _) => None,
        }
    }

    /// The neutral state, for a subscriber that may not learn the real one (RFC 6665 5.4.7).
    pub(super) fn neutral(package: EventPackage, at: Wall) -> Self {
        match package {
            EventPackage::Reg => Self::Reg(Registration::empty(at)),
            EventPackage::Dialog => Self::Dialog(Dialogs::none(at)),
        }
    }

    /// Appends the body of a NOTIFY: what changed since `previous`, or the full state if that is `None`. `version`: the
    /// number of NOTIFYs before this one. Returns whether anything changed.
    pub(super) fn write(
        &self,
        previous: Option<&Self>,
        resource: &Aor,
        version: u32,
        mac: &Mac,
        out: &mut Vec<u8>,
    ) -> bool {
        match (self, previous) {
            (Self::Reg(registration), Some(Self::Reg(previous))) => {
                registration.write(Some(previous), resource, version, mac, out)
            }
            (Self::Reg(registration), _) => registration.write(None, resource, version, mac, out),
            (Self::Dialog(dialogs), Some(Self::Dialog(previous))) => {
                dialogs.write(Some(previous), resource, version, out)
            }
            (Self::Dialog(dialogs), _) => dialogs.write(None, resource, version, out),
        }
    }

    /// The moment at which the state changes by itself, or has to be read without an event.
    pub(super) fn changes_at(&self) -> Option<Wall> {
        match self {
            Self::Reg(registration) => registration.changes_at(),
            Self::Dialog(dialogs) => Some(dialogs.check_at()),
        }
    }

    /// Whether it is still the state of now, as far as that can be told without reading it.
    pub(super) fn check(&mut self, resource: &Aor, context: &Context<'_>) -> bool {
        match self {
            Self::Reg(_) => false,
            Self::Dialog(dialogs) => dialogs.check(resource, context),
        }
    }

    /// The settings have changed, and with them perhaps what the subscriber may see.
    pub(super) const fn outdate(&mut self) {
        match self {
            Self::Reg(_) => {}
            Self::Dialog(dialogs) => dialogs.outdate(),
        }
    }

    /// A call has ended that the current state does not have any more.
    pub(super) fn note_end(&mut self, call: &CallInProgress, resource: &Aor, context: &Context<'_>) {
        match self {
            Self::Reg(_) => {}
            Self::Dialog(dialogs) => dialogs.note_end(call, resource, context),
        }
    }
}
