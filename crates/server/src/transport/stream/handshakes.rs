//! The number of handshakes (WebSocket, TLS) under way: a peer that opens connections and is slow or silent uses memory
//! and file descriptors before anything is known of it.
//!
//! Decides how many there may be in total and per source address. Their time is limited where they run.

use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use proxy::Source;

use crate::metrics::DriverLimit;

/// The handshakes of all workers.
#[derive(Debug)]
pub(super) struct Handshakes {
    max: usize,
    max_per_source: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_source: HashMap<Source, usize, RandomState>,
    total: usize,
}

/// Counts one handshake until it is dropped.
#[derive(Debug)]
pub(super) struct HandshakePermit {
    handshakes: Arc<Handshakes>,
    source: Source,
}

impl Handshakes {
    /// With limits in total and per source address.
    pub(super) fn new(max: usize, max_per_source: usize) -> Self {
        Self { max, max_per_source, inner: Mutex::default() }
    }

    /// Counts a handshake, or returns the limit that was reached. `is_shared`: many clients have this address, because
    /// it is a reverse proxy.
    pub(super) fn admit(self: &Arc<Self>, source: IpAddr, is_shared: bool) -> Result<HandshakePermit, DriverLimit> {
        let mut inner = self.inner.lock();
        if inner.total >= self.max {
            return Err(DriverLimit::Handshakes);
        }
        let source = Source::from(source);
        let own = inner.by_source.entry(source).or_insert(0);
        if *own >= self.max_per_source && !is_shared {
            return Err(DriverLimit::HandshakesPerSource);
        }
        *own += 1;
        inner.total += 1;
        Ok(HandshakePermit { handshakes: Arc::clone(self), source })
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        let mut inner = self.handshakes.inner.lock();
        inner.total = inner.total.saturating_sub(1);
        if let Some(own) = inner.by_source.get_mut(&self.source) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                inner.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_permits_are_returned() {
        let handshakes = Arc::new(Handshakes::new(4, 2));
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let admit = |source, is_shared| handshakes.admit(source, is_shared);
        let first = admit(one, false).expect("the first");
        let _second = admit(one, false).expect("the second");
        assert_eq!(admit(one, false).expect_err("too many of one"), DriverLimit::HandshakesPerSource);
        let _third = admit(one, true).expect("a reverse proxy");
        let _fourth = admit(two, false).expect("the fourth");
        assert_eq!(admit(two, false).expect_err("too many"), DriverLimit::Handshakes);
        drop(first);
        assert!(admit(two, false).is_ok());
        assert_eq!(handshakes.inner.lock().by_source.get(&Source::from(two)), Some(&1));
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let handshakes = Arc::new(Handshakes::new(9, 1));
        let [one, same, other] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|ip| ip.parse().expect("an address"));
        let _first = handshakes.admit(one, false).expect("the first");
        assert_eq!(handshakes.admit(same, false).expect_err("the network"), DriverLimit::HandshakesPerSource);
        assert!(handshakes.admit(other, false).is_ok());
    }
}
