//! The main thread: it starts the workers, serves signals, reloads and the admin API, and stops everything.
//!
//! This file only lists the modules.

mod calls;
mod certificates;
mod keys;
mod main_loop;
mod notify;
mod server;
mod shared_state;
mod signals;
mod store;
mod trunk_gauges;
mod trunk_names;
mod unknown_users;
mod wait;
mod worker_thread;

pub(crate) use main_loop::run;
pub(crate) use server::prepare;
