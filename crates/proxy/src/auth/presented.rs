//! The credentials in a request (RFC 3261 22.2, 22.3), which are read once for all steps that need them.
//!
//! Must not decide whether credentials are valid. A nonce of this server may be too old.

use parser::headers::Credentials;
use smallvec::SmallVec;

use super::digest;
use super::nonce::{Nonce, Nonces};
use crate::reject::ChallengeFor;
use crate::request::Request;
use crate::settings::Algorithm;

/// The credentials in one header line.
pub(crate) struct Presented<'a> {
    pub(super) of: ChallengeFor,
    pub(super) credentials: Credentials<'a>,
    /// `None` if no worker of this server issued it.
    pub(super) nonce: Option<Nonce>,
}

impl<'a> Presented<'a> {
    /// All credentials of a request without syntax errors.
    pub(super) fn read(request: &'a Request, nonces: &Nonces) -> SmallVec<[Self; 2]> {
        let (message, mut all) = (&request.message, SmallVec::new());
        for of in [ChallengeFor::Registrar, ChallengeFor::Proxy] {
            for value in message.line_values(of.credentials()) {
                if let Ok(credentials) = Credentials::parse(value) {
                    let nonce = credentials.nonce().and_then(|nonce| nonces.read(&nonce));
                    all.push(Self { of, credentials, nonce });
                }
            }
        }
        all
    }

    /// Whether these are digest credentials for this realm.
    pub(super) fn is_for(&self, of: ChallengeFor, domain: &[u8]) -> bool {
        self.of == of && self.credentials.is_digest() && self.credentials.realm().is_some_and(|realm| *realm == *domain)
    }
}

/// Whether a request has credentials of a supported algorithm other than this one.
pub(super) fn names_other_than(request: &Request, of: ChallengeFor, algorithm: Algorithm) -> bool {
    request.message.line_values(of.credentials()).any(|value| {
        let credentials = Credentials::parse(value);
        credentials.is_ok_and(|credentials| digest::algorithm(&credentials).is_some_and(|named| named != algorithm))
    })
}
