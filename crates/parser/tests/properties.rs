//! Properties over generated and mutated messages: nothing panics, and what no edit touched is identical.
#![expect(clippy::indexing_slicing, reason = "a test stops at what it does not expect")]

use parser::{
    Authorization, CSeq, CallId, Contact, Frame, Framer, From, Header, HeaderName, Message, Reply, Rewrite, Route,
    Stamp, To, Uri, Via, equivalent, unescape, unquote, write_ack, write_cancel,
};
use proptest::{collection::vec, prelude::*, sample::Index};

/// Header lines of all kinds, good and bad.
fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("Via"),
        Just("v"),
        Just("From"),
        Just("t"),
        Just("Contact"),
        Just("Route"),
        Just("CSeq"),
        Just("Call-ID"),
        Just("Authorization"),
        Just("X-Other"),
    ];
    let value = prop_oneof![
        Just("SIP/2.0/UDP h:5060;branch=z9hG4bK1;rport, SIP / 2.0 / TCP [::1]".to_owned()),
        Just("\"a, \\\" b\" <sip:u;x@h;lr?y=z>;tag=1, <sip:b>".to_owned()),
        Just("Digest username=\"u\", nc=00000001,\r\n realm=\"r\"".to_owned()),
        Just("1 INVITE".to_owned()),
        "[ -~]{0,40}",
        "[a-z<>\",;= ]{0,20}(\r\n [a-z]{1,5}){0,2}",
    ];
    (name, "[ \t]{0,2}", value).prop_map(|(name, gap, value)| format!("{name}{gap}: {value}\r\n"))
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let start =
        prop_oneof![Just("INVITE sip:b@h;lr SIP/2.0\r\n"), Just("SIP/2.0 200 OK\r\n"), Just("FOO tel:5 SIP/2.0\r\n")];
    (start, vec(line(), 0..12), vec(any::<u8>(), 0..30)).prop_map(|(start, lines, body)| {
        let mut bytes = format!("{start}{}l: {}\r\n\r\n", lines.concat(), body.len()).into_bytes();
        bytes.extend(body);
        bytes
    })
}

/// A message with some octets replaced, inserted or cut out.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![any::<u8>(), prop::sample::select(b"\r\n \t:;,<>\"\\@%=?[]\0".to_vec())];
    (message(), vec((any::<Index>(), octet, 0..3_u8), 0..6)).prop_map(|(mut bytes, edits)| {
        for (at, octet, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = octet,
                1 => bytes.insert(at, octet),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        bytes
    })
}

/// Calls everything that reads a message.
fn exercise(message: &Message) {
    fn all<'a, H: Header<'a>>(message: &'a Message) {
        message.headers::<H>().for_each(drop);
        drop(message.header::<H>());
    }
    all::<Via<'_>>(message);
    all::<From<'_>>(message);
    all::<To<'_>>(message);
    all::<Contact<'_>>(message);
    all::<Route<'_>>(message);
    all::<CSeq<'_>>(message);
    all::<CallId<'_>>(message);
    all::<Authorization<'_>>(message);
    for authorization in message.headers::<Authorization<'_>>().flatten() {
        let credentials = authorization.credentials;
        drop((credentials.username(), credentials.nc(), credentials.response()));
    }
    for contact in message.headers::<Contact<'_>>().flatten() {
        let _ = (contact.q(), contact.expires(), contact.instance(), contact.reg_id());
        if let Some(uri) = contact.address().and_then(|address| address.uri.sip().copied()) {
            uri.write_target(&mut Vec::new());
            let _ = uri.user_unescaped();
        }
    }
    for line in message.lines() {
        assert_eq!(message.span_of(message.line_value(line)), Some(line.value));
        let _ = (unquote(message.line_value(line)), unescape(message.line_value(line)));
    }
    let mut out = Vec::new();
    Reply::new(
        &mut out,
        message,
        100,
        b"Trying",
        Stamp { received: Some([192, 0, 2, 1].into()), rport: Some(1) },
        None,
    )
    .finish();
    write_ack(message, message, &mut out);
    write_cancel(message, Some(b"SIP"), &mut out);
}

