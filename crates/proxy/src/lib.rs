//! A SIP registrar and forwarding proxy, without sockets, clock or runtime.
//!
//! The driver calls four methods of the core. Each of them only appends to the [`Outbox`] of the caller. After each
//! call the driver empties the outbox: it sends the messages, answers the questions, and counts the events.
//!
//! ```text
//! core.receive(now, received, &mut outbox)          a message from the network
//! core.answer(now, parked, answer, &mut outbox)     the answer of the store or DNS to a question
//! core.timeout(now, &mut outbox)                    the time of core.next_timeout() has come
//! core.deliver(now, core_message, &mut outbox)      a message from the core of another worker
//! ```
//!
//! The time is an argument and random numbers come from a seed, so a test can reproduce every race as a sequence of
//! calls.

mod amplification;
mod ask;
mod auth;
mod call_writer;
mod calls;
mod clock;
mod config_key;
mod connections;
mod context;
mod core;
mod dialog;
mod event;
mod event_package;
mod forward;
mod hop;
mod ingress;
mod large;
mod mac;
mod nat;
mod node_calls;
mod node_hop;
mod node_link;
mod notifier;
mod outbox;
mod peer;
mod pin;
mod plain;
mod reach;
mod registrar;
mod registration_client;
mod reject;
mod renumbering;
mod request;
mod resolution;
mod response_context;
mod route;
mod settings;
mod source;
mod subscriber_index;
mod target;
mod timer_queue;
mod transaction;
mod unreachable;
mod waiting;

pub use crate::core::explain::{Goal, Inquiry, Step, explain};
pub use crate::core::{Core, Load};
pub use ask::{Answer, Continuation, Question};
pub use auth::DigestInput;
pub use calls::{
    CallDialog, CallEnd, CallInProgress, CallRecord, CallRefusal, CallSide, CallTable, CalledPhone, DialogEnd,
    DialogState, DiversionReason, FoundAtNode, NodeWatch, Offence, Reached, TriedPhones,
};
pub use clock::{Instant, Now, Wall};
pub use config_key::ConfigKey;
pub use connections::Connections;
pub use dialog::{Moved, SideOfDialog};
pub use event::{
    AuthenticationFailure, DialogRequest, Drop, Event, ForkOutcome, GroupCallOutcome, LargeRequest, Limit, NodeRequest,
    Notification, Registration, TrunkCallOutcome, TrunkTask,
};
pub use hop::{Endpoint, Endpoints, Hop, Name, Over};
pub use location::Flow;
pub use outbox::{Alias, CoreMessage, Handover, Outbox, Passed, Transmit};
pub use request::Received;
pub use resolution::{Naptr, Query, Records, Resolution, Srv};
pub use route::{Rule, trunk_resolutions};
pub use settings::{
    Account, Accounts, Algorithm, AlsoRing, Authentication, Caller, CodeCommand, Codes, Dialling, Digest, Foreign,
    Forking, Forward, GroupMember, GroupStrategy, Hours, Interfaces, Keys, LargeRequests, Limits, Listener, Login,
    LongLivedKeys, NameKind, NamedHours, NodeAddress, Nodes, NumberRule, Office, OfficeName, OtherNode, Others,
    Outgoing, OutgoingLines, Party, Registrar, RingGroup, Secrets, Sender, Senders, SentNumbers, Settings, Shows,
    SingleTarget, Strangers, Strategy, SubscriptionTimes, TaskState, Timers, Trunk, TrunkCalls, TrunkHealth, Trunks,
    UnannouncedPath, UserRules, Window, fixed_bindings, plain_number,
};
pub use source::{NoSource, Source};
pub use subscriber_index::SubscriberIndex;
