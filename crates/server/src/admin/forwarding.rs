//! The forwarding and do-not-disturb of a user, as docs/openapi.yaml defines them.

use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::AdminState;
use super::reply::{self, Reply};
use super::users::aor_of;
use crate::data::set_rules::{Author, Forwarding, RuleError, RuleRequest};
use crate::request_body;

/// How long a request waits for the main loop.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// GET /api/v1/users/{user}/forwarding
pub(crate) fn show(state: &AdminState, name: &[u8]) -> Reply {
    let active_config = state.active_config.borrow().clone();
    let user = aor_of(name, &active_config.loaded);
    let set = active_config.set_rules.of(&user);
    match Forwarding::new(&user, &active_config.settings.accounts, set) {
        Some(forwarding) => reply::json(StatusCode::OK, &forwarding),
        None => refused(&RuleError::NoAccount),
    }
}

/// PUT /api/v1/users/{user}/forwarding
pub(crate) async fn change(state: &AdminState, name: &[u8], body: Incoming) -> Reply {
    let change = match request_body::object(body).await {
        Ok(change) => change,
        Err(why) => return reply::problem(StatusCode::BAD_REQUEST, &why),
    };
    let user = aor_of(name, &state.active_config.borrow().loaded);
    let (reply, outcome) = oneshot::channel();
    let sent = state.rule_requests.try_send(RuleRequest { user, author: Author::Administrator, change, reply }).is_ok();
    match timeout(CHANGE_TIMEOUT, outcome).await {
        Ok(Ok(Ok(forwarding))) if sent => reply::json(StatusCode::OK, &forwarding),
        Ok(Ok(Err(error))) if sent => refused(&error),
        _ => reply::problem(StatusCode::SERVICE_UNAVAILABLE, "the server is busy with another change"),
    }
}

fn refused(error: &RuleError) -> Reply {
    let status = match error {
        RuleError::NoAccount => StatusCode::NOT_FOUND,
        RuleError::Invalid { .. } => StatusCode::BAD_REQUEST,
        RuleError::Store(_) | RuleError::Shared(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    reply::problem(status, &error.to_string())
}
