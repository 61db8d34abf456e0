//! Answers the requests for the page and its API.
//!
//! Decides who may see and set the rules of a user: the user, by the SIP password. Foreign pages are refused, and so is an
//! address that is banned. A wrong password counts as a failure of its address (`defence`), and its response is delayed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, Request, StatusCode};
use location::{AnyStore, Aor};
use parking_lot::Mutex;
use proxy::{Algorithm, AuthenticationFailure};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::files;
use super::reply::{self, Reply};
use super::verifier::{Asked, Refusal, Rules, Verifier};
use crate::data::set_rules::{Author, Forwarding, RuleError, RuleRequest};
use crate::defence::{Defence, Failure};
use crate::error::CliError;
use crate::metrics::{self, DriverLimit, Series};
use crate::phones::{self, Phone};
use crate::reload::ActiveConfig;
use crate::request_body;

/// How long a request waits for the main loop.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// So long the response to a wrong password takes: an address from which phones are registered is not banned.
const FAILURE_DELAY: Duration = Duration::from_secs(1);

/// Required for requests with credentials; the value does not matter. A page of another origin cannot send it.
const CSRF_HEADER: HeaderName = HeaderName::from_static("x-frontdesk");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The path of the API.
const RULES: &str = "/me/rules";

/// The page of a user.
pub(crate) struct MePages {
    active_config: watch::Receiver<Arc<ActiveConfig>>,
    store: Arc<AnyStore>,
    defence: Arc<Defence>,
    /// Changes, for the main loop.
    rule_requests: mpsc::Sender<RuleRequest>,
    /// The users whose rules are being changed. Each has one change in the queue, so that the changes of others are made.
    changing: Mutex<HashSet<Aor>>,
    verifier: Verifier,
}

/// A user whose rules are being changed, until it is dropped.
struct Changing<'a> {
    changing: &'a Mutex<HashSet<Aor>>,
    user: &'a Aor,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.changing.lock().remove(self.user);
    }
}

/// What the page shows.
#[derive(Serialize)]
struct MyRules {
    user: String,
    domain: String,
    name: Option<String>,
    has_voicemail: bool,
    /// The names of the hours that `also_ring` may have.
    hours: Vec<String>,
    forwarding: Forwarding,
    phones: Vec<Phone>,
}

/// Whether a path is one of the page.
pub(crate) fn is_path(path: &str) -> bool {
    path == "/me" || path.starts_with("/me/")
}

impl MePages {
    /// For these users, phones and rules.
    pub(crate) fn new(
        active_config: watch::Receiver<Arc<ActiveConfig>>,
        store: Arc<AnyStore>,
        defence: Arc<Defence>,
        rule_requests: mpsc::Sender<RuleRequest>,
    ) -> Result<Self, CliError> {
        let (changing, verifier) = (Mutex::default(), Verifier::new()?);
        Ok(Self { active_config, store, defence, rule_requests, changing, verifier })
    }

    /// Answers a request of this client for a path of the page. `admin.me` says whether there is one.
    pub(crate) async fn answer(&self, client: IpAddr, request: Request<Incoming>) -> Reply {
        let active = self.active_config.borrow().clone();
        if !active.loaded.config.admin.me.0 {
            return reply::problem(StatusCode::NOT_FOUND, "no such path");
        }
        // RFC 9110 9.3.2: HEAD is answered as GET; hyper omits the body.
        let method = if *request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        let path = request.uri().path();
        if let Some(file) = files::find(path) {
            return if method == Method::GET { reply::file(file) } else { reply::not_allowed("GET") };
        }
        match (path, method) {
            ("/me/challenge", Method::GET) => self.challenge(&active),
            ("/me/challenge", _) => reply::not_allowed("GET"),
            (RULES, Method::GET | Method::PUT) => self.rules(client, request, &active).await,
            (RULES, _) => reply::not_allowed("GET, PUT"),
            _ => reply::problem(StatusCode::NOT_FOUND, "no such path"),
        }
    }

