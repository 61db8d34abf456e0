//! Property tests with generated and mutated messages: no panics, and octets without an edit are unchanged.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test panics on unexpected results")]

use parser::{
    Authorization, BindingContact, Contact, Frame, Framer, From, HeaderName, Leniency, Message, NameAddr, ParseError,
    Reply, Rewrite, SentInvite, Stamp, TelUri, To, Uri, UriAndTag, UserAgent, equivalent, escape_user, unescape,
    unquote, write_ack, write_cancel,
};
use proptest::{collection::vec, prelude::*, sample::Index};

/// Header lines, valid and malformed.
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

/// A message with some octets replaced, inserted or removed.
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

/// Typed headers with values that their grammar allows.
fn valid_line() -> impl Strategy<Value = (&'static str, String)> {
    const TOKEN: &str = "[a-zA-Z0-9.!%*_+`'~-]{1,12}";
    const QUOTED: &str = "\"([ !#-\\[\\]-~\u{80}-\u{2fff}]|\\\\[ -~]){0,12}\"";
    let params = format!("([ ]?;[ ]?{TOKEN}([ ]?=[ ]?({TOKEN}|{QUOTED}|\\[::1\\]))?){{0,3}}");
    let uri = "(sips?:(([a-z0-9&=+$,;?/#]|%4[0-9a-f]){1,8}(:[a-z0-9]{0,4})?@)?([a-z]{1,8}\\.example|192\\.0\\.2\\.[1-9]|\\[2001:db8::[0-9a-f]{1,4}\\])(:[0-9]{1,4})?(;[a-z]{1,6}(=([a-z0-9]|%6[0-9a-f]){1,4})?){0,3}|tel:\\+[0-9.()-]{0,5}[0-9])";
    let address = format!("({TOKEN}( {TOKEN}){{0,2}} ?|{QUOTED} ?)?<{uri}>{params}");
    let products = format!("{TOKEN}(/{TOKEN})?( \\([a-z ]{{0,6}}\\))?( {TOKEN}){{0,2}}");
    let line = |name: &'static str, value: String| {
        proptest::string::string_regex(&value).unwrap().prop_map(move |value| (name, value))
    };
    prop_oneof![
        line("Contact", address.clone()),
        line("Route", address.clone()),
        line("To", address.clone()),
        line("History-Info", address.clone()),
        line("Diversion", address.clone()),
        line("P-Asserted-Identity", address),
        line("Via", format!("SIP ?/ ?2\\.0 ?/ ?{TOKEN} ([a-z]{{1,9}}|\\[::1\\])( ?: ?[0-9]{{1,4}})?{params}")),
        line("Require", TOKEN.to_owned()),
        line("Proxy-Require", TOKEN.to_owned()),
        line("Supported", TOKEN.to_owned()),
        line("Allow", TOKEN.to_owned()),
        line("Request-Disposition", TOKEN.to_owned()),
        line("Accept", format!("[a-z]{{1,6}} ?/ ?{TOKEN}{params}")),
        line("Content-Type", format!("{TOKEN} ?/ ?{TOKEN}{params}")),
        line("Event", format!("{TOKEN}{params}")),
        line("Reason", format!("{TOKEN}{params}")),
        line("Accept-Contact", format!("\\*{params}")),
        line("Reject-Contact", format!("\\*{params}")),
        line("Feature-Caps", format!("\\*{params}")),
        line("Authentication-Info", format!("{TOKEN} ?= ?({TOKEN}|{QUOTED})( ?, ?{TOKEN}={TOKEN}){{0,2}}")),
        line("WWW-Authenticate", format!("Digest {TOKEN}={QUOTED}( ?, ?{TOKEN}={TOKEN}){{0,2}}")),
        line(
            "Date",
            "(Mon|Sun), (0[1-9]|1[0-9]|2[0-8]) (Jan|Feb|Dec) [1-9][0-9]{3} [01][0-9]:[0-5][0-9]:[0-5][0-9] GMT"
                .to_owned()
        ),
        line("Timestamp", "[0-9]{1,9}(\\.[0-9]{0,4})?( [0-9]{0,3}\\.?[0-9]{0,3})?".to_owned()),
        line("Warning", format!("[0-9]{{3}} ({TOKEN}|\\[::1\\]:[0-9]{{1,4}}) {QUOTED}")),
        line("Privacy", "[a-z]{1,8}( ?; ?[a-z]{1,8}){0,3}".to_owned()),
        line("Flow-Timer", "[0-9]{1,9}".to_owned()),
        line("Retry-After", format!("[0-9]{{1,12}}( \\([a-z ]{{0,6}}\\))?{params}")),
        line("User-Agent", products.clone()),
        line("Server", products),
    ]
}

