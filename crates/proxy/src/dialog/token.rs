//! The dialog token: what our Record-Route value says of a dialog, as text that only this server can make (RFC 3261 16.6
//! step 4 lets a proxy put what it needs into that value, so that it keeps no dialog state).
//!
//! ```text
//! token [ "." mark:12 ]
//! base64url( version mac:8 flags hint caller-peer callee-peer [target:4] [user [phone:4]] [user [phone:4]] [identity:4] [identity:4] )
//! ```
//!
//! The MAC covers all other octets, the Call-ID and the tag of the caller: a token taken into another call, or with
//! anything in it changed, does not verify. The hint is a checksum of the caller's tag, so that one MAC is computed and not
//! two: it tells whether the caller or the callee sends a request, and the MAC confirms it.
//!
//! The callee's tag is not known when a token is made. The mark, which a response gets on its way to the caller, is a MAC of
//! it: a caller that made its own call with the identifiers of somebody else's cannot go on with the other's tag. Must not
//! decide what a token permits: that is `in_dialog.rs`.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use location::Aor;
use parser::{read_hex, write_hex};
use smallvec::SmallVec;

use crate::mac::{Mac, Purpose, octets_of};
use crate::peer::Peer;

/// Tokens of another form do not verify; calls that were set up with them lose their fast way, as after new keys.
const VERSION: u8 = 3;

/// Octets before those that the MAC covers: version and MAC.
const HEAD: usize = 9;

/// The length of these as text.
const HEAD_TEXT: usize = HEAD / 3 * 4;

/// Octets before the peers: flags and hint too.
const START: usize = HEAD + 2;

/// Octets of a peer at most, see [`Peer::write_octets`].
const LONGEST_PEER: usize = 28;

/// The longest user that is put into a token. Without its user a side proves itself by its address or by credentials.
const LONGEST_USER: usize = 63;

/// Octets of the longest token: two IPv6 peers with connections, two users, everything else.
const LONGEST: usize = START + 2 * LONGEST_PEER + 4 + 2 * (1 + LONGEST_USER + 4) + 2 * 4;

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
    pub(crate) user: Option<User>,
    /// Which phone of that user it is, as a hash of its instance, and of its reg-id where that is known
    /// (RFC 5626 4): for a phone that is reached over a flow, and
    /// may have another one later.
    pub(crate) phone: Option<u32>,
    /// The user of ours that it is called in From and To, as a hash, where that is another than `user`: a group, a number.
    pub(crate) identity: Option<u32>,
}

/// A user of ours: the user part, unescaped, and the domain where that is not the first of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    text: SmallVec<[u8; 24]>,
    has_domain: bool,
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

/// A token as text: the user part of a Record-Route value.
pub(crate) type TokenText = SmallVec<[u8; 128]>;

impl User {
    /// `user` of `domain`; `first` is the first domain of ours. `None` if the name is too long for a token.
    pub(crate) fn new(user: &[u8], domain: &[u8], first: &[u8]) -> Option<Self> {
        let has_domain = domain != first;
        let mut text = SmallVec::from_slice(user);
        if has_domain {
            text.push(b'@');
            text.extend_from_slice(domain);
        }
        (text.len() <= LONGEST_USER).then_some(Self { text, has_domain })
    }

    /// The user whose address of record this is.
    pub(crate) fn of_aor(aor: &[u8], first: &[u8]) -> Option<Self> {
        let at = aor.iter().rposition(|&octet| octet == b'@')?;
        Self::new(aor.get(..at)?, aor.get(at + 1..)?, first)
    }

