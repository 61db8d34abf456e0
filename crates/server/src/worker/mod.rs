//! A worker: the driver of one core, the answers to the core's questions, and what other threads see of the worker.
//!
//! This file only lists the modules.

mod answers;
mod bad_request;
mod completions;
mod driver;
mod health;
mod loads;

pub(crate) use answers::{Answers, LookupLimits};
pub(crate) use completions::{CommitOutcome, Completions};
pub(crate) use driver::{Scratch, Worker};
pub(crate) use health::Health;
pub(crate) use loads::Loads;
