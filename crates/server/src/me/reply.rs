//! The responses, with the headers that make browsers enforce the limits of the page.
//!
//! Decides the Content-Security-Policy: nothing of another origin is loaded, and no text can become HTML or a script.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, SERVER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::files::File;
use crate::text::printable;

/// An HTTP response.
pub(super) type Reply = Response<Full<Bytes>>;

const HEADERS: [(HeaderName, &str); 7] = [
    // The rules of a user are nobody else's, and a new version of the server must not meet modules of the old one.
    (CACHE_CONTROL, "no-store"),
    (SERVER, "frontdesk"),
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (HeaderName::from_static("x-frame-options"), "DENY"),
    (HeaderName::from_static("referrer-policy"), "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
];

/// The body of a response that is not 2xx.
#[derive(Serialize)]
struct Problem<'a> {
    error: &'a str,
    /// With 401: the next challenge.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<&'a str>,
}

/// A file of the page.
pub(super) fn file(file: &File) -> Reply {
    response(StatusCode::OK, file.content_type, Bytes::from_static(file.content))
}

/// `value` as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(value).unwrap_or_default();
    response(status, "application/json", printable::escape_json(body).into())
}

/// An error.
pub(super) fn problem(status: StatusCode, error: &str) -> Reply {
    json(status, &Problem { error, challenge: None })
}

/// The response 401. Its challenge is in the body. With a `Digest` challenge in the header, a browser would ask for the password, and use
/// it for requests of other pages from then on.
pub(super) fn unauthorized(error: &str, challenge: &str) -> Reply {
    let mut reply = json(StatusCode::UNAUTHORIZED, &Problem { error, challenge: Some(challenge) });
    // RFC 9110 11.6.1: one is required.
    reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Frontdesk"));
    reply
}

/// 405 with Allow.
pub(super) fn not_allowed(allow: &'static str) -> Reply {
    let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "this path needs another method: see Allow");
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}
