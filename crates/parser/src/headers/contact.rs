//! Contact (RFC 3261 20.10): an address where a user agent can be reached, and its parameters (RFC 3840, 5626, 5627).
//! Whether `*` is allowed is checked by the registrar.

use crate::{
    Element, ErrorKind, Expires, Features, Header, HeaderName, NameAddr, Params, octets, params::inside_quotes,
};

/// One Contact value: `*`, or `( name-addr / addr-spec ) *( SEMI contact-params )` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug)]
pub enum Contact<'a> {
    /// `*`: all bindings, in a REGISTER (RFC 3261 10.2.2).
    Star,
    /// An address.
    Address(NameAddr<'a>),
}

impl<'a> Contact<'a> {
    /// The address, `None` for `*`.
    pub fn address(&self) -> Option<&NameAddr<'a>> {
        match self {
            Self::Star => None,
            Self::Address(address) => Some(address),
        }
    }

    /// The value's parameters, none for `*`.
    pub fn params(&self) -> Params<'a> {
        self.address().map(|address| address.params).unwrap_or_default()
    }

    /// The parameters of the binding that it describes.
    pub fn binding(&self) -> BindingParams<'a> {
        let mut binding = BindingParams::default();
        self.params().iter().for_each(|(name, value)| binding.add(name, value));
        binding
    }

    /// The `pub-gruu` parameter without its quotes: a globally routable URI of this phone (RFC 5627 5.1, 9).
    pub fn pub_gruu(&self) -> Option<&'a [u8]> {
        self.params().value("pub-gruu").map(|value| inside_quotes(value).unwrap_or(value))
    }

    /// The `temp-gruu` parameter without its quotes: as [`Contact::pub_gruu`], but it does not reveal the address of
    /// record (RFC 5627 5.1, 9).
    pub fn temp_gruu(&self) -> Option<&'a [u8]> {
        self.params().value("temp-gruu").map(|value| inside_quotes(value).unwrap_or(value))
    }

    /// Whether the URI has the `ob` parameter: requests in a dialog must use the same flow (RFC 5626 4.3).
    pub fn is_outbound(&self) -> bool {
        self.address().and_then(|address| address.uri.sip()).is_some_and(|uri| uri.param("ob").is_some())
    }

    /// The feature parameters (RFC 3840 9) of the phone.
    pub fn features(&self) -> Features<'a> {
        Features::of(self.params())
    }
}

/// The parameters of a Contact that describe its binding: the first one of each name, as received.
#[derive(Clone, Copy, Debug, Default)]
pub struct BindingParams<'a> {
    q: Option<Option<&'a [u8]>>,
    expires: Option<Option<&'a [u8]>>,
    instance: Option<Option<&'a [u8]>>,
    reg_id: Option<Option<&'a [u8]>>,
}

impl<'a> BindingParams<'a> {
    fn add(&mut self, name: &[u8], value: Option<&'a [u8]>) {
        let is = |text: &str| octets::eq_ignore_case(name, text.as_bytes());
        let known = match name.len() {
            1 if is("q") => &mut self.q,
            6 if is("reg-id") => &mut self.reg_id,
            7 if is("expires") => &mut self.expires,
            13 if is("+sip.instance") => &mut self.instance,
            _ => return,
        };
        known.get_or_insert(value);
    }

    /// The preference in thousandths, 0 to 1000; `None` if there is no `q`.
    ///
    /// # Errors
    /// [`ErrorKind::Range`] if it is not a `qvalue`.
    pub fn q(&self) -> Result<Option<u16>, ErrorKind> {
        match self.q {
            None => Ok(None),
            Some(value) => thousandths(value.unwrap_or_default()).map(Some).ok_or(ErrorKind::Range),
        }
    }

    /// Seconds of the `expires` parameter, saturating; a malformed one counts as [`Expires::MALFORMED`] (RFC 3261
    /// 10.2.1.1). `None` if there is none.
    pub fn expires(&self) -> Option<u32> {
        self.expires.map(|value| Expires::read(value.unwrap_or_default()).0)
    }

    /// The `+sip.instance` parameter without its quotes: `<urn:uuid:...>` (RFC 5626 4.1).
    pub fn instance(&self) -> Option<&'a [u8]> {
        self.instance.flatten().map(|value| inside_quotes(value).unwrap_or(value))
    }

    /// The `reg-id` parameter, 1 or above (RFC 5626 4.2); `None` if it is absent or malformed.
    pub fn reg_id(&self) -> Option<u32> {
        let number = octets::number(self.reg_id.flatten()?)?;
        u32::try_from(number).ok().filter(|number| *number > 0)
    }
}

