//! Logging: one line per event on standard error, as text or JSON; the level can be changed at run time.
//!
//! A separate thread writes, so that logging never waits for the reader of standard error.
//!
//! Decides precedence (RUST_LOG over the configuration). Faults of this program are errors, faults of peers are debug
//! lines.

use std::io::{IsTerminal as _, stderr};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use super::recent_lines::{KeptOutput, RecentLines};
use crate::config::{Level, Log, LogFormat};
use crate::text::printable::LogWriter;

/// Changes the level of the running program.
#[derive(Clone, Debug)]
pub(crate) struct LevelSwitch(reload::Handle<Targets, Registry>);

/// The thread that writes the log.
pub(crate) struct LogThread {
    dropped: ErrorCounter,
    recent: RecentLines,
    /// Writes the remaining lines on drop.
    _thread: WorkerGuard,
}

impl LogThread {
    /// Lines that were dropped because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        u64::try_from(self.dropped.dropped_lines()).unwrap_or(u64::MAX)
    }

    /// The last lines.
    pub(crate) fn recent(&self) -> RecentLines {
        self.recent.clone()
    }
}

/// Starts logging, with at most `queue` lines waiting to be written. A second call in one process has no effect.
pub(crate) fn start(log: &Log, queue: usize) -> (LevelSwitch, LogThread) {
    let lossy = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(queue);
    let (output, thread) = lossy.finish(stderr());
    let recent = RecentLines::default();
    let log_thread = LogThread { dropped: output.error_counter(), recent: recent.clone(), _thread: thread };
    let ansi = stderr().is_terminal() && log.format == LogFormat::Text;
    let output = LogWriter::new(KeptOutput::new(output, recent), ansi);
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let registry = tracing_subscriber::registry().with(filter);
    let _ = match log.format {
        LogFormat::Text => {
            registry.with(fmt::layer().with_writer(output).with_target(false).with_ansi(ansi)).try_init()
        }
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(output)).try_init(),
    };
    (LevelSwitch(handle), log_thread)
}

impl LevelSwitch {
    /// Logs from this level on.
    pub(crate) fn set(&self, level: Level) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::error!(%error, "cannot change the log level");
        }
    }
}

fn filter(level: Level) -> Targets {
    // An empty variable counts as not set: it would disable all logging.
    let wanted = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    // `Targets` and not `EnvFilter`: the latter also filters by span fields, with a regex engine, and there are no spans.
    let wanted = wanted.and_then(|text| text.parse().ok());
    wanted.unwrap_or_else(|| Targets::new().with_default(from(level)))
}

const fn from(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}
