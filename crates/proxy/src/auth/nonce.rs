//! Nonces (RFC 7616 3.3 and 5.4, RFC 3261 22.3). They are signed, so that a nonce needs no memory until it is used. The
//! counts of used nonces are stored in a bounded table.
//!
//! A nonce is `time(8 hex) worker(2) number(8) address(8) signature(16)`. Only the worker that issued it knows its
//! counts, so a request with the nonce of another worker is handed over to that worker. No table is shared.
//!
//! The time is that of the monotonic clock, so that a change of the machine's clock does not make a nonce older or
//! younger. The key changes at every start, and with it all nonces become invalid. `address` is a keyed hash of the
//! address that the nonce was sent to: it shows that the sender of a request receives what is sent to that address.

use std::collections::BTreeMap;
use std::hash::BuildHasher as _;
use std::net::IpAddr;

use parser::{read_hex, write_hex};

use super::digest::{self, Hex};
use crate::clock::Now;
use crate::event::AuthenticationFailure;
use crate::mac::{Mac, Purpose, octets_of};
use crate::request::{ContentHasher, Request};
use crate::settings::{Algorithm, Secrets, Settings};
use crate::source::Source;

/// The nonces of one worker.
pub(crate) struct Nonces {
    mac: Mac,
    hasher: ContentHasher,
    worker: u8,
    next: u32,
    /// The time of a nonce issued at the origin of the monotonic clock. It hides how long the server has been running.
    origin: u32,
    /// The counts of used nonces, in order of issue.
    used: BTreeMap<Serial, Counts>,
    /// Whether the entry of a nonce was evicted since the last call of [`Nonces::take_overflow`].
    overflowed: bool,
    /// The newest nonce whose entry was evicted. An older one without an entry may have been used, so it is not valid.
    evicted: Option<Serial>,
    /// Wrong responses to nonces, in order of issue. This table is separate from `used`, so that an attacker who
    /// guesses cannot evict the nonces of phones.
    failed: BTreeMap<Serial, Wrong>,
    /// Whether a nonce had its last permitted wrong response since the last call of [`Nonces::take_exhausted`].
    exhausted: bool,
}

/// Identifies a nonce of a worker, in order of issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Serial {
    /// Seconds of the monotonic clock, from [`Nonces::origin`].
    time: u32,
    number: u32,
}

/// The counts of a nonce that were used: the highest, and which of the 63 below it.
struct Counts {
    highest: u32,
    seen: u64,
    /// The request that used the highest count. Its retransmissions use it again.
    last: Fingerprint,
}

/// The wrong responses to a nonce.
struct Wrong {
    count: u32,
    /// The request with the last wrong response. Its retransmissions do not count.
    last: Fingerprint,
}

/// A keyed hash of a request and its source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

/// A nonce of this server.
pub(crate) struct Nonce {
    serial: Serial,
    pub(super) worker: u8,
    /// A hash of the address that it was sent to.
    address: u32,
    signature: u64,
}

const LENGTH: usize = 42;

impl Nonces {
    pub(crate) fn new(key: [u8; 16], worker: u8, hasher: ContentHasher) -> Self {
        let mac = Mac::new(key);
        // All workers have the same origin. Half of the range is left to count up.
        let origin = mac.sign(Purpose::Nonce, &[b"origin"]) as u32 >> 1;
        let (used, failed) = (BTreeMap::new(), BTreeMap::new());
        Self { mac, hasher, worker, next: 0, origin, used, overflowed: false, evicted: None, failed, exhausted: false }
    }

    /// The number of nonces in use.
    pub(crate) fn len(&self) -> usize {
        self.used.len()
    }

    /// Whether the entry of a nonce was evicted since the last call. Its client has to authenticate again.
    pub(crate) const fn take_overflow(&mut self) -> bool {
        std::mem::replace(&mut self.overflowed, false)
    }

    /// Whether a nonce had its last permitted wrong response since the last call.
    pub(crate) const fn take_exhausted(&mut self) -> bool {
        std::mem::replace(&mut self.exhausted, false)
    }

