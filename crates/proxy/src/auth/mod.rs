//! Digest authentication (RFC 3261 22, RFC 7616, RFC 8760).
//!
//! Decides from the credentials of one request; knows no routing. Challenges are stateless: a nonce is signed, only the
//! counts of nonces in use are remembered. An unknown user and a wrong password cannot be told apart, not even in time,
//! and neither can a user without an account from one who has one.
//!
//! A response is judged only by a nonce that is ours, young and not yet guessed with too often: with any other the answer
//! is `stale=true`, whatever the response. So each guess costs a part of a nonce, which only who receives our challenges
//! has.

mod digest;
mod md5_fallback;
mod nonce;
mod presented;

use ctutils::CtEq as _;
use location::Aor;
use parser::{Method, Reply, SipUri, Uri, equivalent};
use smallvec::SmallVec;

use crate::clock::Now;
use crate::event::{AuthenticationFailure, Limit};
use crate::mac::{Mac, Purpose};
use crate::reject::{ChallengeFor, Reject};
use crate::request::{ContentHasher, Request};
use crate::settings::{Algorithm, Authentication, Keys, Settings};

pub(crate) use presented::Presented;

use md5_fallback::Md5Fallback;
use nonce::{Nonce, Nonces};

/// What one worker knows of credentials: the counts of its nonces, and who did not understand a challenge.
pub(crate) struct Authenticator {
    nonces: Nonces,
    md5_fallback: Md5Fallback,
    /// Picks what a user without an account looks like: the same after a restart, or it would show who has one.
    stand_ins: Mac,
}

/// Why credentials did not do.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) reject: Reject,
    /// For the log; none when there were no credentials at all, which is how every exchange begins.
    pub(crate) failure: Option<AuthenticationFailure>,
    /// Whether it is held against the address, see [`Event::AuthenticationFailed`](crate::Event::AuthenticationFailed).
    pub(crate) counts: bool,
}

impl Authenticator {
    /// The authenticator of a worker.
    pub(crate) fn new(keys: &Keys, worker: u8, hasher: ContentHasher) -> Self {
        Self {
            nonces: Nonces::new(keys.nonce, worker, hasher),
            md5_fallback: Md5Fallback::new(Mac::new(keys.nonce)),
            stand_ins: Mac::new(keys.route),
        }
    }

    /// Nonces in use.
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

