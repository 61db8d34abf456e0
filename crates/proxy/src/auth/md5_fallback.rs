//! Phones that give up at a challenge they do not know, though one they know stands beside it (against RFC 8760 2.4).
//!
//! Decides whom to offer MD5 alone: a device that was challenged, did not answer, and sends another REGISTER. Its next
//! success ends that, and so do some minutes. From then on only its other requests are offered MD5 alone, over the same
//! flow, for as long as its registration may last: a call comes once and cannot be tried again.
//!
//! What came without credentials must not weaken another phone, whoever sent it. So the device is known by the Call-ID of
//! its REGISTERs (RFC 3261 10.2: the same for all of them), which nobody else knows, besides its user, its User-Agent and
//! its address; a phone that has answered a better algorithm under this Call-ID is never offered less; and what is known
//! of its calls is known by its password. All of it is the same for a user without an account.
//!
//! Bounded: the last so many challenges, and a few phones for each account. What is pushed out is offered everything.
//! Kept in memory only, by each worker.

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

/// What became of our challenges to devices.
pub(super) struct Md5Fallback {
    mac: Mac,
    /// By a keyed hash of the device.
    challenged: HashMap<u64, Challenged>,
    /// When each was challenged first, and its key; the oldest at the front. Some are no longer there.
    order: VecDeque<(Instant, u64)>,
    /// Phones of accounts, known by their password.
    proven: HashMap<Aor, SmallVec<[Proven; 2]>>,
    overflowed: bool,
}

/// A device that has not answered.
struct Challenged {
    since: Instant,
    request: TransactionKey,
    /// Until when it is offered MD5 alone.
    md5_until: Option<Instant>,
}

/// What a success showed.
struct Proven {
    /// A keyed hash of the Call-ID of its REGISTERs, or of its flow.
    phone: u64,
    /// Until when calls over this flow are offered MD5 alone; none: it answers a better algorithm.
    md5_until: Option<Instant>,
}

/// Sooner than this a second REGISTER is no sign that the first was given up (RFC 3261 17.1.2.2: Timer E grows to 4 s).
const SAME_TRY: Duration = Duration::from_secs(5);

/// Phones of one account that are remembered: the last ones. Only who has its password adds one.
const PHONES: usize = 8;

impl Md5Fallback {
    pub(super) fn new(mac: Mac) -> Self {
        let (challenged, proven) = (HashMap::new(), HashMap::new());
        Self { mac, challenged, order: VecDeque::new(), proven, overflowed: false }
    }

    /// Whether a challenged device was pushed out since the last call.
    pub(super) const fn take_overflow(&mut self) -> bool {
        std::mem::replace(&mut self.overflowed, false)
    }

    /// A challenge is about to be sent: is it to be MD5 alone? `answered`: the request brought credentials of a better
    /// algorithm.
    pub(super) fn challenged(
        &mut self,
        request: &Request,
        user: &Aor,
        answered: bool,
        settings: &Settings,
        now: Now,
    ) -> bool {
        let is_known_to = settings.digest.takes_md5_only(user_agent(request));
        if request.method() != Method::Register {
            let until = self.proven(user, self.flow(request)).flatten();
            return is_known_to || until.is_some_and(|until| now.mono < until);
        }
        if self.proven(user, self.call_id(request)) == Some(None) {
            return false;
        }
        let device = self.device(request, user);
        if answered {
            self.challenged.remove(&device);
            return false;
        }
        is_known_to || self.gives_up(device, request.key, settings, now.mono)
    }

    fn gives_up(&mut self, device: u64, request: TransactionKey, settings: &Settings, now: Instant) -> bool {
        let Some(time) = settings.digest.md5_fallback else { return false };
        if let Some(known) = self.challenged.get_mut(&device) {
            match known.md5_until {
                Some(until) if now < until => return true,
                // It was no help: from the beginning.
                Some(_) => {}
                None => {
                    let anew = known.request != request && now.since(known.since) >= SAME_TRY;
                    known.md5_until = anew.then_some(now + time);
                    return anew;
                }
            }
        }
        while self.order.len() >= settings.limits.unanswered_challenges.max(1)
            && let Some((since, oldest)) = self.order.pop_front()
        {
            if self.challenged.get(&oldest).is_some_and(|known| known.since == since) {
                self.challenged.remove(&oldest);
                self.overflowed = true;
            }
        }
        self.order.push_back((now, device));
        self.challenged.insert(device, Challenged { since: now, request, md5_until: None });
        false
    }

    /// Whether a success with this algorithm changes anything.
    pub(super) fn learns_from(&self, algorithm: Algorithm) -> bool {
        algorithm != Algorithm::Md5 || !self.challenged.is_empty()
    }

    /// A REGISTER of this user's phone brought good credentials; `by_itself`: of this user, who alone adds to what is known
    /// of this account.
    pub(super) fn succeeded(
        &mut self,
        request: &Request,
        (user, by_itself): (&Aor, bool),
        algorithm: Algorithm,
        settings: &Settings,
        now: Now,
    ) {
        let device = self.device(request, user);
        let fell_back = self.challenged.remove(&device).is_some_and(|known| known.md5_until.is_some());
        if !by_itself {
            return;
        }
        if algorithm != Algorithm::Md5 {
            let flow = self.flow(request);
            if let Some(phones) = self.proven.get_mut(user) {
                phones.retain(|phone| phone.phone != flow);
            }
            self.prove(user, self.call_id(request), None, settings);
        } else if fell_back {
            let longest = Duration::from_secs(settings.registrar.limits.max_expires.into());
            self.prove(user, self.flow(request), Some(now.mono + longest), settings);
        }
    }

    fn prove(&mut self, user: &Aor, phone: u64, md5_until: Option<Instant>, settings: &Settings) {
        if self.proven.len() > settings.accounts.len() {
            // Of accounts that were removed.
            self.proven.retain(|user, _| settings.accounts.find(user).is_some());
        }
        let phones = self.proven.entry_ref(user).or_default();
        phones.retain(|known| known.phone != phone);
        if phones.len() >= PHONES {
            phones.remove(0);
        }
        phones.push(Proven { phone, md5_until });
    }

    fn proven(&self, user: &Aor, phone: u64) -> Option<Option<Instant>> {
        if self.proven.is_empty() {
            return None;
        }
        self.proven.get(user)?.iter().find(|known| known.phone == phone).map(|known| known.md5_until)
    }

    /// A device: who it says it is, what it is, where it is, and what nobody else knows of it.
    fn device(&self, request: &Request, user: &Aor) -> u64 {
        let call_id = request.message.value(HeaderName::CallId).unwrap_or_default();
        let source = octets_of(request.flow.remote.ip());
        self.mac.sign(Purpose::Fingerprint, &[b"device", user.as_bytes(), user_agent(request), &source, call_id])
    }

    fn call_id(&self, request: &Request) -> u64 {
        let call_id = request.message.value(HeaderName::CallId).unwrap_or_default();
        self.mac.sign(Purpose::Fingerprint, &[b"call", call_id])
    }

    fn flow(&self, request: &Request) -> u64 {
        let source = request.flow.remote;
        let parts = [&b"flow"[..], &octets_of(source.ip()), &source.port().to_be_bytes()];
        self.mac.sign(Purpose::Fingerprint, &parts)
    }
}

fn user_agent(request: &Request) -> &[u8] {
    request.message.value(HeaderName::UserAgent).unwrap_or_default()
}
