//! What happened, in a line for people: each registration and each call at info, peers' faults at debug.
//!
//! Decides wording and level. Counting is [`metrics`](crate::metrics)' business.

use std::fmt;
use std::time::Duration;

use proxy::{Event, Registration};
use tracing::{Level, debug, enabled, error, info};

/// Logs an event, if it is worth a line.
pub(crate) fn log(event: &Event) {
    match event {
        Event::Registration { outcome, aor, bindings, expires, flow } => {
            let (remote, transport) = (flow.remote, flow.transport.param());
            match outcome {
                Registration::Registered if enabled!(Level::INFO) => {
                    let expires = humantime::format_duration(Duration::from_secs(u64::from(*expires)));
                    let phones = Phones(*bindings);
                    info!("{aor} registered from {remote} over {transport}, {phones}, expires in {expires}");
                }
                Registration::Unregistered => {
                    info!("{aor} unregistered from {remote} over {transport}, {} left", Phones(*bindings));
                }
                Registration::Failed => error!("{aor} could not be registered from {remote}: the store refused"),
                Registration::Registered => {}
                Registration::Queried | Registration::Challenged | Registration::Refused => {
                    debug!("REGISTER of {aor} from {remote} over {transport}: {outcome:?}");
                }
            }
        }
        Event::Call { from, to, targets } => info!("{from} calls {to}: {}", Phones(*targets)),
        Event::AuthenticationFailed { reason, flow } => debug!("credentials from {} refused: {reason:?}", flow.remote),
        Event::ParseError { answered, flow } => debug!("unreadable message from {}, answered: {answered}", flow.remote),
        Event::Dropped(reason) => debug!("message dropped: {reason:?}"),
        Event::LimitReached(limit) => debug!("limit reached: {limit:?}"),
        Event::Fork { outcome } => debug!("fork ended: {outcome:?}"),
        Event::RequestReceived { .. }
        | Event::RequestForwarded { .. }
        | Event::ResponseReceived { .. }
        | Event::ResponseSent { .. } => {}
    }
}

struct Phones(usize);

impl fmt::Display for Phones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 phone"),
            count => write!(f, "{count} phones"),
        }
    }
}
