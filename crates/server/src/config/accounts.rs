//! `accounts` and `accounts_file`: the users who may register and call.
//!
//! Decides valid user names, and hashes passwords to H(user:realm:password) (RFC 7616 3.4.2) for each algorithm that
//! is offered, so that no password stays in memory. The realm is the account's domain.

use std::fmt;

use location::{Aor, Record};
use md5::{Digest as _, Md5};
use parser::headers::Contact;
use parser::{Header as _, Host, Uri};
use proxy::{Algorithm, Caller, Others, Secrets, fixed_bindings};
use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Unexpected, Visitor};
use sha2::{Sha256, Sha512_256};

use super::Config;
use super::digest::AlgorithmName;
use super::keys::entry;
use super::office::{AlsoRingEntry, CalledName, ForwardEntry, Label};
use super::scalar::{Flag, HostName, Scalar, Text, scalars};

entry! {
    /// One account: `password` or `ha1`, not both; neither for one with `contacts` that never registers or calls.
    pub(crate) struct AccountEntry {
        /// the name before the @
        user: UserName,
        /// the password; alternatively `ha1` or `contacts`
        password: Option<Text>,
        /// `md5`, `sha-256`: H(user:realm:password) in hexadecimal, so that the file does not contain the password
        ha1: Option<Ha1>,
        /// one of `domains`
        domain: Option<HostName>,
        /// fixed addresses of the user, for a door phone or gateway that cannot register
        contacts: Vec<FixedContact>,
        /// other users whose phones this account may register
        may_register: Vec<UserName>,
        /// other names that requests of this account may have in From: a number or user (`"+4989123451"`, in the domain
        /// of the account or at a host that is not yours), `user@host`, or `*@host` for every user of a host that is
        /// not yours. Every account may use its own address and an anonymous From (RFC 3323)
        may_call_as: Vec<CallerName>,
        /// other users whose calls (busy lamps, RFC 4235), registrations (RFC 3680) and voicemail messages this account may
        /// subscribe to, or `all` users of its domain; its own are always allowed
        may_watch: OtherUsers,
        /// other users whose calls this account may accept while they ring, with the lamp keys of its phones, or `all` users
        /// of its domain; it may watch these users, too
        may_pick_up: OtherUsers,
        /// the name of the user for people, on the status page
        name: Option<Label>,
        /// further numbers by which this user is called; `"+4989123451"` also matches `+49-89-123451`
        numbers: Vec<CalledName>,
        /// where calls to this user go
        forward: ForwardEntry,
        /// who rings beside the phones of the user, such as a mobile. It can be [set while the server
        /// runs](office.md#change-it-while-the-server-runs)
        also_ring: Vec<AlsoRingEntry>,
        /// `true`: callers get 486, or go where `forward.busy` says
        do_not_disturb: Option<Flag>,
        /// the classes of `outgoing` that this user may dial; without this key all of them, `[]`: none. Numbers without a
        /// class are open to everybody
        may_dial: Option<Vec<UserName>>,
        /// the number that this user is shown by outside of the office; without it that of the trunk
        caller_id: Option<CalledName>,
    }
}

/// H(user:realm:password) in hexadecimal, realm = the account's domain.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ha1 {
    /// 32 digits.
    pub(crate) md5: Option<Hex<16>>,
    /// 64 digits.
    #[serde(rename = "sha-256")]
    pub(crate) sha256: Option<Hex<32>>,
    /// 64 digits.
    #[serde(rename = "sha-512-256")]
    pub(crate) sha512t256: Option<Hex<32>>,
}

/// A static contact, and its preference in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FixedContact {
    pub(crate) uri: Box<str>,
    pub(crate) q: Option<u16>,
}

/// A name in From: a user part or number, `user@host`, or `*@host` for every user of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallerName {
    /// Without escapes; `None` for every user of the host.
    pub(crate) user: Option<Box<[u8]>>,
    /// Lower case, without a trailing dot.
    pub(crate) host: Option<Box<str>>,
}

