//! Converts the configuration to the settings of the core.
//!
//! Decides nothing: one field after the other. Settings that need a restart are kept by `restart`.

use std::time::Duration;

use location::Limits as RegistrationLimits;
use proxy::{
    Authentication, Forking, Interfaces, LargeRequests, Limits, Listener, Nodes, Registrar, Settings,
    SubscriptionTimes, Timers,
};

use crate::clock;
use crate::config::{self, HostName, Loaded, RegistrarSection};

/// The settings of all cores. `listeners`: with their actual ports.
pub(crate) fn settings(loaded: &Loaded, listeners: Vec<Listener>, interfaces: Interfaces) -> Settings {
    let config = &loaded.config;
    let names = |names: &[HostName]| names.iter().map(|name| name.0.clone()).collect();
    Settings {
        domains: names(&config.domains),
        aliases: names(&config.aliases),
        listeners,
        advertise: config.advertise.as_ref().map(|host| host.0.clone()),
        interfaces,
        authentication: match config.authentication {
            config::Authentication::Required => Authentication::Required,
            config::Authentication::Off => Authentication::Off,
        },
        digest: config.digest.settings(),
        accounts: loaded.accounts.clone(),
        office: config.office(),
        trunks: config.trunks(),
        nodes: Nodes::default(),
        trusted: config.trusted.iter().map(|network| network.0).collect(),
        strangers: config.strangers.0,
        foreign: config.foreign.0,
        registrar: registrar(&config.registrar, config.limits.connection_idle.0),
        subscriptions: subscriptions(&config.subscriptions),
        call_lifetime: config.subscriptions.call_lifetime.0,
        dialog_subscriptions: dialog_subscriptions(&config.subscriptions),
        forking: Forking {
            strategy: config.forking.strategy.0,
            ring_time: config.forking.ring_time.0,
            recurse: config.forking.recurse.0,
            late_registration: config.forking.late_registration.0,
            single_target: config.forking.single_target.0,
        },
        unreachable_for: config.dns.unreachable_for.0,
        large_requests: LargeRequests {
            over_tcp: config.large_requests.over_tcp.0,
            udp_for: config.large_requests.udp_for.0,
        },
        timers: Timers { t1: config.timers.t1.0, t2: config.timers.t2.0, t4: config.timers.t4.0, c: config.timers.c.0 },
        limits: Limits {
            transactions: config.limits.transactions.0,
            transaction_memory: config.limits.transaction_memory.0,
            targets: config.limits.targets.0,
            pins: config.limits.pins.0,
            nonces: config.limits.nonces.0,
            unanswered_challenges: config.limits.unanswered_challenges.0,
            subscriptions: config.limits.subscriptions.0,
            subscriptions_per_user: config.limits.subscriptions_per_user.0,
            moved_dialogs: config.limits.moved_dialogs.0,
            unreachable: config.limits.unreachable.0,
            udp_only: config.limits.udp_only.0,
            amplification: config.limits.amplification.0,
        },
    }
}

/// `idle`: the idle timeout of connections.
fn subscriptions(section: &config::Subscriptions) -> SubscriptionTimes {
    SubscriptionTimes {
        min_expires: section.min_expires.0,
        default_expires: section.default_expires.0,
        max_expires: section.max_expires.0,
        interval: section.interval.0,
    }
}

fn dialog_subscriptions(section: &config::Subscriptions) -> SubscriptionTimes {
    let default_expires = SubscriptionTimes::of_dialogs().default_expires;
    SubscriptionTimes {
        default_expires: default_expires.clamp(section.min_expires.0, section.max_expires.0),
        interval: section.call_interval.0,
        ..subscriptions(section)
    }
}

fn registrar(section: &RegistrarSection, idle: Duration) -> Registrar {
    // RFC 5626 4.4.1: the Flow-Timer must be shorter than the idle timeout, so that a phone that keeps to it finds its
    // connection open.
    let idle = u32::try_from(idle.as_secs()).unwrap_or(u32::MAX);
    let max_flow_timer = idle.saturating_sub(section.flow_grace.0).max(1);
    Registrar {
        limits: RegistrationLimits {
            min_expires: section.min_expires.0,
            default_expires: section.default_expires.0,
            max_expires: section.max_expires.0,
            max_contacts: section.max_contacts.0,
            max_request_contacts: section.max_request_contacts.0,
            max_text: section.contact_size.0,
            when_full: section.when_full.0,
            jitter: section.jitter.0,
        },
        service_route: section.service_route.iter().map(|route| route.0.clone()).collect(),
        contact_networks: section.contact_networks.iter().map(|network| network.0).collect(),
        unannounced_path: section.unannounced_path.0,
        flow_timer: section.flow_timer.0.map(|seconds| seconds.0.min(max_flow_timer)),
        flow_grace: section.flow_grace.0,
        clock_ahead: clock::ahead(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_defaults_of_the_configuration_are_those_of_the_core() {
        let mut configured = settings(&Loaded::default(), Vec::new(), Interfaces::default());
        // Another test of this process changes the clock.
        configured.registrar.clock_ahead = 0;
        assert_eq!(format!("{configured:?}"), format!("{:?}", Settings::default()));
    }

    #[test]
    fn the_flow_timer_is_shorter_than_the_idle_timeout() {
        let configured = |text: &str| {
            let config: Config = serde_yaml::from_str(text).expect("a configuration");
            registrar(&config.registrar, config.limits.connection_idle.0).flow_timer
        };
        assert_eq!(configured("{}"), Some(120));
        assert_eq!(configured("limits: { connection_idle: 1m }"), Some(30));
        assert_eq!(configured("limits: { connection_idle: 1s }"), Some(1));
        assert_eq!(configured("registrar: { flow_timer: off }"), None);
    }
}
