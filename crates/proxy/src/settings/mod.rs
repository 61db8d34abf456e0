//! The settings of the core. A reload replaces them as a whole.
//!
//! The server reads and checks the configuration file; all values here are valid. `Settings::default()` is the default
//! of the configuration file too, and the base of the settings of tests, benchmarks and the fuzzer.

mod accounts;
mod callers;
mod digest;
mod fixed;
mod forking;
mod keys;
mod large_requests;
mod limits;
mod listener;
mod nodes;
mod office;
mod own_names;
mod registrar;
mod senders;
mod subscriptions;
mod timers;
mod trunks;

use std::time::Duration;

use ipnet::IpNet;

use crate::clock::{Now, Wall};

pub use accounts::{Account, Accounts, Dialling, Others, Secrets};
pub use callers::Caller;
pub(crate) use callers::Named;
pub(crate) use digest::Algorithms;
pub use digest::{Algorithm, Digest};
pub use fixed::fixed_bindings;
pub(crate) use fixed::unregistered_fixed_bindings;
pub use forking::{Forking, SingleTarget, Strategy};
pub use keys::{Keys, LongLivedKeys};
pub use large_requests::LargeRequests;
pub use limits::Limits;
pub use listener::{Interfaces, Listener};
pub(crate) use nodes::Way;
pub use nodes::{NodeAddress, Nodes, OtherNode};
pub(crate) use office::Meaning;
pub use office::{
    AlsoRing, CodeCommand, Codes, Forward, GroupMember, GroupStrategy, Hours, NameKind, NamedHours, NumberRule, Office,
    OfficeName, Party, RingGroup, UserRules, Window, plain_number,
};
pub use registrar::{Registrar, UnannouncedPath};
pub use senders::{Sender, Senders};
pub use subscriptions::SubscriptionTimes;
pub use timers::Timers;
pub(crate) use trunks::{CallSetup, Dialled, Direction};
pub use trunks::{
    Login, Outgoing, OutgoingLines, SentNumbers, Shows, TaskState, Trunk, TrunkCalls, TrunkHealth, Trunks,
};

/// Settings of one core; shared by all workers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domains of the AoRs, in lower case; each is a name space of its own. Never empty.
    pub domains: Vec<Box<str>>,
    /// Other names of the first domain, in lower case.
    pub aliases: Vec<Box<str>>,
    /// Where the server listens.
    pub listeners: Vec<Listener>,
    /// Host for Via and Record-Route instead of the address that a message leaves from.
    pub advertise: Option<Box<str>>,
    /// The addresses of this machine.
    pub interfaces: Interfaces,
    /// Whether users must authenticate.
    pub authentication: Authentication,
    /// Digest parameters.
    pub digest: Digest,
    /// The users that may register and call. If it is empty and authentication is off, everybody may.
    pub accounts: Accounts,
    /// Groups and numbers.
    pub office: Office,
    /// The way to the telephone network.
    pub trunks: Trunks,
    /// The servers that share the location service. A reload keeps it.
    pub nodes: Nodes,
    /// Networks whose requests to users of this server need no credentials.
    pub trusted: Vec<IpNet>,
    /// Whether foreign domains may call users of this server.
    pub strangers: Strangers,
    /// Whether users of this server may call foreign domains.
    pub foreign: Foreign,
    /// Limits of a REGISTER, and headers of its 200.
    pub registrar: Registrar,
    /// How long subscriptions to registrations last and how often they notify.
    pub subscriptions: SubscriptionTimes,
    /// The same of subscriptions to dialogs.
    pub dialog_subscriptions: SubscriptionTimes,
    /// A call without any request for this time has ended, as far as the server knows.
    pub call_lifetime: Duration,
    /// How several targets are tried.
    pub forking: Forking,
    /// How long an address of a host name that failed is tried after the others (RFC 3263 4.3).
    pub unreachable_for: Duration,
    /// How a request that is too long for UDP is sent.
    pub large_requests: LargeRequests,
    /// RFC 3261 17 timers.
    pub timers: Timers,
    /// Limits of memory.
    pub limits: Limits,
}

impl Default for Settings {
    /// The defaults of the configuration file, without listeners, interfaces and accounts.
    fn default() -> Self {
        Self {
            domains: vec!["office.example".into()],
            aliases: Vec::new(),
            listeners: Vec::new(),
            advertise: None,
            interfaces: Interfaces::default(),
            authentication: Authentication::Required,
            digest: Digest::default(),
            accounts: Accounts::default(),
            office: Office::default(),
            trunks: Trunks::default(),
            nodes: Nodes::default(),
            trusted: Vec::new(),
            strangers: Strangers::Refuse,
            foreign: Foreign::Refuse,
            registrar: Registrar::default(),
            subscriptions: SubscriptionTimes::default(),
            dialog_subscriptions: SubscriptionTimes::of_dialogs(),
            call_lifetime: Duration::from_hours(12),
            forking: Forking::default(),
            unreachable_for: Duration::from_secs(30),
            large_requests: LargeRequests::default(),
            timers: Timers::default(),
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// The time of the machine's clock, for office hours.
    pub(crate) fn civil_time(&self, now: Now) -> Wall {
        Wall(now.wall.millis().saturating_add_signed(self.registrar.clock_ahead))
    }
}

/// Whether users must authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// With digest: 401 for REGISTER, 407 for other requests with a user of this server in From.
    Required,
    /// Never.
    Off,
}

/// What happens to requests to users of this server from foreign domains outside the trusted networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// They get 403.
    Refuse,
    /// They are forwarded.
    Accept,
}

/// What happens to requests of users of this server to foreign domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// They get 403.
    Refuse,
    /// They are forwarded if the user has authenticated.
    Authenticated,
}
