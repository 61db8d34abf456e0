//! The client's side of digest authentication (RFC 3261 22.2, RFC 7616 3.4, RFC 8760 2.4): the credentials that answer the
//! challenge of another server.
//!
//! Must not decide how often a challenge is answered.

use parser::headers::{Challenge, ProxyAuthenticate, WwwAuthenticate};
use parser::{HeaderName, Message, Method};

use super::digest::{Hex, hash, token};
use crate::settings::{Algorithm, Login};

/// The most octets of the values that credentials repeat. Without a limit a trunk could make each request longer than a
/// datagram.
const MAX_REPEATED: usize = 4096;

/// A challenge that can be answered, with the number of requests that used its nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answerable {
    /// Whether a proxy sent it (407).
    is_proxy: bool,
    algorithm: Algorithm,
    /// Whether the algorithm was named.
    names_algorithm: bool,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    /// Whether the quality of protection `auth` was offered (RFC 2617 3.2.1); otherwise none is used.
    has_qop: bool,
    /// Whether the credentials were right and only the nonce was too old.
    pub(crate) is_stale: bool,
    count: u32,
}

impl Answerable {
    /// The first challenge of a 401 or 407 that this server can answer: RFC 8760 2.4 has the preferred one first.
    pub(crate) fn of(response: &Message) -> Option<Self> {
        match response.status() {
            Some(401) => {
                let challenges = response.headers::<WwwAuthenticate<'_>>().flatten();
                challenges.map(|header| header.challenge).find_map(|challenge| Self::read(&challenge, false))
            }
            Some(407) => {
                let challenges = response.headers::<ProxyAuthenticate<'_>>().flatten();
                challenges.map(|header| header.challenge).find_map(|challenge| Self::read(&challenge, true))
            }
            _ => None,
        }
    }

    fn read(challenge: &Challenge<'_>, is_proxy: bool) -> Option<Self> {
        if !challenge.scheme.eq_ignore_ascii_case(b"Digest") {
            return None;
        }
        let name = challenge.algorithm();
        let known = [Algorithm::Sha256, Algorithm::Sha512t256, Algorithm::Md5];
        let algorithm = match name {
            // RFC 7616 3.3
            None => Algorithm::Md5,
            Some(name) => known.into_iter().find(|known| token(*known).eq_ignore_ascii_case(name))?,
        };
        let qop = challenge.params.unquoted("qop");
        let has_qop = qop.as_ref().is_some_and(|qop| {
            qop.split(|octet| *octet == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"auth"))
        });
        // Only `auth-int` is offered.
        if qop.is_some() && !has_qop {
            return None;
        }
        let is_safe = |text: &[u8]| !text.iter().any(|octet| matches!(octet, b'"' | b'\\' | b'\r' | b'\n'));
        let realm = challenge.realm()?.into_owned();
        let nonce = challenge.nonce()?.into_owned();
        let opaque = challenge.params.unquoted("opaque").map(std::borrow::Cow::into_owned);
        let repeated = realm.len() + nonce.len() + opaque.as_ref().map_or(0, Vec::len);
        let are_safe =
            repeated <= MAX_REPEATED && is_safe(&realm) && is_safe(&nonce) && opaque.as_deref().is_none_or(is_safe);
        are_safe.then_some(Self {
            is_proxy,
            algorithm,
            names_algorithm: name.is_some(),
            realm,
            nonce,
            opaque,
            has_qop,
            is_stale: challenge.is_stale(),
            count: 0,
        })
    }

    /// Whether it is the same challenge, apart from its use.
    pub(crate) fn has_nonce_of(&self, other: &Self) -> bool {
        self.nonce == other.nonce && self.realm == other.realm
    }

    /// Appends the header line with the credentials of the next request. `cnonce`: random.
    pub(crate) fn write(&mut self, login: &Login, method: Method<'_>, uri: &[u8], cnonce: u64, out: &mut Vec<u8>) {
        self.count = self.count.saturating_add(1);
        let (count, cnonce) = (format!("{:08x}", self.count), format!("{cnonce:016x}"));
        let user = login.user.as_bytes();
        let secret = hash(self.algorithm, &[user, &self.realm, login.password.as_bytes()]);
        let a2 = hash(self.algorithm, &[method.as_bytes(), uri]);
        let response: Hex = if self.has_qop {
            hash(self.algorithm, &[&secret, &self.nonce, count.as_bytes(), cnonce.as_bytes(), b"auth", &a2])
        } else {
            hash(self.algorithm, &[&secret, &self.nonce, &a2])
        };
        let name = if self.is_proxy { HeaderName::ProxyAuthorization } else { HeaderName::Authorization };
        let mut add = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
        add(&[name.as_str().as_bytes(), b": Digest username=\"", user, b"\", realm=\"", &self.realm]);
        add(&[b"\", nonce=\"", &self.nonce, b"\", uri=\"", uri, b"\", response=\"", &response, b"\""]);
        if self.names_algorithm {
            add(&[b", algorithm=", token(self.algorithm)]);
        }
        if let Some(opaque) = &self.opaque {
            add(&[b", opaque=\"", opaque, b"\""]);
        }
        if self.has_qop {
            add(&[b", qop=auth, cnonce=\"", cnonce.as_bytes(), b"\", nc=", count.as_bytes()]);
        }
        add(&[b"\r\n"]);
    }
}
