//! The conditions of a trial, drawn from its seed: settings, impairments of the network, and faults.

use std::time::Duration;

use proxy::{Settings, Strategy};

use super::security::Security;
use super::sites::SITES;
use crate::judge::{JudgeSettings, TWO_FLOWS};
use crate::{DnsState, Fault, Impairments, Random, Simulation, StoreState};

/// Everything about a trial except its agents.
pub(super) struct Conditions {
    pub(super) workers: u8,
    pub(super) security: Security,
    strategy: Strategy,
    ring_time: Duration,
    timer_c: Duration,
    joins: bool,
    impair: Impairments,
    /// How many of a thousand agents are disconnected for a while.
    cut_off: u64,
    disconnected: u64,
    /// How many of a thousand flows (RFC 5626) break.
    broken_flows: u64,
    /// How many of a thousand servers of a host name are disconnected for a while.
    dead_servers: u64,
    /// The longest time that DNS takes.
    dns: Duration,
    /// How often DNS does not answer for a while, or answers that no name exists.
    dns_failures: u64,
    clock_steps: u64,
    core_messages: Duration,
    /// How long a change takes to become durable.
    commits: Duration,
    /// How often the store refuses changes for a while.
    refusals: u64,
}

impl Conditions {
    pub(super) fn draw(random: &mut Random) -> Self {
        let seconds = |random: &mut Random, choices: &[u64]| Duration::from_secs(choices[random.index(choices.len())]);
        let calm = random.chance(200);
        let impair = Impairments {
            delay: (1, 1 + random.below(200)),
            lost: random.below(200),
            duplicated: random.below(100),
            late: random.below(40),
            core_messages_lost: if random.chance(300) { random.below(100) } else { 0 },
        };
        Self {
            workers: [1, 1, 2, 3][random.index(4)],
            security: Security::draw(random),
            strategy: [Strategy::Parallel, Strategy::Parallel, Strategy::Sequential, Strategy::Wave][random.index(4)],
            ring_time: seconds(random, &[5, 15, 30, 30, 60, 300]),
            timer_c: seconds(random, &[181, 181, 181, 40]),
            joins: random.chance(500),
            impair: if calm { Impairments::NONE } else { impair },
            cut_off: if random.chance(300) { random.below(500) } else { 0 },
            disconnected: if random.chance(300) { random.below(800) } else { 0 },
            broken_flows: if random.chance(500) { random.below(1000) } else { 0 },
            dead_servers: if random.chance(600) { random.below(1000) } else { 0 },
            dns: Duration::from_micros([0, 0, 200_000, 3_000_000][random.index(4)]),
            dns_failures: if random.chance(200) { 1 + random.below(3) } else { 0 },
            clock_steps: if random.chance(200) { 1 + random.below(3) } else { 0 },
            core_messages: Duration::from_micros(if random.chance(500) { random.below(3000) } else { 0 }),
            commits: Duration::from_micros(if random.chance(400) { random.below(5_000_000) } else { 0 }),
            refusals: if random.chance(300) { 1 + random.below(3) } else { 0 },
        }
    }

    pub(super) fn apply_to(&self, settings: &mut Settings) {
        settings.forking.strategy = self.strategy;
        settings.forking.ring_time = self.ring_time;
        settings.forking.late_registration = self.joins;
        settings.timers.c = self.timer_c;
        // The judge has no rule for a request that is tried over TCP first because it is too long for UDP.
        settings.large_requests.over_tcp = false;
        self.security.apply_to(settings);
    }

    /// The settings that the judge needs.
    pub(super) fn judge_settings(&self) -> JudgeSettings {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // A redirection lets further phones ring beside the others, and the strategy `wave` adds phones in the same
        // way.
        let rings_on = self.strategy != Strategy::Sequential;
        JudgeSettings {
            ring_time: micros(self.ring_time),
            timer_c: micros(self.timer_c),
            rings_on,
            joins: self.joins,
            core_messages: (self.impair.core_messages_lost == 0).then_some(micros(self.core_messages)),
            commits: micros(self.commits),
            dns: micros(if self.dns_failures > 0 { self.dns.max(Duration::from_secs(2)) } else { self.dns }),
            amplification: self.security.amplification(),
        }
    }

    /// How long DNS takes, in microseconds; `None` if it fails sometimes.
    pub(super) fn longest_dns(&self) -> Option<u64> {
        (self.dns_failures == 0).then(|| u64::try_from(self.dns.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) const fn loses_core_messages(&self) -> bool {
        self.impair.core_messages_lost > 0
    }

    /// Impairs the network, and injects faults for these agents during the next minute and a half.
    pub(super) fn inject_faults(&self, sim: &Simulation, agents: impl Iterator<Item = usize>, random: &mut Random) {
        sim.impair(self.impair);
        sim.core_messages_take(self.core_messages);
        sim.commits_take(self.commits);
        sim.dns_takes(self.dns);
        let mut soon = |most: u64| Duration::from_millis(random.below(most));
        for _ in 0..self.clock_steps {
            let step = i64::try_from(soon(8_000_000).as_millis()).unwrap_or(0) - 4_000_000;
            sim.inject(soon(90_000), Fault::StepClock(step));
        }
        for refusal in 0..self.refusals {
            let when = soon(90_000);
            sim.inject(when, Fault::Store(if refusal % 2 == 0 { StoreState::ReadOnly } else { StoreState::Full }));
            sim.inject(when + soon(20_000), Fault::Store(StoreState::Working));
        }
        for failure in 0..self.dns_failures {
            let when = soon(90_000);
            sim.inject(when, Fault::Dns(if failure % 2 == 0 { DnsState::Silent } else { DnsState::Empty }));
            sim.inject(when + soon(20_000), Fault::Dns(DnsState::Answering));
        }
        let users = sim.users();
        for agent in agents {
            if users[agent] == TWO_FLOWS && soon(1000).as_millis() < self.broken_flows.into() {
                sim.inject(soon(90_000), Fault::Disconnect(agent));
            }
            if SITES.contains(&&*users[agent]) && soon(1000).as_millis() < self.dead_servers.into() {
                let when = if soon(2).is_zero() { Duration::ZERO } else { soon(60_000) };
                sim.inject(when, Fault::Unplug(agent));
                sim.inject(when + soon(60_000), Fault::Plug(agent));
            }
            if soon(1000).as_millis() < self.cut_off.into() {
                let when = soon(80_000);
                sim.inject(when, Fault::Unplug(agent));
                sim.inject(when + soon(40_000), Fault::Plug(agent));
            }
            if soon(1000).as_millis() < self.disconnected.into() {
                sim.inject(soon(90_000), Fault::Disconnect(agent));
            }
        }
    }
}
