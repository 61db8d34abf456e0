//! One HTTP request and its whole response, as far as the tests need it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// A response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// 100..=599.
    pub(crate) status: u16,
    /// The lines before the body, as they came.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }

    /// The value of a header; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

/// `GET` with the usual headers.
#[track_caller]
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n"))
}

/// `GET`; `None` if nobody answers yet.
pub(crate) fn try_get(address: SocketAddr, path: &str) -> Option<Answer> {
    TcpStream::connect(address).ok()?;
    Some(get(address, path))
}

/// A request that changes something, with the header that such requests need.
#[track_caller]
pub(crate) fn change(address: SocketAddr, method: &str, path: &str) -> Answer {
    send(address, &format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nX-Frontdesk: test\r\n"))
}

/// `PUT` with a JSON body.
#[track_caller]
pub(crate) fn put(address: SocketAddr, path: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("PUT {path} HTTP/1.1\r\nHost: {address}\r\nX-Frontdesk: test\r\nContent-Length: {length}\r\n");
    send_with(address, &head, body)
}

/// Sends a head (without the empty line) and reads to the end.
#[track_caller]
pub(crate) fn send(address: SocketAddr, head: &str) -> Answer {
    send_with(address, head, "")
}

/// The same with a body.
#[track_caller]
pub(crate) fn send_with(address: SocketAddr, head: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the HTTP address answers");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8(answer).expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
