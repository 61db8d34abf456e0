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
        let (mut lookups, mut all) = (JoinSet::new(), ResolvedNames::new());
        for (index, resolution) in resolutions.into_iter().enumerate() {
            all.push(Endpoints::new());
            let resolver = Arc::clone(self);
            lookups.spawn(async move { (index, timeout(limit, resolver.resolve(resolution)).await) });
        }
        while let Some(Ok((index, resolved))) = lookups.join_next().await {
            if let (Some(endpoints), Ok(resolved)) = (all.get_mut(index), resolved) {
                *endpoints = resolved;
            }
        }
        all
    }

    /// The endpoints of a name. Failed queries count as queries without records.
    async fn resolve(self: &Arc<Self>, mut resolution: Resolution) -> Endpoints {
        loop {
            let queries = resolution.queries();
            if queries.is_empty() {
                return resolution.endpoints();
            }
            let mut lookups = JoinSet::new();
            for (index, query) in queries.iter().cloned().enumerate() {
                let resolver = Arc::clone(self);
                lookups.spawn(async move { (index, resolver.look_up(query).await) });
            }
            let mut answers = vec![Records::Addresses(Vec::new()); queries.len()];
            while let Some(Ok((index, records))) = lookups.join_next().await {
                if let Some(answer) = answers.get_mut(index) {
                    *answer = records;
                }
            }
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
                tracing::debug!(?query, "no answer from DNS");
                Records::Addresses(Vec::new())
            })
        };
        guard.cell.get_or_init(send).await.clone()
    }
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
