//! Banned addresses, as docs/openapi.yaml defines them.
//!
//! Decides how many are listed. Must not decide which addresses are banned: see `defence`.

use std::time::Instant;

use hyper::StatusCode;
use proxy::Source;
use serde::{Deserialize, Serialize};

use super::AdminState;
use super::reply::{self, Reply};
use super::users::Removed;
use crate::clock;
use crate::cluster::SharedError;
use crate::config::Masked;
use crate::defence::{Ban, SHARED_BANS, SharedBans};
use crate::journal::sanitize;

/// Addresses in one answer.
const MAX_SHOWN: usize = 1000;

/// The banned addresses.
#[derive(Deserialize, Serialize)]
pub(crate) struct Bans {
    pub(crate) total: usize,
    pub(crate) bans: Vec<BanEntry>,
}

/// One banned address.
#[derive(Deserialize, Serialize)]
pub(crate) struct BanEntry {
    pub(crate) address: String,
    pub(crate) since: String,
    pub(crate) seconds_left: u64,
    pub(crate) failures: usize,
    pub(crate) users: Vec<String>,
}

/// GET /api/v1/bans
pub(crate) fn list(state: &AdminState) -> Reply {
    let all = state.defence.list();
    let total = all.len();
    let bans = all.into_iter().take(MAX_SHOWN).map(|(source, ban)| ban_entry(source, &ban)).collect();
    reply::json(StatusCode::OK, &Bans { total, bans })
}

/// DELETE /api/v1/bans/{address}
pub(crate) async fn remove(state: &AdminState, address: &[u8]) -> Reply {
    let source = std::str::from_utf8(address).ok().and_then(|text| text.parse::<Source>().ok());
    let Some(source) = source else {
        return reply::problem(StatusCode::BAD_REQUEST, "expected an IP address, like 198.51.100.7 or 2001:db8::/64");
    };
    if !state.defence.lift(source) {
        return reply::problem(StatusCode::NOT_FOUND, "this address is not banned");
    }
    if let Some(shared) = &state.shared {
        let without = move |current: Option<&[u8]>| {
            let mut bans = SharedBans::read(current.unwrap_or_default()).ok_or(SharedError::Unreadable)?;
            bans.remove(source);
            Ok(bans.text())
        };
        if let Err(error) = shared.change(SHARED_BANS, without).await {
            return reply::problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
        }
    }
    let masked = state.active_config.borrow().loaded.config.log.mask.contains(&Masked::Addresses);
    let which = if masked { "an address".to_owned() } else { source.to_string() };
    tracing::info!("the ban of {which} was lifted by the administrator");
    reply::json(StatusCode::OK, &Removed { removed: 1 })
}

fn ban_entry(source: Source, ban: &Ban) -> BanEntry {
    BanEntry {
        address: source.to_string(),
        since: clock::rfc3339(ban.since),
        seconds_left: ban.ends.saturating_duration_since(Instant::now()).as_secs(),
        failures: ban.failures,
        users: ban.summary.users.iter().map(|user| sanitize(user.as_bytes())).collect(),
    }
}
