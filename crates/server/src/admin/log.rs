//! The last lines of the log, as docs/openapi.yaml defines them.
//!
//! Decides nothing: the log escapes its lines, and keeps as many as `process` says.

use hyper::StatusCode;
use serde::Serialize;

use super::AdminState;
use super::reply::{self, Reply};

#[derive(Serialize)]
struct LogReply {
    count: u64,
    lines: Vec<String>,
}

/// GET /api/v1/log
pub(crate) fn show(state: &AdminState, after: u64) -> Reply {
    let (lines, count) = state.log.after(after);
    reply::json(StatusCode::OK, &LogReply { count, lines })
}