impl<'a> Header<'a> for Contact<'a> {
    const NAME: HeaderName = HeaderName::Contact;
    const SHAPE: &'static [Element] = &[Element::StarOrAddress];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        if value == b"*" { Ok(Self::Star) } else { NameAddr::parse(value).map(Self::Address) }
    }
}

/// A Contact with the parameters of the binding that it describes. All are read in one pass, because a registrar needs
/// them of each Contact.
#[derive(Clone, Copy, Debug)]
pub struct BindingContact<'a> {
    /// The address; `None` for `*`.
    pub address: Option<NameAddr<'a>>,
    /// The parameters.
    pub binding: BindingParams<'a>,
}

impl<'a> Header<'a> for BindingContact<'a> {
    const NAME: HeaderName = HeaderName::Contact;
    const SHAPE: &'static [Element] = Contact::SHAPE;

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        let mut binding = BindingParams::default();
        let parse = || NameAddr::parse_with(value, |name, value| binding.add(name, value));
        let address = (value != b"*").then(parse).transpose()?;
        Ok(Self { address, binding })
    }
}

/// `qvalue`: `0[.ddd]` or `1[.000]`.
pub(super) fn thousandths(value: &[u8]) -> Option<u16> {
    let (&whole, fraction) = value.split_first()?;
    let digits = match fraction.split_first() {
        None => fraction,
        Some((b'.', digits)) if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => digits,
        Some(_) => return None,
    };
    let fraction = [100, 10, 1].iter().zip(digits).map(|(weight, digit)| weight * u16::from(digit - b'0')).sum();
    match (whole, fraction) {
        (b'0', fraction) => Some(fraction),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(value: &str) -> Contact<'_> {
        Contact::parse(value.as_bytes()).unwrap()
    }

    #[test]
    fn q_is_given_in_thousandths() {
        for (text, q) in [("0", 0), ("1", 1000), ("0.5", 500), ("0.", 0), ("1.000", 1000), ("0.123", 123), ("0.09", 90)]
        {
            assert_eq!(contact(&format!("<sip:a@b>;q={text}")).binding().q(), Ok(Some(q)), "{text}");
        }
        for text in ["1.1", "2", "0.1234", "-0.1", "0.x", ".5", "1000"] {
            assert_eq!(contact(&format!("<sip:a@b>;q={text}")).binding().q(), Err(ErrorKind::Range), "{text}");
        }
        assert_eq!(contact("<sip:a@b;q=0.1>").binding().q(), Ok(None));
    }

    #[test]
    fn expiry_reg_id_and_instance_are_read() {
        let contact = contact("<sip:a@b>;expires=99999999999;reg-id=1;+sip.instance=\"<urn:uuid:0-1>\"");
        assert_eq!(contact.binding().expires(), Some(u32::MAX));
        assert_eq!((contact.binding().reg_id(), contact.binding().instance()), (Some(1), Some(&b"<urn:uuid:0-1>"[..])));
    }

    #[test]
    fn gruus_outbound_and_features_are_found() {
        let contact = contact(
            "<sip:a@b;ob>;audio;methods=\"INVITE,BYE\";pub-gruu=\"sip:a@h;gr=urn:uuid:1\";temp-gruu=\"sip:x@h;gr\"",
        );
        assert_eq!(contact.pub_gruu(), Some(&b"sip:a@h;gr=urn:uuid:1"[..]));
        assert_eq!(contact.temp_gruu(), Some(&b"sip:x@h;gr"[..]));
        assert_eq!((contact.is_outbound(), contact.features().count()), (true, 2));
        assert!(!Contact::Star.is_outbound());
    }

    // checklist 15
    #[test]
    fn a_malformed_expiry_is_an_hour() {
        assert_eq!(contact("<sip:a@b>;expires=soon").binding().expires(), Some(3600));
        assert_eq!(contact("<sip:a@b>;expires").binding().expires(), Some(3600));
        assert_eq!(contact("<sip:a@b>").binding().expires(), None);
    }

    #[test]
    fn a_star_has_no_parameters() {
        assert!(matches!(contact("*"), Contact::Star));
        assert!(Contact::parse(b"*;expires=0").is_err());
        assert_eq!(contact("*").binding().q(), Ok(None));
    }
}
