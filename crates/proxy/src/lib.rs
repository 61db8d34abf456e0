//! The decisions of a SIP registrar and forwarding proxy: one message in, transmits, questions and events out.
//!
//! The core is driven by four verbs. Each of them only appends to the caller's [`Outbox`]; after each the driver
//! drains it: sends the transmits, has the questions answered, counts the events.
//!
//! ```text
//! core.receive(now, received, &mut outbox)          a message came
//! core.answer(now, parked, answer, &mut outbox)     what the store or DNS said
//! core.timeout(now, &mut outbox)                    core.next_timeout() has passed
//! core.deliver(now, core_message, &mut outbox)      a message from another worker
//! ```
//!
//! There is no socket, no clock and no runtime in this crate: time is an argument, randomness comes from a seed, and
//! every race is a sequence of calls in a test.

mod amplification;
mod ask;
mod auth;
mod clock;
mod connections;
mod context;
mod core;
mod dialog;
mod event;
mod event_package;
mod forward;
mod hop;
mod ingress;
mod mac;
mod nat;
mod notifier;
mod outbox;
mod peer;
mod pin;
mod reach;
mod registrar;
mod reject;
mod request;
mod response_context;
mod route;
mod settings;
mod source;
mod target;
mod timer_queue;
mod transaction;

pub use crate::core::explain::{Goal, Inquiry, Step, explain};
pub use crate::core::{Core, Load};
pub use ask::{Answer, Continuation, Question};
pub use clock::{Instant, Now, Wall};
pub use connections::Connections;
pub use dialog::{Moved, SideOfDialog};
pub use event::{
    AuthenticationFailure, DialogRequest, Drop, Event, ForkOutcome, Limit, Notification, Offence, Registration,
};
pub use hop::{Hop, Name, Over};
pub use location::Flow;
pub use notifier::SubscriberIndex;
pub use outbox::{CoreMessage, Handover, Outbox, Passed, Transmit};
pub use request::Received;
pub use settings::{
    Account, Accounts, Algorithm, Authentication, Caller, Digest, Foreign, Forking, Interfaces, Keys, Limits, Listener,
    Registrar, Secrets, Settings, SingleTarget, Strangers, Strategy, SubscriptionTimes, Timers, UnannouncedPath,
    fixed_bindings,
};
pub use source::{NoSource, Source};
