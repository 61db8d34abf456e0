//! Reject-Contact (RFC 3841 9.2): phones a caller does not want to reach. Decides its grammar only.

use crate::{ErrorKind, Features, Header, HeaderName, Params, headers::feature::star_params};

/// One Reject-Contact value: `rc-value = "*" *( SEMI rc-params )` (RFC 3841 10).
#[derive(Clone, Copy, Debug)]
pub struct RejectContact<'a> {
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> RejectContact<'a> {
    /// The features not wanted.
    pub fn features(&self) -> Features<'a> {
        Features::of(self.params)
    }
}

impl<'a> Header<'a> for RejectContact<'a> {
    const NAME: HeaderName = HeaderName::RejectContact;
    const LIST: bool = true;

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        star_params(value).map(|params| Self { params })
    }
}
