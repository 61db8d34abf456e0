//! INVITEs that wait until the other nodes have said which of their calls they replace (RFC 3891).
//!
//! Must not decide what happens to them then.

use std::time::Duration;

use hashbrown::HashMap;
use location::Node;

use crate::calls::{FoundAtNode, FoundCalls};
use crate::clock::Instant;
use crate::request::Request;
use crate::route::NextStep;
use crate::timer_queue::{Armed, Timer, TimerQueue};

/// How long the other nodes are waited for.
const TIMEOUT: Duration = Duration::from_millis(500);

/// An INVITE, and what is done with it next.
#[derive(Debug)]
pub(crate) struct Find {
    pub(crate) request: Box<Request>,
    pub(crate) step: NextStep,
    /// The nodes that have not answered.
    pub(crate) missing: Vec<Node>,
    pub(crate) found: FoundCalls,
}

/// The INVITEs of one worker that wait, by the number of their question.
#[derive(Debug, Default)]
pub(crate) struct Finds(HashMap<u64, (Box<Find>, Armed)>);

impl Finds {
    pub(crate) fn begin(&mut self, number: u64, find: Find, now: Instant, timers: &mut TimerQueue) {
        let mut armed = Armed::default();
        armed.arm(Some(now + TIMEOUT), Timer::Find(number), timers);
        self.0.insert(number, (Box::new(find), armed));
    }

    /// A node has answered. Returns the INVITE if it was the last one.
    pub(crate) fn found(&mut self, FoundAtNode { node, number, found }: FoundAtNode) -> Option<Box<Find>> {
        let (find, _) = self.0.get_mut(&number)?;
        let at = find.missing.iter().position(|missing| *missing == node)?;
        find.missing.swap_remove(at);
        find.found.calls.extend(found.calls);
        find.found.not_all = find.found.not_all.max(found.not_all);
        if find.missing.is_empty() { self.end(number) } else { None }
    }

    /// The timer of an INVITE that was armed for `at` has fired.
    pub(crate) fn timeout(&mut self, number: u64, at: Instant) -> Option<Box<Find>> {
        let (_, armed) = self.0.get_mut(&number)?;
        if armed.fired(at) { self.end(number) } else { None }
    }

    fn end(&mut self, number: u64) -> Option<Box<Find>> {
        self.0.remove(&number).map(|(find, _)| find)
    }

    /// Whether the timer of an INVITE is armed for `at`.
    pub(crate) fn is_armed(&self, number: u64, at: Instant) -> bool {
        self.0.get(&number).is_some_and(|(_, armed)| armed.is_at(at))
    }
}
