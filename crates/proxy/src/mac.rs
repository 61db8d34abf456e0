//! Keyed hashes, which show that a text was written by this server.
//!
//! SipHash-1-3 over length-prefixed parts. The first byte is the purpose, so that a hash made for one purpose is not
//! valid for another. 64 bits are enough: an attacker can test a guess only by sending a message to this server.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

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
}

/// A key, and the hashes made with it.
#[derive(Clone, Copy)]
pub(crate) struct Mac {
    key: [u8; 16],
}

impl Mac {
    pub(crate) const fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    pub(crate) fn sign(&self, purpose: Purpose, parts: &[&[u8]]) -> u64 {
        let mut hash = SipHasher13::new_with_key(&self.key);
        hash.write_u8(purpose as u8);
        for part in parts {
            hash.write_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
            hash.write(part);
        }
        hash.finish()
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
}
