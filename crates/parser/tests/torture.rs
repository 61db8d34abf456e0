//! The traits of RFC 4475 and RFC 5118, one message of our own each: `valid` ones are read without complaint, `invalid`
//! ones are refused somewhere a proxy or registrar looks.
#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::{fs, path::Path};

use bytes::Bytes;
use parser::{
    Authorization, CSeq, CallId, Contact, ContentLength, ErrorKind, Expires, From, Header, MaxForwards, Message,
    ParseError, RecordRoute, Rewrite, Route, To, Uri, Via, can_answer,
};

/// Reads all that a proxy and a registrar read; the first thing that is wrong.
fn read(message: &Message) -> Result<(), ParseError> {
    fn all<'a, H: Header<'a>>(message: &'a Message) -> Result<(), ParseError> {
        message.header::<H>()?;
        message.headers::<H>().try_for_each(|header| header.map(drop))
    }
    if let Some(defect) = message.defect() {
        return Err(defect);
    }
    if message.is_request() {
        Uri::parse(message.request_uri()).map_err(|kind| ParseError { kind, header: None, offset: 0 })?;
    }
    message.required::<Via<'_>>()?;
    message.required::<From<'_>>()?;
    message.required::<To<'_>>()?;
    message.required::<CallId<'_>>()?;
    let cseq = message.required::<CSeq<'_>>()?;
    if message.is_request() && cseq.method != message.method() {
        return Err(ParseError { kind: ErrorKind::Contradiction, header: None, offset: 0 });
    }
    all::<Via<'_>>(message)?;
    all::<MaxForwards>(message)?;
    all::<Expires>(message)?;
    all::<ContentLength>(message)?;
    all::<Contact<'_>>(message)?;
    all::<Route<'_>>(message)?;
    all::<RecordRoute<'_>>(message)?;
    all::<Authorization<'_>>(message)
}

/// Every message of a folder, with its file name.
fn messages(folder: &str) -> Vec<(String, Bytes)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture").join(folder);
    let files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), Bytes::from(fs::read(path).unwrap())))
        .collect();
    assert!(files.len() > 20);
    files
}

fn message(folder: &str, name: &str) -> Message {
    let (_, bytes) = messages(folder).into_iter().find(|(file, _)| file == &format!("{name}.sip")).unwrap();
    Message::parse(bytes).unwrap()
}

#[test]
fn valid_messages_are_read_and_come_back_octet_for_octet() {
    for (name, bytes) in messages("valid") {
        let message = Message::parse(bytes.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        read(&message).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut out = Vec::new();
        Rewrite::new().write(&message, &mut out);
        assert!(bytes.starts_with(&out), "{name}");
        assert!(can_answer(&message), "{name}");
    }
}

// checklist 34
#[test]
fn invalid_messages_are_refused() {
    for (name, bytes) in messages("invalid") {
        let refused = Message::parse(bytes).and_then(|message| read(&message));
        assert!(refused.is_err(), "{name}");
    }
}

#[test]
fn for_the_right_reason() {
    for (name, reason) in [
        ("via_port_out_of_range", "Bad Via: port out of range"),
        ("missing_cseq", "Missing CSeq"),
        ("negative_content_length", "Bad Content-Length: not a number"),
        ("two_content_lengths", "Bad Content-Length: contradicting values"),
        ("body_shorter_than_announced", "Bad Content-Length: body shorter than announced"),
        ("unterminated_quote", "Bad To: unterminated quoted string"),
        ("display_name_needs_quotes", "Bad From: bad display name"),
        ("unknown_version", "Version Not Supported"),
        ("cseq_overflow", "Bad CSeq: number out of range"),
        ("two_of_what_may_be_one", "Bad To: occurs more than once"),
        ("space_in_request_uri", "Bad request line: white space in the start line"),
    ] {
        assert_eq!(read(&message("invalid", name)).unwrap_err().reason().to_string(), reason, "{name}");
    }
}

#[test]
fn what_the_odd_ones_mean() {
    let odd = message("valid", "white_space_everywhere");
    let via = odd.required::<Via<'_>>().unwrap();
    assert_eq!(
        (via.port, via.branch(), via.host),
        (Some(5061), Some(&b"z9hG4bKx"[..]), parser::Host::Name(b"phone.office.example"))
    );
    assert_eq!(odd.headers::<Via<'_>>().count(), 2);
    assert_eq!(odd.headers::<Contact<'_>>().next().unwrap().unwrap().q(), Ok(Some(330)));
    assert_eq!(message("valid", "octets_after_the_body").body(), b"body");

    let group = message("valid", "ipv6_port_like_group");
    assert_eq!(Uri::parse(group.request_uri()).unwrap().sip().unwrap().port, None);
    let semicolon = message("valid", "semicolon_in_user");
    let uri = Uri::parse(semicolon.request_uri()).unwrap();
    assert_eq!(&*uri.sip().unwrap().user_unescaped(), b"desk;par=u@office.example");
    let bare = message("valid", "header_parameter_not_uri_parameter");
    let contact = bare.required::<Contact<'_>>().unwrap();
    assert!(contact.params().has("unknownparam"));
    assert_eq!(contact.address().unwrap().uri.as_bytes(), b"sip:ann@192.0.2.1");
}
