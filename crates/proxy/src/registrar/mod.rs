//! The registrar: from a REGISTER to the stored `Record` and the 200 (RFC 3261 10.3).
//!
//! `location::Record::apply` has the rules of registration. Must not authenticate (`auth`), nor load or commit a record
//! (`core`).

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

pub(crate) use answer::{DateText, GRANTED_PARAMS, write_q};
pub(crate) use change::address_of_record;

use answer::{Granted, Written};

/// The option tags that a REGISTER may list in Require (RFC 3327, RFC 5626, RFC 5627).
pub(crate) const EXTENSIONS: &[&[u8]] = &[b"path", b"outbound", b"gruu"];

/// How often the commit of a REGISTER may conflict with another one before the REGISTER fails.
const MAX_ATTEMPTS: u8 = 16;

/// A REGISTER between load and commit.
#[derive(Debug)]
pub(crate) struct PendingRegister {
    pub(crate) request: Box<Request>,
    pub(crate) aor: Aor,
    attempts: u8,
    /// The 200, which is sent once the change is stored.
    pub(crate) answer: Vec<u8>,
    /// Whether the 200 was shortened or discarded ([`amplification`]).
    pub(crate) fitted: Fitted,
    pub(crate) summary: Summary,
    /// Whether it adds a Contact or a flow, which a pending call can then try.
    pub(crate) adds_target: bool,
    /// The record after it, if it adds or refreshes bindings.
    pub(crate) record: Option<Record>,
    /// Flow-Timer plus grace, in seconds: the connection is closed if nothing is received for this long (RFC 5626 5.4).
    pub(crate) flow_timeout: Option<u32>,
}

/// What a REGISTER did, for the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) outcome: Registration,
    pub(crate) before: u32,
    pub(crate) bindings: u32,
    pub(crate) expires: u32,
    /// Whether other bindings were removed because there were too many.
    pub(crate) displaced: bool,
}

/// What to do with a REGISTER after its record was loaded.
pub(crate) enum Decision {
    /// Nothing changes: send the 200.
    Answer,
    /// Commit this record if the stored one still has the loaded version, then send the 200.
    Commit { expected: Option<Version>, record: Record },
}

impl PendingRegister {
    /// A REGISTER whose sender may change the bindings of `aor`.
    pub(crate) const fn new(request: Box<Request>, aor: Aor) -> Self {
        let summary = Summary { outcome: Registration::Queried, before: 0, bindings: 0, expires: 0, displaced: false };
        Self {
            request,
            aor,
            attempts: 0,
            answer: Vec::new(),
            fitted: Fitted::Whole,
            summary,
            adds_target: false,
            record: None,
            flow_timeout: None,
        }
    }

    /// Applies the REGISTER to the stored record (RFC 3261 10.3 steps 6 to 8).
    pub(crate) fn decide(
        &mut self,
        stored: Option<Record>,
        (to_tag, date): (&[u8], &[u8]),
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
        let outbound = outbound::needs_confirmation(&self.request, &change.operation);
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
        self.adds_target = adds_target;
        self.flow_timeout = flow_timer.map(|seconds| seconds.saturating_add(settings.registrar.flow_grace));
        // Most of the 200 is copied from the request.
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
            date,
        };
        let limit = amplification::max_len(&self.request, settings);
        let Written { bindings, expires, fitted } = granted.write(&mut self.answer, to_tag, limit, now);
        self.fitted = fitted;
        self.record = (outcome == Registration::Registered).then(|| record.clone());
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let (before, bindings) = (number(before.unwrap_or(bindings)), number(bindings));
        self.summary = Summary { outcome, before, bindings, expires, displaced };
        Ok(match applied {
            Applied::Unchanged if outcome == Registration::Queried || expected.is_none() => Decision::Answer,
            // A retransmission: the change of the first REGISTER may not be on the disk yet. This commit waits for it.
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
