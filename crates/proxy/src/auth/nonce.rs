//! Nonces: signed by this worker, so that issuing one costs no memory; counted once used, in a bounded table.
//!
//! RFC 7616 3.3 and 5.4, RFC 3261 22.3. A nonce is `time(8 hex) worker(2) number(8) address(8) signature(16)`. It is good
//! on the worker that issued it, because only that one knows its counts: a request that comes to another is handed over.
//! So there is no shared table.
//!
//! Its time is that of the monotonic clock, so that no change of the machine's clock makes it older or younger: a nonce
//! does not outlive the process, whose key signs it. Its `address` is a keyed hash of the address that it was sent to.
//! Whether the nonce is good does not depend on it, since the address of a phone behind a NAT may change; it only proves
//! that who presents the nonce receives what is sent to that address.

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
    /// The time of a nonce that is issued at the origin of the monotonic clock: nobody is told how long we have been up.
    origin: u32,
    /// By order of issue, so that the oldest goes first.
    used: BTreeMap<Serial, Counts>,
    /// Whether `used` was too small since somebody last asked.
    overflowed: bool,
    /// A nonce up to this one that is not in `used` may have been used before it was pushed out.
    forgotten: Option<Serial>,
    /// How many wrong responses came to a nonce, by order of issue. Apart from `used`, so that who guesses pushes no
    /// nonce out that somebody uses. One that is pushed out here may be guessed with a few times more.
    failed: BTreeMap<Serial, Wrong>,
    /// Whether a nonce had its last wrong response since somebody last asked.
    exhausted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Serial {
    /// Seconds of the monotonic clock, from [`Nonces::origin`].
    time: u32,
    number: u32,
}

/// Which counts of a nonce were seen: the highest, and a window of 64 below it.
struct Counts {
    highest: u32,
    seen: u64,
    /// The message that used the highest: its retransmissions use it again, rightly.
    last: Fingerprint,
}

/// Wrong responses to a nonce.
struct Wrong {
    count: u32,
    /// The message that brought the last one: its retransmissions are no further guess.
    last: Fingerprint,
}

/// A keyed hash of a message and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

/// A nonce that was issued here: to hand out, or come back.
pub(crate) struct Nonce {
    serial: Serial,
    pub(super) worker: u8,
    /// The hash of the address that it was sent to.
    address: u32,
    signature: u64,
}

const LENGTH: usize = 42;

impl Nonces {
    pub(crate) fn new(key: [u8; 16], worker: u8, hasher: ContentHasher) -> Self {
        let mac = Mac::new(key);
        // The same for all workers. Half of the range is left to count in.
        let origin = mac.sign(Purpose::Nonce, &[b"origin"]) as u32 >> 1;
        let (used, failed) = (BTreeMap::new(), BTreeMap::new());
        Self {
            mac,
            hasher,
            worker,
            next: 0,
            origin,
            used,
            overflowed: false,
            forgotten: None,
            failed,
            exhausted: false,
        }
    }

    /// How many are in use.
    pub(crate) fn len(&self) -> usize {
        self.used.len()
    }

    /// Whether a nonce in use was pushed out since the last call: its client has to begin anew.
    pub(crate) const fn take_overflow(&mut self) -> bool {
        std::mem::replace(&mut self.overflowed, false)
    }

    /// Whether a nonce had its last wrong response since the last call.
    pub(crate) const fn take_exhausted(&mut self) -> bool {
        std::mem::replace(&mut self.exhausted, false)
    }

    /// A fresh one, to be sent to `address`.
    pub(crate) fn issue(&mut self, address: IpAddr, now: Now) -> Nonce {
        self.next = self.next.wrapping_add(1);
        let serial = Serial { time: self.seconds(now), number: self.next };
        let address = self.address(serial, address);
        Nonce { serial, worker: self.worker, address, signature: self.signature(self.worker, serial) }
    }

    /// The nonce that this text is; none if no worker here issued it.
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

    /// Whether who presents it at this address receives what is sent there.
    pub(super) fn was_sent_to(&self, nonce: &Nonce, address: IpAddr) -> bool {
        nonce.address == self.address(nonce.serial, address)
    }

    /// The serial of a nonce that a response may be judged by: issued here, young, and not guessed with too often. With
    /// any other the response must not be looked at, since the answer would tell whether it is right.
    pub(super) fn judged_by(&self, nonce: Option<&Nonce>, settings: &Settings, now: Now) -> Option<Serial> {
        let serial = nonce.filter(|nonce| nonce.worker == self.worker)?.serial;
        let age = self.seconds(now).checked_sub(serial.time)?;
        let forgotten = self.forgotten.is_some_and(|forgotten| serial <= forgotten) && !self.used.contains_key(&serial);
        let spoilt = || self.failed.get(&serial).is_some_and(|wrong| wrong.count >= settings.digest.nonce_failures);
        (age <= lifetime(settings) && !forgotten && (self.failed.is_empty() || !spoilt())).then_some(serial)
    }

