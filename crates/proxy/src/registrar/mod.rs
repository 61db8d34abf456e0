//! REGISTER: from the request to the stored `Record` and the 200 (RFC 3261 10.3).
//!
//! The rules of registration are `location::Record::apply`'s, and who it is is `auth`'s. A store is asked twice, load
//! and commit; a commit that lost a race starts again from the load. The 200 leaves when the change is safe.

mod answer;
mod change;

use std::sync::Arc;

use location::{Aor, Applied, Ask, Record, Refusal};
use parser::HeaderName;

use crate::ask::{Parked, Question, Waiting};
use crate::auth::ChallengeFor;
use crate::clock::Now;
use crate::context::ToTag;
use crate::core::Core;
use crate::event::{Event, Limit, Registration};
use crate::ingress;
use crate::outbox::Outbox;
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::{Authentication, Settings};

pub(crate) use change::address_of_record;

/// Option tags that the registrar understands in Require (RFC 3327).
const EXTENSIONS: &[&[u8]] = &[b"path"];

/// Commits that may lose their race before the request fails.
const MAX_ATTEMPTS: u8 = 16;

/// The `connection` of a binding's UDP flow that its client asked to be answered on (RFC 3581) from behind a NAT.
pub(crate) const SYMMETRIC: u64 = u64::MAX;

/// A REGISTER between load and commit.
#[derive(Debug)]
pub(crate) struct PendingRegister {
    request: Request,
    pub(crate) aor: Aor,
    attempts: u8,
    /// The 200, ready to leave once the change is safe.
    answer: Vec<u8>,
    summary: Summary,
}

/// What a REGISTER did, for the log.
#[derive(Clone, Copy, Debug)]
struct Summary {
    outcome: Registration,
    bindings: usize,
    expires: u32,
}

/// What to do with a REGISTER once its record is loaded.
enum Decision {
    /// Nothing changes: answer.
    Answer,
    /// Store this over the version loaded, then answer.
    Commit { expected: u64, record: Record },
}

impl PendingRegister {
    /// A REGISTER whose sender may change the bindings of `aor`.
    pub(crate) const fn new(request: Request, aor: Aor) -> Self {
        let summary = Summary { outcome: Registration::Queried, bindings: 0, expires: 0 };
        Self { request, aor, attempts: 0, answer: Vec::new(), summary }
    }

    /// RFC 3261 10.3 steps 6 to 8 on the record that is stored now.
    fn decide(
        &mut self,
        stored: Option<Arc<Record>>,
        to_tag: &[u8],
        settings: &Settings,
        now: Now,
    ) -> Result<Decision, Reject> {
        self.attempts += 1;
        if self.attempts > MAX_ATTEMPTS {
            return Err(Reject::Store);
        }
        let stored = stored.unwrap_or_default();
        let path = change::read_path(&self.request.message);
        let change = change::read_change(&self.request, &path, settings)?;
        let asked_to_add = match &change.ask {
            Ask::Query => None,
            Ask::RemoveAll => Some(false),
            Ask::Update(contacts) => Some(contacts.iter().any(|contact| contact.expires != Some(0))),
        };
        let applied = stored.apply(&change, now.wall, &settings.registrar).map_err(refuse)?;
        let record = match &applied {
            Applied::Unchanged => &*stored,
            Applied::Changed(record) => record,
        };
        self.summary = Summary {
            outcome: match asked_to_add {
                None => Registration::Queried,
                Some(true) => Registration::Registered,
                Some(false) => Registration::Unregistered,
            },
            bindings: record.live(now.wall).count(),
            expires: record.live(now.wall).map(|binding| binding.remaining(now.wall)).max().unwrap_or(0),
        };
        self.answer.clear();
        answer::write_ok(&mut self.answer, &self.request, record, to_tag, now);
        Ok(match applied {
            Applied::Unchanged => Decision::Answer,
            Applied::Changed(record) => Decision::Commit { expected: stored.version(), record },
        })
    }
}

impl Core {
    /// RFC 3261 10.3 steps 2 to 5: may this sender touch these bindings?
    pub(crate) fn admit_register(&mut self, now: Now, request: &Request, outbox: &mut Outbox) -> Result<Aor, Reject> {
        ingress::understood(&request.message, HeaderName::Require, EXTENSIONS)?;
        let aor = address_of_record(&request.message, &self.settings)?;
        if self.settings.authentication == Authentication::Required {
            let domain = String::from_utf8_lossy(aor.domain());
            let proven = self.authenticate(now, request, ChallengeFor::Registrar, &domain, outbox)?;
            // A user can only register for himself.
            if proven != aor {
                return Err(Self::impostor(request, outbox));
            }
        } else if !self.settings.accounts.is_empty() && self.settings.accounts.find(&aor).is_none() {
            return Err(Reject::NotFound);
        }
        Ok(aor)
    }

    /// The record of a REGISTER's AoR is here.
    pub(crate) fn registered(
        &mut self,
        now: Now,
        mut pending: Box<PendingRegister>,
        stored: Option<Arc<Record>>,
        outbox: &mut Outbox,
    ) {
        let tag = ToTag::new(&pending.request, &self.mac);
        match pending.decide(stored, tag.as_bytes(), &self.settings, now) {
            Ok(Decision::Answer) => Self::confirm(&pending, outbox),
            Ok(Decision::Commit { expected, record }) => {
                let question = Question::Commit { aor: pending.aor.clone(), expected, record };
                outbox.ask(question, Parked(Waiting::RegisterCommit(pending)));
            }
            Err(reject) => self.refuse_register(now, &pending, reject, outbox),
        }
    }

    /// The change is safe: the 200 leaves.
    pub(crate) fn confirm(pending: &PendingRegister, outbox: &mut Outbox) {
        let back = pending.request.back;
        outbox.tell(Event::ResponseSent { method: "REGISTER", status: 200, transport: back.transport });
        let Summary { outcome, bindings, expires } = pending.summary;
        let flow = pending.request.flow;
        outbox.tell(Event::Registration { outcome, aor: pending.aor.clone(), bindings, expires, flow });
        outbox.send(back, false, |out| out.extend_from_slice(&pending.answer));
    }

    pub(crate) fn refuse_register(&mut self, now: Now, pending: &PendingRegister, reject: Reject, outbox: &mut Outbox) {
        if reject == Reject::TooManyContacts {
            outbox.tell(Event::LimitReached(Limit::Contacts));
        }
        self.refuse(now, &pending.request, reject, outbox);
    }
}

const fn refuse(refusal: Refusal) -> Reject {
    match refusal {
        Refusal::TooBrief { min } => Reject::TooBrief { min },
        Refusal::OutOfOrder => Reject::OutOfOrder,
        Refusal::TooManyContacts { .. } => Reject::TooManyContacts,
        _ => Reject::ContactTooLong,
    }
}
