//! `sips:` (RFC 3261 26.2.2, RFC 5630 5.3): a request to such a URI leaves over TLS or not at all, and to `sips:` Contacts only.
//!
//! Applied wherever a next hop is chosen: for bindings, for Route and Request-URI, for redirections, for the NOTIFYs of a
//! subscription. The flow that a phone registered over is judged like any other next hop. Must not decide what else may be called.

use crate::reject::Reject;

use super::NextHop;
use crate::target::is_sips;

/// Whether a request to this Request-URI may be sent to this Contact, if there is a way to it that may be secure.
pub(crate) fn admits(asked: &[u8], contact: &[u8], next_hop: Option<&NextHop>) -> Result<(), Reject> {
    match (is_sips(asked), is_sips(contact)) {
        (false, false) => Ok(()),
        (true, false) => Err(Reject::SipsNotAllowed),
        (_, true) if next_hop.is_some_and(NextHop::is_secure) => Ok(()),
        (true, true) => Err(Reject::SipsNotAllowed),
        (false, true) => Err(Reject::SipsRequired),
    }
}

/// Whether a message with this Request-URI, whose next hop is at this URI, may be sent this way.
pub(crate) fn admits_hop(asked: &[u8], next: &[u8], next_hop: &NextHop) -> Result<(), Reject> {
    if (is_sips(asked) || is_sips(next)) && !next_hop.is_secure() { Err(Reject::SipsNotAllowed) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use parser::Transport;

    use super::*;
    use crate::hop::Name;

    #[test]
    fn each_pair_of_schemes() {
        let next_hop = |transport| NextHop::Name(Name { host: "h".into(), port: 1, transport });
        let (tls, tcp) = (next_hop(Transport::Tls), next_hop(Transport::Tcp));
        let (sip, sips) = (&b"sip:a@b"[..], &b"SIPS:a@b"[..]);
        for (asked, contact, next_hop, expected) in [
            (sip, sip, Some(&tcp), Ok(())),
            (sip, sip, None, Ok(())),
            (sip, sips, Some(&tcp), Err(Reject::SipsRequired)),
            (sip, sips, None, Err(Reject::SipsRequired)),
            (sip, sips, Some(&tls), Ok(())),
            (sips, sip, Some(&tls), Err(Reject::SipsNotAllowed)),
            (sips, sips, Some(&tcp), Err(Reject::SipsNotAllowed)),
            (sips, sips, Some(&tls), Ok(())),
        ] {
            assert_eq!(admits(asked, contact, next_hop), expected);
        }
        assert!(!is_sips(b"sip:sips:") && !is_sips(b"sips") && !is_sips(b""));
        assert_eq!(admits_hop(sips, sip, &tls), Ok(()));
        assert_eq!(admits_hop(sip, sips, &tcp), Err(Reject::SipsNotAllowed));
    }
}