    /// The credentials of a request, for the steps that follow; none where nobody is asked for any.
    pub(crate) fn read<'a>(&self, request: &'a Request, settings: &Settings) -> SmallVec<[Presented<'a>; 2]> {
        match settings.authentication {
            Authentication::Off => SmallVec::new(),
            Authentication::Required => Presented::read(request, &self.nonces),
        }
    }

    /// The other worker that issued the nonce of these credentials: it knows their counts. An INVITE stays here, where its
    /// CANCEL will come, and gets a nonce of this worker.
    pub(crate) fn worker_of_nonce(&self, method: Method<'_>, presented: &[Presented<'_>]) -> Option<u8> {
        let issuer = presented.iter().find_map(|presented| presented.nonce.as_ref())?.worker;
        (method != Method::Invite && issuer != self.nonces.worker()).then_some(issuer)
    }

    /// The user that sent this request, authenticated for the realm `domain`.
    pub(crate) fn authenticate(
        &mut self,
        request: &Request,
        presented: &[Presented<'_>],
        of: ChallengeFor,
        domain: &[u8],
        settings: &Settings,
        now: Now,
    ) -> Result<Aor, Denied> {
        // The first Digest ones for our realm.
        let Some(presented) = presented.iter().find(|presented| presented.is_for(of, domain)) else {
            return Err(Denied { reject: Reject::Challenge { of, stale: false }, failure: None, counts: false });
        };
        let (aor, algorithm) = judge(presented, request, domain, settings, &mut self.nonces, now)?;
        let choice = settings.digest.algorithms.len() > 1;
        if choice && request.method() == Method::Register && self.md5_fallback.learns_from(algorithm) {
            let named = user_of(named(request, of).as_ref(), domain);
            self.md5_fallback.succeeded(request, (&named, named == aor), algorithm, settings, now);
        }
        Ok(aor)
    }

    /// The user that these credentials of a proxy's challenge name in a realm; whether they are good is not looked at.
    pub(crate) fn user_in(&self, presented: &[Presented<'_>], domain: &[u8]) -> Option<Aor> {
        let presented = presented.iter().find(|presented| presented.is_for(ChallengeFor::Proxy, domain))?;
        Some(Aor::new(without_domain(&presented.credentials.username()?, domain), domain))
    }

    /// The challenges for a request, one per algorithm in the order of preference (RFC 8760 2.3).
    pub(crate) fn challenges<'s>(
        &mut self,
        request: &Request,
        of: ChallengeFor,
        stale: bool,
        settings: &'s Settings,
        now: Now,
    ) -> SmallVec<[Challenge<'s>; 3]> {
        let named = named(request, of);
        let domain = named.as_ref().and_then(|uri| settings.domain_named_by(uri));
        let realm = domain.unwrap_or_else(|| realm_of(request, settings));
        // What is not of ours is the name of no account: nothing is known of what its user can answer.
        let user = domain.map(|domain| user_of(named.as_ref(), domain.as_bytes()));
        let offered = self.offered(request, of, user.as_ref(), settings, now);
        let source = request.flow.remote.ip();
        let challenge = |algorithm| Challenge { of, algorithm, realm, nonce: self.nonces.issue(source, now), stale };
        offered.into_iter().map(challenge).collect()
    }

    /// The algorithms that a challenge about this user is for: those that can be answered, or MD5 alone where a phone is
    /// known to give up at another.
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
        let stand_in = self.stand_ins.sign(Purpose::Decoy, &[b"algorithms", user.as_bytes()]);
        let answerable = settings.accounts.answerable(user, stand_in);
        let mut offered: SmallVec<_> = all.iter().copied().filter(|each| answerable.contains(*each)).collect();
        if offered.is_empty() {
            offered = all.into();
        }
        if offered.len() > 1 && offered.contains(&Algorithm::Md5) {
            let answered = presented::names_other_than(request, of, Algorithm::Md5);
            if self.md5_fallback.challenged(request, user, answered, settings, now) {
                offered.retain(|algorithm| *algorithm == Algorithm::Md5);
            }
        }
        offered
    }
}

fn judge(
    presented: &Presented<'_>,
    request: &Request,
    domain: &[u8],
    settings: &Settings,
    nonces: &mut Nonces,
    now: Now,
) -> Result<(Aor, Algorithm), Denied> {
    let &Presented { of, ref credentials, nonce: ref presented_nonce } = presented;
    // A connection has its address by its handshake; over UDP anybody writes any address.
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
    let (Some(user), Some(nonce), Some(uri), Some(response)) =
        (credentials.username(), credentials.nonce(), credentials.uri(), credentials.response())
    else {
        return Err(wrong(nonces));
    };
    // RFC 7616 3.3: a nonce that is not valid is stale, whatever the response. Told apart, a response could be guessed at
    // with any nonce, made-up ones too. So is one that was sent to another address: credentials that somebody has read are
    // of no use elsewhere, nor is a challenge that was fetched at one address to guess from another.
    let sent_here = presented_nonce.as_ref().filter(|nonce| nonces.was_sent_to(nonce, request.flow.remote.ip()));
    let Some(serial) = nonces.judged_by(sent_here, settings, now) else {
        return Err(stale(AuthenticationFailure::Stale));
    };
    // RFC 7616 3.4: a client that counts in another way has no chance with any response; with a new nonce it begins anew. The
    // response is not looked at, so that it cannot be guessed at for nothing.
    if credentials.has_bad_count() {
        return Err(stale(AuthenticationFailure::Stale));
    }
    let Some(algorithm) = digest::algorithm(credentials).filter(|a| settings.digest.algorithms.contains(a)) else {
        return Err(wrong(nonces));
    };
    let aor = Aor::new(without_domain(&user, domain), domain);
    let account = settings.accounts.find(&aor);
    let asked = digest::Asked { algorithm, method: request.method(), uri: &uri, nonce: &nonce, credentials };
    let right = match account.and_then(|account| digest::secret(&account.secrets, algorithm)) {
        Some(secret) => asked.response_with(&secret).is_some_and(|expected| expected.ct_eq(response).to_bool()),
        None => {
            // checklist 172: the same work for a user that does not exist.
            asked.response_with(&nonces.decoy_secret(algorithm, aor.as_bytes()));
            false
        }
    };
    if !right {
        let copy = nonces.fingerprint(request);
        let is_new = nonces.failed(serial, copy, settings, now);
        let denied = wrong(nonces);
        return Err(Denied { counts: denied.counts && is_new, ..denied });
    }
    // RFC 7616 3.4.6: the client signed another request than the one it sent.
    if !names_same_resource(&uri, request.message.request_uri(), settings) {
        let failure = Some(AuthenticationFailure::Credentials);
        return Err(Denied { reject: Reject::DigestUri, failure, counts: false });
    }
    // Only the same octets from the same place are a retransmission; with anything changed it is a replay.
    let copy = nonces.fingerprint(request);
    // Without qop there is no count: such a nonce is good for one request (RFC 3261 22.4 step 8 keeps it allowed).
    let count = if credentials.qop().is_some() { credentials.nc() } else { None };
    nonces.spend(serial, count, copy, settings, now).map_err(stale)?;
    Ok((aor, algorithm))
}

