//! What people and programs see of the running server over HTTP: the status page, its API, the metrics.
//!
//! Runs on the main thread. It reads what the workers leave (store, notes, loads) and never waits for one of them.

mod bans;
mod calls;
mod explain;
mod failures;
mod guard;
mod removal;
mod reply;
mod routes;
mod serve;
mod status;
mod users;

use std::sync::Arc;
use std::time::Instant;

use location::AnyStore;
use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::Mutex;
use proxy::{Keys, Listener};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::defence::Defence;
use crate::health::Health;
use crate::journal::CallHistory;
use crate::reload::{ActiveConfig, ReloadOutcome};
use crate::transport::Directory;

pub(crate) use bans::{BanEntry, Bans};
pub(crate) use explain::Explanation;
pub(crate) use removal::Removals;
pub(crate) use reply::Problem;
pub(crate) use serve::serve;
pub(crate) use users::{Phone, Removed, User, Users};

/// All that an answer is made of.
pub(crate) struct AdminState {
    /// Who is registered.
    pub(crate) store: Arc<AnyStore>,
    /// The way to remove a phone.
    pub(crate) removals: Arc<Removals>,
    /// By which the server knows its own addresses of phones.
    pub(crate) keys: Keys,
    /// Who calls whom.
    pub(crate) calls: Arc<Mutex<CallHistory>>,
    /// What was counted.
    pub(crate) metrics: PrometheusHandle,
    /// The configuration.
    pub(crate) active_config: watch::Receiver<Arc<ActiveConfig>>,
    /// Whether all is well.
    pub(crate) health: Arc<Health>,
    /// Who is not answered.
    pub(crate) defence: Arc<Defence>,
    /// Connections of phones.
    pub(crate) directory: Arc<Directory>,
    /// Where phones find the server.
    pub(crate) listeners: Vec<Listener>,
    /// When it began to serve.
    pub(crate) started: Instant,
    /// What only the main loop can do.
    pub(crate) commands: mpsc::Sender<AdminCommand>,
    /// Lists of users that are being made: one at a time, since the store may be large.
    pub(crate) listings: Semaphore,
}

/// Something for the main loop.
pub(crate) enum AdminCommand {
    /// Read the configuration again.
    Reload(oneshot::Sender<ReloadOutcome>),
}
