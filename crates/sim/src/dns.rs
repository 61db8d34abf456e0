//! The simulated DNS: its records, how long it takes to answer, and whether it answers.

use hashbrown::HashMap;
use proxy::{Answer, Query, Records, Resolution};

use crate::fault::DnsState;

/// The records of all names.
#[derive(Default)]
pub(crate) struct Dns {
    records: HashMap<Query, Records>,
    pub(crate) state: DnsState,
    /// The longest time that an answer takes, in microseconds. Each takes a random time.
    pub(crate) longest: u64,
}

impl Dns {
    /// Sets the records that answer a query.
    pub(crate) fn set(&mut self, query: Query, records: Records) {
        self.records.insert(query, records);
    }

    /// Carries out resolutions, as the resolver of the server does.
    pub(crate) fn answer(&self, resolutions: impl IntoIterator<Item = Resolution>) -> Answer {
        if self.state == DnsState::Silent {
            return Answer::Failed;
        }
        let all = resolutions.into_iter().map(|resolution| resolution.run(|query| self.look_up(query)));
        Answer::Resolved(all.collect())
    }

    fn look_up(&self, query: &Query) -> Records {
        let found = self.records.get(query).filter(|_| self.state == DnsState::Answering);
        // An answer of any type without records says that there are none.
        found.cloned().unwrap_or_else(|| Records::Addresses(Vec::new()))
    }
}
