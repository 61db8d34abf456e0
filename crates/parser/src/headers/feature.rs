//! Feature parameters (RFC 3840 9, RFC 6809 6.3): the features of a phone in Contact, Accept-Contact, Reject-Contact
//! and Feature-Caps. Matching (RFC 3841) is done by the proxy.

use nom::{Parser, bytes::complete::tag, sequence::preceded};

use crate::{
    ErrorKind, Params, ParamsIter,
    grammar::{self, params},
    octets,
    params::inside_quotes,
};

/// `base-tags` (RFC 3840 9): the features whose names have no `+`.
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
    /// `enc-feature-tag` as received: a base tag, or `+` and another tag. Compared in any case.
    pub tag: &'a [u8],
    /// The text between the quotes; `None` if there is no value, which means `TRUE`.
    pub value: Option<&'a [u8]>,
}

/// `tag-value = [ "!" ] ( token-nobang / boolean / numeric )` (RFC 3840 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagValue<'a> {
    /// Whether it has a `!`: any value but this one.
    pub negated: bool,
    /// A token, `TRUE`, `FALSE`, or a number with its relation, as in `#>=5`. Compared in any case.
    pub text: &'a [u8],
}

impl<'a> Feature<'a> {
    /// The parameter as a feature, if it is one: a base tag, or a name that starts with `+` (RFC 3840 9).
    pub fn of(name: &'a [u8], value: Option<&'a [u8]>) -> Option<Self> {
        let is_base = || BASE.iter().any(|base| name.eq_ignore_ascii_case(base.as_bytes()));
        let is_other = name.strip_prefix(b"+").is_some_and(|name| name.first().is_some_and(u8::is_ascii_alphabetic));
        // Some senders omit the quotes.
        (is_other || is_base())
            .then(|| Self { tag: name, value: value.map(|value| inside_quotes(value).unwrap_or(value)) })
    }

    /// `string-value`: the text between the angle brackets, with quoted pairs unchanged; `None` if the value is a list.
    pub fn text(&self) -> Option<&'a [u8]> {
        self.value?.strip_prefix(b"<")?.strip_suffix(b">")
    }

    /// `tag-value-list`: the values, in order; none for a feature without a value. A `string-value` is one value.
    pub fn values(&self) -> impl Iterator<Item = TagValue<'a>> + use<'a> {
        let comma = if self.text().is_some() { None } else { Some(b',') };
        let values = self.value.unwrap_or_default().split(move |&byte| Some(byte) == comma);
        values.map(octets::trim).filter(|text| !text.is_empty()).map(|text| match text.strip_prefix(b"!") {
            Some(text) => TagValue { negated: true, text },
            None => TagValue { negated: false, text },
        })
    }
}

/// The parameters that are features, in order.
#[derive(Clone, Debug)]
pub struct Features<'a>(ParamsIter<'a>);

impl<'a> Features<'a> {
    /// The features in parameters that are stored outside a message.
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

/// `"*" *( SEMI generic-param )`, the grammar of headers that contain only features.
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
    fn only_base_tags_and_names_with_a_plus_are_features() {
        let params = Params::new(b";q=1;audio;expires=5;+sip.instance=\"<urn:x>\";Methods=\"INVITE, !BYE\";+;x");
        let tags: Vec<_> = Features::of(params).map(|feature| feature.tag).collect();
        assert_eq!(tags, [&b"audio"[..], b"+sip.instance", b"Methods"]);
    }

    #[test]
    fn a_feature_has_a_list_of_values_or_a_text() {
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
    fn a_star_precedes_the_parameters() {
        assert_eq!(star_params(b"* ;audio").unwrap().as_bytes(), b" ;audio");
        assert_eq!(star_params(b"").err(), Some(ErrorKind::Empty));
        assert_eq!(star_params(b"*;").err(), Some(ErrorKind::Param));
        assert!(star_params(b"audio").is_err() && star_params(b"* x").is_err());
    }
}
