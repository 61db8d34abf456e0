//! All paths of the admin API, in one list; docs/openapi.yaml describes them, and a test compares the two.
//!
//! Decides which handler answers a request, after the checks of `guard`.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Method, Request, StatusCode, Uri};
use proxy::Listener;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::removal::RemovalScope;
use super::reply::{self, Body, Reply};
use super::{
    AdminCommand, AdminState, accounts, activity, bans, calls, explain, failures, forwarding, guard, log, office, page,
    refusals, status, trace, users,
};
use crate::config::{Config, Endpoint};
use crate::data::secret::RotationError;
use crate::defence::Failure;
use crate::journal::CallSearch;
use crate::reload::ReloadOutcome;
use crate::{me, phone};

const OPENAPI: &str = include_str!("../../../../docs/openapi.yaml");

/// How long a request waits for the main loop to reload.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest number that JSON can be relied upon to keep (RFC 8259 6).
const MAX_COUNT: u64 = (1 << 53) - 1;

/// The most minutes that a clock is ahead of UTC or behind it.
const MAX_OFFSET: i64 = 14 * 60;
const OFFSET: &str = "offset: expected a whole number from -840 to 840";

/// Answers one request.
pub(crate) async fn answer(state: &AdminState, peer: IpAddr, request: Request<Incoming>) -> Reply {
    let (request, body) = request.into_parts();
    if let Err(why) = guard::check_unambiguous(request.version, &request.uri, &request.headers) {
        return reply::denied(why);
    }
    let path = request.uri.path();
    // RFC 9110 9.3.2: HEAD is answered as GET; hyper omits the body.
    let method = if request.method == Method::HEAD { &Method::GET } else { &request.method };
    if let Some(reply) = unrestricted(state, method, path) {
        return reply;
    }
    let active_config = Arc::clone(&state.active_config.borrow());
    let config = &active_config.loaded.config;
    if let Some(file) = page::find(path) {
        return match (guard::check_page(peer, &request.headers, config), method) {
            (Err(why), _) => reply::denied(why),
            (Ok(()), &Method::GET) => reply::file(file),
            (Ok(()), _) => reply::not_allowed("GET"),
        };
    }
    if serves_phone(config) && (path == "/phone" || path.starts_with("/phone/")) {
        return match (guard::check_page(peer, &request.headers, config), method) {
            (Err(why), _) => reply::denied(why),
            (Ok(()), &Method::GET) => phone_page(state, path, &request.headers, config).unwrap_or_else(not_found),
            (Ok(()), _) => reply::not_allowed("GET"),
        };
    }
    // Not by the rules of the API: users reach it with their own password.
    if me::is_path(path) {
        return match guard::check_host(&request.headers, config) {
            Err(why) => reply::denied(why),
            Ok(()) => state.me.answer(peer, Request::from_parts(request, body)).await.map(Body::Whole),
        };
    }
    let Some(rest) = path.strip_prefix("/api/v1/") else { return not_found() };
    // Decoded first, so that the check sees the same path as the handlers.
    let parts: Vec<_> = rest.split('/').map(|part| percent_decoded(part)).collect();
    let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
    let access = guard::check_api(peer, method, &request.headers, config);
    let access =
        access.and_then(|()| if trace::is_path(&parts) { guard::check_intent(&request.headers) } else { Ok(()) });
    if let Err(why) = access {
        // Only a wrong token counts: the page sends its first request without one.
        if why == guard::AccessDenied::Token && request.headers.contains_key(AUTHORIZATION) {
            state.defence.record_failure(peer, Failure::Token);
        }
        return reply::denied(why);
    }
    match (parts.as_slice(), method) {
        ([b"users", user, b"forwarding"], &Method::GET) => forwarding::show(state, user),
        ([b"users", user, b"forwarding"], &Method::PUT) => forwarding::change(state, user, body).await,
        ([b"users", _, b"forwarding"], _) => reply::not_allowed("GET, PUT"),
        ([b"users", user, b"account"], method) => accounts::change(state, method, user, body).await,
        (parts, method) => api(state, method, parts, &Query::of(&request.uri)).await,
    }
}

/// `admin.phone`. Browsers give the microphone to pages of this machine, and else to `https` only.
fn serves_phone(config: &Config) -> bool {
    let is_local = || matches!(config.metrics.listen, Endpoint::On(address) if address.ip().is_loopback());
    config.admin.phone.unwrap_or_else(is_local)
}