    /// As it stands in a token.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn aor(&self, first: &[u8]) -> Aor {
        if !self.has_domain {
            return Aor::new(&self.text, first);
        }
        // An AoR is not escaped: its user may hold an `@`, its domain cannot.
        let at = self.text.iter().rposition(|&octet| octet == b'@').unwrap_or_default();
        let (user, domain) = self.text.split_at_checked(at).unwrap_or_default();
        Aor::new(user, domain.get(1..).unwrap_or_default())
    }

    /// Whether a URI is, octet by octet, the usual way to write this user: `sip:user@domain`. False says nothing.
    pub(crate) fn is_written(&self, uri: &[u8], first: &[u8]) -> bool {
        let user = uri.strip_prefix(b"sip:").and_then(|rest| rest.strip_prefix(&*self.text));
        !self.has_domain && user.and_then(|rest| rest.strip_prefix(b"@")).is_some_and(|domain| domain == first)
    }

    /// Reads a user and its phone.
    fn read(octets: &[u8], is_there: bool) -> Option<(Option<Self>, Option<u32>, &[u8])> {
        if !is_there {
            return Some((None, None, octets));
        }
        let (&length, rest) = octets.split_first()?;
        let (text, rest) = rest.split_at_checked(usize::from(length & !(OTHER_DOMAIN | PHONE)))?;
        let (phone, rest) = read_number(rest, length & PHONE != 0)?;
        let user = Self { text: SmallVec::from_slice(text), has_domain: length & OTHER_DOMAIN != 0 };
        Some((Some(user), phone, rest))
    }

    fn write(&self, phone: Option<u32>, octets: &mut Octets) {
        // It is at most LONGEST_USER octets long.
        let length = u8::try_from(self.text.len()).unwrap_or_default();
        let (domain, flow) = (if self.has_domain { OTHER_DOMAIN } else { 0 }, if phone.is_some() { PHONE } else { 0 });
        octets.push(length | domain | flow);
        octets.extend_from_slice(&self.text);
        if let Some(phone) = phone {
            octets.extend_from_slice(&phone.to_be_bytes());
        }
    }
}

/// Bit of a user's length: its domain follows it.
const OTHER_DOMAIN: u8 = 128;

/// Bit of a user's length: which of its phones it is follows it.
const PHONE: u8 = 64;

type Octets = SmallVec<[u8; 128]>;

impl DialogToken {
    /// The token of a dialog as text.
    pub(crate) fn text(&self, id: DialogId<'_>, mac: &Mac) -> TokenText {
        let mut octets = Octets::from_slice(&[0; START]);
        self.caller.peer.write_octets(&mut octets);
        self.callee.peer.write_octets(&mut octets);
        let mut flags = 0;
        if let Some(target) = self.target {
            flags |= flag::TARGET | if target.of_callee { flag::OF_CALLEE } else { 0 };
            octets.extend_from_slice(&target.next_hop.to_be_bytes());
        }
        flags |= if self.caller.only_flow { flag::CALLER_FLOW } else { 0 };
        flags |= if self.callee.only_flow { flag::CALLEE_FLOW } else { 0 };
        for (side, bit) in [(&self.caller, flag::CALLER_USER), (&self.callee, flag::CALLEE_USER)] {
            if let Some(user) = &side.user {
                user.write(side.phone, &mut octets);
                flags |= bit;
            }
        }
        for (side, bit) in [(&self.caller, flag::CALLER_IDENTITY), (&self.callee, flag::CALLEE_IDENTITY)] {
            if let Some(identity) = side.identity {
                octets.extend_from_slice(&identity.to_be_bytes());
                flags |= bit;
            }
        }
        if let Some([head @ .., of_flags, of_hint]) = octets.first_chunk_mut::<START>() {
            (*of_flags, *of_hint) = (flags, hint(id.caller_tag));
            head[0] = VERSION;
        }
        let signature = signature(id, octets.get(HEAD..).unwrap_or_default(), mac);
        octets.iter_mut().skip(1).zip(signature).for_each(|(octet, value)| *octet = value);
        let mut text = TokenText::from_elem(0, octets.len().div_ceil(3) * 4);
        let length = URL_SAFE_NO_PAD.encode_slice(&octets, &mut text);
        text.truncate(length.unwrap_or_default());
        text
    }

    fn parse(flags: u8, octets: &[u8]) -> Option<Self> {
        let has = |bit| flags & bit != 0;
        let (caller, octets) = Peer::read_octets(octets)?;
        let (callee, octets) = Peer::read_octets(octets)?;
        let (next_hop, octets) = read_number(octets, has(flag::TARGET))?;
        let (caller_user, caller_phone, octets) = User::read(octets, has(flag::CALLER_USER))?;
        let (callee_user, callee_phone, octets) = User::read(octets, has(flag::CALLEE_USER))?;
        let (caller_identity, octets) = read_number(octets, has(flag::CALLER_IDENTITY))?;
        let (callee_identity, octets) = read_number(octets, has(flag::CALLEE_IDENTITY))?;
        let side = |peer, flow, (user, phone), identity| Side { peer, only_flow: has(flow), user, phone, identity };
        octets.is_empty().then(|| Self {
            caller: side(caller, flag::CALLER_FLOW, (caller_user, caller_phone), caller_identity),
            callee: side(callee, flag::CALLEE_FLOW, (callee_user, callee_phone), callee_identity),
            target: next_hop.map(|next_hop| Target { of_callee: has(flag::OF_CALLEE), next_hop }),
        })
    }
}

