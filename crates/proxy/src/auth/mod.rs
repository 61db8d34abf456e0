//! Who is it? Digest authentication (RFC 3261 22, RFC 7616, RFC 8760).
//!
//! Decides from the credentials of one request; knows no routing. Challenges are stateless: a nonce is signed, only the
//! counts of nonces in use are remembered. An unknown user and a wrong password cannot be told apart, not even in time.

mod digest;
mod nonce;
mod presented;
mod unheeded;

use ctutils::CtEq as _;
use location::Aor;
use parser::{Method, Reply, SipUri, Uri, equivalent};
use smallvec::SmallVec;

use crate::clock::Now;
use crate::event::AuthenticationFailure;
use crate::reject::{ChallengeFor, Reject};
use crate::request::Request;
use crate::settings::{Algorithm, Authentication, Settings};

pub(crate) use presented::Presented;

use nonce::{Nonce, Nonces};
use unheeded::Unheeded;

/// What one worker knows of credentials: the counts of its nonces, and who did not understand a challenge.
pub(crate) struct Authenticator {
    nonces: Nonces,
    unheeded: Unheeded,
}

/// Why credentials did not do.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) reject: Reject,
    /// For the log; none when there were no credentials at all, which is how every exchange begins.
    pub(crate) failure: Option<AuthenticationFailure>,
}

impl Authenticator {
    /// The authenticator of a worker; `key` signs its nonces.
    pub(crate) fn new(key: [u8; 16], worker: u8) -> Self {
        Self { nonces: Nonces::new(key, worker), unheeded: Unheeded::default() }
    }

    /// Nonces in use.
    pub(crate) fn nonces(&self) -> usize {
        self.nonces.len()
    }

    /// Whether a nonce in use was pushed out since the last call: its client has to begin anew.
    pub(crate) const fn take_overflow(&mut self) -> bool {
        self.nonces.take_overflow()
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

    /// Who sent this request, proven for the realm `domain`.
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
            return Err(Denied { reject: Reject::Challenge { of, stale: false }, failure: None });
        };
        self.unheeded.heeded(request, of);
        judge(presented, request, domain, settings, &mut self.nonces, now)
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
        let all = settings.digest.algorithms.as_slice();
        let choice = all.len() > 1 && all.contains(&Algorithm::Md5);
        let named = named(request, of);
        let md5_only = choice && self.unheeded.challenged(request, named.as_ref(), now);
        let offered = if md5_only { &[Algorithm::Md5] } else { all };
        let realm = realm(named.as_ref(), settings);
        let challenge = |&algorithm| Challenge { of, algorithm, realm, nonce: self.nonces.issue(now), stale };
        offered.iter().map(challenge).collect()
    }
}

fn judge(
    presented: &Presented<'_>,
    request: &Request,
    domain: &[u8],
    settings: &Settings,
    nonces: &mut Nonces,
    now: Now,
) -> Result<Aor, Denied> {
    let &Presented { of, ref credentials, .. } = presented;
    let challenge = |stale, failure| Denied { reject: Reject::Challenge { of, stale }, failure: Some(failure) };
    let (Some(user), Some(nonce), Some(uri), Some(response)) =
        (credentials.username(), credentials.nonce(), credentials.uri(), credentials.response())
    else {
        return Err(challenge(false, AuthenticationFailure::Credentials));
    };
    let Some(algorithm) = digest::algorithm(credentials).filter(|a| settings.digest.algorithms.contains(a)) else {
        return Err(challenge(false, AuthenticationFailure::Credentials));
    };
    let aor = Aor::new(without_domain(&user, domain), domain);
    let account = settings.accounts.find(&aor);
    let asked = digest::Asked { algorithm, method: request.method(), uri: &uri, nonce: &nonce, credentials };
    let right = match account.and_then(|account| digest::secret(&account.secrets, algorithm)) {
        Some(secret) => asked.response_with(&secret).is_some_and(|expected| expected.ct_eq(response).to_bool()),
        None => {
            // The same work for a user that does not exist.
            asked.response_with(&nonces.pretend_secret(algorithm, aor.as_bytes()));
            false
        }
    };
    if !right {
        return Err(challenge(false, AuthenticationFailure::Credentials));
    }
    // RFC 7616 3.4.6: the client signed another request than the one it sent.
    if !names_same_resource(&uri, request.message.request_uri()) {
        return Err(Denied { reject: Reject::DigestUri, failure: Some(AuthenticationFailure::Credentials) });
    }
    spend(presented, request, settings, nonces, now).map_err(|failure| challenge(true, failure))?;
    Ok(aor)
}

/// The realm that a request about this user is challenged for: his domain.
fn realm<'s>(named: Option<&SipUri<'_>>, settings: &'s Settings) -> &'s str {
    let domain = named.and_then(|uri| settings.domain_named_by(uri));
    domain.or_else(|| settings.domains.first().map(|first| &**first)).unwrap_or_default()
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
        ChallengeFor::Registrar => request.addressee().ok()?.sip().copied(),
        ChallengeFor::Proxy => request.caller(),
    }
}

fn spend(
    Presented { credentials, nonce, .. }: &Presented<'_>,
    request: &Request,
    settings: &Settings,
    nonces: &mut Nonces,
    now: Now,
) -> Result<(), AuthenticationFailure> {
    // Only the same octets from the same place are a retransmission; with anything changed it is a replay.
    let copy = nonces.fingerprint(request);
    // Without qop there is no count: such a nonce is good for one request (RFC 3261 22.4 step 8 keeps it allowed).
    let count = if credentials.qop().is_some() { credentials.nc() } else { None };
    nonces.spend(nonce.as_ref(), count, copy, settings, now)
}

/// Some phones send `user@domain` as their user name.
fn without_domain<'a>(user: &'a [u8], domain: &[u8]) -> &'a [u8] {
    user.strip_suffix(domain).and_then(|rest| rest.strip_suffix(b"@")).unwrap_or(user)
}

fn names_same_resource(digest_uri: &[u8], request_uri: &[u8]) -> bool {
    if digest_uri == request_uri {
        return true;
    }
    match (Uri::parse(digest_uri), Uri::parse(request_uri)) {
        (Ok(Uri::Sip(a)), Ok(Uri::Sip(b))) => {
            // Phones leave out or add port and transport here; who is meant must be the same.
            equivalent(&Uri::Sip(a), &Uri::Sip(b))
                || (a.user_unescaped() == b.user_unescaped() && a.host.eq_ignore_case(&b.host))
        }
        _ => false,
    }
}

/// Whether a method may be challenged at all (RFC 3261 22.1: ACK and CANCEL cannot be sent again).
pub(crate) const fn can_be_challenged(method: Method<'_>) -> bool {
    !matches!(method, Method::Ack | Method::Cancel)
}
