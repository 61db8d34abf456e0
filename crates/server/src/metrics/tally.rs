//! Counters of one worker.
//!
//! A worker adds up its counts and publishes them once per batch, so that counting is an addition. Each [`Counter`] is
//! looked up once and kept. Decides which events of the core are counted, and how.

use hashbrown::HashMap;
use metrics::Counter;
use proxy::Event;

use super::labels::{Answered, Code, Direction, Method, Name};
use super::series::Series;
use crate::text::ending::Ending;

/// The counters of one worker.
#[derive(Default)]
pub(crate) struct Tally {
    counters: HashMap<Series, Counter>,
    /// Counts that have not been published. There are few series per batch, so a linear search is fastest.
    unpublished: Vec<(Series, u64)>,
}

impl Tally {
    /// Adds one; published by [`publish`](Self::publish).
    pub(crate) fn count(&mut self, series: impl Into<Series>) {
        let series = series.into();
        match self.unpublished.iter_mut().find(|(known, _)| *known == series) {
            Some((_, count)) => *count += 1,
            None => self.unpublished.push((series, 1)),
        }
    }

    /// Publishes the counts since the last call.
    pub(crate) fn publish(&mut self) {
        for (series, count) in self.unpublished.drain(..) {
            match self.counters.get(&series) {
                Some(counter) => counter.increment(count),
                None => {
                    let counter = series.clone().counter();
                    counter.increment(count);
                    self.counters.insert(series, counter);
                }
            }
        }
    }

    /// Counts an event of the core.
    pub(crate) fn event(&mut self, event: &Event) {
        self.count(match event {
            Event::RequestReceived { method, transport } => {
                Series::RequestReceived { method: Method(method), transport: *transport }
            }
            Event::RequestForwarded { method, transport } => {
                Series::RequestForwarded { method: Method(method), transport: *transport }
            }
            Event::ResponseReceived { status, transport } => {
                Series::ResponseReceived { code: Code(*status), transport: *transport }
            }
            Event::ResponseSent { method, status, transport } => {
                Series::ResponseSent { method: Method(method), code: Code(*status), transport: *transport }
            }
            Event::Registration { outcome, .. } => Series::Registration { outcome: *outcome },
            Event::Call { .. } => Series::Call,
            Event::CallAnswered { .. } => Series::CallEnded { ending: Ending::Answered },
            Event::Fork { outcome } => Series::Fork { outcome: *outcome },
            Event::LargeRequest { outcome } => Series::LargeRequest { outcome: *outcome },
            Event::NodeRequest { outcome } => Series::NodeRequest { outcome: *outcome },
            Event::Diverted { reason } => Series::Diverted { reason: *reason },
            Event::TrunkCall { trunk, outcome } => {
                Series::TrunkCall { trunk: Name(trunk.clone()), direction: Direction::Out, outcome: *outcome }
            }
            Event::TrunkFull { trunk } => Series::TrunkFull { trunk: Name(trunk.clone()) },
            Event::TrunkChallenged { trunk } => Series::TrunkChallenged { trunk: Name(trunk.clone()) },
            Event::GroupCall { group, outcome } => {
                Series::GroupCall { group: Name::of_group(group), outcome: *outcome }
            }
            Event::Notified { outcome } => Series::Notified { outcome: *outcome },
            Event::DialogRequest { outcome, .. } => Series::DialogRequest { outcome: *outcome },
            Event::AuthenticationFailed { reason, .. } => Series::AuthenticationFailed { reason: *reason },
            Event::ParseError { answered, flow } => {
                let answered = if *answered { Answered::Yes } else { Answered::No };
                Series::ParseError { answered, transport: flow.transport }
            }
            Event::Dropped(reason) => (*reason).into(),
            Event::LimitReached(limit) => (*limit).into(),
            // Counted by the event log, which knows the call.
            Event::CallEnded(_) | Event::RequestRefused { .. } => return,
            // The gauges of trunks have their state.
            Event::Trunk { .. } => return,
        });
    }
}
