//! Resolves the host names of trunks now and then, so that their calls are recognised by their source.
//!
//! Must not wait in the main loop: a DNS server may be slow.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::reload::{Reload, TrunkAddresses};
use crate::resolver::Resolver;

/// Interval at which the names are resolved again; answers are cached for their TTL.
const INTERVAL: Duration = Duration::from_secs(30);

/// Longer than any query with its repetitions.
const LIMIT: Duration = Duration::from_secs(20);

/// The lookups of all names.
pub(super) struct TrunkNames {
    interval: Interval,
    resolver: Arc<Resolver>,
    found: mpsc::Sender<TrunkAddresses>,
    results: mpsc::Receiver<TrunkAddresses>,
}

impl TrunkNames {
    /// The first lookup begins at once.
    pub(super) fn new(resolver: &Arc<Resolver>) -> Self {
        let (found, results) = mpsc::channel(1);
        let mut interval = interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, resolver: Arc::clone(resolver), found, results }
    }

    /// The addresses that were found next. Can be cancelled without losing any.
    pub(super) async fn next(&mut self, reload: &Reload) -> TrunkAddresses {
        loop {
            tokio::select! {
                _ = self.interval.tick() => self.begin(reload),
                Some(addresses) = self.results.recv() => return addresses,
            }
        }
    }

    /// Begins a lookup of all names. Its result is dropped if an earlier one has not been taken yet.
    fn begin(&self, reload: &Reload) {
        let (trunks, resolutions): (Vec<_>, Vec<_>) = reload.trunk_names().into_iter().unzip();
        if trunks.is_empty() {
            return;
        }
        let (resolver, found) = (Arc::clone(&self.resolver), self.found.clone());
        tokio::spawn(async move {
            let endpoints = resolver.resolve_all(resolutions, LIMIT).await;
            let addresses = endpoints.into_iter().map(|endpoints| {
                let mut addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address.ip()).collect();
                addresses.sort_unstable();
                addresses.dedup();
                addresses
            });
            drop(found.try_send(trunks.into_iter().zip(addresses).collect()));
        });
    }
}
