//! Calls every accessor of a message, and checks what must hold for each message.

use bytes::Bytes;
use parser::headers::*;
use parser::{Header, HeaderName, Message, NameAddr, SipUri, Uri, equivalent, unescape, unquote};

/// The message, if it has a start line.
pub fn parse(octets: &[u8]) -> Option<Message> {
    Message::parse(Bytes::copy_from_slice(octets)).ok()
}

/// Parses every header of a message, and calls the accessors of its values.
pub fn read_all(message: &Message) {
    let mut names = Vec::new();
    for line in message.lines() {
        let value = message.line_value(&line);
        assert_eq!(message.span_of(value), Some(line.value), "the span of a value is where its line says");
        let _ = (unquote(value), unescape(value), message.line_name(&line));
        if !names.contains(&line.name) {
            names.push(line.name);
            for fault in message.faults(line.name) {
                assert!(fault.offset as usize <= message.bytes().len(), "a fault is inside its message");
                drop(fault.to_string());
            }
            read_accessors(message, line.name);
        }
    }
    let _ = message.method();
}

/// Calls the accessors of all values of a header. Headers whose types have none are only parsed.
fn read_accessors(message: &Message, name: HeaderName) {
    match name {
        HeaderName::Via => each(message, read_via),
        HeaderName::From => each(message, |from: From<'_>| {
            let _ = from.tag();
            read_address(&from.address);
        }),
        HeaderName::To => each(message, |to: To<'_>| {
            let _ = to.tag();
            read_address(&to.address);
        }),
        HeaderName::Contact => each(message, read_contact),
        HeaderName::Route => each(message, |route: Route<'_>| read_address(&route.address)),
        HeaderName::RecordRoute => each(message, |route: RecordRoute<'_>| read_address(&route.address)),
        HeaderName::Path => each(message, |path: Path<'_>| read_address(&path.address)),
        HeaderName::ServiceRoute => each(message, |route: ServiceRoute<'_>| read_address(&route.address)),
        HeaderName::Authorization => each(message, |value: Authorization<'_>| read_credentials(&value.credentials)),
        HeaderName::ProxyAuthorization => {
            each(message, |value: ProxyAuthorization<'_>| read_credentials(&value.credentials));
        }
        HeaderName::WwwAuthenticate => each(message, |value: WwwAuthenticate<'_>| read_challenge(&value.challenge)),
        HeaderName::ProxyAuthenticate => each(message, |value: ProxyAuthenticate<'_>| read_challenge(&value.challenge)),
        HeaderName::Reason => each(message, |reason: Reason<'_>| _ = (reason.cause(), reason.text())),
        HeaderName::Event => each(message, |event: Event<'_>| _ = event.id()),
        HeaderName::AuthenticationInfo => each(message, |info: AuthenticationInfo<'_>| {
            let _ = (info.next_nonce(), info.response_auth(), info.cnonce(), info.qop(), info.nc());
        }),
        HeaderName::Accept => each(message, |accept: Accept<'_>| assert!(accept.q().unwrap_or(0) <= 1000)),
        HeaderName::AcceptContact => each(message, |accept: AcceptContact<'_>| {
            let _ = (accept.is_required(), accept.is_explicit());
            read_features(accept.features());
        }),
        HeaderName::RejectContact => each(message, |reject: RejectContact<'_>| read_features(reject.features())),
        HeaderName::FeatureCaps => each(message, |caps: FeatureCaps<'_>| read_features(caps.features())),
        HeaderName::Diversion => each(message, |diversion: Diversion<'_>| {
            let _ =
                (diversion.reason(), diversion.counter(), diversion.limit(), diversion.privacy(), diversion.screen());
            read_address(&diversion.address);
        }),
        HeaderName::HistoryInfo => each(message, |entry: HistoryInfo<'_>| {
            let _ = (entry.index(), entry.rc(), entry.mp(), entry.np());
            read_address(&entry.address);
        }),
        HeaderName::PAssertedIdentity => each(message, |own: PAssertedIdentity<'_>| read_address(&own.address)),
        HeaderName::PPreferredIdentity => each(message, |own: PPreferredIdentity<'_>| read_address(&own.address)),
        HeaderName::UserAgent => each(message, |agent: UserAgent<'_>| agent.products.iter().for_each(drop)),
        HeaderName::Server => each(message, |server: Server<'_>| server.products.iter().for_each(drop)),
        HeaderName::Privacy => each(message, |privacy: Privacy<'_>| privacy.iter().for_each(drop)),
        HeaderName::Warning => each(message, |warning: Warning<'_>| _ = warning.unquoted()),
        name => _ = message.values(name).count(),
    }
}

fn read_features(features: Features<'_>) {
    for feature in features {
        assert!(!feature.tag.is_empty(), "the tag of a feature is not empty");
        let _ = (feature.text(), feature.values().for_each(drop));
    }
}

fn each<'a, H: Header<'a>>(message: &'a Message, read: impl Fn(H)) {
    message.headers::<H>().flatten().for_each(read);
    let first = message.header::<H>();
    let required = message.required::<H>();
    assert_eq!(required.is_ok(), matches!(first, Ok(Some(_))), "header() and required() agree");
}

fn read_via(via: Via<'_>) {
    let _ = (via.branch(), via.received(), via.maddr(), via.rport(), via.transport(), via.host.ip());
    let again = Via::parse(via.raw).expect("a parsed value can be parsed again");
    assert!(via.host.eq_ignore_case(&again.host));
}

fn read_address(address: &NameAddr<'_>) {
    let text = [b"<", address.uri.as_bytes(), b">", address.params.as_bytes()].concat();
    let again = NameAddr::parse(&text).expect("an address with brackets can be parsed");
    assert_eq!(again.uri.as_bytes(), address.uri.as_bytes());
    assert_eq!(again.params, address.params);
    for (name, value) in address.params {
        assert!(!name.is_empty(), "the name of a parameter is not empty");
        drop(value.map(unquote));
    }
    read_uri(&address.uri);
}

fn read_contact(contact: Contact<'_>) {
    let binding = contact.binding();
    assert!(binding.q().ok().flatten().unwrap_or(0) <= 1000);
    let _ = (binding.expires(), binding.instance(), binding.reg_id(), contact.params());
    let _ = (contact.pub_gruu(), contact.temp_gruu(), contact.is_outbound());
    read_features(contact.features());
    if let Some(address) = contact.address() {
        read_address(address);
    }
}

fn read_uri(uri: &Uri<'_>) {
    let again = Uri::parse(uri.as_bytes()).expect("a parsed URI can be parsed again");
    assert_eq!(again.as_bytes(), uri.as_bytes());
    assert!(equivalent(uri, &again), "a URI is equivalent to itself");
    read_number(uri);
    if let Some(uri) = uri.sip() {
        let _ = (uri.transport(), uri.is_loose(), uri.maddr(), uri.user_unescaped());
        read_target(uri);
    }
}

/// Calls the accessors of the telephone number that a URI or its user part is.
pub fn read_number(uri: &Uri<'_>) {
    let user = uri.sip().and_then(|uri| uri.telephone());
    for number in uri.tel().into_iter().chain(user) {
        assert!(number.digits().next().is_some(), "a number has digits");
        assert!(number.is_same(&number), "a number is equal to itself");
        let _ = (number.is_global(), number.context(), number.extension(), number.subaddress());
    }
}

/// The target that is written from a URI is a URI without headers and method, and the target of a target is itself.
pub fn read_target(uri: &SipUri<'_>) {
    let mut target = Vec::new();
    uri.write_target(&mut target);
    let parsed = Uri::parse(&target).expect("a target is a URI");
    let parsed = parsed.sip().expect("a target is a SIP URI");
    assert!(parsed.headers().is_empty() && !parsed.params.has("method"));
    assert_eq!((parsed.user, parsed.password(), parsed.port), (uri.user, uri.password(), uri.port));
    let mut again = Vec::new();
    parsed.write_target(&mut again);
    assert_eq!(target, again, "the target of a target is itself");
}

fn read_credentials(value: &Credentials<'_>) {
    let _ = (value.username(), value.realm(), value.nonce(), value.uri(), value.cnonce(), value.opaque());
    let _ = (value.response(), value.algorithm(), value.qop(), value.nc(), value.is_digest());
    value.params.iter().for_each(drop);
}

fn read_challenge(value: &Challenge<'_>) {
    let _ = (value.realm(), value.nonce(), value.algorithm(), value.is_stale());
}
