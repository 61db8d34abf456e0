//! What happened, for people: the workers take notes, the desk makes lines and a list of calls of them.
//!
//! A note is an event that is put aside as it is, under a lock that nobody else holds for long: no words are made and
//! nothing is written while a message waits. Peers' faults are debug lines of the worker. Counting is
//! [`metrics`](crate::metrics)' business.

mod bans;
mod calls;
mod desk;
mod ending;
mod repeats;
mod words;

use location::Wall;
use parking_lot::Mutex;
use proxy::{AuthenticationFailure, DialogRequest, Event, Registration};
use tracing::{Level, debug, enabled};

pub(crate) use calls::{Calls, Ended, Open};
pub(crate) use desk::Desk;
pub(crate) use ending::Ending;
pub(crate) use words::{Phones, clean};

/// What one worker has noted and nobody has read yet.
#[derive(Debug)]
pub(crate) struct Notes {
    list: Mutex<Vec<Note>>,
    most: usize,
}

/// Something that happened, and when.
#[derive(Debug)]
struct Note {
    at: Wall,
    event: Event,
}

impl Notes {
    /// Room for so many.
    pub(crate) const fn new(most: usize) -> Self {
        Self { list: Mutex::new(Vec::new()), most }
    }

    /// Puts an event aside, if it is worth a line. False if there is no room.
    pub(crate) fn take(&self, at: Wall, event: Event) -> bool {
        match event {
            Event::Registration { outcome: Registration::Queried | Registration::Challenged, .. }
            | Event::AuthenticationFailed {
                reason: AuthenticationFailure::Stale | AuthenticationFailure::Identity,
                ..
            }
            | Event::DialogRequest { outcome: DialogRequest::Challenged, .. }
            | Event::ParseError { .. }
            | Event::Dropped(_)
            | Event::LimitReached(_)
            | Event::Fork { .. }
            | Event::Notified { .. } => debug!("{event:?}"),
            // Every phone says every few minutes that it is still there.
            Event::Registration { outcome: Registration::Registered, before, bindings, .. }
                if bindings <= before && !enabled!(Level::DEBUG) => {}
            Event::Registration { .. }
            | Event::Call { .. }
            | Event::CallEnded { .. }
            | Event::CallRefused { .. }
            | Event::DialogRequest { .. }
            | Event::AuthenticationFailed { .. } => return self.put(Note { at, event }),
            Event::RequestReceived { .. }
            | Event::RequestForwarded { .. }
            | Event::ResponseReceived { .. }
            | Event::ResponseSent { .. } => {}
        }
        true
    }

    fn put(&self, note: Note) -> bool {
        let mut list = self.list.lock();
        let room = list.len() < self.most;
        if room {
            list.push(note);
        }
        room
    }

    /// Swaps what is there for `empty`.
    fn swap(&self, empty: &mut Vec<Note>) {
        std::mem::swap(&mut *self.list.lock(), empty);
    }
}
