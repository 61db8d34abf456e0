//! To (RFC 3261 20.39): the logical recipient of the request.

use crate::{Element, ErrorKind, Header, HeaderName, NameAddr};

/// To: `( name-addr / addr-spec ) *( SEMI to-param )` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// The address and the header's parameters.
    pub address: NameAddr<'a>,
    tag: Option<&'a [u8]>,
}

impl<'a> To<'a> {
    /// The `tag` parameter as received.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.tag
    }
}

impl<'a> Header<'a> for To<'a> {
    const NAME: HeaderName = HeaderName::To;
    const SHAPE: &'static [Element] = &[Element::Address];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::with_one_tag(value).map(|(address, tag)| Self { address, tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_must_be_unique_and_have_a_value() {
        let tag = |value: &'static str| To::parse(value.as_bytes()).map(|to| to.tag());
        assert_eq!(tag("<sip:a@b>;x=1;TAG=1"), Ok(Some(&b"1"[..])));
        assert_eq!(tag("sip:a@b"), Ok(None));
        for bad in
            ["<sip:a@b>;tag", "<sip:a@b>;tag;tag=1", "<sip:a@b>;tag=1;tag=2", "sip:a@b;tag=1;Tag", "<sip:a@b>;tag="]
        {
            assert_eq!(tag(bad), Err(ErrorKind::Param), "{bad}");
        }
    }
}