/// Parses every typed header of a message and returns the first error.
fn read_all(message: &Message) -> Result<(), ParseError> {
    for To { address, .. } in message.headers::<To<'_>>().filter_map(Result::ok) {
        assert!(NameAddr::params_of(address.raw).iter().eq(address.params));
    }
    let mut first = Ok(());
    for name in message.lines().map(|line| line.name) {
        for error in message.faults(name) {
            // The offset of an error is inside a line of its header.
            let lines = message.lines().filter(|line| line.name == name);
            let line = lines.rev().find(|line| line.whole.start <= error.offset).unwrap();
            assert!(error.offset <= line.whole.end && error.header == Some(name), "{error}");
            first = first.and(Err(error));
        }
    }
    first
}

/// Calls every function that reads a message.
fn exercise(message: &Message) {
    let parts = message.header::<UriAndTag<'_, From<'_>>>().map(|from| from.map(|from| (from.uri, from.tag)));
    let from = message.header::<From<'_>>();
    assert_eq!(parts, from.map(|from| from.map(|from| (from.address.uri.as_bytes(), from.tag()))));
    let contacts = message.headers::<BindingContact<'_>>().map(|it| it.map(|it| format!("{:?}", it.binding)));
    assert!(contacts.eq(message.headers::<Contact<'_>>().map(|it| it.map(|it| format!("{:?}", it.binding())))));
    let _ = read_all(message);
    if message.is_request()
        && let Err(error) = message.uri()
    {
        let span = message.request_uri_span();
        assert!((span.start..=span.end).contains(&error.offset), "{error}");
    }
    for authorization in message.headers::<Authorization<'_>>().flatten() {
        let credentials = authorization.credentials;
        drop((credentials.username(), credentials.nc(), credentials.response()));
    }
    for contact in message.headers::<Contact<'_>>().flatten() {
        let binding = contact.binding();
        let _ = (binding.q(), binding.expires(), binding.instance(), binding.reg_id(), contact.pub_gruu());
        contact
            .features()
            .for_each(|feature| assert!(feature.values().count() <= feature.value.map_or(0, <[u8]>::len)));
        if let Some(address) = contact.address() {
            exercise_uri(&address.uri);
        }
    }
    for line in message.lines() {
        assert_eq!(message.span_of(message.line_value(&line)), Some(line.value));
        let _ = (unquote(message.line_value(&line)), unescape(message.line_value(&line)));
    }
    message.headers::<UserAgent<'_>>().flatten().for_each(|agent| assert!(agent.products.iter().count() < 1 << 16));
    let mut out = Vec::new();
    Reply::new(
        &mut out,
        message,
        100,
        b"Trying",
        Stamp { received: Some([192, 0, 2, 1].into()), rport: Some(1), rport_at: None },
        None,
    )
    .finish();
    write_ack(&SentInvite::as_is(message), message, &mut out);
    write_cancel(&SentInvite::as_is(message), Some(b"SIP"), &mut out);
}

/// A URI is equivalent to itself, and its target has no parts that a Request-URI must not have.
fn exercise_uri(uri: &Uri<'_>) {
    assert!(equivalent(uri, uri));
    if let Some(tel) = uri.tel() {
        assert!(tel.is_same(&tel) && tel.digits().count() > 0);
    }
    if let Some(sip) = uri.sip() {
        let mut target = Vec::new();
        sip.write_target(&mut target);
        let target = Uri::parse(&target).unwrap();
        let target = target.sip().unwrap();
        assert!(target.headers().is_empty() && target.param("method").is_none());
        assert_eq!((target.host, target.port, target.user), (sip.host, sip.port, sip.user));
        let _ = (sip.user_unescaped(), sip.telephone().map(|tel| tel.digits().count()));
    }
}

