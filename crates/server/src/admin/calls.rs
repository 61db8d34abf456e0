//! Active calls and the last ended calls, as docs/openapi.yaml defines them.
//!
//! Decides how many active calls are listed; `journal` decides how many ended calls are kept.

use hyper::StatusCode;
use location::{Aor, Wall};
use serde::Serialize;

use super::AdminState;
use super::reply::{self, Reply};
use crate::clock;
use crate::journal::{ActiveCall, EndedCall, sanitize};
use crate::text::ending::phones_of_call;

/// Active calls in one answer.
const MAX_SHOWN: usize = 100;

#[derive(Serialize)]
struct CallsReply {
    total: usize,
    now: Vec<ActiveCallEntry>,
    ended: Vec<EndedCallEntry>,
}

#[derive(Serialize)]
struct ActiveCallEntry {
    from: String,
    to: String,
    phones: usize,
    began: String,
    seconds: u64,
}

#[derive(Serialize)]
struct EndedCallEntry {
    from: String,
    to: String,
    phones: usize,
    responded: usize,
    rang: usize,
    called: String,
    began: String,
    seconds: u64,
    ending: &'static str,
    why: String,
    status: Option<u16>,
    key: Option<&'static str>,
    by: Option<String>,
}

/// GET /api/v1/calls
pub(crate) fn list(state: &AdminState) -> Reply {
    let now = clock::wall();
    let calls = state.calls.lock();
    let (open, total, ended) = (calls.active(MAX_SHOWN), calls.active_count(), calls.ended());
    drop(calls);
    let now = open.into_iter().map(|call| active_entry(&call, now)).collect();
    let ended = ended.into_iter().map(ended_entry).collect();
    reply::json(StatusCode::OK, &CallsReply { total, now, ended })
}

fn active_entry(call: &ActiveCall, now: Wall) -> ActiveCallEntry {
    ActiveCallEntry {
        from: name(&call.from),
        to: name(&call.to),
        phones: call.phones,
        began: clock::rfc3339(call.began),
        seconds: now.millis_since(call.began) / 1000,
    }
}

fn ended_entry(ended: EndedCall) -> EndedCallEntry {
    let EndedCall { call, at, ending, status, by, phones, refusal } = ended;
    let (why, key) = refusal.unwrap_or_else(|| (ending.words(status), None));
    EndedCallEntry {
        from: name(&call.from),
        to: name(&call.to),
        phones: phones.tried,
        responded: phones.responded,
        rang: phones.rang,
        called: phones_of_call(phones),
        began: clock::rfc3339(call.began),
        seconds: (at.millis_since(call.began) + 500) / 1000,
        ending: ending.as_str(),
        why,
        status,
        key: key.map(|key| key.as_str()),
        by,
    }
}

fn name(aor: &Aor) -> String {
    sanitize(aor.as_bytes())
}
