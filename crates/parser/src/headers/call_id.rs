//! Call-ID (RFC 3261 20.8): identifies a call or the registrations of a phone. It is compared octet by octet.

use crate::{Element, ErrorKind, Header, HeaderName, octets};

/// Call-ID: `callid = word [ "@" word ]` (RFC 3261 25.1), as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId<'a>(pub &'a [u8]);

impl<'a> Header<'a> for CallId<'a> {
    const NAME: HeaderName = HeaderName::CallId;
    const SHAPE: &'static [Element] = &[Element::Visible];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        match value {
            [] => Err(ErrorKind::Empty),
            // Wider than the grammar: a Call-ID is only compared, see [`octets::CALL_ID`].
            value if octets::all_visible(value) => Ok(Self(value)),
            _ => Err(ErrorKind::Token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_visible_ascii_is_accepted() {
        assert_eq!(
            CallId::parse(b"intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"),
            Ok(CallId(b"intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"))
        );
        assert_eq!(CallId::parse(b"r=#1,;&$|^@a@b"), Ok(CallId(b"r=#1,;&$|^@a@b")));
        assert_eq!(CallId::parse(b""), Err(ErrorKind::Empty));
        assert_eq!(CallId::parse(b"a b"), Err(ErrorKind::Token));
    }
}
