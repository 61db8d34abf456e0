//! Torture tests of RFC 4475 and RFC 5118, with messages written for this project, and some more. The table in
//! `torture/README.md` has the expected result of each file: `valid` ones are parsed without error, `invalid` ones are
//! refused with the reason in the table.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test panics on unexpected results")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use parser::{
    CSeq, CallId, Contact, ErrorKind, From, HeaderName, Host, Leniency, Message, ParseError, RecordRoute, Rewrite, To,
    Uri, Via, can_answer,
};

/// Parses the headers that a proxy and a registrar read, in their order, and then all other typed headers. Returns the
/// first error.
fn read(message: &Message) -> Result<(), ParseError> {
    if let Some(defect) = message.defect() {
        return Err(defect);
    }
    if message.is_request() {
        message.uri()?;
    }
    message.required::<Via<'_>>()?;
    message.required::<From<'_>>()?;
    message.required::<To<'_>>()?;
    message.required::<CallId<'_>>()?;
    let cseq = message.required::<CSeq<'_>>()?;
    if message.is_request() && cseq.method != message.method() {
        let offset = message.span_of(cseq.method.as_bytes()).unwrap_or_default().start;
        return Err(ParseError { kind: ErrorKind::Contradiction, header: Some(HeaderName::CSeq), offset });
    }
    // `Message::defect` has checked Content-Length, which may occur twice with the same value.
    let names = message.lines().map(|line| line.name).filter(|name| *name != HeaderName::ContentLength);
    names.flat_map(|name| message.faults(name)).next().map_or(Ok(()), Err)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture")
}

/// Every message, by `folder/name`.
fn messages() -> BTreeMap<String, Bytes> {
    let mut messages = BTreeMap::new();
    for kind in ["valid", "invalid"] {
        for entry in fs::read_dir(folder().join(kind)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            messages.insert(format!("{kind}/{name}"), Bytes::from(fs::read(path).unwrap()));
        }
    }
    messages
}

fn message(name: &str) -> Message {
    Message::parse(fs::read(folder().join(format!("{name}.sip"))).unwrap().into()).unwrap()
}

/// The rows of the table: file and expectation.
fn rows() -> Vec<(String, String)> {
    let text = fs::read_to_string(folder().join("README.md")).unwrap();
    let rows = text.lines().filter(|line| line.contains(".sip`"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        (cells[2].to_owned(), cells[3].to_owned())
    })
    .collect()
}

#[test]
fn every_message_is_in_the_table_and_every_row_has_a_message() {
    let listed: BTreeSet<_> = rows().into_iter().map(|(file, _)| file).collect();
    let present: BTreeSet<_> = messages().into_keys().collect();
    assert_eq!(listed, present);
}

// checklist 34
#[test]
fn each_message_is_parsed_or_refused_as_in_the_table() {
    let messages = messages();
    for (file, expected) in rows() {
        let found = match Message::parse(messages[&file].clone()).and_then(|message| read(&message)) {
            Ok(()) => "read".to_owned(),
            Err(error) => error.reason().to_string(),
        };
        assert_eq!(found, expected, "{file}");
        assert_eq!(file.starts_with("valid/"), expected == "read", "{file}");
    }
}

#[test]
fn valid_messages_are_written_unchanged() {
    for (name, bytes) in messages().into_iter().filter(|(name, _)| name.starts_with("valid/")) {
        let message = Message::parse(bytes.clone()).unwrap();
        let mut out = Vec::new();
        Rewrite::new().write(&message, &mut out);
        assert!(bytes.starts_with(&out), "{name}");
        assert!(can_answer(&message), "{name}");
    }
}

#[test]
fn leniency_accepts_lone_line_ends_and_nothing_else() {
    let leniency = Leniency { lone_lf: true, lone_cr: true };
    for (name, bytes) in messages().into_iter().filter(|(name, _)| name.starts_with("invalid/")) {
        let refused = Message::parse_with(bytes, leniency).and_then(|message| read(&message)).is_err();
        let is_about_line_ends = name == "invalid/lone_lf.sip" || name == "invalid/lone_cr.sip";
        assert_eq!(refused, !is_about_line_ends, "{name}");
    }
}

