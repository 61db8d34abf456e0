//! History-Info (RFC 7044 5): the targets that a request has been sent to.

use crate::{Element, ErrorKind, Header, HeaderName, NameAddr};

/// One History-Info value: `hi-entry = hi-targeted-to-uri *( SEMI hi-param )`; the URI is a `name-addr`, so the angle
/// brackets are required (RFC 7044 5.1).
#[derive(Clone, Copy, Debug)]
pub struct HistoryInfo<'a> {
    /// The target URI, possibly with Reason and Privacy in its header part, and the value's parameters.
    pub address: NameAddr<'a>,
}

impl<'a> HistoryInfo<'a> {
    /// `hi-index`: numbers with dots between them, as `1.2.1`; `None` if it is absent or malformed.
    pub fn index(&self) -> Option<&'a [u8]> {
        self.index_of("index")
    }

    /// `rc-param`: the index of the entry whose Request-URI was changed to this one for the same user.
    pub fn rc(&self) -> Option<&'a [u8]> {
        self.index_of("rc")
    }

    /// `mp-param`: the index of the entry that was mapped to this one, which is another user.
    pub fn mp(&self) -> Option<&'a [u8]> {
        self.index_of("mp")
    }

    /// `np-param`: the index of the entry with the same Request-URI.
    pub fn np(&self) -> Option<&'a [u8]> {
        self.index_of("np")
    }

    /// `index-val = number *( "." number )`.
    fn index_of(&self, name: &str) -> Option<&'a [u8]> {
        let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        self.address.params.value(name).filter(|index| index.split(|&byte| byte == b'.').all(is_number))
    }
}

impl<'a> Header<'a> for HistoryInfo<'a> {
    const NAME: HeaderName = HeaderName::HistoryInfo;
    const SHAPE: &'static [Element] = &[Element::Address];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::bracketed(value).map(|address| Self { address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_indices_are_returned() {
        let entry = HistoryInfo::parse(b"<sip:bob@h?Reason=SIP%3Bcause%3D302>;index=1.2;mp=1;rc=1.;x=y").unwrap();
        assert_eq!(
            (entry.index(), entry.mp(), entry.rc(), entry.np()),
            (Some(&b"1.2"[..]), Some(&b"1"[..]), None, None)
        );
        assert_eq!(entry.address.uri.sip().unwrap().headers(), b"Reason=SIP%3Bcause%3D302");
        assert_eq!(HistoryInfo::parse(b"sip:bob@h;index=1").err(), Some(ErrorKind::Unbracketed));
    }
}
