//! Explains how a call would be handled, step by step.
//!
//! Makes the INVITE that a phone would send and takes the same steps as `dispatch`, with the same functions of
//! `route`. Sends nothing and stores nothing; where credentials are required, it says so and goes on. Must not decide
//! rules of its own.

mod office;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use location::{Aor, Flow, FlowId, Record};
use parser::{Message, Method, Transport};

use super::send::is_stateless;
use crate::clock::{Now, Wall};
use crate::config_key::ConfigKey;
use crate::dialog::Next;
use crate::event::DiversionReason;
use crate::mac::Mac;
use crate::reject::{ChallengeFor, Reject};
use crate::request::{Received, Request};
use crate::route::{
    self, AuthRequirement, Callee, ContactSearch, Destination, Gruus, Missing, NextStep, NoTarget, Plan, Rule,
    TargetSearch, Toward, next_step, office_step,
};
use crate::settings::{CodeCommand, Keys, Named, Party, Settings};
use crate::target::{NextHop, Target};

/// The call to explain.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    /// The caller's URI; `None` for any user of the first domain.
    pub from: Option<&'a str>,
    /// The called URI.
    pub to: &'a str,
    /// The source address of the INVITE.
    pub source: IpAddr,
    /// The time for office hours, by the clock of the machine; `None` for now.
    pub at: Option<Wall>,
}

/// One step of the handling, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The call is to a local user.
    User(Aor),
    /// The call is to one phone of this user, by its GRUU (RFC 5627).
    Phone(Aor),
    /// The call is to this name, which is not the name of a user.
    Name(Aor),
    /// The call is to another server.
    Elsewhere,
    /// The Request-URI is the Contact of a phone of this user: only authenticated users reach it.
    Contact(Aor),
    /// A rule of the office applies.
    Rule(Rule),
    /// A feature code: the rules of the caller change.
    Code(CodeCommand),
    /// Who is called after the phones have failed for this reason.
    Then(DiversionReason, Party),
    /// No account has this name, and it has no bindings.
    NoAccount,
    /// The caller needs no credentials.
    Free,
    /// The call comes from this trunk, which needs no credentials.
    FromTrunk(Box<str>),
    /// It is an emergency number: a phone needs no credentials if it calls from where it registered.
    Emergency,
    /// The caller has to authenticate as the user that its From names, of this domain.
    Credentials(Box<str>),
    /// No account has the name of the caller, so no password is right.
    NoCaller(Aor),
    /// No party that the rules of the office name has a binding.
    NoPhone,
    /// The number of bindings, registered or configured.
    Bindings(usize),
    /// Targets that are tried at once; the next group is tried if none of them accepts the call in time.
    Group {
        /// The targets.
        targets: Vec<Goal>,
        /// How long they ring; `None` if only the caller and Timer C end it.
        ring_time: Option<Duration>,
    },
    /// There is one target: the INVITE is forwarded without a transaction.
    Stateless,
    /// The INVITE gets a response context.
    Forked,
    /// The INVITE is refused.
    Refused {
        /// 400..=699.
        status: u16,
        /// Why.
        reason: &'static str,
        /// The key of the configuration that decided.
        key: Option<ConfigKey>,
    },
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The new Request-URI.
    pub uri: String,
    /// The transport; `None` if DNS chooses it (RFC 3263 4.1).
    pub transport: Option<Transport>,
    /// The address, or the host name if it has to be resolved, that the INVITE is sent to, with its port if that is known.
    pub address: String,
    /// Whether the INVITE goes over the flow of the registration instead of to the Contact.
    pub over_flow: bool,
    /// The trunk that it leads to.
    pub trunk: Option<Box<str>>,
    /// User-Agent of the phone; empty if it sent none or is not registered here.
    pub device: Vec<u8>,
}

/// The steps of the call. `keys` are those of the server, which recognise its GRUUs. `load` returns the bindings of
/// the callee and of the users that its Contacts name.
pub fn explain(
    inquiry: &Inquiry<'_>,
    settings: &Settings,
    keys: &Keys,
    now: Now,
    load: impl Fn(&Aor) -> Option<Record>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Err(reject) = walk(inquiry, settings, keys, now, load, &mut steps) {
        let (status, reason, key) = (reject.status(), reject.reason(), reject.key(Method::Invite));
        steps.push(Step::Refused { status, reason, key });
    }
    steps
}

