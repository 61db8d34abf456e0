//! The configuration in force, and its replacement by a reload.
//!
//! A file with errors changes nothing. Must not decide which keys need a restart (`restart`).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use location::Aor;
use proxy::{Interfaces, Listener, Nodes, Resolution, Settings};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::restart::keep_restart_only;
use super::settings::settings;
use super::trunks::{TrunkAddresses, TrunkState};
use crate::config::{self, Loaded, StoreKind};
use crate::data::first_start;
use crate::data::set_rules::{Forwarding, RuleChange, RuleError, RuleRequest, SetRules};
use crate::error::CliError;
use crate::metrics::{self, Gauge, ReloadResult, Series};
use crate::process::interfaces;
use crate::process::log::LevelSwitch;
use crate::text::counted;
use crate::transport::Inbound;

/// How long a worker may take to apply the settings.
const WORKER_TIMEOUT: Duration = Duration::from_secs(1);

/// The configuration in force, and the settings of the workers.
pub(crate) struct ActiveConfig {
    /// As it was read.
    pub(crate) loaded: Loaded,
    /// The rules of users that were set at run time.
    pub(crate) set_rules: SetRules,
    /// As the core uses it.
    pub(crate) settings: Arc<Settings>,
}

/// Where this server and the others are reached.
type Addresses = (Vec<Listener>, Interfaces, Nodes);

/// The settings, with the rules that were set at run time.
fn effective(
    loaded: &Loaded,
    set_rules: &SetRules,
    trunks: &mut TrunkState,
    (listeners, interfaces, nodes): Addresses,
) -> Arc<Settings> {
    let mut settings = settings(loaded, listeners, interfaces);
    settings.nodes = nodes;
    set_rules.apply(&mut settings.accounts, &loaded.config);
    trunks.complete(&mut settings);
    Arc::new(settings)
}

/// The result of a reload.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ReloadOutcome {
    /// Whether the new configuration is in force.
    pub(crate) reloaded: bool,
    /// Number of accounts.
    pub(crate) accounts: usize,
    /// Keys that have changed in the file but need a restart.
    pub(crate) needs_restart: Vec<Cow<'static, str>>,
    /// The error, if the configuration was refused.
    pub(crate) error: Option<String>,
}

/// Holds the configuration in force, and reloads it.
pub(crate) struct Reload {
    active_config: watch::Sender<Arc<ActiveConfig>>,
    listeners: Vec<Listener>,
    interfaces: Interfaces,
    nodes: Nodes,
    level: LevelSwitch,
    set_rules: SetRules,
    trunks: TrunkState,
}

impl Reload {
    /// With `loaded` in force, and the rules that were set at run time.
    pub(crate) fn new(
        loaded: Loaded,
        set_rules: SetRules,
        (listeners, interfaces, nodes): Addresses,
        level: LevelSwitch,
    ) -> Self {
        let mut trunks = TrunkState::default();
        let addresses = (listeners.clone(), interfaces.clone(), nodes.clone());
        let settings = effective(&loaded, &set_rules, &mut trunks, addresses);
        let active_config = ActiveConfig { loaded, set_rules: set_rules.clone(), settings };
        let active_config = watch::Sender::new(Arc::new(active_config));
        Gauge::ReloadFailed.set_flag(false);
        Self { active_config, listeners, interfaces, nodes, level, set_rules, trunks }
    }

    /// Changes the rules of a user, applies them to every worker, and replies.
    pub(crate) async fn change_rules(&mut self, request: RuleRequest, inboxes: &[mpsc::Sender<Inbound>]) {
        let RuleRequest { user, author, change, reply } = request;
        let checked = change.check_author(author, &user, &self.active_config().settings);
        let outcome = match checked {
            Ok(()) => self.try_change_rules(&user, change, inboxes).await,
            Err(error) => Err(error),
        };
        // The request may have timed out.
        let _ = reply.send(outcome);
    }

    /// Takes over the rules that another server has set.
    pub(crate) async fn read_shared_rules(&mut self, inboxes: &[mpsc::Sender<Inbound>]) {
        if self.set_rules.read_shared() {
            self.republish(inboxes).await;
        }
    }

    async fn try_change_rules(
        &mut self,
        user: &Aor,
        change: RuleChange,
        inboxes: &[mpsc::Sender<Inbound>],
    ) -> Result<Forwarding, RuleError> {
        let active = self.active_config();
        self.set_rules.change(user, change, &active.loaded.config, &active.loaded.accounts).await?;
        self.republish(inboxes).await;
        let set = self.set_rules.of(user);
        Forwarding::new(user, &self.active_config().settings.accounts, set).ok_or(RuleError::NoAccount)
    }

    /// The configuration in force.
    pub(crate) fn active_config(&self) -> Arc<ActiveConfig> {
        Arc::clone(&self.active_config.borrow())
    }

