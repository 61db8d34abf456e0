//! Changes of accounts, as docs/openapi.yaml defines them: the same as the command `account`, followed by a reload.
//!
//! Decides who may do this: only somebody with `admin.token`. Without a token every program on the machine may use the
//! API, and an account allows calls that cost money.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::AdminState;
use super::reply::{self, Reply};
use super::routes::reload_outcome;
use crate::config::Loaded;
use crate::data::accounts_file::{self, AccountChange};
use crate::data::first_start;
use crate::error::{AccountError, CliError};
use crate::journal::sanitize;
use crate::request_body;

/// The longest password that is accepted, in octets.
const MAX_PASSWORD: usize = 256;

/// The body of a request: empty for a password that the server chooses.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    password: Option<String>,
}

#[derive(Serialize)]
struct ChangedAccount {
    user: String,
    /// The password, if the server has chosen it. It is not stored, so that nobody can read it again.
    password: Option<String>,
}

/// POST, PUT and DELETE /api/v1/users/{user}/account
pub(crate) async fn change(state: &AdminState, method: &Method, name: &[u8], body: Incoming) -> Reply {
    let (change, status) = match *method {
        Method::POST => (AccountChange::Add, StatusCode::CREATED),
        Method::PUT => (AccountChange::Password, StatusCode::OK),
        Method::DELETE => (AccountChange::Remove, StatusCode::OK),
        _ => return reply::not_allowed("POST, PUT, DELETE"),
    };
    let active_config = state.active_config.borrow().clone();
    if active_config.loaded.config.admin.token.is_none() {
        return reply::problem(StatusCode::FORBIDDEN, "accounts can be changed here if admin.token is set");
    }
    let wanted: Wanted = match request_body::object(body).await {
        Ok(wanted) => wanted,
        Err(why) => return reply::problem(StatusCode::BAD_REQUEST, &why),
    };
    if !wanted.password.iter().all(|password| is_usable(password)) {
        let why = format!("password: expected 1 to {MAX_PASSWORD} octets without control characters");
        return reply::problem(StatusCode::BAD_REQUEST, &why);
    }
    // The account gets exactly this name, or none.
    let Ok(name) = str::from_utf8(name) else {
        return reply::problem(StatusCode::BAD_REQUEST, "the name of the user: expected UTF-8");
    };
    let name = name.to_owned();
    let (user, loaded) = (name.clone(), Arc::clone(&active_config));
    // It waits for the disk.
    let changed = spawn_blocking(move || apply(&loaded.loaded, &user, change, wanted)).await;
    let password = match changed {
        Ok(Ok(password)) => password,
        Ok(Err(error)) => return refused(&error),
        Err(_) => return reply::problem(StatusCode::INTERNAL_SERVER_ERROR, "the change was not finished"),
    };
    tracing::info!("{} over the admin API", in_words(change, &sanitize(name.as_bytes())));
    match reload_outcome(state).await {
        Some(outcome) if outcome.reloaded => reply::json(status, &ChangedAccount { user: name, password }),
        Some(outcome) => {
            let why = outcome.error.unwrap_or_default();
            let why = not_in_force(&format!("the file is changed, but not in force: {why}"), password.as_deref());
            reply::problem(StatusCode::UNPROCESSABLE_ENTITY, &why)
        }
        None => {
            let why = not_in_force("the file is changed, and in force after a reload", password.as_deref());
            reply::problem(StatusCode::SERVICE_UNAVAILABLE, &why)
        }
    }
}

/// With the password that was chosen here: only its hashes are stored, so this is the only time that it can be told.
fn not_in_force(why: &str, chosen: Option<&str>) -> String {
    match chosen {
        Some(password) => format!("{why}. Note the password now: {password}"),
        None => why.to_owned(),
    }
}

/// Whether a password can be typed into a phone.
fn is_usable(password: &str) -> bool {
    !password.is_empty() && password.len() <= MAX_PASSWORD && !password.contains(char::is_control)
}

/// Returns the password, if it was chosen here.
fn apply(
    loaded: &Loaded,
    user: &str,
    change: AccountChange,
    Wanted { password }: Wanted,
) -> Result<Option<String>, CliError> {
    let mut chosen = None;
    accounts_file::change(loaded, user, change, || match password {
        Some(password) => Ok(password),
        None => Ok(chosen.insert(first_start::password()?).clone()),
    })?;
    Ok(chosen)
}

fn in_words(change: AccountChange, name: &str) -> String {
    match change {
        AccountChange::Add => format!("{name} has an account now"),
        AccountChange::Password => format!("{name} has another password"),
        AccountChange::Remove => format!("{name} has no account any more"),
    }
}

fn refused(error: &CliError) -> Reply {
    let status = match error {
        CliError::Account(AccountError::Present(_)) => StatusCode::CONFLICT,
        CliError::Account(AccountError::Absent { .. }) => StatusCode::NOT_FOUND,
        CliError::Account(AccountError::Name(_)) => StatusCode::BAD_REQUEST,
        CliError::Account(_) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    reply::problem(status, &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_a_limit_and_no_control_characters() {
        let longest = "x".repeat(MAX_PASSWORD);
        for (password, usable) in [("a", true), ("sécret 1", true), (&longest, true), ("", false), ("a\nb", false)] {
            assert_eq!(is_usable(password), usable, "{password:?}");
        }
        assert!(!is_usable(&(longest + "x")));
    }
}
