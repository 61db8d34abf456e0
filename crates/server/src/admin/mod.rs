//! The admin API over HTTP, the status page, the metrics.
//!
//! Runs on the main thread. Reads shared state (store, call history, loads) and never waits for a worker. This file
//! only lists the modules.

mod accounts;
mod activity;
mod bans;
mod calls;
mod explain;
mod failures;
mod forwarding;
mod guard;
mod log;
mod office;
mod page;
mod refusals;
mod removal;
mod reply;
mod routes;
mod serve;
mod start;
mod state;
mod status;
mod trace;
mod users;

pub(crate) use bans::{BanEntry, Bans};
pub(crate) use explain::Explanation;
pub(crate) use office::{Group, Member, MemberState, TrunkEntry};
pub(crate) use removal::Removals;
pub(crate) use reply::Problem;
pub(crate) use routes::{RotationOutcome, local_phone_page};
pub(crate) use serve::serve;
pub(crate) use start::serve_start;
pub(crate) use state::{AdminCommand, AdminState};
pub(crate) use status::{NodeList, NodeState};
pub(crate) use users::{Removed, User, Users};
