//! Keyed hashes, which show that a text was written by this server.
//!
//! SipHash-1-3 over parts, each after its length and the purpose, so that a hash made for one purpose is not valid for
//! another. 64 bits are enough: an attacker can test a guess only by sending a message to this server.
//!
//! The key can be replaced while the server runs. Values that others keep are written with the current key and read with
//! the previous one too. The keys of our own tables must not change while the tables exist, so they keep the key that the
//! core started with.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use crate::settings::Keys;

/// The purpose of a hash.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Transaction = 1,
    ToTag = 2,
    Route = 3,
    Nonce = 4,
    Loop = 5,
    Decoy = 6,
    Mark = 7,
    Fingerprint = 8,
    Gruu = 9,
    Notifier = 10,
    NextHop = 11,
    Identity = 12,
    Dialog = 13,
    Phone = 14,
    Answer = 15,
    Node = 16,
    From = 17,
}

impl Purpose {
    /// Whether only this run of the server reads the hash again.
    const fn is_of_run(self) -> bool {
        matches!(self, Self::Transaction | Self::ToTag | Self::Loop | Self::Notifier | Self::Dialog)
    }
}

/// A key, and the hashes made with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mac {
    key: [u8; 16],
    /// The key that the core started with.
    of_run: [u8; 16],
    /// The key before the last change.
    previous: Option<[u8; 16]>,
}

impl std::fmt::Debug for Mac {
    /// Secrets must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mac")
    }
}

impl Mac {
    pub(crate) const fn new(key: [u8; 16]) -> Self {
        Self { key, of_run: key, previous: None }
    }

    /// With the key of these keys, and with the one before it.
    pub(crate) fn of(keys: &Keys) -> Self {
        Self::new(keys.route).with_keys(keys)
    }

    /// The same tables with other keys.
    pub(crate) fn with_keys(self, keys: &Keys) -> Self {
        Self { key: keys.route, previous: keys.previous.as_ref().map(|previous| previous.route), ..self }
    }

    /// The first that `read` returns: with the current key, or else with the previous one.
    #[inline]
    pub(crate) fn find<T>(&self, read: impl Fn(&Self) -> Option<T>) -> Option<T> {
        read(self).or_else(|| self.find_older(read))
    }

    /// The first that `read` returns with older keys. An earlier run may have started with the previous key and then
    /// signed with the current one.
    #[cold]
    fn find_older<T>(&self, read: impl Fn(&Self) -> Option<T>) -> Option<T> {
        let previous = self.previous?;
        let older = [(previous, self.of_run), (self.key, previous), (previous, previous)];
        older.into_iter().find_map(|(key, of_run)| read(&Self { key, of_run, previous: None }))
    }

    pub(crate) fn sign(&self, purpose: Purpose, parts: &[&[u8]]) -> u64 {
        let key = if purpose.is_of_run() { &self.of_run } else { &self.key };
        let mut hash = SipHasher13::new_with_key(key);
        // Only whole words are hashed, so that the hasher never has to join the end of one part and the start of the next.
        for part in parts {
            hash.write_u64((purpose as u64) << 56 | part.len() as u64);
            part.as_chunks().0.iter().for_each(|word| hash.write_u64(u64::from_le_bytes(*word)));
            hash.write_u64(match part.last_chunk() {
                // They overlap the word before them, as the length tells.
                Some(last) => u64::from_le_bytes(*last),
                None => part.iter().fold(0, |word, octet| word << 8 | u64::from(*octet)),
            });
        }
        hash.finish()
    }

    /// A key for encryption.
    pub(crate) fn key(&self, purpose: Purpose) -> [u8; 32] {
        let mut key = [0; 32];
        for (part, number) in key.as_chunks_mut().0.iter_mut().zip(0u8..) {
            *part = self.sign(purpose, &[&[number]]).to_be_bytes();
        }
        key
    }
}

/// An IP address as 16 octets to sign; IPv4 addresses are mapped to IPv6.
pub(crate) fn octets_of(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundaries_of_parts_and_the_purpose_are_hashed() {
        let mac = Mac::new([7; 16]);
        assert_ne!(mac.sign(Purpose::Route, &[b"ab", b"c"]), mac.sign(Purpose::Route, &[b"a", b"bc"]));
        assert_ne!(mac.sign(Purpose::Route, &[b"a"]), mac.sign(Purpose::Nonce, &[b"a"]));
    }

    #[test]
    fn a_new_key_leaves_the_tables_as_they_are() {
        let old = Keys { route: [7; 16], gruu: [0; 32], nonce: [0; 16], previous: None };
        let new = Keys { route: [8; 16], previous: Some(old.long_lived()), ..old };
        let (before, after) = (Mac::new([7; 16]), Mac::new([7; 16]).with_keys(&new));
        for purpose in [Purpose::Transaction, Purpose::ToTag, Purpose::Loop, Purpose::Notifier, Purpose::Dialog] {
            assert_eq!(before.sign(purpose, &[b"a"]), after.sign(purpose, &[b"a"]));
        }
        for purpose in [Purpose::Route, Purpose::Mark, Purpose::Gruu, Purpose::Answer, Purpose::Phone, Purpose::Node] {
            let [before, after] = [&before, &after].map(|mac| mac.sign(purpose, &[b"a"]));
            assert_ne!(before, after);
            let is_before = |mac: &Mac| (mac.sign(purpose, &[b"a"]) == before).then_some(());
            assert_eq!(Mac::of(&new).find(is_before), Some(()));
        }
        let dropped = Mac::new([7; 16]).with_keys(&Keys { previous: None, ..new });
        assert_eq!(dropped.find(|mac| (*mac == Mac::new([7; 16])).then_some(())), None);
    }
}
