//! The log of events: workers queue events, the main thread turns them into log lines and a call history.
//!
//! This file only lists the modules.

mod activity;
mod bans;
mod call_file;
mod calls;
pub(crate) mod csv;
mod debug_line;
mod event_log;
mod format;
mod queue;
mod rate_limit;
mod refusals;
mod saved_calls;

pub(crate) use activity::{Activity, SLOT_SECONDS, Slot};
pub(crate) use call_file::CallFile;
pub(crate) use calls::{CallHistory, CallSearch, EndedCall, HungUp, MAX_ENDED};
pub(crate) use event_log::EventLog;
pub(crate) use format::sanitize;
pub(crate) use queue::EventQueue;
pub(crate) use refusals::{Refusal, Refusals};
pub(crate) use saved_calls::SavedCalls;
