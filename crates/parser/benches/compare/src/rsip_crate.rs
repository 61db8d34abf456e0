//! The same work with rsip: every header line is copied into a `String` and parsed on demand.

use bytes::Bytes;
use rsip::{
    Header, Headers, SipMessage,
    headers::{
        UntypedHeader as _,
        untyped::{ContentLength, ToTypedHeader as _},
    },
    message::{HasHeaders as _, HeadersExt as _},
    typed,
};

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
    let headers = message.headers();
    let routes = headers.iter().filter_map(|header| match header {
        Header::Route(route) => Some(route.typed()),
        _ => None,
    });
    let content_length = |header: &Header| match header {
        Header::ContentLength(length) => ContentLength::length(length).ok(),
        _ => None,
    };
    let needs = Needs {
        via: message.via_header().ok()?.typed().ok()?,
        routes: routes.collect::<Result<_, _>>().ok()?,
        max_forwards: message.max_forwards_header().ok().and_then(|hops| hops.num().ok()),
        from: message.from_header().ok()?.typed().ok()?,
        to: message.to_header().ok()?.typed().ok()?,
        call_id: message.call_id_header().ok()?.value().to_owned(),
        cseq: message.cseq_header().ok()?.typed().ok()?,
        // It does not support quoted strings in parameters; such a Contact is not parsed.
        contact: message.contact_header().ok().and_then(|contact| contact.typed().ok()),
        content_length: headers.iter().find_map(content_length),
    };
    Some((message, needs))
}

pub fn rewrite(bytes: &Bytes) -> Option<Vec<u8>> {
    let (mut message, needs) = parse(bytes)?;
    let mut lines: Vec<Header> = std::mem::take(message.headers_mut()).into();
    if let SipMessage::Request(request) = &mut message {
        request.uri = rsip::Uri::try_from(crate::TARGET).ok()?;
        let first = |header: &Header| matches!(header, Header::Route(_));
        if let Some(route) = lines.iter().position(first) {
            lines.remove(route);
        }
        for line in &mut lines {
            if let Header::MaxForwards(hops) = line {
                *hops = needs.max_forwards?.saturating_sub(1).into();
            }
        }
        lines.insert(0, Header::RecordRoute(crate::RECORD_ROUTE.into()));
        lines.insert(0, Header::Via(crate::VIA.into()));
    } else if let Some(via) = lines.iter().position(|header| matches!(header, Header::Via(_))) {
        lines.remove(via);
    }
    *message.headers_mut() = Headers::from(lines);
    Some(Bytes::from(message).to_vec())
}
