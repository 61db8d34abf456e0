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
use repeats::{DEEDS, Deed};
pub(crate) use words::{Phones, clean};

/// What one worker has noted and nobody has read yet.
#[derive(Debug)]
pub(crate) struct Notes {
    waiting: Mutex<Waiting>,
    most: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    list: Vec<Note>,
    /// How many of them are refusals, by kind.
    refusals: [usize; DEEDS],
    /// Refusals that found no room.
    lost: [u64; DEEDS],
}

/// Something that happened, and when.
#[derive(Debug)]
struct Note {
    at: Wall,
    event: Event,
}

impl Notes {
    /// Room for so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { waiting: Mutex::default(), most }
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
            | Event::RequestRefused { .. }
            | Event::ParseError { .. }
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
        let deed = Deed::of(&note.event).map(|deed| deed as usize);
        let mut waiting = self.waiting.lock();
        let Waiting { list, refusals, lost } = &mut *waiting;
        let all: usize = refusals.iter().sum();
        let mut room = list.len() < self.most;
        if let Some(own) = deed.and_then(|deed| refusals.get_mut(deed)) {
            // A flood of one kind leaves room for the other kinds, and all of them for what is no refusal.
            room &= *own < self.most.div_ceil(4) && all < self.most - self.most / 4;
            *own += usize::from(room);
        }
        if room {
            list.push(note);
        } else if let Some(lost) = deed.and_then(|deed| lost.get_mut(deed)) {
            *lost += 1;
        }
        room
    }

    /// Swaps what is there for `empty`, and says how many refusals of each kind found no room.
    fn swap(&self, empty: &mut Vec<Note>) -> [u64; DEEDS] {
        let mut waiting = self.waiting.lock();
        std::mem::swap(&mut waiting.list, empty);
        waiting.refusals = [0; DEEDS];
        std::mem::take(&mut waiting.lost)
    }
}
