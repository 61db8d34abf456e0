//! Lines at level debug: what the core did with single messages, in the terms of the RFCs.
//!
//! Decides the wording. They show names and addresses as the other lines of the log do (`log.mask`).

use proxy::{
    AuthenticationFailure, DialogRequest, DiversionReason, Drop, Event, ForkOutcome, GroupCallOutcome, LargeRequest,
    Limit, Notification, Registration, TrunkCallOutcome,
};

use super::format::NameFormat;
use crate::text::counted;

/// The line for an event; `None` if it gets no line at level debug.
pub(super) fn debug_line(event: &Event, names: &NameFormat) -> Option<String> {
    Some(match event {
        Event::Registration { outcome: Registration::Challenged, status, aor, flow, .. } => {
            let (user, from) = (names.user(aor), names.address(flow.remote.ip()));
            format!("REGISTER of {user} from {from} over {}: challenged with {status}", flow.transport.param())
        }
        Event::Registration { outcome: Registration::Queried, aor, flow, bindings, .. } => {
            let (user, from) = (names.user(aor), names.address(flow.remote.ip()));
            let phones = counted::phones(*bindings as usize);
            format!("REGISTER of {user} from {from} over {}: a query, {phones}", flow.transport.param())
        }
        Event::AuthenticationFailed { reason, method, user, flow, .. } => {
            let (user, from) = (names.user(user), names.address(flow.remote.ip()));
            format!("{method} of {user} from {from}: {}", refused_credentials(*reason))
        }
        Event::DialogRequest { outcome: DialogRequest::Challenged, method, flow } => {
            let from = names.address(flow.remote.ip());
            format!("{method} within a dialog from {from}: challenged, since it is not sent by a side of the dialog")
        }
        Event::Call { from, to, targets } => {
            format!("{} calls {}: {}", names.user(from), names.user(to), counted::phones(*targets))
        }
        Event::Dropped(reason) => format!("dropped {}", dropped(*reason)),
        Event::LimitReached(limit) => format!("the limit {} took effect", limit_name(*limit)),
        Event::Fork { outcome } => format!("a forked request ended: {}", fork_outcome(*outcome)),
        Event::LargeRequest { outcome } => match outcome {
            LargeRequest::OverTcp => "a request that is too long for UDP was sent over TCP".to_owned(),
            LargeRequest::Refused => {
                "a request that is too long for UDP was sent over UDP, since its target refused TCP".to_owned()
            }
        },
        Event::Diverted { reason } => format!("a call was forwarded: {}", diversion(*reason)),
        Event::TrunkCall { trunk, outcome } => {
            let outcome = match outcome {
                TrunkCallOutcome::Answered => "answered",
                TrunkCallOutcome::Refused => "not accepted",
                TrunkCallOutcome::Cancelled => "cancelled",
                TrunkCallOutcome::Failed => "the trunk failed or did not respond",
            };
            format!("a call by the trunk {trunk}: {outcome}")
        }
        Event::TrunkFull { trunk } => format!("the trunk {trunk} has max_calls calls already"),
        Event::TrunkChallenged { trunk } => format!("a challenge of the trunk {trunk} was answered"),
        Event::GroupCall { group, outcome } => {
            let outcome = match outcome {
                GroupCallOutcome::Answered => "answered by a member",
                GroupCallOutcome::Otherwise => "went to the party of otherwise",
                GroupCallOutcome::Unanswered => "nobody accepted it",
            };
            format!("a call to the group {}: {outcome}", names.user(group))
        }
        Event::Notified { outcome } => match outcome {
            Notification::Answered => "a NOTIFY was accepted".to_owned(),
            Notification::Refused => "a NOTIFY was refused by the subscriber".to_owned(),
            Notification::Unanswered => "a NOTIFY got no response, or could not be sent".to_owned(),
        },
        _ => return None,
    })
}

const fn refused_credentials(reason: AuthenticationFailure) -> &'static str {
    match reason {
        AuthenticationFailure::Credentials => "wrong credentials",
        AuthenticationFailure::Stale => "its nonce is too old or not of this server; challenged again with stale=true",
        AuthenticationFailure::Replay => "its nonce count was used before",
        AuthenticationFailure::Identity => "its credentials are valid, but for another user",
    }
}

const fn dropped(reason: Drop) -> &'static str {
    match reason {
        Drop::Garbage => "a message that is not SIP",
        Drop::Unanswerable => "a malformed request without the headers that a response needs",
        Drop::StrayResponse => "a response that belongs to no transaction (RFC 6026 8.2)",
        Drop::StrayAck => "an ACK that belongs to no INVITE",
        Drop::Unroutable => "a message to an unknown address",
        Drop::Source => "a request from the source port 0, which cannot be answered",
        Drop::Amplification => "a response that would be too long for an unauthenticated UDP source",
    }
}

