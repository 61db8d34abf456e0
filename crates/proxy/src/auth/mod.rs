//! Digest authentication (RFC 3261 22, RFC 7616, RFC 8760).
//!
//! Decides which user a request has valid credentials of. Must not decide whether a request needs credentials; that is
//! done by `route`. A challenge needs no memory: its nonce is signed, and only the counts of used nonces are stored.
//! Responses and their timing are the same for an unknown user and for a wrong password, so that an attacker cannot
//! find out which accounts exist.
//!
//! A digest response is checked only if its nonce is from this server, is not too old, and was not used for too many
//! wrong responses. For any other nonce the result is `stale=true`, whatever the response is. So an attacker needs a
//! new nonce for every few guesses, and must be able to receive our challenges.

mod digest;
mod md5_fallback;
mod nonce;
mod presented;
mod respond;

use location::Aor;
use parser::{Method, Reply, SipUri, Uri, equivalent};
use smallvec::SmallVec;

use crate::clock::Now;
use crate::event::{AuthenticationFailure, Limit};
use crate::mac::{Mac, Purpose};
use crate::reject::{ChallengeFor, Reject};
use crate::request::{ContentHasher, Request};
use crate::settings::{Algorithm, Authentication, Keys, Settings};

pub use digest::DigestInput;
pub(crate) use presented::Presented;
pub(crate) use respond::Answerable;

use digest::LastA2;
use md5_fallback::Md5Fallback;
use nonce::{Nonce, Nonces};

/// The state of one worker: the counts of its nonces, and the phones that did not understand a challenge.
pub(crate) struct Authenticator {
    nonces: Nonces,
    last_a2: LastA2,
    md5_fallback: Md5Fallback,
    /// Chooses the algorithms for a user without an account. They must be the same after a restart; otherwise a change
    /// would show that there is no account.
    decoys: Mac,
}

/// Why credentials were not accepted.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) reject: Reject,
    /// The reason for the log; `None` if there were no credentials, which is how every exchange begins.
    pub(crate) failure: Option<AuthenticationFailure>,
    /// Whether the failure counts towards a ban of the address
    /// ([`Event::AuthenticationFailed`](crate::Event::AuthenticationFailed)).
    pub(crate) counts: bool,
}

impl Authenticator {
    /// The authenticator of a worker.
    pub(crate) fn new(keys: &Keys, worker: u8, hasher: ContentHasher) -> Self {
        Self {
            nonces: Nonces::new(keys.nonce, worker, hasher),
            last_a2: LastA2::default(),
            md5_fallback: Md5Fallback::new(Mac::new(keys.nonce)),
            decoys: Mac::new(keys.route),
        }
    }

    /// The number of nonces in use.
    pub(crate) fn nonces(&self) -> usize {
        self.nonces.len()
    }

    /// The limits that took effect since the last call.
    pub(crate) fn take_limits(&mut self) -> impl Iterator<Item = Limit> {
        let nonces = self.nonces.take_overflow().then_some(Limit::Nonces);
        let failures = self.nonces.take_exhausted().then_some(Limit::NonceFailures);
        let challenges = self.md5_fallback.take_overflow().then_some(Limit::UnansweredChallenges);
        [nonces, failures, challenges].into_iter().flatten()
    }

