//! What the handlers of requests read, and the commands that they send to the main loop.
//!
//! Decides nothing.

use std::sync::Arc;
use std::time::Instant;

use location::AnyStore;
use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::Mutex;
use proxy::{CallTable, Keys, Listener};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::removal::Removals;
use crate::cluster::{NodeTable, SharedValues};
use crate::data::secret::RotationError;
use crate::data::set_rules::RuleRequest;
use crate::defence::Defence;
use crate::journal::{Activity, CallHistory, Refusals};
use crate::me::MePages;
use crate::process::RecentLines;
use crate::reload::{ActiveConfig, ReloadOutcome};
use crate::trace::Trace;
use crate::transport::Directory;
use crate::worker::Health;

/// The state that request handlers read.
pub(crate) struct AdminState {
    /// The bindings.
    pub(crate) store: Arc<AnyStore>,
    /// Removes bindings.
    pub(crate) removals: Arc<Removals>,
    /// Keys of the cores, to recognise GRUUs and Routes of this server.
    pub(crate) keys: watch::Receiver<Keys>,
    /// The servers that share the store.
    pub(crate) nodes: Arc<NodeTable>,
    /// What they share besides registrations.
    pub(crate) shared: Option<SharedValues>,
    /// The calls in progress.
    pub(crate) call_table: Arc<CallTable>,
    /// The records of calls.
    pub(crate) calls: Arc<Mutex<CallHistory>>,
    /// The senders that were refused last.
    pub(crate) refusals: Arc<Mutex<Refusals>>,
    /// What happened in the last day.
    pub(crate) activity: Arc<Mutex<Activity>>,
    /// The last lines of the log.
    pub(crate) log: RecentLines,
    /// The metrics recorder.
    pub(crate) metrics: PrometheusHandle,
    /// The configuration in force.
    pub(crate) active_config: watch::Receiver<Arc<ActiveConfig>>,
    /// Health of workers and store.
    pub(crate) health: Arc<Health>,
    /// Failures and bans.
    pub(crate) defence: Arc<Defence>,
    /// The SIP connections.
    pub(crate) directory: Arc<Directory>,
    /// The SIP listeners.
    pub(crate) listeners: Vec<Listener>,
    /// When the server started.
    pub(crate) started: Instant,
    /// Changes of the rules of users, for the main loop.
    pub(crate) rule_requests: mpsc::Sender<RuleRequest>,
    /// The page of a user.
    pub(crate) me: Arc<MePages>,
    /// The traces of messages.
    pub(crate) trace: Arc<Trace>,
    /// Commands for the main loop.
    pub(crate) commands: mpsc::Sender<AdminCommand>,
    /// Limits user lists to one at a time, since the store may be large.
    pub(crate) listings: Semaphore,
}

/// A command that the main loop runs.
pub(crate) enum AdminCommand {
    /// Reload the configuration.
    Reload(oneshot::Sender<ReloadOutcome>),
    /// Replace the keys.
    RotateKeys(oneshot::Sender<Result<(), RotationError>>),
}
