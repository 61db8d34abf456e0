//! What happened, for people: the workers take notes, the desk makes lines and a list of calls of them.
//!
//! A note is an event that is put aside as it is, under a lock that nobody else holds for long: no words are made and
//! nothing is written while a message waits. Peers' faults are debug lines of the worker. Counting is
//! [`metrics`](crate::metrics)' business.

mod bans;
mod calls;
mod ending;
mod event_log;
mod format;
mod rate_limit;

use location::Wall;
use parking_lot::Mutex;
use proxy::{AuthenticationFailure, DialogRequest, Event, Registration};
use tracing::{Level, debug, enabled};

pub(crate) use calls::{ActiveCall, CallHistory, EndedCall};
pub(crate) use ending::Ending;
pub(crate) use event_log::EventLog;
pub(crate) use format::{PhoneCount, sanitize};
use rate_limit::{REFUSAL_KINDS, RefusalKind};

/// What one worker has noted and nobody has read yet.
#[derive(Debug)]
pub(crate) struct EventQueue {
    waiting: Mutex<Waiting>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    list: Vec<QueuedEvent>,
    /// How many of them are refusals, by kind.
    refusals: [usize; REFUSAL_KINDS],
    /// Refusals that found no room.
    dropped: [u64; REFUSAL_KINDS],
}

/// Something that happened, and when.
#[derive(Debug)]
struct QueuedEvent {
    at: Wall,
    event: Event,
}

impl EventQueue {
    /// Room for so many.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { waiting: Mutex::default(), capacity }
    }

    /// Puts an event aside, if it is worth a line. False if there is no room.
    pub(crate) fn record(&self, at: Wall, event: Event) -> bool {
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
            | Event::AuthenticationFailed { .. } => return self.push(QueuedEvent { at, event }),
            Event::RequestReceived { .. }
            | Event::RequestForwarded { .. }
            | Event::ResponseReceived { .. }
            | Event::ResponseSent { .. } => {}
        }
        true
    }

    fn push(&self, queued: QueuedEvent) -> bool {
        let kind = RefusalKind::of(&queued.event).map(|kind| kind as usize);
        let mut waiting = self.waiting.lock();
        let Waiting { list, refusals, dropped } = &mut *waiting;
        let all: usize = refusals.iter().sum();
        let mut has_room = list.len() < self.capacity;
        if let Some(own) = kind.and_then(|kind| refusals.get_mut(kind)) {
            // A flood of one kind leaves room for the other kinds, and all of them for what is no refusal.
            has_room &= *own < self.capacity.div_ceil(4) && all < self.capacity - self.capacity / 4;
            *own += usize::from(has_room);
        }
        if has_room {
            list.push(queued);
        } else if let Some(dropped) = kind.and_then(|kind| dropped.get_mut(kind)) {
            *dropped += 1;
        }
        has_room
    }

    /// Swaps what is there for `empty`, and says how many refusals of each kind found no room.
    fn drain_into(&self, empty: &mut Vec<QueuedEvent>) -> [u64; REFUSAL_KINDS] {
        let mut waiting = self.waiting.lock();
        std::mem::swap(&mut waiting.list, empty);
        waiting.refusals = [0; REFUSAL_KINDS];
        std::mem::take(&mut waiting.dropped)
    }
}
