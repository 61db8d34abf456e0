//! What happened in the last day, for the graphs of the status page, as docs/openapi.yaml defines it.
//!
//! Decides nothing: see `journal`.

use hyper::StatusCode;
use serde::Serialize;

use super::AdminState;
use super::reply::{self, Reply};
use crate::clock;
use crate::journal::{SLOT_SECONDS, Slot};

#[derive(Serialize)]
struct ActivityReply {
    began: String,
    seconds: u64,
    phones: Vec<u64>,
    calls: Vec<u64>,
    failed: Vec<u64>,
    refused: Vec<u64>,
}

/// GET /api/v1/activity
pub(crate) fn show(state: &AdminState) -> Reply {
    let (began, slots) = state.activity.lock().slots();
    let each = |value: fn(&Slot) -> u64| slots.iter().map(value).collect();
    let activity = ActivityReply {
        began: clock::rfc3339(began),
        seconds: SLOT_SECONDS,
        phones: each(|slot| slot.phones),
        calls: each(|slot| slot.calls),
        failed: each(|slot| slot.failed),
        refused: each(|slot| slot.refused),
    };
    reply::json(StatusCode::OK, &activity)
}
