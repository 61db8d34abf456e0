//! The dialog token: what the user part of our Record-Route value says about the dialog. Only this server can write it.
//! RFC 3261 16.6 step 4 permits such a user part, so that a proxy needs no dialog state.
//!
//! ```text
//! token [ "." mark:12 ]
//! base64url( version mac:8 flags checksum caller-peer callee-peer [target:4]
//!            [user [phone:4]] [user [phone:4]] [identity:4] [identity:4]
//!            [number:4 trunk:4] [trunk:4] )
//! ```
//!
//! The MAC covers all other octets, the Call-ID and the tag of the caller. So a token that was changed, or copied into
//! another call, is not valid. The checksum of the caller's tag tells whether the caller or the callee sent a request,
//! so that one MAC is computed instead of two; the MAC then proves it.
//!
//! The last two parts are the renumberings of the caller and of the callee (`renumbering.rs`); the version tells which of
//! them a token has. The tag of the callee is not known when a token is written. The mark (`mark.rs`) adds it later. Must
//! not decide what a token permits; that is done by `in_dialog.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smallvec::SmallVec;

use super::user::{MAX_USER, Octets, User, read_number};
use crate::mac::{Mac, Purpose};
use crate::peer::Peer;
use crate::renumbering::Renumbering;

/// Tokens of another version are not valid. After an update, requests in older calls need credentials, as after a
/// change of the keys.
const VERSION: u8 = 3;

/// The versions of tokens with a renumbering of the caller, of the callee, and of both. The MAC does not cover the
/// version, but the octets of a token are of one version only: each has another number of octets behind those that the
/// flags tell of.
const RENUMBERED: [u8; 3] = [VERSION + OF_CALLER, VERSION + OF_CALLEE, VERSION + OF_CALLER + OF_CALLEE];

/// The parts of a version above [`VERSION`].
const OF_CALLER: u8 = 1;
const OF_CALLEE: u8 = 2;

/// Octets that the MAC does not cover: version and MAC.
const HEAD: usize = 9;

/// The length of these in base64.
pub(super) const HEAD_TEXT: usize = HEAD / 3 * 4;

/// Octets before the peers: version, MAC, flags and checksum.
const START: usize = HEAD + 2;

/// The most octets of a peer ([`Peer::write_octets`]).
const MAX_PEER: usize = 52;

/// The most octets of a token: two IPv6 peers with connections at nodes, two users, and all other parts.
pub(super) const MAX_TOKEN: usize = START + 2 * MAX_PEER + 4 + 2 * (1 + MAX_USER + 4) + 2 * 4 + 3 * 4;

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

/// The content of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DialogToken {
    /// The side that sent the request that created the dialog.
    pub(crate) caller: Side,
    /// The other side.
    pub(crate) callee: Side,
    /// The next hop of requests to one of the sides, if that is not its peer.
    pub(crate) target: Option<Target>,
}

/// One side of a dialog, as it was when the dialog was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// The peer that its request came from, or that the request was sent to.
    pub(crate) peer: Peer,
    /// Whether it is reached over this flow only, and not at the address in its Contact.
    pub(crate) only_flow: bool,
    /// The local user that it belongs to.
    pub(crate) user: Option<User>,
    /// A hash of the instance and, if known, the reg-id of the phone (RFC 5626 4). It finds the phone again after it
    /// has registered over another flow, so it is set only for a phone that is reached over its flow.
    pub(crate) phone: Option<u32>,
    /// A hash of the local user in From or To, if that is not `user`: of a group or a number that was called, for
    /// example.
    pub(crate) identity: Option<u32>,
    /// How the numbers of its requests are changed, because the other side is a trunk.
    pub(crate) renumbering: Option<Renumbering>,
}

/// The next hop of requests to one side, as a hash. It is the Contact of that side, or the Record-Route value next to
/// ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Whether it is the next hop to the callee.
    pub(crate) of_callee: bool,
    pub(crate) next_hop: u32,
}

/// The Call-ID and the tag of the caller, which a token is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DialogId<'a> {
    pub(crate) call_id: &'a [u8],
    pub(crate) caller_tag: &'a [u8],
}

/// A token as text: the user part of a Record-Route value, without the mark.
pub(crate) type TokenText = SmallVec<[u8; 128]>;

