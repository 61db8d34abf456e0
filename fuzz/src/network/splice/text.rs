//! SIP messages as text: requests and responses as phones write them, and edits of their lines.

use std::net::SocketAddr;

use super::super::{DOMAIN, at};

/// The address that a phone sends from.
pub(super) fn address(phone: u8) -> SocketAddr {
    at(phone + 11)
}

/// The Via of a phone.
pub(super) fn via(phone: u8, branch: usize) -> String {
    let transport = if phone & 1 == 0 { "UDP" } else { "TCP" };
    format!("SIP/2.0/{transport} {};branch=z9hG4bK{phone}-{branch};rport", address(phone))
}

/// A request of a phone for a user of the domain. `from` and `to` are users with their tag parameters.
pub(super) fn request(
    method: &str,
    uri: &str,
    phone: u8,
    call_id: &str,
    from: (&str, &str),
    to: (&str, &str),
) -> String {
    let ((from, from_tag), (to, to_tag)) = (from, to);
    let from_tag = if from_tag.is_empty() { ";tag=r" } else { from_tag };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: <sip:{from}@{DOMAIN}>{from_tag}\r\n\
         To: <sip:{to}@{DOMAIN}>{to_tag}\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:{to}@{}{}>\r\nContent-Length: 0\r\n\r\n",
        via(phone, method.len()),
        address(phone),
        if phone & 1 == 0 { "" } else { ";transport=tcp" },
    )
}

/// The response of Bob's phone to a request.
pub(super) fn response(request: &str, status: &str, phone: u8) -> String {
    let mut reply = format!("SIP/2.0 {status}\r\n");
    for line in lines(request).iter().skip(1) {
        let copied = ["Via", "Record-Route", "From", "Call-ID", "CSeq"].iter().any(|name| is(line, name));
        if copied {
            reply.push_str(&format!("{line}\r\n"));
        } else if is(line, "To") {
            reply.push_str(&format!("{line};tag=b\r\n"));
        }
    }
    format!("{reply}Contact: <sip:bob@{}>\r\nContent-Length: 0\r\n\r\n", address(phone))
}

/// The next request of the caller in the dialog of a 2xx.
pub(super) fn within(ok: &str, method: &str, phone: u8) -> String {
    let sip = lines(ok);
    let value = |name| values(&sip, name).next().unwrap_or_default().to_owned();
    let target = value("Contact");
    let mut routes: Vec<&str> = values(&sip, "Record-Route").collect();
    routes.reverse();
    let routes: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
    let number = if method == "ACK" { 2 } else { 3 };
    format!(
        "{method} {} SIP/2.0\r\nVia: {}\r\n{routes}Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n",
        target.trim_matches(['<', '>']),
        via(phone, 100 + method.len()),
        value("From"),
        value("To"),
        value("Call-ID"),
    )
}

/// The start line and the header lines.
pub(super) fn lines(text: &str) -> Vec<String> {
    text.split("\r\n\r\n").next().unwrap_or_default().split("\r\n").map(str::to_owned).collect()
}

/// The word at position `number` of a line, empty if there is none.
pub(super) fn word(text: &str, number: usize) -> &str {
    text.split(' ').nth(number).unwrap_or_default()
}

/// Whether a line has this name.
pub(super) fn is(line: &str, name: &str) -> bool {
    line.split_once(':').is_some_and(|(own, _)| own.eq_ignore_ascii_case(name))
}

/// The values of all lines of a header.
pub(super) fn values<'a>(sip: &'a [String], name: &'a str) -> impl Iterator<Item = &'a str> {
    sip.iter().filter(move |line| is(line, name)).filter_map(|line| line.split_once(':')).map(|(_, value)| value.trim())
}

/// Replaces all lines of a header by those of another message.
pub(super) fn take_lines(sip: &mut Vec<String>, other: &[String], name: &str) {
    sip.retain(|line| !is(line, name));
    let at = sip.len().min(1);
    sip.splice(at..at, other.iter().filter(|line| is(line, name)).cloned());
}

/// Replaces the first line of a header, or adds it.
pub(super) fn set(sip: &mut Vec<String>, name: &str, value: &str) {
    let line = format!("{name}: {value}");
    match sip.iter_mut().find(|line| is(line, name)) {
        Some(old) => *old = line,
        None => sip.push(line),
    }
}

/// Changes the method, also in the CSeq. A response becomes a request.
pub(super) fn set_method(sip: &mut Vec<String>, method: &str) {
    let uri = if sip[0].starts_with("SIP/2.0") { format!("sip:bob@{DOMAIN}") } else { word(&sip[0], 1).to_owned() };
    sip[0] = format!("{method} {uri} SIP/2.0");
    let number = values(sip, "CSeq").next().map(|cseq| word(cseq, 0).to_owned()).unwrap_or_default();
    set(sip, "CSeq", &format!("{number} {method}"));
}

/// Changes the Request-URI. A response becomes a request.
pub(super) fn set_uri(sip: &mut [String], uri: &str) {
    let method = if sip[0].starts_with("SIP/2.0") { "MESSAGE" } else { word(&sip[0], 0) };
    sip[0] = format!("{method} {uri} SIP/2.0");
}