/// The URL of the phone in the browser for somebody at this machine; `None` if it could not reach the server. `address`:
/// the one that the admin API listens on.
pub(crate) fn local_phone_page(config: &Config, address: SocketAddr, listeners: &[Listener]) -> Option<String> {
    let is_local = address.ip().is_loopback() || address.ip().is_unspecified();
    let websocket = phone::WebSocket::for_admin_page(listeners, "localhost");
    let is_usable = is_local && serves_phone(config) && websocket != phone::WebSocket::Missing;
    is_usable.then(|| format!("http://localhost:{}/phone", address.port()))
}

/// The phone in the browser. It has no secrets: the SIP server asks for the password.
fn phone_page(state: &AdminState, path: &str, headers: &HeaderMap, config: &Config) -> Option<Reply> {
    let host = guard::host_header(headers)?;
    let websocket = phone::WebSocket::for_admin_page(&state.listeners, host.host());
    phone::page(path, &websocket, &config.domains.first()?.0).map(|reply| reply.map(Body::Whole))
}

/// Paths that are open to everybody: their answers contain no names.
fn unrestricted(state: &AdminState, method: &Method, path: &str) -> Option<Reply> {
    let reply = match path {
        "/metrics" => reply::response(StatusCode::OK, reply::METRICS, state.metrics.render()),
        "/health" => status::health(&state.health),
        "/ready" => status::ready(&state.health),
        _ => return None,
    };
    Some(if *method == Method::GET { reply } else { reply::not_allowed("GET") })
}

async fn api(state: &AdminState, method: &Method, path: &[&[u8]], query: &Query<'_>) -> Reply {
    match (path, method) {
        ([b"server"], &Method::GET) => status::server(state),
        ([b"users"], &Method::GET) => match query.number("limit", users::DEFAULT_LIMIT, 1..=users::MAX_LIMIT) {
            Some(limit) => users::list(state, &query.text("search"), limit).await,
            None => reply::problem(StatusCode::BAD_REQUEST, "limit: expected a whole number from 1 to 1000"),
        },
        ([b"users", user], &Method::GET) => users::show(state, user),
        ([b"users", user, b"phones"], &Method::DELETE) => users::remove(state, user, RemovalScope::All).await,
        ([b"users", user, b"phones", contact], &Method::DELETE) => {
            users::remove(state, user, RemovalScope::Contact(contact)).await
        }
        ([b"bans"], &Method::GET) => bans::list(state),
        ([b"bans", address], &Method::DELETE) => bans::remove(state, address).await,
        ([b"groups"], &Method::GET) => office::groups(state),
        ([b"trunks"], &Method::GET) => office::trunks(state),
        ([b"calls"], &Method::GET) => list_calls(state, query),
        ([b"calls.csv"], &Method::GET) => match query.calls() {
            Some(search) => calls::list_as_csv(state, &search),
            None => reply::problem(StatusCode::BAD_REQUEST, OFFSET),
        },
        ([b"calls", id, b"messages"], &Method::GET) => trace::messages(state, id),
        ([b"calls", id, b"pcap"], &Method::GET) => trace::capture(state, id),
        ([b"trace"], &Method::GET) => trace::live(state, &query.text("user")),
        ([b"trace", b"calls"], &Method::GET) => trace::list(state),
        ([b"failures"], &Method::GET) => failures::list(state),
        ([b"refusals"], &Method::GET) => refusals::list(state),
        ([b"activity"], &Method::GET) => activity::show(state),
        ([b"log"], &Method::GET) => match query.number("after", 0, 0..=MAX_COUNT) {
            Some(after) => log::show(state, after),
            None => reply::problem(StatusCode::BAD_REQUEST, "after: expected a whole number"),
        },
        ([b"explain"], &Method::GET) => {
            explain::explain(state, &query.text("from"), &query.text("to"), &query.text("source"), &query.text("at"))
        }
        ([b"reload"], &Method::POST) => reload(state).await,
        ([b"keys", b"rotate"], &Method::POST) => rotate_keys(state).await,
        ([b"nodes"], &Method::GET) => status::nodes(state),
        ([b"openapi.yaml"], &Method::GET) => reply::response(StatusCode::OK, "application/yaml", OPENAPI),
        (
            [
                b"server" | b"activity" | b"log" | b"nodes" | b"bans" | b"users" | b"groups" | b"trunks" | b"calls"
                | b"calls.csv" | b"failures" | b"refusals" | b"explain" | b"openapi.yaml",
            ]
            | [b"users", _]
            | [b"calls", _, b"messages" | b"pcap"]
            | [b"trace"]
            | [b"trace", b"calls"],
            _,
        ) => reply::not_allowed("GET"),
        ([b"bans", _] | [b"users", _, b"phones"] | [b"users", _, b"phones", _], _) => reply::not_allowed("DELETE"),
        ([b"reload"] | [b"keys", b"rotate"], _) => reply::not_allowed("POST"),
        _ => not_found(),
    }
}

