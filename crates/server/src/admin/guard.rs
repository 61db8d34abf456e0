//! Access control: decides which requests are refused before they are handled. Must not handle them.
//!
//! Metrics, health and readiness contain no names and are open to everybody. Everything else is open to loopback
//! clients only or, with `admin.token`, to clients that send the token. A web page of another origin can make a
//! browser send requests here, so Host has to be an IP address or a name of this server (DNS rebinding), Origin has
//! to be this server, and requests that change something need a header that a cross-origin page cannot set. There are
//! no cookies.
//!
//! Requests that two HTTP implementations could interpret differently are refused first (RFC 9112 3.2, 6.1).

use std::net::IpAddr;

use ctutils::CtEq as _;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, TRANSFER_ENCODING,
};
use hyper::http::uri::Authority;
use hyper::{Method, Uri, Version};

use crate::config::{Config, Token};

/// Required for every method but GET, and for the messages of calls; the value does not matter.
pub(crate) const CSRF_HEADER: HeaderName = HeaderName::from_static("x-frontdesk");

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccessDenied {
    /// 400: the request is ambiguous.
    #[error(
        "expected one Host that is a host name or address, as in the request line if it has one, and no Transfer-Encoding"
    )]
    Malformed,
    /// 403: no token is configured and the client is not on this machine.
    #[error("only clients on this machine are allowed: set admin.token to allow others")]
    Remote,
    /// 401: the token is missing or wrong.
    #[error("the token of admin.token is needed, as Authorization: Bearer")]
    Token,
    /// 403: Host is not a name of this server.
    #[error("unknown host name: use an address, or one of the configured domains or aliases")]
    Host,
    /// 403: Origin is not this server.
    #[error("requests of other origins are refused")]
    Origin,
    /// 403: [`CSRF_HEADER`] is missing.
    #[error("a request that changes something, or reads the messages of calls, needs the header X-Frontdesk")]
    CsrfHeader,
}

/// Refuses requests that two HTTP implementations could interpret differently.
pub(crate) fn check_unambiguous(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), AccessDenied> {
    let host = match (headers.get_all(HOST).iter().count(), version) {
        (1, _) => host_header(headers).ok_or(AccessDenied::Malformed)?,
        // RFC 9112 3.2: only HTTP/1.0 requests may omit Host. Health checks of load balancers do.
        (0, Version::HTTP_10) if uri.authority().is_none() => return check_header_counts(headers),
        _ => return Err(AccessDenied::Malformed),
    };
    // RFC 9112 3.2.2: an absolute URI in the request line overrides Host, so a different Host could only deceive a
    // proxy.
    if uri.authority().is_some_and(|named| *named != host) {
        return Err(AccessDenied::Malformed);
    }
    check_header_counts(headers)
}

/// RFC 9112 6.1: Transfer-Encoding together with Content-Length is used for request smuggling. Transfer-Encoding is
/// refused altogether, since no request here has a body and hyper hides the Content-Length that came with it.
fn check_header_counts(headers: &HeaderMap) -> Result<(), AccessDenied> {
    let count = |name: &HeaderName| headers.get_all(name).iter().count();
    // At most once each, so that no check sees another value than the code that uses it.
    let once = [CONTENT_LENGTH, ORIGIN, AUTHORIZATION, SEC_FETCH_SITE].iter().all(|name| count(name) <= 1);
    if once && count(&TRANSFER_ENCODING) == 0 { Ok(()) } else { Err(AccessDenied::Malformed) }
}

/// The Host header, if it is a host with an optional port (RFC 9110 7.2).
pub(super) fn host_header(headers: &HeaderMap) -> Option<Authority> {
    let host = headers.get(HOST).and_then(text)?.parse::<Authority>().ok()?;
    Some(host).filter(|host| !host.as_str().contains('@') && !host.host().is_empty())
}

/// Checks a request for the page. With a token configured the page is open to any address: it has no secrets, and asks
/// for the token.
pub(crate) fn check_page(peer: IpAddr, headers: &HeaderMap, config: &Config) -> Result<(), AccessDenied> {
    if config.admin.token.is_none() && !peer.to_canonical().is_loopback() {
        return Err(AccessDenied::Remote);
    }
    check_host(headers, config)
}

