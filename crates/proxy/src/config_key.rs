//! The keys of the configuration that decide whether a request is refused, by their names in docs/configuration.md. The
//! log, the status page and `explain` tell the administrator which key decided.
//!
//! A closed set without text from a peer. Must not decide anything: `reject.rs` says which refusal has which key.

use strum::{IntoStaticStr, VariantArray};

/// The key that decided about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
pub enum ConfigKey {
    /// The domain is not one of this server.
    #[strum(serialize = "domains")]
    Domains,
    /// No account has this name.
    #[strum(serialize = "accounts")]
    Accounts,
    /// Callers of foreign domains.
    #[strum(serialize = "strangers")]
    Strangers,
    /// Requests to foreign domains.
    #[strum(serialize = "foreign")]
    Foreign,
    /// The class of the number.
    #[strum(serialize = "accounts.may_dial")]
    MayDial,
    /// The name that a user calls by.
    #[strum(serialize = "accounts.may_call_as")]
    MayCallAs,
    /// The user whose phones a user registers.
    #[strum(serialize = "accounts.may_register")]
    MayRegister,
    /// The user that a user subscribes to.
    #[strum(serialize = "accounts.may_watch")]
    MayWatch,
    /// The call that a user picks up.
    #[strum(serialize = "accounts.may_pick_up")]
    MayPickUp,
    /// The user does not want to be disturbed.
    #[strum(serialize = "accounts.do_not_disturb")]
    DoNotDisturb,
    /// The request is to a group.
    #[strum(serialize = "groups")]
    Groups,
    /// The number leads nowhere at this time.
    #[strum(serialize = "numbers.closed")]
    Closed,
    /// No user, group or number has this number.
    #[strum(serialize = "accounts.numbers")]
    Numbers,
    /// The number is outside of the office.
    #[strum(serialize = "outgoing")]
    Outgoing,
    /// What a trunk may reach.
    #[strum(serialize = "trunks")]
    Trunks,
    /// The number of calls of a trunk.
    #[strum(serialize = "trunks.max_calls")]
    MaxCalls,
    /// The shortest registration time.
    #[strum(serialize = "registrar.min_expires")]
    MinExpires,
    /// The number of phones of a user.
    #[strum(serialize = "registrar.max_contacts")]
    MaxContacts,
    /// The length of one Contact.
    #[strum(serialize = "registrar.contact_size")]
    ContactSize,
    /// The addresses that a phone may name.
    #[strum(serialize = "registrar.contact_networks")]
    ContactNetworks,
    /// A Path that the phone does not announce.
    #[strum(serialize = "registrar.unannounced_path")]
    UnannouncedPath,
    /// The number of users without accounts.
    #[strum(serialize = "limits.users")]
    Users,
}

impl ConfigKey {
    /// Its name, like `accounts.may_dial`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
