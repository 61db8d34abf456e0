//! Hostile messages: each shape repeats one element that a naive parser would process in quadratic time.

use std::net::IpAddr;

use bytes::Bytes;
use parser::headers::{
    Accept, AcceptContact, Authorization, CSeq, Contact, ContentLength, Date, From, Privacy, RecordRoute, RetryAfter,
    Route, Supported, Timestamp, To, UserAgent, Via, Warning, WwwAuthenticate,
};
use parser::{
    Frame, Framer, Header, HeaderName, Message, Reply, Rewrite, SentInvite, Stamp, Uri, equivalent, unquote, write_ack,
    write_cancel,
};

/// A header line: text before the repeated element, the element, and text after it.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    before: &'static str,
    repeated: &'static str,
    after: &'static str,
}

const HEAD: &str =
    "OPTIONS sip:a SIP/2.0\r\nv: SIP/2.0/TCP h\r\nf: sip:a;tag=1\r\nt: sip:b\r\ni: 1\r\nCSeq: 1 OPTIONS\r\n";
const TAIL: &str = "\r\nl: 0\r\n\r\n";

const fn line(name: &'static str, before: &'static str, repeated: &'static str, after: &'static str) -> Shape {
    Shape { name, before, repeated, after }
}

pub(crate) const SHAPES: &[Shape] = &[
    line("header lines", "", "X: y\r\n", "X: y"),
    line("Via lines", "", "v: SIP/2.0/UDP h;branch=z9hG4bK1\r\n", "X: y"),
    line("From lines", "", "f: sip:a;tag=1\r\n", "X: y"),
    line("Vias in one line", "v: SIP/2.0/UDP h", ",SIP/2.0/UDP h", ""),
    line("Routes in one line", "Route: <sip:h;lr>", ",<sip:h;lr>", ""),
    line("Contacts in one line", "m: <sip:h>", ",\"a\"<sip:a@h;x>;q=1", ""),
    line("commas", "Route: ", ",", ""),
    line("commas and spaces", "v: ", " , ", ""),
    line("white space in a value", "Subject: a", " ", "b"),
    line("white space after a value", "v: SIP/2.0/UDP h", " ", ""),
    line("white space before a colon", "Subject", " ", ": a"),
    line("white space in a Via", "v: SIP/2.0/UDP h", " ", ";branch=1"),
    line("white space between parameters", "v: SIP/2.0/UDP h", " ; a = b ", ""),
    line("folds", "Subject: a", "\r\n b", ""),
    line("empty folds", "m: <sip:a>", "\r\n ", ";q=1"),
    line("escaped quotes", "f: \"", "\\\"", "\" <sip:a>"),
    line("backslashes", "m: \"", "\\\\", "\" <sip:a>"),
    line("quoted strings", "m: ", "\"a\"", " <sip:a>"),
    line("quoted elements", "m: ", "\"a\",", "<sip:a>"),
    line("an unclosed quote", "m: \"", ",<sip:a>;", ""),
    line("unclosed quotes", "m: ", "<sip:a>;p=\"\\\",", ""),
    line("unclosed brackets", "Route: ", "<sip:a,", ""),
    line("brackets in brackets", "m: ", "<", "sip:a>"),
    line("closed brackets", "m: ", "<>,", ""),
    line("Via parameters", "v: SIP/2.0/UDP h", ";p=q", ""),
    line("address parameters", "m: <sip:a>", ";p=\"q;\"", ""),
    line("empty parameters", "m: <sip:a>", ";", ""),
    line("URI parameters", "m: <sip:a@h", ";p=q", ">"),
    line("URI headers", "m: <sip:a@h?a=b", "&a=b", ">"),
    line("escapes in a user", "m: <sip:", "%41", "@h>"),
    line("broken escapes", "m: <sip:a", "%4", "@h>"),
    line("ats and colons", "m: <sip:", "a:b@", ">"),
    line("an unclosed IPv6 address", "v: SIP/2.0/UDP [", "::", ""),
    line("credentials", "Authorization: Digest a=b", ",a=\"b,\"", ""),
    line("challenges", "WWW-Authenticate: Digest realm=\"a\"", ", b = c", ""),
    line("nested comments", "Retry-After: 1 ", "(", ""),
    line("comments", "User-Agent: a", " (b\\)) c/d", ""),
    line("comments in comments", "User-Agent: ", "((a)", ""),
    line("unclosed comments", "User-Agent: a ", "b ( ", ""),
    line("feature tags", "a: *", ";+a=\"b,!<c>\"", ""),
    line("values of a feature tag", "m: <sip:a>;methods=\"A", ",!<b>,#1", "\""),
    line("media types", "Accept: a/b", ",c/d;q=0.1", ""),
    line("warnings", "Warning: 399 a \"b\"", ",399 a \"\\\"\"", ""),
    line("privacy values", "Privacy: a", "; b", ""),
    line("option tags", "Supported: a", ",b", ""),
    line("digits of a telephone number", "m: <tel:+", "1-", "1;ext=1>"),
    line("parameters of a telephone number", "m: <tel:+1", ";p=q", ">"),
    line("parameters of a telephone user", "m: <sip:+1", ";p=q", "@h;user=phone>"),
    line("colons of an IPv6 address", "m: <sip:[", ":", "]>"),
    line("zeros of an IPv6 address", "m: <sip:[::", "0", "1]>"),
    line("date", "Date: Sat, 13 Nov 2010 ", "0", ":29:00 GMT"),
    line("timestamp", "Timestamp: 1", "0", ".1 0.2"),
    line("Content-Length digits", "l: ", "0", ""),
    line("Content-Length lines", "", "l: 0\r\n", "X: y"),
    line("a name without a colon", "", "a", ""),
    line("lone CRs", "X: ", "\r", "y"),
    line("lone LFs", "", "X: y\n", "X: y"),
    line("control characters", "X: ", "\x01", ""),
    line("quoted controls", "X: \"", "\\\x01", "\""),
    line("octets above ASCII", "f: ", "\u{e9}", " <sip:a>"),
];

