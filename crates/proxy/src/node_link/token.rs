//! The Route value that one node puts first into a message for a flow of another node (as the tokens of RFC 5626 5.2), or
//! for that node itself.
//!
//! ```text
//! Route: <sip:~ base64url( version time:6 content ) "." base64url( mac:16 ) @node;transport=tcp;lr>
//! content of version 1: the peer; of version 2: the nodes that the message is from and for, each number:2 run:4
//! ```
//!
//! The MAC has a key that only the nodes know. It covers all octets of the message as it is sent, with zeros in place of
//! the MAC, and the time is one of them. So somebody who reads what the nodes send each other can repeat exactly that for
//! 64*T1, which the phone takes for a retransmission, and nothing else. Must not decide whether the flow still exists.

use std::hash::Hasher as _;
use std::num::NonZeroU16;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ctutils::CtEq as _;
use location::Node;
use parser::{HeaderName, Message};
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use smallvec::SmallVec;

use crate::clock::Wall;
use crate::mac::{Mac, Purpose};
use crate::peer::Peer;

/// Begins the user part. No dialog token contains this octet.
const START: &[u8] = b"<sip:~";

/// The version of a token that names a flow.
const FLOW: u8 = 1;

/// The version of a token that names two nodes.
const NODES: u8 = 2;

/// The octets before the content: version and time.
const HEAD: usize = 7;

/// The longest token, in octets: with two IPv6 addresses and a connection.
const MAX: usize = 80;

/// A MAC as text.
const MAC_TEXT: usize = 22;

/// How long a token is valid, in milliseconds: 64*T1, as long as a request is repeated. The clocks of two nodes differ by
/// less, in both directions.
const LIFETIME: u64 = 32_000;

/// Why a message of another node is not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No node has written the token for these octets.
    Forged,
    /// It is too old, or of a time that has not come.
    Late,
}

/// Whom a message to another node is for, and the time at which it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeToken {
    pub(crate) to: Addressee,
    pub(crate) time: Wall,
}

/// Whom a message to another node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addressee {
    /// The phone with this flow.
    Phone(Peer),
    /// The node itself.
    Node {
        /// The node that sends it.
        from: Node,
        /// The node that it is for.
        to: Node,
    },
}

/// The user part of the first Route value, if it is a token of a node.
#[inline]
pub(crate) fn token_in(message: &Message) -> Option<&[u8]> {
    let rest = message.value(HeaderName::Route)?.strip_prefix(START)?;
    rest.get(..memchr::memchr(b'@', rest)?)
}

impl NodeToken {
    /// Appends the user part of the URI, with zeros in place of the MAC.
    pub(super) fn write_unsigned(&self, out: &mut Vec<u8>) {
        let [_, _, time @ ..] = self.time.millis().to_be_bytes();
        let version = if let Addressee::Phone(_) = self.to { FLOW } else { NODES };
        let mut octets = SmallVec::<[u8; MAX]>::from_slice(&[version]);
        octets.extend_from_slice(&time);
        match &self.to {
            Addressee::Phone(peer) => peer.write_octets(&mut octets),
            Addressee::Node { from, to } => {
                for node in [from, to] {
                    octets.extend_from_slice(&node.number.get().to_be_bytes());
                    octets.extend_from_slice(&node.run.to_be_bytes());
                }
            }
        }
        let mut text = [0; MAX.div_ceil(3) * 4];
        let length = URL_SAFE_NO_PAD.encode_slice(&octets, &mut text).unwrap_or_default();
        out.push(b'~');
        out.extend_from_slice(text.get(..length).unwrap_or_default());
        out.push(b'.');
        out.extend_from_slice(&[b'0'; MAC_TEXT]);
    }

    /// Reads the token of a message, which [`token_in`] returned.
    pub(crate) fn read(text: &[u8], message: &Message, now: Wall, mac: &Mac) -> Result<Self, Refused> {
        let span = message.span_of(text).ok_or(Refused::Forged)?;
        let (content, given) =
            text.len().checked_sub(MAC_TEXT).and_then(|at| text.split_at_checked(at)).ok_or(Refused::Forged)?;
        let bytes = message.bytes();
        let at = (span.end as usize).saturating_sub(MAC_TEXT);
        let (before, after) = (bytes.get(..at), bytes.get(span.end as usize..));
        let (before, after) = before.zip(after).ok_or(Refused::Forged)?;
        let is_signed = |mac: &Mac| mac_of(before, after, mac).as_slice().ct_eq(given).to_bool().then_some(());
        mac.find(is_signed).ok_or(Refused::Forged)?;
        let token = Self::decode(content).ok_or(Refused::Forged)?;
        let fresh = now.millis().abs_diff(token.time.millis()) <= LIFETIME;
        if fresh { Ok(token) } else { Err(Refused::Late) }
    }

    fn decode(content: &[u8]) -> Option<Self> {
        let content = content.strip_suffix(b".")?;
        let mut octets = [0; MAX];
        let text = Some(content).filter(|text| text.len() <= MAX.div_ceil(3) * 4)?;
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut octets).ok()?;
        let (&[version, ref time @ ..], rest) = octets.get(..length)?.split_first_chunk::<HEAD>()?;
        let time = time.iter().fold(0, |time, octet| time << 8 | u64::from(*octet));
        let (to, rest) = match version {
            FLOW => Peer::read_octets(rest).map(|(peer, rest)| (Addressee::Phone(peer), rest))?,
            NODES => {
                let (from, rest) = read_node(rest)?;
                let (to, rest) = read_node(rest)?;
                (Addressee::Node { from, to }, rest)
            }
            _ => return None,
        };
        rest.is_empty().then_some(Self { to, time: Wall(time) })
    }
}

fn read_node(octets: &[u8]) -> Option<(Node, &[u8])> {
    let (number, rest) = octets.split_first_chunk()?;
    let (run, rest) = rest.split_first_chunk()?;
    let number = NonZeroU16::new(u16::from_be_bytes(*number))?;
    Some((Node { number, run: u32::from_be_bytes(*run) }, rest))
}

/// Replaces the zeros of the MAC in a message that begins at `start`. `end` is the end of the user part with the token.
pub(super) fn sign(out: &mut [u8], start: usize, end: usize, mac: &Mac) {
    let Some(at) = end.checked_sub(MAC_TEXT) else { return };
    let (Some(before), Some(after)) = (out.get(start..at), out.get(end..)) else { return };
    let signature = mac_of(before, after, mac);
    if let Some(place) = out.get_mut(at..end) {
        place.copy_from_slice(&signature);
    }
}

fn mac_of(before: &[u8], after: &[u8], mac: &Mac) -> [u8; MAC_TEXT] {
    let [one, two] = [b"1", b"2"].map(|half| mac.sign(Purpose::Node, &[half]).to_le_bytes());
    let mut key = [0; 16];
    key[..8].copy_from_slice(&one);
    key[8..].copy_from_slice(&two);
    // 128 bits and the full number of rounds: what it covers is read by others.
    let mut hash = SipHasher24::new_with_key(&key);
    hash.write(before);
    hash.write(&[b'0'; MAC_TEXT]);
    hash.write(after);
    let mut text = [0; MAC_TEXT];
    let length = URL_SAFE_NO_PAD.encode_slice(hash.finish128().as_bytes(), &mut text);
    debug_assert_eq!(length, Ok(MAC_TEXT));
    text
}
