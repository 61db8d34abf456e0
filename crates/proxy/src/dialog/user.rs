//! The local user of a side, as a dialog token contains it.
//!
//! ```text
//! length user [ "@" domain ]      the two highest bits of the length are flags
//! ```
//!
//! Must not look up the user.

use location::Aor;
use smallvec::SmallVec;

/// The most octets of a user in a token. A side with a longer user name is recognised by its address or by credentials
/// only.
pub(super) const MAX_USER: usize = 63;

/// The octets of a token that is being written.
pub(super) type Octets = SmallVec<[u8; 128]>;

/// A local user: the user part, unescaped, and the domain if that is not the first local domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    text: SmallVec<[u8; 24]>,
    has_domain: bool,
}

/// Flag in the length: the text contains the domain.
const OTHER_DOMAIN: u8 = 128;

/// Flag in the length: the hash of the phone follows.
const PHONE: u8 = 64;

impl User {
    /// `user` of `domain`; `first` is the first local domain. `None` if the name is too long for a token.
    pub(crate) fn new(user: &[u8], domain: &[u8], first: &[u8]) -> Option<Self> {
        let has_domain = domain != first;
        let mut text = SmallVec::from_slice(user);
        if has_domain {
            text.push(b'@');
            text.extend_from_slice(domain);
        }
        (text.len() <= MAX_USER).then_some(Self { text, has_domain })
    }

    /// The user with this address of record.
    pub(crate) fn of_aor(aor: &[u8], first: &[u8]) -> Option<Self> {
        let at = aor.iter().rposition(|&octet| octet == b'@')?;
        Self::new(aor.get(..at)?, aor.get(at + 1..)?, first)
    }

    /// The text in the token.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The address of record.
    pub(crate) fn aor(&self, first: &[u8]) -> Aor {
        if !self.has_domain {
            return Aor::new(&self.text, first);
        }
        // An AoR is not escaped, so its user may contain `@`. Its domain cannot.
        let at = self.text.iter().rposition(|&octet| octet == b'@').unwrap_or_default();
        let (user, domain) = self.text.split_at_checked(at).unwrap_or_default();
        Aor::new(user, domain.get(1..).unwrap_or_default())
    }

    /// Fast path: whether a URI is exactly `sip:user@domain`. If not, it has to be parsed to be compared.
    pub(crate) fn is_written_as(&self, uri: &[u8], first: &[u8]) -> bool {
        let user = uri.strip_prefix(b"sip:").and_then(|rest| rest.strip_prefix(&*self.text));
        let is_it = !self.has_domain && user.and_then(|rest| rest.strip_prefix(b"@")) == Some(first);
        // A name with one of these is written with escapes: `%61lice` in a URI is alice.
        is_it && memchr::memchr2(b'%', b':', &self.text).is_none()
    }

    /// Reads a user and the hash of its phone. Returns the rest too.
    pub(super) fn read(octets: &[u8], is_there: bool) -> Option<(Option<Self>, Option<u32>, &[u8])> {
        if !is_there {
            return Some((None, None, octets));
        }
        let (&length, rest) = octets.split_first()?;
        let (text, rest) = rest.split_at_checked(usize::from(length & !(OTHER_DOMAIN | PHONE)))?;
        let (phone, rest) = read_number(rest, length & PHONE != 0)?;
        let user = Self { text: SmallVec::from_slice(text), has_domain: length & OTHER_DOMAIN != 0 };
        Some((Some(user), phone, rest))
    }

    /// Appends the user and the hash of its phone.
    pub(super) fn write(&self, phone: Option<u32>, octets: &mut Octets) {
        // The text has at most MAX_USER octets.
        let length = u8::try_from(self.text.len()).unwrap_or_default();
        let (domain, flow) = (if self.has_domain { OTHER_DOMAIN } else { 0 }, if phone.is_some() { PHONE } else { 0 });
        octets.push(length | domain | flow);
        octets.extend_from_slice(&self.text);
        if let Some(phone) = phone {
            octets.extend_from_slice(&phone.to_be_bytes());
        }
    }
}

/// Reads a number that is there if `is_there`. Returns the rest too.
pub(super) fn read_number(octets: &[u8], is_there: bool) -> Option<(Option<u32>, &[u8])> {
    if !is_there {
        return Some((None, octets));
    }
    let (number, rest) = octets.split_first_chunk()?;
    Some((Some(u32::from_be_bytes(*number)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"office.example";

    #[test]
    fn a_user_has_its_domain_if_that_is_not_the_first_one() {
        for aor in ["alice@office.example", "a@b@office.example", "alice@shop.example", "a@b@shop.example"] {
            let user = User::of_aor(aor.as_bytes(), FIRST).unwrap();
            assert_eq!(user.aor(FIRST).as_bytes(), aor.as_bytes());
        }
        let alice = User::new(b"alice", FIRST, FIRST).unwrap();
        assert!(alice.is_written_as(b"sip:alice@office.example", FIRST));
        for other in ["sip:alice@office.example:5060", "sip:alice@office.example2", "sip:alic@office.example", "sips:"]
        {
            assert!(!alice.is_written_as(other.as_bytes(), FIRST), "{other}");
        }
        let escaped = User::new(b"%61lice", FIRST, FIRST).unwrap();
        assert!(!escaped.is_written_as(b"sip:%61lice@office.example", FIRST), "that is alice");
        assert_eq!(User::new(&[b'x'; MAX_USER + 1], FIRST, FIRST), None);
    }
}
