//! Phones that give up when a challenge with an unknown algorithm comes first, although one that they support follows
//! (against RFC 8760 2.4). They are offered MD5 alone.
//!
//! A device that was challenged, did not answer, and sends another REGISTER is offered MD5 alone for some minutes, or
//! until it authenticates. If it then authenticates with MD5, its other requests over the same flow are offered MD5
//! alone for as long as its registration may last. A REGISTER is repeated, but a call is not, so its first challenge
//! must be one that the phone can answer.
//!
//! A request without credentials can come from an attacker, and must not weaken the authentication of a phone. So a
//! device is identified by the Call-ID of its REGISTERs too, which stays the same (RFC 3261 10.2) and is known to
//! nobody else, besides its user, User-Agent and address. A phone that has used a better algorithm with this Call-ID is
//! never offered MD5 alone. Calls are offered less only after a REGISTER with valid credentials. A user without an
//! account is treated in the same way, so that the challenges do not tell which accounts exist.
//!
//! The tables are bounded: the last challenges, and a few phones for each account. A phone whose entry was evicted is
//! offered all algorithms. Each worker has its own tables, in memory only.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use location::Aor;
use parser::{HeaderName, Method};
use smallvec::SmallVec;

use crate::clock::{Instant, Now};
use crate::mac::{Mac, Purpose, octets_of};
use crate::request::{Request, TransactionKey};
use crate::settings::{Algorithm, Settings};

/// The devices that were challenged, and the phones that have authenticated.
pub(super) struct Md5Fallback {
    mac: Mac,
    /// Devices that have not answered a challenge, by a keyed hash.
    unanswered: HashMap<u64, Unanswered>,
    /// Their first challenges, the oldest at the front. An entry may be of a device that is no longer in `unanswered`.
    order: VecDeque<(Instant, u64)>,
    /// Phones that have authenticated.
    authenticated: HashMap<Aor, SmallVec<[Phone; 2]>>,
    overflowed: bool,
}

/// A device that has not answered a challenge.
struct Unanswered {
    since: Instant,
    request: TransactionKey,
    /// The end of the time in which it is offered MD5 alone; `None` if it is offered all algorithms.
    md5_until: Option<Instant>,
}

/// What is known of a phone since it authenticated.
struct Phone {
    /// A keyed hash of the Call-ID of its REGISTERs, or of its flow.
    id: u64,
    /// The end of the time in which calls over this flow are offered MD5 alone; `None` if it supports a better
    /// algorithm.
    md5_until: Option<Instant>,
}

/// A second REGISTER before this time does not show that the phone gave up (RFC 3261 17.1.2.2: Timer E grows to 4 s).
const GIVE_UP_TIME: Duration = Duration::from_secs(5);

/// The most phones of an account that are remembered. Only those with its password are added.
const PHONES_PER_ACCOUNT: usize = 8;

impl Md5Fallback {
    pub(super) fn new(mac: Mac) -> Self {
        let (unanswered, authenticated) = (HashMap::new(), HashMap::new());
        Self { mac, unanswered, order: VecDeque::new(), authenticated, overflowed: false }
    }

    /// Whether the entry of a challenged device was evicted since the last call.
    pub(super) const fn take_overflow(&mut self) -> bool {
        std::mem::replace(&mut self.overflowed, false)
    }

    /// Records a challenge that is about to be sent. Returns whether it has to offer MD5 alone. `answered`: the request
    /// has credentials of a better algorithm.
    pub(super) fn on_challenge(
        &mut self,
        request: &Request,
        user: &Aor,
        answered: bool,
        settings: &Settings,
        now: Now,
    ) -> bool {
        let is_configured = settings.digest.supports_md5_only(user_agent(request));
        if request.method() != Method::Register {
            let until = self.md5_until(user, self.flow_id(request)).flatten();
            return is_configured || until.is_some_and(|until| now.mono < until);
        }
        if self.md5_until(user, self.call_id(request)) == Some(None) {
            return false;
        }
        let device = self.device(request, user);
        if answered {
            self.unanswered.remove(&device);
            return false;
        }
        is_configured || self.has_given_up(device, request.key, settings, now.mono)
    }

