//! Calls in progress and the records of calls, as docs/openapi.yaml defines them.
//!
//! Decides how many are listed; `journal` decides how many records are kept.

use hashbrown::HashSet;
use hyper::StatusCode;
use location::{Aor, Wall};
use proxy::{CallInProgress, CallTable};
use serde::Serialize;

use super::AdminState;
use super::reply::{self, Reply};
use crate::clock;
use crate::journal::{CallSearch, EndedCall, HungUp, MAX_ENDED, csv, sanitize};
use crate::text::ending::phones_of_call;

/// Calls in progress in one answer.
const MAX_SHOWN: usize = 100;

/// Records in one answer: the default, and the maximum that can be asked for.
pub(crate) const DEFAULT_LIMIT: usize = 100;
pub(crate) const MAX_LIMIT: usize = MAX_ENDED;

#[derive(Serialize)]
struct CallsReply {
    total: usize,
    found: usize,
    now: Vec<ActiveCallEntry>,
    ended: Vec<EndedCallEntry>,
}

#[derive(Serialize)]
struct ActiveCallEntry {
    from: String,
    to: String,
    phones: usize,
    began: String,
    answered: Option<String>,
    seconds: u64,
    reached: Option<String>,
}

#[derive(Serialize)]
struct EndedCallEntry {
    from: String,
    to: String,
    trunk: Option<String>,
    reached: Option<String>,
    forwarded: Option<String>,
    phones: usize,
    responded: usize,
    rang: usize,
    called: String,
    began: String,
    answered: Option<String>,
    ended: String,
    seconds: u64,
    talked: Option<u64>,
    ending: &'static str,
    hung_up: Option<HungUp>,
    why: String,
    status: Option<u16>,
    key: Option<String>,
    by: Option<String>,
}

/// GET /api/v1/calls
pub(crate) fn list(state: &AdminState, search: &CallSearch, limit: usize) -> Reply {
    let now = clock::wall();
    let mut open = state.call_table.all();
    open.sort_unstable_by_key(|call| std::cmp::Reverse(call.began));
    let (total, found) = (open.len(), state.calls.lock().find(search));
    let answer = CallsReply {
        total,
        found: found.len(),
        now: open.iter().take(MAX_SHOWN).map(|call| active_entry(call, now)).collect(),
        ended: found.iter().take(limit).map(|ended| ended_entry(ended)).collect(),
    };
    reply::json(StatusCode::OK, &answer)
}

/// GET /api/v1/calls.csv
pub(crate) fn list_as_csv(state: &AdminState, search: &CallSearch) -> Reply {
    let mut text = csv::HEADER.to_owned();
    let found = state.calls.lock().find(search);
    found.iter().rev().for_each(|ended| csv::append(&mut text, ended));
    reply::response(StatusCode::OK, "text/csv; charset=utf-8; header=present", text)
}

/// Everybody who takes part in a call now.
pub(crate) fn parties(table: &CallTable) -> HashSet<Aor> {
    let of_call = |call: CallInProgress| {
        let phones = call.dialogs.into_iter().filter_map(|dialog| {
            let at = dialog.user.iter().rposition(|octet| *octet == b'@')?;
            Some(Aor::new(dialog.user.get(..at)?, dialog.user.get(at + 1..)?))
        });
        [call.from, call.to].into_iter().chain(phones).collect::<Vec<_>>()
    };
    table.all().into_iter().flat_map(of_call).collect()
}

fn active_entry(call: &CallInProgress, now: Wall) -> ActiveCallEntry {
    let reached = call.reached.phone().map(|(user, _)| sanitize(user));
    ActiveCallEntry {
        from: sanitize(call.from.as_bytes()),
        to: sanitize(call.to.as_bytes()),
        phones: call.targets,
        began: clock::rfc3339(call.began),
        answered: call.answered.map(clock::rfc3339),
        seconds: now.millis_since(call.answered.unwrap_or(call.began)) / 1000,
        reached: reached.or_else(|| call.reached.trunk().map(str::to_owned)),
    }
}

fn ended_entry(ended: &EndedCall) -> EndedCallEntry {
    let shown = |text: &str| sanitize(text.as_bytes());
    let time = |at: u64| clock::rfc3339(Wall(at));
    let (why, key) = ended.refusal.clone().unwrap_or_else(|| (ended.ending.words(ended.status), None));
    let phones = ended.tried();
    EndedCallEntry {
        from: shown(&ended.from),
        to: shown(&ended.to),
        trunk: ended.trunk.clone(),
        reached: ended.reached.as_deref().map(shown),
        forwarded: ended.forwarded.as_ref().map(|reason| reason.to_string()),
        phones: phones.tried,
        responded: phones.responded,
        rang: phones.rang,
        called: phones_of_call(phones),
        began: time(ended.began),
        answered: ended.answered.map(time),
        ended: time(ended.ended),
        seconds: seconds(ended.setup()),
        talked: ended.talked().map(seconds),
        ending: ended.ending.as_str(),
        hung_up: ended.hung_up,
        why,
        status: ended.status,
        key: key.map(|key| key.into_owned()),
        by: ended.by.clone(),
    }
}

fn seconds(time: std::time::Duration) -> u64 {
    u64::try_from((time.as_millis() + 500) / 1000).unwrap_or(u64::MAX)
}
