//! User-Agent (RFC 3261 20.41): the software that generated a request. The grammar is in `product`.

use crate::{Element, ErrorKind, Header, HeaderName, Products};

/// User-Agent: `server-val *( LWS server-val )` (RFC 3261 25.1). Any value is accepted, even an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserAgent<'a> {
    /// Programs and comments.
    pub products: Products<'a>,
}

impl<'a> Header<'a> for UserAgent<'a> {
    const NAME: HeaderName = HeaderName::UserAgent;
    const SHAPE: &'static [Element] = &[];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        Ok(Self { products: Products(value) })
    }
}
