//! The state of a resource, as its event package reports it: where it comes from, and how a NOTIFY body describes what
//! changed (RFC 6665 5.4.7).
//!
//! Passes each call on to the module of the package; one variant for each package.

use location::{Aor, Wall};

use crate::ask::{Answer, Question};
use crate::event_package::EventPackage;
use crate::mac::Mac;
use crate::settings::Settings;

use super::reg::Registration;

/// The state of a resource at one moment.
#[derive(Debug)]
pub(super) enum State {
    /// Of the package `reg`.
    Reg(Registration),
}

impl State {
    /// The question for the current state of `resource`; [`State::answered`] reads the answer.
    pub(super) fn question(package: EventPackage, resource: &Aor) -> Question {
        match package {
            EventPackage::Reg => Question::Load(resource.clone()),
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
            (EventPackage::Reg, _) => None,
        }
    }

    /// The neutral state, for a subscriber that may not learn the real one (RFC 6665 5.4.7).
    pub(super) fn neutral(package: EventPackage, at: Wall) -> Self {
        match package {
            EventPackage::Reg => Self::Reg(Registration::empty(at)),
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
        match self {
            Self::Reg(registration) => {
                let previous = previous.map(|Self::Reg(previous)| previous);
                registration.write(previous, resource, version, mac, out)
            }
        }
    }

    /// The moment at which the state changes by itself, without an event.
    pub(super) fn changes_at(&self) -> Option<Wall> {
        match self {
            Self::Reg(registration) => registration.changes_at(),
        }
    }
}
