//! The responses: files of the page, JSON, and errors with the next challenge.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::text::printable;
use crate::web::{self, File};

/// An HTTP response.
pub(super) type Reply = Response<Full<Bytes>>;

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
    response(StatusCode::OK, file.content_type(), Bytes::from_static(file.content))
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

/// The response 401. Its challenge is in the body. With a `Digest` challenge in the header, a browser would ask for the
/// password, and use it for requests of other pages from then on.
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
    web::add_headers(headers);
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    // It is ASCII.
    headers.extend(HeaderValue::try_from(web::policy("")).ok().map(|policy| (CONTENT_SECURITY_POLICY, policy)));
    reply
}
