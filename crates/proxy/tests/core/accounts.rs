//! The accounts of the scenarios with authentication.

use location::Aor;
use proxy::{Authentication, Settings};
use sim::{DOMAIN, Login};

pub(crate) const ALICE: Login<'static> = Login { user: "alice", password: "wonder land" };
pub(crate) const BOB: Login<'static> = Login { user: "bob", password: "builder" };
pub(crate) const CAROL: Login<'static> = Login { user: "carol", password: "christmas" };
pub(crate) const MALLORY: Login<'static> = Login { user: "mallory", password: "malice" };

/// The address of record of a user of the local domain.
pub(crate) fn aor(user: &str) -> Aor {
    Aor::new(user.as_bytes(), DOMAIN.as_bytes())
}

/// Users must authenticate, and these have accounts.
pub(crate) fn add_accounts(settings: &mut Settings, logins: &[Login<'_>]) {
    settings.authentication = Authentication::Required;
    for login in logins {
        settings.accounts.insert(aor(login.user), login.account(DOMAIN));
    }
}
