//! GRUUs: URIs that anybody can reach one phone of a user by (RFC 5627). Makes them for the registrar, and reads them
//! back when somebody calls one.
//!
//! Both kinds carry all that is needed to find the phone, so there is no table of them, and they outlive a restart:
//! - A public one is the AoR with `gr`: the instance and a keyed hash of both. We recognise what we made, registered now
//!   or not (5.4).
//! - A temporary one has for its user part, sealed: the user, a hash of the instance, and the moment of issue. The seal is
//!   a deterministic one (AES-SIV, RFC 5297): it needs no randomness, two GRUUs look alike in nothing (3.1.2), and a
//!   retransmitted REGISTER gets the same again. It is good while the phone has been registered under one Call-ID since
//!   that moment (5.1).

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes128Siv;
use location::{Aor, Binding, Record, Wall};
use parser::{SipUri, Uri, read_hex, unescape, write_decimal, write_hex};

use crate::mac::{Mac, Purpose};
use crate::reject::Reject;

/// Makes GRUUs and recognises them.
#[derive(Clone, Copy)]
pub(crate) struct Gruus {
    key: [u8; 32],
    mac: Mac,
}

/// Whom a Request-URI of ours names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Callee {
    pub(crate) aor: Aor,
    /// The one phone that a GRUU leads to; none: all phones of the user.
    pub(crate) phone: Option<Phone>,
}

/// One phone of a user, as a GRUU names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Phone {
    /// Keyed hash of AoR and instance.
    instance: u64,
    /// Of a temporary GRUU, when it was issued.
    issued: Option<Wall>,
}

/// RFC 5627 appendix A uses it too: for people who read logs.
const TEMPORARY: &[u8] = b"tgruu.";

/// What is sealed is padded to multiples of this, so that its length says little of the user.
const BLOCK: usize = 32;

impl Gruus {
    /// `key` seals temporary GRUUs, `mac` signs public ones; both as long-lived as GRUUs are to be.
    pub(crate) const fn new(key: [u8; 32], mac: Mac) -> Self {
        Self { key, mac }
    }

    /// The public GRUU of a phone (5.4): `to`, under which its user registers, with `gr`.
    pub(crate) fn write_public(&self, out: &mut Vec<u8>, to: &SipUri<'_>, aor: &Aor, instance: &[u8]) {
        write_address(out, to, to.user.unwrap_or_default());
        out.extend_from_slice(b"=");
        write_param(out, bare(instance));
        out.push(b'.');
        write_hex(out, self.hash(aor, instance), 16);
    }

    /// The temporary GRUU that a phone was issued at this moment. False if the user's name is longer than it can hold.
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
        let Ok(sealed) = self.seal().encrypt([aor.domain()], &content) else { return false };
        let mut user = TEMPORARY.to_vec();
        for part in sealed.as_chunks().0 {
            write_hex(&mut user, u64::from_be_bytes(*part), 16);
        }
        write_address(out, to, &user);
        true
    }

    /// Whom a GRUU means that has this name; nobody, if it was not made here (6.1).
    pub(crate) fn read(&self, uri: &[u8], name: Aor) -> Result<Callee, Reject> {
        let Ok(Uri::Sip(uri)) = Uri::parse(uri) else { return Err(Reject::RequestUri) };
        let callee = match uri.param("gr").flatten() {
            Some(gr) => self.read_public(name, gr),
            None => self.read_temporary(&name),
        };
        callee.ok_or(Reject::NotFound)
    }

    /// Whether a phone that a GRUU names is the one of this binding, and the GRUU still good.
    pub(crate) fn leads_to(&self, callee: &Callee, binding: &Binding<'_>) -> bool {
        let Some(phone) = callee.phone else { return true };
        let same = |instance| self.hash(&callee.aor, instance) == phone.instance;
        binding.instance().is_some_and(same) && phone.issued.is_none_or(|issued| binding.since() <= issued)
    }

    fn read_public(&self, aor: Aor, gr: &[u8]) -> Option<Callee> {
        let gr = unescape(gr);
        let (instance, hash) = gr.split_at_checked(gr.len().checked_sub(17)?)?;
        let hash = read_hex(hash.strip_prefix(b".")?)?;
        let made_here = hash == self.hash(&aor, instance);
        made_here.then_some(Callee { aor, phone: Some(Phone { instance: hash, issued: None }) })
    }

    fn read_temporary(&self, name: &Aor) -> Option<Callee> {
        let digits = name.user().strip_prefix(TEMPORARY)?;
        let mut sealed = Vec::with_capacity(digits.len() / 2);
        for part in digits.chunks(16) {
            sealed.extend_from_slice(&read_hex(part).filter(|_| part.len() == 16)?.to_be_bytes());
        }
        let content = self.seal().decrypt([name.domain()], &sealed).ok()?;
        let (issued, rest) = content.split_first_chunk()?;
        let (instance, rest) = rest.split_first_chunk()?;
        let (length, user) = rest.split_first()?;
        let phone = Phone { instance: u64::from_be_bytes(*instance), issued: Some(Wall(u64::from_be_bytes(*issued))) };
        let aor = Aor::new(user.get(..usize::from(*length))?, name.domain());
        Some(Callee { aor, phone: Some(phone) })
    }

    fn hash(&self, aor: &Aor, instance: &[u8]) -> u64 {
        self.mac.sign(Purpose::Gruu, &[aor.as_bytes(), bare(instance)])
    }

    fn seal(&self) -> Aes128Siv {
        Aes128Siv::new(&self.key.into())
    }
}