fn list_calls(state: &AdminState, query: &Query<'_>) -> Reply {
    match (query.calls(), query.number("limit", calls::DEFAULT_LIMIT, 1..=calls::MAX_LIMIT)) {
        (Some(search), Some(limit)) => calls::list(state, &search, limit),
        (None, _) => reply::problem(StatusCode::BAD_REQUEST, OFFSET),
        (_, None) => reply::problem(StatusCode::BAD_REQUEST, "limit: expected a whole number from 1 to 1000"),
    }
}

async fn reload(state: &AdminState) -> Reply {
    match reload_outcome(state).await {
        Some(outcome) => {
            let status = if outcome.reloaded { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
            reply::json(status, &outcome)
        }
        None => reply::problem(StatusCode::SERVICE_UNAVAILABLE, "the server is busy with another reload"),
    }
}

/// Reloads the configuration; `None` if the main loop is busy.
pub(super) async fn reload_outcome(state: &AdminState) -> Option<ReloadOutcome> {
    let (sender, outcome) = oneshot::channel();
    state.commands.try_send(AdminCommand::Reload(sender)).ok()?;
    timeout(RELOAD_TIMEOUT, outcome).await.ok()?.ok()
}

async fn rotate_keys(state: &AdminState) -> Reply {
    let (sender, outcome) = oneshot::channel();
    let sent = state.commands.try_send(AdminCommand::RotateKeys(sender)).is_ok();
    match timeout(RELOAD_TIMEOUT, outcome).await {
        Ok(Ok(Ok(()))) if sent => reply::json(StatusCode::OK, &RotationOutcome { rotated: true }),
        Ok(Ok(Err(error @ RotationError::TooEarly(_)))) => reply::problem(StatusCode::CONFLICT, &error.to_string()),
        Ok(Ok(Err(error))) => reply::problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        _ => reply::problem(StatusCode::SERVICE_UNAVAILABLE, "the server is busy with a reload"),
    }
}

/// The keys were replaced.
#[derive(Deserialize, Serialize)]
pub(crate) struct RotationOutcome {
    pub(crate) rotated: bool,
}

fn not_found() -> Reply {
    reply::problem(StatusCode::NOT_FOUND, "no such path: see /api/v1/openapi.yaml")
}

/// The query parameters.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn of(uri: &'a Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    fn find(&self, key: &str) -> Option<String> {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.into_iter().find(|(name, _)| *name == key).map(|(_, value)| percent_decoded(value))?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// Empty if the parameter is missing.
    fn text(&self, key: &str) -> String {
        self.find(key).unwrap_or_default()
    }

    /// Which calls are wanted; `None` if a number is out of range.
    fn calls(&self) -> Option<CallSearch> {
        let ahead = self.number("offset", 0, -MAX_OFFSET..=MAX_OFFSET)?;
        Some(CallSearch::new(&self.text("user"), &self.text("number"), (&self.text("day"), ahead)))
    }

    /// `default` if the parameter is missing; `None` if it is out of range.
    fn number<T: FromStr + PartialOrd>(&self, key: &str, default: T, range: RangeInclusive<T>) -> Option<T> {
        let Some(text) = self.find(key) else { return Some(default) };
        text.parse().ok().filter(|number| range.contains(number))
    }
}

/// RFC 3986 2.1. A `%` without two hexadecimal digits is kept.
fn percent_decoded(text: &str) -> Cow<'_, [u8]> {
    parser::unescape(text.as_bytes())
}