/// Checks a request to the API.
pub(crate) fn check_api(
    peer: IpAddr,
    method: &Method,
    headers: &HeaderMap,
    config: &Config,
) -> Result<(), AccessDenied> {
    check_page(peer, headers, config)?;
    check_origin(headers)?;
    if *method != Method::GET {
        check_intent(headers)?;
    }
    match &config.admin.token {
        Some(token) if !has_token(token, headers) => Err(AccessDenied::Token),
        _ => Ok(()),
    }
}

/// Checks that no page of another origin sends a request: it has a header that such a page cannot set.
pub(crate) fn check_intent(headers: &HeaderMap) -> Result<(), AccessDenied> {
    if headers.contains_key(CSRF_HEADER) { Ok(()) } else { Err(AccessDenied::CsrfHeader) }
}

/// Checks that a request is for a name of this server.
pub(crate) fn check_host(headers: &HeaderMap, config: &Config) -> Result<(), AccessDenied> {
    let Some(authority) = host_header(headers) else { return Err(AccessDenied::Host) };
    // A trailing dot (the DNS root) makes no difference.
    let host = authority.host().strip_suffix('.').unwrap_or_else(|| authority.host());
    // DNS rebinding needs a name, so IP addresses are safe.
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let mut own = config.domains.iter().chain(&config.aliases).chain(&config.advertise);
    let ours = literal || host.eq_ignore_ascii_case("localhost") || own.any(|own| own.0.eq_ignore_ascii_case(host));
    if ours { Ok(()) } else { Err(AccessDenied::Host) }
}

