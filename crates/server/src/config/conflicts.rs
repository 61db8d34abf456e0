//! Checks combinations of values that are valid by themselves.
//!
//! Each conflict names one key, so that its line can be reported.

use std::time::Duration;

use location::MAX_TEXT;

use super::error::{Conflict, PathStep};
use super::scalar::Seconds;
use super::{Config, Listen, cluster, tls};

/// The first conflict, if there is one.
pub(crate) fn check(config: &Config) -> Result<(), Conflict> {
    check_names(config)?;
    check_listeners(&config.listen)?;
    tls::check(config)?;
    check_algorithms(config)?;
    check_defence(config)?;
    check_expiry(config)?;
    check_timers(config)?;
    check_store(config)?;
    cluster::check(config)?;
    check_targets(config)
}

fn check_names(config: &Config) -> Result<(), Conflict> {
    if config.domains.is_empty() {
        return conflict([PathStep::Key("domains")], "expected at least one domain, like office.example");
    }
    if let Some(at) = first_repeated(&config.domains) {
        return conflict([PathStep::Key("domains"), PathStep::Item(at)], "this domain is listed twice");
    }
    let is_domain = |alias| config.domains.contains(alias);
    if let Some(at) = config.aliases.iter().position(is_domain) {
        let message = "this is one of `domains` already: an alias is a further name of the first domain";
        return conflict([PathStep::Key("aliases"), PathStep::Item(at)], message);
    }
    Ok(())
}

fn check_listeners(listen: &[Listen]) -> Result<(), Conflict> {
    if listen.is_empty() {
        return conflict([PathStep::Key("listen")], "expected at least one address, like udp://0.0.0.0:5060");
    }
    let repeated = first_repeated(listen).filter(|at| listen.get(*at).is_some_and(|listen| listen.address.port() != 0));
    match repeated {
        Some(at) => conflict([PathStep::Key("listen"), PathStep::Item(at)], "this address is listed twice"),
        None => Ok(()),
    }
}

fn check_algorithms(config: &Config) -> Result<(), Conflict> {
    let [section, key] = [PathStep::Key("digest"), PathStep::Key("algorithms")];
    if config.digest.algorithms.is_empty() {
        return conflict([section, key], "expected at least one of sha-256, sha-512-256 and md5");
    }
    match first_repeated(&config.digest.algorithms) {
        Some(at) => conflict([section, key, PathStep::Item(at)], "this algorithm is listed twice"),
        None => Ok(()),
    }
}

fn check_defence(config: &Config) -> Result<(), Conflict> {
    // The time of each failure is stored.
    if config.defence.failures.0 > 1000 {
        return conflict([PathStep::Key("defence"), PathStep::Key("failures")], "expected at most 1000");
    }
    Ok(())
}

fn check_expiry(config: &Config) -> Result<(), Conflict> {
    let (registrar, subscriptions) = (&config.registrar, &config.subscriptions);
    check_order("registrar", registrar.min_expires, registrar.default_expires, registrar.max_expires)?;
    check_order("subscriptions", subscriptions.min_expires, subscriptions.default_expires, subscriptions.max_expires)
}

fn check_order(section: &'static str, min: Seconds, default: Seconds, max: Seconds) -> Result<(), Conflict> {
    let at = |key| [PathStep::Key(section), PathStep::Key(key)];
    if min.0 > 3600 {
        // RFC 3261 10.3 step 7, RFC 6665 4.2.1.1: 423 is only allowed below one hour.
        return conflict(at("min_expires"), "expected at most 1h");
    }
    if default < min {
        return conflict(at("default_expires"), "expected at least `min_expires`");
    }
    if max < default {
        return conflict(at("max_expires"), "expected at least `default_expires`");
    }
    Ok(())
}

fn check_store(config: &Config) -> Result<(), Conflict> {
    if config.registrar.contact_size.0 > MAX_TEXT {
        // The limit of the store's layout.
        return conflict([PathStep::Key("registrar"), PathStep::Key("contact_size")], "expected at most 8KiB");
    }
    if config.location.pace.0 > Duration::from_secs(1) {
        // It delays the 200 to a REGISTER.
        return conflict([PathStep::Key("location"), PathStep::Key("pace")], "expected at most 1s");
    }
    Ok(())
}

fn check_timers(config: &Config) -> Result<(), Conflict> {
    if config.timers.t2.0 < config.timers.t1.0 {
        return conflict([PathStep::Key("timers"), PathStep::Key("t2")], "expected at least `t1`");
    }
    Ok(())
}

fn check_targets(config: &Config) -> Result<(), Conflict> {
    // The number of a branch has one octet.
    if config.limits.targets.0 > 255 {
        return conflict([PathStep::Key("limits"), PathStep::Key("targets")], "expected 1 to 255");
    }
    Ok(())
}

fn conflict<const N: usize>(path: [PathStep; N], message: &str) -> Result<(), Conflict> {
    Err(Conflict { path: path.to_vec(), message: message.to_owned() })
}

fn first_repeated<T: PartialEq>(items: &[T]) -> Option<usize> {
    items.iter().enumerate().position(|(at, item)| items.iter().take(at).any(|earlier| earlier == item))
}
