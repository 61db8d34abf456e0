//! Server (RFC 3261 20.35): the software that generated a response. The grammar is in `product`.

use crate::{Element, ErrorKind, Header, HeaderName, Products};

/// Server: `server-val *( LWS server-val )` (RFC 3261 25.1). Any value is accepted, even an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server<'a> {
    /// Programs and comments.
    pub products: Products<'a>,
}

impl<'a> Header<'a> for Server<'a> {
    const NAME: HeaderName = HeaderName::Server;
    const SHAPE: &'static [Element] = &[];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        Ok(Self { products: Products(value) })
    }
}
