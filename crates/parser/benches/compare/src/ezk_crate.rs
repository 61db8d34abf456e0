//! The same work with ezk-sip-types, in the way of its endpoint: lines are pulled, collected by name, and parsed on
//! demand.

use std::io::Write as _;

use bytes::Bytes;
use ezk_sip_types::{
    Headers, Name,
    header::typed::{CSeq, CallID, Contact, ContentLength, FromTo, MaxForwards, Routing, Via},
    msg::{Line, MessageLine, PullParser},
    parse::Parse as _,
    print::AppendCtx as _,
    uri::SipUri,
};

pub struct Message {
    pub line: MessageLine,
    pub headers: Headers,
    pub body: Bytes,
}

#[expect(dead_code, reason = "some parts are only found and typed")]
pub struct Needs {
    pub via: Via,
    pub routes: Vec<Routing>,
    pub max_forwards: Option<MaxForwards>,
    pub from: FromTo,
    pub to: FromTo,
    pub call_id: CallID,
    pub cseq: CSeq,
    pub contact: Option<Contact>,
    pub content_length: Option<ContentLength>,
}

pub fn parse(bytes: &Bytes) -> Option<(Message, Needs)> {
    let mut lines = PullParser::new(bytes, 0);
    let first = std::str::from_utf8(lines.next()?.ok()?).ok()?;
    let (_, line) = MessageLine::parse(bytes)(first).ok()?;
    let mut headers = Headers::new();
    for line in &mut lines {
        let (_, line) = Line::parse(bytes, std::str::from_utf8(line.ok()?).ok()?).ok()?;
        headers.insert(line.name, line.value);
    }
    let body = bytes.slice(lines.head_end()..);
    let needs = Needs {
        via: headers.get_named().ok()?,
        routes: headers.try_get(Name::ROUTE).transpose().ok()?.unwrap_or_default(),
        max_forwards: headers.try_get_named().transpose().ok()?,
        from: headers.get(Name::FROM).ok()?,
        to: headers.get(Name::TO).ok()?,
        call_id: headers.get_named().ok()?,
        cseq: headers.get_named().ok()?,
        contact: headers.try_get_named().transpose().ok()?,
        content_length: headers.try_get_named().transpose().ok()?,
    };
    Some((Message { line, headers, body }, needs))
}

pub fn rewrite(bytes: &Bytes) -> Option<Vec<u8>> {
    let (Message { mut line, mut headers, body }, needs) = parse(bytes)?;
    if let MessageLine::Request(request) = &mut line {
        request.uri = crate::TARGET.parse::<SipUri>().ok()?;
        let routes = headers.remove(&Name::ROUTE).unwrap_or_default();
        routes.into_iter().skip(1).for_each(|route| headers.insert(Name::ROUTE, route));
        headers.remove(&Name::MAX_FORWARDS);
        headers.insert_named(&MaxForwards(needs.max_forwards?.0.saturating_sub(1)));
        prepend(&mut headers, Name::RECORD_ROUTE, crate::RECORD_ROUTE);
        prepend(&mut headers, Name::VIA, crate::VIA);
    } else {
        let vias = headers.remove(&Name::VIA).unwrap_or_default();
        vias.into_iter().skip(1).for_each(|via| headers.insert(Name::VIA, via));
    }
    let mut out = Vec::new();
    write!(out, "{}\r\n{headers}\r\n", line.default_print_ctx()).ok()?;
    out.extend_from_slice(&body);
    Some(out)
}

/// Inserts `value` before the other values of its name.
fn prepend(headers: &mut Headers, name: Name, value: &'static str) {
    let others = headers.remove(&name).unwrap_or_default();
    headers.insert_front(name.clone(), bytesstr::BytesStr::from_static(value));
    others.into_iter().for_each(|other| headers.insert(name.clone(), other));
}
