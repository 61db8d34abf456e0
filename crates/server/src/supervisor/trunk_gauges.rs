//! The gauges of each trunk, and the series of trunks and groups.
//!
//! Decides which values a trunk has: whether it is registered if it should be, whether it responds if it is probed, its
//! calls if they are limited. The names are those of the configuration.

use std::collections::HashSet;
use std::sync::Arc;

use proxy::{Settings, Trunk, TrunkTask};

use crate::metrics::{Gauge, Series, TrunkGauge};

/// Publishes the state of the trunks.
#[derive(Default)]
pub(super) struct TrunkGauges {
    /// The settings whose series exist.
    created_for: Option<Arc<Settings>>,
    shown: HashSet<(Box<str>, TrunkGauge)>,
}

impl TrunkGauges {
    /// Sets the gauges of all trunks. A trunk that is not configured any more has no values.
    pub(super) fn publish(&mut self, settings: &Arc<Settings>) {
        if !self.created_for.as_ref().is_some_and(|before| Arc::ptr_eq(before, settings)) {
            let groups: Vec<_> =
                settings.office.groups().map(|group| String::from_utf8_lossy(group.aor.user())).collect();
            let trunks = settings.trunks.all.iter().map(|trunk| &*trunk.name);
            Series::create_for(trunks, groups.iter().map(|group| &**group));
            self.created_for = Some(Arc::clone(settings));
        }
        let mut shown = HashSet::new();
        for trunk in &settings.trunks.all {
            for (gauge, value) in values(trunk, settings) {
                gauge.set(&trunk.name, value);
                shown.insert((trunk.name.clone(), gauge));
            }
        }
        self.shown.difference(&shown).for_each(|(trunk, gauge)| gauge.clear(trunk));
        self.shown = shown;
        let (health, all) = (&settings.trunks.health, &settings.trunks.all);
        Gauge::Trunks.set_count(all.len());
        Gauge::TrunksUsable.set_count(all.iter().filter(|trunk| !health.is_down(&trunk.name)).count());
        Gauge::TrunksUnregistered.set_count(health.failing(TrunkTask::Register));
        Gauge::TrunksSilent.set_count(health.failing(TrunkTask::Probe));
    }
}

/// The values of one trunk.
fn values(trunk: &Trunk, settings: &Settings) -> impl Iterator<Item = (TrunkGauge, u32)> {
    let trunks = &settings.trunks;
    let works = |task| trunks.health.state(&trunk.name, task).map(|state| u32::from(state.works));
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let limited = trunk.max_calls.map(count);
    [
        (TrunkGauge::Registered, works(TrunkTask::Register)),
        (TrunkGauge::Responding, works(TrunkTask::Probe)),
        (TrunkGauge::Calls, limited.map(|_| count(trunks.calls.count(&trunk.name)))),
        (TrunkGauge::MaxCalls, limited),
    ]
    .into_iter()
    .filter_map(|(gauge, value)| Some((gauge, value?)))
}
