//! Addresses that failed a short time ago: where a host name has others, these are tried last (RFC 3263 4.3).
//!
//! Decides how long an address counts as unreachable. It changes only the order in which the endpoints of a name are tried,
//! so an attacker whose failures are recorded here can exclude nothing. Each worker has its own table, of limited size.

use hashbrown::HashMap;

use crate::clock::Instant;
use crate::hop::{Endpoint, Hop, Over};

/// The addresses that failed, with the moment at which they may be tried as others are.
#[derive(Debug, Default)]
pub(crate) struct Unreachable {
    until: HashMap<Endpoint, Instant>,
}

impl Unreachable {
    /// Records that a request got no response from there, or 503. The flow of a phone does not count: it is no address that
    /// DNS names. False if there are `max` addresses already.
    pub(crate) fn add(&mut self, hop: &Hop, until: Instant, now: Instant, max: usize) -> bool {
        if matches!(hop.over, Over::Connection(_) | Over::ConnectionOnly(_) | Over::Elsewhere(_)) {
            return true;
        }
        if self.until.len() >= max {
            self.until.retain(|_, until| *until > now);
        }
        let has_room = self.until.len() < max;
        if has_room {
            self.until.insert(Endpoint { transport: hop.transport, address: hop.remote }, until);
        }
        has_room
    }

    /// Whether the address failed a short time ago.
    pub(crate) fn contains(&self, endpoint: &Endpoint, now: Instant) -> bool {
        self.until.get(endpoint).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use parser::Transport;

    use super::*;

    #[test]
    fn an_address_is_unreachable_for_a_while_and_the_table_is_bounded() {
        let now = Instant::from_micros(1);
        let hop = |port| Hop::to_address(Transport::Udp, ([192, 0, 2, 1], port).into(), ([192, 0, 2, 9], 5060).into());
        let endpoint = |port| Endpoint { transport: Transport::Udp, address: SocketAddr::from(([192, 0, 2, 1], port)) };
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(30));
        let mut table = Unreachable::default();
        for port in 1..=256 {
            assert!(table.add(&hop(port), soon, now, 256));
        }
        assert!(!table.add(&hop(1000), late, now, 256));
        assert!(table.contains(&endpoint(256), now) && !table.contains(&endpoint(1000), now));
        assert!(!table.contains(&endpoint(256), soon));
        assert!(table.add(&hop(1000), late, soon, 256));
        assert!(table.contains(&endpoint(1000), soon) && table.until.len() == 1);
    }
}
