//! The two requests that are derived from a sent INVITE: the ACK for a non-2xx response (RFC 3261 17.1.1.3) and the
//! CANCEL (9.1). Defines their content; when to send them is decided by the transaction.

use smallvec::SmallVec;

use crate::{CSeq, Header as _, HeaderName, Message, octets};

/// The parts of a sent INVITE that its ACK or CANCEL repeats.
#[derive(Debug)]
pub struct SentInvite<'a> {
    /// The Request-URI.
    pub uri: &'a [u8],
    /// The value of the top Via.
    pub via: &'a [u8],
    /// The values of the Route, in order.
    pub routes: SmallVec<[&'a [u8]; 2]>,
    /// The value of From, if it is not that of `message`.
    pub from: Option<&'a [u8]>,
    /// The CSeq number, if it is not that of `message`.
    pub sequence: Option<u32>,
    /// The INVITE as sent or as received: the source of From, To, Call-ID and CSeq.
    pub message: &'a Message,
}

impl<'a> SentInvite<'a> {
    /// For an INVITE that was sent exactly as `message`.
    pub fn as_is(message: &'a Message) -> Self {
        Self {
            uri: message.request_uri(),
            via: message.values(HeaderName::Via).next().unwrap_or_default(),
            routes: message.values(HeaderName::Route).collect(),
            from: None,
            sequence: None,
            message,
        }
    }
}

/// Appends the ACK for the non-2xx final `response` to an INVITE: its Request-URI, top Via, Routes, From, Call-ID and
/// CSeq number, and the response's To.
pub fn write_ack(sent: &SentInvite<'_>, response: &Message, out: &mut Vec<u8>) {
    let to = response.value(HeaderName::To).or_else(|| sent.message.value(HeaderName::To));
    head(b"ACK", sent, to, out);
    end(out);
}

/// Appends the CANCEL for an INVITE. `reason` is the value of a Reason header (RFC 3326).
pub fn write_cancel(sent: &SentInvite<'_>, reason: Option<&[u8]>, out: &mut Vec<u8>) {
    head(b"CANCEL", sent, sent.message.value(HeaderName::To), out);
    if let Some(reason) = reason {
        line(HeaderName::Reason, reason, out);
    }
    end(out);
}

fn head(method: &[u8], sent: &SentInvite<'_>, to: Option<&[u8]>, out: &mut Vec<u8>) {
    let SentInvite { uri, via, routes, from, sequence, message } = sent;
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(uri);
    out.extend_from_slice(b" SIP/2.0\r\n");
    if !via.is_empty() {
        line(HeaderName::Via, via, out);
    }
    for route in routes {
        line(HeaderName::Route, route, out);
    }
    line(HeaderName::MaxForwards, b"70", out);
    for (name, value) in [
        (HeaderName::From, from.or_else(|| message.value(HeaderName::From))),
        (HeaderName::To, to),
        (HeaderName::CallId, message.value(HeaderName::CallId)),
    ] {
        if let Some(value) = value {
            line(name, value, out);
        }
    }
    let cseq = message.value(HeaderName::CSeq).and_then(|value| CSeq::parse(value).ok());
    if let Some(cseq) = cseq {
        out.extend_from_slice(b"CSeq: ");
        octets::write_decimal(out, sequence.unwrap_or(cseq.number));
        out.push(b' ');
        out.extend_from_slice(method);
        out.extend_from_slice(b"\r\n");
    }
}

fn line(name: HeaderName, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn parse(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    const INVITE: &str = "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP me;branch=z9hG4bK2, SIP/2.0/UDP a\r\n\
        Route: <sip:p;lr>, <sip:q;lr>\r\nRoute: <sip:r;lr>\r\nMax-Forwards: 9\r\nTo: <sip:b>\r\nFrom: <sip:a>;tag=1\r\n\
        Call-ID: c\r\nCSeq: 0042 INVITE\r\nContact: <sip:a>\r\nContent-Length: 4\r\n\r\nbody";

    #[test]
    fn an_ack_has_the_to_of_the_response() {
        let mut out = Vec::new();
        write_ack(
            &SentInvite::as_is(&parse(INVITE)),
            &parse("SIP/2.0 486 Busy Here\r\nTo: <sip:b>;tag=2\r\n\r\n"),
            &mut out,
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ACK sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP me;branch=z9hG4bK2\r\nRoute: <sip:p;lr>\r\nRoute: <sip:q;lr>\r\n\
             Route: <sip:r;lr>\r\nMax-Forwards: 70\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\nCall-ID: c\r\n\
             CSeq: 42 ACK\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_cancel_repeats_the_request_and_may_have_a_reason() {
        let mut out = Vec::new();
        write_cancel(
            &SentInvite::as_is(&parse(INVITE)),
            Some(b"SIP;cause=200;text=\"Call completed elsewhere\""),
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("CANCEL sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP me;branch=z9hG4bK2\r\nRoute:"), "{text}");
        let tail = "To: <sip:b>\r\nCall-ID: c\r\nCSeq: 42 CANCEL\r\n\
            Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\nContent-Length: 0\r\n\r\n";
        assert!(text.ends_with(tail), "{text}");
    }
}
