//! One party of `also_ring` as text: as it is set while the server runs.
//!
//! Decides whether the text is valid, by the checks of the configuration.

use std::time::Duration;

use proxy::{Accounts, AlsoRing};
use serde::{Deserialize, Serialize};

use super::check::{check_also_ring, conflict};
use super::{AlsoRingEntry, PartyName};
use crate::config::Config;
use crate::config::accounts::UserName;
use crate::config::error::{Conflict, PathStep};
use crate::config::scalar::{Period, Scalar};

/// The keys of an [`AlsoRingEntry`] as text.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlsoRingText {
    /// Who rings.
    pub(crate) to: String,
    /// How long after the phones; at once without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    /// The name of hours; always without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hours: Option<String>,
}

/// Checks the parties of a user of this domain.
pub(crate) fn check_also_ring_texts(
    texts: &[AlsoRingText],
    domain: &str,
    config: &Config,
    accounts: &Accounts,
) -> Result<(), Conflict> {
    let most = config.limits.targets.0;
    if texts.len() > most {
        let message = format!("expected at most {most} parties (limits.targets)");
        return conflict(vec![PathStep::Key("also_ring")], message);
    }
    for (item, text) in texts.iter().enumerate() {
        let path = |key| vec![PathStep::Key("also_ring"), PathStep::Item(item), PathStep::Key(key)];
        let entry = text.entry().or_else(|(key, message)| conflict(path(key), message))?;
        check_also_ring(&entry, path, (config, domain), accounts)?;
    }
    Ok(())
}

/// The parties of a user of this domain, in the order in which they ring. A party whose hours are not defined any more does
/// not ring: it was not meant to ring at all times.
pub(crate) fn read_also_ring(texts: &[AlsoRingText], domain: &str, config: &Config) -> Vec<AlsoRing> {
    let entries = texts.iter().filter_map(|text| text.entry().ok());
    let is_defined = |entry: &AlsoRingEntry| entry.hours.as_ref().is_none_or(|hours| config.hours.contains_key(hours));
    in_order(entries.filter(is_defined).map(|entry| entry.also_ring(domain, config)).collect())
}

/// In the order in which they ring.
pub(super) fn in_order(mut parties: Vec<AlsoRing>) -> Vec<AlsoRing> {
    parties.sort_by_key(|party| party.after);
    parties
}

impl AlsoRingText {
    /// A party that rings for a user of this domain. `to`: its name there.
    pub(crate) fn new(to: String, AlsoRing { after, hours, .. }: &AlsoRing) -> Self {
        let after = (*after != Duration::ZERO).then(|| humantime::format_duration(*after).to_string());
        Self { to, after, hours: hours.as_ref().map(|(name, _)| name.to_string()) }
    }

    /// The values; or the key of a value that is none, and what was expected.
    fn entry(&self) -> Result<AlsoRingEntry, (&'static str, String)> {
        fn value<T: Scalar>(key: &'static str, text: &str) -> Result<T, (&'static str, String)> {
            T::read(text).ok_or_else(|| (key, format!("invalid value {text:?}, expected {}", T::EXPECTED)))
        }

        Ok(AlsoRingEntry {
            to: value::<PartyName>("to", &self.to)?,
            after: self.after.as_deref().map(|text| value::<Period>("after", text)).transpose()?,
            hours: self.hours.as_deref().map(|text| value::<UserName>("hours", text)).transpose()?,
        })
    }
}
