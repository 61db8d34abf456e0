//! Digest authentication of the page (RFC 7616): its nonces, and whether the credentials of a request are valid.
//!
//! Decides which user a request is from. A nonce is its time with a keyed hash, so challenges take no memory. Only a nonce
//! that was used with the right password takes an entry, for its count. The page uses SHA-256 alone: browsers have no MD5.
//! Must not count failures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ctutils::CtEq as _;
use hashbrown::HashMap;
use location::Aor;
use parking_lot::Mutex;
use parser::headers::Credentials;
use parser::{Method, hex_octets, hex_text};
use proxy::{Accounts, Algorithm, DigestInput, Limit, Secrets};
use sha2::{Digest as _, Sha256};

use crate::data::secret;
use crate::error::CliError;
use crate::metrics;

/// The algorithm of all challenges.
const ALGORITHM: &[u8] = b"SHA-256";

/// Secrets that no password has: for users without an account, so that the check takes the same time.
const NO_SECRETS: Secrets = Secrets { md5: None, sha256: Some([0; 32]), sha512t256: None };

/// Issues challenges and verifies credentials.
pub(super) struct Verifier {
    key: [u8; 32],
    started: Instant,
    /// The last nonce, in microseconds since the start.
    last: AtomicU64,
    used: Mutex<Used>,
}

/// The nonces that were used.
#[derive(Default)]
struct Used {
    /// Their counts.
    counts: HashMap<u64, u32>,
    /// The latest nonce that was dropped to make room. This one and earlier ones are not accepted without an entry.
    dropped: Option<u64>,
}

/// Why credentials are not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There are none, or they are malformed.
    Missing,
    /// The nonce is too old, or not from this server, or its count was used before. Says nothing about the password.
    Stale,
    /// The password is wrong, or there is no such user.
    Wrong(Aor),
}

/// What a request is, for its digest.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    /// The value of Authorization.
    pub(super) authorization: &'a [u8],
}

/// Which users there are, and how long and how many nonces are remembered.
pub(super) struct Rules<'a> {
    pub(super) accounts: &'a Accounts,
    pub(super) lifetime: Duration,
    pub(super) nonces: usize,
}

impl Verifier {
    /// With a random key.
    pub(super) fn new() -> Result<Self, CliError> {
        let (key, started) = (secret::random()?, Instant::now());
        Ok(Self { key, started, last: AtomicU64::new(0), used: Mutex::default() })
    }

    /// A challenge with a new nonce. `domain`: the realm.
    pub(super) fn challenge(&self, domain: &str, is_stale: bool) -> String {
        let now = self.now();
        // Each nonce is another one.
        let before = self.last.fetch_max(now, Ordering::Relaxed);
        let id = if before < now { now } else { self.last.fetch_add(1, Ordering::Relaxed) + 1 };
        let stale = if is_stale { ", stale=true" } else { "" };
        format!("Digest realm=\"{domain}\", nonce=\"{}\", algorithm=SHA-256, qop=\"auth\"{stale}", self.nonce(id))
    }

    /// The user that a request is from.
    pub(super) fn verify(&self, asked: &Asked<'_>, rules: &Rules<'_>) -> Result<Aor, Refusal> {
        let credentials = Credentials::parse(asked.authorization).map_err(|_| Refusal::Missing)?;
        let claim = Claim::of(&credentials, asked).ok_or(Refusal::Missing)?;
        let id = self.id_of(&claim.nonce, rules.lifetime).ok_or(Refusal::Stale)?;
        let user = Aor::new(&claim.username, &claim.realm);
        let input = DigestInput {
            algorithm: Algorithm::Sha256,
            method: Method::Other(asked.method.as_bytes()),
            uri: asked.uri.as_bytes(),
            nonce: &claim.nonce,
            credentials: &credentials,
        };
        let secrets = rules.accounts.find(&user).map(|account| &account.secrets);
        let known = secrets.filter(|secrets| secrets.sha256.is_some());
        if !input.is_right_for(known.unwrap_or(&NO_SECRETS)) || known.is_none() {
            return Err(Refusal::Wrong(user));
        }
        if self.counts(id, claim.count, rules) { Ok(user) } else { Err(Refusal::Stale) }
    }