#[test]
fn unusual_messages_have_the_right_values() {
    let odd = message("valid/white_space_everywhere");
    let via = odd.required::<Via<'_>>().unwrap();
    assert_eq!(
        (via.port, via.branch(), via.host),
        (Some(5061), Some(&b"z9hG4bKx"[..]), Host::Name(b"phone.office.example"))
    );
    assert_eq!(odd.headers::<Via<'_>>().count(), 2);
    assert_eq!(odd.headers::<Contact<'_>>().next().unwrap().unwrap().binding().q(), Ok(Some(330)));
    assert_eq!(message("valid/octets_after_the_body").body(), b"body");

    let group = message("valid/ipv6_port_like_group");
    assert_eq!(Uri::parse(group.request_uri()).unwrap().sip().unwrap().port, None);
    let semicolon = message("valid/semicolon_in_user");
    let uri = Uri::parse(semicolon.request_uri()).unwrap();
    assert_eq!(&*uri.sip().unwrap().user_unescaped(), b"desk;par=u@office.example");
    let bare = message("valid/header_parameter_not_uri_parameter");
    let contact = bare.required::<Contact<'_>>().unwrap();
    assert!(contact.params().has("unknownparam"));
    assert_eq!(contact.address().unwrap().uri.as_bytes(), b"sip:ann@192.0.2.1");
}

#[test]
fn addresses_are_as_the_torture_rfcs_define_them() {
    let host = |name: &str| message(name).uri().map(|uri| uri.sip().map(|uri| (uri.host.ip(), uri.port))).unwrap();
    let ip = |text: &str| Some(text.parse().unwrap());
    // RFC 5118 4.3, 4.4: the last group is part of the address, or a port follows the brackets.
    assert_eq!(host("valid/ipv6_port_like_group"), Some((ip("2001:db8::10:5070"), None)));
    assert_eq!(host("valid/ipv6_port_outside_brackets"), Some((ip("2001:db8::10"), Some(5070))));
    assert_eq!(host("valid/ipv6_with_three_colons"), Some((ip("2001:db8::192.0.2.1"), None)));
    assert_eq!(host("valid/ipv4_mapped"), Some((ip("::ffff:192.0.2.10"), None)));
    assert_eq!(host("valid/zone_of_a_link_local_address"), Some((ip("fe80::1"), None)));
    // RFC 5118 4.5: senders use both forms.
    for (name, received) in [
        ("valid/ipv6_received_in_brackets", &b"[2001:db8::9:255]"[..]),
        ("valid/ipv6_received_bare", b"2001:db8::9:255"),
    ] {
        assert_eq!(message(name).required::<Via<'_>>().unwrap().received(), Some(received));
    }
}

#[test]
fn parameters_are_as_the_torture_rfcs_define_them() {
    // RFC 4475 3.1.1.3: escapes are decoded once, not twice.
    let escapes = message("valid/escapes_in_uris");
    let contact = escapes.required::<Contact<'_>>().unwrap();
    let uri = *contact.address().unwrap().uri.sip().unwrap();
    assert!(uri.is_loose());
    assert_eq!((&*uri.user_unescaped(), uri.param("name")), (&b"caller"[..], Some(Some(&b"v%61lue%25%34%31"[..]))));
    // RFC 4475 3.2.1
    let branch = message("valid/branch_is_only_the_cookie");
    assert_eq!(branch.required::<Via<'_>>().unwrap().branch(), Some(&b"z9hG4bK"[..]));
    // RFC 4475 3.3.13, 3.3.14
    let parameter = message("valid/uri_parameter_in_contact");
    let contact = parameter.required::<Contact<'_>>().unwrap();
    assert!(!contact.params().has("unknownparam"));
    assert!(contact.address().unwrap().uri.sip().unwrap().params.has("unknownparam"));
    let header = message("valid/escaped_header_in_contact");
    let contact = header.required::<Contact<'_>>().unwrap();
    let mut target = Vec::new();
    contact.address().unwrap().uri.sip().unwrap().write_target(&mut target);
    assert_eq!(target, b"sip:ann@192.0.2.1");
    // RFC 4475 3.4.1
    let old = message("valid/old_style_invite");
    assert_eq!((old.required::<From<'_>>().unwrap().tag(), old.required::<Via<'_>>().unwrap().branch()), (None, None));
    assert!(!old.required::<RecordRoute<'_>>().unwrap().address.uri.sip().unwrap().is_loose());
    let tel = message("valid/telephone_numbers");
    let (uri, to) = (tel.uri().unwrap(), tel.required::<To<'_>>().unwrap());
    let (dialled, named) = (uri.sip().unwrap().telephone().unwrap(), to.address.uri.tel().unwrap());
    assert!(dialled.digits().eq(named.digits()) && !dialled.is_same(&named));
}
