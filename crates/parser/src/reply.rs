//! A response made here (RFC 3261 8.2.6): which headers of the request it repeats and in which order. Decides no status;
//! repeats the request's values as they came, good or bad, because the peer matches on them.

use memchr::memchr;

use crate::{Header as _, HeaderName, Message, Stamp, To, list::Elements, octets::write_decimal};

/// Whether the request says where an answer goes: it has a Via. Of the other lines that a response repeats, a missing
/// one is what the answer is about (RFC 4475 3.3.1).
pub fn can_answer(request: &Message) -> bool {
    request.value(HeaderName::Via).is_some_and(|value| !value.is_empty())
}

/// A response under construction at the end of a caller's buffer. Dropped without [`Reply::finish`] it leaves half a
/// response there.
#[derive(Debug)]
#[must_use = "a reply is complete only after finish"]
pub struct Reply<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Reply<'o> {
    /// Appends the status line and what RFC 3261 8.2.6.2 repeats of `request`: all Via, the top one with `stamp`; From; To,
    /// with `to_tag` if it has no tag; Call-ID; CSeq; and the Timestamp in a 100 (8.2.6.1).
    pub fn new(
        out: &'o mut Vec<u8>,
        request: &Message,
        status: u16,
        reason: &[u8],
        stamp: Stamp,
        to_tag: Option<&[u8]>,
    ) -> Self {
        out.extend_from_slice(b"SIP/2.0 ");
        write_decimal(out, status);
        out.push(b' ');
        out.extend_from_slice(reason);
        out.extend_from_slice(b"\r\n");
        let mut reply = Self { out };
        reply.repeat_vias(request, stamp);
        reply.repeat(request, HeaderName::From);
        if let Some(to) = request.value(HeaderName::To) {
            reply.header(HeaderName::To, |out| {
                out.extend_from_slice(to);
                if let Some(tag) = to_tag.filter(|_| !has_tag(to)) {
                    out.extend_from_slice(b";tag=");
                    out.extend_from_slice(tag);
                }
            });
        }
        reply.repeat(request, HeaderName::CallId);
        reply.repeat(request, HeaderName::CSeq);
        if status == 100 {
            reply.repeat(request, HeaderName::Timestamp);
        }
        reply
    }

    /// Appends one header line; `value` appends its value.
    #[inline(always)] // Else its name is looked up each time.
    pub fn header(&mut self, name: HeaderName, value: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(name.as_str().as_bytes());
        self.out.extend_from_slice(b": ");
        value(self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    /// How many octets the buffer has by now.
    pub fn end(&self) -> usize {
        self.out.len()
    }

    /// Ends the response: no body.
    pub fn finish(self) {
        self.out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    }

    #[inline(always)]
    fn repeat(&mut self, request: &Message, name: HeaderName) {
        if let Some(value) = request.value(name) {
            self.header(name, |out| out.extend_from_slice(value));
        }
    }

    fn repeat_vias(&mut self, request: &Message, stamp: Stamp) {
        let mut stamped = false;
        for value in request.line_values(HeaderName::Via) {
            // The top Via is the first element of the first line that has one.
            let top = if stamped { None } else { Elements::new(value).next() };
            stamped |= top.is_some();
            self.header(HeaderName::Via, |out| match top.and_then(|top| value.strip_prefix(top).zip(Some(top))) {
                Some((rest, top)) => {
                    stamp.write(top, out);
                    out.extend_from_slice(rest);
                }
                None => out.extend_from_slice(value),
            });
        }
    }
}

/// Whether a To has a tag; of one that cannot be parsed, whether it seems to.
fn has_tag(to: &[u8]) -> bool {
    // Most have no parameters at all, and need no parsing to see it.
    let Some(params) = memchr(b';', to).and_then(|at| to.get(at..)) else { return false };
    if !params.windows(3).any(|part| part.eq_ignore_ascii_case(b"tag")) {
        return false;
    }
    match To::parse(to) {
        Ok(to) => to.address.params.has("tag"),
        Err(_) => to.windows(4).any(|part| part.eq_ignore_ascii_case(b";tag")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const REQUEST: &[u8] = b"OPTIONS sip:a SIP/2.0\r\n\
        v: SIP/2.0/UDP a;rport;branch=z1 , SIP/2.0/UDP b\r\nTimestamp: 54\r\nX: y\r\nVia: ;;bad\r\n\
        t: \"T\r\n o\" <sip:t>\r\nf: sip:f;tag=1\r\ni: c@d\r\nCSeq: 9 OPTIONS\r\n\r\n";

    fn reply(request: &[u8], status: u16, reason: &[u8]) -> String {
        let request = Message::parse(Bytes::copy_from_slice(request)).unwrap();
        let mut out = Vec::new();
        let stamp = Stamp { received: Some("192.0.2.1".parse().unwrap()), rport: Some(9) };
        let mut reply =
            Reply::new(&mut out, &request, status, reason, stamp, Some(&b"mine"[..]).filter(|_| status > 100));
        reply.header(HeaderName::Server, |out| out.extend_from_slice(b"x"));
        reply.finish();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn repeats_what_the_peer_matches_on() {
        assert_eq!(
            reply(REQUEST, 480, b"Temporarily Unavailable"),
            "SIP/2.0 480 Temporarily Unavailable\r\n\
             Via: SIP/2.0/UDP a;rport=9;branch=z1;received=192.0.2.1 , SIP/2.0/UDP b\r\nVia: ;;bad\r\n\
             From: sip:f;tag=1\r\nTo: \"T\r\n o\" <sip:t>;tag=mine\r\nCall-ID: c@d\r\nCSeq: 9 OPTIONS\r\n\
             Server: x\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn trying_repeats_the_timestamp() {
        let text = reply(REQUEST, 100, b"Trying");
        assert!(text.contains("CSeq: 9 OPTIONS\r\nTimestamp: 54\r\n") && text.contains("To: \"T\r\n o\" <sip:t>\r\n"));
    }

    #[test]
    fn a_tag_is_never_doubled() {
        for to in ["<sip:t>;tag=a", "sip:t;TAG=a", "sip:t;tag", "broken <sip:t;tag=a"] {
            let text = reply(format!("OPTIONS sip:a SIP/2.0\r\nTo: {to}\r\n\r\n").as_bytes(), 400, b"x");
            assert!(text.contains(&format!("To: {to}\r\n")), "{text}");
        }
    }

    #[test]
    fn only_what_says_where_it_came_from_can_be_answered() {
        let parse = |text: &[u8]| Message::parse(Bytes::copy_from_slice(text)).unwrap();
        assert!(can_answer(&parse(REQUEST)));
        for (name, answerable) in [("t:", true), ("f:", true), ("i:", true), ("CSeq:", true), ("v:", false)] {
            let text = std::str::from_utf8(REQUEST).unwrap().replace(name, "Gone:");
            let text = if answerable { text } else { text.replace("Via:", "Gone:") };
            assert_eq!(can_answer(&parse(text.as_bytes())), answerable, "{name}");
        }
    }
}
