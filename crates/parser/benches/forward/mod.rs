//! The work of a forwarding proxy on a message, shared by all benchmarks and by the test that counts allocations:
//! parses what RFC 3261 16.3 to 16.7 need, and writes the forwarded message. Without routing.

#![allow(dead_code, reason = "each program that includes this file uses a part of it")]

use bytes::Bytes;
use parser::{
    CSeq, CallId, Contact, ContentLength, From, HeaderName, MaxForwards, Message, ParseError, Rewrite, Route, To, Uri,
    Via,
};

/// The octets of one message, and its name in the tables.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) octets: &'static [u8],
}

pub(crate) const REGISTER: Sample = Sample { name: "REGISTER", octets: include_bytes!("../messages/register.sip") };
pub(crate) const INVITE: Sample = Sample { name: "INVITE", octets: include_bytes!("../messages/invite.sip") };
pub(crate) const OK: Sample = Sample { name: "200, 5 Vias", octets: include_bytes!("../messages/ok.sip") };
pub(crate) const FORTY: Sample =
    Sample { name: "INVITE, 40 headers", octets: include_bytes!("../messages/invite_forty.sip") };
pub(crate) const ALL: [&Sample; 4] = [&REGISTER, &INVITE, &OK, &FORTY];

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Sample {
    /// The octets as reference-counted `Bytes`, as from a socket.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::from_static(self.octets)
    }

    /// The octets after the start line.
    pub(crate) fn header_lines(&self) -> &'static [u8] {
        let start_line = self.octets.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        self.octets.get(start_line..).unwrap_or_default()
    }
}

/// The typed headers that a proxy reads.
pub(crate) struct Needs<'a> {
    pub(crate) request_uri: Option<Uri<'a>>,
    pub(crate) via: Via<'a>,
    pub(crate) last_route: Option<Route<'a>>,
    pub(crate) max_forwards: Option<MaxForwards>,
    pub(crate) from: From<'a>,
    pub(crate) to: To<'a>,
    pub(crate) call_id: CallId<'a>,
    pub(crate) cseq: CSeq<'a>,
    pub(crate) contact: Option<Contact<'a>>,
    pub(crate) content_length: Option<ContentLength>,
}

/// Parses the headers that a proxy reads.
pub(crate) fn read(message: &Message) -> Result<Needs<'_>, ParseError> {
    let request_uri = if message.is_request() { Some(message.uri()?) } else { None };
    Ok(Needs {
        request_uri,
        via: message.required()?,
        last_route: message.headers::<Route<'_>>().try_fold(None, |_, route| route.map(Some))?,
        max_forwards: message.header()?,
        from: message.required()?,
        to: message.required()?,
        call_id: message.required()?,
        cseq: message.required()?,
        contact: message.header()?,
        content_length: message.header()?,
    })
}

/// Writes the forwarded message: of a request with new Request-URI, Via, Record-Route and Max-Forwards, and without the
/// first Route; of a response without the top Via.
pub(crate) fn write(message: &Message, needs: &Needs<'_>, rewrite: &mut Rewrite, out: &mut Vec<u8>) {
    rewrite.clear();
    out.clear();
    if needs.request_uri.is_none() {
        rewrite.remove_first(message, HeaderName::Via);
        return rewrite.write(message, out);
    }
    rewrite.replace(message.request_uri_span(), |out| out.extend_from_slice(b"sip:2077@192.0.2.77:5060;transport=udp"));
    rewrite.put_first(message, |out| {
        out.extend_from_slice(b"Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK41d8e07b93f2\r\n");
        out.extend_from_slice(b"Record-Route: <sip:198.51.100.7:5060;lr>\r\n");
    });
    let hops = needs.max_forwards.map_or(70, |MaxForwards(hops)| hops.saturating_sub(1));
    if let Some(value) = message.value(HeaderName::MaxForwards).and_then(|value| message.span_of(value)) {
        rewrite.replace(value, |out| decimal(hops, out));
    }
    rewrite.remove_first(message, HeaderName::Route);
    rewrite.write(message, out);
}

fn decimal(value: u8, out: &mut Vec<u8>) {
    if value >= 10 {
        decimal(value / 10, out);
    }
    out.push(b'0' + value % 10);
}
