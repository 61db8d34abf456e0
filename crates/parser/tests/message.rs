//! Whole messages: what parse accepts, which defects it reports, what the accessors return.
#![expect(clippy::unwrap_used, reason = "a test panics on unexpected results")]

use bytes::Bytes;
use parser::{
    Authorization, CSeq, CallId, Contact, ContentLength, ErrorKind, From, HeaderName, Leniency, MaxForwards, Message,
    Method, ParseError, Route, To, Via,
};

fn parse(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn with(lines: &str) -> Message {
    parse(&format!("INVITE sip:b@h SIP/2.0\r\n{lines}\r\n"))
}

fn defect(text: &str) -> Option<ErrorKind> {
    parse(text).defect().map(|error| error.kind)
}

#[test]
fn the_parts_of_a_request_are_found() {
    let message = parse("\r\n\r\nINVITE sip:b@h SIP/2.0\r\nv: SIP/2.0/UDP a\r\nl: 4\r\n\r\nbodyrest");
    assert_eq!(message.defect(), None);
    assert!(message.is_request());
    assert_eq!((message.method(), message.request_uri(), message.status()), (Method::Invite, &b"sip:b@h"[..], None));
    assert_eq!((message.body(), message.reason()), (&b"body"[..], &b""[..]));
    assert_eq!(
        message.bytes().len(),
        message.first_header_at() as usize + "v: SIP/2.0/UDP a\r\nl: 4\r\n\r\nbody".len()
    );
    assert_eq!(message.span_of(message.request_uri()), Some(message.request_uri_span()));
    assert_eq!(message.span_of(b"elsewhere"), None);
    let line = message.lines().next().unwrap();
    assert_eq!((line.name, message.line_name(&line)), (HeaderName::Via, &b"v"[..]));
    assert_eq!(message.line_value(&line), b"SIP/2.0/UDP a");
}

#[test]
fn the_parts_of_a_response_are_found() {
    let message = parse("SIP/2.0 486 Busy Here\r\nCSeq: 3 BYE\r\n\r\nall the rest");
    assert!(!message.is_request());
    assert_eq!((message.status(), message.reason(), message.method()), (Some(486), &b"Busy Here"[..], Method::Bye));
    assert_eq!((message.request_uri(), message.body()), (&b""[..], &b"all the rest"[..]));
    assert_eq!(parse("SIP/2.0 486 Busy Here\r\nCSeq: x\r\n\r\n").method(), Method::Other(b""));
}

#[test]
fn a_message_needs_a_start_line() {
    for text in [
        "",
        "\r\n",
        "hello",
        "GET / HTTP/1.1\r\n\r\n",
        "SIP/2.0 4294967301 x\r\n\r\n",
        "\r\n \r\nINVITE sip:a SIP/2.0\r\n",
    ] {
        let error = Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap_err();
        assert_eq!(error.kind, ErrorKind::StartLine, "{text:?}");
    }
}

#[test]
fn each_defect_has_its_kind() {
    let head = "INVITE sip:b@h SIP/2.0\r\n";
    for (text, kind) in [
        ("INVITE sip:b@h SIP/3.0\r\n\r\n".to_owned(), ErrorKind::Version),
        ("INVITE sip:b@h  SIP/2.0\r\n\r\n".to_owned(), ErrorKind::StartLineSpace),
        ("INVITE sip:b\t@h SIP/2.0\r\n\r\n".to_owned(), ErrorKind::Control),
        (format!("{head}To: x\r\n"), ErrorKind::NoBlankLine),
        (format!("{head}To: x"), ErrorKind::NoBlankLine),
        (head.to_owned(), ErrorKind::NoBlankLine),
        (format!("{head}no colon\r\n\r\n"), ErrorKind::Line),
        (format!("{head} folded\r\n\r\n"), ErrorKind::Line),
        (format!("{head}To: a\x07b\r\n\r\n"), ErrorKind::Control),
        (format!("{head}To: a\rb\r\n\r\n"), ErrorKind::LoneCr),
        (format!("{head}To: a\nFrom: b\r\n\r\n"), ErrorKind::LoneLf),
        (format!("{head}l: 1\r\n\r\n"), ErrorKind::ShortBody),
        (format!("{head}l: -1\r\n\r\n"), ErrorKind::Number),
        (format!("{head}l: 0x10\r\n\r\n"), ErrorKind::Number),
        (format!("{head}l: 4294967296\r\n\r\n"), ErrorKind::Range),
        (format!("{head}l: 0\r\nContent-Length: 1\r\n\r\nx"), ErrorKind::Contradiction),
        (format!("{head}{}\r\n", "A: b\r\n".repeat(Message::MAX_LINES + 1)), ErrorKind::TooManyLines),
    ] {
        assert_eq!(defect(&text), Some(kind), "{text:?}");
    }
    assert_eq!(defect(&format!("{head}{}\r\n", "A: b\r\n".repeat(Message::MAX_LINES))), None);
    assert_eq!(defect(&format!("{head}l: 1\r\nContent-Length: 1\r\n\r\nx")), None);
}

#[test]
fn a_defect_leaves_the_head_readable() {
    let message = with("Via: SIP/2.0/UDP a\r\nbroken line\r\nContent-Length: many\r\nCall-ID: c\r\n");
    let error = message.defect().unwrap();
    assert_eq!((error.kind, error.header), (ErrorKind::Line, None));
    assert_eq!(message.required::<CallId<'_>>().unwrap(), CallId(b"c"));
    assert_eq!(message.required::<Via<'_>>().unwrap().raw, b"SIP/2.0/UDP a");
}

#[test]
fn other_line_ends_are_accepted_only_with_leniency() {
    let text = Bytes::from_static(b"INVITE sip:b@h SIP/2.0\nTo: a\rb\nl: 1\n\nx");
    let strict = Message::parse(text.clone()).unwrap();
    assert_eq!(strict.defect().map(|error| error.kind), Some(ErrorKind::LoneLf));
    let lenient = Message::parse_with(text, Leniency { lone_lf: true, lone_cr: true }).unwrap();
    assert_eq!(lenient.defect(), None);
    assert_eq!((lenient.body(), lenient.value(HeaderName::To)), (&b"x"[..], Some(&b"a\rb"[..])));
}

#[test]
fn headers_are_found_by_type() {
    let message = with(
        "Via: SIP/2.0/UDP a, SIP/2.0/TCP b\r\nVia: SIP/2.0/TLS c\r\nMax-Forwards: 70\r\nFrom: <sip:a>;tag=1\r\nt: sip:b\r\n\
         Contact: ,\r\nm: <sip:x>, \"a, b\" <sip:y>\r\nCSeq: 1 INVITE\r\nAuthorization: Digest a=b, c=d\r\n\
         Authorization: Digest a=e\r\n",
    );
    assert_eq!(
        message.headers::<Via<'_>>().map(|via| via.unwrap().transport).collect::<Vec<_>>(),
        [&b"UDP"[..], b"TCP", b"TLS"]
    );
    assert_eq!(message.headers::<Contact<'_>>().count(), 2);
    assert_eq!(message.headers::<Authorization<'_>>().count(), 2);
    assert!(message.header::<Authorization<'_>>().unwrap().is_some());
    assert_eq!(message.required::<MaxForwards>(), Ok(MaxForwards(70)));
    assert_eq!(message.required::<From<'_>>().unwrap().tag(), Some(&b"1"[..]));
    assert_eq!(message.required::<To<'_>>().unwrap().tag(), None);
    assert_eq!((message.count(HeaderName::Via), message.values(HeaderName::Via).count()), (2, 3));
    assert!(message.header::<Route<'_>>().unwrap().is_none());
    assert_eq!(message.header::<ContentLength>(), Ok(None));
}

#[test]
fn errors_of_headers_have_kind_and_position() {
    let message = with("Via: SIP/2.0/UDP a:x\r\nCSeq: 1 INVITE\r\ncseq: 1 INVITE\r\nRoute: ,\r\n");
    let at = |error: ParseError| (error.kind, error.header, error.offset);
    assert_eq!(at(message.required::<Via<'_>>().unwrap_err()), (ErrorKind::Port, Some(HeaderName::Via), 43));
    assert_eq!(at(message.required::<CSeq<'_>>().unwrap_err()), (ErrorKind::Duplicate, Some(HeaderName::CSeq), 62));
    assert_eq!(at(message.required::<To<'_>>().unwrap_err()), (ErrorKind::Missing, Some(HeaderName::To), 0));
    assert!(message.header::<Route<'_>>().is_err());
}

#[test]
fn errors_of_the_request_uri_have_kind_and_position() {
    let fault = |uri: &str| parse(&format!("INVITE {uri} SIP/2.0\r\n\r\n")).uri().map(drop).unwrap_err();
    for (uri, kind, at) in [
        ("<sip:a@h>", ErrorKind::Uri, 0),
        ("a@h", ErrorKind::Uri, 1),
        ("sip:@h", ErrorKind::User, 4),
        ("sip:a\"@h", ErrorKind::User, 5),
        ("sip:a@h:x", ErrorKind::Port, 8),
        ("sip:a@::1", ErrorKind::Host, 6),
        ("sip:a@h;=", ErrorKind::Param, 8),
        ("sip:a%4@h", ErrorKind::Escape, 5),
        ("sip:a@h;lr?to=b", ErrorKind::UriHeaders, 10),
    ] {
        let error = fault(uri);
        assert_eq!((error.kind, error.header, error.offset), (kind, None, 7 + at), "{uri}");
        assert!(error.reason().to_string().starts_with("Bad Request-URI: "), "{uri}");
    }
    assert_eq!(parse("INVITE sip:a@h SIP/2.0\r\n\r\n").uri().unwrap().as_bytes(), b"sip:a@h");
    assert_eq!(parse("INVITE urn:x SIP/2.0\r\n\r\n").uri().unwrap().as_bytes(), b"urn:x");
}

// RFC 3261 18.3, 20.14; checklist 114
#[test]
fn a_content_length_is_a_number_or_an_error() {
    let with = |lines: &str| parse(&format!("OPTIONS sip:b@h SIP/2.0\r\n{lines}\r\n1234"));
    for good in ["l: 4\r\n", "l : 004\r\n", "Content-Length:\r\n 4\r\n", "l: 4\r\nContent-Length: 04\r\n", ""] {
        let message = with(good);
        assert_eq!((message.defect(), message.body()), (None, &b"1234"[..]), "{good:?}");
    }
    for (bad, kind, at) in [
        ("l: -4\r\n", ErrorKind::Number, 3),
        ("l: +4\r\n", ErrorKind::Number, 3),
        ("l:\r\n", ErrorKind::Number, 2),
        ("l: 4x\r\n", ErrorKind::Number, 4),
        ("l: 4 4\r\n", ErrorKind::Number, 4),
        ("l: 4, 4\r\n", ErrorKind::Number, 4),
        ("l: 0x4\r\n", ErrorKind::Number, 4),
        ("l: 4.0\r\n", ErrorKind::Number, 4),
        ("l: four\r\n", ErrorKind::Number, 3),
        ("l: 4294967296\r\n", ErrorKind::Range, 3),
        ("l: 99999999999999999999999999\r\n", ErrorKind::Range, 3),
        ("l: 4\r\nl: 3\r\n", ErrorKind::Contradiction, 9),
        ("l: 4\r\nl: x\r\n", ErrorKind::Number, 9),
    ] {
        let error = with(bad).defect().unwrap();
        let expected = (kind, Some(HeaderName::ContentLength), 25 + at);
        assert_eq!((error.kind, error.header, error.offset), expected, "{bad:?}");
    }
    assert_eq!(with("l: 5\r\n").defect().map(|error| error.kind), Some(ErrorKind::ShortBody));
    assert_eq!(with("l: 3\r\n").body(), b"123");
}

#[test]
fn messages_are_send_and_sync() {
    fn is_send_and_sync<T: Send + Sync + 'static>() {}
    is_send_and_sync::<Message>();
}