    /// GET /me/challenge
    fn challenge(&self, active: &ActiveConfig) -> Reply {
        let config = &active.loaded.config;
        if !config.digest.algorithms.iter().any(|name| name.0 == Algorithm::Sha256) {
            return reply::problem(StatusCode::SERVICE_UNAVAILABLE, "this page needs sha-256 in digest.algorithms");
        }
        #[derive(Serialize)]
        struct Challenge<'a> {
            domain: &'a str,
            challenge: String,
        }
        let domain = config.first_domain();
        reply::json(StatusCode::OK, &Challenge { domain, challenge: self.verifier.challenge(domain, false) })
    }

    /// GET and PUT /me/rules
    async fn rules(&self, client: IpAddr, request: Request<Incoming>, active: &ActiveConfig) -> Reply {
        if !is_of_this_page(request.headers()) {
            return reply::problem(StatusCode::FORBIDDEN, "requests of other pages are refused");
        }
        if self.defence.is_banned(client) {
            let error = "there were too many wrong passwords from this address: try again later";
            return reply::problem(StatusCode::FORBIDDEN, error);
        }
        let user = match self.user_of(&request, active) {
            Ok(user) => user,
            Err(refusal) => return self.refuse(client, &refusal, active).await,
        };
        if request.method() != Method::PUT {
            return self.show(&user, active);
        }
        match self.change(&user, request.into_body()).await {
            Ok(()) => self.show(&user, &self.active_config.borrow().clone()),
            Err(reply) => reply,
        }
    }

    fn user_of(&self, request: &Request<Incoming>, active: &ActiveConfig) -> Result<Aor, Refusal> {
        let config = &active.loaded.config;
        let rules = Rules {
            accounts: &active.settings.accounts,
            lifetime: config.digest.nonce_lifetime.0,
            nonces: config.limits.nonces.0,
        };
        let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        // The method as it was sent: HEAD is not GET for the digest.
        let asked = Asked { method: request.method().as_str(), uri: RULES, authorization };
        self.verifier.verify(&asked, &rules)
    }

    /// 401, and counts a wrong password.
    async fn refuse(&self, client: IpAddr, refusal: &Refusal, active: &ActiveConfig) -> Reply {
        let error = match refusal {
            Refusal::Missing => "this needs the password of the user",
            Refusal::Stale => "the challenge is too old",
            Refusal::Wrong(user) => {
                metrics::count(Series::AuthenticationFailed { reason: AuthenticationFailure::Credentials });
                self.defence.record_failure(client, Failure::Credentials(user));
                sleep(FAILURE_DELAY).await;
                "the user name or the password is wrong"
            }
        };
        let is_stale = *refusal == Refusal::Stale;
        reply::unauthorized(error, &self.verifier.challenge(active.loaded.config.first_domain(), is_stale))
    }

    fn show(&self, user: &Aor, active: &ActiveConfig) -> Reply {
        let accounts = &active.settings.accounts;
        let Some(forwarding) = Forwarding::new(user, accounts, active.set_rules.of(user)) else {
            return reply::problem(StatusCode::NOT_FOUND, "there is no such account");
        };
        let name = accounts.find(user).map(|account| account.label.to_string()).filter(|name| !name.is_empty());
        let rules = MyRules {
            user: String::from_utf8_lossy(user.user()).into_owned(),
            domain: String::from_utf8_lossy(user.domain()).into_owned(),
            name,
            has_voicemail: active.settings.office.voicemail.is_some(),
            hours: active.loaded.config.hours.keys().map(|name| name.0.to_string()).collect(),
            forwarding,
            phones: phones::of(user, &self.store, accounts, None),
        };
        reply::json(StatusCode::OK, &rules)
    }

    async fn change(&self, user: &Aor, body: Incoming) -> Result<(), Reply> {
        let expected = |why: String| reply::problem(StatusCode::BAD_REQUEST, &why);
        let change = request_body::object(body).await.map_err(expected)?;
        let busy = || reply::problem(StatusCode::SERVICE_UNAVAILABLE, "the server is busy with another change");
        let (reply, outcome) = oneshot::channel();
        let request = RuleRequest { user: user.clone(), author: Author::User, change, reply };
        let changing = self.begin_change(user);
        if changing.is_none() || self.rule_requests.try_send(request).is_err() {
            metrics::count(DriverLimit::RuleChanges);
            return Err(busy());
        }
        match timeout(CHANGE_TIMEOUT, outcome).await {
            Ok(Ok(outcome)) => outcome.map(drop).map_err(|error| refused(&error)),
            _ => Err(busy()),
        }
    }

    /// `None` if rules of this user are being changed.
    fn begin_change<'a>(&'a self, user: &'a Aor) -> Option<Changing<'a>> {
        let is_first = self.changing.lock().insert(user.clone());
        is_first.then_some(Changing { changing: &self.changing, user })
    }
}

fn refused(error: &RuleError) -> Reply {
    let status = match error {
        RuleError::NoAccount => StatusCode::NOT_FOUND,
        RuleError::Invalid { .. } => StatusCode::BAD_REQUEST,
        // Its text names files of the server.
        RuleError::Store(_) | RuleError::Shared(_) => {
            return reply::problem(StatusCode::SERVICE_UNAVAILABLE, "the server cannot store the change");
        }
    };
    reply::problem(status, &error.to_string())
}

/// Whether the page of this server sent a request. Browsers say where a request comes from; a page cannot change that.
fn is_of_this_page(headers: &HeaderMap) -> bool {
    let is_from = match (headers.get(SEC_FETCH_SITE), headers.get(ORIGIN)) {
        // A reverse proxy may change Host, but no header of this name.
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, Some(origin)) => {
            let own = headers.get(HOST).and_then(|host| host.to_str().ok());
            let host = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
            own.is_some() && host == own
        }
        (None, None) => true,
    };
    is_from && headers.contains_key(CSRF_HEADER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_of_this_page_are_answered() {
        let host = ("host", "office.example:5443");
        for (list, expected) in [
            (&[host][..], true),
            (&[host, ("origin", "https://office.example:5443")], true),
            (&[host, ("sec-fetch-site", "same-origin"), ("origin", "https://phones.office.example")], true),
            (&[host, ("sec-fetch-site", "none")], true),
            (&[host, ("origin", "https://evil.example")], false),
            (&[host, ("origin", "https://office.example")], false),
            (&[host, ("origin", "null")], false),
            (&[("origin", "null")], false),
            (&[host, ("sec-fetch-site", "same-site")], false),
            (&[host, ("sec-fetch-site", "cross-site"), ("origin", "https://office.example:5443")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in list {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert!(!is_of_this_page(&headers), "{list:?} without X-Frontdesk");
            headers.insert(CSRF_HEADER, HeaderValue::from_static("me"));
            assert_eq!(is_of_this_page(&headers), expected, "{list:?}");
        }
    }

    #[test]
    fn the_paths_of_the_page() {
        assert!(is_path("/me") && is_path("/me/rules"));
        assert!(!is_path("/") && !is_path("/metrics") && !is_path("/men"));
    }
}