    /// The credentials of a request; empty if authentication is off.
    pub(crate) fn read<'a>(&self, request: &'a Request, settings: &Settings) -> SmallVec<[Presented<'a>; 2]> {
        match settings.authentication {
            Authentication::Off => SmallVec::new(),
            Authentication::Required => Presented::read(request, &self.nonces),
        }
    }

    /// The other worker that issued the nonce of these credentials, and so has its counts. `None` for an INVITE: it has
    /// to stay on the worker that its CANCEL arrives at, and is challenged again with a nonce of this worker.
    pub(crate) fn worker_of_nonce(&self, method: Method<'_>, presented: &[Presented<'_>]) -> Option<u8> {
        let issuer = presented.iter().find_map(|presented| presented.nonce.as_ref())?.worker;
        (method != Method::Invite && issuer != self.nonces.worker()).then_some(issuer)
    }

    /// The user that this request has valid credentials of, in the realm `domain`.
    pub(crate) fn authenticate(
        &mut self,
        request: &Request,
        presented: &[Presented<'_>],
        of: ChallengeFor,
        domain: &[u8],
        settings: &Settings,
        now: Now,
    ) -> Result<Aor, Denied> {
        // Only the first digest credentials for our realm are checked.
        let Some(presented) = presented.iter().find(|presented| presented.is_for(of, domain)) else {
            return Err(Denied { reject: Reject::Challenge { of, stale: false }, failure: None, counts: false });
        };
        let (aor, algorithm) =
            verify(presented, request, domain, settings, (&mut self.nonces, &mut self.last_a2), now)?;
        let has_choice = settings.digest.algorithms.len() > 1;
        if has_choice && request.method() == Method::Register && self.md5_fallback.needs_credentials(algorithm) {
            let named = user_of(named_uri(request, of).as_ref(), domain);
            self.md5_fallback.on_credentials(request, (&named, named == aor), algorithm, settings, now);
        }
        Ok(aor)
    }

    /// The user in the proxy credentials for this realm, without a check of these.
    pub(crate) fn user_in(&self, presented: &[Presented<'_>], domain: &[u8]) -> Option<Aor> {
        let presented = presented.iter().find(|presented| presented.is_for(ChallengeFor::Proxy, domain))?;
        Some(Aor::new(without_domain(&presented.credentials.username()?, domain), domain))
    }

    /// The challenges for a request, one per algorithm in order of preference (RFC 8760 2.3).
    pub(crate) fn challenges<'s>(
        &mut self,
        request: &Request,
        of: ChallengeFor,
        stale: bool,
        settings: &'s Settings,
        now: Now,
    ) -> SmallVec<[Challenge<'s>; 3]> {
        let parsed = || {
            let uri = named_uri(request, of)?;
            let domain = settings.domain_named_by(&uri)?;
            Some((user_of(Some(&uri), domain.as_bytes()), domain))
        };
        // A foreign name belongs to no account, so it says nothing about the algorithms of a phone.
        let (user, realm) = match plainly_named(request, of, settings).or_else(parsed) {
            Some((user, domain)) => (Some(user), domain),
            None => (None, realm_of(request, settings)),
        };
        let offered = self.offered(request, of, user.as_ref(), settings, now);
        let source = request.flow.remote.ip();
        let challenge = |algorithm| Challenge { of, algorithm, realm, nonce: self.nonces.issue(source, now), stale };
        offered.into_iter().map(challenge).collect()
    }

    /// The algorithms to offer for this user: those that its account has a secret for, or MD5 alone if the phone gives
    /// up at another one.
    fn offered(
        &mut self,
        request: &Request,
        of: ChallengeFor,
        user: Option<&Aor>,
        settings: &Settings,
        now: Now,
    ) -> SmallVec<[Algorithm; 3]> {
        let all = settings.digest.algorithms.as_slice();
        let Some(user) = user.filter(|_| all.len() > 1) else { return all.into() };
        let decoy = self.decoys.sign(Purpose::Decoy, &[b"algorithms", user.as_bytes()]);
        let answerable = settings.accounts.answerable(user, decoy);
        let mut offered: SmallVec<_> = all.iter().copied().filter(|each| answerable.contains(*each)).collect();
        if offered.is_empty() {
            offered = all.into();
        }
        if offered.len() > 1 && offered.contains(&Algorithm::Md5) {
            let answered = presented::names_other_than(request, of, Algorithm::Md5);
            if self.md5_fallback.on_challenge(request, user, answered, settings, now) {
                offered.retain(|algorithm| *algorithm == Algorithm::Md5);
            }
        }
        offered
    }
}

