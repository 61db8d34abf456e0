//! Invariants of the registration of the server at a trunk (RFC 3261 10.2).

use std::rc::Rc;

use super::GIVE_UP;
use super::rule::{Verdict, enforce, must};
use super::trunks::sequence;
use crate::Sip;

const SECOND: u64 = 1_000_000;

/// The shortest expiry that the registrar grants, in seconds.
pub(crate) const LEAST_EXPIRY: u64 = 60;

/// The most requests of one attempt, besides one for each address: after two challenges and a 423.
const MOST_REQUESTS: usize = 3;

/// The first pause after a failure and the longest one (RFC 5626 4.5).
const FIRST_PAUSE: u64 = 30 * SECOND;
const LONGEST_PAUSE: u64 = 1800 * SECOND;

/// The trunk that the server registers at.
#[derive(Clone, Debug)]
pub(crate) struct RegistrarModel {
    /// One for each address.
    pub(crate) agents: Vec<usize>,
    /// When the server ends its registration.
    pub(crate) ends: u64,
    /// How long its addresses are looked up; the outer `None` if it is an address itself, the inner one if DNS fails.
    pub(crate) dns: Option<Option<u64>>,
}

/// The registration, as its requests and responses show it.
pub(super) struct Registrations {
    model: Option<RegistrarModel>,
    last: Option<Request>,
    /// The requests of the current attempt.
    attempt: usize,
    /// The attempts that have failed since the last success.
    failures: u32,
    /// Until when the server is registered.
    registered_until: u64,
}

/// The last REGISTER.
struct Request {
    sip: Rc<Sip>,
    began: u64,
    outcome: Option<Outcome>,
}

/// A final response.
struct Outcome {
    at: u64,
    kind: Kind,
}

/// What a final response means.
enum Kind {
    /// Registered for so many microseconds.
    Granted(u64),
    /// The next request may follow at once: a challenge, a 423, or a failure of one of several addresses.
    GoesOn,
    Refused,
}

impl Registrations {
    pub(super) const fn new(model: Option<RegistrarModel>) -> Self {
        Self { model, last: None, attempt: 0, failures: 0, registered_until: 0 }
    }

    /// Whether this message belongs to the registration.
    pub(super) fn is_own(&self, agent: Option<usize>, sip: &Sip) -> bool {
        let is_with_registrar =
            self.model.as_ref().zip(agent).is_some_and(|(model, agent)| model.agents.contains(&agent));
        is_with_registrar && sip.method() == "REGISTER" && (!sip.is_request() || sip.branch_below().is_none())
    }

    /// The server sends a REGISTER.
    pub(super) fn sent(&mut self, now: u64, sip: &Rc<Sip>) {
        let call_id = sip.value("Call-ID");
        if let Some(last) = &self.last {
            if last.sip.branch() == sip.branch() {
                let same = must(last.sip == *sip, || format!("{}\nwas\n{}", sip, last.sip));
                return enforce("retransmissions_are_identical", call_id, same);
            }
            let verdict = keeps_call_id(&last.sip, sip);
            enforce("a_registration_has_one_call_id_and_rising_numbers", call_id, verdict);
        }
        if sip.value("Expires") != "0" {
            self.begins(now, call_id);
        }
        self.last = Some(Request { sip: Rc::clone(sip), began: now, outcome: None });
    }

