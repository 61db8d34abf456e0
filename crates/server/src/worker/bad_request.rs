//! The 400 to a request over a stream without a usable Content-Length: its end is unknown, so it never becomes a
//! message for the core (RFC 3261 18.3, 21.4.1).
//!
//! Decides whether enough of it is readable for a response.

use bytes::Bytes;
use location::Flow;
use parser::{Message, Method, ParseError, Reply, Stamp, can_answer};

/// The response; empty if there can be none.
pub(crate) fn write(head: Bytes, flow: &Flow, error: ParseError) -> Vec<u8> {
    let mut out = Vec::new();
    let Ok(request) = Message::parse(head) else { return out };
    // RFC 3261 17.1.1.3: an ACK is never answered.
    if !request.is_request() || matches!(request.method(), Method::Ack) || !can_answer(&request) {
        return out;
    }
    let stamp = Stamp { received: Some(flow.remote.ip()), rport: Some(flow.remote.port()), rport_at: None };
    // RFC 3261 8.2.6.2: the To tag does not matter, since no dialog is created.
    let reason = error.reason().to_string();
    Reply::new(&mut out, &request, 400, reason.as_bytes(), stamp, Some(b"unread")).finish();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response_to(head: &'static str) -> String {
        let flow = Flow {
            transport: parser::Transport::Tcp,
            remote: ([192, 0, 2, 7], 40_000).into(),
            local: ([192, 0, 2, 1], 5060).into(),
            id: location::ConnectionId::FIRST.into(),
        };
        let error = parser::Framer::new(1000).next(head.as_bytes()).expect_err("no length");
        String::from_utf8(write(Bytes::from_static(head.as_bytes()), &flow, error)).expect("text")
    }

    const REST: &str = "Via: SIP/2.0/TCP a.example;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\n\
                        Call-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";

    #[test]
    fn a_request_without_length_is_answered() {
        let text = response_to(format!("OPTIONS sip:b@b SIP/2.0\r\n{REST}").leak());
        assert!(text.starts_with("SIP/2.0 400 ") && text.contains("Content-Length"), "{text}");
        assert!(text.contains("received=192.0.2.7"), "{text}");
    }

    #[test]
    fn other_messages_are_not_answered() {
        assert_eq!(response_to(format!("SIP/2.0 200 OK\r\n{REST}").leak()), "");
        assert_eq!(response_to(format!("ACK sip:b@b SIP/2.0\r\n{REST}").leak()), "");
        assert_eq!(response_to("OPTIONS sip:b@b SIP/2.0\r\nFrom: <sip:a@b>\r\n\r\n"), "");
    }
}
