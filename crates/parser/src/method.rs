//! Request methods (RFC 3261 7.1 and the extensions).

use crate::octets::{self, TOKEN};

/// `Method` (RFC 3261 25.1), any `token`. Methods are case-sensitive: `invite` is [`Method::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method<'a> {
    /// INVITE, RFC 3261 13.
    Invite,
    /// ACK, RFC 3261 13.
    Ack,
    /// BYE, RFC 3261 15.
    Bye,
    /// CANCEL, RFC 3261 9.
    Cancel,
    /// REGISTER, RFC 3261 10.
    Register,
    /// OPTIONS, RFC 3261 11.
    Options,
    /// INFO, RFC 6086.
    Info,
    /// UPDATE, RFC 3311.
    Update,
    /// PRACK, RFC 3262.
    Prack,
    /// MESSAGE, RFC 3428.
    Message,
    /// SUBSCRIBE, RFC 6665.
    Subscribe,
    /// NOTIFY, RFC 6665.
    Notify,
    /// PUBLISH, RFC 3903.
    Publish,
    /// REFER, RFC 3515.
    Refer,
    /// Any other token, as received.
    Other(&'a [u8]),
}

impl<'a> Method<'a> {
    /// The method of a token, `None` if `token` is not a token.
    pub fn from_bytes(token: &'a [u8]) -> Option<Self> {
        Self::known(token).or_else(|| octets::all(token, TOKEN).then_some(Self::Other(token)))
    }

    /// The method of a token, if it has a variant here.
    pub(crate) fn known(token: &[u8]) -> Option<Self> {
        Some(match token {
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"REGISTER" => Self::Register,
            b"OPTIONS" => Self::Options,
            b"INFO" => Self::Info,
            b"UPDATE" => Self::Update,
            b"PRACK" => Self::Prack,
            b"MESSAGE" => Self::Message,
            b"SUBSCRIBE" => Self::Subscribe,
            b"NOTIFY" => Self::Notify,
            b"PUBLISH" => Self::Publish,
            b"REFER" => Self::Refer,
            _ => return None,
        })
    }

    /// The method's octets.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Other(token) => token,
            known => known.as_str_or("").as_bytes(),
        }
    }

    /// The name of a known method, else `other`: usable as a metric label, which must have a bounded set of values.
    pub fn as_str_or(&self, other: &'static str) -> &'static str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Register => "REGISTER",
            Self::Options => "OPTIONS",
            Self::Info => "INFO",
            Self::Update => "UPDATE",
            Self::Prack => "PRACK",
            Self::Message => "MESSAGE",
            Self::Subscribe => "SUBSCRIBE",
            Self::Notify => "NOTIFY",
            Self::Publish => "PUBLISH",
            Self::Refer => "REFER",
            Self::Other(_) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_are_case_sensitive() {
        for name in [
            "INVITE",
            "ACK",
            "BYE",
            "CANCEL",
            "REGISTER",
            "OPTIONS",
            "INFO",
            "UPDATE",
            "PRACK",
            "MESSAGE",
            "SUBSCRIBE",
            "NOTIFY",
            "PUBLISH",
            "REFER",
        ] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            assert!(!matches!(method, Method::Other(_)), "{name}");
            assert_eq!(method.as_bytes(), name.as_bytes());
        }
        assert_eq!(Method::from_bytes(b"invite"), Some(Method::Other(b"invite")));
        assert_eq!(
            Method::from_bytes(b"!interesting-Method0123456789_*+`.%indeed'~").unwrap().as_str_or("other"),
            "other"
        );
        assert_eq!(Method::from_bytes(b""), None);
        assert_eq!(Method::from_bytes(b"IN VITE"), None);
    }
}
