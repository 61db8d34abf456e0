//! The calls of the server: the table that all workers share, the records, and their upkeep.
//!
//! Decides when the table is swept and the file in the data folder is written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use proxy::{CallTable, CoreMessage};
use tokio::sync::mpsc;

use crate::clock;
use crate::config::Config;
use crate::journal::{CallFile, CallHistory, SavedCalls};
use crate::metrics::Gauge;
use crate::transport::Inbound;

/// The table is swept and saved in every fifth call of [`ServerCalls::maintain`], one each second.
const INTERVAL: u32 = 5;

/// The calls of the server.
#[derive(Clone, Debug)]
pub(crate) struct ServerCalls {
    /// The calls in progress.
    pub(crate) table: Arc<CallTable>,
    /// The records.
    pub(crate) history: Arc<Mutex<CallHistory>>,
    saved: Option<Arc<SavedCalls>>,
    seconds: Arc<AtomicU32>,
}

impl ServerCalls {
    /// With the calls of the last run, if they are in this data folder.
    pub(crate) fn open(config: &Config, folder: Option<&Path>) -> Self {
        let table = Arc::new(CallTable::new(config.limits.journal_calls.0));
        let saved = folder.map(|folder| Arc::new(SavedCalls::restore(folder, Arc::clone(&table))));
        let history = saved.as_ref().map_or_else(Arc::default, |saved| saved.history());
        Self { table, history, saved, seconds: Arc::default() }
    }

    /// Drops old records; every few seconds, lets a worker end the calls whose end no message reports, and saves what has
    /// changed. To be called once a second.
    pub(crate) fn maintain(&self, config: &Config, inboxes: &[mpsc::Sender<Inbound>]) {
        self.history.lock().sweep(clock::wall(), config.calls.keep.0);
        Gauge::Calls.set_count(self.table.len());
        if !self.seconds.fetch_add(1, Ordering::Relaxed).is_multiple_of(INTERVAL) {
            return;
        }
        if let Some(inbox) = inboxes.first() {
            // If the worker is busy, the next time is early enough.
            let _ = inbox.try_send(Inbound::CoreMessage(CoreMessage::SweepCalls));
        }
        if let Some(saved) = self.saved.clone() {
            tokio::task::spawn_blocking(move || saved.save_unless_busy());
        }
    }

    /// Saves the calls at the end of the server.
    pub(crate) fn close(&self) {
        if let Some(saved) = &self.saved {
            saved.save();
        }
    }
}

/// Starts to write the CSV file, if there is one.
pub(crate) fn call_file(config: &Config) -> Result<Option<CallFile>, crate::error::CliError> {
    let path = config.calls.file.clone();
    path.map(|path| CallFile::start(path, config.calls.rotate.0, config.limits.journal_queue.0)).transpose()
}