impl Callee {
    /// Any phone of this user.
    pub(crate) const fn user(aor: Aor) -> Self {
        Self { aor, phone: None }
    }

    /// Whether a GRUU that leads to no binding now is void for ever (5.3): a public one waits for its phone.
    pub(crate) fn is_void(&self) -> bool {
        self.phone.is_some_and(|phone| phone.issued.is_some())
    }
}

/// When the newest temporary GRUU of an instance was issued (5.2): at its last refresh.
pub(crate) fn issued(record: &Record, instance: &[u8], now: Wall) -> Option<Wall> {
    let phone = record.live(now).filter(|binding| binding.instance() == Some(instance));
    phone.map(|binding| binding.registered_at().max(binding.since())).max()
}

/// `scheme:user@host[:port];gr`, all but the user from `to`.
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

/// An instance without its angle brackets (RFC 5626 4.1), which no URI can hold.
fn bare(instance: &[u8]) -> &[u8] {
    instance.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")).unwrap_or(instance)
}

/// RFC 3261 25.1 `pvalue`.
fn write_param(out: &mut Vec<u8>, value: &[u8]) {
    for &octet in value {
        if octet.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$".contains(&octet) {
            out.push(octet);
        } else {
            out.push(b'%');
            write_hex(out, octet.into(), 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use parser::Uri;

    use super::*;

    const GRUUS: Gruus = Gruus::new([1; 32], Mac::new([2; 16]));

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

    /// Whom a URI means in a domain.
    fn read(uri: &str, domain: &str) -> Option<Callee> {
        GRUUS.read(uri.as_bytes(), Aor::new(&to(uri).user_unescaped(), domain.as_bytes())).ok()
    }

    #[test]
    fn a_public_one_shows_its_instance() {
        for (instance, shown) in [("<urn:uuid:1-2>", "urn:uuid:1-2"), ("a b.\"<;", "a%20b.%22%3c%3b"), ("", "")] {
            let mut out = Vec::new();
            GRUUS.write_public(&mut out, &to("sips:al%69ce@[2001:db8::1]"), &aor("alice"), instance.as_bytes());
            let uri = String::from_utf8(out).unwrap();
            assert!(uri.starts_with(&format!("sips:al%69ce@[2001:db8::1];gr={shown}.")), "{uri}");
            let callee = read(&uri, "office.example").unwrap();
            assert_eq!((&callee.aor, callee.is_void()), (&aor("alice"), false));
            assert_eq!(read(&uri, "shop.example"), None, "of another domain");
        }
    }

    // checklist 151
    #[test]
    fn temporary_ones_have_nothing_in_common() {
        let [one, next, other] = [temporary("alice", 7), temporary("alice", 8), temporary("bob", 7)];
        assert!(one.ends_with("@192.0.2.1:5062;gr"), "{one}");
        assert_eq!((one.len(), one.len()), (next.len(), other.len()), "not even their length");
        let digits = |uri: &str| uri["sip:tgruu.".len()..].split('@').next().unwrap().to_owned();
        for (one, other) in [(&one, &next), (&one, &other)] {
            let (one, other) = (digits(one), digits(other));
            // A sixteenth of the digits are the same by chance.
            let same = one.bytes().zip(other.bytes()).filter(|(a, b)| a == b).count();
            assert!(same < one.len() / 4, "{one}\n{other}");
        }
        assert_eq!(temporary("alice", 7), one, "a copy of a request gets the same");
        let callee = read(&one, "office.example").unwrap();
        assert_eq!((callee.aor, callee.phone.unwrap().issued), (aor("alice"), Some(Wall(7))));
        assert_eq!(read(&one, "shop.example"), None);
    }

    #[test]
    fn a_name_that_does_not_fit() {
        let long = "x".repeat(255);
        assert_eq!(read(&temporary(&long, 7), "office.example").unwrap().aor, aor(&long));
        let mut out = Vec::new();
        let longer = aor(&"x".repeat(256));
        assert!(!GRUUS.write_temporary(&mut out, &to("sip:x@y"), &longer, b"<I>", Wall(7)));
        assert!(out.is_empty());
    }
}