    /// A new nonce, to be sent to `address`.
    pub(crate) fn issue(&mut self, address: IpAddr, now: Now) -> Nonce {
        self.next = self.next.wrapping_add(1);
        let serial = Serial { time: self.seconds(now), number: self.next };
        let address = self.address(serial, address);
        Nonce { serial, worker: self.worker, address, signature: self.signature(self.worker, serial) }
    }

    /// Reads a nonce; `None` if no worker of this server issued it.
    pub(super) fn read(&self, text: &[u8]) -> Option<Nonce> {
        if text.len() != LENGTH {
            return None;
        }
        let (head, signature) = text.split_at_checked(LENGTH - 16)?;
        let (time, rest) = head.split_at_checked(8)?;
        let (worker, rest) = rest.split_at_checked(2)?;
        let (number, address) = rest.split_at_checked(8)?;
        let number_in = |hex| u32::try_from(read_hex(hex)?).ok();
        let worker = u8::try_from(read_hex(worker)?).ok()?;
        let serial = Serial { time: number_in(time)?, number: number_in(number)? };
        let (address, signature) = (number_in(address)?, read_hex(signature)?);
        (signature == self.signature(worker, serial)).then_some(Nonce { serial, worker, address, signature })
    }

    /// Whether a nonce was sent to this address, so that the sender of a request with it receives what is sent there.
    pub(super) fn was_sent_to(&self, nonce: &Nonce, address: IpAddr) -> bool {
        nonce.address == self.address(nonce.serial, address)
    }

    /// The serial of a nonce whose response may be checked: it is from this worker, is not too old, and had few wrong
    /// responses. For any other nonce a check would be a guess that is not counted.
    pub(super) fn serial_to_check(&self, nonce: Option<&Nonce>, settings: &Settings, now: Now) -> Option<Serial> {
        let serial = nonce.filter(|nonce| nonce.worker == self.worker)?.serial;
        let age = self.seconds(now).checked_sub(serial.time)?;
        let evicted = self.evicted.is_some_and(|evicted| serial <= evicted) && !self.used.contains_key(&serial);
        let exhausted = || self.failed.get(&serial).is_some_and(|wrong| wrong.count >= settings.digest.nonce_failures);
        (age <= lifetime(settings) && !evicted && (self.failed.is_empty() || !exhausted())).then_some(serial)
    }

    /// Counts a wrong response. Returns false for a retransmission of the last one.
    pub(super) fn add_failure(
        &mut self,
        serial: Serial,
        fingerprint: Fingerprint,
        settings: &Settings,
        now: Now,
    ) -> bool {
        let expired_before = self.seconds(now).saturating_sub(lifetime(settings));
        while let Some(first) = self.failed.first_entry()
            && first.key().time < expired_before
        {
            first.remove();
        }
        if let Some(wrong) = self.failed.get_mut(&serial) {
            let is_new = wrong.last != fingerprint;
            *wrong = Wrong { count: wrong.count.saturating_add(is_new.into()), last: fingerprint };
            self.exhausted |= is_new && wrong.count == settings.digest.nonce_failures;
            return is_new;
        }
        if self.failed.len() >= settings.limits.nonces.max(1) {
            // A nonce whose failures are no longer known must not be valid again.
            let oldest = self.failed.pop_first().map(|(serial, _)| serial);
            self.evicted = self.evicted.max(oldest);
            self.overflowed = true;
        }
        self.failed.insert(serial, Wrong { count: 1, last: fingerprint });
        true
    }

    /// A hash that is equal only for retransmissions of this request.
    pub(super) fn fingerprint(&self, request: &Request) -> Fingerprint {
        Fingerprint(self.hasher.hash_one((request.content(&self.hasher), request.flow.remote)))
    }

    /// Uses a count (nc) of a nonce. `None` means that there is no qop, so that the whole nonce is used up.
    pub(super) fn spend(
        &mut self,
        serial: Serial,
        count: Option<u32>,
        fingerprint: Fingerprint,
        settings: &Settings,
        now: Now,
    ) -> Result<(), AuthenticationFailure> {
        self.evict(self.seconds(now).saturating_sub(lifetime(settings)), settings.limits.nonces);
        let count = count.unwrap_or(u32::MAX);
        match self.used.get_mut(&serial) {
            Some(counts) => counts.spend(count, fingerprint),
            None if self.evicted.is_some_and(|evicted| serial <= evicted) => Err(AuthenticationFailure::Stale),
            None => {
                self.used.insert(serial, Counts { highest: count, seen: 1, last: fingerprint });
                Ok(())
            }
        }
    }

