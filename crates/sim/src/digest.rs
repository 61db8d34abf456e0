//! The client's side of digest authentication (RFC 7616 3.4, RFC 8760), and the secrets of the test accounts.

use md5::Md5;
use parser::hex_text;
use proxy::{Account, Secrets};
use sha2::{Digest, Sha256};

use crate::sip::Sip;

/// A username with its password.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The username.
    pub user: &'a str,
    /// The password in clear.
    pub password: &'a str,
}

impl Login<'_> {
    /// The account with this password.
    pub fn account(&self, realm: &str) -> Account {
        let a1 = format!("{}:{realm}:{}", self.user, self.password);
        let secrets = Secrets {
            md5: Some(Md5::digest(a1.as_bytes()).into()),
            sha256: Some(Sha256::digest(a1.as_bytes()).into()),
            sha512t256: None,
        };
        secrets.into()
    }

    /// The Authorization value for a 401 or 407 with this algorithm, for the `nc`th request with its nonce.
    pub fn answer(&self, refused: &Sip, algorithm: &str, request: &Sip, nc: u32) -> String {
        self.respond(&challenge(refused, algorithm), algorithm, request, nc)
    }

    /// The response for a challenge with SHA-256, for the `nc`th request with its nonce and this cnonce.
    pub fn response(&self, challenge: &str, request: &Sip, nc: u32, cnonce: &str) -> String {
        let hash = |text: String| hex_text(&Sha256::digest(text.as_bytes()));
        let (realm, nonce) = (quoted(challenge, "realm"), quoted(challenge, "nonce"));
        let a1 = hash(format!("{}:{realm}:{}", self.user, self.password));
        let a2 = hash(format!("{}:{}", request.what(), request.uri()));
        hash(format!("{a1}:{nonce}:{nc:08x}:{cnonce}:auth:{a2}"))
    }

    /// The Authorization value for a challenge with this algorithm, for the `nc`th request with its nonce.
    pub fn respond(&self, challenge: &str, algorithm: &str, request: &Sip, nc: u32) -> String {
        let hash = |text: String| match algorithm {
            "MD5" => hex_text(&Md5::digest(text.as_bytes())),
            _ => hex_text(&Sha256::digest(text.as_bytes())),
        };
        let (realm, nonce) = (quoted(challenge, "realm"), quoted(challenge, "nonce"));
        let (user, uri) = (self.user, request.uri());
        let a1 = hash(format!("{user}:{realm}:{}", self.password));
        let a2 = hash(format!("{}:{uri}", request.what()));
        let response = hash(format!("{a1}:{nonce}:{nc:08x}:c1:auth:{a2}"));
        format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
             algorithm={algorithm}, cnonce=\"c1\", qop=auth, nc={nc:08x}"
        )
    }
}

/// The challenge with this algorithm. Panics if there is none.
pub fn challenge(refused: &Sip, algorithm: &str) -> String {
    let wanted = format!("algorithm={algorithm},");
    let found = ["WWW-Authenticate", "Proxy-Authenticate"]
        .iter()
        .find_map(|name| refused.values(name).find(|value| format!("{value},").contains(&wanted)));
    found.unwrap_or_else(|| panic!("no {algorithm} challenge in\n{refused}")).to_owned()
}

/// A quoted parameter of a challenge.
pub fn quoted<'a>(challenge: &'a str, name: &str) -> &'a str {
    let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}