/// A user name that is valid in digest credentials.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UserName(pub(crate) Box<str>);

/// Other users: a list, or `all` of the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[cfg_attr(test, serde(untagged))]
pub(crate) enum OtherUsers {
    Listed(Vec<UserName>),
    #[cfg_attr(test, serde(rename = "all"))]
    All,
}

/// Octets written in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> fmt::Debug for Hex<N> {
    /// Secrets never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hex")
    }
}

scalars!(UserName, FixedContact, CallerName, Hex<16>, Hex<32>);

impl Default for OtherUsers {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl<'de> Deserialize<'de> for OtherUsers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl<'de> Visitor<'de> for Visit {
            type Value = OtherUsers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of users like [alice, bob], or all")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OtherUsers, E> {
                let invalid = || E::invalid_value(Unexpected::Str(text), &self);
                if text == "all" { Ok(OtherUsers::All) } else { Err(invalid()) }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OtherUsers, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(OtherUsers::Listed)
            }
        }

        deserializer.deserialize_any(Visit)
    }
}

impl OtherUsers {
    /// The users that are listed.
    pub(crate) fn listed(&self) -> &[UserName] {
        match self {
            Self::Listed(users) => users,
            Self::All => &[],
        }
    }

    /// The permission for these users of the domain.
    pub(crate) fn in_domain(&self, domain: &str) -> Others {
        match self {
            Self::Listed(users) => Others::Listed(users.iter().map(|user| user.aor(domain)).collect()),
            Self::All => Others::All,
        }
    }
}

impl Scalar for UserName {
    const EXPECTED: &'static str = "a user name like 101 or alice, without spaces, quotes, colon and @";

    fn read(text: &str) -> Option<Self> {
        // RFC 7616 3.4.2: a colon would make user:realm:password ambiguous.
        let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '@' | '"' | '\\' | '<' | '>');
        (!text.is_empty() && text.len() <= 128 && !text.contains(bad)).then(|| Self(text.into()))
    }
}

impl Scalar for FixedContact {
    const EXPECTED: &'static str =
        "a SIP URI like sip:door@192.0.2.50, or a contact like \"<sip:gw@192.0.2.60>;q=0.5\"";

    fn read(text: &str) -> Option<Self> {
        // RFC 3261 20.10: without brackets, URI parameters would be header parameters.
        let bracketed = if text.contains('<') { text.to_owned() } else { format!("<{text}>") };
        let contact = Contact::parse(bracketed.as_bytes()).ok()?;
        let q = contact.binding().q().ok()?;
        let uri = contact.address()?.uri.sip().filter(|uri| uri.headers().is_empty())?.as_bytes();
        // Longer than any real URI, and below the limit of the location service.
        let uri = str::from_utf8(uri).ok().filter(|uri| uri.len() <= 1024)?;
        Some(Self { uri: uri.into(), q })
    }
}

impl Scalar for CallerName {
    const EXPECTED: &'static str =
        "a number or user like +4989123451, user@host, or *@192.0.2.60 for every user of a host";

    fn read(text: &str) -> Option<Self> {
        let name = ["sip:", "sips:", "tel:"].iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
        let Some((user, host)) = name.rsplit_once('@') else {
            return UserName::read(name).map(|user| Self { user: Some(user.0.as_bytes().into()), host: None });
        };
        let uri = format!("sip:{user}@{host}");
        let Ok(Uri::Sip(uri)) = Uri::parse(uri.as_bytes()) else { return None };
        if uri.port.is_some() || !uri.params.as_bytes().is_empty() || !uri.headers().is_empty() {
            return None;
        }
        let mut host = Vec::new();
        uri.host.write(&mut host);
        let host = String::from_utf8(host).ok()?.to_ascii_lowercase();
        let host = Some(host.strip_suffix('.').unwrap_or(&host).into());
        let user = (user != "*").then(|| uri.user_unescaped().into_owned().into_boxed_slice());
        Some(Self { user, host })
    }
}

