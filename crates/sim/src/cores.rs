//! The cores of one simulated server, and what they share.

use std::sync::Arc;

use proxy::{CallTable, Connections, Core, Keys, Settings, SubscriberIndex};

/// The most calls that are known.
pub(crate) const MAX_CALLS: usize = 1000;

/// One core for each worker, with these calls.
pub(crate) fn cores(
    settings: &Settings,
    keys: &Keys,
    (workers, seed): (u8, u64),
    open: &Arc<Connections>,
    calls: &Arc<CallTable>,
) -> Vec<Core> {
    let (shared, watched) = (Arc::new(settings.clone()), Arc::new(SubscriberIndex::new(workers)));
    let core = |worker| {
        let core = Core::new(Arc::clone(&shared), keys, worker, seed, Arc::clone(&watched));
        core.with_connections(Arc::clone(open)).with_calls(Arc::clone(calls))
    };
    (0..workers).map(core).collect()
}
