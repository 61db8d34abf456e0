//! The dialog token: what our Record-Route value says of a dialog, as text that only this server can make (RFC 3261 16.6
//! step 4 lets a proxy put what it needs into that value, so that it keeps no dialog state).
//!
//! ```text
//! base64url( version flags mac:8 caller-peer callee-peer [target:4] [user] [user] [identity:4] [identity:4] )
//! ```
//!
//! The MAC covers all other octets, the Call-ID and the tag of the caller: a token taken into another call, or with
//! anything in it changed, does not verify. The From or To tag that verifies also says who sends a request: the caller or
//! the callee. Must not decide what a token permits: that is `in_dialog.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use location::Aor;
use parser::SipUri;
use smallvec::SmallVec;

use crate::mac::{Mac, Purpose, octets_of};
use crate::peer::Peer;

/// Tokens of another form do not verify; calls that were set up with them lose their fast way, as after new keys.
const VERSION: u8 = 1;

/// Octets before the peers: version, flags, MAC.
const HEAD: usize = 10;

/// The longest user that is put into a token. Without its user a side proves itself by its address or by credentials.
const LONGEST_USER: usize = 64;

/// Octets of the longest token: two IPv6 peers with connections, two users, everything else.
const LONGEST: usize = HEAD + 2 * 28 + 4 + 2 * (1 + LONGEST_USER) + 2 * 4;

mod flag {
    pub(super) const TARGET: u8 = 1;
    pub(super) const OF_CALLEE: u8 = 2;
    pub(super) const CALLER_FLOW: u8 = 4;
    pub(super) const CALLEE_FLOW: u8 = 8;
    pub(super) const CALLER_USER: u8 = 16;
    pub(super) const CALLEE_USER: u8 = 32;
    pub(super) const CALLER_IDENTITY: u8 = 64;
    pub(super) const CALLEE_IDENTITY: u8 = 128;
}

/// A token as text: the user part of a Record-Route value.
pub(crate) type TokenText = SmallVec<[u8; 128]>;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DialogToken {
    /// The side that sent the request that made the dialog.
    pub(crate) caller: Side,
    /// The other side.
    pub(crate) callee: Side,
    /// Where requests to one of the sides go, where that is not its peer.
    pub(crate) target: Option<Target>,
}

/// One side of a dialog, as this server saw it when the dialog was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// Where its requests came from, or where it was reached.
    pub(crate) peer: Peer,
    /// Whether it is reached over that flow only, not at the address that it names.
    pub(crate) only_flow: bool,
    /// The user of ours that it belongs to.
    pub(crate) user: Option<Aor>,
    /// The user of ours that it is called in From and To, as a hash, where that is another than `user`: a group, a number.
    pub(crate) identity: Option<u32>,
}

/// The next hop of requests to one side, as a hash: its Contact, or the Record-Route value next to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Whether it is the callee's.
    pub(crate) of_callee: bool,
    pub(crate) next_hop: u32,
}

/// The Call-ID and the caller's tag of a dialog: what its tokens are made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DialogId<'a> {
    pub(crate) call_id: &'a [u8],
    pub(crate) caller_tag: &'a [u8],
}

impl DialogId<'_> {
    /// The dialog as a key for a table.
    pub(super) fn key(self, mac: &Mac) -> u64 {
        mac.sign(Purpose::Dialog, &[self.call_id, self.caller_tag])
    }
}

