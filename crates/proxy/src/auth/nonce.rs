//! Nonces: signed by this worker, so that issuing one costs no memory; counted once used, in a bounded table.
//!
//! RFC 7616 3.3 and 5.4, RFC 3261 22.3. A nonce is `time(8 hex) worker(2) number(8) signature(16)`. It is good on the
//! worker that issued it, because only that one knows its counts: a request that comes to another is handed over. So
//! there is no shared table.

use std::collections::BTreeMap;

use super::digest::{self, Hex};
use crate::clock::Now;
use crate::event::AuthenticationFailure;
use crate::mac::{Mac, Purpose, octets_of, read_hex, write_hex};
use crate::request::Request;
use crate::settings::{Algorithm, Secrets, Settings};

/// The nonces of one worker.
pub(crate) struct Nonces {
    mac: Mac,
    worker: u8,
    next: u32,
    /// By order of issue, so that the oldest goes first.
    used: BTreeMap<Serial, Counts>,
    /// Whether `used` was too small since somebody last asked.
    overflowed: bool,
    /// A nonce up to this one that is not in `used` may have been used before it was pushed out.
    forgotten: Option<Serial>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Serial {
    /// Seconds since the Unix epoch.
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

/// A keyed hash of a message and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

/// A nonce that was issued here: to hand out, or come back.
pub(crate) struct Nonce {
    serial: Serial,
    pub(super) worker: u8,
    signature: u64,
}

const LENGTH: usize = 34;

impl Nonces {
    pub(crate) const fn new(key: [u8; 16], worker: u8) -> Self {
        Self { mac: Mac::new(key), worker, next: 0, used: BTreeMap::new(), overflowed: false, forgotten: None }
    }

    /// How many are in use.
    pub(crate) fn len(&self) -> usize {
        self.used.len()
    }

    /// Whether a nonce in use was pushed out since the last call: its client has to begin anew.
    pub(crate) const fn take_overflow(&mut self) -> bool {
        std::mem::replace(&mut self.overflowed, false)
    }

    /// A fresh one.
    pub(crate) fn issue(&mut self, now: Now) -> Nonce {
        self.next = self.next.wrapping_add(1);
        let serial = Serial { time: seconds(now), number: self.next };
        Nonce { serial, worker: self.worker, signature: self.signature(self.worker, serial) }
    }

    /// The nonce that this text is; none if no worker here issued it.
    pub(super) fn read(&self, text: &[u8]) -> Option<Nonce> {
        if text.len() != LENGTH {
            return None;
        }
        let (head, signature) = text.split_at_checked(LENGTH - 16)?;
        let (time, rest) = head.split_at_checked(8)?;
        let (worker, number) = rest.split_at_checked(2)?;
        let worker = u8::try_from(read_hex(worker)?).ok()?;
        let serial =
            Serial { time: u32::try_from(read_hex(time)?).ok()?, number: u32::try_from(read_hex(number)?).ok()? };
        let signature = read_hex(signature)?;
        (signature == self.signature(worker, serial)).then_some(Nonce { serial, worker, signature })
    }

    /// What tells a message from every other, and from itself sent by somebody else.
    pub(super) fn fingerprint(&self, request: &Request) -> Fingerprint {
        let source = request.flow.remote;
        let parts = [&octets_of(source.ip())[..], &source.port().to_be_bytes(), request.message.bytes()];
        Fingerprint(self.mac.sign(Purpose::Fingerprint, &parts))
    }

    /// Takes one use of a nonce. `count` is the nc; none without qop, which uses the nonce up.
    pub(super) fn spend(
        &mut self,
        nonce: Option<&Nonce>,
        count: Option<u32>,
        copy: Fingerprint,
        settings: &Settings,
        now: Now,
    ) -> Result<(), AuthenticationFailure> {
        let own = nonce.filter(|nonce| nonce.worker == self.worker);
        let serial = own.ok_or(AuthenticationFailure::Stale)?.serial;
        let lifetime = u32::try_from(settings.digest.nonce_lifetime.as_secs()).unwrap_or(u32::MAX);
        // A clock set back makes an old nonce look young: one from the future is as stale as one from the past.
        let age = seconds(now).checked_sub(serial.time).ok_or(AuthenticationFailure::Stale)?;
        if age > lifetime {
            return Err(AuthenticationFailure::Stale);
        }
        self.forget(seconds(now).saturating_sub(lifetime), settings.limits.nonces);
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
    pub(super) fn pretend_secret(&self, algorithm: Algorithm, user: &[u8]) -> Hex {
        let half = self.mac.sign(Purpose::Pretender, &[user]).to_be_bytes();
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
        write_hex(out, self.signature, 16);
    }
}

fn seconds(now: Now) -> u32 {
    u32::try_from(now.wall.secs()).unwrap_or(u32::MAX)
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