impl Shape {
    /// A message of this shape with about `size` octets.
    pub(crate) fn message(&self, size: usize) -> Bytes {
        let room = size.saturating_sub(HEAD.len() + self.before.len() + self.after.len() + TAIL.len());
        let text = [HEAD, self.before, &self.repeated.repeat(room / self.repeated.len()), self.after, TAIL].concat();
        text.into()
    }
}

/// Shapes outside of header lines: before a message, in the Request-URI, in the reason phrase.
pub(crate) fn other_messages(size: usize) -> [(&'static str, Bytes); 3] {
    let padding = "\r\n".repeat(size / 2);
    let params = ";p=q".repeat(size / 4);
    [
        ("CRLFs before a message", format!("{padding}{HEAD}{}", &TAIL[2..]).into()),
        ("Request-URI parameters", HEAD.replacen("sip:a", &format!("sip:a{params}"), 1).into()),
        ("a reason phrase", format!("SIP/2.0 200 {}\r\nl: 0\r\n\r\n", "x ".repeat(size / 2)).into()),
    ]
}

/// Parses the head and its lines.
pub(crate) fn parse(octets: &Bytes) {
    std::hint::black_box(Message::parse(octets.clone()).is_ok());
}

/// Splits a stream that arrives in pieces of `piece` octets.
pub(crate) fn frame(octets: &Bytes, piece: usize) {
    let mut framer = Framer::new(usize::MAX);
    let (mut start, mut end) = (0, 0);
    loop {
        match framer.next(octets.get(start..end).unwrap_or_default()) {
            Ok(Frame::Partial) if end < octets.len() => end = octets.len().min(end + piece),
            Ok(Frame::Ping(len) | Frame::Crlf(len) | Frame::Complete(len)) => start += len,
            Ok(Frame::Partial) | Err(_) => return,
        }
    }
}

/// Parses what a proxy parses, and more.
pub(crate) fn read(octets: &Bytes) {
    let Ok(message) = Message::parse(octets.clone()) else { return };
    each::<Via<'_>>(&message, |via| {
        std::hint::black_box((via.branch(), via.received(), via.maddr(), via.rport()));
    });
    each::<Contact<'_>>(&message, |contact| {
        let binding = contact.binding();
        std::hint::black_box((binding.q().is_ok(), binding.expires(), binding.instance(), binding.reg_id()));
        contact.features().for_each(|feature| feature.values().for_each(drop));
        if let Some(uri) = contact.address().map(|address| address.uri) {
            targets(&uri);
        }
    });
    each::<Authorization<'_>>(&message, |value| {
        let value = value.credentials;
        std::hint::black_box((value.username(), value.realm(), value.nonce(), value.response(), value.nc()));
    });
    each::<WwwAuthenticate<'_>>(&message, |value| {
        std::hint::black_box((value.challenge.realm(), value.challenge.nonce(), value.challenge.is_stale()));
    });
    each::<From<'_>>(&message, |from| {
        std::hint::black_box((from.tag(), from.address.display.map(unquote)));
    });
    each::<To<'_>>(&message, |_| {});
    each::<Route<'_>>(&message, |_| {});
    each::<RecordRoute<'_>>(&message, |_| {});
    each::<CSeq<'_>>(&message, |_| {});
    each::<ContentLength>(&message, |_| {});
    each::<RetryAfter<'_>>(&message, |_| {});
    each::<UserAgent<'_>>(&message, |agent| agent.products.iter().for_each(drop));
    each::<AcceptContact<'_>>(&message, |accept| accept.features().for_each(|feature| feature.values().for_each(drop)));
    each::<Accept<'_>>(&message, |accept| _ = std::hint::black_box(accept.q()));
    each::<Warning<'_>>(&message, |warning| _ = std::hint::black_box(warning.unquoted()));
    each::<Privacy<'_>>(&message, |privacy| privacy.iter().for_each(drop));
    each::<Supported<'_>>(&message, |_| {});
    each::<Date>(&message, |_| {});
    each::<Timestamp<'_>>(&message, |_| {});
    if let Ok(uri) = Uri::parse(message.request_uri()) {
        targets(&uri);
    }
}