impl DialogToken {
    /// The token of a dialog as text. `domain` is the first of ours: users there are written without it.
    pub(crate) fn text(&self, id: DialogId<'_>, domain: &[u8], mac: &Mac) -> TokenText {
        let mut octets = SmallVec::<[u8; 128]>::from_slice(&[0; HEAD]);
        self.caller.peer.write_octets(&mut octets);
        self.callee.peer.write_octets(&mut octets);
        let mut flags = 0;
        if let Some(target) = self.target {
            flags |= flag::TARGET | if target.of_callee { flag::OF_CALLEE } else { 0 };
            octets.extend(target.next_hop.to_be_bytes());
        }
        flags |= if self.caller.only_flow { flag::CALLER_FLOW } else { 0 };
        flags |= if self.callee.only_flow { flag::CALLEE_FLOW } else { 0 };
        for (side, bit) in [(&self.caller, flag::CALLER_USER), (&self.callee, flag::CALLEE_USER)] {
            flags |= if write_user(&mut octets, side.user.as_ref(), domain) { bit } else { 0 };
        }
        for (side, bit) in [(&self.caller, flag::CALLER_IDENTITY), (&self.callee, flag::CALLEE_IDENTITY)] {
            if let Some(identity) = side.identity {
                octets.extend(identity.to_be_bytes());
                flags |= bit;
            }
        }
        let signature = signature(id, flags, octets.get(HEAD..).unwrap_or_default(), mac);
        let head = [VERSION, flags].into_iter().chain(signature);
        octets.iter_mut().zip(head).for_each(|(octet, value)| *octet = value);
        let mut text = TokenText::from_elem(0, octets.len().div_ceil(3) * 4);
        let length = URL_SAFE_NO_PAD.encode_slice(&octets, &mut text);
        text.truncate(length.unwrap_or_default());
        text
    }

    /// Reads a token that was made for a dialog; `None` if it was not made here, or for another dialog.
    pub(crate) fn read(text: &[u8], id: DialogId<'_>, domain: &[u8], mac: &Mac) -> Option<Self> {
        Sealed::decode(text)?.open(id, domain, mac)
    }

    /// Reads the token in a request of a dialog: what it says, and whether the caller sends the request.
    pub(crate) fn read_in_request(
        text: &[u8],
        call_id: &[u8],
        (from_tag, to_tag): (&[u8], &[u8]),
        domain: &[u8],
        mac: &Mac,
    ) -> Option<(Self, bool)> {
        let sealed = Sealed::decode(text)?;
        let opened = |caller_tag| sealed.open(DialogId { call_id, caller_tag }, domain, mac);
        match opened(from_tag) {
            Some(token) => Some((token, true)),
            None => Some((opened(to_tag)?, false)),
        }
    }

    fn parse(flags: u8, octets: &[u8], domain: &[u8]) -> Option<Self> {
        let has = |bit| flags & bit != 0;
        let (caller, octets) = Peer::read_octets(octets)?;
        let (callee, octets) = Peer::read_octets(octets)?;
        let (next_hop, octets) = read_number(octets, has(flag::TARGET))?;
        let (caller_user, octets) = read_user(octets, has(flag::CALLER_USER), domain)?;
        let (callee_user, octets) = read_user(octets, has(flag::CALLEE_USER), domain)?;
        let (caller_identity, octets) = read_number(octets, has(flag::CALLER_IDENTITY))?;
        let (callee_identity, octets) = read_number(octets, has(flag::CALLEE_IDENTITY))?;
        let side = |peer, flow, user, identity| Side { peer, only_flow: has(flow), user, identity };
        octets.is_empty().then(|| Self {
            caller: side(caller, flag::CALLER_FLOW, caller_user, caller_identity),
            callee: side(callee, flag::CALLEE_FLOW, callee_user, callee_identity),
            target: next_hop.map(|next_hop| Target { of_callee: has(flag::OF_CALLEE), next_hop }),
        })
    }
}

/// A token whose signature is still to be checked.
struct Sealed {
    octets: [u8; LONGEST],
    length: usize,
}

impl Sealed {
    fn decode(text: &[u8]) -> Option<Self> {
        let mut octets = [0; LONGEST];
        // Longer text than a token can have is refused before it is decoded.
        let text = Some(text).filter(|text| text.len() <= LONGEST.div_ceil(3) * 4)?;
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut octets).ok()?;
        (length > HEAD && octets.first() == Some(&VERSION)).then_some(Self { octets, length })
    }

    fn open(&self, id: DialogId<'_>, domain: &[u8], mac: &Mac) -> Option<DialogToken> {
        let (head, rest) = self.octets.get(..self.length)?.split_first_chunk::<HEAD>()?;
        let &[_, flags, ref given @ ..] = head;
        (*given == signature(id, flags, rest, mac)).then(|| DialogToken::parse(flags, rest, domain))?
    }
}