impl CallerName {
    /// The caller; `None` for every user of a domain of this server, since only those users have these names.
    pub(crate) fn caller(&self, config: &Config) -> Option<Caller> {
        let is = |name: &&HostName| self.host.as_deref() == Some(&*name.0);
        let alias = config.aliases.iter().chain(&config.advertise).any(|name| is(&name));
        let own =
            config.domains.iter().find(is).map(|domain| &*domain.0).or_else(|| alias.then(|| config.first_domain()));
        match (&self.user, &self.host) {
            (Some(user), None) => Some(Caller::User(user.clone())),
            (Some(user), Some(host)) => Some(Caller::Address(Aor::new(user, own.unwrap_or(host).as_bytes()))),
            (None, Some(host)) if own.is_none() => Some(Caller::Host(host.as_bytes().into())),
            (None, _) => None,
        }
    }
}

impl<const N: usize> Scalar for Hex<N> {
    const EXPECTED: &'static str = match N {
        16 => "32 hexadecimal digits",
        _ => "64 hexadecimal digits",
    };
    const SECRET: bool = true;

    fn read(text: &str) -> Option<Self> {
        parser::hex_octets(text.as_bytes()).map(Self)
    }
}

impl UserName {
    /// The address of record of this user.
    pub(crate) fn aor(&self, domain: &str) -> Aor {
        Aor::new(self.0.as_bytes(), domain.as_bytes())
    }
}

impl FixedContact {
    /// Whether this is its host.
    pub(crate) fn is_at(&self, name: &HostName) -> bool {
        let Ok(Uri::Sip(uri)) = Uri::parse(self.uri.as_bytes()) else { return false };
        // With or without a trailing dot.
        let is_name = |host: &[u8]| host.strip_suffix(b".").unwrap_or(host).eq_ignore_ascii_case(name.0.as_bytes());
        matches!(uri.host, Host::Name(host) if is_name(host))
    }
}

impl AccountEntry {
    /// Its static contacts as bindings, if there are any.
    pub(crate) fn bindings(&self) -> Option<Record> {
        let contacts = self.contacts.iter().map(|contact| (&*contact.uri, contact.q));
        (!self.contacts.is_empty()).then(|| fixed_bindings(contacts))
    }

    /// The domain of the account.
    pub(crate) fn domain<'a>(&'a self, config: &'a Config) -> &'a str {
        self.domain.as_ref().map_or_else(|| config.first_domain(), |domain| &domain.0)
    }

    /// The hashes of this account for the algorithms that are offered; `None` if `ha1` has none of them.
    pub(crate) fn secrets(&self, realm: &str, algorithms: &[AlgorithmName]) -> Option<Secrets> {
        let offered = |algorithm| algorithms.iter().any(|name| name.0 == algorithm);
        let mut secrets = match (&self.password, &self.ha1) {
            (Some(password), _) => hashed(&self.user.0, realm, &password.0),
            (None, Some(ha1)) => Secrets {
                md5: ha1.md5.map(|hex| hex.0),
                sha256: ha1.sha256.map(|hex| hex.0),
                sha512t256: ha1.sha512t256.map(|hex| hex.0),
            },
            (None, None) => Secrets::default(),
        };
        secrets.md5 = secrets.md5.filter(|_| offered(Algorithm::Md5));
        secrets.sha256 = secrets.sha256.filter(|_| offered(Algorithm::Sha256));
        secrets.sha512t256 = secrets.sha512t256.filter(|_| offered(Algorithm::Sha512t256));
        (secrets != Secrets::default()).then_some(secrets)
    }
}

