//! Phones that give up at a challenge they do not know, though one they know stands beside it (against RFC 8760 2.4).
//!
//! Decides whom to offer MD5 alone: a device that was challenged, did not come back with credentials, and registers
//! anew. Nothing is lost by it: MD5 is offered to everybody who takes it, or to nobody. Bounded, and kept in memory
//! only: after a restart such a phone needs one more try.

use std::hash::BuildHasher;

use hashbrown::HashMap;
use parser::{HeaderName, Method, SipUri};

use super::named;
use crate::clock::Now;
use crate::mac::octets_of;
use crate::reject::ChallengeFor;
use crate::request::Request;

/// What became of our challenges to devices.
#[derive(Default)]
pub(crate) struct Unheeded {
    devices: HashMap<u64, Device>,
}

struct Device {
    /// Of the first challenge that was not answered, in seconds since the Unix epoch.
    since: u64,
    md5_only: bool,
}

/// Sooner than this it is the same request again (RFC 3261 17.1.2.2: Timer E grows to 4 s).
const SAME_REQUEST: u64 = 5;

/// How many are remembered; when there are more, all are forgotten.
const MOST: usize = 10_000;

impl Unheeded {
    /// A challenge is about to be sent: is it to be MD5 alone?
    pub(super) fn challenged(&mut self, request: &Request, named: Option<&SipUri<'_>>, now: Now) -> bool {
        let Some(key) = self.device(request, named) else { return false };
        if self.devices.len() >= MOST {
            self.devices.clear();
        }
        let now = now.wall.secs();
        let device = self.devices.entry(key).or_insert(Device { since: now, md5_only: false });
        let anew = request.method() == Method::Register && now.saturating_sub(device.since) >= SAME_REQUEST;
        device.md5_only |= anew;
        device.md5_only
    }

    /// Credentials came: a device that is offered all algorithms has understood them.
    pub(super) fn heeded(&mut self, request: &Request, of: ChallengeFor) {
        // Nobody is, where one algorithm is offered.
        if !self.devices.is_empty()
            && let Some(key) = self.device(request, named(request, of).as_ref())
            && self.devices.get(&key).is_some_and(|device| !device.md5_only)
        {
            self.devices.remove(&key);
        }
    }

    /// A device: who it says it is, what it is, where it is. Only phones are meant, and those name themselves.
    fn device(&self, request: &Request, named: Option<&SipUri<'_>>) -> Option<u64> {
        let agent = request.message.value(HeaderName::UserAgent)?;
        let user = named?.user?;
        Some(self.devices.hasher().hash_one((user, agent, octets_of(request.flow.remote.ip()))))
    }
}
