//! Parameter lists: `;name=value;flag;text="quoted"` of headers and of URIs (RFC 3261 7.3.1, 19.1.1, 25.1
//! `generic-param`). Splits the list; the meaning of a parameter is defined by its header. Values are as received.

use std::borrow::Cow;

use memchr::memchr;

use crate::{
    list::quoted_len,
    octets::{self, TOKEN, URI_PARAM},
};

/// `*( SEMI generic-param )` after a header value, or `uri-parameters` (RFC 3261 25.1), in order. Their grammar was
/// checked when the header or URI was parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    /// Parameters stored outside a message; `raw` is empty or starts with the first `;`.
    pub fn new(raw: &'a [u8]) -> Self {
        Self(raw)
    }

    /// The parameters as received, from the first `;` on.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Appends the parameters for whose name `keep` is true, in order, without white space around `;` and `=`.
    pub fn write_filtered(&self, out: &mut Vec<u8>, keep: impl Fn(&[u8]) -> bool) {
        for (name, value) in self.iter().filter(|(name, _)| keep(name)) {
            out.push(b';');
            out.extend_from_slice(name);
            if let Some(value) = value {
                out.push(b'=');
                out.extend_from_slice(value);
            }
        }
    }

    /// Name and value of each parameter, white space around `;` and `=` removed, quotes kept.
    pub fn iter(&self) -> ParamsIter<'a> {
        ParamsIter { rest: self.0 }
    }

    /// The first parameter of that name, in any case: `Some(None)` if it has no value.
    pub fn get(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.iter().find(|(found, _)| octets::eq_ignore_case(found, name.as_bytes())).map(|(_, value)| value)
    }

    /// The value of the first parameter of that name, as received.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.get(name).flatten()
    }

    /// Whether there is a parameter of that name, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

impl<'a> IntoIterator for Params<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);
    type IntoIter = ParamsIter<'a>;

    fn into_iter(self) -> ParamsIter<'a> {
        self.iter()
    }
}

/// Iterator over [`Params`].
#[derive(Clone, Debug)]
pub struct ParamsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for ParamsIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        // The parameters were checked, so they match the grammar.
        let rest = octets::trim_start(octets::trim_start(self.rest).strip_prefix(b";")?);
        let (name, rest) = rest.split_at_checked(octets::run(rest, TOKEN | URI_PARAM))?;
        self.rest = octets::trim_start(rest);
        let Some(value) = self.rest.strip_prefix(b"=") else { return Some((name, None)) };
        let value = octets::trim_start(value);
        let quoted = if value.first() == Some(&b'"') { quoted_len(value) } else { None };
        let (value, rest) = value.split_at_checked(quoted.unwrap_or_else(|| octets::value_run(value)))?;
        self.rest = rest;
        Some((name, Some(value)))
    }
}

/// The content of a quoted string with quoted pairs replaced (RFC 3261 25.1); anything else unchanged.
pub fn unquote(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = inside_quotes(bytes) else { return Cow::Borrowed(bytes) };
    if memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut octets = inner.iter();
    while let Some(&byte) = octets.next() {
        out.push(if byte == b'\\' { octets.next().copied().unwrap_or(byte) } else { byte });
    }
    Cow::Owned(out)
}

/// The text between the quotes of a quoted string, with quoted pairs unchanged.
pub(crate) fn inside_quotes(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_with_white_space() {
        let params = Params::new(b"; a = 1 ;B;c=\"x;\\\";y\"\r\n ;a=2");
        let all: Vec<_> = params.iter().collect();
        assert_eq!(
            all,
            [(&b"a"[..], Some(&b"1"[..])), (b"B", None), (b"c", Some(b"\"x;\\\";y\"")), (b"a", Some(b"2")),]
        );
        assert_eq!(params.value("A"), Some(&b"1"[..]));
        assert_eq!(params.get("b"), Some(None));
        assert!(params.has("C") && !params.has("d"));
        assert_eq!(Params::new(b"").iter().count(), 0);
    }

    #[test]
    fn quoted_pairs_are_replaced() {
        assert_eq!(&*unquote(br#""a\"b\\""#), br#"a"b\"#);
        assert_eq!(&*unquote(b"plain"), b"plain");
        assert_eq!(&*unquote(b"\""), b"\"");
        assert_eq!(&*unquote(b"\"\""), b"");
    }
}
