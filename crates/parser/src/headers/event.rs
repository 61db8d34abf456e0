//! Event (RFC 6665 8.2.1): the event package of a subscription.

use nom::Parser;

use crate::{
    Element, ErrorKind, Header, HeaderName, Params,
    grammar::{self, params, token},
};

/// Event: `event-type *( SEMI event-param )`, `event-type = event-package *( "." event-template )` (RFC 6665 8.4).
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The package with its templates: `presence.winfo`. Case-sensitive.
    pub package: &'a [u8],
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> Event<'a> {
    /// The `id` parameter.
    pub fn id(&self) -> Option<&'a [u8]> {
        self.params.value("id")
    }
}

impl<'a> Header<'a> for Event<'a> {
    const NAME: HeaderName = HeaderName::Event;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        let (package, params) = grammar::parse_all(|input| (token, params).parse(input), value)?;
        Ok(Self { package, params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_a_package_and_an_id() {
        let event = Event::parse(b"dialog ;id=7").unwrap();
        assert_eq!((event.package, event.id()), (&b"dialog"[..], Some(&b"7"[..])));
        assert!(Event::parse(b";id=7").is_err());
    }
}
