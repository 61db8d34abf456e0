//! How a call would be routed, in sentences: the answer of the API and the output of `frontdesk explain`.
//!
//! Decides the wording; the routing itself is `proxy::explain`. Nothing is sent.

use std::net::{IpAddr, Ipv4Addr};

use hyper::StatusCode;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use location::{Store as _, Wall};
use proxy::{
    Authentication, CodeCommand, ConfigKey, DiversionReason, Goal, GroupStrategy, Inquiry, Instant, Now, Party, Rule,
    Settings, Step,
};
use serde::{Deserialize, Serialize};

use super::AdminState;
use super::reply::{self, Reply};
use crate::clock;
use crate::journal::sanitize;

/// The routing of a call, step by step.
#[derive(Deserialize, Serialize)]
pub(crate) struct Explanation {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) goes_out: bool,
    pub(crate) steps: Vec<String>,
}

/// GET /api/v1/explain
pub(crate) fn explain(state: &AdminState, from: &str, to: &str, source: &str, at: &str) -> Reply {
    if to.is_empty() {
        return reply::problem(StatusCode::BAD_REQUEST, "to: expected a SIP URI or a user");
    }
    let source = match source {
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        text => match text.parse() {
            Ok(source) => source,
            Err(_) => return reply::problem(StatusCode::BAD_REQUEST, "source: expected an IP address"),
        },
    };
    let at = match (at, time(at)) {
        ("", _) => None,
        (_, Some(at)) => Some(at),
        (_, None) => return reply::problem(StatusCode::BAD_REQUEST, "at: expected a time like 2026-12-24T10:00"),
    };
    let active_config = state.active_config.borrow().clone();
    let settings = &active_config.settings;
    let to = to_uri(to, settings);
    let named = (!from.is_empty()).then(|| to_uri(from, settings));
    let now = Now { mono: Instant::from_micros(0), wall: clock::wall() };
    let inquiry = Inquiry { from: named.as_deref(), to: &to, source, at };
    let steps = proxy::explain(&inquiry, settings, &state.keys.borrow(), now, |aor| state.store.load(aor));
    let goes_out = !matches!(steps.last(), Some(Step::Refused { .. }));
    let steps = steps.iter().map(|step| describe_step(step, settings)).collect();
    let from = named.unwrap_or_else(|| format!("any user of {}", domain(settings)));
    reply::json(StatusCode::OK, &Explanation { from, to, goes_out, steps })
}

/// A time: with its offset, or else by the time zone of this machine.
fn time(text: &str) -> Option<Wall> {
    let local = || TimeZone::system().to_timestamp(text.parse::<DateTime>().ok()?).ok();
    let at = text.parse::<Timestamp>().ok().or_else(local)?;
    u64::try_from(at.as_millisecond()).ok().map(Wall)
}

/// Accepts `101` and `101@office.example` too.
fn to_uri(name: &str, settings: &Settings) -> String {
    match (name.contains(':'), name.contains('@')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("sip:{name}"),
        (false, false) => format!("sip:{name}@{}", domain(settings)),
    }
}

fn domain(settings: &Settings) -> &str {
    settings.domains.first().map_or("", |domain| domain)
}