/// Verifies credentials. Returns their user and algorithm.
fn verify(
    presented: &Presented<'_>,
    request: &Request,
    domain: &[u8],
    settings: &Settings,
    (nonces, last_a2): (&mut Nonces, &mut LastA2),
    now: Now,
) -> Result<(Aor, Algorithm), Denied> {
    let &Presented { of, ref credentials, nonce: ref presented_nonce } = presented;
    // The handshake of a connection proves its address. The source of a datagram can be forged.
    let own_address = |nonces: &Nonces| {
        let remote = request.flow.remote.ip();
        let sent_there = presented_nonce.as_ref().is_some_and(|nonce| nonces.was_sent_to(nonce, remote));
        request.flow.transport.is_reliable() || sent_there
    };
    let wrong = |nonces: &Nonces| Denied {
        reject: Reject::Challenge { of, stale: false },
        failure: Some(AuthenticationFailure::Credentials),
        counts: own_address(nonces),
    };
    let stale =
        |failure| Denied { reject: Reject::Challenge { of, stale: true }, failure: Some(failure), counts: false };
    let (Some(user), Some(nonce), Some(uri), Some(_)) =
        (credentials.username(), credentials.nonce(), credentials.uri(), credentials.response())
    else {
        return Err(wrong(nonces));
    };
    // RFC 7616 3.3: an invalid nonce is stale, whatever the response is. Otherwise an attacker could test responses
    // with a nonce that it made up. A nonce that was sent to another address is stale too: credentials that were read
    // on the network cannot be used from elsewhere, and a challenge cannot be fetched at one address to guess from
    // another.
    let sent_here = presented_nonce.as_ref().filter(|nonce| nonces.was_sent_to(nonce, request.flow.remote.ip()));
    let Some(serial) = nonces.serial_to_check(sent_here, settings, now) else {
        return Err(stale(AuthenticationFailure::Stale));
    };
    // RFC 7616 3.4: the count has the wrong form. With a new nonce the client starts to count again. The response is
    // not checked; otherwise such a request would be a guess that is not counted.
    let count = credentials.nc();
    if count.is_none() && credentials.nc_text().is_some() {
        return Err(stale(AuthenticationFailure::Stale));
    }
    let Some(algorithm) = digest::algorithm(credentials).filter(|a| settings.digest.algorithms.contains(a)) else {
        return Err(wrong(nonces));
    };
    let aor = Aor::new(without_domain(&user, domain), domain);
    let account = settings.accounts.find(&aor);
    let input = DigestInput { algorithm, method: request.method(), uri: &uri, nonce: &nonce, credentials };
    let a2 = last_a2.of(algorithm, request.method(), &uri);
    let right = match account.and_then(|account| digest::secret(&account.secrets, algorithm)) {
        Some(secret) => input.is_right_with(&secret, a2),
        None => {
            // checklist 172: an unknown user takes the same time to check.
            input.is_right_with(&nonces.decoy_ha1(algorithm, aor.as_bytes()), a2);
            false
        }
    };
    if !right {
        let fingerprint = nonces.fingerprint(request);
        let is_new = nonces.add_failure(serial, fingerprint, settings, now);
        let denied = wrong(nonces);
        return Err(Denied { counts: denied.counts && is_new, ..denied });
    }
    // RFC 7616 3.4.6: the credentials are for another request. They may have been copied from it.
    if !names_same_resource(&uri, request.message.request_uri(), settings) {
        let failure = Some(AuthenticationFailure::Credentials);
        return Err(Denied { reject: Reject::DigestUri, failure, counts: false });
    }
    // A retransmission is equal and comes from the same address. Any other request with the same count is a replay.
    let fingerprint = nonces.fingerprint(request);
    // Without qop there is no count (RFC 3261 22.4 step 8 permits this), so the nonce is valid for one request only.
    let count = count.filter(|_| credentials.qop().is_some());
    nonces.spend(serial, count, fingerprint, settings, now).map_err(stale)?;
    Ok((aor, algorithm))
}

