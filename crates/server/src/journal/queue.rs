//! The events of a worker that wait for the main thread.
//!
//! Decides which events are queued, and which are dropped when the queue is full. An event is queued unchanged under a
//! short lock: no text is formatted while a message waits. Events that get a line at level debug only are not queued at
//! another level, and take at most half of the queue. Must not count: see `metrics`.

use location::Wall;
use parking_lot::Mutex;
use proxy::{AuthenticationFailure, DialogRequest, Event, Registration, TrunkTask};
use tracing::{Level, enabled, info, warn};

use super::rate_limit::{REFUSAL_KINDS, RefusalKind};

/// Events of one worker that have not been read yet.
///
/// Alone in its cache lines: each worker locks its own for each event that it queues.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct EventQueue {
    waiting: Mutex<Waiting>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    list: Vec<QueuedEvent>,
    /// Number of refusals in `list`, by kind.
    refusals: [usize; REFUSAL_KINDS],
    /// Refusals that were dropped because the queue was full, by kind.
    dropped: [u64; REFUSAL_KINDS],
}

/// An event and its time.
#[derive(Debug)]
pub(super) struct QueuedEvent {
    pub(super) at: Wall,
    pub(super) event: Event,
}

impl EventQueue {
    /// With room for `capacity` events.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { waiting: Mutex::default(), capacity }
    }

    /// Whether an event may get a log line now. Most do not: their owner need not move them here.
    pub(crate) fn takes(event: &Event) -> bool {
        level_of(event).is_some_and(|level| level < Level::DEBUG || enabled!(Level::DEBUG))
    }

    /// Queues an event that may get a log line. False if the queue is full.
    pub(crate) fn record(&self, at: Wall, event: Event) -> bool {
        match (level_of(&event), event) {
            (_, Event::Trunk { trunk, task, status }) => log_trunk(&trunk, task, status),
            (Some(Level::DEBUG), event) => self.push_debug(QueuedEvent { at, event }),
            (Some(_), event) => return self.push(QueuedEvent { at, event }),
            (None, _) => {}
        }
        true
    }

    /// Queues an event that gets a line at level debug only, if less than half of the queue is in use.
    fn push_debug(&self, queued: QueuedEvent) {
        let mut waiting = self.waiting.lock();
        if waiting.list.len() < self.capacity / 2 {
            waiting.list.push(queued);
        }
    }

    fn push(&self, queued: QueuedEvent) -> bool {
        let kind = RefusalKind::of(&queued.event).map(|kind| kind as usize);
        let mut waiting = self.waiting.lock();
        let Waiting { list, refusals, dropped } = &mut *waiting;
        let total: usize = refusals.iter().sum();
        let mut has_room = list.len() < self.capacity;
        if let Some(of_kind) = kind.and_then(|kind| refusals.get_mut(kind)) {
            // Each kind may take a quarter of the queue and all refusals together three quarters, so that a flood of
            // refusals leaves room for the rest.
            has_room &= *of_kind < self.capacity.div_ceil(4) && total < self.capacity - self.capacity / 4;
            *of_kind += usize::from(has_room);
        }
        if has_room {
            list.push(queued);
        } else if let Some(dropped) = kind.and_then(|kind| dropped.get_mut(kind)) {
            *dropped += 1;
        }
        has_room
    }

    /// Swaps the queued events for `empty`, and returns how many refusals of each kind were dropped.
    pub(super) fn drain_into(&self, empty: &mut Vec<QueuedEvent>) -> [u64; REFUSAL_KINDS] {
        let mut waiting = self.waiting.lock();
        std::mem::swap(&mut waiting.list, empty);
        waiting.refusals = [0; REFUSAL_KINDS];
        std::mem::take(&mut waiting.dropped)
    }
}

/// The level of the line of an event: debug, or info for any other; `None` for an event without a line.
fn level_of(event: &Event) -> Option<Level> {
    match event {
        Event::RequestReceived { .. }
        | Event::RequestForwarded { .. }
        | Event::ResponseReceived { .. }
        | Event::ResponseSent { .. } => None,
        Event::Registration { outcome: Registration::Queried | Registration::Challenged, .. }
        | Event::AuthenticationFailed {
            reason: AuthenticationFailure::Stale | AuthenticationFailure::Identity, ..
        }
        | Event::DialogRequest { outcome: DialogRequest::Challenged, .. }
        | Event::Dropped(_)
        | Event::LimitReached(_)
        | Event::Call { .. }
        | Event::Fork { .. }
        | Event::LargeRequest { .. }
        | Event::NodeRequest { .. }
        | Event::Diverted { .. }
        | Event::TrunkCall { .. }
        | Event::TrunkFull { .. }
        | Event::TrunkChallenged { .. }
        | Event::GroupCall { .. }
        | Event::Notified { .. } => Some(Level::DEBUG),
        // Refreshes are frequent.
        Event::Registration { outcome: Registration::Registered, before, bindings, .. } if bindings <= before => {
            Some(Level::DEBUG)
        }
        Event::Registration { .. }
        | Event::Trunk { .. }
        | Event::CallAnswered { .. }
        | Event::CallEnded(_)
        | Event::RequestRefused { .. }
        | Event::ParseError { .. }
        | Event::DialogRequest { .. }
        | Event::AuthenticationFailed { .. } => Some(Level::INFO),
    }
}

/// Logs what happened at a trunk. Such lines are few, so they need no place in the queue.
fn log_trunk(trunk: &str, task: TrunkTask, status: Option<u16>) {
    match (task, status) {
        (TrunkTask::Register, None) => info!("registered at the trunk {trunk}"),
        (TrunkTask::Register, Some(status)) => warn!("the registration at the trunk {trunk} failed with {status}"),
        (TrunkTask::Probe, None) => info!("the trunk {trunk} responds again"),
        (TrunkTask::Probe, Some(status)) => warn!("the trunk {trunk} does not respond ({status})"),
    }
}