fn write(rewrite: &mut Rewrite, message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    rewrite.write(message, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_valid_message_is_written_unchanged(bytes in message()) {
        let message = Message::parse(bytes.clone().into()).unwrap();
        prop_assert_eq!(write(&mut Rewrite::new(), &message), bytes);
    }

    // checklist 47
    #[test]
    fn without_edits_the_octets_are_unchanged(bytes in mutated()) {
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
            let others = message.lines().filter(|line| line.name != HeaderName::Via);
            others.map(|line| message.line_value(&line).to_vec()).collect::<Vec<_>>()
        };
        prop_assert_eq!(others(&after), others(&message));
    }

    #[test]
    fn no_edits_panic(bytes in mutated(), edits in vec((any::<u16>(), any::<u16>(), "[a-z]{0,3}"), 0..8)) {
        if let Ok(message) = Message::parse(bytes.into()) {
            let mut rewrite = Rewrite::new();
            let rport_at = edits.first().map(|(start, ..)| usize::from(*start) % 100);
            rewrite.stamp_via(&message, Stamp { received: Some([192, 0, 2, 1].into()), rport: Some(9), rport_at });
            for (start, end, text) in edits {
                let span = parser::Span { start: u32::from(start) % 500, end: u32::from(end) % 500 };
                rewrite.replace(span, |out| out.extend_from_slice(text.as_bytes()));
            }
            write(&mut rewrite, &message);
        }
    }

    #[test]
    fn random_octets_do_not_panic(bytes in vec(any::<u8>(), 0..200), head in any::<bool>()) {
        let bytes = if head { [&b"INVITE sip:a SIP/2.0\r\nVia: "[..], &bytes].concat() } else { bytes };
        if let Ok(message) = Message::parse(bytes.clone().into()) {
            exercise(&message);
        }
        if let Ok(uri) = Uri::parse(&bytes) {
            prop_assert_eq!(uri.as_bytes(), &bytes[..]);
            exercise_uri(&uri);
        }
        let _ = TelUri::subscriber(&bytes).map(|tel| tel.digits().count());
        let _ = Framer::new(100).next(&bytes);
    }

    #[test]
    fn a_uri_equals_itself(uri in "sips?:([a-z%]{1,5}@)?[a-z.]{1,9}(:[0-9]{1,6})?(;[a-z]{1,3}(=[a-zA-Z%0-9]{1,4})?){0,3}(\\?[a-z]{1,2}=[a-z&=]{0,4})?") {
        if let Ok(uri) = Uri::parse(uri.as_bytes()) {
            exercise_uri(&uri);
        }
    }

    #[test]
    fn any_user_round_trips(user in vec(any::<u8>(), 1..30)) {
        let mut text = b"sip:".to_vec();
        escape_user(&user, &mut text);
        text.extend_from_slice(b"@h");
        let uri = Uri::parse(&text).unwrap();
        let read = uri.sip().map(|uri| uri.user_unescaped()).unwrap();
        prop_assert_eq!(&*read, &user[..]);
    }

    #[test]
    fn visual_separators_do_not_change_a_number(
        number in "[0-9]{1,12}", other in "[0-9]{1,12}", seed in vec(any::<Index>(), 0..6), ext in "[0-9]{1,3}"
    ) {
        let mut written = format!("+{number}");
        for index in seed {
            written.insert(1 + index.index(written.len() - 1), *index.get(&['-', '.', '(', ')']));
        }
        let (a, b) = (format!("tel:{written};ext={ext};x"), format!("TEL:+{number};X;Ext={ext}"));
        prop_assert!(equivalent(&Uri::parse(a.as_bytes()).unwrap(), &Uri::parse(b.as_bytes()).unwrap()), "{a} {b}");
        let c = format!("tel:+{other};x;ext={ext}");
        let is_same = equivalent(&Uri::parse(a.as_bytes()).unwrap(), &Uri::parse(c.as_bytes()).unwrap());
        prop_assert_eq!(is_same, number == other);
    }

    #[test]
    fn lenient_line_ends_change_only_the_defect(bytes in mutated()) {
        let lenient = Leniency { lone_lf: true, lone_cr: true };
        match (Message::parse(bytes.clone().into()), Message::parse_with(bytes.into(), lenient)) {
            (Ok(strict), Ok(lenient)) => {
                prop_assert!(strict.lines().eq(lenient.lines()));
                prop_assert_eq!(strict.body(), lenient.body());
                prop_assert!(strict.defect().is_some() || lenient.defect().is_none());
            }
            (strict, lenient) => prop_assert_eq!(strict.is_ok(), lenient.is_ok()),
        }
    }

    #[test]
    fn a_stream_is_split_at_the_ends_of_its_messages(messages in vec(message(), 1..4), step in 1..50_usize) {
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

proptest! {
    // Fewer cases: each is a whole message of values generated from regular expressions.
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_that_the_grammar_allows_are_parsed(lines in vec(valid_line(), 0..8)) {
        let mut names = Vec::new();
        // Keep only the first line of a header that may occur once.
        let lines = lines.into_iter().filter(|(name, _)| {
            let is_new = !names.contains(name);
            names.push(*name);
            is_new || HeaderName::from_bytes(name.as_bytes()).occurs() == parser::Occurs::List
        });
        let lines: String = lines.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let message = Message::parse(format!("INVITE sip:b@h SIP/2.0\r\n{lines}\r\n").into()).unwrap();
        prop_assert_eq!(message.defect(), None, "{}", &lines);
        prop_assert_eq!(read_all(&message), Ok(()), "{}", &lines);
        exercise(&message);
    }
}
