//! The identity of a subscriber, and whether it may see the state of a resource (RFC 6665 5.4.6).
//!
//! The identity is proven once, when the subscription begins, and is valid while the account is unchanged. The
//! permission is checked for each NOTIFY. Must not authenticate: that is a task of `core`.

use location::Aor;

use crate::event_package::EventPackage;
use crate::settings::{Authentication, Secrets, Settings};

/// What a subscriber may learn of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallAccess {
    /// Everything: it is the user.
    Own,
    /// Who calls whom, and the identifiers of a call that rings.
    PickUp,
    /// Who calls whom.
    Watch,
}

/// The user that a subscription was authorized for.
#[derive(Debug)]
pub(crate) struct Subscriber {
    user: Aor,
    /// The credentials that the subscriber authenticated with; `None` if authentication is off.
    proof: Option<Secrets>,
}

impl Subscriber {
    /// This user, who has authenticated if that is required.
    pub(crate) fn new(user: Aor, settings: &Settings) -> Self {
        let proven = settings.authentication == Authentication::Required;
        let account = settings.accounts.find(&user).filter(|_| proven);
        Self { proof: account.map(|account| account.secrets.clone()), user }
    }

    /// Whether both are the same user.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.user == other.user
    }

    /// Whether the subscriber may see the state of `resource`. A changed password ends the subscription, and so does
    /// a change to `authentication: required` for a subscription that began without.
    pub(crate) fn may_subscribe(&self, package: EventPackage, resource: &Aor, settings: &Settings) -> bool {
        let account = settings.accounts.find(&self.user);
        let is_authentic = match &self.proof {
            Some(proof) => account.is_some_and(|account| account.secrets == *proof),
            None => settings.authentication == Authentication::Off,
        };
        is_authentic && package.authorizes(&self.user, resource, settings)
    }

    /// What the subscriber may learn of the calls of `resource`, if it may see them at all.
    pub(super) fn access_to_calls(&self, resource: &Aor, settings: &Settings) -> CallAccess {
        match settings.accounts.may_pick_up(&self.user, resource) {
            _ if self.user == *resource => CallAccess::Own,
            true => CallAccess::PickUp,
            false => CallAccess::Watch,
        }
    }
}