    fn has_given_up(&mut self, device: u64, request: TransactionKey, settings: &Settings, now: Instant) -> bool {
        let Some(time) = settings.digest.md5_fallback else { return false };
        if let Some(known) = self.unanswered.get_mut(&device) {
            match known.md5_until {
                Some(until) if now < until => return true,
                // MD5 alone did not help, so the device is treated as a new one.
                Some(_) => {}
                None => {
                    let has_given_up = known.request != request && now.since(known.since) >= GIVE_UP_TIME;
                    known.md5_until = has_given_up.then_some(now + time);
                    return has_given_up;
                }
            }
        }
        while self.order.len() >= settings.limits.unanswered_challenges.max(1)
            && let Some((since, oldest)) = self.order.pop_front()
        {
            if self.unanswered.get(&oldest).is_some_and(|known| known.since == since) {
                self.unanswered.remove(&oldest);
                self.overflowed = true;
            }
        }
        self.order.push_back((now, device));
        self.unanswered.insert(device, Unanswered { since: now, request, md5_until: None });
        false
    }

    /// Whether [`Md5Fallback::on_credentials`] changes anything for this algorithm.
    pub(super) fn needs_credentials(&self, algorithm: Algorithm) -> bool {
        algorithm != Algorithm::Md5 || !self.unanswered.is_empty()
    }

    /// Records that a REGISTER for this user has valid credentials. `is_own`: they are of this user, so they may add a
    /// phone of the account.
    pub(super) fn on_credentials(
        &mut self,
        request: &Request,
        (user, is_own): (&Aor, bool),
        algorithm: Algorithm,
        settings: &Settings,
        now: Now,
    ) {
        let device = self.device(request, user);
        let fell_back = self.unanswered.remove(&device).is_some_and(|known| known.md5_until.is_some());
        if !is_own {
            return;
        }
        if algorithm != Algorithm::Md5 {
            let flow = self.flow_id(request);
            if let Some(phones) = self.authenticated.get_mut(user) {
                phones.retain(|phone| phone.id != flow);
            }
            self.remember(user, self.call_id(request), None, settings);
        } else if fell_back {
            let longest = Duration::from_secs(settings.registrar.limits.max_expires.into());
            self.remember(user, self.flow_id(request), Some(now.mono + longest), settings);
        }
    }

    fn remember(&mut self, user: &Aor, id: u64, md5_until: Option<Instant>, settings: &Settings) {
        if self.authenticated.len() > settings.accounts.len() {
            // Some accounts were removed from the configuration.
            self.authenticated.retain(|user, _| settings.accounts.find(user).is_some());
        }
        let phones = self.authenticated.entry_ref(user).or_default();
        phones.retain(|known| known.id != id);
        if phones.len() >= PHONES_PER_ACCOUNT {
            phones.remove(0);
        }
        phones.push(Phone { id, md5_until });
    }

    fn md5_until(&self, user: &Aor, id: u64) -> Option<Option<Instant>> {
        if self.authenticated.is_empty() {
            return None;
        }
        self.authenticated.get(user)?.iter().find(|known| known.id == id).map(|known| known.md5_until)
    }

    /// The key of a device: a hash of its user, User-Agent, address and Call-ID.
    fn device(&self, request: &Request, user: &Aor) -> u64 {
        let source = octets_of(request.flow.remote.ip());
        let parts = [b"device", user.as_bytes(), user_agent(request), &source, request.call_id()];
        self.mac.sign(Purpose::Fingerprint, &parts)
    }

    fn call_id(&self, request: &Request) -> u64 {
        self.mac.sign(Purpose::Fingerprint, &[b"call", request.call_id()])
    }

    fn flow_id(&self, request: &Request) -> u64 {
        let source = request.flow.remote;
        let parts = [&b"flow"[..], &octets_of(source.ip()), &source.port().to_be_bytes()];
        self.mac.sign(Purpose::Fingerprint, &parts)
    }
}

fn user_agent(request: &Request) -> &[u8] {
    request.message.value(HeaderName::UserAgent).unwrap_or_default()
}