/// Takes the steps that the core takes for an INVITE.
fn walk(
    inquiry: &Inquiry<'_>,
    settings: &Settings,
    keys: &Keys,
    now: Now,
    load: impl Fn(&Aor) -> Option<Record>,
    steps: &mut Vec<Step>,
) -> Result<(), Reject> {
    let mac = Mac::of(keys);
    let mut request = Request::unread(invite(inquiry, settings)?);
    request.read(&mac)?;
    route::accept_routes(&mut request, settings, &mac)?;
    let (destination, uri) = route::destination_and_uri(&request, settings)?;
    if destination == Destination::Server {
        return Err(Reject::NotFound);
    }
    let destination = route::called_by_trunk(&request, destination, settings)?;
    let gruus = Gruus::new(keys, mac);
    let next = next_step(&request, uri.as_ref(), destination.clone(), Toward::Anybody, &gruus, settings);
    let at = inquiry.at.unwrap_or_else(|| settings.civil_time(now));
    let mut trail = Vec::new();
    let next = next.and_then(|mut step| {
        office_step(&mut step, &request, settings, at, Some(&mut trail))?;
        Ok(step)
    });
    let of_contact = match &next {
        Ok(NextStep::FindContact(search)) => contact(&request, search, &load, settings, now),
        _ => None,
    };
    steps.push(first_step(&destination, &next, of_contact.as_ref().map(|(aor, _)| aor), settings));
    admission(inquiry, &request, &destination, of_contact.is_some(), settings, steps)?;
    steps.extend(trail.into_iter().map(Step::Rule));
    let plan = match next? {
        NextStep::ChangeRules(_, command) => {
            steps.push(Step::Code(command));
            return Ok(());
        }
        NextStep::Ring(leg) => return office::follow(*leg, &request, &load, (settings, &gruus), (now, at), steps),
        NextStep::LookUp(callee) => {
            let record = load(&callee.aor);
            let registered = record.iter().flat_map(|record| record.live(now.wall)).count();
            let configured = settings.accounts.contacts(&callee.aor).map_or(0, |fixed| fixed.bindings().len());
            let count = registered + configured;
            let is_unknown = !settings.accounts.is_empty() && settings.accounts.find(&callee.aor).is_none();
            steps.push(if count == 0 && is_unknown { Step::NoAccount } else { Step::Bindings(count) });
            let plan = route::plan_for_callee(&request, &callee, record.as_ref(), settings, &gruus, now)?;
            with_users(&request, plan, &callee.aor, &load, (settings, &gruus), now)?
        }
        NextStep::FindContact(_) if let Some((_, plan)) = of_contact => plan,
        // No phone has that Contact: it is a foreign address.
        NextStep::FindContact(_) => plan_for_foreign(&request, settings)?,
        NextStep::Forward(target, _) => Plan::with_target(target),
        NextStep::ByPlan(plan) => *plan,
    };
    let is_fork = !is_stateless(&request, &plan, settings);
    for group in &plan.groups {
        let targets = group.targets.iter().map(|target| goal(target, &request)).collect();
        steps.push(Step::Group { targets, ring_time: is_fork.then_some(settings.forking.ring_time) });
    }
    steps.push(if is_fork { Step::Forked } else { Step::Stateless });
    Ok(())
}

fn plan_for_foreign(request: &Request, settings: &Settings) -> Result<Plan, Reject> {
    let uri = request.typed_uri()?;
    let next = Next::of(request, &uri)?;
    Ok(Plan::with_target(route::target_for_next(&next, Toward::Anybody, request, settings)?))
}

/// Appends what the caller has to prove. `is_contact`: the Request-URI is the Contact of a phone.
fn admission(
    inquiry: &Inquiry<'_>,
    request: &Request,
    destination: &Destination,
    is_contact: bool,
    settings: &Settings,
    steps: &mut Vec<Step>,
) -> Result<(), Reject> {
    let requirement = match (route::auth_requirement(request, destination, settings), request.domain_of_from(settings))
    {
        // A user that may not send to foreign addresses may still call the phones of local users.
        (Err(Reject::Relay), Some(domain)) if is_contact => AuthRequirement::Credentials(domain),
        (requirement, _) => requirement?,
    };
    if matches!(destination, Destination::User(called) if settings.is_emergency(called)) {
        steps.push(Step::Emergency);
    }
    match requirement {
        AuthRequirement::None => steps.push(match settings.trunk_at(inquiry.source) {
            Some(trunk) => Step::FromTrunk(trunk.name.clone()),
            None => Step::Free,
        }),
        AuthRequirement::Credentials(domain) => {
            // The caller would be challenged, but no user can have this name.
            if let Some(reject) = route::refusal_of_stranger(request, destination, settings) {
                return Err(reject);
            }
            steps.push(Step::Credentials(domain.into()));
            if let Some(caller) = unknown_caller(inquiry, request, settings) {
                steps.push(Step::NoCaller(caller));
                return Err(Reject::Challenge { of: ChallengeFor::Proxy, stale: false });
            }
        }
    }
    Ok(())
}

