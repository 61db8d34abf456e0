//! Users and their phones, as docs/openapi.yaml defines them.
//!
//! Decides which users are listed: every user with an account or a binding, up to a limit. The total counts all of them.

use std::cmp::Ordering;
use std::sync::Arc;

use hyper::StatusCode;
use location::{AnyStore, Aor, Store as _};
use serde::{Deserialize, Serialize};

use super::AdminState;
use super::removal::{RemovalError, RemovalScope};
use super::reply::{self, Reply};
use crate::clock;
use crate::cluster::NodeTable;
use crate::config::{Loaded, Masked};
use crate::data::set_rules::{Forwarding, SetRule};
use crate::journal::sanitize;
use crate::phones::{self, Phone};
use crate::reload::ActiveConfig;

/// Users in one answer: the default, and the maximum that can be asked for.
pub(crate) const DEFAULT_LIMIT: usize = 200;
pub(crate) const MAX_LIMIT: usize = 1000;

/// Users with an account or a binding.
#[derive(Deserialize, Serialize)]
pub(crate) struct Users {
    pub(crate) total: usize,
    pub(crate) users: Vec<User>,
}

/// One user.
#[derive(Deserialize, Serialize)]
pub(crate) struct User {
    pub(crate) user: String,
    pub(crate) domain: String,
    pub(crate) account: bool,
    pub(crate) name: Option<String>,
    pub(crate) phones: Vec<Phone>,
    /// Missing if calls just ring, and nothing was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forwarding: Option<Forwarding>,
}

/// How many phones were removed.
#[derive(Deserialize, Serialize)]
pub(crate) struct Removed {
    pub(crate) removed: usize,
}

/// GET /api/v1/users
pub(crate) async fn list(state: &AdminState, search: &str, limit: usize) -> Reply {
    let Ok(_permit) = state.listings.acquire().await else { return unavailable() };
    let (store, active_config) = (Arc::clone(&state.store), state.active_config.borrow().clone());
    let (search, nodes) = (search.to_owned(), Arc::clone(&state.nodes));
    // A large store takes long to scan.
    let listing = tokio::task::spawn_blocking(move || {
        let (total, aors) = select(&store, &active_config.loaded, search.as_bytes(), limit);
        let users = aors.iter().map(|aor| user(aor, &store, &active_config, &nodes)).collect();
        Users { total, users }
    });
    match listing.await {
        Ok(users) => reply::json(StatusCode::OK, &users),
        Err(_) => unavailable(),
    }
}

/// GET /api/v1/users/{user}
pub(crate) fn show(state: &AdminState, name: &[u8]) -> Reply {
    let active_config = state.active_config.borrow().clone();
    let aor = aor_of(name, &active_config.loaded);
    let user = user(&aor, &state.store, &active_config, &state.nodes);
    if !user.account && user.phones.is_empty() {
        return reply::problem(StatusCode::NOT_FOUND, "there is no such user");
    }
    reply::json(StatusCode::OK, &user)
}

/// DELETE /api/v1/users/{user}/phones and /api/v1/users/{user}/phones/{contact}
pub(crate) async fn remove(state: &AdminState, name: &[u8], scope: RemovalScope<'_>) -> Reply {
    let active_config = state.active_config.borrow().clone();
    let aor = aor_of(name, &active_config.loaded);
    match state.removals.remove(&aor, scope).await {
        Ok(removed) => {
            let masked = active_config.loaded.config.log.mask.contains(&Masked::Users);
            let whose = if masked { "a user".to_owned() } else { sanitize(aor.as_bytes()) };
            tracing::info!("phones of {whose} removed by the administrator: {removed}");
            reply::json(StatusCode::OK, &Removed { removed })
        }
        Err(error @ RemovalError::NotFound) => reply::problem(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error @ RemovalError::Store) => reply::problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// `101`, `101@office.example` or `sip:101@office.example`.
pub(super) fn aor_of(name: &[u8], loaded: &Loaded) -> Aor {
    let name = name.strip_prefix(b"sip:").unwrap_or(name);
    match name.iter().rposition(|octet| *octet == b'@').and_then(|at| name.split_at_checked(at)) {
        Some((user, domain)) => Aor::new(user, domain.get(1..).unwrap_or_default()),
        None => Aor::new(name, loaded.config.first_domain().as_bytes()),
    }
}

/// The first `limit` users whose address contains `search`, sorted, and the number of all matches.
fn select(store: &AnyStore, loaded: &Loaded, search: &[u8], limit: usize) -> (usize, Vec<Aor>) {
    let matches =
        |aor: &[u8]| search.is_empty() || aor.windows(search.len()).any(|part| part.eq_ignore_ascii_case(search));
    let mut aors: Vec<_> = loaded.accounts.aors().filter(|aor| matches(aor.as_bytes())).cloned().collect();
    let now = clock::wall();
    store.list(&mut |record| {
        if matches(record.aor()) && record.live(now).next().is_some() {
            let aor = record.address();
            if loaded.accounts.find(&aor).is_none() {
                aors.push(aor);
            }
        }
    });
    let total = aors.len();
    if total > limit {
        aors.select_nth_unstable_by(limit, order);
        aors.truncate(limit);
    }
    aors.sort_unstable_by(order);
    (total, aors)
}

/// The order of users in a list: numbers by their value, and then the other names.
fn order(a: &Aor, b: &Aor) -> Ordering {
    let is_number = |aor: &Aor| !aor.user().is_empty() && aor.user().iter().all(u8::is_ascii_digit);
    let by_text = || a.as_bytes().cmp(b.as_bytes());
    match (is_number(a), is_number(b)) {
        (true, true) => a.user().len().cmp(&b.user().len()).then_with(by_text),
        (is_a, is_b) => is_b.cmp(&is_a).then_with(by_text),
    }
}

fn user(aor: &Aor, store: &AnyStore, active: &ActiveConfig, nodes: &NodeTable) -> User {
    let accounts = &active.settings.accounts;
    let (account, set) = (accounts.find(aor), active.set_rules.of(aor));
    let has_rules = set != SetRule::default() || account.is_some_and(|account| account.rules.is_some());
    User {
        user: lossy(aor.user()),
        domain: lossy(aor.domain()),
        account: account.is_some(),
        name: account.filter(|account| !account.label.is_empty()).map(|account| account.label.to_string()),
        forwarding: if has_rules { Forwarding::new(aor, accounts, set) } else { None },
        phones: phones::of(aor, store, accounts, Some(nodes)),
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn unavailable() -> Reply {
    reply::problem(StatusCode::SERVICE_UNAVAILABLE, "the list could not be created")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 18: order on the page.
    #[test]
    fn numbers_are_listed_by_their_value() {
        let mut aors: Vec<_> = ["bob", "1000", "101", "9", "+49", "alice", "102"]
            .map(|user| Aor::new(user.as_bytes(), b"office.example"))
            .into();
        aors.sort_unstable_by(order);
        let users: Vec<_> = aors.iter().map(|aor| lossy(aor.user())).collect();
        assert_eq!(users, ["9", "101", "102", "1000", "+49", "alice", "bob"]);
    }
}
