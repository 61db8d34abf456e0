//! SIGHUP: the configuration is read again, and what can change at once does.
//!
//! Decides what needs a restart: whatever sockets, files, threads and queues were made from. It stays as it was and is
//! named in the log. A file that cannot be used changes nothing.

use std::sync::Arc;
use std::time::Duration;

use proxy::{Interfaces, Listener};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::config::{self, Config, Loaded, StoreKind};
use crate::error::Fatal;
use crate::inbox::Inbound;
use crate::log::LevelSwitch;
use crate::settings::settings;
use crate::{first_run, interfaces, metrics};

/// A worker that takes longer to make room in its inbox is in trouble.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is in force, and how to change it.
pub(crate) struct Reload {
    loaded: Loaded,
    listeners: Vec<Listener>,
    interfaces: Interfaces,
    level: LevelSwitch,
}

impl Reload {
    /// `loaded` is in force.
    pub(crate) const fn new(
        loaded: Loaded,
        listeners: Vec<Listener>,
        interfaces: Interfaces,
        level: LevelSwitch,
    ) -> Self {
        Self { loaded, listeners, interfaces, level }
    }

    /// What is in force.
    pub(crate) const fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// This machine's addresses as they were last looked at.
    pub(crate) const fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// Reads the configuration again and tells every worker.
    pub(crate) async fn run(&mut self, inboxes: &[mpsc::Sender<Inbound>]) {
        let read = self.read();
        metrics::reloaded(read.is_ok());
        let (loaded, later) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::error!("the configuration stays as it was: {error}");
                return;
            }
        };
        self.loaded = loaded;
        self.interfaces = interfaces::list();
        self.level.set(self.loaded.config.log.level);
        self.tell(inboxes).await;
        tracing::info!("configuration reloaded, {} accounts", self.loaded.accounts.len());
        if !later.is_empty() {
            tracing::warn!("these settings need a restart: {}", later.join(", "));
        }
    }

    /// Looks whether the machine has other addresses now: it may have started before its network did.
    pub(crate) async fn look_around(&mut self, inboxes: &[mpsc::Sender<Inbound>]) {
        let interfaces = interfaces::list();
        if interfaces != self.interfaces {
            tracing::info!("this machine's addresses have changed");
            self.interfaces = interfaces;
            self.tell(inboxes).await;
        }
    }

    async fn tell(&self, inboxes: &[mpsc::Sender<Inbound>]) {
        let settings = Arc::new(settings(&self.loaded, self.listeners.clone(), self.interfaces.clone()));
        for (worker, inbox) in inboxes.iter().enumerate() {
            let told = timeout(PATIENCE, inbox.send(Inbound::Reconfigure(Arc::clone(&settings)))).await;
            if !matches!(told, Ok(Ok(()))) {
                tracing::error!("worker {worker} keeps the old configuration: it does not listen");
            }
        }
    }

    fn read(&self) -> Result<(Loaded, Vec<&'static str>), Fatal> {
        let mut loaded = config::load(self.loaded.file.as_deref())?;
        let later = keep(&mut loaded.config, &self.loaded.config);
        if first_run::is_needed(&loaded.config) {
            if loaded.config.location.store == StoreKind::Memory && first_run::is_needed(&self.loaded.config) {
                // Passwords that were made for this run are good until it ends.
                loaded.accounts.clone_from(&self.loaded.accounts);
            } else {
                let folder = loaded.config.data_folder().to_owned();
                let on_disk = loaded.config.location.store == StoreKind::Disk;
                first_run::enrol(&mut loaded, on_disk.then_some(&folder))?;
            }
        }
        Ok((loaded, later))
    }
}

/// Puts back what cannot change while the server runs; names what was put back.
fn keep(new: &mut Config, old: &Config) -> Vec<&'static str> {
    fn put_back<T: Clone + PartialEq>(new: &mut T, old: &T, name: &'static str) -> Option<&'static str> {
        let changed = new != old;
        new.clone_from(old);
        changed.then_some(name)
    }
    let kept = [
        put_back(&mut new.listen, &old.listen, "listen"),
        put_back(&mut new.advertise, &old.advertise, "advertise"),
        put_back(&mut new.workers, &old.workers, "workers"),
        put_back(&mut new.location, &old.location, "location"),
        put_back(&mut new.limits, &old.limits, "limits"),
        put_back(&mut new.metrics, &old.metrics, "metrics"),
        put_back(&mut new.log.format, &old.log.format, "log.format"),
    ];
    kept.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_is_named_and_kept() {
        let old = Config::default();
        let text = "workers: 3\nlocation: { store: memory }\nlog: { level: debug, format: json }\nstrangers: accept\n";
        let mut new: Config = serde_yaml::from_str(text).expect("a configuration");
        assert_eq!(keep(&mut new, &old), ["workers", "location", "log.format"]);
        assert_eq!((new.workers, &new.location), (old.workers, &old.location));
        assert_eq!(new.log.level, config::Level::Debug);
        assert_ne!(new.strangers, old.strangers);
    }
}
