//! Responses over UDP to an unauthenticated sender: none is longer than three times its request.
//!
//! The source of a datagram can be forged, and the owner of that address gets the response.

use std::time::Duration;

use crate::harness::server::CLOSED;
use crate::harness::{Phone, Server};

const FACTOR: usize = 3;

/// A request with as few octets as possible.
fn smallest(method: &str, uri: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nf:<sip:a@b>\r\nt:<{uri}>\r\ni:1\r\nCSeq:1 {method}\r\n{more}\r\n"
    )
}

#[test]
fn no_response_is_longer_than_three_times_its_request() {
    let server = Server::start(CLOSED);
    let user = "sip:bob@office.example";
    let tags = vec!["a"; 700].join(",");
    for (status, request) in [
        (400, "A b SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\n\r\n".to_owned()),
        (401, smallest("REGISTER", "sip:office.example", "").replace("t:<sip:", "t:<sip:alice@")),
        (403, smallest("MESSAGE", "sip:elsewhere.example", "")),
        (407, smallest("INVITE", user, "")),
        (404, smallest("MESSAGE", "sip:office.example", "")),
        (407, smallest("INVITE", user, "").replace("a@b", "alice@office.example")),
        (420, smallest("OPTIONS", "sip:office.example", &format!("Require:{tags}\r\n"))),
        (420, smallest("MESSAGE", user, &format!("Proxy-Require:{tags}\r\n"))),
        (483, smallest("MESSAGE", user, "Max-Forwards:0\r\n")),
        (489, smallest("SUBSCRIBE", "sip:office.example", "")),
        (200, smallest("OPTIONS", "sip:office.example", "")),
    ] {
        let mut mallory = Phone::udp("mallory", server.address());
        mallory.send_raw(request.as_bytes());
        let answer = mallory.next_any(Duration::from_secs(5)).unwrap_or_else(|| panic!("no {status} to\n{request}"));
        assert_eq!(answer.status(), Some(status), "{answer}");
        // Without the header that the harness adds to a message.
        let octets = answer.bytes().len() - if answer.find("Content-Length").is_none() { 19 } else { 0 };
        assert!(octets <= FACTOR * request.len(), "{octets} octets for {}:\n{request}\n{answer}", request.len());
        assert!(mallory.next_any(Duration::from_millis(50)).is_none(), "one answer only");
    }
    server.counts("frontdesk_limits_reached_total", &[("limit", "amplification")], |count| count >= 1.0);
}
