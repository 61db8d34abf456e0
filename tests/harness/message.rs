//! A SIP message of a test: a start line, headers in order, a body. RFC 3261 7.
//!
//! It does not use `crates/parser`, because a test must not check the program with the program's own parser. It is
//! strict about what the server sends and lets a test build any message, valid or not.

use std::fmt;

/// Compact header names (RFC 3261 7.3.3) that may occur in a forwarded message.
const COMPACT: [(&str, &str); 10] = [
    ("v", "Via"),
    ("f", "From"),
    ("t", "To"),
    ("m", "Contact"),
    ("i", "Call-ID"),
    ("l", "Content-Length"),
    ("c", "Content-Type"),
    ("s", "Subject"),
    ("k", "Supported"),
    ("e", "Content-Encoding"),
];

/// One message, sent or received.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Request line or status line.
    pub(crate) start: String,
    /// Name and value of each header line, in order, unfolded.
    pub(crate) headers: Vec<(String, String)>,
    /// The body's octets.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// A request with nothing but its first line.
    pub(crate) fn request(method: &str, uri: &str) -> Self {
        Self { start: format!("{method} {uri} SIP/2.0"), headers: Vec::new(), body: Vec::new() }
    }

    /// A response with nothing but its first line.
    pub(crate) fn response(status: u16, reason: &str) -> Self {
        Self { start: format!("SIP/2.0 {status} {reason}"), headers: Vec::new(), body: Vec::new() }
    }

    /// Reads one datagram; `None` if it is not SIP.
    pub(crate) fn parse(raw: &[u8]) -> Option<Self> {
        let end = find(raw, b"\r\n\r\n")?;
        let (head, body) = raw.split_at(end + 4);
        let head = std::str::from_utf8(head).ok()?.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut lines = head.trim_end().split("\r\n");
        let start = lines.next()?.to_owned();
        if !start.starts_with("SIP/2.0 ") && !start.ends_with(" SIP/2.0") {
            return None;
        }
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            headers.push((long(name.trim()).to_owned(), value.trim().to_owned()));
        }
        let mut message = Self { start, headers, body: body.to_vec() };
        if let Some(length) = message.find("Content-Length").and_then(|value| value.parse().ok()) {
            message.body.truncate(length);
        }
        Some(message)
    }

    /// Cuts the first whole message off a stream's bytes (RFC 3261 18.3); keep-alive CRLFs before it are dropped.
    pub(crate) fn cut(stream: &mut Vec<u8>) -> Option<Self> {
        let blank = stream.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
        let head = blank + find(&stream[blank..], b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&stream[blank..head]).expect("a head in UTF-8");
        let length = text
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| long(name.trim()).eq_ignore_ascii_case("Content-Length"))
            .map_or(0, |(_, value)| value.trim().parse().expect("a Content-Length in digits"));
        if stream.len() < head + length {
            return None;
        }
        let message = Self::parse(&stream[blank..head + length]);
        stream.drain(..head + length);
        Some(message.expect("a SIP message on the stream"))
    }

    /// Adds a header line at the end.
    pub(crate) fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds a header line in front of all others.
    pub(crate) fn with_first(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.insert(0, (name.to_owned(), value.to_string()));
        self
    }

    /// Takes all lines of a header away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces all lines of a header by one.
    pub(crate) fn set(self, name: &str, value: impl fmt::Display) -> Self {
        self.without(name).with(name, value)
    }

    /// Copies all lines of a header from another message.
    pub(crate) fn copy(mut self, from: &Self, name: &str) -> Self {
        let lines = from.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        self.headers.extend(lines.cloned());
        self
    }

    /// Gives it a body.
    pub(crate) fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.set("Content-Type", kind)
    }

    /// The octets to send. A Content-Length is added if the test set none.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.find("Content-Length").is_none() {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The status code; `None` for a request.
    pub(crate) fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.split(' ').next()?.parse().ok()
    }

    /// The reason phrase of a response.
    pub(crate) fn reason(&self) -> &str {
        self.start.splitn(3, ' ').nth(2).unwrap_or_default()
    }

    /// The method of a request; of a response the one in its CSeq.
    pub(crate) fn method(&self) -> &str {
        if self.status().is_some() {
            return self.header("CSeq").split_whitespace().nth(1).unwrap_or_default();
        }
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The Request-URI.
    pub(crate) fn uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The first line of a header, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first line of a header that must be there.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no {name} in\n{self}"))
    }

    /// Every element of a header that is a comma list, over all its lines.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        lines.flat_map(|(_, value)| elements(value)).collect()
    }

    /// The branch of the topmost Via.
    #[track_caller]
    pub(crate) fn branch(&self) -> &str {
        let via = self.list("Via").first().copied().unwrap_or_else(|| panic!("no Via in\n{self}"));
        param(via, "branch").unwrap_or_else(|| panic!("no branch in the top Via of\n{self}"))
    }

    /// The tag of a From or To.
    pub(crate) fn tag(&self, name: &str) -> Option<&str> {
        param(self.header(name), "tag")
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.bytes()))
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

/// The value of a header or URI parameter, outside any `<...>`; an empty string if it has none.
pub(crate) fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let outside = value.rfind('>').map_or(value, |end| &value[end + 1..]);
    outside.split(';').skip(1).find_map(|item| {
        let (own, value) = item.split_once('=').unwrap_or((item, ""));
        own.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// The URI of a name-addr or addr-spec.
pub(crate) fn uri(value: &str) -> &str {
    // A parameter after it may contain another one, as `+sip.instance="<urn:uuid:…>"`.
    match value.split_once('<').and_then(|(_, rest)| rest.split_once('>')) {
        Some((uri, _)) => uri,
        _ => value.split(';').next().unwrap_or_default().trim(),
    }
}

/// Splits at the commas that stand outside quotes and angle brackets.
fn elements(value: &str) -> Vec<&str> {
    let (mut quoted, mut angle, mut start, mut parts) = (false, false, 0, Vec::new());
    for (at, octet) in value.bytes().enumerate() {
        match octet {
            b'"' => quoted = !quoted,
            b'<' if !quoted => angle = true,
            b'>' if !quoted => angle = false,
            b',' if !quoted && !angle => {
                parts.push(value[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(value[start..].trim());
    parts
}

fn long(name: &str) -> &str {
    COMPACT.iter().find(|(compact, _)| name.eq_ignore_ascii_case(compact)).map_or(name, |(_, long)| long)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The ACK of a final response other than 2xx: same branch, one Via (RFC 3261 17.1.1.3).
pub(crate) fn ack_of(invite: &Message, response: &Message) -> Message {
    let number = invite.header("CSeq").split(' ').next().unwrap_or_default().to_owned();
    hop_by_hop(invite, "ACK", &number).copy(response, "To").copy(invite, "Route")
}

/// The CANCEL of an INVITE: same branch, one Via (RFC 3261 9.1).
pub(crate) fn cancel_of(invite: &Message) -> Message {
    let number = invite.header("CSeq").split(' ').next().unwrap_or_default().to_owned();
    hop_by_hop(invite, "CANCEL", &number).copy(invite, "To").copy(invite, "Route")
}

fn hop_by_hop(invite: &Message, method: &str, number: &str) -> Message {
    let via = invite.list("Via").first().copied().unwrap_or_default().to_owned();
    Message::request(method, invite.uri())
        .with("Via", via)
        .with("Max-Forwards", 70)
        .copy(invite, "From")
        .copy(invite, "Call-ID")
        .with("CSeq", format!("{number} {method}"))
}