fn signature(id: DialogId<'_>, flags: u8, octets: &[u8], mac: &Mac) -> [u8; 8] {
    mac.sign(Purpose::Route, &[id.call_id, id.caller_tag, &[flags], octets]).to_be_bytes()
}

/// The next hop that a URI names, as a hash: its host, or its maddr, and its port.
pub(crate) fn next_hop(uri: &SipUri<'_>, mac: &Mac) -> u32 {
    let port = port_of(uri).to_be_bytes();
    match host_of(uri) {
        Some(host) if let Some(ip) = host.ip() => low_half(mac.sign(Purpose::NextHop, &[&octets_of(ip), &port])),
        Some(parser::Host::Name(name)) => {
            let mut lower = SmallVec::<[u8; 64]>::from_slice(name);
            lower.make_ascii_lowercase();
            low_half(mac.sign(Purpose::NextHop, &[&lower, &port]))
        }
        _ => low_half(mac.sign(Purpose::NextHop, &[uri.as_bytes()])),
    }
}

/// The address that a URI names, if it names no host.
pub(crate) fn literal(uri: &SipUri<'_>) -> Option<std::net::SocketAddr> {
    Some(std::net::SocketAddr::new(host_of(uri)?.ip()?, port_of(uri)))
}

fn host_of<'a>(uri: &SipUri<'a>) -> Option<parser::Host<'a>> {
    match uri.maddr() {
        Some(maddr) => parser::Host::parse(maddr).ok(),
        None => Some(uri.host),
    }
}

fn port_of(uri: &SipUri<'_>) -> u16 {
    let default = if uri.secure { parser::Transport::Tls } else { parser::Transport::Udp };
    uri.port.unwrap_or_else(|| uri.transport().unwrap_or(default).default_port())
}

/// A user of ours as From or To names it, as a hash.
pub(crate) fn identity(aor: &Aor, mac: &Mac) -> u32 {
    low_half(mac.sign(Purpose::Identity, &[aor.as_bytes()]))
}

/// Enough where the hash stands in a token, which nobody else can make: to guess one, a request for each try is needed.
const fn low_half(hash: u64) -> u32 {
    (hash & u32::MAX as u64) as u32
}

/// False if there is none, or one that is too long.
fn write_user(octets: &mut impl Extend<u8>, user: Option<&Aor>, domain: &[u8]) -> bool {
    let Some(user) = user else { return false };
    let text = if user.domain() == domain { user.user() } else { user.as_bytes() };
    let length = u8::try_from(text.len()).ok().filter(|length| usize::from(*length) <= LONGEST_USER);
    let Some(length) = length else { return false };
    // RFC 3261 25.1: an `@` in a user part is escaped, but AoRs are not; the first octet tells both forms apart.
    let foreign = if user.domain() == domain { 0 } else { OTHER_DOMAIN };
    octets.extend([length | foreign]);
    octets.extend(text.iter().copied());
    true
}

/// Bit of a user's length: its domain follows it.
const OTHER_DOMAIN: u8 = 128;

fn read_user<'a>(octets: &'a [u8], is_there: bool, domain: &[u8]) -> Option<(Option<Aor>, &'a [u8])> {
    if !is_there {
        return Some((None, octets));
    }
    let (&length, rest) = octets.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(length & !OTHER_DOMAIN))?;
    let aor = if length & OTHER_DOMAIN == 0 {
        Aor::new(text, domain)
    } else {
        let at = text.iter().rposition(|&octet| octet == b'@')?;
        Aor::new(text.get(..at)?, text.get(at + 1..)?)
    };
    Some((Some(aor), rest))
}