    /// Notes a count of a nonce. False if it was used before (RFC 7616 3.4: replay).
    fn counts(&self, id: u64, count: u32, rules: &Rules<'_>) -> bool {
        let oldest = self.oldest(rules.lifetime);
        let Used { counts, dropped } = &mut *self.used.lock();
        if !counts.contains_key(&id) {
            if dropped.is_some_and(|dropped| id <= dropped) {
                return false;
            }
            if counts.len() >= rules.nonces {
                counts.retain(|id, _| *id >= oldest);
            }
            // All are of users with the right password: another one has to get a new challenge.
            if counts.len() >= rules.nonces
                && let Some(first) = counts.keys().min().copied()
            {
                counts.remove(&first);
                *dropped = Some(first);
                metrics::count(Limit::Nonces);
            }
        }
        let last = counts.entry(id).or_insert(0);
        let is_new = count > *last;
        *last = count.max(*last);
        is_new
    }

    /// The nonce in this text, if it was issued here and is not too old.
    fn id_of(&self, nonce: &[u8], lifetime: Duration) -> Option<u64> {
        let id = u64::from_be_bytes(hex_octets(nonce.get(..16)?)?);
        let is_ours = self.nonce(id).as_bytes().ct_eq(nonce).to_bool();
        let is_current = id >= self.oldest(lifetime) && id <= self.last.load(Ordering::Relaxed);
        (is_ours && is_current).then_some(id)
    }