/// The user that this URI names in a realm; with an empty name if there is no URI.
fn user_of(named: Option<&SipUri<'_>>, realm: &[u8]) -> Aor {
    Aor::new(&named.map(SipUri::user_unescaped).unwrap_or_default(), realm)
}

/// The realm to challenge a request for whose From names no local domain: that of its Request-URI, or else the first
/// one.
pub(crate) fn realm_of<'s>(request: &Request, settings: &'s Settings) -> &'s str {
    let first = settings.domains.first().map(|first| &**first).unwrap_or_default();
    if settings.domains.len() < 2 {
        return first;
    }
    let uri = request.typed_uri().ok();
    uri.as_ref().and_then(Uri::sip).and_then(|uri| settings.domain_named_by(uri)).unwrap_or(first)
}

/// A challenge for one algorithm.
pub(crate) struct Challenge<'a> {
    of: ChallengeFor,
    algorithm: Algorithm,
    realm: &'a str,
    nonce: Nonce,
    stale: bool,
}

impl Challenge<'_> {
    /// Writes the challenge into a response (RFC 7616 3.3).
    pub(crate) fn write(&self, reply: &mut Reply<'_>) {
        reply.header(self.of.challenge(), |out| {
            out.extend_from_slice(b"Digest realm=\"");
            out.extend_from_slice(self.realm.as_bytes());
            out.extend_from_slice(b"\", nonce=\"");
            self.nonce.write(out);
            out.extend_from_slice(b"\", algorithm=");
            out.extend_from_slice(digest::token(self.algorithm));
            out.extend_from_slice(b", qop=\"auth\"");
            if self.stale {
                out.extend_from_slice(b", stale=true");
            }
        });
    }
}

/// The URI of the user that a request needs credentials of: To of a REGISTER, From of other requests.
fn named_uri(request: &Request, of: ChallengeFor) -> Option<SipUri<'_>> {
    match of {
        ChallengeFor::Registrar => request.uri_of_to().ok()?.sip().copied(),
        ChallengeFor::Proxy => request.uri_of_from(),
    }
}

/// The same user and its domain, if the URI is of the usual form.
fn plainly_named<'s>(request: &Request, of: ChallengeFor, settings: &'s Settings) -> Option<(Aor, &'s str)> {
    let uri = match of {
        ChallengeFor::Registrar => request.text_of_to(),
        ChallengeFor::Proxy => request.text_of_from(),
    };
    settings.plain_aor(uri).zip(settings.domains.first().map(|domain| &**domain))
}

/// The user name without the domain, because some phones send `user@domain`.
fn without_domain<'a>(user: &'a [u8], domain: &[u8]) -> &'a [u8] {
    user.strip_suffix(domain).and_then(|rest| rest.strip_suffix(b"@")).unwrap_or(user)
}

/// Whether the digest URI names the resource of the Request-URI (RFC 7616 3.4.6).
fn names_same_resource(digest_uri: &[u8], request_uri: &[u8], settings: &Settings) -> bool {
    if digest_uri == request_uri {
        return true;
    }
    match (Uri::parse(digest_uri), Uri::parse(request_uri)) {
        (Ok(Uri::Sip(a)), Ok(Uri::Sip(b))) => {
            // Phones add or omit the port and the transport, so only user and host have to be equal. This server may
            // have several names and addresses, and some phones use one of them here and another one in the
            // Request-URI.
            let same_domain =
                || settings.domain_named_by(&a).is_some_and(|it| settings.domain_named_by(&b) == Some(it));
            equivalent(&Uri::Sip(a), &Uri::Sip(b))
                || (a.user_unescaped() == b.user_unescaped() && (a.host.eq_ignore_case(&b.host) || same_domain()))
        }
        _ => false,
    }
}

/// Whether requests of this method can be challenged. ACK and CANCEL cannot be sent again (RFC 3261 22.1).
pub(crate) const fn can_be_challenged(method: Method<'_>) -> bool {
    !matches!(method, Method::Ack | Method::Cancel)
}
