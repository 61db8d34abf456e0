//! The HTTP request that opens a WebSocket connection (RFC 6455 4.2, RFC 7118 4.1), and the web pages beside it.
//!
//! Decides what is answered to a request, by the rules in `client_rules`. hyper reads the request.
//! It is generic over the bytes below, so that it serves `ws` and `wss`. Its time is limited by the caller.
//! Must not read what follows the handshake.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tungstenite::handshake::derive_accept_key;

use super::client_rules::{ClientRules, Rules};
use super::directory::{ConnectionPermit, Directory};
use crate::defence::Defence;
use crate::phone::{self, WebSocket};

/// The largest head of a request: browsers send about a kilobyte. hyper accepts no less.
const MAX_HEAD: usize = 8 << 10;
const MAX_HEADERS: usize = 64;

/// RFC 7118 4.1
const SUBPROTOCOL: &str = "sip";

/// RFC 6455 4.1: a key is 16 octets in base64.
const KEY_LENGTH: usize = 24;

/// Answers requests for further pages: from the address of a client and a request. `None` if the path is not one of theirs.
pub(crate) type Pages = Arc<dyn Fn(IpAddr, Request<Incoming>) -> Option<PageReply> + Send + Sync>;

/// The response to a request for a page.
pub(crate) type PageReply = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

/// What the handshake of a client needs to know.
pub(super) struct Handshake<'a> {
    /// The address that the connection comes from.
    pub(super) peer: SocketAddr,
    /// Which clients may connect.
    pub(super) rules: &'a ClientRules,
    /// Limits the number of connections.
    pub(super) directory: &'a Arc<Directory>,
    /// Knows the banned addresses.
    pub(super) defence: &'a Defence,
    /// Answers requests for further pages.
    pub(super) pages: &'a Pages,
}

/// A connection after its handshake.
pub(super) struct Upgraded<T> {
    /// The connection.
    pub(super) io: T,
    /// What was received after the handshake.
    pub(super) received: Bytes,
    /// Its client.
    pub(super) client: Client,
}

/// The client of a WebSocket connection.
#[derive(Debug)]
pub(super) struct Client {
    /// Its address. Behind a reverse proxy with the port of the proxy.
    pub(super) remote: SocketAddr,
    /// Counts the connection for the client's address, if that is not the peer's.
    pub(super) permit: Option<ConnectionPermit>,
}

/// Why a connection did not become a WebSocket connection.
#[derive(Debug)]
pub(super) enum NotUpgraded {
    /// The client got a web page.
    Page,
    /// The client got an error.
    Refused,
    /// The connection failed, or what was received is not HTTP.
    Failed,
}

