//! The phone's side of digest authentication. RFC 7616 3.4, RFC 8760.

use md5::{Digest, Md5};
use parser::hex_text;
use sha2::{Sha256, Sha512_256};

use super::message::Message;

/// A digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// MD5.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512t256,
}

impl Algorithm {
    /// Its name in a challenge.
    pub(crate) const fn token(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512t256 => "SHA-512-256",
        }
    }

    /// H(text) in lower-case hex.
    pub(crate) fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => hex_text(&Md5::digest(text)),
            Self::Sha256 => hex_text(&Sha256::digest(text)),
            Self::Sha512t256 => hex_text(&Sha512_256::digest(text)),
        }
    }
}

/// One challenge of a 401 or 407.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    /// The header that answers it.
    pub(crate) answer: &'static str,
    /// Its parameters as written, without the scheme.
    pub(crate) text: String,
}

impl Challenge {
    /// All challenges of a response, in order.
    pub(crate) fn all(response: &Message) -> Vec<Self> {
        let headers = [("WWW-Authenticate", "Authorization"), ("Proxy-Authenticate", "Proxy-Authorization")];
        let mut found = Vec::new();
        for (header, answer) in headers {
            for (name, value) in &response.headers {
                if name.eq_ignore_ascii_case(header) {
                    let text = value.strip_prefix("Digest ").unwrap_or_else(|| panic!("not a digest: {value}"));
                    found.push(Self { answer, text: text.to_owned() });
                }
            }
        }
        found
    }

    /// The challenge of one algorithm.
    #[track_caller]
    pub(crate) fn of(response: &Message, algorithm: Algorithm) -> Self {
        let mut all = Self::all(response).into_iter();
        all.find(|challenge| challenge.param("algorithm").unwrap_or("MD5").eq_ignore_ascii_case(algorithm.token()))
            .unwrap_or_else(|| panic!("no {} challenge in\n{response}", algorithm.token()))
    }

    /// A parameter without its quotes.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.text.split(',').find_map(|item| {
            let (own, value) = item.trim().split_once('=')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim_matches('"'))
        })
    }

    /// A parameter that must be there.
    #[track_caller]
    pub(crate) fn required(&self, name: &str) -> &str {
        self.param(name).unwrap_or_else(|| panic!("no {name} in the challenge {}", self.text))
    }
}

/// Credentials for a challenge, and how often the nonce has been used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credentials<'a> {
    /// The username.
    pub(crate) user: &'a str,
    /// The password, right or wrong.
    pub(crate) password: &'a str,
    /// The algorithm to answer with.
    pub(crate) algorithm: Algorithm,
    /// The nonce count.
    pub(crate) count: u32,
}

impl<'a> Credentials<'a> {
    /// SHA-256, first use of the nonce.
    pub(crate) const fn new(user: &'a str, password: &'a str) -> Self {
        Self { user, password, algorithm: Algorithm::Sha256, count: 1 }
    }

    /// The same with another algorithm.
    pub(crate) const fn with(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// The same for the nth use of the nonce.
    pub(crate) const fn nth(self, count: u32) -> Self {
        Self { count, ..self }
    }

    /// The value of the Authorization or Proxy-Authorization header for `request` (RFC 7616 3.4.1, qop=auth).
    pub(crate) fn answer(&self, challenge: &Challenge, request: &Message) -> String {
        let (realm, nonce) = (challenge.required("realm"), challenge.required("nonce"));
        let (user, uri, count) = (self.user, request.uri(), self.count);
        let hash = |text: String| self.algorithm.hash(&text);
        let secret = hash(format!("{user}:{realm}:{}", self.password));
        let what = hash(format!("{}:{uri}", request.method()));
        let response = hash(format!("{secret}:{nonce}:{count:08x}:c0ffee:auth:{what}"));
        let opaque = challenge.param("opaque").map(|opaque| format!(", opaque=\"{opaque}\"")).unwrap_or_default();
        format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
             algorithm={}, cnonce=\"c0ffee\", qop=auth, nc={count:08x}{opaque}",
            self.algorithm.token()
        )
    }
}
