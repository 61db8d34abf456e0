//! The computation of a digest response: A1, A2 and the hash over both (RFC 7616 3.4, RFC 8760).
//!
//! Must not decide whether a nonce is valid or an account exists.

use ctutils::CtEq as _;
use md5::Md5;
use parser::headers::Credentials;
use parser::{Method, hex_digits};
use sha2::{Sha256, Sha512_256};
use smallvec::SmallVec;

use crate::settings::{Algorithm, Secrets};

/// A digest as lower-case hex.
pub(super) type Hex = SmallVec<[u8; 64]>;

/// The values that a response is computed from. The server uses it for requests over HTTP.
pub struct DigestInput<'a> {
    /// The algorithm of the credentials.
    pub algorithm: Algorithm,
    /// The method of the request.
    pub method: Method<'a>,
    /// The `uri` of the credentials.
    pub uri: &'a [u8],
    /// The `nonce` of the credentials.
    pub nonce: &'a [u8],
    /// The credentials.
    pub credentials: &'a Credentials<'a>,
}

/// The algorithm of credentials; MD5 if they name none (RFC 7616 3.3). `None` for the session variants, which are never
/// offered.
pub(super) fn algorithm(credentials: &Credentials<'_>) -> Option<Algorithm> {
    let Some(name) = credentials.algorithm() else { return Some(Algorithm::Md5) };
    [Algorithm::Sha256, Algorithm::Sha512t256, Algorithm::Md5]
        .into_iter()
        .find(|algorithm| token(*algorithm).eq_ignore_ascii_case(name))
}

/// The name of an algorithm in a header.
pub(super) const fn token(algorithm: Algorithm) -> &'static [u8] {
    match algorithm {
        Algorithm::Md5 => b"MD5",
        Algorithm::Sha256 => b"SHA-256",
        Algorithm::Sha512t256 => b"SHA-512-256",
    }
}

/// H(A1) of a user, as hex digits.
pub(super) fn secret(secrets: &Secrets, algorithm: Algorithm) -> Option<Hex> {
    match algorithm {
        Algorithm::Md5 => secrets.md5.map(hex),
        Algorithm::Sha256 => secrets.sha256.map(hex),
        Algorithm::Sha512t256 => secrets.sha512t256.map(hex),
    }
}

impl DigestInput<'_> {
    /// Whether the response of the credentials is that of a user with these secrets. Takes the same time whatever the response
    /// is.
    pub fn is_right_for(&self, secrets: &Secrets) -> bool {
        let a2 = a2(self.algorithm, self.method, self.uri);
        secret(secrets, self.algorithm).is_some_and(|secret| self.is_right_with(&secret, &a2))
    }

    /// As [`DigestInput::is_right_for`], with H(A1) and H(A2) as hex digits.
    pub(super) fn is_right_with(&self, secret: &[u8], a2: &[u8]) -> bool {
        let expected = self.response_with(secret, a2).zip(self.credentials.response());
        expected.is_some_and(|(expected, response)| expected.ct_eq(response).to_bool())
    }

    /// The response for these hashes; `None` if the credentials have another quality of protection than `auth`.
    fn response_with(&self, secret: &[u8], a2: &[u8]) -> Option<Hex> {
        let Some(qop) = self.credentials.qop() else {
            return Some(hash(self.algorithm, &[secret, self.nonce, a2]));
        };
        if !qop.eq_ignore_ascii_case(b"auth") {
            return None;
        }
        let count = self.credentials.nc_text()?;
        let cnonce = self.credentials.cnonce()?;
        Some(hash(self.algorithm, &[secret, self.nonce, count, &cnonce, qop, a2]))
    }
}

/// H(A2) of the last credentials. It depends on method and URI alone, which are the same in each REGISTER of a domain.
#[derive(Default)]
pub(super) struct LastA2 {
    algorithm: Option<Algorithm>,
    text: Vec<u8>,
    hash: Hex,
}

impl LastA2 {
    /// H(A2) of a request with this method and this `uri` in its credentials.
    pub(super) fn of(&mut self, algorithm: Algorithm, method: Method<'_>, uri: &[u8]) -> &[u8] {
        let last_uri = self.text.strip_prefix(method.as_bytes()).and_then(|rest| rest.strip_prefix(b":"));
        if self.algorithm != Some(algorithm) || last_uri != Some(uri) {
            self.algorithm = Some(algorithm);
            self.text.clear();
            [method.as_bytes(), b":", uri].iter().for_each(|part| self.text.extend_from_slice(part));
            self.hash = a2(algorithm, method, uri);
        }
        &self.hash
    }
}

