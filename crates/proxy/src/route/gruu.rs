//! GRUUs: URIs that lead to one phone of a user (RFC 5627). The registrar issues them, and routing reads them.
//!
//! A GRUU contains all that is needed to find its phone, so no table is needed, and GRUUs stay valid after a restart:
//! - A public GRUU is the AoR with the parameter `gr`: the instance and a keyed hash of AoR and instance. It is
//!   recognised whether or not the phone is registered (5.4).
//! - The user part of a temporary GRUU is encrypted: the user, a hash of the instance, and the time of issue. The
//!   encryption (AES-SIV, RFC 5297) is deterministic but looks random. So the core needs no random numbers, two GRUUs
//!   cannot be related to each other (3.1.2), and a retransmitted REGISTER gets the same GRUU. It is valid if since its
//!   issue the phone has been registered with one Call-ID (5.1).

use std::net::SocketAddr;

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes128Siv;
use location::{Aor, Binding, Record, Wall};
use parser::{SipUri, Uri, read_hex, unescape, write_decimal, write_hex};

use crate::mac::{Mac, Purpose};
use crate::reject::Reject;
use crate::settings::Keys;

/// Issues and reads GRUUs.
#[derive(Clone, Copy)]
pub(crate) struct Gruus {
    key: [u8; 32],
    /// The key before the last change.
    previous: Option<[u8; 32]>,
    mac: Mac,
}

/// The user, or the phone of the user, that a local Request-URI names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Callee {
    pub(crate) aor: Aor,
    /// One phone; `None` for all phones of the user.
    pub(crate) phone: Option<OnePhone>,
}

/// One phone of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnePhone {
    /// That of a GRUU.
    Gruu(Phone),
    /// That at this address, or the others of the user if no binding has it.
    At(SocketAddr),
}

/// The phone that a GRUU names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Phone {
    /// Keyed hash of AoR and instance.
    instance: u64,
    /// The time of issue, if it is a temporary GRUU.
    issued: Option<Wall>,
}

/// Begins the user part of a temporary GRUU, as in RFC 5627 appendix A, so that readers of a log can recognise it.
const TEMPORARY_PREFIX: &[u8] = b"tgruu.";

/// The plain text is padded to a multiple of this, so that the length does not identify the user.
const BLOCK: usize = 32;

impl Gruus {
    /// `keys` encrypt temporary GRUUs, `mac` signs public ones.
    /// GRUUs of the keys before the last change are valid too.
    pub(crate) fn new(keys: &Keys, mac: Mac) -> Self {
        Self { key: keys.gruu, previous: keys.previous.as_ref().map(|previous| previous.gruu), mac }
    }

    /// Writes the public GRUU of a phone (5.4): the URI in To, with the parameter `gr`.
    pub(crate) fn write_public(&self, out: &mut Vec<u8>, to: &SipUri<'_>, aor: &Aor, instance: &[u8]) {
        write_address(out, to, to.user.unwrap_or_default());
        out.extend_from_slice(b"=");
        write_param(out, without_brackets(instance));
        out.push(b'.');
        write_hex(out, self.hash(aor, instance), 16);
    }

    /// Writes the temporary GRUU that was issued at this time. Returns false if the user name is longer than 255
    /// octets.
    pub(crate) fn write_temporary(
        &self,
        out: &mut Vec<u8>,
        to: &SipUri<'_>,
        aor: &Aor,
        instance: &[u8],
        issued: Wall,
    ) -> bool {
        let Ok(length) = u8::try_from(aor.user().len()) else { return false };
        let mut content = issued.millis().to_be_bytes().to_vec();
        content.extend_from_slice(&self.hash(aor, instance).to_be_bytes());
        content.push(length);
        content.extend_from_slice(aor.user());
        content.resize(content.len().next_multiple_of(BLOCK), 0);
        let Ok(sealed) = Self::cipher(&self.key).encrypt([aor.domain()], &content) else { return false };
        let mut user = TEMPORARY_PREFIX.to_vec();
        for part in sealed.as_chunks().0 {
            write_hex(&mut user, u64::from_be_bytes(*part), 16);
        }
        write_address(out, to, &user);
        true
    }

