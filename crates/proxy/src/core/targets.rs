//! From a user to targets: loads the bindings of the callee, finds out what its plan still lacks, and goes on with
//! the plan (RFC 3261 16.5, 16.7 step 4). Must not decide which targets there are: that is done by `route`.

use location::{Aor, Record};
use parser::Method;

use super::Core;
use crate::ask::{Answer, Continuation, Question, Resume};
use crate::clock::Now;
use crate::event::{DiversionReason, Event, GroupCallOutcome, Limit};
use crate::outbox::Outbox;
use crate::reject::{CodeOutcome, Reject};
use crate::request::Request;
use crate::route::{self, Callee, Course, Leg, Missing, NextStep, NoTarget, Plan, Purpose, Search, TargetSearch};
use crate::settings::{CodeCommand, Meaning};
use crate::waiting::Waiting;

impl Core {
    /// Takes the next step of a request that may go to its destination.
    pub(super) fn take_step(&mut self, now: Now, request: Box<Request>, step: NextStep, outbox: &mut Outbox) {
        match step {
            NextStep::LookUp(callee) => Self::look_up(request, callee, outbox),
            NextStep::Ring(leg) => self.ring(now, request, *leg, outbox),
            NextStep::ChangeRules(user, command) => self.change_rules(now, request, user, command, outbox),
            NextStep::FindContact(search) => self.find_contact(now, request, search, outbox),
            NextStep::Forward(target, other_side) => {
                let mut plan = Plan { other_side, ..Plan::with_target(target) };
                self.handle_plan(now, request, &mut plan, outbox);
            }
            NextStep::ByPlan(mut plan) => self.handle_plan(now, request, &mut plan, outbox),
        }
    }

    /// Asks for the bindings of the callee.
    pub(super) fn look_up(request: Box<Request>, callee: Callee, outbox: &mut Outbox) {
        let question = Question::Load(callee.aor.clone());
        outbox.ask(question, Continuation(Resume::Callee(request, callee)));
    }

    /// The bindings of the callee are here, or could not be loaded.
    pub(super) fn callee_loaded(
        &mut self,
        now: Now,
        request: Box<Request>,
        callee: &Callee,
        answer: Answer,
        outbox: &mut Outbox,
    ) {
        let Answer::Loaded(record) = answer else {
            return self.refuse(now, &request, Reject::LocationDown, outbox);
        };
        match &mut self.plan_of_callee(&request, callee, record.as_ref(), now) {
            Ok(plan) if plan.users.is_some() => {
                self.find_missing(now, request, std::mem::take(plan), Some(&callee.aor), outbox);
            }
            Ok(plan) => self.handle_plan(now, request, plan, outbox),
            Err(reject) => self.refuse(now, &request, *reject, outbox),
        }
    }

    fn plan_of_callee(
        &self,
        request: &Request,
        callee: &Callee,
        record: Option<&Record>,
        now: Now,
    ) -> Result<Plan, Reject> {
        let plan = || route::plan_for_callee(request, callee, record, &self.settings, &self.gruus, now);
        if request.method() == Method::Cancel {
            // RFC 3261 9.2, 16.10: the CANCEL of an INVITE that is not known goes to a phone, if there is one.
            let plan = plan().ok().filter(|plan| !plan.groups.is_empty()).ok_or(Reject::NoTransaction)?;
            return Ok(Plan { users: None, ..plan });
        }
        if route::is_to_itself(request, &callee.aor, &self.settings) {
            return route::without_sender(plan(), request);
        }
        plan()
    }

    /// Sends a request where its plan says; or answers it with the plan, if its sender asked for that.
    pub(super) fn handle_plan(&mut self, now: Now, request: Box<Request>, plan: &mut Plan, outbox: &mut Outbox) {
        if plan.disposition.redirect {
            return self.redirect(now, &request, plan, outbox);
        }
        if plan.is_incomplete() {
            return self.find_missing(now, request, std::mem::take(plan), None, outbox);
        }
        self.forward_or_fork(now, request, plan, outbox);
    }

