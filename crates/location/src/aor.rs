//! The address of record: the key of the location service (RFC 3261 10.3 step 5).
//!
//! Defines its canonical form: `user@domain`, the user part unescaped and otherwise octet for octet (user parts are
//! case-sensitive, RFC 3261 19.1.4), the domain in lower case, no URI parameters. Whether this server is responsible for
//! the domain is decided elsewhere.

use std::fmt;

use smallvec::SmallVec;

/// A canonical `user@domain`. Up to 64 octets are stored inline, so that a lookup does not allocate.
#[derive(PartialEq, Eq, Hash)]
pub struct Aor {
    text: SmallVec<[u8; 64]>,
}

impl Aor {
    /// Creates one from the unescaped user part and the domain in any case. The domain must not contain `@` (a parsed host
    /// cannot).
    pub fn new(user: &[u8], domain: &[u8]) -> Self {
        let mut text = SmallVec::from_slice(user);
        text.push(b'@');
        text.extend_from_slice(domain);
        text.get_mut(user.len() + 1..).unwrap_or_default().make_ascii_lowercase();
        Self { text }
    }

    /// Creates one from its canonical form ([`Self::as_bytes`]).
    pub fn from_canonical(text: &[u8]) -> Self {
        Self { text: SmallVec::from_slice(text) }
    }

    /// The canonical form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The user part, unescaped; empty if the address has none.
    pub fn user(&self) -> &[u8] {
        self.parts().0
    }

    /// The domain in lower case.
    pub fn domain(&self) -> &[u8] {
        self.parts().1
    }

    // Split at the last `@`: an unescaped user part may contain one, a domain cannot.
    fn parts(&self) -> (&[u8], &[u8]) {
        let at = self.text.iter().rposition(|&byte| byte == b'@');
        let (user, rest) = self.text.split_at_checked(at.unwrap_or(0)).unwrap_or_default();
        (user, rest.get(1..).unwrap_or_default())
    }
}

// Not derived: the derived implementation copies octet by octet.
impl Clone for Aor {
    fn clone(&self) -> Self {
        Self { text: SmallVec::from_slice(&self.text) }
    }
}

impl fmt::Display for Aor {
    /// Octets that are not UTF-8 are replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl fmt::Debug for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aor({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_record_is_canonical() {
        let aor = Aor::new(b"Alice", b"Office.EXAMPLE");
        assert_eq!(aor.as_bytes(), b"Alice@office.example");
        assert_eq!(aor, Aor::new(b"Alice", b"office.example"));
        assert_ne!(aor, Aor::new(b"alice", b"office.example"));
        assert_eq!((aor.user(), aor.domain()), (&b"Alice"[..], &b"office.example"[..]));
        assert_eq!(aor.to_string(), "Alice@office.example");
        assert_eq!(format!("{aor:?}"), "Aor(Alice@office.example)");
    }

    #[test]
    fn a_user_part_may_be_empty_long_or_contain_an_at_sign() {
        let aor = Aor::new(b"a@b", b"c.d");
        assert_eq!((aor.user(), aor.domain()), (&b"a@b"[..], &b"c.d"[..]));
        let aor = Aor::new(b"", b"[2001:DB8::1]");
        assert_eq!((aor.user(), aor.domain()), (&b""[..], &b"[2001:db8::1]"[..]));
        let long = [b'x'; 300];
        assert_eq!(Aor::new(&long, b"d").user(), long);
    }
}
