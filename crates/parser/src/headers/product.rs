//! The value of User-Agent and Server (RFC 3261 20.41, 20.35, 25.1 `server-val`). The server does not depend on it, so
//! no value is an error.

use crate::octets::{self, LWS, TOKEN};

/// `server-val *( LWS server-val )` (RFC 3261 25.1), parsed leniently, because phones often violate the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Products<'a>(pub(crate) &'a [u8]);

/// `server-val = product / comment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product<'a> {
    /// `product = token [ SLASH product-version ]`.
    Named {
        /// The name, a token.
        name: &'a [u8],
        /// The version, a token, if there is one.
        version: Option<&'a [u8]>,
    },
    /// `comment`, including its parentheses, which may be nested.
    Comment(&'a [u8]),
    /// A word that is neither.
    Other(&'a [u8]),
}

impl<'a> Products<'a> {
    /// The value as received.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Its parts, in order.
    pub fn iter(&self) -> impl Iterator<Item = Product<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            rest = octets::trim_start(rest);
            let len = match rest.first()? {
                b'(' => comment_len(rest).unwrap_or(rest.len()),
                _ => rest.iter().position(|&byte| octets::is(byte, LWS) || byte == b'(').unwrap_or(rest.len()),
            };
            let (part, after) = rest.split_at_checked(len)?;
            rest = after;
            Some(Product::new(part))
        })
    }
}

impl<'a> Product<'a> {
    fn new(part: &'a [u8]) -> Self {
        if part.first() == Some(&b'(') {
            return Self::Comment(part);
        }
        let (name, slash) = part.split_at_checked(octets::run(part, TOKEN)).unwrap_or_default();
        match slash.split_first() {
            None => Self::Named { name, version: None },
            Some((b'/', version)) if !name.is_empty() && octets::all(version, TOKEN) => {
                Self::Named { name, version: Some(version) }
            }
            Some(_) => Self::Other(part),
        }
    }
}

/// Length of the comment at the start of `text`; `None` if it is not terminated. Comments may be nested and contain
/// quoted pairs (RFC 3261 25.1 `comment`).
pub(crate) fn comment_len(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' if depth <= 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_versions_and_comments_are_split() {
        let parts: Vec<_> = Products(b"Soft/1.0 (a (\\)) b)\r\n Phone v\xe9 x(y").iter().collect();
        assert_eq!(
            parts,
            [
                Product::Named { name: b"Soft", version: Some(b"1.0") },
                Product::Comment(b"(a (\\)) b)"),
                Product::Named { name: b"Phone", version: None },
                Product::Other(b"v\xe9"),
                Product::Named { name: b"x", version: None },
                Product::Comment(b"(y"),
            ]
        );
        assert_eq!(Products(b" ").iter().count(), 0);
        assert_eq!(Products(b"/1").iter().next(), Some(Product::Other(b"/1")));
    }
}