/// The name of the key, if the limit has one.
fn limit_name(limit: Limit) -> &'static str {
    limit.into()
}

const fn fork_outcome(outcome: ForkOutcome) -> &'static str {
    match outcome {
        ForkOutcome::Answered => "a 2xx was forwarded",
        ForkOutcome::Cancelled => "the caller cancelled it",
        ForkOutcome::Refused => "the best final response was not a 2xx",
        ForkOutcome::TimedOut => "no target sent a final response in time",
    }
}

const fn diversion(reason: DiversionReason) -> &'static str {
    match reason {
        DiversionReason::Always => "the user has all calls forwarded",
        DiversionReason::Closed => "the office is closed",
        DiversionReason::Busy => "the user is busy",
        DiversionReason::DoNotDisturb => "the user does not want to be disturbed",
        DiversionReason::NoAnswer => "nobody accepted it in time",
        DiversionReason::Unavailable => "no phone could be reached",
    }
}

#[cfg(test)]
mod tests {
    use location::{Aor, Flow, FlowId};
    use parser::Transport;
    use proxy::ConfigKey;
    use strum::VariantArray as _;

    use super::*;
    use crate::config::{Config, Masked};

    fn flow() -> Flow {
        let (remote, local) = (([192, 0, 2, 7], 5060).into(), ([192, 0, 2, 1], 5060).into());
        Flow { transport: Transport::Udp, remote, local, id: FlowId::None }
    }

    fn events() -> Vec<Event> {
        let aor = Aor::new(b"101", b"office.example");
        let registration = |outcome, status| Event::Registration {
            outcome,
            status,
            reason: "",
            aor: aor.clone(),
            before: 0,
            bindings: 1,
            expires: 0,
            flow: flow(),
            record: None,
            offence: None,
            key: None::<ConfigKey>,
        };
        let stale = |reason| Event::AuthenticationFailed {
            reason,
            method: "REGISTER",
            user: aor.clone(),
            flow: flow(),
            counts: false,
        };
        let mut events = vec![
            registration(Registration::Challenged, 401),
            registration(Registration::Queried, 200),
            stale(AuthenticationFailure::Stale),
            stale(AuthenticationFailure::Identity),
            Event::DialogRequest { outcome: DialogRequest::Challenged, method: "BYE", flow: flow() },
            Event::TrunkFull { trunk: "provider".into() },
            Event::TrunkChallenged { trunk: "provider".into() },
        ];
        events.extend(Drop::VARIANTS.iter().copied().map(Event::Dropped));
        events.extend(Limit::VARIANTS.iter().copied().map(Event::LimitReached));
        events.extend(ForkOutcome::VARIANTS.iter().map(|&outcome| Event::Fork { outcome }));
        events.extend(LargeRequest::VARIANTS.iter().map(|&outcome| Event::LargeRequest { outcome }));
        events.extend(DiversionReason::VARIANTS.iter().map(|&reason| Event::Diverted { reason }));
        events.extend(Notification::VARIANTS.iter().map(|&outcome| Event::Notified { outcome }));
        for &outcome in TrunkCallOutcome::VARIANTS {
            events.push(Event::TrunkCall { trunk: "provider".into(), outcome });
        }
        for &outcome in GroupCallOutcome::VARIANTS {
            events.push(Event::GroupCall { group: aor.clone(), outcome });
        }
        events
    }

    /// Issue 18: debug lines print Rust structs.
    #[test]
    fn a_debug_line_has_no_syntax_of_rust() {
        let names = NameFormat::new(&Config::default());
        for event in events() {
            let line = debug_line(&event, &names).unwrap_or_else(|| panic!("no line for {event:?}"));
            assert!(!line.contains(['{', '}', '"']) && !line.contains("::") && !line.contains("Some("), "{line}");
        }
        let line = debug_line(&events()[0], &names).expect("a line");
        assert_eq!(line, "REGISTER of 101 from 192.0.2.7 over udp: challenged with 401");
    }

    #[test]
    fn a_debug_line_is_masked_as_the_others_are() {
        let mut config = Config::default();
        config.log.mask = vec![Masked::Users, Masked::Addresses];
        let names = NameFormat::new(&config);
        for event in events() {
            let line = debug_line(&event, &names).expect("a line");
            assert!(!line.contains("192.0.2") && !line.contains(" 101"), "{line}");
        }
    }
}