/// The user part of a Record-Route value of ours: the token, and the mark of the callee's tag if it has one.
pub(super) fn split_mark(user: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'.', user) {
        Some(at) => (user.get(..at).unwrap_or_default(), user.get(at + 1..)),
        None => (user, None),
    }
}

/// Appends the mark of a token for the dialog with this callee: its tag, and where it was reached.
pub(super) fn write_mark(out: &mut Vec<u8>, token: &[u8], callee: (&[u8], SocketAddr), mac: &Mac) {
    out.push(b'.');
    write_hex(out, mark(token, callee, mac), MARK_DIGITS);
}

/// Whether a mark is that of a token for the dialog with this callee.
pub(super) fn is_mark(text: Option<&[u8]>, token: &[u8], callee: (&[u8], SocketAddr), mac: &Mac) -> bool {
    let given = text.filter(|text| text.len() == MARK_DIGITS).and_then(read_hex);
    given == Some(mark(token, callee, mac))
}

/// Hexadecimal digits of a mark.
const MARK_DIGITS: usize = 12;

/// It covers the MAC of the token, and so what that covers. And the place: of a request that went to several phones, one phone
/// could answer with the token of another, and have that one's marked with a tag of its choice.
fn mark(token: &[u8], (tag, address): (&[u8], SocketAddr), mac: &Mac) -> u64 {
    let head = token.get(..HEAD_TEXT.min(token.len())).unwrap_or_default();
    let parts = [head, tag, &octets_of(address.ip()), &address.port().to_be_bytes()];
    mac.sign(Purpose::Answer, &parts) >> (64 - 4 * MARK_DIGITS)
}

/// A token whose signature is still to be checked.
pub(super) struct Sealed {
    octets: [u8; LONGEST],
    length: usize,
}

impl Sealed {
    /// `None` for text that is no token.
    pub(super) fn decode(text: &[u8]) -> Option<Self> {
        let mut octets = [0; LONGEST];
        // Longer text than a token can have is refused before it is decoded.
        let longest = LONGEST.div_ceil(3) * 4;
        let text = Some(text).filter(|text| text.len() <= longest)?;
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut octets).ok()?;
        (length > START && octets.first() == Some(&VERSION)).then_some(Self { octets, length })
    }

    /// Whether it seems to be of a dialog that the sender of this tag made.
    pub(super) fn seems_made_with(&self, caller_tag: &[u8]) -> bool {
        self.octets.get(HEAD + 1) == Some(&hint(caller_tag))
    }

    /// What it says; `None` if it was not made here, or for another dialog.
    pub(super) fn open(&self, id: DialogId<'_>, mac: &Mac) -> Option<DialogToken> {
        let (&[_, ref given @ ..], covered) = self.octets.get(..self.length)?.split_first_chunk::<HEAD>()?;
        let &[flags, _, ref rest @ ..] = covered else { return None };
        (*given == signature(id, covered, mac)).then(|| DialogToken::parse(flags, rest))?
    }
}

fn signature(id: DialogId<'_>, octets: &[u8], mac: &Mac) -> [u8; 8] {
    mac.sign(Purpose::Route, &[id.call_id, id.caller_tag, octets]).to_be_bytes()
}