/// The caller, if the inquiry names one of a local domain that no account has.
fn unknown_caller(inquiry: &Inquiry<'_>, request: &Request, settings: &Settings) -> Option<Aor> {
    inquiry.from?;
    let named = Named::of(request.text_of_from(), settings)?;
    let accounts = &settings.accounts;
    let is_known =
        accounts.is_empty() || !named.is_ours || accounts.find(&named.address).is_some() || accounts.is_caller(&named);
    (!is_known).then_some(named.address)
}

/// What the call is for. `contact`: the user whose phone has the Request-URI as its Contact.
fn first_step(
    destination: &Destination,
    next: &Result<NextStep, Reject>,
    contact: Option<&Aor>,
    settings: &Settings,
) -> Step {
    if let Destination::User(name) = destination {
        let is_unknown = !settings.accounts.is_empty() && settings.accounts.find(name).is_none();
        return if is_unknown || settings.meaning(name).is_some() || settings.dialled(name).is_some() {
            Step::Name(name.clone())
        } else {
            Step::User(name.clone())
        };
    }
    match (next, contact) {
        (Ok(NextStep::LookUp(Callee { aor, phone: None })), _) => Step::User(aor.clone()),
        (Ok(NextStep::LookUp(Callee { aor, phone: Some(_) })), _) => Step::Phone(aor.clone()),
        (_, Some(aor)) => Step::Contact(aor.clone()),
        (_, None) => Step::Elsewhere,
    }
}

/// The user whose phone has the Request-URI as its Contact, and the plan for that phone.
fn contact(
    request: &Request,
    search: &ContactSearch,
    load: &impl Fn(&Aor) -> Option<Record>,
    settings: &Settings,
    now: Now,
) -> Option<(Aor, Plan)> {
    search.users.iter().rev().find_map(|user| {
        let plan = route::plan_for_contact(request, user, load(user).as_ref(), settings, now)?;
        Some((user.clone(), plan))
    })
}

/// The plan with the targets of the users that its Contacts name; names of hosts stay in it.
fn with_users(
    request: &Request,
    plan: Plan,
    aor: &Aor,
    load: impl Fn(&Aor) -> Option<Record>,
    (settings, gruus): (&Settings, &Gruus),
    now: Now,
) -> Result<Plan, Reject> {
    if plan.users.is_none() {
        return Ok(plan);
    }
    let search = TargetSearch::for_request(request, plan, Some(aor), gruus);
    complete(search, request, load, (settings, gruus), (now, settings.civil_time(now))).map_err(|none| none.reject)
}

/// Ends a search for the targets of users.
fn complete(
    mut search: TargetSearch,
    request: &Request,
    load: impl Fn(&Aor) -> Option<Record>,
    (settings, gruus): (&Settings, &Gruus),
    (now, at): (Now, Wall),
) -> Result<Plan, NoTarget> {
    while let Some(Missing::User(aor)) = search.missing(settings) {
        let record = load(&aor);
        let plan_for = |callee| route::plan_for_callee(request, callee, record.as_ref(), settings, gruus, now).ok();
        let plan = search.current().and_then(plan_for);
        if let Some(absent) = search.add_found(plan.unwrap_or_default(), gruus, settings) {
            search.replace_member(&absent, request, settings, (now, at));
        }
    }
    search.finish()
}

/// The INVITE of the call.
fn invite(Inquiry { from, to, source, .. }: &Inquiry<'_>, settings: &Settings) -> Result<Received, Reject> {
    let is_uri = |text: &str| {
        !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && !b"<>\"".contains(&octet))
    };
    let anybody = || format!("sip:somebody@{}", settings.domains.first().map_or("", |domain| domain));
    let from = from.map_or_else(anybody, str::to_owned);
    if !is_uri(&from) || !is_uri(to) {
        return Err(Reject::RequestUri);
    }
    let remote = SocketAddr::new(*source, 5060);
    let text = format!(
        "INVITE {to} SIP/2.0\r\nVia: SIP/2.0/UDP {remote};branch=z9hG4bKexplain\r\nFrom: <{from}>;tag=1\r\nTo: <{to}>\r\n\
         Call-ID: explain\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    let message = Message::parse(Bytes::from(text)).map_err(Reject::Malformed)?;
    let local = settings.local_for(Transport::Udp, *source).unwrap_or(remote);
    Ok(Received { message, flow: Flow { transport: Transport::Udp, remote, local, id: FlowId::None } })
}

fn goal(target: &Target, request: &Request) -> Goal {
    let (transport, address) = match &target.next_hop {
        NextHop::Hop(hop) => (Some(hop.transport), hop.remote.to_string()),
        NextHop::Name(name) => (name.transport, name.to_string()),
    };
    let device = target.uri.binding().map(|binding| binding.user_agent().to_owned());
    Goal {
        uri: String::from_utf8_lossy(target.uri(request)).into_owned(),
        transport,
        address,
        over_flow: target.over_flow,
        trunk: target.uri.trunk().map(|to| to.trunk.name.clone()),
        device: device.unwrap_or_default(),
    }
}
