//! `sips:` (RFC 3261 26.2.2, RFC 5630 5.3): a request to such a URI is sent over TLS only, and to `sips:` Contacts
//! only.
//!
//! Checked wherever a next hop is chosen: for bindings, Route and Request-URI, redirections, and NOTIFYs. The flow of a
//! phone is checked like any other next hop. Must not check any other permission.

use crate::reject::Reject;

use super::NextHop;
use crate::target::is_sips;

/// Checks whether a request to `request_uri` may be sent to this Contact. `next_hop` is `None` if there is none.
pub(crate) fn check_sips_contact(request_uri: &[u8], contact: &[u8], next_hop: Option<&NextHop>) -> Result<(), Reject> {
    match (is_sips(request_uri), is_sips(contact)) {
        (false, false) => Ok(()),
        (true, false) => Err(Reject::SipsNotAllowed),
        (_, true) if next_hop.is_some_and(NextHop::is_secure) => Ok(()),
        (true, true) => Err(Reject::SipsNotAllowed),
        (false, true) => Err(Reject::SipsRequired),
    }
}

/// Checks whether a message with this Request-URI may be sent to this next hop, which was chosen by the URI
/// `next`.
pub(crate) fn check_sips_hop(request_uri: &[u8], next: &[u8], next_hop: &NextHop) -> Result<(), Reject> {
    if (is_sips(request_uri) || is_sips(next)) && !next_hop.is_secure() { Err(Reject::SipsNotAllowed) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use parser::Transport;

    use super::*;
    use crate::hop::Name;

    #[test]
    fn every_pair_of_schemes_is_checked() {
        let next_hop = |transport| {
            NextHop::Name(Name { host: "h".into(), port: Some(1), transport: Some(transport), secure: false })
        };
        let (tls, tcp) = (next_hop(Transport::Tls), next_hop(Transport::Tcp));
        let (sip, sips) = (&b"sip:a@b"[..], &b"SIPS:a@b"[..]);
        for (request_uri, contact, next_hop, expected) in [
            (sip, sip, Some(&tcp), Ok(())),
            (sip, sip, None, Ok(())),
            (sip, sips, Some(&tcp), Err(Reject::SipsRequired)),
            (sip, sips, None, Err(Reject::SipsRequired)),
            (sip, sips, Some(&tls), Ok(())),
            (sips, sip, Some(&tls), Err(Reject::SipsNotAllowed)),
            (sips, sips, Some(&tcp), Err(Reject::SipsNotAllowed)),
            (sips, sips, Some(&tls), Ok(())),
        ] {
            assert_eq!(check_sips_contact(request_uri, contact, next_hop), expected);
        }
        assert!(!is_sips(b"sip:sips:") && !is_sips(b"sips") && !is_sips(b""));
        assert_eq!(check_sips_hop(sips, sip, &tls), Ok(()));
        assert_eq!(check_sips_hop(sip, sips, &tcp), Err(Reject::SipsNotAllowed));
    }
}