/// A checksum of a tag. Two tags of one dialog have the same now and then; then the MAC decides.
fn hint(tag: &[u8]) -> u8 {
    tag.iter().fold(0, |sum: u8, octet| sum.rotate_left(3) ^ octet)
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
    use location::ConnectionId;

    use super::*;

    const MAC: Mac = Mac::new([1; 16]);
    const ID: DialogId<'_> = DialogId { call_id: b"1@192.0.2.7", caller_tag: b"a1" };
    const FIRST: &[u8] = b"office.example";

    fn side(remote: &str, connection: u64, user: Option<&str>, identity: Option<u32>) -> Side {
        let user = user.map(|aor| User::of_aor(aor.as_bytes(), FIRST).unwrap());
        let peer = Peer { listener: 1, remote: remote.parse().unwrap(), connection: ConnectionId::new(connection) };
        let phone = user.as_ref().and(identity).filter(|_| connection != 0);
        Side { peer, only_flow: connection != 0, user, phone, identity }
    }

    fn tokens() -> Vec<DialogToken> {
        let target = |of_callee| Some(Target { of_callee, next_hop: 0x0102_0304 });
        let long = format!("{}@shop.example", "x".repeat(LONGEST_USER - 13));
        vec![
            DialogToken {
                caller: side("192.0.2.7:5060", 0, Some("alice@office.example"), None),
                callee: side("192.0.2.8:5060", 0, Some("bob@office.example"), None),
                target: None,
            },
            DialogToken {
                caller: side("192.0.2.7:5060", 0, None, None),
                callee: side("[2001:db8::8]:49152", u64::MAX, Some("bob@office.example"), Some(7)),
                target: target(false),
            },
            DialogToken {
                caller: side("[2001:db8::8]:1", 1, Some(&long), Some(8)),
                callee: side("[2001:db8::9]:2", 2, Some(&long), Some(9)),
                target: target(true),
            },
        ]
    }

    fn text(token: &DialogToken) -> TokenText {
        token.text(ID, &MAC)
    }

    fn read(text: &[u8], id: DialogId<'_>, mac: &Mac) -> Option<DialogToken> {
        Sealed::decode(text)?.open(id, mac)
    }

    #[test]
    fn what_is_written_is_read() {
        for token in tokens() {
            let text = text(&token);
            assert!(
                text.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(octet)),
                "fit for a user part"
            );
            assert_eq!(read(&text, ID, &MAC), Some(token.clone()));
            let sealed = Sealed::decode(&text).unwrap();
            assert!(sealed.seems_made_with(b"a1") && !sealed.seems_made_with(b"b2"));
        }
        let usual = text(&tokens()[0]);
        assert!(usual.len() <= 56, "{} octets", usual.len());
    }

    #[test]
    fn a_token_of_another_dialog_or_with_anything_changed_does_not_verify() {
        for token in tokens() {
            let text = text(&token);
            for id in [DialogId { call_id: b"2@192.0.2.7", ..ID }, DialogId { caller_tag: b"a2", ..ID }] {
                assert_eq!(read(&text, id, &MAC), None);
            }
            assert_eq!(read(&text, ID, &Mac::new([2; 16])), None);
            for at in 0..text.len() {
                for octet in *b"Aa0_" {
                    let mut forged = text.clone();
                    forged[at] = octet;
                    assert!(read(&forged, ID, &MAC).is_none() || forged == text, "octet {at} is not covered");
                }
                assert_eq!(read(&text[..at], ID, &MAC), None);
            }
        }
    }

    #[test]
    fn a_mark_is_of_one_token_one_tag_and_one_place() {
        let token = text(&tokens()[0]);
        let place: SocketAddr = "192.0.2.11:5060".parse().unwrap();
        let mut user = token.to_vec();
        assert_eq!(split_mark(&user), (&token[..], None));
        write_mark(&mut user, &token, (b"b2", place), &MAC);
        let (split, mark) = split_mark(&user);
        assert_eq!(split, &token[..]);
        let is = |mark, token: &[u8], tag: &[u8], place| is_mark(mark, token, (tag, place), &MAC);
        assert!(is(mark, &token, b"b2", place));
        assert!(!is(mark, &token, b"b3", place) && !is(mark, b"other", b"b2", place));
        assert!(!is(mark, &token, b"b2", "192.0.2.11:5061".parse().unwrap()));
        assert!(!is(None, &token, b"b2", place) && !is(Some(b""), &token, b"b2", place));
    }

    #[test]
    fn users_have_their_domain_where_it_is_not_the_first() {
        for aor in ["alice@office.example", "a@b@office.example", "alice@shop.example", "a@b@shop.example"] {
            let user = User::of_aor(aor.as_bytes(), FIRST).unwrap();
            assert_eq!(user.aor(FIRST).as_bytes(), aor.as_bytes());
        }
        let alice = User::new(b"alice", FIRST, FIRST).unwrap();
        assert!(alice.is_written(b"sip:alice@office.example", FIRST));
        for other in ["sip:alice@office.example:5060", "sip:alice@office.example2", "sip:alic@office.example", "sips:"]
        {
            assert!(!alice.is_written(other.as_bytes(), FIRST), "{other}");
        }
        assert_eq!(User::new(&[b'x'; LONGEST_USER + 1], FIRST, FIRST), None);
    }
}