    /// Reads a GRUU that has `name` as its user and domain. [`Reject::NotFound`] if this server did not issue it (6.1).
    pub(crate) fn read(&self, uri: &[u8], name: Aor) -> Result<Callee, Reject> {
        let Ok(Uri::Sip(uri)) = Uri::parse(uri) else { return Err(Reject::RequestUri) };
        let callee = match uri.param("gr").flatten() {
            Some(gr) => self.read_public(name, gr),
            None => self.read_temporary(&name),
        };
        callee.ok_or(Reject::NotFound)
    }

    /// Whether a binding is of the phone that `callee` names, and the GRUU is still valid.
    pub(crate) fn matches(&self, callee: &Callee, binding: &Binding<'_>) -> bool {
        let Some(OnePhone::Gruu(phone)) = callee.phone else { return true };
        let same = |instance| self.signed(&callee.aor, instance, phone.instance);
        binding.instance().is_some_and(same) && phone.issued.is_none_or(|issued| binding.since() <= issued)
    }

    fn read_public(&self, aor: Aor, gr: &[u8]) -> Option<Callee> {
        let gr = unescape(gr);
        let (instance, hash) = gr.split_at_checked(gr.len().checked_sub(17)?)?;
        let hash = read_hex(hash.strip_prefix(b".")?)?;
        let made_here = self.signed(&aor, instance, hash);
        made_here.then_some(Callee { aor, phone: Some(OnePhone::Gruu(Phone { instance: hash, issued: None })) })
    }

    fn read_temporary(&self, name: &Aor) -> Option<Callee> {
        let digits = name.user().strip_prefix(TEMPORARY_PREFIX)?;
        let mut sealed = Vec::with_capacity(digits.len() / 2);
        for part in digits.chunks(16) {
            sealed.extend_from_slice(&read_hex(part).filter(|_| part.len() == 16)?.to_be_bytes());
        }
        let open = |key: &[u8; 32]| Self::cipher(key).decrypt([name.domain()], &sealed).ok();
        let content = open(&self.key).or_else(|| open(self.previous.as_ref()?))?;
        let (issued, rest) = content.split_first_chunk()?;
        let (instance, rest) = rest.split_first_chunk()?;
        let (length, user) = rest.split_first()?;
        let phone = Phone { instance: u64::from_be_bytes(*instance), issued: Some(Wall(u64::from_be_bytes(*issued))) };
        let aor = Aor::new(user.get(..usize::from(*length))?, name.domain());
        Some(Callee { aor, phone: Some(OnePhone::Gruu(phone)) })
    }

    fn hash(&self, aor: &Aor, instance: &[u8]) -> u64 {
        hash(aor, instance, &self.mac)
    }

    /// Whether this is the hash of AoR and instance, with the current key or the previous one.
    fn signed(&self, aor: &Aor, instance: &[u8], given: u64) -> bool {
        self.mac.find(|mac| (hash(aor, instance, mac) == given).then_some(())).is_some()
    }

    fn cipher(key: &[u8; 32]) -> Aes128Siv {
        Aes128Siv::new(&(*key).into())
    }
}

impl Callee {
    /// All phones of this user.
    pub(crate) const fn user(aor: Aor) -> Self {
        Self { aor, phone: None }
    }

    /// The phone of this user at this address.
    pub(crate) const fn phone_at(aor: Aor, address: SocketAddr) -> Self {
        Self { aor, phone: Some(OnePhone::At(address)) }
    }

    /// Whether it is a temporary GRUU. If one matches no binding, it is invalid for ever (5.3), while a public GRUU is
    /// valid again when its phone registers.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self.phone, Some(OnePhone::Gruu(Phone { issued: Some(_), .. })))
    }
}

fn hash(aor: &Aor, instance: &[u8], mac: &Mac) -> u64 {
    mac.sign(Purpose::Gruu, &[aor.as_bytes(), without_brackets(instance)])
}

/// When the newest temporary GRUU of a phone was issued (5.2): at the last refresh of its registration.
pub(crate) fn last_issue(record: &Record, instance: &[u8], now: Wall) -> Option<Wall> {
    let phone = record.live(now).filter(|binding| binding.instance() == Some(instance));
    phone.map(|binding| binding.registered_at().max(binding.since())).max()
}