/// Answers the requests of a connection until one opens a WebSocket connection.
pub(super) async fn upgrade<T>(io: T, handshake: &Handshake<'_>) -> Result<Upgraded<T>, NotUpgraded>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let outcome = OnceLock::new();
    let service = service_fn(|request| async {
        let (mut response, end) = respond(request, handshake).await;
        if end.is_err() {
            // A connection that serves pages is not kept open: it would count as a handshake.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // Each connection has one request, so this is the first outcome.
        let _ = outcome.set(end);
        Ok::<_, Infallible>(response)
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let ended = http.serve_connection(TokioIo::new(io), service).without_shutdown().await;
    let (io, received) = match ended {
        // Copied, because the buffer of hyper would stay as long as the connection.
        Ok(parts) => (parts.io.into_inner(), Bytes::copy_from_slice(&parts.read_buf)),
        Err(error) => {
            tracing::debug!(%error, peer = %handshake.peer, "WebSocket handshake failed");
            return Err(NotUpgraded::Failed);
        }
    };
    let client = outcome.into_inner().unwrap_or(Err(NotUpgraded::Failed))?;
    Ok(Upgraded { io, received, client })
}

/// The response to a request, and what becomes of its connection.
async fn respond(request: Request<Incoming>, handshake: &Handshake<'_>) -> (Reply, Result<Client, NotUpgraded>) {
    let answer = match answer(&request, handshake) {
        Err(Refusal::NotWebSocket | Refusal::Method) => {
            let client = handshake.rules.read().client_behind(handshake.peer.ip(), request.headers());
            let refusal = if *request.method() == Method::GET { Refusal::NotWebSocket } else { Refusal::Method };
            match client.map(|client| (handshake.pages)(client, request)) {
                Some(Some(page)) => return (page.await, Err(NotUpgraded::Page)),
                Some(None) => Err(refusal),
                None => Err(UNREADABLE),
            }
        }
        answer => answer,
    };
    match answer {
        Ok(Answer::Upgrade(response, client)) => (response, Ok(client)),
        Ok(Answer::Page(response)) => (response, Err(NotUpgraded::Page)),
        Err(refusal) => {
            tracing::debug!(peer = %handshake.peer, "WebSocket handshake refused: {}", refusal.reason());
            (refusal.response(), Err(NotUpgraded::Refused))
        }
    }
}

type Reply = Response<Full<Bytes>>;

enum Answer {
    Upgrade(Reply, Client),
    Page(Reply),
}

/// Why a request is refused.
#[derive(Debug)]
enum Refusal {
    /// It is neither for a WebSocket connection nor for a page.
    NotWebSocket,
    /// Another method than GET.
    Method,
    /// RFC 6455 4.2.1
    Malformed(&'static str),
    /// RFC 6455 4.4
    Version,
    /// RFC 7118 4.1
    Subprotocol,
    /// `ws.origins`
    Origin,
    /// The client's address is banned.
    Banned,
    /// `limits.connections` or `limits.connections_per_source`, for a client behind a reverse proxy.
    Connections,
}

const UNREADABLE: Refusal = Refusal::Malformed("expected addresses in X-Forwarded-For");

fn answer<B: Body>(request: &Request<B>, handshake: &Handshake<'_>) -> Result<Answer, Refusal> {
    if request.method() != Method::GET {
        return Err(Refusal::Method);
    }
    if !has_token(request.headers(), header::UPGRADE, "websocket") {
        let page = phone::page(request.uri().path(), &WebSocket::SameOrigin, handshake.rules.read().domain());
        return page.map(Answer::Page).ok_or(Refusal::NotWebSocket);
    }
    let accept = check(request)?;
    let rules = handshake.rules.read();
    let client = client_of(request.headers(), handshake, &rules)?;
    if !rules.allows_page(request.headers(), client.remote.ip()) {
        return Err(Refusal::Origin);
    }
    handshake.defence.websocket_opened(client.remote, rules.is_foreign_page(request.headers()));
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
        .body(Full::default());
    response.map(|response| Answer::Upgrade(response, client)).map_err(|_| Refusal::Malformed("not a valid key"))
}

/// RFC 6455 4.2.1: returns the value of Sec-WebSocket-Accept.
fn check<B: Body>(request: &Request<B>) -> Result<String, Refusal> {
    let headers = request.headers();
    if request.version() < Version::HTTP_11 || !headers.contains_key(header::HOST) {
        return Err(Refusal::Malformed("expected HTTP/1.1 with Host"));
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(Refusal::Malformed("expected Connection: Upgrade"));
    }
    // Its end would be taken for frames.
    if !request.body().is_end_stream() {
        return Err(Refusal::Malformed("expected no body"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::Version);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_base64 = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/');
    if key.len() != KEY_LENGTH || !key.strip_suffix(b"==").is_some_and(|digits| digits.iter().all(is_base64)) {
        return Err(Refusal::Malformed("expected a Sec-WebSocket-Key of 16 octets"));
    }
    if !has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Err(Refusal::Subprotocol);
    }
    Ok(derive_accept_key(key))
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// The client, if its address may connect. That of the peer was checked when the connection was accepted.
fn client_of(headers: &HeaderMap, handshake: &Handshake<'_>, rules: &Rules) -> Result<Client, Refusal> {
    let peer = handshake.peer;
    let ip = rules.client_behind(peer.ip(), headers).ok_or(UNREADABLE)?;
    if ip == peer.ip() {
        return Ok(Client { remote: peer, permit: None });
    }
    if handshake.defence.is_banned(ip) {
        return Err(Refusal::Banned);
    }
    let permit = handshake.directory.admit(ip).map_err(|_| Refusal::Connections)?;
    Ok(Client { remote: SocketAddr::new(ip, peer.port()), permit: Some(permit) })
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NotWebSocket | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Malformed(_) | Self::Subprotocol => StatusCode::BAD_REQUEST,
            Self::Origin | Self::Banned => StatusCode::FORBIDDEN,
            Self::Connections => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn reason(&self) -> &'static str {
        match self {
            Self::NotWebSocket => "this address is for SIP over WebSocket (RFC 7118)",
            Self::Method => "expected GET",
            Self::Malformed(reason) => reason,
            Self::Version => "expected Sec-WebSocket-Version: 13",
            Self::Subprotocol => "expected Sec-WebSocket-Protocol: sip",
            Self::Origin => "pages of this origin may not connect",
            Self::Banned => "too many failures from this address",
            Self::Connections => "too many connections",
        }
    }

    fn response(&self) -> Reply {
        let mut response = Response::new(Full::from(format!("{}\n", self.reason())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self {
            Self::NotWebSocket | Self::Version => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            Self::Method => drop(headers.insert(header::ALLOW, HeaderValue::from_static("GET"))),
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use location::{AnyStore, MemoryStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::config::Config;

    const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                           Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                           Sec-WebSocket-Protocol: chat, sip\r\n";

    fn config(text: &str) -> Config {
        serde_yaml::from_str(text).expect("a configuration")
    }

    /// Sends this to a server with this configuration; returns its response and what it makes of the connection.
    async fn exchange(text: &str, request: &str) -> (String, Result<(SocketAddr, Bytes), NotUpgraded>) {
        let no_pages: Pages = Arc::new(|_, _| None);
        exchange_with(text, request, &no_pages).await
    }

    async fn exchange_with(
        text: &str,
        request: &str,
        pages: &Pages,
    ) -> (String, Result<(SocketAddr, Bytes), NotUpgraded>) {
        let config = config(text);
        let store = Arc::new(AnyStore::Memory(MemoryStore::new()));
        let (rules, defence) = (ClientRules::new(&config), Defence::new(&config, store));
        let (peer, directory) = (([192, 0, 2, 1], 40_000).into(), Arc::new(Directory::new(1, 1)));
        let handshake = Handshake { peer, rules: &rules, directory: &directory, defence: &defence, pages };
        let (mut client, server) = tokio::io::duplex(1 << 16);
        client.write_all(request.as_bytes()).await.expect("sent");
        let outcome = upgrade(server, &handshake).await;
        let outcome = outcome.map(|Upgraded { received, client, .. }| (client.remote, received));
        let mut response = String::new();
        client.read_to_string(&mut response).await.expect("a response");
        (response, outcome)
    }

    #[tokio::test]
    async fn the_example_of_the_rfc_is_accepted() {
        // RFC 6455 1.3
        let (response, outcome) = exchange("{}", &format!("{REQUEST}Origin: https://any.example\r\n\r\nframes")).await;
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        for line in ["upgrade: websocket", "connection: Upgrade", "sec-websocket-protocol: sip"] {
            assert!(response.lines().any(|own| own == line), "{response}");
        }
        assert!(response.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{response}");
        let (remote, received) = outcome.expect("a connection");
        assert_eq!((remote, &received[..]), (([192, 0, 2, 1], 40_000).into(), &b"frames"[..]));
    }

    #[tokio::test]
    async fn the_address_of_a_client_behind_a_proxy() {
        let request = format!("{REQUEST}X-Forwarded-For: 198.51.100.7\r\n\r\n");
        for (text, expected) in [
            ("{}", "192.0.2.1:40000"),
            ("trusted: [192.0.2.1]", "198.51.100.7:40000"),
            ("trusted: [198.51.100.7]", "192.0.2.1:40000"),
        ] {
            let (_, outcome) = exchange(text, &request).await;
            assert_eq!(outcome.expect("a connection").0.to_string(), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn further_pages_get_the_address_of_the_client() {
        let pages: Pages = Arc::new(|client, request| {
            let is_ours = request.uri().path() == "/me";
            let text = Full::from(format!("{} {client}", request.method()));
            is_ours.then(|| Box::pin(std::future::ready(Response::new(text))) as PageReply)
        });
        let request = |line: &str| format!("{line} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n");
        for (text, line, expected) in [
            ("trusted: [192.0.2.1]", "GET /me", "GET 198.51.100.7"),
            ("{}", "PUT /me", "PUT 192.0.2.1"),
            ("{}", "GET /you", "HTTP/1.1 426 "),
            ("{}", "PUT /phone", "HTTP/1.1 405 "),
        ] {
            let (response, outcome) = exchange_with(text, &request(line), &pages).await;
            assert!(response.contains(expected) && response.contains("connection: close"), "{line}: {response}");
            assert!(outcome.is_err());
        }
    }

    #[tokio::test]
    async fn what_is_not_http_gets_nothing_but_an_error() {
        for request in
            ["OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\r\n\r\n", "GET / HTTP/1.1\r\n"]
        {
            let (response, outcome) = exchange("{}", &format!("{request}{}", "x".repeat(2 * MAX_HEAD))).await;
            assert!(matches!(outcome, Err(NotUpgraded::Failed)), "{request} {response}");
        }
    }
}
