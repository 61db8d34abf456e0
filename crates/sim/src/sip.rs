//! SIP messages as the agents read and write them: a start line, header lines, a body.
//!
//! It does not use the crate `parser`, so that an error of the parser cannot hide itself. It keeps each line unchanged,
//! so that a test can compare octet by octet.

use std::fmt::{self, Display};

/// A SIP message.
#[derive(Clone, PartialEq, Eq)]
pub struct Sip {
    /// The start line, without CRLF.
    pub start: String,
    lines: Vec<String>,
    /// The body.
    pub body: String,
}

impl Sip {
    /// A message with this start line and nothing else.
    pub fn new(start: impl Into<String>) -> Self {
        Self { start: start.into(), lines: Vec::new(), body: String::new() }
    }

    /// Splits a message into its lines. Accepts anything.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n").map(str::to_owned);
        let start = lines.next().unwrap_or_default();
        Self { start, lines: lines.collect(), body: body.to_owned() }
    }

    /// The request with another Request-URI.
    pub fn to(mut self, uri: impl Display) -> Self {
        self.start = format!("{} {uri} SIP/2.0", self.what());
        self
    }

    /// The message with one more line of this header, at the end.
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.lines.push(format!("{name}: {value}"));
        self
    }

    /// The message with this header as its first line.
    pub fn with_first(mut self, name: &str, value: impl Display) -> Self {
        self.lines.insert(0, format!("{name}: {value}"));
        self
    }

    /// The message with this value in place of the header's first, at the same place.
    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        let line = format!("{name}: {value}");
        match self.lines.iter_mut().find(|old| value_of(old, name).is_some()) {
            Some(old) => *old = line,
            None => self.lines.push(line),
        }
        self
    }

    /// The message without any line of this header.
    pub fn without(mut self, name: &str) -> Self {
        self.lines.retain(|line| value_of(line, name).is_none());
        self
    }

    /// The message without the first line of this header.
    pub fn without_first(mut self, name: &str) -> Self {
        if let Some(index) = self.lines.iter().position(|line| value_of(line, name).is_some()) {
            self.lines.remove(index);
        }
        self
    }

    /// The message with this body and its length in Content-Length.
    pub fn with_body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        let length = self.body.len();
        self.set("Content-Length", length)
    }

    /// The first value of a header; empty if it is missing.
    pub fn value<'a>(&'a self, name: &'a str) -> &'a str {
        self.values(name).next().unwrap_or_default()
    }

    /// The value of each line of a header.
    pub fn values<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> + use<'a> {
        self.lines.iter().filter_map(move |line| value_of(line, name))
    }

    /// The header lines, unchanged.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Whether there is a line of this header.
    pub fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The method of a request, or the status code of a response as text.
    pub fn what(&self) -> &str {
        let word = if self.is_request() { 0 } else { 1 };
        self.start.split(' ').nth(word).unwrap_or_default()
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        !self.start.starts_with("SIP/2.0")
    }

    /// The Request-URI of a request, or the status code of a response.
    pub fn uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The reason phrase.
    pub fn reason(&self) -> &str {
        self.start.splitn(3, ' ').nth(2).unwrap_or_default()
    }

    /// The status code of a response.
    pub fn status(&self) -> Option<u16> {
        if self.is_request() { None } else { self.what().parse().ok() }
    }

    /// The method in CSeq.
    pub fn method(&self) -> &str {
        self.value("CSeq").split(' ').nth(1).unwrap_or_default()
    }

    /// A parameter of the first value of a header, after its `>` if it has one.
    pub fn param<'a>(&'a self, header: &'a str, name: &str) -> Option<&'a str> {
        param(self.value(header), name)
    }

    /// The branch of the top Via.
    pub fn branch(&self) -> &str {
        self.param("Via", "branch").unwrap_or_default()
    }

    /// The branch of the Via below the top one.
    pub fn branch_below(&self) -> Option<&str> {
        self.values("Via").nth(1).and_then(|via| param(via, "branch"))
    }

    /// The tag in To.
    pub fn to_tag(&self) -> &str {
        self.param("To", "tag").unwrap_or_default()
    }

    /// The value of a header that is a number.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.values(name).next()?.parse().ok()
    }

    /// The message as it is sent.
    pub fn bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl Display for Sip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\r\n", self.start)?;
        for line in &self.lines {
            write!(f, "{line}\r\n")?;
        }
        write!(f, "\r\n{}", self.body)
    }
}

impl fmt::Debug for Sip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// A parameter of a header value.
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let params = value.rsplit_once('>').map_or(value, |(_, params)| params);
    params.split(';').skip(1).find_map(|param| {
        let (key, value) = param.trim().split_once('=').unwrap_or_else(|| (param.trim(), ""));
        (key == name).then_some(value)
    })
}

/// The URI of a header value like `"Bob" <sip:bob@192.0.2.12>;tag=1`.
pub fn uri_in(value: &str) -> &str {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
        None => value.split(';').next().unwrap_or_default(),
    }
}

fn value_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = line.split_at_checked(name.len())?;
    let value = key.eq_ignore_ascii_case(name).then(|| value.trim_start().strip_prefix(':'))??;
    Some(value.trim())
}
