//! The subscriber, and whether it may see the registrations of a user (RFC 3680 4.6).
//!
//! Decides it anew at each look: what was proven when a subscription began holds for as long as the account is the same.

use location::Aor;

use crate::settings::{Authentication, Secrets, Settings};

/// Somebody who watches.
#[derive(Debug)]
pub(crate) struct Subscriber {
    user: Aor,
    /// The credentials that the subscriber authenticated with; none if authentication is off.
    proof: Option<Secrets>,
}

impl Subscriber {
    /// This user, authenticated if that is required.
    pub(crate) fn new(user: Aor, settings: &Settings) -> Self {
        let proven = settings.authentication == Authentication::Required;
        let account = settings.accounts.find(&user).filter(|_| proven);
        Self { proof: account.map(|account| account.secrets.clone()), user }
    }

    /// Whether both are the same user.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.user == other.user
    }

    /// Whether it may see the bindings of this user. Credentials are compared again at each NOTIFY: a changed password ends
    /// the subscription, and so does `authentication: required` for one that began without.
    pub(crate) fn may_watch(&self, aor: &Aor, settings: &Settings) -> bool {
        let account = settings.accounts.find(&self.user);
        let is_authentic = match &self.proof {
            Some(proof) => account.is_some_and(|account| account.secrets == *proof),
            None => settings.authentication == Authentication::Off,
        };
        is_authentic && settings.accounts.may_watch(&self.user, aor)
    }
}
