//! What the trunks keep across reloads: their calls, which of them work, the numbers of their INVITEs, and the addresses of
//! their host names.
//!
//! Decides which names are resolved. Calls of a trunk without `from` come from the addresses of its server, so these have to
//! be known before a call comes; and no phone may name such an address (`reach.rs` of the core).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use proxy::{Resolution, SentNumbers, Settings, Trunk, TrunkCalls, TrunkHealth, trunk_resolutions};

/// The addresses by trunk.
pub(crate) type TrunkAddresses = BTreeMap<Box<str>, Vec<IpAddr>>;

/// The state of all trunks.
#[derive(Default)]
pub(super) struct TrunkState {
    calls: Arc<TrunkCalls>,
    health: Arc<TrunkHealth>,
    numbers: Arc<SentNumbers>,
    addresses: TrunkAddresses,
    /// The trunks whose names have to be resolved.
    names: Vec<(Box<str>, Resolution)>,
}

impl TrunkState {
    /// Completes the settings of a configuration.
    pub(super) fn complete(&mut self, settings: &mut Settings) {
        self.names = trunk_resolutions(settings);
        settings.trunks.calls = Arc::clone(&self.calls);
        settings.trunks.health = Arc::clone(&self.health);
        settings.trunks.numbers = Arc::clone(&self.numbers);
        for trunk in &mut settings.trunks.all {
            if let (true, Some(addresses)) = (trunk.server_addresses.is_empty(), self.addresses.get(&trunk.name)) {
                let mut known = Trunk { server_addresses: addresses.clone(), ..Trunk::clone(trunk) };
                if known.networks.is_empty() {
                    known.networks = addresses.iter().copied().map(IpNet::from).collect();
                }
                *trunk = Arc::new(known);
            }
        }
    }

    /// The trunks whose names have to be resolved.
    pub(super) fn names(&self) -> Vec<(Box<str>, Resolution)> {
        self.names.clone()
    }

    /// Takes over addresses. A name that could not be resolved keeps its last ones. Returns whether one has changed.
    pub(super) fn update(&mut self, found: TrunkAddresses) -> bool {
        let mut changed = false;
        for (trunk, addresses) in found.into_iter().filter(|(_, addresses)| !addresses.is_empty()) {
            changed |= self.addresses.get(&trunk) != Some(&addresses);
            self.addresses.insert(trunk, addresses);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_trunks_keep_is_the_same_after_a_reload() {
        let mut state = TrunkState::default();
        let [one, other] = [(); 2].map(|()| {
            let mut settings = Settings::default();
            state.complete(&mut settings);
            settings.trunks
        });
        assert!(Arc::ptr_eq(&one.calls, &other.calls) && Arc::ptr_eq(&one.health, &other.health));
        assert!(Arc::ptr_eq(&one.numbers, &other.numbers));
    }
}
