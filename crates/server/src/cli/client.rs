//! Client of the running server's API, for the commands.
//!
//! Decides the server's address, and checks that the server is frontdesk: another program may listen on the port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, SERVER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::admin::Problem;
use crate::config::{Config, Endpoint};
use crate::error::{CliError, ClientError};

/// Timeout for a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Limit of a response: a thousand users with their phones.
const MAX_RESPONSE_SIZE: usize = 16 << 20;

/// A client of one server.
pub(crate) struct Client {
    address: SocketAddr,
    token: Option<Box<str>>,
}

impl Client {
    /// For the server of this configuration, or at `url`.
    pub(crate) fn new(config: &Config, url: Option<&str>) -> Result<Self, ClientError> {
        let address = match (url, config.metrics.listen) {
            (Some(url), _) => {
                let rest = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
                let address = rest.map(|rest| rest.replacen("localhost:", "127.0.0.1:", 1));
                address.and_then(|address| address.parse().ok()).ok_or(ClientError::InvalidUrl)?
            }
            (None, Endpoint::On(address)) if address.port() != 0 => with_loopback(address),
            (None, _) => return Err(ClientError::NoAddress),
        };
        Ok(Self { address, token: config.admin.token.as_ref().map(|token| token.0.clone()) })
    }

    /// Sends a request below `/api/v1/`. A 422 has a result too.
    pub(crate) fn request<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, CliError> {
        self.request_with(method, path, Bytes::new())
    }

    /// As [`Client::request`], with a body.
    pub(crate) fn request_with<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, CliError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(CliError::Thread)?;
        let answer = runtime.block_on(async {
            timeout(REQUEST_TIMEOUT, async { whole(self.send(method, path, body).await?).await }).await
        });
        let (status, body) = answer.ok().flatten().ok_or(ClientError::NoServer(self.address))?;
        if matches!(status, StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY) {
            return serde_json::from_slice(&body).map_err(|_| ClientError::NoServer(self.address).into());
        }
        Err(refused(status, &body))
    }

    /// Sends a GET request whose response has no end, and passes its lines on, until `line` fails or the server ends.
    pub(crate) fn lines(&self, path: &str, line: impl FnMut(&[u8]) -> Result<(), CliError>) -> Result<(), CliError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(CliError::Thread)?;
        runtime.block_on(self.read_lines(path, line))
    }

    async fn read_lines(
        &self,
        path: &str,
        mut line: impl FnMut(&[u8]) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let no_server = ClientError::NoServer(self.address);
        let answer = timeout(REQUEST_TIMEOUT, self.send(Method::GET, path, Bytes::new())).await;
        let Some(answer) = answer.ok().flatten() else { return Err(no_server.into()) };
        if answer.status() != StatusCode::OK {
            let (status, body) = whole(answer).await.ok_or(no_server)?;
            return Err(refused(status, &body));
        }
        let (mut body, mut unread) = (answer.into_body(), Vec::new());
        // The server sends an empty line every few seconds.
        while let Ok(Some(Ok(frame))) = timeout(REQUEST_TIMEOUT, body.frame()).await {
            unread.extend_from_slice(&frame.into_data().unwrap_or_default());
            while let Some(end) = unread.iter().position(|octet| *octet == b'\n') {
                let rest = unread.split_off(end + 1);
                line(unread.trim_ascii())?;
                unread = rest;
            }
            if unread.len() > MAX_RESPONSE_SIZE {
                break;
            }
        }
        Err(ClientError::Ended(self.address).into())
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Option<Response<Incoming>> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(format!("/api/v1/{path}"));
        request = request.header(HOST, self.address.to_string()).header("x-frontdesk", "cli");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = sender.send_request(request.body(Full::new(body)).ok()?).await.ok()?;
        answer.headers().get(SERVER).filter(|server| *server == "frontdesk")?;
        Some(answer)
    }
}

/// Reads a response to its end.
async fn whole(answer: Response<Incoming>) -> Option<(StatusCode, Bytes)> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_RESPONSE_SIZE).collect().await.ok()?.to_bytes();
    Some((status, body))
}

fn refused(status: StatusCode, body: &[u8]) -> CliError {
    let problem: Option<Problem<'_>> = serde_json::from_slice(body).ok();
    ClientError::Refused(status, problem.map(|problem| problem.error.into_owned()).unwrap_or_default()).into()
}

/// A server that listens on all addresses is reached over loopback.
fn with_loopback(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// Percent-encodes a path segment or query value (RFC 3986 2.1).
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(octet)),
            _ => out.push_str(&format!("%{octet:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_server_is_found() {
        let at = |text: &str, url: Option<&str>| {
            let config: Config = serde_yaml::from_str(text).expect("a configuration");
            Client::new(&config, url).ok().map(|client| client.address.to_string())
        };
        let here = Some("127.0.0.1:9090".to_owned());
        assert_eq!(at("domains: [a]", None), here);
        assert_eq!(at("metrics: { listen: \"0.0.0.0:9090\" }", None), here);
        assert_eq!(at("metrics: { listen: \"[::]:9090\" }", None), Some("[::1]:9090".to_owned()));
        assert_eq!(at("metrics: { listen: off }", None), None);
        assert_eq!(at("metrics: { listen: \"127.0.0.1:0\" }", None), None);
        assert_eq!(at("metrics: { listen: off }", Some("http://localhost:9090/")), here);
        for bad in ["127.0.0.1:9090", "https://127.0.0.1:9090", "http://127.0.0.1", "http://office.example:9090"] {
            assert_eq!(at("domains: [a]", Some(bad)), None, "{bad}");
        }
    }

    #[test]
    fn path_segments_are_encoded() {
        assert_eq!(percent_encoded("sip:a@b;x=1/2"), "sip%3Aa%40b%3Bx%3D1%2F2");
    }
}