    /// Begins a search for what the plan of a request lacks.
    fn find_missing(&mut self, now: Now, request: Box<Request>, plan: Plan, callee: Option<&Aor>, outbox: &mut Outbox) {
        let targets = TargetSearch::for_request(&request, plan, callee, &self.gruus);
        self.search(now, Box::new(Search { targets, purpose: Purpose::Forward(request) }), outbox);
    }

    /// Begins a search for the phones of parties of the office rules.
    fn ring(&mut self, now: Now, request: Box<Request>, leg: Leg, outbox: &mut Outbox) {
        let targets = TargetSearch::for_leg(&request, leg, &self.settings, now);
        self.search(now, Box::new(Search { targets, purpose: Purpose::Forward(request) }), outbox);
    }

    fn change_rules(&mut self, now: Now, request: Box<Request>, user: Aor, command: CodeCommand, outbox: &mut Outbox) {
        if let Err(reject) = self.begin_to_wait(&request, outbox) {
            return self.refuse(now, &request, reject, outbox);
        }
        let question = Question::ChangeRules(user, command.clone());
        outbox.ask(question, Continuation(Resume::Code(request, command)));
    }

    /// Records that a request waits. An ACK or CANCEL has the key of its INVITE, which waits by itself.
    pub(super) fn begin_to_wait(&mut self, request: &Request, outbox: &mut Outbox) -> Result<(), Reject> {
        let is_own = !matches!(request.method(), Method::Ack | Method::Cancel);
        if is_own && !self.waiting.begin(request, self.settings.limits.transactions) {
            outbox.emit(Event::LimitReached(Limit::Transactions));
            return Err(Reject::Overload);
        }
        Ok(())
    }

    /// The change that a feature code asked for is made, or refused. There is nothing to talk to, so the call ends.
    pub(super) fn code_answered(
        &mut self,
        now: Now,
        request: &Request,
        command: &CodeCommand,
        answer: Answer,
        outbox: &mut Outbox,
    ) {
        if !is_wanted(&mut self.waiting, request) {
            return;
        }
        let outcome = match (answer, command) {
            (Answer::RulesChanged(true), CodeCommand::ForwardAlways(_)) => CodeOutcome::Forwarded,
            (Answer::RulesChanged(true), CodeCommand::ForwardOff) => CodeOutcome::NotForwarded,
            (Answer::RulesChanged(true), CodeCommand::DoNotDisturb(true)) => CodeOutcome::DoNotDisturb,
            (Answer::RulesChanged(true), CodeCommand::DoNotDisturb(false)) => CodeOutcome::MayDisturb,
            (Answer::RulesChanged(false), CodeCommand::ForwardAlways(_)) => CodeOutcome::Refused,
            _ => CodeOutcome::Busy,
        };
        self.refuse(now, request, Reject::Code(outcome), outbox);
    }

    /// Reports a call to a group none of whose members may ring, as they do not want to be disturbed.
    pub(super) fn report_refused_group(&self, request: &Request, outbox: &mut Outbox) {
        let uri = request.typed_uri().ok().filter(|_| request.method() == Method::Invite);
        let called = uri.as_ref().and_then(|uri| Some(self.settings.aor_named_by(uri.sip()?)));
        if let Some(called) = called
            && let Some(Meaning::Group(group)) = self.settings.meaning(&called)
        {
            let (group, outcome) = (group.aor.clone(), GroupCallOutcome::Unanswered);
            outbox.emit(Event::GroupCall { group, outcome });
        }
    }

    /// Begins the searches that response contexts have asked for.
    pub(super) fn begin_searches(&mut self, now: Now, outbox: &mut Outbox) {
        while let Some(search) = self.searches.pop() {
            self.search(now, Box::new(search), outbox);
        }
    }

