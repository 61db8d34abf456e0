//! The shape of every answer: status, type, and the headers that keep a browser from doing more than it should.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, SERVER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::guard::AccessDenied;
use crate::{hex, printable, secret};

/// An answer.
pub(crate) type Reply = Response<Full<Bytes>>;

/// What went wrong, in the body of every answer that is no 2xx.
#[derive(Deserialize, Serialize)]
pub(crate) struct Problem<'a> {
    pub(crate) error: Cow<'a, str>,
}

/// `value` as JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => response(status, "application/json", printable::escape_json(body)),
        Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
    }
}

/// Bad news.
pub(crate) fn problem(status: StatusCode, error: &str) -> Reply {
    json(status, &Problem { error: error.into() })
}

/// Not let in.
pub(crate) fn denied(why: AccessDenied) -> Reply {
    let status = match why {
        AccessDenied::Malformed => StatusCode::BAD_REQUEST,
        AccessDenied::Token => StatusCode::UNAUTHORIZED,
        AccessDenied::Remote | AccessDenied::Host | AccessDenied::Origin | AccessDenied::CsrfHeader => {
            StatusCode::FORBIDDEN
        }
    };
    let mut reply = problem(status, &why.to_string());
    if why == AccessDenied::Token {
        reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"frontdesk\""));
    }
    reply
}

/// Another method is needed here.
pub(crate) fn not_allowed(allow: &'static str) -> Reply {
    let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "this can only be asked another way");
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

/// Any text.
pub(crate) fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // By this our own commands know that it is us.
    headers.insert(SERVER, HeaderValue::from_static("frontdesk"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    reply
}

/// The page: its own script and style, its own API, nothing else. What may run carries a number of this one answer.
pub(crate) fn page(html: &str) -> Reply {
    let Ok(number) = secret::random::<16>() else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "no random numbers");
    };
    let number = hex::write(&number);
    let mut reply = response(StatusCode::OK, "text/html; charset=utf-8", html.replace("{nonce}", &number));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{number}'; style-src 'nonce-{number}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        reply.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    reply
}

/// Plain text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// Prometheus' text format.
pub(crate) const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
