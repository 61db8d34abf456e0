//! REGISTER: from the request to the stored `Record` and the 200 (RFC 3261 10.3).
//!
//! The rules of registration are `location::Record::apply`'s, and who it is is `auth`'s. Decides and writes; asks nobody.

mod answer;
mod change;
mod outbound;

use location::{Aor, Applied, Flow, Operation, Record, Refusal, Version};

use crate::amplification::{self, Fitted};
use crate::clock::Now;
use crate::connections::Connections;
use crate::event::Registration;
use crate::reject::Reject;
use crate::request::Request;
use crate::route::Gruus;
use crate::settings::Settings;

pub(crate) use answer::{GRANTED_PARAMS, write_q};
pub(crate) use change::address_of_record;

use answer::{Granted, Told};

/// Option tags that the registrar understands in Require (RFC 3327, 5626, 5627).
pub(crate) const EXTENSIONS: &[&[u8]] = &[b"path", b"outbound", b"gruu"];

/// Commits that may lose their race before the request fails.
const MAX_ATTEMPTS: u8 = 16;

/// A REGISTER between load and commit.
#[derive(Debug)]
pub(crate) struct PendingRegister {
    pub(crate) request: Request,
    pub(crate) aor: Aor,
    attempts: u8,
    /// The 200, ready to leave once the change is safe.
    pub(crate) answer: Vec<u8>,
    /// What became of it: empty if it would have been too long.
    pub(crate) fitted: Fitted,
    pub(crate) summary: Summary,
    /// Whether it adds a Contact, or a flow to one.
    pub(crate) brings_phone: bool,
    /// The record after it, if it adds or refreshes bindings.
    pub(crate) record: Option<Record>,
    /// Seconds for which its phone may be silent afterwards, if that was agreed upon.
    pub(crate) silence: Option<u32>,
}

/// What a REGISTER did, for the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) outcome: Registration,
    pub(crate) before: usize,
    pub(crate) bindings: usize,
    pub(crate) expires: u32,
    /// Whether others had to make room.
    pub(crate) displaced: bool,
}

/// What to do with a REGISTER once its record is loaded.
pub(crate) enum Decision {
    /// Nothing changes: answer.
    Answer,
    /// Store this over the version loaded, then answer.
    Commit { expected: Option<Version>, record: Record },
}

impl PendingRegister {
    /// A REGISTER whose sender may change the bindings of `aor`.
    pub(crate) const fn new(request: Request, aor: Aor) -> Self {
        let summary = Summary { outcome: Registration::Queried, before: 0, bindings: 0, expires: 0, displaced: false };
        Self {
            request,
            aor,
            attempts: 0,
            answer: Vec::new(),
            fitted: Fitted::Whole,
            summary,
            brings_phone: false,
            record: None,
            silence: None,
        }
    }

    /// RFC 3261 10.3 steps 6 to 8 on the record that is stored now.
    pub(crate) fn decide(
        &mut self,
        stored: Option<Record>,
        to_tag: &[u8],
        settings: &Settings,
        gruus: &Gruus,
        connections: &Connections,
        now: Now,
    ) -> Result<Decision, Reject> {
        self.attempts += 1;
        if self.attempts > MAX_ATTEMPTS {
            return Err(Reject::Store);
        }
        let old = stored.unwrap_or_else(|| Record::empty(&self.aor));
        let expected = old.version();
        let path = change::read_path(&self.request, settings)?;
        let change = change::read_change(&self.request, &path, (&self.aor, gruus), settings)?;
        let outcome = match &change.operation {
            Operation::Query => Registration::Queried,
            Operation::Update(contacts) if contacts.iter().any(|contact| contact.expires != Some(0)) => {
                Registration::Registered
            }
            Operation::RemoveAll | Operation::Update(_) => Registration::Unregistered,
        };
        let outbound = outbound::is_asked(&self.request, &change.operation);
        let flow_timer = outbound::flow_timer(&self.request, &settings.registrar).filter(|_| outbound);
        let is_gone = |flow: &Flow| {
            let is_open = || flow.id.connection().is_some_and(|it| connections.is_open(it));
            flow.transport.is_reliable() && !flow.id.is_elsewhere() && !is_open()
        };
        let applied =
            old.apply_with_closed_flows(&change, now.wall, &settings.registrar.limits, &is_gone).map_err(refuse)?;
        let (record, before, adds_target, displaced) = match &applied {
            Applied::Unchanged => (&old, None, false, false),
            Applied::Changed { record, before, adds_target, displaced } => {
                (record, Some(*before), *adds_target, *displaced)
            }
        };
        self.brings_phone = adds_target;
        self.silence = flow_timer.map(|seconds| seconds.saturating_add(settings.registrar.flow_grace));
        // What is repeated of the request is the most of it.
        self.answer = Vec::with_capacity(self.request.message.bytes().len());
        let fixed = settings.accounts.contacts(&self.aor);
        let granted = Granted {
            request: &self.request,
            aor: &self.aor,
            record,
            fixed,
            settings: &settings.registrar,
            outbound,
            flow_timer,
            gruus: self.request.supports("gruu").then_some(gruus),
        };
        let limit = amplification::limit(&self.request, settings);
        let Told { bindings, expires, fitted } = granted.write(&mut self.answer, to_tag, limit, now);
        self.fitted = fitted;
        self.record = (outcome == Registration::Registered).then(|| record.clone());
        self.summary = Summary { outcome, before: before.unwrap_or(bindings), bindings, expires, displaced };
        Ok(match applied {
            Applied::Unchanged if outcome == Registration::Queried || expected.is_none() => Decision::Answer,
            // What a copy of this request has changed may still be on its way to the disk: the answer waits behind it.
            Applied::Unchanged => Decision::Commit { expected, record: old },
            Applied::Changed { record, .. } => Decision::Commit { expected, record },
        })
    }
}

const fn refuse(refusal: Refusal) -> Reject {
    match refusal {
        Refusal::TooBrief { min } => Reject::TooBrief { min },
        Refusal::OutOfOrder => Reject::OutOfOrder,
        Refusal::Merged => Reject::Merged,
        Refusal::TooManyContacts { .. } => Reject::TooManyContacts,
        _ => Reject::ContactTooLong,
    }
}