impl DialogToken {
    /// Writes and signs the token.
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
        let of_sides = [(self.caller.renumbering, OF_CALLER), (self.callee.renumbering, OF_CALLEE)];
        let mut version = VERSION;
        for (renumbering, part) in of_sides.into_iter().filter_map(|(it, part)| Some((it?, part))) {
            octets.extend(renumbering.octets());
            version += part;
        }
        if let Some([head @ .., of_flags, of_checksum]) = octets.first_chunk_mut::<START>() {
            (*of_flags, *of_checksum) = (flags, checksum(id.caller_tag));
            head[0] = version;
        }
        let signature = signature(id, octets.get(HEAD..).unwrap_or_default(), mac);
        octets.iter_mut().skip(1).zip(signature).for_each(|(octet, value)| *octet = value);
        let mut text = TokenText::from_elem(0, octets.len().div_ceil(3) * 4);
        let length = URL_SAFE_NO_PAD.encode_slice(&octets, &mut text);
        text.truncate(length.unwrap_or_default());
        text
    }

    fn parse(version: u8, flags: u8, octets: &[u8]) -> Option<Self> {
        let has = |bit| flags & bit != 0;
        let (caller, octets) = Peer::read_octets(octets)?;
        let (callee, octets) = Peer::read_octets(octets)?;
        let (next_hop, octets) = read_number(octets, has(flag::TARGET))?;
        let (caller_user, caller_phone, octets) = User::read(octets, has(flag::CALLER_USER))?;
        let (callee_user, callee_phone, octets) = User::read(octets, has(flag::CALLEE_USER))?;
        let (caller_identity, octets) = read_number(octets, has(flag::CALLER_IDENTITY))?;
        let (callee_identity, octets) = read_number(octets, has(flag::CALLEE_IDENTITY))?;
        let is_renumbered = |part| version.checked_sub(VERSION).is_some_and(|parts| parts & part != 0);
        let (invite, octets) = read_number(octets, is_renumbered(OF_CALLER))?;
        let (trunk, octets) = read_number(octets, is_renumbered(OF_CALLER))?;
        let of_caller = trunk.map(|trunk| Renumbering::of_token(invite, trunk));
        let (trunk, octets) = read_number(octets, is_renumbered(OF_CALLEE))?;
        let of_callee = trunk.map(Renumbering::of_callee);
        let target = next_hop.map(|next_hop| Target { of_callee: has(flag::OF_CALLEE), next_hop });
        let side = |peer, flow, (user, phone), identity, renumbering| Side {
            peer,
            only_flow: has(flow),
            user,
            phone,
            identity,
            renumbering,
        };
        octets.is_empty().then(|| Self {
            caller: side(caller, flag::CALLER_FLOW, (caller_user, caller_phone), caller_identity, of_caller),
            callee: side(callee, flag::CALLEE_FLOW, (callee_user, callee_phone), callee_identity, of_callee),
            target,
        })
    }
}

/// A token whose MAC has not been verified.
pub(super) struct UnverifiedToken<'a> {
    octets: &'a [u8],
}

impl<'a> UnverifiedToken<'a> {
    /// Decodes a token into `octets`; `None` for other text.
    pub(super) fn decode(text: &[u8], octets: &'a mut [u8; MAX_TOKEN]) -> Option<Self> {
        // The length of the text is not limited, so it is checked first.
        let longest = MAX_TOKEN.div_ceil(3) * 4;
        let text = Some(text).filter(|text| text.len() <= longest)?;
        let length = URL_SAFE_NO_PAD.decode_slice(text, octets).ok()?;
        let octets = octets.get(..length).filter(|_| length > START)?;
        let is_known = octets.first().is_some_and(|version| *version == VERSION || RENUMBERED.contains(version));
        is_known.then_some(Self { octets })
    }

    /// Whether the checksum is that of this tag: without it, verification as the caller's token is not worth a MAC.
    pub(super) fn may_be_of_caller(&self, caller_tag: &[u8]) -> bool {
        self.octets.get(HEAD + 1) == Some(&checksum(caller_tag))
    }

    /// The content, and the MAC with the key that it was signed with: its hashes were made with that key too.
    pub(super) fn find(&self, id: DialogId<'_>, mac: &Mac) -> Option<(DialogToken, Mac)> {
        let mac = self.signed_with(id, mac)?;
        Some((self.content()?, mac))
    }

    /// The MAC with the key that it was signed with; `None` if this server did not write it for this dialog.
    pub(super) fn signed_with(&self, id: DialogId<'_>, mac: &Mac) -> Option<Mac> {
        let (&[_, ref given @ ..], covered) = self.octets.split_first_chunk::<HEAD>()?;
        mac.find(|mac| (*given == signature(id, covered, mac)).then_some(*mac))
    }

