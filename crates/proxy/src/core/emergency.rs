//! Emergency calls. A phone that comes over the flow that its user registered over needs no credentials: a call for help
//! must not fail because of a password. Any other sender is authenticated as for each call.

use location::Aor;
use parser::Method;

use super::Core;
use crate::ask::{Answer, Continuation, Question, Resume};
use crate::auth::Presented;
use crate::clock::Now;
use crate::dialog::InDialog;
use crate::outbox::Outbox;
use crate::reject::Reject;
use crate::request::{Proven, Request};
use crate::route::{self, Destination, NextStep, Toward, next_step, office_step};
use crate::settings::{Named, Settings};

/// The user whose registration is to be loaded for an emergency call; `None` if it is none, or has credentials.
pub(super) fn caller_in_emergency(
    request: &Request,
    presented: &[Presented<'_>],
    destination: &Destination,
    settings: &Settings,
) -> Option<Aor> {
    let Destination::User(called) = destination else { return None };
    if request.method() != Method::Invite || !presented.is_empty() {
        return None;
    }
    if !settings.is_emergency(called) {
        return None;
    }
    Named::of(request.text_of_from(), settings).filter(|named| named.is_ours).map(|named| named.address)
}

impl Core {
    /// Loads the registration of the caller.
    pub(super) fn emergency_call(request: Box<Request>, caller: Aor, outbox: &mut Outbox) {
        let question = Question::Load(caller.clone());
        outbox.ask(question, Continuation(Resume::Emergency(request, caller)));
    }

    /// The registration of the caller is here. One that could not be loaded counts as empty.
    pub(super) fn emergency_caller_loaded(
        &mut self,
        now: Now,
        mut request: Box<Request>,
        caller: Aor,
        answer: Answer,
        outbox: &mut Outbox,
    ) {
        let record = if let Answer::Loaded(record) = answer { record } else { None };
        let is_at_own_flow = record.is_some_and(|record| InDialog::is_flow_of(&record, &request.flow, now.wall));
        let step = self.emergency_step(now, &mut request, is_at_own_flow.then_some(caller), outbox);
        match step {
            Ok(step) => self.take_step(now, request, step, outbox),
            Err(reject) => self.refuse(now, &request, reject, outbox),
        }
    }

    fn emergency_step(
        &mut self,
        now: Now,
        request: &mut Request,
        caller: Option<Aor>,
        outbox: &mut Outbox,
    ) -> Result<NextStep, Reject> {
        let (destination, uri) = route::destination_and_uri(request, &self.settings)?;
        let proven = match caller {
            Some(caller) => Proven::As(Box::new(caller)),
            None => self.admit(now, request, &[], &destination, outbox)?,
        };
        let mut step = next_step(request, uri.as_ref(), destination, Toward::Anybody, &self.gruus, &self.settings)?;
        request.proven = proven;
        office_step(&mut step, request, &self.settings, self.settings.civil_time(now), None)?;
        Ok(step)
    }
}
