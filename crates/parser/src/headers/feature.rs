//! Feature parameters (RFC 3840 9, RFC 6809 6.3): what a phone can do, in Contact, Accept-Contact, Reject-Contact and
//! Feature-Caps. Decides which parameters are features and where their values part; matching is RFC 3841's and the
//! proxy's business.

use nom::{Parser, bytes::complete::tag, sequence::preceded};

use crate::{
    ErrorKind, Params, ParamsIter,
    grammar::{self, params},
    octets,
    params::inside_quotes,
};

/// `base-tags` (RFC 3840 9): the features whose names stand without a `+`.
const BASE: [&str; 20] = [
    "audio",
    "automata",
    "class",
    "duplex",
    "data",
    "control",
    "mobility",
    "description",
    "events",
    "priority",
    "methods",
    "schemes",
    "application",
    "video",
    "language",
    "type",
    "isfocus",
    "actor",
    "text",
    "extensions",
];

/// `feature-param = enc-feature-tag [ EQUAL LDQUOT ( tag-value-list / string-value ) RDQUOT ]` (RFC 3840 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature<'a> {
    /// `enc-feature-tag` as it was sent: a base tag, or a `+` and another. Compared in any case.
    pub tag: &'a [u8],
    /// What stands between the quotes; `None` if there is no value, which means `TRUE`.
    pub value: Option<&'a [u8]>,
}

/// `tag-value = [ "!" ] ( token-nobang / boolean / numeric )` (RFC 3840 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagValue<'a> {
    /// Whether a `!` stands before it: anything but this.
    pub negated: bool,
    /// A token, `TRUE`, `FALSE`, or a number with its relation, as in `#>=5`. Compared in any case.
    pub text: &'a [u8],
}

impl<'a> Feature<'a> {
    /// The feature that a parameter is, if it is one: a base tag, or a name that starts with `+` (RFC 3840 9).
    pub fn of(name: &'a [u8], value: Option<&'a [u8]>) -> Option<Self> {
        let is_base = || BASE.iter().any(|base| name.eq_ignore_ascii_case(base.as_bytes()));
        let is_other = name.strip_prefix(b"+").is_some_and(|name| name.first().is_some_and(u8::is_ascii_alphabetic));
        // Some leave the quotes out.
        (is_other || is_base()).then(|| Self { tag: name, value: value.map(|it| inside_quotes(it).unwrap_or(it)) })
    }

    /// `string-value`: the text between the angle brackets, quoted pairs left as they came; `None` if the value is a list.
    pub fn text(&self) -> Option<&'a [u8]> {
        self.value?.strip_prefix(b"<")?.strip_suffix(b">")
    }

    /// `tag-value-list`: the values, in order; of a feature without a value none. Of a text, the text as one.
    pub fn values(&self) -> impl Iterator<Item = TagValue<'a>> + use<'a> {
        let comma = if self.text().is_some() { None } else { Some(b',') };
        let values = self.value.unwrap_or_default().split(move |&byte| Some(byte) == comma);
        values.map(octets::trim).filter(|text| !text.is_empty()).map(|text| match text.strip_prefix(b"!") {
            Some(text) => TagValue { negated: true, text },
            None => TagValue { negated: false, text },
        })
    }
}

/// The features among some parameters, in order.
#[derive(Clone, Debug)]
pub struct Features<'a>(ParamsIter<'a>);

impl<'a> Features<'a> {
    /// The features among a Contact's parameters that were kept outside its message.
    pub fn of(params: Params<'a>) -> Self {
        Self(params.iter())
    }
}

impl<'a> Iterator for Features<'a> {
    type Item = Feature<'a>;

    fn next(&mut self) -> Option<Feature<'a>> {
        self.0.find_map(|(name, value)| Feature::of(name, value))
    }
}

/// `"*" *( SEMI generic-param )`, the shape of the headers that are nothing but features.
pub(crate) fn star_params(value: &[u8]) -> Result<Params<'_>, ErrorKind> {
    if value.is_empty() {
        return Err(ErrorKind::Empty);
    }
    grammar::parse_all(|input| preceded(tag("*"), params).parse(input), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(params: &'static str) -> Feature<'static> {
        Features::of(Params::new(params.as_bytes())).next().unwrap()
    }

    #[test]
    fn only_features() {
        let params = Params::new(b";q=1;audio;expires=5;+sip.instance=\"<urn:x>\";Methods=\"INVITE, !BYE\";+;x");
        let tags: Vec<_> = Features::of(params).map(|feature| feature.tag).collect();
        assert_eq!(tags, [&b"audio"[..], b"+sip.instance", b"Methods"]);
    }

    #[test]
    fn values_and_texts() {
        let value = |negated, text| TagValue { negated, text };
        assert_eq!(feature(";audio").values().count(), 0);
        assert_eq!(feature(";audio").value, None);
        let methods: Vec<_> = feature(";methods=\"INVITE, !BYE\"").values().collect();
        assert_eq!(methods, [value(false, &b"INVITE"[..]), value(true, b"BYE")]);
        assert_eq!(feature(";priority=\"#>=5\"").values().next(), Some(value(false, b"#>=5")));
        assert_eq!(feature(";+sip.instance=\"<a,b>\"").text(), Some(&b"a,b"[..]));
        assert_eq!(feature(";+sip.instance=\"<a,b>\"").values().count(), 1);
        assert_eq!(feature(";+g.oma=\"x\"").text(), None);
    }

    #[test]
    fn a_star_and_parameters() {
        assert_eq!(star_params(b"* ;audio").unwrap().as_bytes(), b" ;audio");
        assert_eq!(star_params(b"").err(), Some(ErrorKind::Empty));
        assert_eq!(star_params(b"*;").err(), Some(ErrorKind::Param));
        assert!(star_params(b"audio").is_err() && star_params(b"* x").is_err());
    }
}
