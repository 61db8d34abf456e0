//! The responses for the page, with the headers that make browsers enforce its limits.
//!
//! Decides what the page may connect to. The rest of its limits is in `crate::web`.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;

use super::files;
use super::websocket::WebSocket;
use crate::web;

/// The content of `/phone/config`.
#[derive(Serialize)]
struct PageConfig<'a> {
    websocket: Option<&'a str>,
    domain: &'a str,
}

/// The response to a GET request of this path; `None` if the path is not one of the page.
///
/// `domain` is the first domain of the configuration.
pub(crate) fn page(path: &str, websocket: &WebSocket, domain: &str) -> Option<Response<Full<Bytes>>> {
    let (content_type, content) = match path {
        "/phone/config" => ("application/json", config(websocket, domain)?),
        _ => files::find(path).map(|file| (file.content_type(), Bytes::from_static(file.content)))?,
    };
    let mut response = Response::new(Full::new(content));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    web::add_headers(headers);
    let permissions = HeaderValue::from_static("microphone=(self), camera=(), geolocation=()");
    headers.insert(HeaderName::from_static("permissions-policy"), permissions);
    let policy = web::policy(&format!(" {}", websocket.source()));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).ok()?);
    Some(response)
}

fn config(websocket: &WebSocket, domain: &str) -> Option<Bytes> {
    serde_json::to_vec(&PageConfig { websocket: websocket.url(), domain }).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn header<'a>(response: &'a Response<Full<Bytes>>, name: &str) -> &'a str {
        response.headers().get(name).expect(name).to_str().expect("text")
    }

    #[tokio::test]
    async fn the_page_and_its_files_are_served_and_nothing_else() {
        let types = [
            ("/phone", "text/html; charset=utf-8"),
            ("/phone/main.js", "text/javascript; charset=utf-8"),
            ("/phone/phone.css", "text/css; charset=utf-8"),
            ("/phone/icon.svg", "image/svg+xml"),
            ("/phone/config", "application/json"),
        ];
        for (path, content_type) in types {
            let response = page(path, &WebSocket::SameOrigin, "office.example").expect(path);
            assert_eq!(header(&response, "content-type"), content_type);
            assert_eq!(header(&response, "x-content-type-options"), "nosniff");
            assert!(!response.into_body().collect().await.expect("a body").to_bytes().is_empty());
        }
        for path in ["/", "/phone/", "/phone/index.html", "/phone/package.json", "/phone/mod.rs", "/phone/../phone", ""]
        {
            assert!(page(path, &WebSocket::SameOrigin, "office.example").is_none(), "{path}");
        }
    }

    #[tokio::test]
    async fn the_configuration_says_where_the_server_is() {
        let url = WebSocket::Url("ws://127.0.0.1:5080/".to_owned());
        for (websocket, expected) in [
            (WebSocket::SameOrigin, r#"{"websocket":"/","domain":"office.example"}"#),
            (url, r#"{"websocket":"ws://127.0.0.1:5080/","domain":"office.example"}"#),
            (WebSocket::Missing, r#"{"websocket":null,"domain":"office.example"}"#),
        ] {
            let response = page("/phone/config", &websocket, "office.example").expect("the configuration");
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(str::from_utf8(&body).expect("text"), expected);
        }
    }

    #[test]
    fn the_policy_allows_the_own_origin_and_the_websocket_only() {
        let policy = |websocket| {
            let response = page("/phone", &websocket, "").expect("the page");
            header(&response, "content-security-policy").to_owned()
        };
        assert!(!policy(WebSocket::SameOrigin).contains("unsafe"));
        assert!(policy(WebSocket::SameOrigin).contains("connect-src 'self' ; "));
        let url = |url: &str| policy(WebSocket::Url(url.to_owned()));
        assert!(url("wss://office.example:5443/").contains("connect-src 'self' wss://office.example:5443; "));
        assert!(url("ws://[::1]:5080/").contains("connect-src 'self' ws:; "));
    }
}