    fn nonce(&self, id: u64) -> String {
        let hash = Sha256::new().chain_update(self.key).chain_update(id.to_be_bytes()).finalize();
        let (mac, _) = hash.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        format!("{}{}", hex_text(&id.to_be_bytes()), hex_text(mac))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn oldest(&self, lifetime: Duration) -> u64 {
        self.now().saturating_sub(u64::try_from(lifetime.as_micros()).unwrap_or(u64::MAX))
    }
}

/// What credentials say, if they are for the request that they came with.
struct Claim {
    username: Vec<u8>,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    count: u32,
}

impl Claim {
    fn of(credentials: &Credentials<'_>, asked: &Asked<'_>) -> Option<Self> {
        let has = |value: Option<&[u8]>, wanted: &[u8]| value.is_some_and(|value| value.eq_ignore_ascii_case(wanted));
        let is_for_it = credentials.is_digest()
            && has(credentials.algorithm(), ALGORITHM)
            && has(credentials.qop(), b"auth")
            && *credentials.uri()? == *asked.uri.as_bytes()
            && credentials.cnonce().is_some()
            && credentials.response().is_some();
        if !is_for_it {
            return None;
        }
        Some(Self {
            username: credentials.username()?.into_owned(),
            realm: credentials.realm()?.into_owned(),
            nonce: credentials.nonce()?.into_owned(),
            count: credentials.nc()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proxy::Account;

    use super::*;
    use crate::config::hashed;

    fn accounts() -> Accounts {
        let mut accounts = Accounts::default();
        let secrets = hashed("alice", "office.example", "wonderland");
        accounts.insert(Aor::new(b"alice", b"office.example"), secrets.into());
        accounts.insert(Aor::new(b"door", b"office.example"), Account::default());
        accounts
    }

    struct Setup {
        verifier: Verifier,
        accounts: Accounts,
        lifetime: Duration,
        nonces: usize,
    }

    impl Setup {
        fn new() -> Self {
            let verifier = Verifier::new().expect("random numbers");
            Self { verifier, accounts: accounts(), lifetime: Duration::from_secs(300), nonces: 8 }
        }

        fn nonce(&self) -> String {
            let challenge = self.verifier.challenge("office.example", false);
            challenge.split("nonce=\"").nth(1).expect("a nonce")[..48].to_owned()
        }

        fn shows(&self, nonce: &str, (user, password): (&str, &str), count: u32) -> Result<Aor, Refusal> {
            let hash = |text: String| hex_text(&Sha256::digest(text));
            let secret = hash(format!("{user}:office.example:{password}"));
            let response = hash(format!("{secret}:{nonce}:{count:08x}:c:auth:{}", hash("GET:/me/rules".to_owned())));
            let authorization = format!(
                "Digest username=\"{user}\", realm=\"office.example\", nonce=\"{nonce}\", uri=\"/me/rules\", \
                 response=\"{response}\", algorithm=SHA-256, cnonce=\"c\", qop=auth, nc={count:08x}"
            );
            self.verify("GET", "/me/rules", authorization.as_bytes())
        }

        fn verify(&self, method: &str, uri: &str, authorization: &[u8]) -> Result<Aor, Refusal> {
            let rules = Rules { accounts: &self.accounts, lifetime: self.lifetime, nonces: self.nonces };
            self.verifier.verify(&Asked { method, uri, authorization }, &rules)
        }
    }

    const ALICE: (&str, &str) = ("alice", "wonderland");

    fn aor(user: &str) -> Aor {
        Aor::new(user.as_bytes(), b"office.example")
    }

    #[test]
    fn the_right_password_is_accepted_and_each_count_once() {
        let setup = Setup::new();
        let nonce = setup.nonce();
        for (count, expected) in [(1, true), (1, false), (2, true), (1, false), (7, true), (7, false)] {
            let expected = if expected { Ok(aor("alice")) } else { Err(Refusal::Stale) };
            assert_eq!(setup.shows(&nonce, ALICE, count), expected, "{count}");
        }
        assert_ne!(setup.nonce(), setup.nonce());
    }

    #[test]
    fn wrong_passwords_and_unknown_users_are_refused_alike() {
        let setup = Setup::new();
        let nonce = setup.nonce();
        for login in [("alice", "wrong"), ("nobody", "wonderland"), ("door", ""), ("", "")] {
            assert_eq!(setup.shows(&nonce, login, 1), Err(Refusal::Wrong(aor(login.0))), "{login:?}");
        }
        assert!(setup.verifier.used.lock().counts.is_empty(), "wrong passwords take memory");
    }

    #[test]
    fn a_nonce_that_is_old_or_forged_says_nothing_about_the_password() {
        let mut setup = Setup::new();
        let nonce = setup.nonce();
        let forged = nonce.replace(&nonce[40..], "00000000");
        for login in [ALICE, ("alice", "wrong")] {
            assert_eq!(setup.shows(&forged, login, 1), Err(Refusal::Stale));
            assert_eq!(setup.shows("00", login, 1), Err(Refusal::Stale));
        }
        setup.lifetime = Duration::ZERO;
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(setup.shows(&nonce, ALICE, 1), Err(Refusal::Stale));
    }

    #[test]
    fn credentials_for_another_request_are_none() {
        let setup = Setup::new();
        let value = |nonce: &str| {
            format!(
                "Digest username=\"alice\", realm=\"office.example\", nonce=\"{nonce}\", uri=\"/me/rules\", \
                 response=\"{}\", algorithm=SHA-256, cnonce=\"c\", qop=auth, nc=00000001",
                "0".repeat(64)
            )
        };
        let good = value(&setup.nonce());
        assert_eq!(setup.verify("GET", "/me/rules", good.as_bytes()), Err(Refusal::Wrong(aor("alice"))));
        assert_eq!(setup.verify("GET", "/me/other", good.as_bytes()), Err(Refusal::Missing));
        for bad in ["", "Basic YTpi", "Digest", &good.replace("SHA-256", "MD5"), &good.replace("qop=auth, ", "")] {
            assert_eq!(setup.verify("GET", "/me/rules", bad.as_bytes()), Err(Refusal::Missing), "{bad}");
        }
    }

    #[test]
    fn the_counts_of_nonces_are_bounded_and_a_dropped_one_is_not_valid_again() {
        let setup = Setup { nonces: 2, ..Setup::new() };
        let nonces = [(); 3].map(|()| setup.nonce());
        for nonce in &nonces {
            assert_eq!(setup.shows(nonce, ALICE, 1), Ok(aor("alice")));
        }
        assert_eq!(setup.verifier.used.lock().counts.len(), 2);
        assert_eq!(setup.shows(&nonces[0], ALICE, 1), Err(Refusal::Stale), "a replay");
        assert_eq!(setup.shows(&nonces[2], ALICE, 2), Ok(aor("alice")));
    }
}