    /// A REGISTER that is neither a copy nor ends the registration.
    fn begins(&mut self, now: u64, call_id: &str) {
        let Some(model) = &self.model else { return };
        let after_end = must(now < model.ends, || "a REGISTER after the end".to_owned());
        enforce("the_registration_ends_with_the_server", call_id, after_end);
        let Some(last) = &self.last else {
            self.attempt = 1;
            return;
        };
        let (ended, kind) = match &last.outcome {
            Some(outcome) => (outcome.at, &outcome.kind),
            None => (last.began + GIVE_UP, &Kind::GoesOn),
        };
        let is_early = must(now >= ended, || format!("a REGISTER although the last one waits until {ended}"));
        enforce("one_registration_at_a_time", call_id, is_early);
        if let Kind::Granted(expires) = kind {
            let verdict = must(now >= ended + expires / 2, || format!("after {} of {expires}", now - ended));
            enforce("a_registration_is_not_refreshed_too_often", call_id, verdict);
            (self.attempt, self.failures) = (1, 0);
            return;
        }
        if matches!(kind, Kind::GoesOn) && now == ended {
            self.attempt += 1;
            let most = MOST_REQUESTS + model.agents.len();
            let verdict = must(self.attempt <= most, || format!("{} requests at once", self.attempt));
            return enforce("the_requests_of_an_attempt_are_bounded", call_id, verdict);
        }
        self.failures += 1;
        self.attempt = 1;
        let pause = now - ended;
        let doubled = (FIRST_PAUSE << (self.failures - 1).min(10)).min(LONGEST_PAUSE);
        // A lookup that fails is an attempt that is not seen.
        let longest = model.dns.is_none_or(|dns| dns.is_some()).then(|| {
            // Retry-After may ask for more.
            doubled.max(300 * SECOND) + model.dns.flatten().unwrap_or_default()
        });
        let good = pause >= doubled / 2 && longest.is_none_or(|longest| pause <= longest);
        let verdict = must(good, || format!("{pause} after {} failures", self.failures));
        enforce("pauses_after_failures_are_bounded", call_id, verdict);
    }

    /// The response of the registrar reaches the server.
    pub(super) fn received(&mut self, now: u64, sip: &Sip) {
        let Some(last) = self.last.as_mut().filter(|last| last.sip.branch() == sip.branch()) else { return };
        let Some(status) = sip.status().filter(|status| *status >= 200 && last.outcome.is_none()) else { return };
        if now > last.began + GIVE_UP {
            return;
        }
        let is_last = last.sip.value("Expires") == "0";
        let kind = match (status, granted(&last.sip, sip)) {
            (200, _) if is_last => {
                self.registered_until = 0;
                Kind::Refused
            }
            (200, Some(expires)) => {
                self.registered_until = now + expires;
                Kind::Granted(expires)
            }
            (401 | 423 | 408 | 500..=599, _) => Kind::GoesOn,
            _ => Kind::Refused,
        };
        last.outcome = Some(Outcome { at: now, kind });
    }

    /// Everything that is due by now has happened.
    pub(super) fn check(&self, now: u64) {
        let (Some(model), Some(last)) = (&self.model, &self.last) else { return };
        let call_id = last.sip.value("Call-ID");
        if let Some(Outcome { at, kind: Kind::Granted(expires) }) = &last.outcome {
            let is_exact = model.dns.is_none_or(|dns| dns.is_some());
            let is_over = now > at + expires && *at + expires < model.ends;
            let verdict = must(!is_over || !is_exact, || format!("it has expired at {}", at + expires));
            enforce("a_registration_is_refreshed_before_it_expires", call_id, verdict);
        }
        let is_forgotten = now > model.ends && self.registered_until > model.ends && last.sip.value("Expires") != "0";
        let verdict = must(!is_forgotten, || "it is not ended".to_owned());
        enforce("the_registration_ends_with_the_server", call_id, verdict);
    }
}

/// RFC 3261 10.2: all registrations have one Call-ID, and the CSeq number rises.
fn keeps_call_id(last: &Sip, next: &Sip) -> Verdict {
    let same = last.value("Call-ID") == next.value("Call-ID");
    must(same && sequence(next) > sequence(last), || format!("{next}\nafter\n{last}"))
}

/// The expiry of the Contact in a 200, in microseconds (RFC 3261 10.2.4); `None` if it is not the one of the request.
fn granted(request: &Sip, ok: &Sip) -> Option<u64> {
    let own = request.value("Contact");
    let whole = ok.values("Expires").next().unwrap_or_else(|| request.value("Expires"));
    let listed = ok.values("Contact").find(|contact| contact.starts_with(own));
    let expires = match listed.map(|contact| contact.rsplit_once(";expires=")) {
        Some(Some((_, expires))) => expires,
        Some(None) => whole,
        None if ok.has("Contact") => return None,
        None => whole,
    };
    Some(expires.parse::<u64>().ok()? * SECOND)
}