fn describe_step(step: &Step, settings: &Settings) -> String {
    match step {
        Step::User(aor) => format!("It is for a user of this server: {}.", sanitize(aor.as_bytes())),
        Step::Phone(aor) => format!("It is for one phone of a user of this server: {}.", sanitize(aor.as_bytes())),
        Step::Name(name) => format!("It is for {}, which is not the name of a user.", sanitize(name.as_bytes())),
        Step::Rule(rule) => describe_rule(rule),
        Step::Code(command) => format!(
            "It is a feature code: {}.",
            match command {
                CodeCommand::ForwardAlways(to) =>
                    format!("all calls of the caller are forwarded to {}", sanitize(to.as_bytes())),
                CodeCommand::ForwardOff => "calls of the caller are not forwarded any more".to_owned(),
                CodeCommand::DoNotDisturb(true) => "the caller is not disturbed".to_owned(),
                CodeCommand::DoNotDisturb(false) => "the caller may be disturbed again".to_owned(),
            }
        ),
        Step::Then(reason, party) => {
            format!("If {}, {} is called.", describe_reason(*reason), describe_party(party))
        }
        Step::Elsewhere => "It is for another server.".to_owned(),
        Step::Contact(aor) => {
            format!(
                "It is the Contact of a phone of {}: only users of this server may call it.",
                sanitize(aor.as_bytes())
            )
        }
        Step::NoAccount => "There is no account with this name.".to_owned(),
        Step::Free if settings.authentication == Authentication::Off => {
            "No password is needed (authentication: off).".to_owned()
        }
        Step::Free => "The caller needs no password: its network is in trusted, or strangers are accepted.".to_owned(),
        Step::FromTrunk(trunk) => {
            let trunk = sanitize(trunk.as_bytes());
            format!("It comes from the trunk {trunk}, which needs no password and reaches numbers only.")
        }
        Step::Emergency => {
            "It is an emergency number: a phone needs no password if it calls from where it registered.".to_owned()
        }
        Step::Credentials(domain) => {
            format!("The caller must authenticate with a password (407, as a user of {domain}).")
        }
        Step::NoCaller(aor) => {
            format!("No account has the name of the caller, {}, so no password is right.", sanitize(aor.as_bytes()))
        }
        Step::NoPhone => "Nobody who would ring has a phone that is registered.".to_owned(),
        Step::Bindings(0) => "No phone of this user is registered.".to_owned(),
        Step::Bindings(1) => "One phone of this user is registered.".to_owned(),
        Step::Bindings(count) => format!("{count} phones of this user are registered."),
        Step::Group { targets, ring_time } => {
            let limit = ring_time.map(|time| format!(", for at most {},", humantime::format_duration(time)));
            let targets = targets.iter().map(describe_target).collect::<Vec<_>>().join("; and ");
            format!("It goes{} to {targets}.", limit.unwrap_or_default())
        }
        Step::Stateless => "A call to one phone is forwarded without a transaction.".to_owned(),
        Step::Forked => "The first phone that answers gets the call, and the others stop ringing.".to_owned(),
        Step::Refused { status, reason, key } => {
            format!("It ends here: {status} {reason}.{}", describe_key(*key))
        }
    }
}

fn describe_key(key: Option<ConfigKey>) -> String {
    key.map(|key| format!(" The key of the configuration that decides: {}.", key.as_str())).unwrap_or_default()
}

fn describe_rule(rule: &Rule) -> String {
    match rule {
        Rule::NumberOf(user) => format!("It is a number of {}.", sanitize(user.as_bytes())),
        Rule::Group(name, label, strategy) => {
            let label = if label.is_empty() { String::new() } else { format!(" ({})", sanitize(label.as_bytes())) };
            let order = match strategy {
                GroupStrategy::Parallel => "all at once",
                GroupStrategy::Sequential => "one after another",
                GroupStrategy::Wave => "one after another, and the earlier ones keep ringing",
                GroupStrategy::Rotating => "one after another, and each call begins with the next one",
            };
            format!("{}{label} is a group: its members ring {order}.", sanitize(name.as_bytes()))
        }
        Rule::Hours(name, is_open) => {
            let state = if *is_open { "open" } else { "closed" };
            format!("By the hours {:?} the office is {state} now.", &*sanitize(name.as_bytes()))
        }
        Rule::Outgoing { number, class } => {
            let class = class.as_ref().map(|class| format!(" of the class {}", sanitize(class.as_bytes())));
            format!(
                "It is a number outside of the office{}: {}.",
                class.unwrap_or_default(),
                sanitize(number.as_bytes())
            )
        }
        Rule::Forwarded(reason, party) => {
            format!("It is forwarded to {}, because {}.", describe_party(party), describe_reason(*reason))
        }
    }
}

fn describe_party(party: &Party) -> String {
    match party {
        Party::Name(name) => sanitize(name.as_bytes()),
        Party::Uri(uri) => sanitize(uri.as_bytes()),
        Party::Voicemail => "the voicemail server".to_owned(),
    }
}

const fn describe_reason(reason: DiversionReason) -> &'static str {
    match reason {
        DiversionReason::Always => "all calls of the user are forwarded",
        DiversionReason::Closed => "the office is closed",
        DiversionReason::Busy => "the user is busy",
        DiversionReason::DoNotDisturb => "the user does not want to be disturbed",
        DiversionReason::NoAnswer => "nobody answers in time",
        DiversionReason::Unavailable => "no phone can be reached",
    }
}

fn describe_target(goal: &Goal) -> String {
    let Goal { uri, transport, address, over_flow, trunk, device } = goal;
    let device = if device.is_empty() { String::new() } else { format!("{}, ", sanitize(device)) };
    let way = if let Some(trunk) = trunk {
        format!("by the trunk {}", sanitize(trunk.as_bytes()))
    } else if *over_flow {
        "by the flow that it registered".to_owned()
    } else {
        "at the address in its Contact".to_owned()
    };
    let transport = transport.map_or("the transport that DNS names", |transport| transport.param());
    format!("{device}{} at {address} over {transport}, {way}", sanitize(uri.as_bytes()))
}