/// The user that this URI names in a realm; nobody's name if there is none.
fn user_of(named: Option<&SipUri<'_>>, realm: &[u8]) -> Aor {
    Aor::new(&named.map(SipUri::user_unescaped).unwrap_or_default(), realm)
}

/// The realm that a request is challenged for whose sender names no domain of ours: that of the user it is for, whether there
/// is one or not.
pub(crate) fn realm_of<'s>(request: &Request, settings: &'s Settings) -> &'s str {
    let first = settings.domains.first().map(|first| &**first).unwrap_or_default();
    if settings.domains.len() < 2 {
        return first;
    }
    let uri = request.typed_uri().ok();
    uri.as_ref().and_then(Uri::sip).and_then(|uri| settings.domain_named_by(uri)).unwrap_or(first)
}

/// One challenge.
pub(crate) struct Challenge<'a> {
    of: ChallengeFor,
    algorithm: Algorithm,
    realm: &'a str,
    nonce: Nonce,
    stale: bool,
}

impl Challenge<'_> {
    /// Adds it to a response (RFC 7616 3.3).
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

/// The URI of the user that a request has to prove: To of a REGISTER, else From.
fn named(request: &Request, of: ChallengeFor) -> Option<SipUri<'_>> {
    match of {
        ChallengeFor::Registrar => request.to_uri().ok()?.sip().copied(),
        ChallengeFor::Proxy => request.from_uri(),
    }
}

/// Some phones send `user@domain` as their user name.
fn without_domain<'a>(user: &'a [u8], domain: &[u8]) -> &'a [u8] {
    user.strip_suffix(domain).and_then(|rest| rest.strip_suffix(b"@")).unwrap_or(user)
}

fn names_same_resource(digest_uri: &[u8], request_uri: &[u8], settings: &Settings) -> bool {
    if digest_uri == request_uri {
        return true;
    }
    match (Uri::parse(digest_uri), Uri::parse(request_uri)) {
        (Ok(Uri::Sip(a)), Ok(Uri::Sip(b))) => {
            // Phones leave out or add port and transport here; user and host must be the same.
            // A server has several names and addresses, and some phones use one in `uri` and another in the Request-URI.
            let same_domain =
                || settings.domain_named_by(&a).is_some_and(|it| settings.domain_named_by(&b) == Some(it));
            equivalent(&Uri::Sip(a), &Uri::Sip(b))
                || (a.user_unescaped() == b.user_unescaped() && (a.host.eq_ignore_case(&b.host) || same_domain()))
        }
        _ => false,
    }
}

/// Whether a method may be challenged at all (RFC 3261 22.1: ACK and CANCEL cannot be sent again).
pub(crate) const fn can_be_challenged(method: Method<'_>) -> bool {
    !matches!(method, Method::Ack | Method::Cancel)
}
