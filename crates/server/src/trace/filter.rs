//! Whose messages a live trace shows: those of a user, a number or an address, and then the whole calls that they belong
//! to.
//!
//! Decides which messages match. A user is looked for in From, To, Contact and the Request-URI.

use std::fmt;
use std::net::IpAddr;

use hashbrown::HashSet;
use parser::headers::{Contact, From, To};
use parser::{Message, NameAddr, Uri};
use proxy::plain_number;

use super::traced::{CallKey, TracedMessage};

/// Calls whose messages one trace shows. If there are more, the earlier ones are forgotten.
const MAX_CALLS: usize = 10_000;

/// Whose messages are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Everybody's.
    All,
    /// Those of a peer.
    Address(IpAddr),
    /// Those of a user or number, at any domain or at this one.
    User {
        /// The user part, or the number without separators.
        user: Vec<u8>,
        /// The domain.
        domain: Option<Vec<u8>>,
    },
}

impl Whose {
    /// From the text of a command line or a query; `None` if it names nobody.
    pub(crate) fn read(text: &str) -> Option<Self> {
        if text == "all" {
            return Some(Self::All);
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self::Address(ip.to_canonical()));
        }
        let address = text.strip_prefix("sips:").or_else(|| text.strip_prefix("sip:")).unwrap_or(text);
        let (user, domain) = match address.rsplit_once('@') {
            Some((user, domain)) => (user, Some(domain.as_bytes().to_vec())),
            None => (address, None),
        };
        (!user.is_empty()).then(|| Self::User { user: number_or(user.as_bytes()), domain })
    }

    /// Whether a message is from, to or about them.
    fn is_named_in(&self, message: &Message, remote: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Address(ip) => remote.to_canonical() == *ip,
            Self::User { user, domain } => {
                let is_one = |uri: Uri<'_>| is_user(&uri, user, domain.as_deref());
                let is_in = |address: NameAddr<'_>| is_one(address.uri);
                message.header::<From<'_>>().ok().flatten().is_some_and(|from| is_in(from.address))
                    || message.header::<To<'_>>().ok().flatten().is_some_and(|to| is_in(to.address))
                    || message.uri().is_ok_and(is_one)
                    || message
                        .headers::<Contact<'_>>()
                        .flatten()
                        .any(|contact| contact.address().copied().is_some_and(is_in))
            }
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Address(ip) => ip.fmt(f),
            Self::User { user, domain } => {
                let domain = domain.as_ref().map(|domain| format!("@{}", String::from_utf8_lossy(domain)));
                write!(f, "{}{}", String::from_utf8_lossy(user), domain.unwrap_or_default())
            }
        }
    }
}

fn is_user(uri: &Uri<'_>, user: &[u8], domain: Option<&[u8]>) -> bool {
    let Some(sip) = uri.sip() else {
        // RFC 3966: `tel:+49-89-123;ext=4`.
        let raw = uri.as_bytes();
        let number = raw.get(4..).and_then(|rest| rest.split(|octet| *octet == b';').next()).unwrap_or_default();
        return domain.is_none()
            && raw.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"tel:"))
            && number_or(number) == user;
    };
    let mut host = Vec::new();
    sip.host.write(&mut host);
    domain.is_none_or(|domain| host.eq_ignore_ascii_case(domain)) && number_or(&sip.user_unescaped()) == user
}

/// A number without its separators; other text as it is.
fn number_or(text: &[u8]) -> Vec<u8> {
    plain_number(text).unwrap_or_else(|| text.to_vec())
}

/// Which messages one trace shows.
#[derive(Debug)]
pub(super) struct Filter {
    whose: Whose,
    calls: HashSet<CallKey>,
}

impl Filter {
    pub(super) fn new(whose: Whose) -> Self {
        Self { whose, calls: HashSet::new() }
    }

    /// Whether a message is shown. From then on the other messages of its call are shown as well.
    pub(super) fn shows(&mut self, traced: &TracedMessage, message: Option<&Message>) -> bool {
        if self.whose == Whose::All {
            return true;
        }
        if traced.call.is_some_and(|call| self.calls.contains(&call)) {
            return true;
        }
        let ip = traced.remote.ip();
        let is_shown = match message {
            Some(message) => self.whose.is_named_in(message, ip),
            None => self.whose == Whose::Address(ip.to_canonical()),
        };
        if let (true, Some(call)) = (is_shown, traced.call) {
            if self.calls.len() >= MAX_CALLS {
                self.calls.clear();
            }
            self.calls.insert(call);
        }
        is_shown
    }
}

#[cfg(test)]
mod tests {
    use super::super::traced::Direction;
    use super::super::traced::tests::{raw, request};
    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::new(Whose::read(text).expect("somebody"))
    }

    fn shows(filter: &mut Filter, text: &str) -> bool {
        let (traced, message) = TracedMessage::new(raw(Direction::Received, text));
        filter.shows(&traced, message.as_ref())
    }

    #[test]
    fn users_are_found_where_they_are_named() {
        // Request-URI, From, To, Contact, address of the peer.
        for text in ["101", "102", "100", "103", "sip:102@OFFICE.example", "103@192.0.2.7", "192.0.2.7", "all", "1-0-1"]
        {
            assert!(shows(&mut filter(text), &request("INVITE", "1")), "{text}");
        }
        for text in ["10", "104", "102@192.0.2.7", "192.0.2.1", "office.example"] {
            assert!(!shows(&mut filter(text), &request("INVITE", "1")), "{text}");
        }
        let number = "INVITE tel:+49-89-1 SIP/2.0\r\nFrom: <sip:%2b4989(2)@a>;tag=1\r\n\r\n";
        assert!(shows(&mut filter("+49 89 1"), number) && shows(&mut filter("+49892"), number));
        assert_eq!((Whose::read(""), Whose::read("@office.example")), (None, None));
    }

    #[test]
    fn the_whole_call_is_shown() {
        let mut filter = filter("101");
        let response = "SIP/2.0 200 OK\r\nFrom: <sip:7@b>;tag=1\r\nTo: <sip:8@b>\r\nCall-ID: a\r\nCSeq: 1 BYE\r\n\r\n";
        assert!(!shows(&mut filter, response));
        assert!(shows(&mut filter, &request("INVITE", "a")) && shows(&mut filter, response));
        assert!(!shows(&mut filter, &response.replace("Call-ID: a", "Call-ID: b")));
        assert!(!shows(&mut filter, "garbage"));
        assert!(shows(&mut self::filter("192.0.2.7"), "garbage"));
    }

    #[test]
    fn the_calls_of_a_trace_are_bounded() {
        let mut filter = filter("101");
        (0..=MAX_CALLS).for_each(|at| assert!(shows(&mut filter, &request("INVITE", &at.to_string()))));
        assert_eq!(filter.calls.len(), 1);
    }
}
