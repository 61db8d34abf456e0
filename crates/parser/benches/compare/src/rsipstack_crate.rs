//! The same work with rsipstack: every header line is copied into a `String` and parsed on demand.

use bytes::Bytes;
use rsipstack::sip::{HasHeaders as _, Header, HeadersExt as _, SipMessage, ToTypedHeader as _, Uri, typed};

#[expect(dead_code, reason = "some parts are only found and typed")]
pub struct Needs {
    pub via: typed::Via,
    pub routes: Vec<typed::Route>,
    pub max_forwards: Option<u32>,
    pub from: typed::From,
    pub to: typed::To,
    pub call_id: String,
    pub cseq: typed::CSeq,
    pub contact: Option<typed::Contact>,
    pub content_length: Option<u32>,
}

pub fn parse(bytes: &Bytes) -> Option<(SipMessage, Needs)> {
    let message = SipMessage::try_from(bytes.clone()).ok()?;
    let content_length = |header: &Header| match header {
        Header::ContentLength(length) => length.value().trim().parse().ok(),
        _ => None,
    };
    let needs = Needs {
        via: message.top_via_header().ok()?.into_typed().ok()?,
        routes: message.typed_route_headers().ok()?,
        max_forwards: message.max_forwards_header().ok().and_then(|hops| hops.value().trim().parse().ok()),
        from: message.from_header().ok()?.typed().ok()?,
        to: message.to_header().ok()?.typed().ok()?,
        call_id: message.call_id_header().ok()?.value().to_owned(),
        cseq: message.cseq_header().ok()?.typed().ok()?,
        contact: message.contact_header().ok().map(|contact| contact.typed()).transpose().ok()?,
        content_length: message.headers().iter().find_map(content_length),
    };
    Some((message, needs))
}

pub fn rewrite(bytes: &Bytes) -> Option<Vec<u8>> {
    let (mut message, needs) = parse(bytes)?;
    if let SipMessage::Request(request) = &mut message {
        request.uri = Uri::try_from(crate::TARGET).ok()?;
        request.headers.remove_first(|header| matches!(header, Header::Route(_)));
        let hops = needs.max_forwards?.saturating_sub(1);
        request.max_forwards_header_mut().ok()?.replace(hops.to_string());
        request.headers.push_front(Header::RecordRoute(crate::RECORD_ROUTE.into()));
        request.headers.push_front(Header::Via(crate::VIA.into()));
    } else {
        message.headers_mut().remove_first(|header| matches!(header, Header::Via(_)));
    }
    Some(message.to_bytes())
}
