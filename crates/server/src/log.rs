//! Logging: one line an event on standard error, as text or JSON; the level can change while the program runs.
//!
//! Decides what wins (RUST_LOG over the configuration). Our own faults are errors, peers' faults are debug.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{Level, Log, LogFormat};

/// Changes the level of the running program.
#[derive(Clone, Debug)]
pub(crate) struct LevelSwitch(reload::Handle<EnvFilter, Registry>);

/// Starts logging. A second call in one process changes nothing.
pub(crate) fn start(log: &Log) -> LevelSwitch {
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let registry = tracing_subscriber::registry().with(filter);
    let _ = match log.format {
        LogFormat::Text => registry
            .with(fmt::layer().with_writer(stderr).with_target(false).with_ansi(stderr().is_terminal()))
            .try_init(),
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(stderr)).try_init(),
    };
    LevelSwitch(handle)
}

impl LevelSwitch {
    /// Logs from this level on.
    pub(crate) fn set(&self, level: Level) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::error!(%error, "the log level stays");
        }
    }
}

fn filter(level: Level) -> EnvFilter {
    // Set but empty counts as not set: it would silence everything.
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.trim().is_empty());
    let wanted = wanted.and_then(|text| EnvFilter::try_new(text).ok());
    wanted.unwrap_or_else(|| EnvFilter::new(level.as_str()))
}