    /// A secret that no password has, to check a response with if the user does not exist.
    pub(super) fn decoy_ha1(&self, algorithm: Algorithm, user: &[u8]) -> Hex {
        let half = self.mac.sign(Purpose::Decoy, &[user]).to_be_bytes();
        let secrets =
            Secrets { md5: Some([half[0]; 16]), sha256: Some([half[1]; 32]), sha512t256: Some([half[2]; 32]) };
        digest::secret(&secrets, algorithm).unwrap_or_default()
    }

    /// The worker that issues these nonces.
    pub(super) const fn worker(&self) -> u8 {
        self.worker
    }

    fn signature(&self, worker: u8, serial: Serial) -> u64 {
        let Serial { time, number } = serial;
        let all = u128::from(worker) << 64 | u128::from(time) << 32 | u128::from(number);
        self.mac.sign(Purpose::Nonce, &[&all.to_be_bytes()])
    }

    fn address(&self, Serial { time, number }: Serial, address: IpAddr) -> u32 {
        let serial = u64::from(time) << 32 | u64::from(number);
        self.mac.sign(Purpose::Nonce, &[&serial.to_be_bytes(), &octets_of(Source::from(address).ip())]) as u32
    }

    fn seconds(&self, now: Now) -> u32 {
        let seconds = now.mono.as_micros() / 1_000_000;
        self.origin.saturating_add(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// Removes expired entries, and the oldest ones if there are more than `limit`. At most four per call, so that a
    /// call is short.
    fn evict(&mut self, expired_before: u32, limit: usize) {
        for _ in 0..4 {
            let Some(first) = self.used.first_entry() else { return };
            let serial = *first.key();
            if serial.time < expired_before {
                first.remove();
            } else if self.used.len() >= limit.max(1) {
                self.used.pop_first();
                self.overflowed = true;
                self.evicted = self.evicted.max(Some(serial));
            } else {
                return;
            }
        }
    }
}

impl Counts {
    fn spend(&mut self, count: u32, fingerprint: Fingerprint) -> Result<(), AuthenticationFailure> {
        if count > self.highest {
            let step = count - self.highest;
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            self.highest = count;
            self.last = fingerprint;
            return Ok(());
        }
        if count == self.highest && fingerprint == self.last {
            return Ok(());
        }
        let bit = 1u64.checked_shl(self.highest - count).ok_or(AuthenticationFailure::Replay)?;
        if self.seen & bit != 0 {
            return Err(AuthenticationFailure::Replay);
        }
        self.seen |= bit;
        Ok(())
    }
}

impl Nonce {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_hex(out, u64::from(self.serial.time), 8);
        write_hex(out, u64::from(self.worker), 2);
        write_hex(out, u64::from(self.serial.number), 8);
        write_hex(out, u64::from(self.address), 8);
        write_hex(out, self.signature, 16);
    }
}

fn lifetime(settings: &Settings) -> u32 {
    u32::try_from(settings.digest.nonce_lifetime.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_is_valid_once() {
        // checklist 172
        let mut counts = Counts { highest: 1, seen: 1, last: Fingerprint(1) };
        assert_eq!(counts.spend(1, Fingerprint(1)), Ok(()), "a retransmission");
        assert_eq!(counts.spend(1, Fingerprint(2)), Err(AuthenticationFailure::Replay));
        assert_eq!(counts.spend(5, Fingerprint(3)), Ok(()));
        assert_eq!(counts.spend(3, Fingerprint(4)), Ok(()), "a later request arrived first");
        assert_eq!(counts.spend(3, Fingerprint(4)), Err(AuthenticationFailure::Replay));
        assert_eq!(counts.spend(100, Fingerprint(5)), Ok(()));
        assert_eq!(counts.spend(5, Fingerprint(6)), Err(AuthenticationFailure::Replay), "below the window");
        assert_eq!(counts.spend(u32::MAX, Fingerprint(7)), Ok(()));
        assert_eq!(counts.spend(u32::MAX, Fingerprint(8)), Err(AuthenticationFailure::Replay));
    }
}
