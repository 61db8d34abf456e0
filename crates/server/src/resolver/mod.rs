//! DNS: carries out the resolutions of the core (RFC 3263).
//!
//! Decides which DNS servers are asked, and limits the number of queries. Answers are cached as long as their TTLs allow,
//! negative ones too (RFC 2308), and equal queries under way are one. Which records are asked for and what follows from
//! them is decided by [`proxy::Resolution`].

mod client;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use proxy::{Endpoints, Query, Records, Resolution};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use client::Client;

use crate::transport::ResolvedNames;

/// The DNS servers and the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolverSettings {
    /// `dns.servers`; empty: those of the system.
    pub(crate) servers: Vec<SocketAddr>,
    /// `dns.timeout`: the limit of one query, repetitions included.
    pub(crate) timeout: Duration,
    /// The limit of queries at a time. Each needs up to two sockets.
    pub(crate) queries: usize,
    /// `limits.dns_cache`
    pub(crate) cache: usize,
}

/// The resolver of all workers.
pub(crate) struct Resolver {
    client: Client,
    timeout: Duration,
    slots: Semaphore,
    /// The queries that are under way. The first task that asks sends the query; if it is aborted, another one does.
    under_way: Mutex<HashMap<Query, Arc<OnceCell<Records>>>>,
}

impl Resolver {
    /// A resolver without cached answers.
    pub(crate) fn new(settings: ResolverSettings) -> Self {
        let ResolverSettings { servers, timeout, queries, cache } = settings;
        let client = Client::new(servers, timeout, u64::try_from(cache).unwrap_or(u64::MAX));
        Self { client, timeout, slots: Semaphore::new(queries), under_way: Mutex::default() }
    }

    /// The endpoints of each name; none of a name that takes longer than `limit`. The names are resolved at the same time,
    /// so that one whose DNS server does not answer leaves the others their time.
    pub(crate) async fn resolve_all(
        self: &Arc<Self>,
        resolutions: impl IntoIterator<Item = Resolution>,
        limit: Duration,
    ) -> ResolvedNames {
        let lookup = |resolution| {
            let resolver = Arc::clone(self);
            async move { timeout(limit, resolver.resolve(resolution)).await.unwrap_or_default() }
        };
        at_the_same_time(resolutions.into_iter().map(lookup), &Endpoints::new()).await
    }

    /// The endpoints of a name. Failed queries count as queries without records.
    async fn resolve(self: &Arc<Self>, mut resolution: Resolution) -> Endpoints {
        loop {
            let queries = resolution.queries();
            if queries.is_empty() {
                return resolution.endpoints();
            }
            let lookup = |query| {
                let resolver = Arc::clone(self);
                async move { resolver.look_up(query).await }
            };
            let answers = at_the_same_time(queries.into_iter().map(lookup), &Records::Addresses(Vec::new())).await;
            resolution.answer(&answers);
        }
    }

    async fn look_up(&self, query: Query) -> Records {
        let cell = Arc::clone(self.under_way.lock().entry(query.clone()).or_default());
        let guard = UnderWay { resolver: self, query: &query, cell };
        let send = || async {
            let permitted = async {
                // Only a closed semaphore is an error, and nothing closes it.
                let _slot = self.slots.acquire().await;
                self.client.look_up(&query).await
            };
            timeout(self.timeout, permitted).await.unwrap_or_else(|_| {
                tracing::debug!(%query, "no answer from DNS");
                Records::Addresses(Vec::new())
            })
        };
        guard.cell.get_or_init(send).await.clone()
    }
}

/// The results of these lookups, in their order. They run at the same time, and end if the caller does not wait any more.
/// `missing`: the result of a lookup that ended without one.
async fn at_the_same_time<T: Clone + Send + 'static>(
    lookups: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
    missing: &T,
) -> Vec<T> {
    let (mut tasks, mut results) = (JoinSet::new(), Vec::new());
    for (index, lookup) in lookups.enumerate() {
        results.push(missing.clone());
        tasks.spawn(async move { (index, lookup.await) });
    }
    while let Some(Ok((index, result))) = tasks.join_next().await {
        if let Some(slot) = results.get_mut(index) {
            *slot = result;
        }
    }
    results
}

/// A task that waits for a query. The entry is removed with the last one, or as soon as there is an answer, so that the
/// cache with its TTLs answers the next query.
struct UnderWay<'a> {
    resolver: &'a Resolver,
    query: &'a Query,
    cell: Arc<OnceCell<Records>>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut under_way = self.resolver.under_way.lock();
        let cell = std::mem::take(&mut self.cell);
        let is_own = under_way.get(self.query).is_some_and(|entry| Arc::ptr_eq(entry, &cell));
        let is_answered = cell.initialized();
        // Dropped before the lock is released: otherwise each of two tasks that end at the same time would count the other
        // one, and the entry would stay.
        drop(cell);
        if is_own && (is_answered || under_way.get(self.query).is_some_and(|entry| Arc::strong_count(entry) == 1)) {
            under_way.remove(self.query);
        }
    }
}
