//! Every path that is answered, in one list; docs/openapi.yaml describes them, and a test compares the two.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::{Method, Request, StatusCode};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::removal::Which;
use super::reply::{self, Reply};
use super::{Errand, Office, bans, calls, door, explain, facts, failures, users};
use crate::defence::Failure;

const PAGE: &str = include_str!("page.html");
const DESCRIPTION: &str = include_str!("../../../../docs/openapi.yaml");

/// For the main loop to read the configuration.
const RELOAD_TIME: Duration = Duration::from_secs(10);

/// Answers one request. Bodies are not read: nothing here has one.
pub(crate) async fn answer(office: &Office, peer: IpAddr, request: &Request<Incoming>) -> Reply {
    if let Err(why) = door::well_formed(request.version(), request.uri(), request.headers()) {
        return reply::stopped(why);
    }
    let path = request.uri().path();
    // RFC 9110 9.3.2: the same without the body, which hyper leaves out.
    let method = if *request.method() == Method::HEAD { &Method::GET } else { request.method() };
    if let Some(reply) = open(office, method, path) {
        return reply;
    }
    let active_config = Arc::clone(&office.active_config.borrow());
    let config = &active_config.loaded.config;
    if path == "/" {
        return match (door::page(peer, request.headers(), config), method) {
            (Err(why), _) => reply::stopped(why),
            (Ok(()), &Method::GET) => reply::page(PAGE),
            (Ok(()), _) => reply::not_allowed("GET"),
        };
    }
    let Some(rest) = path.strip_prefix("/api/v1/") else { return nothing() };
    if let Err(why) = door::api(peer, method, request.headers(), config) {
        // A wrong one, not a missing one: the page asks for it.
        if why == door::Stopped::Token && request.headers().contains_key(AUTHORIZATION) {
            office.defence.failed(peer, Failure::Token);
        }
        return reply::stopped(why);
    }
    let parts: Vec<_> = rest.split('/').map(|part| unescaped(part)).collect();
    let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
    api(office, method, &parts, &Query::of(request)).await
}

/// What everybody may see: it tells no names.
fn open(office: &Office, method: &Method, path: &str) -> Option<Reply> {
    let reply = match path {
        "/metrics" => reply::with(StatusCode::OK, reply::METRICS, office.metrics.render()),
        "/health" => facts::health(office),
        "/ready" => facts::ready(office),
        _ => return None,
    };
    Some(if *method == Method::GET { reply } else { reply::not_allowed("GET") })
}

async fn api(office: &Office, method: &Method, path: &[&[u8]], query: &Query<'_>) -> Reply {
    match (path, method) {
        ([b"server"], &Method::GET) => facts::server(office),
        ([b"users"], &Method::GET) => match query.number("limit") {
            Some(limit) => users::list(office, &query.text("search"), limit).await,
            None => reply::problem(StatusCode::BAD_REQUEST, "limit: expected a whole number from 1 to 1000"),
        },
        ([b"users", user], &Method::GET) => users::show(office, user),
        ([b"users", user, b"phones"], &Method::DELETE) => users::remove(office, user, Which::All).await,
        ([b"users", user, b"phones", contact], &Method::DELETE) => {
            users::remove(office, user, Which::Contact(contact)).await
        }
        ([b"bans"], &Method::GET) => bans::list(office),
        ([b"bans", address], &Method::DELETE) => bans::remove(office, address),
        ([b"calls"], &Method::GET) => calls::list(office),
        ([b"failures"], &Method::GET) => failures::list(office),
        ([b"explain"], &Method::GET) => {
            explain::explain(office, &query.text("from"), &query.text("to"), &query.text("source"))
        }
        ([b"reload"], &Method::POST) => reload(office).await,
        ([b"openapi.yaml"], &Method::GET) => reply::with(StatusCode::OK, "application/yaml", DESCRIPTION),
        (
            [b"server" | b"bans" | b"users" | b"calls" | b"failures" | b"explain" | b"openapi.yaml"] | [b"users", _],
            _,
        ) => reply::not_allowed("GET"),
        ([b"bans", _] | [b"users", _, b"phones"] | [b"users", _, b"phones", _], _) => reply::not_allowed("DELETE"),
        ([b"reload"], _) => reply::not_allowed("POST"),
        _ => nothing(),
    }
}

async fn reload(office: &Office) -> Reply {
    let (sender, outcome) = oneshot::channel();
    let sent = office.errands.try_send(Errand::Reload(sender)).is_ok();
    match timeout(RELOAD_TIME, outcome).await {
        Ok(Ok(outcome)) if sent => {
            let status = if outcome.reloaded { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
            reply::json(status, &outcome)
        }
        _ => reply::problem(StatusCode::SERVICE_UNAVAILABLE, "the server is busy with another reload"),
    }
}

fn nothing() -> Reply {
    reply::problem(StatusCode::NOT_FOUND, "there is nothing here: see /api/v1/openapi.yaml")
}

/// The values behind the `?`.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn of(request: &'a Request<Incoming>) -> Self {
        Self(request.uri().query().unwrap_or_default())
    }

    fn find(&self, key: &str) -> Option<String> {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.into_iter().find(|(name, _)| *name == key).map(|(_, value)| unescaped(value))?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// Empty if it is not there.
    fn text(&self, key: &str) -> String {
        self.find(key).unwrap_or_default()
    }

    /// How many are to be shown; none if that is no number that may be asked for.
    fn number(&self, key: &str) -> Option<usize> {
        let Some(text) = self.find(key) else { return Some(users::SHOWN) };
        text.parse().ok().filter(|number| (1..=users::MOST).contains(number))
    }
}

/// RFC 3986 2.1; a `%` that begins no octet stands for itself.
fn unescaped(text: &str) -> Cow<'_, [u8]> {
    parser::unescape(text.as_bytes())
}
