//! Registrations of users without an account: the phones of a removed account must not ring any more.
//!
//! Decides whose bindings are removed, at the start and after each reload, by the rules for REGISTER: with
//! `authentication: required`, or with accounts listed, only users with an account may have bindings; otherwise
//! anybody may register and nothing is removed. Nor is it if several servers share the registrations: each has accounts of its
//! own, and one that was not told of a new account yet must not remove its phones. Must not decide how bindings are removed: see [`Removals`].

use std::sync::Arc;

use location::{AnyStore, Aor, Store as _};
use proxy::{Authentication, Settings};
use tokio::sync::watch;

use crate::admin::Removals;
use crate::clock;
use crate::config::Masked;
use crate::journal::sanitize;
use crate::reload::ActiveConfig;
use crate::text::counted;

/// Users that get a log line each; one line counts the rest.
const MAX_LINES: usize = 20;

/// Whether this user may have registrations.
pub(crate) fn may_have_bindings(aor: &Aor, settings: &Settings) -> bool {
    let anybody = settings.authentication == Authentication::Off && settings.accounts.is_empty();
    anybody || settings.accounts.find(aor).is_some()
}

/// Removes the bindings of users who may not have any by the configuration in force.
pub(crate) async fn remove(
    store: Arc<AnyStore>,
    removals: &Removals,
    active_config: &watch::Receiver<Arc<ActiveConfig>>,
) {
    let settings = Arc::clone(&active_config.borrow().settings);
    // A large store takes long to scan.
    let Ok(unknown) = tokio::task::spawn_blocking(move || find_unknown(&store, &settings)).await else { return };
    if unknown.is_empty() {
        return;
    }
    // A later reload may have added the account again.
    let is_unknown = |aor: &Aor| !may_have_bindings(aor, &active_config.borrow().settings);
    let (removed, failed) = removals.remove_all(&unknown, is_unknown).await;
    let masked = active_config.borrow().loaded.config.log.mask.contains(&Masked::Users);
    for (aor, phones) in removed.iter().take(MAX_LINES) {
        let whose = if masked { "a user".to_owned() } else { name(aor, active_config) };
        tracing::info!("registrations of {whose} removed: there is no such account ({})", counted::phones(*phones));
    }
    if removed.len() > MAX_LINES {
        tracing::info!(
            "registrations of {} more removed: there are no such accounts",
            counted::users(removed.len() - MAX_LINES)
        );
    }
    if failed > 0 {
        tracing::error!(
            "registrations of {} without an account could not be removed from the disk",
            counted::users(failed)
        );
    }
}

fn find_unknown(store: &AnyStore, settings: &Settings) -> Vec<Aor> {
    let (mut unknown, now) = (Vec::new(), clock::wall());
    if settings.nodes.own().is_some() {
        return unknown;
    }
    store.list(&mut |record| {
        let aor = record.address();
        if !may_have_bindings(&aor, settings) && record.live(now).next().is_some() {
            unknown.push(aor);
        }
    });
    unknown
}

fn name(aor: &Aor, active_config: &watch::Receiver<Arc<ActiveConfig>>) -> String {
    let is_first = aor.domain() == active_config.borrow().loaded.config.first_domain().as_bytes();
    sanitize(if is_first { aor.user() } else { aor.as_bytes() })
}

#[cfg(test)]
mod tests {
    use proxy::Account;

    use super::*;
    use crate::config::Config;
    use crate::config::Loaded;
    use crate::reload::settings;

    #[test]
    fn only_users_with_an_account_may_have_bindings() {
        let [bob, eve] = [b"bob", b"eve"].map(|user| Aor::new(user, b"office.example"));
        let exist = |text: &str, listed: bool| {
            let config: Config = serde_yaml::from_str(text).expect("a configuration");
            let mut loaded = Loaded { config, ..Loaded::default() };
            if listed {
                loaded.accounts.insert(bob.clone(), Account::default());
            }
            let settings = settings(&loaded, Vec::new(), proxy::Interfaces::default());
            [may_have_bindings(&bob, &settings), may_have_bindings(&eve, &settings)]
        };
        assert_eq!(exist("authentication: required", true), [true, false]);
        assert_eq!(exist("authentication: required", false), [false, false]);
        assert_eq!(exist("authentication: off", true), [true, false]);
        assert_eq!(exist("authentication: off", false), [true, true]);
    }
}
