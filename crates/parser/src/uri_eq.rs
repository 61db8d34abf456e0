//! URI comparison (RFC 3261 19.1.4). The RFC's relation is not transitive, so it cannot be used for the keys of a map.

use crate::{
    Params, SipUri, Uri,
    escape::{eq_unescaped, eq_unescaped_ignore_case},
};

/// Parameters that both URIs must have if one has it, even with its default value (RFC 3261 19.1.4).
const REQUIRED_IN_BOTH: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

/// Maximum of parameters or headers that are compared one by one: each is looked up in the other URI, which is
/// quadratic. With more of them only identical octets are equal.
const MAX_COMPARED: usize = 64;

/// Whether both URIs are equivalent by RFC 3261 19.1.4, telephone numbers by RFC 3966 4. Of other URIs the scheme is
/// compared ignoring case, the rest octet by octet.
pub fn equivalent(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    match (a, b) {
        (Uri::Sip(a), Uri::Sip(b)) => equivalent_sip(a, b),
        (Uri::Other { scheme, rest, .. }, Uri::Other { scheme: other_scheme, rest: other_rest, .. }) => {
            // Compared by RFC 3966 4 if both are well-formed numbers.
            if let (Some(a), Some(b)) = (a.tel(), b.tel()) {
                return a.is_same(&b);
            }
            scheme.eq_ignore_ascii_case(other_scheme) && rest == other_rest
        }
        _ => false,
    }
}

fn equivalent_sip(a: &SipUri<'_>, b: &SipUri<'_>) -> bool {
    a.secure == b.secure
        && same_part(a.user, b.user)
        && same_part(a.password(), b.password())
        && a.host.eq_ignore_case(&b.host)
        && a.port == b.port
        && same_params(a.params, b.params)
        && same_headers(a.headers(), b.headers())
}

fn same_part(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => eq_unescaped(a, b),
        (None, None) => true,
        _ => false,
    }
}

fn same_params(a: Params<'_>, b: Params<'_>) -> bool {
    if a.as_bytes() == b.as_bytes() {
        return true;
    }
    if a.iter().nth(MAX_COMPARED).is_some() || b.iter().nth(MAX_COMPARED).is_some() {
        return false;
    }
    let is_in_both_or_neither = |name: &[u8]| find_param(a, name).is_some() == find_param(b, name).is_some();
    let is_equal = |name: &[u8]| match (find_param(a, name), find_param(b, name)) {
        (Some(value), Some(other)) => eq_unescaped_ignore_case(value.unwrap_or_default(), other.unwrap_or_default()),
        _ => true,
    };
    // A name must not occur twice (19.1.1). If it does, the first one counts, in both URIs.
    REQUIRED_IN_BOTH.iter().all(|name| is_in_both_or_neither(name.as_bytes()))
        && a.iter().all(|(name, _)| is_equal(name))
}

fn find_param<'a>(params: Params<'a>, name: &[u8]) -> Option<Option<&'a [u8]>> {
    params.iter().find(|(found, _)| eq_unescaped_ignore_case(found, name)).map(|(_, value)| value)
}

/// Headers are never ignored: each must occur in both URIs the same number of times, in any order.
fn same_headers(a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    let count = fields(a).count();
    count <= MAX_COMPARED
        && count == fields(b).count()
        && fields(a).all(|field| occurrences(a, field) == occurrences(b, field))
}

fn occurrences(headers: &[u8], field: (&[u8], &[u8])) -> usize {
    fields(headers)
        .filter(|(name, value)| eq_unescaped_ignore_case(name, field.0) && eq_unescaped(value, field.1))
        .count()
}

fn fields(headers: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.split(|byte| *byte == b'&').filter(|field| !field.is_empty()).map(|field| {
        let at = memchr::memchr(b'=', field).unwrap_or(field.len());
        (field.get(..at).unwrap_or_default(), field.get(at + 1..).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(a: &str, b: &str, expected: bool) {
        let (first, second) = (Uri::parse(a.as_bytes()).unwrap(), Uri::parse(b.as_bytes()).unwrap());
        assert_eq!(equivalent(&first, &second), expected, "{a} {b}");
        assert_eq!(equivalent(&second, &first), expected, "{b} {a}");
        assert!(equivalent(&first, &first), "{a}");
    }

    #[test]
    fn uris_that_19_1_4_calls_equivalent_are_equivalent() {
        check("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true);
        check("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true);
        check("sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true);
        check("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true);
        check(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            true,
        );
        check(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            true,
        );
    }

    #[test]
    fn uris_that_19_1_4_calls_different_are_different() {
        check("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false);
        check("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false);
        check("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false);
        check("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false);
        check("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false);
        check("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false);
        check("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false);
    }

    #[test]
    fn uris_are_compared_by_the_other_rules_of_19_1_4() {
        check("sip:a@h", "sips:a@h", false);
        check("sip:a@h", "sip:h", false);
        check("sip:a@h", "sip:a:@h", false);
        check("sip:a%3Bb@h", "sip:a;b@h", false);
        check("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]", true);
        // RFC 5954 4.2: the address counts, not how it is written.
        check("sip:a@[::ffff:192.0.2.1]", "sip:a@[0:0:0:0:0:FFFF:c000:0201]", true);
        check("sip:a@[::ffff:192.0.2.1]", "sip:a@192.0.2.1", false);
        for alone in ["user=ip", "ttl=1", "method=INVITE", "maddr=h", "transport=udp"] {
            check("sip:a@h", &format!("sip:a@h;{alone}"), false);
        }
        check("sip:a@h?a=1&a=2", "sip:a@h?a=2&a=1", true);
        check("sip:a@h?a=1&a=1", "sip:a@h?a=2&a=1", false);
        check("sip:h;x=1", "sip:h;x=1;x=2", true);
        check("sip:h;x=2", "sip:h;x=1;x=2", false);
        check("tel:+1-2", "TEL:+1-2", true);
        check("tel:+1-2", "tel:+12", true);
        check("tel:a", "sip:a", false);
    }

    #[test]
    fn thousands_of_parameters_take_no_quadratic_time() {
        let many = |last: &str| format!("sip:h{}{last}", ";p".repeat(10_000));
        check(&many(";x=1"), &many(";x=1"), true);
        check(&many(";x=1"), &many(";x=2"), false);
    }
}