fn targets(uri: &Uri<'_>) {
    if let Some(number) = uri.tel().or_else(|| uri.sip()?.telephone()) {
        std::hint::black_box((number.is_same(&number), number.extension(), number.digits().count()));
    }
    if let Some(sip) = uri.sip() {
        let mut target = Vec::new();
        sip.write_target(&mut target);
        std::hint::black_box((sip.transport(), sip.is_loose(), sip.maddr(), sip.user_unescaped()));
        // With other octets the parameters are compared one by one.
        target.extend_from_slice(b";last");
        std::hint::black_box(Uri::parse(&target).is_ok_and(|other| equivalent(uri, &other)));
    }
}

fn each<'a, H: Header<'a>>(message: &'a Message, read: impl Fn(H)) {
    message.headers::<H>().flatten().for_each(read);
    std::hint::black_box(message.header::<H>().is_ok());
}

fn stamp(received: Option<IpAddr>) -> Stamp {
    Stamp { received, rport: Some(5060), rport_at: None }
}

/// Writes what a proxy writes: the forwarded message, a response, an ACK, a CANCEL.
pub(crate) fn write(octets: &Bytes, out: &mut Vec<u8>) {
    let Ok(message) = Message::parse(octets.clone()) else { return };
    out.clear();
    let mut rewrite = Rewrite::new();
    rewrite.stamp_via(&message, stamp(Some([192, 0, 2, 1].into())));
    rewrite.put_first(&message, |out| out.extend_from_slice(b"v: SIP/2.0/UDP here\r\n"));
    rewrite.remove_first(&message, HeaderName::Route);
    rewrite.remove_first(&message, HeaderName::Route);
    rewrite.remove_last(&message, HeaderName::Route);
    rewrite.remove_all(&message, HeaderName::Authorization);
    rewrite.write(&message, out);
    Reply::new(out, &message, 400, b"Bad Request", stamp(None), Some(b"t")).finish();
    let sent = SentInvite::as_is(&message);
    write_ack(&sent, &message, out);
    write_cancel(&sent, None, out);
}