    /// A receiver of the configuration in force.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<ActiveConfig>> {
        self.active_config.subscribe()
    }

    /// The machine's addresses as they were last read.
    pub(crate) const fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// Reads the configuration and applies it to every worker.
    pub(crate) async fn run(&mut self, inboxes: &[mpsc::Sender<Inbound>]) -> ReloadOutcome {
        let read = self.read();
        let outcome = if read.is_ok() { ReloadResult::Good } else { ReloadResult::Refused };
        metrics::count(Series::Reload { outcome });
        Gauge::ReloadFailed.set_flag(read.is_err());
        let (loaded, needs_restart) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::error!("the reload was refused, the previous configuration stays in use: {error}");
                let accounts = self.active_config().loaded.accounts.len();
                return ReloadOutcome {
                    reloaded: false,
                    accounts,
                    needs_restart: Vec::new(),
                    error: Some(error.to_string()),
                };
            }
        };
        let accounts = loaded.accounts.len();
        self.interfaces = interfaces::list();
        self.level.set(loaded.config.log.level);
        self.activate(loaded, inboxes).await;
        tracing::info!("configuration reloaded, {}", counted::accounts(accounts));
        if !needs_restart.is_empty() {
            tracing::warn!("these settings need a restart: {}", needs_restart.join(", "));
        }
        ReloadOutcome {
            reloaded: true,
            accounts,
            needs_restart: needs_restart.into_iter().map(Cow::Borrowed).collect(),
            error: None,
        }
    }

    /// Reads the machine's addresses, and applies a change: the server may have started before the network.
    pub(crate) async fn poll_interfaces(&mut self, inboxes: &[mpsc::Sender<Inbound>]) {
        let interfaces = interfaces::list();
        if interfaces != self.interfaces {
            tracing::info!("this machine's addresses have changed");
            self.interfaces = interfaces;
            self.republish(inboxes).await;
        }
    }

    /// The trunks whose host names have to be resolved.
    pub(crate) fn trunk_names(&self) -> Vec<(Box<str>, Resolution)> {
        self.trunks.names()
    }

    /// Takes over the addresses of trunks. Returns whether one has changed.
    pub(crate) async fn set_trunk_addresses(
        &mut self,
        found: TrunkAddresses,
        inboxes: &[mpsc::Sender<Inbound>],
    ) -> bool {
        let changed = self.trunks.update(found);
        if changed {
            self.republish(inboxes).await;
        }
        changed
    }

    /// Sends the settings to the workers again: they contain the offset of the machine's clock.
    pub(crate) async fn republish(&mut self, inboxes: &[mpsc::Sender<Inbound>]) {
        self.activate(self.active_config().loaded.clone(), inboxes).await;
    }

    async fn activate(&mut self, loaded: Loaded, inboxes: &[mpsc::Sender<Inbound>]) {
        let set_rules = self.set_rules.clone();
        let addresses = (self.listeners.clone(), self.interfaces.clone(), self.nodes.clone());
        let settings = effective(&loaded, &set_rules, &mut self.trunks, addresses);
        let active_config = ActiveConfig { loaded, set_rules, settings: Arc::clone(&settings) };
        self.active_config.send_replace(Arc::new(active_config));
        let mut waiting = Vec::with_capacity(inboxes.len());
        for inbox in inboxes {
            let (applied, outcome) = oneshot::channel();
            // If there is no room, the sender is dropped and the receiver gets an error.
            let _ = timeout(WORKER_TIMEOUT, inbox.send(Inbound::Reconfigure(Arc::clone(&settings), applied))).await;
            waiting.push(outcome);
        }
        // After this no worker handles a REGISTER by the old settings.
        for (worker, outcome) in waiting.into_iter().enumerate() {
            if !matches!(timeout(WORKER_TIMEOUT, outcome).await, Ok(Ok(()))) {
                tracing::error!("worker {worker} keeps the old configuration: it does not respond");
            }
        }
    }

    fn read(&self) -> Result<(Loaded, Vec<&'static str>), CliError> {
        let old = self.active_config();
        let mut loaded = config::load(old.loaded.file.as_deref(), &old.loaded.node)?;
        let needs_restart = keep_restart_only(&mut loaded.config, &old.loaded.config);
        if first_start::is_needed(&loaded.config) {
            if loaded.config.location.store == StoreKind::Memory && first_start::is_needed(&old.loaded.config) {
                // Passwords that were created for this run are valid until it ends.
                loaded.accounts.clone_from(&old.loaded.accounts);
            } else {
                let folder = loaded.config.data_folder().to_owned();
                let on_disk = loaded.config.location.store == StoreKind::Disk;
                first_start::add_accounts(&mut loaded, on_disk.then_some(&folder))?;
            }
        }
        Ok((loaded, needs_restart))
    }
}
