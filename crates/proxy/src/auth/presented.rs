//! The credentials that a request presents, read once: which worker is to judge them and what they prove is asked of the
//! same lines (RFC 3261 22.2, 22.3).
//!
//! Reads only. Whether the nonce was issued here is known, not whether it is still good.

use parser::headers::Credentials;
use smallvec::SmallVec;

use super::digest;
use super::nonce::{Nonce, Nonces};
use crate::reject::ChallengeFor;
use crate::request::Request;
use crate::settings::Algorithm;

/// One line of credentials.
pub(crate) struct Presented<'a> {
    pub(super) of: ChallengeFor,
    pub(super) credentials: Credentials<'a>,
    /// None if nobody here issued it.
    pub(super) nonce: Option<Nonce>,
}

impl<'a> Presented<'a> {
    /// Those of a request that can be read.
    pub(super) fn read(request: &'a Request, nonces: &Nonces) -> SmallVec<[Self; 2]> {
        let (message, mut all) = (&request.message, SmallVec::new());
        for of in [ChallengeFor::Registrar, ChallengeFor::Proxy] {
            for line in message.lines_of(of.credentials()) {
                if let Ok(credentials) = Credentials::parse(message.line_value(&line)) {
                    let nonce = credentials.nonce().and_then(|nonce| nonces.read(&nonce));
                    all.push(Self { of, credentials, nonce });
                }
            }
        }
        all
    }

    /// Whether they answer a challenge for this realm.
    pub(super) fn is_for(&self, of: ChallengeFor, domain: &[u8]) -> bool {
        self.of == of && self.credentials.is_digest() && self.credentials.realm().is_some_and(|realm| *realm == *domain)
    }
}

/// Whether a request brings credentials of an algorithm that we know besides this one.
pub(super) fn names_other_than(request: &Request, of: ChallengeFor, algorithm: Algorithm) -> bool {
    let mut lines = request.message.lines_of(of.credentials());
    lines.any(|line| {
        let credentials = Credentials::parse(request.message.line_value(&line));
        credentials.is_ok_and(|credentials| digest::algorithm(&credentials).is_some_and(|named| named != algorithm))
    })
}
