//! Decides the form of every response: status, content type, and security headers for browsers. The handlers decide
//! the content.

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{self, Frame, SizeHint};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, SERVER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::guard::AccessDenied;
use crate::text::printable;
use crate::trace::LiveTrace;
use crate::web::{self, File};

/// An HTTP response.
pub(crate) type Reply = Response<Body>;

/// The body of a response.
#[derive(Debug)]
pub(crate) enum Body {
    /// All of it.
    Whole(Full<Bytes>),
    /// It has no end.
    Live(Box<LiveTrace>),
}

impl body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Live(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Live(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Live(body) => body.size_hint(),
        }
    }
}

/// The body of every response that is not 2xx.
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

/// An error.
pub(crate) fn problem(status: StatusCode, error: &str) -> Reply {
    json(status, &Problem { error: error.into() })
}

/// The response to a request that was refused by [`guard`](super::guard).
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

/// 405 with Allow.
pub(crate) fn not_allowed(allow: &'static str) -> Reply {
    let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "this path needs another method: see Allow");
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

/// A response with the headers that all responses have.
pub(crate) fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    with_body(status, kind, Body::Whole(Full::new(body.into())))
}

/// A live trace: one JSON object on each line.
pub(crate) fn live(trace: LiveTrace) -> Reply {
    with_body(StatusCode::OK, "application/x-ndjson", Body::Live(Box::new(trace)))
}

fn with_body(status: StatusCode, kind: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // The commands check it: another program may listen on the port.
    headers.insert(SERVER, HeaderValue::from_static("frontdesk"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    reply
}

/// A file of the page. Its policy allows only its own scripts, styles and API.
pub(crate) fn file(file: &File) -> Reply {
    let mut reply = response(StatusCode::OK, file.content_type(), file.content);
    if let Ok(policy) = HeaderValue::try_from(web::policy("")) {
        reply.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    reply
}

/// Plain text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// Prometheus' text format.
pub(crate) const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