fn check_origin(headers: &HeaderMap) -> Result<(), AccessDenied> {
    let foreign_site = headers.get(SEC_FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none");
    let own = headers.get(HOST).and_then(text);
    let foreign_origin = headers.get_all(ORIGIN).iter().any(|origin| {
        let host =
            text(origin).and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
        host.is_none() || host != own
    });
    if foreign_site || foreign_origin { Err(AccessDenied::Origin) } else { Ok(()) }
}

fn has_token(token: &Token, headers: &HeaderMap) -> bool {
    let shown = headers.get(AUTHORIZATION).and_then(text).and_then(|value| {
        let (scheme, shown) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| shown.trim())
    });
    // Constant-time, so that the response time reveals nothing of the token.
    shown.is_some_and(|shown| shown.as_bytes().ct_eq(token.0.as_bytes()).to_bool())
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const TOKEN: &str = "0123456789abcdef";

    fn config(token: bool) -> Config {
        let text = format!("aliases: [sip.office.example]\nadmin: {{ token: {TOKEN} }}\n");
        let mut config: Config = serde_yaml::from_str(&text).expect("a configuration");
        config.admin.token = config.admin.token.filter(|_| token);
        config
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[track_caller]
    fn get(peer: &str, token: bool, list: &[(&'static str, &str)], expected: Result<(), AccessDenied>) {
        let peer = peer.parse().expect("an address");
        assert_eq!(check_api(peer, &Method::GET, &headers(list), &config(token)), expected, "{list:?}");
    }

    #[test]
    fn without_a_token_only_this_machine_is_accepted() {
        for here in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            get(here, false, &[("host", "127.0.0.1:9090")], Ok(()));
        }
        for elsewhere in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            get(elsewhere, false, &[("host", "127.0.0.1:9090")], Err(AccessDenied::Remote));
        }
    }

    #[test]
    fn with_a_token_every_address_is_accepted() {
        let host = ("host", "192.0.2.1:9090");
        get("192.0.2.7", true, &[host, ("authorization", "Bearer 0123456789abcdef")], Ok(()));
        get("192.0.2.7", true, &[host, ("authorization", "bearer 0123456789abcdef")], Ok(()));
        for wrong in ["Bearer 0123456789abcdee", "Bearer 0123456789abcde", "Basic 0123456789abcdef", "Bearer", ""] {
            get("127.0.0.1", true, &[host, ("authorization", wrong)], Err(AccessDenied::Token));
        }
        get("127.0.0.1", true, &[host], Err(AccessDenied::Token));
        assert_eq!(check_page([192, 0, 2, 7].into(), &headers(&[host]), &config(true)), Ok(()));
    }

    #[test]
    fn only_host_names_of_this_server_are_accepted() {
        for good in [
            "localhost:9090",
            "127.0.0.1",
            "[::1]:9090",
            "Office.Example",
            "office.example.:9090",
            "sip.office.example:9090",
        ] {
            get("127.0.0.1", false, &[("host", good)], Ok(()));
        }
        for bad in ["evil.example:9090", "127.0.0.1.evil.example", "", "localhost.evil.example", "a b"] {
            get("127.0.0.1", false, &[("host", bad)], Err(AccessDenied::Host));
        }
        get("127.0.0.1", false, &[], Err(AccessDenied::Host));
    }

    #[test]
    fn an_ambiguous_request_is_refused() {
        let check = |version, target: &str, list: &[(&'static str, &str)]| {
            check_unambiguous(version, &target.parse().expect("a target"), &headers(list))
        };
        let host = ("host", "127.0.0.1:9090");
        for (target, list) in [
            ("/", &[host][..]),
            ("http://127.0.0.1:9090/", &[host]),
            ("/", &[("host", "anything.example")]),
            ("/", &[host, ("content-length", "0")]),
            ("/", &[host, ("origin", "http://127.0.0.1:9090"), ("authorization", "Bearer x")]),
        ] {
            assert_eq!(check(Version::HTTP_11, target, list), Ok(()), "{target} {list:?}");
        }
        for (target, list) in [
            ("/", &[][..]),
            ("/", &[host, host]),
            ("/", &[host, ("host", "evil.example")]),
            ("/", &[("host", "")]),
            ("/", &[("host", "a b")]),
            ("/", &[("host", "a.example/b")]),
            ("/", &[("host", "evil.example@127.0.0.1:9090")]),
            ("http://evil.example/", &[host]),
            ("/", &[host, ("content-length", "4"), ("transfer-encoding", "chunked")]),
            ("/", &[host, ("content-length", "4"), ("content-length", "0")]),
            ("/", &[host, ("origin", "http://127.0.0.1:9090"), ("origin", "http://evil.example")]),
            ("/", &[host, ("authorization", "Bearer a"), ("authorization", "Bearer b")]),
        ] {
            assert_eq!(check(Version::HTTP_11, target, list), Err(AccessDenied::Malformed), "{target} {list:?}");
        }
        assert_eq!(check(Version::HTTP_10, "/health", &[]), Ok(()));
        assert_eq!(check(Version::HTTP_10, "/health", &[host, host]), Err(AccessDenied::Malformed));
        assert_eq!(check(Version::HTTP_10, "http://evil.example/", &[]), Err(AccessDenied::Malformed));
    }

    #[test]
    fn requests_of_other_origins_are_refused() {
        let host = ("host", "127.0.0.1:9090");
        get("127.0.0.1", false, &[host, ("origin", "http://127.0.0.1:9090")], Ok(()));
        get("127.0.0.1", false, &[host, ("sec-fetch-site", "same-origin")], Ok(()));
        for origin in ["http://evil.example", "http://127.0.0.1:9091", "null", "http://localhost:9090"] {
            get("127.0.0.1", false, &[host, ("origin", origin)], Err(AccessDenied::Origin));
        }
        for site in ["cross-site", "same-site"] {
            get("127.0.0.1", false, &[host, ("sec-fetch-site", site)], Err(AccessDenied::Origin));
        }
        for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
            let plain = headers(&[host, ("content-type", "text/plain")]);
            assert_eq!(check_api(HERE, &method, &plain, &config(false)), Err(AccessDenied::CsrfHeader));
            let meant = headers(&[host, ("x-frontdesk", "1")]);
            assert_eq!(check_api(HERE, &method, &meant, &config(false)), Ok(()));
        }
    }
}