    /// A wrong response came to it. False if it is a copy of the last one.
    pub(super) fn failed(&mut self, serial: Serial, copy: Fingerprint, settings: &Settings, now: Now) -> bool {
        let expired_before = self.seconds(now).saturating_sub(lifetime(settings));
        while let Some(first) = self.failed.first_entry()
            && first.key().time < expired_before
        {
            first.remove();
        }
        if let Some(wrong) = self.failed.get_mut(&serial) {
            let is_new = wrong.last != copy;
            *wrong = Wrong { count: wrong.count.saturating_add(is_new.into()), last: copy };
            self.exhausted |= is_new && wrong.count == settings.digest.nonce_failures;
            return is_new;
        }
        if self.failed.len() >= settings.limits.nonces.max(1) {
            // What is not remembered as guessed with must not be good again.
            let oldest = self.failed.pop_first().map(|(serial, _)| serial);
            self.forgotten = self.forgotten.max(oldest);
            self.overflowed = true;
        }
        self.failed.insert(serial, Wrong { count: 1, last: copy });
        true
    }

    /// What tells a message from every other, and from itself sent by somebody else.
    pub(super) fn fingerprint(&self, request: &Request) -> Fingerprint {
        Fingerprint(self.hasher.hash_one((request.content(&self.hasher), request.flow.remote)))
    }

    /// Takes one use of a nonce. `count` is the nc; none without qop, which uses the nonce up.
    pub(super) fn spend(
        &mut self,
        serial: Serial,
        count: Option<u32>,
        copy: Fingerprint,
        settings: &Settings,
        now: Now,
    ) -> Result<(), AuthenticationFailure> {
        self.forget(self.seconds(now).saturating_sub(lifetime(settings)), settings.limits.nonces);
        let count = count.unwrap_or(u32::MAX);
        match self.used.get_mut(&serial) {
            Some(counts) => counts.spend(count, copy),
            None if self.forgotten.is_some_and(|forgotten| serial <= forgotten) => Err(AuthenticationFailure::Stale),
            None => {
                self.used.insert(serial, Counts { highest: count, seen: 1, last: copy });
                Ok(())
            }
        }
    }

    /// A secret that fits nobody, to compare with when there is no such user.
    pub(super) fn decoy_secret(&self, algorithm: Algorithm, user: &[u8]) -> Hex {
        let half = self.mac.sign(Purpose::Decoy, &[user]).to_be_bytes();
        let secrets =
            Secrets { md5: Some([half[0]; 16]), sha256: Some([half[1]; 32]), sha512t256: Some([half[2]; 32]) };
        digest::secret(&secrets, algorithm).unwrap_or_default()
    }

    /// The worker whose nonces these are.
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

    /// Drops what has expired, and the oldest where there are too many; a few per call, so that no call is long.
    fn forget(&mut self, expired_before: u32, most: usize) {
        for _ in 0..4 {
            let Some(first) = self.used.first_entry() else { return };
            let serial = *first.key();
            if serial.time < expired_before {
                first.remove();
            } else if self.used.len() >= most.max(1) {
                self.used.pop_first();
                self.overflowed = true;
                self.forgotten = self.forgotten.max(Some(serial));
            } else {
                return;
            }
        }
    }
}

impl Counts {
    fn spend(&mut self, count: u32, copy: Fingerprint) -> Result<(), AuthenticationFailure> {
        if count > self.highest {
            let step = count - self.highest;
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            self.highest = count;
            self.last = copy;
            return Ok(());
        }
        if count == self.highest && copy == self.last {
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
    fn each_count_is_good_once() {
        // checklist 172
        let mut counts = Counts { highest: 1, seen: 1, last: Fingerprint(1) };
        assert_eq!(counts.spend(1, Fingerprint(1)), Ok(()), "a retransmission");
        assert_eq!(counts.spend(1, Fingerprint(2)), Err(AuthenticationFailure::Replay));
        assert_eq!(counts.spend(5, Fingerprint(3)), Ok(()));
        assert_eq!(counts.spend(3, Fingerprint(4)), Ok(()), "overtaken on the way");
        assert_eq!(counts.spend(3, Fingerprint(4)), Err(AuthenticationFailure::Replay));
        assert_eq!(counts.spend(100, Fingerprint(5)), Ok(()));
        assert_eq!(counts.spend(5, Fingerprint(6)), Err(AuthenticationFailure::Replay), "below the window");
        assert_eq!(counts.spend(u32::MAX, Fingerprint(7)), Ok(()));
        assert_eq!(counts.spend(u32::MAX, Fingerprint(8)), Err(AuthenticationFailure::Replay));
    }
}