fn write(rewrite: &mut Rewrite, message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    rewrite.write(message, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_good_message_comes_back_whole(bytes in message()) {
        let message = Message::parse(bytes.clone().into()).unwrap();
        prop_assert_eq!(write(&mut Rewrite::new(), &message), bytes);
    }

    // checklist 47
    #[test]
    fn without_edits_the_same_octets(bytes in mutated()) {
        if let Ok(message) = Message::parse(bytes.clone().into()) {
            let out = write(&mut Rewrite::new(), &message);
            let start = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap();
            prop_assert!(bytes[start..].starts_with(&out));
            exercise(&message);
        }
    }

    #[test]
    fn an_edit_changes_its_own_octets_only(bytes in message(), first in 0..4_usize, last in 0..4_usize) {
        let message = Message::parse(bytes.into()).unwrap();
        let mut rewrite = Rewrite::new();
        for _ in 0..first {
            rewrite.remove_first(&message, HeaderName::Via);
        }
        for _ in 0..last {
            rewrite.remove_last(&message, HeaderName::Via);
        }
        let after = Message::parse(write(&mut rewrite, &message).into()).unwrap();
        let vias: Vec<_> = message.values(HeaderName::Via).collect();
        let kept = vias.get(first.min(vias.len())..vias.len().saturating_sub(last)).unwrap_or_default();
        prop_assert_eq!(after.values(HeaderName::Via).collect::<Vec<_>>(), kept);
        prop_assert_eq!(after.body(), message.body());
        let others = |message: &Message| {
            let others = message.lines().iter().filter(|line| line.name != HeaderName::Via);
            others.map(|line| message.line_value(line).to_vec()).collect::<Vec<_>>()
        };
        prop_assert_eq!(others(&after), others(&message));
    }

    #[test]
    fn any_edits_never_panic(bytes in mutated(), edits in vec((any::<u16>(), any::<u16>(), "[a-z]{0,3}"), 0..8)) {
        if let Ok(message) = Message::parse(bytes.into()) {
            let mut rewrite = Rewrite::new();
            rewrite.stamp_via(&message, [192, 0, 2, 1].into(), Some(9));
            for (start, end, text) in edits {
                let span = parser::Span { start: u32::from(start) % 500, end: u32::from(end) % 500 };
                rewrite.replace(span, |out| out.extend_from_slice(text.as_bytes()));
            }
            write(&mut rewrite, &message);
        }
    }

    #[test]
    fn random_octets_never_panic(bytes in vec(any::<u8>(), 0..200), head in any::<bool>()) {
        let bytes = if head { [&b"INVITE sip:a SIP/2.0\r\nVia: "[..], &bytes].concat() } else { bytes };
        if let Ok(message) = Message::parse(bytes.clone().into()) {
            exercise(&message);
        }
        if let Ok(uri) = Uri::parse(&bytes) {
            prop_assert_eq!(uri.as_bytes(), &bytes[..]);
        }
        let _ = Framer::new(100).next(&bytes);
    }

    #[test]
    fn a_uri_equals_itself(uri in "sips?:([a-z%]{1,5}@)?[a-z.]{1,9}(:[0-9]{1,6})?(;[a-z]{1,3}(=[a-zA-Z%0-9]{1,4})?){0,3}(\\?[a-z]{1,2}=[a-z&=]{0,4})?") {
        if let Ok(uri) = Uri::parse(uri.as_bytes()) {
            prop_assert!(equivalent(&uri, &uri));
        }
    }

    #[test]
    fn a_stream_is_cut_where_its_messages_end(messages in vec(message(), 1..4), step in 1..50_usize) {
        let stream = messages.concat();
        let mut framer = Framer::new(1 << 16);
        let (mut start, mut end, mut found) = (0, 0, 0);
        while found < messages.len() {
            match framer.next(&stream[start..end]).unwrap() {
                Frame::Partial => {
                    prop_assert!(end < stream.len());
                    end = stream.len().min(end + step);
                }
                Frame::Complete(len) => {
                    prop_assert_eq!(&stream[start..start + len], &messages[found][..]);
                    start += len;
                    found += 1;
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
