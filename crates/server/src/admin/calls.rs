//! Calls being set up and the last ones that ended, as docs/openapi.yaml has them.

use std::time::{Duration, UNIX_EPOCH};

use hyper::StatusCode;
use location::{Aor, Wall};
use serde::Serialize;

use super::Office;
use super::reply::{self, Reply};
use crate::clock;
use crate::journal::{Ended, Open, clean};

/// Of those being set up, at most.
const SHOWN: usize = 100;

#[derive(Serialize)]
struct Calls {
    total: usize,
    now: Vec<Ringing>,
    ended: Vec<Past>,
}

#[derive(Serialize)]
struct Ringing {
    from: String,
    to: String,
    phones: usize,
    began: String,
    seconds: u64,
}

#[derive(Serialize)]
struct Past {
    from: String,
    to: String,
    phones: usize,
    began: String,
    seconds: u64,
    ending: &'static str,
    why: String,
    status: Option<u16>,
    by: Option<String>,
}

/// GET /api/v1/calls
pub(crate) fn list(office: &Office) -> Reply {
    let now = clock::wall();
    let calls = office.calls.lock();
    let (open, total, ended) = (calls.open(SHOWN), calls.open_count(), calls.ended());
    drop(calls);
    let now = open.into_iter().map(|call| ringing(&call, now)).collect();
    let ended = ended.into_iter().map(past).collect();
    reply::json(StatusCode::OK, &Calls { total, now, ended })
}

fn ringing(call: &Open, now: Wall) -> Ringing {
    Ringing {
        from: name(&call.from),
        to: name(&call.to),
        phones: call.phones,
        began: moment(call.began),
        seconds: now.millis_since(call.began) / 1000,
    }
}

fn past(ended: Ended) -> Past {
    let Ended { call, at, ending, status, by } = ended;
    Past {
        from: name(&call.from),
        to: name(&call.to),
        phones: call.phones,
        began: moment(call.began),
        seconds: (at.millis_since(call.began) + 500) / 1000,
        ending: ending.as_str(),
        why: ending.words(status),
        status,
        by,
    }
}

fn name(aor: &Aor) -> String {
    clean(aor.as_bytes())
}

/// A moment of the server's own time by the machine's clock: RFC 3339, in UTC.
pub(crate) fn moment(own: Wall) -> String {
    // The year 9999 is the last one that can be written.
    let millis = clock::shown(own).millis().min(253_402_300_799_000);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(millis)).to_string()
}
