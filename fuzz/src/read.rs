//! Asks a message everything that can be asked, and checks what must be so whatever the message is.

use bytes::Bytes;
use parser::headers::*;
use parser::{Header, HeaderName, Message, NameAddr, SipUri, Uri, equivalent, unescape, unquote};

/// The message, if it has a start line.
pub fn parse(octets: &[u8]) -> Option<Message> {
    Message::parse(Bytes::copy_from_slice(octets)).ok()
}

/// Reads every line as the header it is.
pub fn read_all(message: &Message) {
    let mut names = Vec::new();
    for line in message.lines() {
        let value = message.line_value(&line);
        assert_eq!(message.span_of(value), Some(line.value), "a value lies where its line says");
        let _ = (unquote(value), unescape(value), message.line_name(&line));
        if !names.contains(&line.name) {
            names.push(line.name);
            read_as(message, line.name);
        }
    }
    let _ = message.method();
}

macro_rules! kinds {
    ($message:ident, $name:ident: $($kind:ident,)*) => {
        match $name {
            $(HeaderName::$kind => each::<$kind<'_>>($message, |_| {}),)*
            _ => _ = $message.values($name).count(),
        }
    };
}

/// Reads all values of a header.
fn read_as(message: &Message, name: HeaderName) {
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
        HeaderName::ContentLength => each(message, |_: ContentLength| {}),
        HeaderName::MaxForwards => each(message, |_: MaxForwards| {}),
        HeaderName::MaxBreadth => each(message, |_: MaxBreadth| {}),
        HeaderName::Expires => each(message, |_: Expires| {}),
        HeaderName::MinExpires => each(message, |_: MinExpires| {}),
        HeaderName::FlowTimer => each(message, |_: FlowTimer| {}),
        HeaderName::Date => each(message, |_: Date| {}),
        name => kinds!(message, name: CSeq, CallId, ContentType, RetryAfter, Timestamp, Allow, Require, ProxyRequire,
            Supported, Unsupported, RequestDisposition,),
    }
}

fn read_features(features: Features<'_>) {
    for feature in features {
        assert!(!feature.tag.is_empty(), "feature tags have names");
        let _ = (feature.text(), feature.values().for_each(drop));
    }
}

fn each<'a, H: Header<'a>>(message: &'a Message, read: impl Fn(H)) {
    for header in message.headers::<H>() {
        match header {
            Ok(header) => read(header),
            Err(error) => {
                assert!(error.offset as usize <= message.bytes().len(), "a fault lies in its message");
                drop(error.to_string());
            }
        }
    }
    let first = message.header::<H>();
    let required = message.required::<H>();
    assert_eq!(required.is_ok(), matches!(first, Ok(Some(_))), "a header is there or it is not");
}

fn read_via(via: Via<'_>) {
    let _ = (via.branch(), via.received(), via.maddr(), via.rport(), via.transport(), via.host.ip());
    let again = Via::parse(via.raw).expect("what was read once can be read again");
    assert!(via.host.eq_ignore_case(&again.host));
}

fn read_address(address: &NameAddr<'_>) {
    let text = [b"<", address.uri.as_bytes(), b">", address.params.as_bytes()].concat();
    let again = NameAddr::parse(&text).expect("what was read once can be read again");
    assert_eq!(again.uri.as_bytes(), address.uri.as_bytes());
    assert_eq!(again.params, address.params);
    for (name, value) in address.params {
        assert!(!name.is_empty(), "parameters have names");
        drop(value.map(unquote));
    }
    read_uri(&address.uri);
}

fn read_contact(contact: Contact<'_>) {
    assert!(contact.q().ok().flatten().unwrap_or(0) <= 1000);
    let _ = (contact.expires(), contact.instance(), contact.reg_id(), contact.params());
    let _ = (contact.pub_gruu(), contact.temp_gruu(), contact.is_outbound());
    read_features(contact.features());
    if let Some(address) = contact.address() {
        read_address(address);
    }
}

fn read_uri(uri: &Uri<'_>) {
    let again = Uri::parse(uri.as_bytes()).expect("a URI stands for itself");
    assert_eq!(again.as_bytes(), uri.as_bytes());
    assert!(equivalent(uri, &again), "a URI is equivalent to itself");
    read_number(uri);
    if let Some(uri) = uri.sip() {
        let _ = (uri.transport(), uri.is_loose(), uri.maddr(), uri.user_unescaped());
        read_target(uri);
    }
}

/// The telephone number that a URI is, or that its user part is.
pub fn read_number(uri: &Uri<'_>) {
    let user = uri.sip().and_then(|uri| uri.telephone());
    for number in uri.tel().into_iter().chain(user) {
        assert!(number.digits().next().is_some(), "a number has digits");
        assert!(number.is_same(&number), "a number is the same as itself");
        let _ = (number.is_global(), number.context(), number.extension(), number.subaddress());
    }
}

/// A target has no headers and no method, is a URI, and makes itself.
pub fn read_target(uri: &SipUri<'_>) {
    let mut target = Vec::new();
    uri.write_target(&mut target);
    let parsed = Uri::parse(&target).expect("a target is a URI");
    let parsed = parsed.sip().expect("a target is a SIP URI");
    assert!(parsed.headers().is_empty() && !parsed.params.has("method"));
    assert_eq!((parsed.user, parsed.password(), parsed.port), (uri.user, uri.password(), uri.port));
    let mut again = Vec::new();
    parsed.write_target(&mut again);
    assert_eq!(target, again, "a target is its own target");
}

fn read_credentials(value: &Credentials<'_>) {
    let _ = (value.username(), value.realm(), value.nonce(), value.uri(), value.cnonce(), value.opaque());
    let _ = (value.response(), value.algorithm(), value.qop(), value.nc(), value.is_digest());
    value.params.iter().for_each(drop);
}

fn read_challenge(value: &Challenge<'_>) {
    let _ = (value.realm(), value.nonce(), value.algorithm(), value.is_stale());
}