    /// The content, which proves nothing by itself.
    pub(super) fn content(&self) -> Option<DialogToken> {
        let (&[version, ..], covered) = self.octets.split_first_chunk::<HEAD>()?;
        let &[flags, _, ref rest @ ..] = covered else { return None };
        DialogToken::parse(version, flags, rest)
    }
}

fn signature(id: DialogId<'_>, octets: &[u8], mac: &Mac) -> [u8; 8] {
    mac.sign(Purpose::Route, &[id.call_id, id.caller_tag, octets]).to_be_bytes()
}

/// A checksum of a tag. The two tags of a dialog may have the same one; then the MAC decides.
fn checksum(tag: &[u8]) -> u8 {
    tag.iter().fold(0, |sum: u8, octet| sum.rotate_left(3) ^ octet)
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
        let peer = Peer {
            listener: 1,
            remote: remote.parse().unwrap(),
            connection: ConnectionId::new(connection),
            node: None,
        };
        let phone = user.as_ref().and(identity).filter(|_| connection != 0);
        Side { peer, only_flow: connection != 0, user, phone, identity, renumbering: None }
    }

    fn renumbered(side: Side, renumbering: Option<Renumbering>) -> Side {
        Side { renumbering, ..side }
    }

    fn tokens() -> Vec<DialogToken> {
        let target = |of_callee| Some(Target { of_callee, next_hop: 0x0102_0304 });
        let long = format!("{}@shop.example", "x".repeat(MAX_USER - 13));
        vec![
            DialogToken {
                caller: side("192.0.2.7:5060", 0, Some("alice@office.example"), None),
                callee: side("192.0.2.8:5060", 0, Some("bob@office.example"), None),
                target: None,
            },
            DialogToken {
                caller: renumbered(side("192.0.2.7:5060", 0, None, None), Some(Renumbering::of_token(Some(57), 5))),
                callee: side("[2001:db8::8]:49152", u64::MAX, Some("bob@office.example"), Some(7)),
                target: target(false),
            },
            DialogToken {
                caller: side("192.0.2.7:5060", 0, None, None),
                callee: renumbered(
                    side("192.0.2.8:5060", 0, Some("bob@office.example"), None),
                    Some(Renumbering::of_callee(u32::MAX)),
                ),
                target: None,
            },
            DialogToken {
                caller: renumbered(
                    side("[2001:db8::8]:1", 1, Some(&long), Some(8)),
                    Some(Renumbering::of_token(Some(0), 5)),
                ),
                callee: renumbered(side("[2001:db8::9]:2", 2, Some(&long), Some(9)), Some(Renumbering::of_callee(6))),
                target: target(true),
            },
        ]
    }

    fn text(token: &DialogToken) -> TokenText {
        token.text(ID, &MAC)
    }

    fn read(text: &[u8], id: DialogId<'_>, mac: &Mac) -> Option<DialogToken> {
        UnverifiedToken::decode(text, &mut [0; MAX_TOKEN])?.find(id, mac).map(|(token, _)| token)
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        for token in tokens() {
            let text = text(&token);
            assert!(
                text.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(octet)),
                "the text may be the user part of a URI"
            );
            assert_eq!(read(&text, ID, &MAC), Some(token.clone()));
            let mut octets = [0; MAX_TOKEN];
            let unverified = UnverifiedToken::decode(&text, &mut octets).unwrap();
            assert!(unverified.may_be_of_caller(b"a1") && !unverified.may_be_of_caller(b"b2"));
        }
        let usual = text(&tokens()[0]);
        assert!(usual.len() <= 56, "{} octets", usual.len());
    }

    #[test]
    fn a_changed_token_or_one_of_another_dialog_is_not_valid() {
        for token in tokens() {
            let text = text(&token);
            for id in [DialogId { call_id: b"2@192.0.2.7", ..ID }, DialogId { caller_tag: b"a2", ..ID }] {
                assert_eq!(read(&text, id, &MAC), None);
            }
            assert_eq!(read(&text, ID, &Mac::new([2; 16])), None);
            let octets = URL_SAFE_NO_PAD.decode(&text).unwrap();
            for version in 0..=u8::MAX {
                let mut forged = octets.clone();
                forged[0] = version;
                let forged = URL_SAFE_NO_PAD.encode(&forged);
                assert!(read(forged.as_bytes(), ID, &MAC).is_none() || version == octets[0], "version {version}");
            }
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
}