fn read_number(octets: &[u8], is_there: bool) -> Option<(Option<u32>, &[u8])> {
    if !is_there {
        return Some((None, octets));
    }
    let (number, rest) = octets.split_first_chunk()?;
    Some((Some(u32::from_be_bytes(*number)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac::new([1; 16]);
    const ID: DialogId<'_> = DialogId { call_id: b"1@192.0.2.7", caller_tag: b"a1" };
    const DOMAIN: &[u8] = b"office.example";

    fn side(remote: &str, connection: u64, user: Option<&str>, identity: Option<u32>) -> Side {
        let aor = |user: &str| match user.split_once('@') {
            Some((user, domain)) => Aor::new(user.as_bytes(), domain.as_bytes()),
            None => Aor::new(user.as_bytes(), DOMAIN),
        };
        let peer = Peer { listener: 1, remote: remote.parse().unwrap(), connection };
        Side { peer, only_flow: connection != 0, user: user.map(aor), identity }
    }

    fn tokens() -> Vec<DialogToken> {
        let target = |of_callee| Some(Target { of_callee, next_hop: 0x0102_0304 });
        let long = format!("{}@shop.example", "x".repeat(LONGEST_USER - 13));
        vec![
            DialogToken {
                caller: side("192.0.2.7:5060", 0, Some("alice"), None),
                callee: side("192.0.2.8:5060", 0, Some("bob"), None),
                target: None,
            },
            DialogToken {
                caller: side("192.0.2.7:5060", 0, None, None),
                callee: side("[2001:db8::8]:49152", u64::MAX, Some("bob"), Some(7)),
                target: target(false),
            },
            DialogToken {
                caller: side("[2001:db8::8]:1", 1, Some(&long), Some(8)),
                callee: side("[2001:db8::9]:2", 2, Some(&long), Some(9)),
                target: target(true),
            },
        ]
    }

    fn text(token: &DialogToken) -> Vec<u8> {
        token.text(ID, DOMAIN, &MAC).to_vec()
    }

    #[test]
    fn what_is_written_is_read() {
        for token in tokens() {
            let text = text(&token);
            assert!(
                text.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(octet)),
                "fit for a user part"
            );
            assert_eq!(DialogToken::read(&text, ID, DOMAIN, &MAC), Some(token.clone()));
            let in_request = |tags| DialogToken::read_in_request(&text, ID.call_id, tags, DOMAIN, &MAC);
            assert_eq!(in_request((b"a1", b"b2")), Some((token.clone(), true)));
            assert_eq!(in_request((b"b2", b"a1")), Some((token, false)));
            assert_eq!(in_request((b"b2", b"c3")), None);
        }
        let usual = text(&tokens()[0]);
        assert!(usual.len() <= 56, "{} octets", usual.len());
    }

    #[test]
    fn a_token_of_another_dialog_or_with_anything_changed_does_not_verify() {
        for token in tokens() {
            let text = text(&token);
            for id in [DialogId { call_id: b"2@192.0.2.7", ..ID }, DialogId { caller_tag: b"a2", ..ID }] {
                assert_eq!(DialogToken::read(&text, id, DOMAIN, &MAC), None);
            }
            assert_eq!(DialogToken::read(&text, ID, DOMAIN, &Mac::new([2; 16])), None);
            for at in 0..text.len() {
                for octet in *b"Aa0_" {
                    let mut forged = text.clone();
                    forged[at] = octet;
                    let read = DialogToken::read(&forged, ID, DOMAIN, &MAC);
                    assert!(read.is_none() || forged == text, "octet {at} is not covered");
                }
                assert_eq!(DialogToken::read(&text[..at], ID, DOMAIN, &MAC), None);
            }
        }
    }

    #[test]
    fn a_next_hop_is_host_and_port() {
        let uri = |text: &'static str| *parser::Uri::parse(text.as_bytes()).unwrap().sip().unwrap();
        let hop = |text| next_hop(&uri(text), &MAC);
        assert_eq!(hop("sip:a@GW.example"), hop("sip:b@gw.EXAMPLE:5060;transport=tcp"));
        assert_eq!(hop("sip:a@192.0.2.7"), hop("sip:x.example;maddr=192.0.2.7"));
        assert_ne!(hop("sip:a@192.0.2.7"), hop("sip:a@192.0.2.7:5061"));
        assert_ne!(hop("sip:a@192.0.2.7"), hop("sip:a@192.0.2.8"));
        assert_eq!(literal(&uri("sips:192.0.2.7")), Some("192.0.2.7:5061".parse().unwrap()));
        assert_eq!(literal(&uri("sip:a@gw.example")), None);
    }
}
