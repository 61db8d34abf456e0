//! The senders that were refused last, as docs/openapi.yaml defines them.
//!
//! Decides nothing: `journal` decides how many are kept.

use hyper::StatusCode;
use serde::Serialize;

use super::AdminState;
use super::reply::{self, Reply};
use crate::clock;
use crate::journal::{Refusal, sanitize};

#[derive(Serialize)]
struct RefusalEntry {
    kind: &'static str,
    user: Option<String>,
    address: String,
    why: String,
    key: Option<&'static str>,
    count: u64,
    first: String,
    last: String,
    seconds_ago: u64,
}

/// GET /api/v1/refusals
pub(crate) fn list(state: &AdminState) -> Reply {
    let refusals = state.refusals.lock().list();
    let entries: Vec<_> = refusals.into_iter().map(entry).collect();
    reply::json(StatusCode::OK, &entries)
}

fn entry(refusal: Refusal) -> RefusalEntry {
    let Refusal { kind, user, source, why, key, count, first, last } = refusal;
    let user = user.filter(|user| !user.user().is_empty());
    RefusalEntry {
        kind: kind.as_str(),
        user: user.map(|user| sanitize(user.as_bytes())),
        address: source.to_canonical().to_string(),
        why,
        key: key.map(|key| key.as_str()),
        count,
        first: clock::rfc3339(first),
        last: clock::rfc3339(last),
        seconds_ago: clock::wall().millis_since(last) / 1000,
    }
}
