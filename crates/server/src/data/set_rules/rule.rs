//! What was set for one user, as it is stored.

use proxy::UserRules;
use serde::{Deserialize, Serialize};

use crate::config::{self, AlsoRingText, Config};

/// What was set for one user; a field that is missing was not set.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SetRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) always: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) busy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) no_answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unavailable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) also_ring: Option<Vec<AlsoRingText>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) do_not_disturb: Option<bool>,
}

impl SetRule {
    /// The rules in force: what was set, and the configured ones where nothing was set.
    pub(super) fn merge_into(&self, rules: &mut UserRules, domain: &str, config: &Config) {
        let forward = &mut rules.forward;
        for (own, set) in [
            (&mut forward.always, &self.always),
            (&mut forward.busy, &self.busy),
            (&mut forward.no_answer, &self.no_answer),
            (&mut forward.unavailable, &self.unavailable),
        ] {
            if let Some(text) = set {
                *own = config::read_party(text, domain);
            }
        }
        if let Some(after) = self.after.as_deref().and_then(config::read_period) {
            forward.after = after;
        }
        if let Some(parties) = &self.also_ring {
            rules.also_ring = config::read_also_ring(parties, domain, config);
        }
        rules.do_not_disturb = self.do_not_disturb.unwrap_or(rules.do_not_disturb);
    }
}