/// H(user:realm:password) for every algorithm.
pub(crate) fn hashed(user: &str, realm: &str, password: &str) -> Secrets {
    let text = format!("{user}:{realm}:{password}");
    Secrets {
        md5: Some(Md5::digest(&text).into()),
        sha256: Some(Sha256::digest(&text).into()),
        sha512t256: Some(Sha512_256::digest(&text).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> AccountEntry {
        serde_yaml::from_str(text).expect("an account")
    }

    #[test]
    fn a_password_becomes_its_hashes() {
        let alice = entry("{ user: Mufasa, password: Circle of Life }");
        let both = [AlgorithmName(Algorithm::Sha256), AlgorithmName(Algorithm::Md5)];
        let account = alice.secrets("http-auth@example.org", &both).expect("secrets");
        // RFC 7616 3.9.1: MD5 of this A1.
        assert_eq!(
            account.md5.map(|hash| parser::hex_text(&hash)),
            Some("3d78807defe7de2157e2b0b6573a855f".to_owned())
        );
        assert!(account.sha256.is_some());
        assert!(account.sha512t256.is_none());
    }

    #[test]
    fn a_configured_hash_is_used_unchanged() {
        let hashed = entry("{ user: 101, ha1: { md5: 3D78807DEFE7DE2157E2B0B6573A855F } }");
        assert_eq!(&*hashed.user.0, "101");
        assert!(hashed.secrets("office.example", &[AlgorithmName(Algorithm::Md5)]).is_some());
        assert!(hashed.secrets("office.example", &[AlgorithmName(Algorithm::Sha256)]).is_none());
    }

    #[test]
    fn fixed_contacts_are_read() {
        let read = |text: &str| FixedContact::read(text).map(|contact| (contact.uri.into_string(), contact.q));
        let uri = "sip:door@192.0.2.50:5062;transport=tcp";
        assert_eq!(read(uri), Some((uri.to_owned(), None)));
        assert_eq!(read(&format!("<{uri}>;q=0.5")), Some((uri.to_owned(), Some(500))));
        for bad in ["", "*", "door", "tel:1", "<sip:a@b>;q=2", "sip:a@b?x=y", "sip:a@b, sip:c@d"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn caller_names_are_read() {
        let read = |text: &str| {
            let CallerName { user, host } = CallerName::read(text)?;
            Some((user.map(|user| String::from_utf8_lossy(&user).into_owned()), host.map(String::from)))
        };
        let name = |user: Option<&str>, host: Option<&str>| Some((user.map(str::to_owned), host.map(str::to_owned)));
        for (text, expected) in [
            ("+4989123451", name(Some("+4989123451"), None)),
            ("tel:+4989123451", name(Some("+4989123451"), None)),
            ("sales", name(Some("sales"), None)),
            ("a%20b@Gw.Example.", name(Some("a b"), Some("gw.example"))),
            ("sip:door@192.0.2.60", name(Some("door"), Some("192.0.2.60"))),
            ("*@[2001:DB8::1]", name(None, Some("[2001:db8::1]"))),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        for bad in ["", "a b", "*@", "@host", "a@h:5060", "a@h;x=y", "a@h?x=y", "a@h@"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let mut config = Config { domains: vec![HostName("office.example".into())], ..Config::default() };
        config.aliases = vec![HostName("sip.office.example".into())];
        let caller = |text: &str| CallerName::read(text).and_then(|name| name.caller(&config));
        let address = |user: &str, host: &str| Some(Caller::Address(Aor::new(user.as_bytes(), host.as_bytes())));
        assert_eq!(caller("sales@sip.office.example"), address("sales", "office.example"));
        assert_eq!(caller("sales@gw.example"), address("sales", "gw.example"));
        assert_eq!(caller("*@gw.example"), Some(Caller::Host(b"gw.example".as_slice().into())));
        assert_eq!((caller("*@office.example"), caller("*@sip.office.example")), (None, None));
    }

    #[test]
    fn user_names_are_checked() {
        for good in ["101", "alice", "a.b+c", "007", "jörg"] {
            assert!(UserName::read(good).is_some(), "{good}");
        }
        for bad in ["", "a b", "a:b", "a@b", "a\"b", "a\nb"] {
            assert!(UserName::read(bad).is_none(), "{bad}");
        }
    }
}