    /// Asks for what the plan lacks, or goes on with the plan.
    pub(super) fn search(&mut self, now: Now, mut search: Box<Search>, outbox: &mut Outbox) {
        if let Some(missing) = search.targets.missing(&self.settings) {
            let question = match missing {
                Missing::User(aor) => Question::Load(aor),
                Missing::Names(names) => {
                    if let Purpose::Forward(request) = &search.purpose
                        && let Err(reject) = self.begin_to_wait(request, outbox)
                    {
                        return self.refuse(now, request, reject, outbox);
                    }
                    Question::Resolve(names)
                }
            };
            return outbox.ask(question, Continuation(Resume::Search(search)));
        }
        if search.targets.is_cut() {
            outbox.emit(Event::LimitReached(Limit::Targets));
        }
        let Search { targets, purpose } = *search;
        match (purpose, targets.finish()) {
            (Purpose::Forward(request), Ok(mut plan)) => self.handle_plan(now, request, &mut plan, outbox),
            (Purpose::Forward(request), Err(NoTarget { reject, course })) => {
                let unavailable = DiversionReason::Unavailable;
                let next = |course: &Course| {
                    route::next_leg(
                        &request,
                        course,
                        unavailable,
                        (&self.settings, self.settings.civil_time(now)),
                        &mut Vec::new(),
                    )
                };
                match course.as_deref().and_then(next) {
                    Some(leg) => self.ring(now, request, leg, outbox),
                    None => {
                        if let Some(course) = course.filter(|_| request.method() == Method::Invite) {
                            let last = course.last_group(GroupCallOutcome::Unanswered, &self.settings);
                            course.left_groups(0, &self.settings).chain(last).for_each(|event| outbox.emit(event));
                        }
                        self.refuse(now, &request, reject, outbox);
                    }
                }
            }
            (Purpose::Member(id), plan) => {
                let (response_contexts, mut context) = self.split(now, outbox);
                response_contexts.with(id, &mut context, |it, context| it.member_followed(plan.ok(), context));
            }
            (Purpose::Diversion(id), plan) => {
                let (response_contexts, mut context) = self.split(now, outbox);
                response_contexts.with(id, &mut context, |it, context| it.diverted(plan, context));
            }
            (Purpose::Redirection(branch), plan) => {
                let (response_contexts, mut context) = self.split(now, outbox);
                response_contexts.with(branch.context, &mut context, |it, context| {
                    it.redirected(branch, plan.unwrap_or_default(), context);
                });
            }
        }
    }

    /// What a search asked for is here. A user whose bindings could not be loaded has no targets, and so has a name
    /// that could not be resolved.
    pub(super) fn search_answered(&mut self, now: Now, mut search: Box<Search>, answer: Answer, outbox: &mut Outbox) {
        let Search { targets, purpose } = &mut *search;
        let (settings, gruus) = (&self.settings, &self.gruus);
        match (targets.current(), answer) {
            (Some(callee), answer) => {
                let record = if let Answer::Loaded(record) = answer { record } else { None };
                let record = record.as_ref();
                let of_context = |id: u64| Some(self.response_contexts.find(id)?.request_and_settings());
                let call = match purpose {
                    Purpose::Forward(request) => Some((&**request, &**settings)),
                    Purpose::Redirection(branch) => of_context(branch.context).flatten(),
                    Purpose::Diversion(id) | Purpose::Member(id) => of_context(*id).flatten(),
                };
                let plan = call.and_then(|(request, settings)| {
                    route::plan_for_callee(request, callee, record, settings, gruus, now).ok()
                });
                let absent = targets.add_found(plan.unwrap_or_default(), gruus, settings);
                if let Some((absent, (request, settings))) = absent.zip(call) {
                    targets.replace_member(&absent, request, settings, (now, settings.civil_time(now)));
                }
            }
            (None, answer) => {
                let mut keeps_order = false;
                if let Purpose::Forward(request) = purpose {
                    if !is_wanted(&mut self.waiting, request) {
                        return;
                    }
                    request.needs_pin = true;
                    // RFC 3263 4.4: all copies of an ACK go to the same server, and an ACK leaves no pin.
                    keeps_order = matches!(request.method(), Method::Ack | Method::Cancel);
                }
                let endpoints = if let Answer::Resolved(endpoints) = answer { endpoints } else { Vec::new() };
                targets.add_endpoints(&endpoints, settings, |endpoint| {
                    !keeps_order && self.unreachable.contains(endpoint, now.mono)
                });
            }
        }
        self.search(now, search, outbox);
    }
}

/// Whether a request that waited is still to be forwarded: its caller has not cancelled it meanwhile.
pub(super) fn is_wanted(waiting: &mut Waiting, request: &Request) -> bool {
    matches!(request.method(), Method::Ack | Method::Cancel) || waiting.end(request.key)
}