/// Writes `scheme:user@host[:port];gr`, where all but the user is taken from `to`.
fn write_address(out: &mut Vec<u8>, to: &SipUri<'_>, user: &[u8]) {
    out.extend_from_slice(if to.secure { b"sips:" } else { b"sip:" });
    out.extend_from_slice(user);
    out.push(b'@');
    to.host.write(out);
    if let Some(port) = to.port {
        out.push(b':');
        write_decimal(out, port);
    }
    out.extend_from_slice(b";gr");
}

/// An instance without its angle brackets (RFC 5626 4.1), which are not allowed in a URI.
fn without_brackets(instance: &[u8]) -> &[u8] {
    instance.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")).unwrap_or(instance)
}

/// Writes a parameter value with the escapes of RFC 3261 25.1 `pvalue`.
fn write_param(out: &mut Vec<u8>, value: &[u8]) {
    for &octet in value {
        if octet.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$".contains(&octet) {
            out.push(octet);
        } else {
            out.push(b'%');
            write_hex(out, octet, 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use parser::Uri;

    use super::*;

    const GRUUS: Gruus = Gruus { key: [1; 32], previous: None, mac: Mac::new([2; 16]) };

    fn to(uri: &str) -> SipUri<'_> {
        *Uri::parse(uri.as_bytes()).unwrap().sip().unwrap()
    }

    fn aor(user: &str) -> Aor {
        Aor::new(user.as_bytes(), b"office.example")
    }

    fn temporary(user: &str, issued: u64) -> String {
        let mut out = Vec::new();
        assert!(GRUUS.write_temporary(&mut out, &to("sip:x@192.0.2.1:5062"), &aor(user), b"<I>", Wall(issued)));
        String::from_utf8(out).unwrap()
    }

    /// What a URI is read as in a domain.
    fn read(uri: &str, domain: &str) -> Option<Callee> {
        GRUUS.read(uri.as_bytes(), Aor::new(&to(uri).user_unescaped(), domain.as_bytes())).ok()
    }

    #[test]
    fn a_public_gruu_contains_its_instance() {
        for (instance, shown) in [("<urn:uuid:1-2>", "urn:uuid:1-2"), ("a b.\"<;", "a%20b.%22%3c%3b"), ("", "")] {
            let mut out = Vec::new();
            GRUUS.write_public(&mut out, &to("sips:al%69ce@[2001:db8::1]"), &aor("alice"), instance.as_bytes());
            let uri = String::from_utf8(out).unwrap();
            assert!(uri.starts_with(&format!("sips:al%69ce@[2001:db8::1];gr={shown}.")), "{uri}");
            let callee = read(&uri, "office.example").unwrap();
            assert_eq!((&callee.aor, callee.is_temporary()), (&aor("alice"), false));
            assert_eq!(read(&uri, "shop.example"), None, "of another domain");
        }
    }

    // checklist 151
    #[test]
    fn temporary_gruus_cannot_be_related() {
        let [one, next, other] = [temporary("alice", 7), temporary("alice", 8), temporary("bob", 7)];
        assert!(one.ends_with("@192.0.2.1:5062;gr"), "{one}");
        assert_eq!((one.len(), one.len()), (next.len(), other.len()), "not even their length");
        let digits = |uri: &str| uri["sip:tgruu.".len()..].split('@').next().unwrap().to_owned();
        for (one, other) in [(&one, &next), (&one, &other)] {
            let (one, other) = (digits(one), digits(other));
            // One of sixteen hex digits is equal by chance.
            let same = one.bytes().zip(other.bytes()).filter(|(a, b)| a == b).count();
            assert!(same < one.len() / 4, "{one}\n{other}");
        }
        assert_eq!(temporary("alice", 7), one, "a retransmission gets the same GRUU");
        let callee = read(&one, "office.example").unwrap();
        let Some(OnePhone::Gruu(phone)) = callee.phone else { panic!("{callee:?}") };
        assert_eq!((callee.aor, phone.issued), (aor("alice"), Some(Wall(7))));
        assert_eq!(read(&one, "shop.example"), None);
    }

    #[test]
    fn a_user_name_that_is_too_long_gets_no_temporary_gruu() {
        let long = "x".repeat(255);
        assert_eq!(read(&temporary(&long, 7), "office.example").unwrap().aor, aor(&long));
        let mut out = Vec::new();
        let longer = aor(&"x".repeat(256));
        assert!(!GRUUS.write_temporary(&mut out, &to("sip:x@y"), &longer, b"<I>", Wall(7)));
        assert!(out.is_empty());
    }
}