/// H(A2) of a request, as hex digits.
fn a2(algorithm: Algorithm, method: Method<'_>, uri: &[u8]) -> Hex {
    hash(algorithm, &[method.as_bytes(), uri])
}

/// The hash of the parts, joined by colons, as hex digits.
pub(super) fn hash(algorithm: Algorithm, parts: &[&[u8]]) -> Hex {
    match algorithm {
        Algorithm::Md5 => hex(joined::<Md5>(parts).into()),
        Algorithm::Sha256 => hex(joined::<Sha256>(parts).into()),
        Algorithm::Sha512t256 => hex(joined::<Sha512_256>(parts).into()),
    }
}

fn joined<D: sha2::Digest>(parts: &[&[u8]]) -> sha2::digest::Output<D> {
    let mut state = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            state.update(b":");
        }
        state.update(part);
    }
    state.finalize()
}

fn hex<const N: usize>(octets: [u8; N]) -> Hex {
    SmallVec::from_slice(hex_digits(octets).as_flattened())
}

#[cfg(test)]
mod tests {
    use parser::Header;
    use parser::headers::Authorization;

    use super::*;

    /// RFC 7616 3.9.1, both algorithms.
    #[test]
    fn the_example_of_rfc_7616_gives_its_responses() {
        let common = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
            nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
            cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
            opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", ";
        let cases = [
            (Algorithm::Md5, "MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ];
        for (expected_algorithm, name, response) in cases {
            let text = format!("{common}algorithm={name}, response=\"{response}\"");
            let credentials = Authorization::parse(text.as_bytes()).unwrap().credentials;
            assert_eq!(algorithm(&credentials), Some(expected_algorithm));
            let a1 = hash(expected_algorithm, &[b"Mufasa", b"http-auth@example.org", b"Circle of Life"]);
            let nonce = credentials.nonce().unwrap();
            let uri = credentials.uri().unwrap();
            let method = Method::Other(b"GET");
            let input = DigestInput {
                algorithm: expected_algorithm,
                method,
                uri: &uri,
                nonce: &nonce,
                credentials: &credentials,
            };
            assert_eq!(
                input.response_with(&a1, &a2(expected_algorithm, method, &uri)).unwrap().as_slice(),
                response.as_bytes()
            );
            assert_eq!(credentials.response().unwrap(), response.as_bytes());
        }
    }

    #[test]
    fn the_nonce_count_is_hashed_as_it_was_sent() {
        for count in ["0000000a", "0000000A"] {
            let text = format!("Digest nonce=\"n\", uri=\"sip:a\", nc={count}, cnonce=\"c\", qop=auth");
            let credentials = Authorization::parse(text.as_bytes()).unwrap().credentials;
            let (algorithm, method) = (Algorithm::Md5, Method::Invite);
            let input = DigestInput { algorithm, method, uri: b"sip:a", nonce: b"n", credentials: &credentials };
            let a2 = hash(algorithm, &[b"INVITE", b"sip:a"]);
            let expected = hash(algorithm, &[b"a1", b"n", count.as_bytes(), b"c", b"auth", &a2]);
            assert_eq!(input.response_with(b"a1", &a2), Some(expected), "{count}");
        }
    }

    #[test]
    fn the_last_a2_is_that_of_these_values() {
        let mut last = LastA2::default();
        for (algorithm, method, uri) in [
            (Algorithm::Md5, Method::Register, &b"sip:a"[..]),
            (Algorithm::Md5, Method::Register, b"sip:a"),
            (Algorithm::Md5, Method::Register, b"sip:b"),
            (Algorithm::Sha256, Method::Register, b"sip:b"),
            (Algorithm::Sha256, Method::Invite, b"sip:b"),
            (Algorithm::Sha256, Method::Other(b"INVITE:sip"), b"b"),
        ] {
            assert_eq!(last.of(algorithm, method, uri), a2(algorithm, method, uri).as_slice());
        }
    }
}
