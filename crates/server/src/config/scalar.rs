//! Scalar values: durations, sizes, counts, host names, networks, `off`.
//!
//! Decides their syntax, so that a parsed value is valid. Errors say what was found and what was expected; the YAML
//! reader adds key and line. Must not know where a value is used.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{Deserializer, Error, Visitor};

/// A type that is written as one YAML scalar, whatever type YAML gives it: `101`, `off` and `1h` are read as text.
pub(crate) trait Scalar: Sized {
    /// What a valid value looks like, after "expected".
    const EXPECTED: &'static str;

    /// Whether even an invalid value must not be shown.
    const SECRET: bool = false;

    /// Parses the value.
    fn read(text: &str) -> Option<Self>;
}

/// Deserialises any [`Scalar`].
pub(crate) fn scalar<'de, T: Scalar, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Text<T>(PhantomData<T>);

    impl<T: Scalar> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(T::EXPECTED)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            T::read(text).ok_or_else(|| match T::SECRET {
                true => E::custom(format_args!("invalid value, expected {}", T::EXPECTED)),
                false => E::custom(format_args!("invalid value {text:?}, expected {}", T::EXPECTED)),
            })
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}

/// Implements `Deserialize`, and for the tests `Serialize`, by the scalar's text.
macro_rules! scalars {
    ($($name:ty),+ $(,)?) => { $(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::scalar::scalar(deserializer)
            }
        }

        #[cfg(test)]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&format!("{self:?}"))
            }
        }
    )+ };
}
pub(crate) use scalars;

/// A duration above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

/// A duration above zero, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeriodOrOff(pub(crate) Option<Duration>);

/// A duration of whole seconds above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) struct Seconds(pub(crate) u32);

/// A number of bytes above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

/// A limit above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) usize);

/// True or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

/// A host name or IP address, lower case, IPv6 without brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HostName(pub(crate) Box<str>);

/// A network. An address alone is a network with only that address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network(pub(crate) IpNet);

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Nowhere.
    Off,
    /// At this address; port 0 takes a free one.
    On(SocketAddr),
}

/// Text: not empty, without control characters.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) Box<str>);

impl fmt::Debug for Text {
    /// It may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text")
    }
}

/// A bearer token: long enough that it cannot be guessed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) Box<str>);

impl fmt::Debug for Token {
    /// Secrets never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

scalars!(Token, Period, PeriodOrOff, Seconds, Size, Count, Flag, HostName, Network, Endpoint, Text);

impl Scalar for Period {
    const EXPECTED: &'static str = "a duration above zero with its unit, like 500ms, 60s or 1h";

    fn read(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok().filter(|duration| !duration.is_zero()).map(Self)
    }
}

impl Scalar for PeriodOrOff {
    const EXPECTED: &'static str = "a duration above zero with its unit, like 60s or 10m, or off";

    fn read(text: &str) -> Option<Self> {
        match text {
            "off" | "false" => Some(Self(None)),
            _ => Period::read(text).map(|period| Self(Some(period.0))),
        }
    }
}

impl Scalar for Seconds {
    const EXPECTED: &'static str = "a duration of whole seconds with its unit, like 60s or 1h";

    fn read(text: &str) -> Option<Self> {
        let duration = humantime::parse_duration(text).ok()?;
        let whole = duration.subsec_nanos() == 0 && !duration.is_zero();
        // RFC 3261 20.19: the maximum of delta-seconds is 2**32-1.
        u32::try_from(duration.as_secs()).ok().filter(|_| whole).map(Self)
    }
}

impl Scalar for Flag {
    const EXPECTED: &'static str = "true or false";

    fn read(text: &str) -> Option<Self> {
        match text {
            "true" | "yes" | "on" => Some(Self(true)),
            "false" | "no" | "off" => Some(Self(false)),
            _ => None,
        }
    }
}

impl Scalar for Size {
    const EXPECTED: &'static str = "a size above zero with its unit, like 1500B, 64KiB or 1MiB";

    fn read(text: &str) -> Option<Self> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let unit = match text.get(digits.len()..)?.trim_start() {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        digits.parse::<usize>().ok()?.checked_mul(unit).filter(|size| *size > 0).map(Self)
    }
}

impl Scalar for Count {
    const EXPECTED: &'static str = "a whole number above zero";

    fn read(text: &str) -> Option<Self> {
        text.replace('_', "").parse().ok().filter(|count| *count > 0).map(Self)
    }
}

impl Scalar for HostName {
    const EXPECTED: &'static str = "a host name or an IP address, without port";

    fn read(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Some(Self(ip.to_string().into()));
        }
        // RFC 3261 25.1 hostname, and underscores, which occur in practice.
        let label = |label: &str| {
            let inner = label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_');
            inner && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_valid = name.len() <= 253 && name.split('.').all(label);
        // "10.0.0" is a mistyped address: the last label of a name begins with a letter.
        let last = name.rsplit('.').next().unwrap_or_default();
        (is_valid && !last.starts_with(|c: char| c.is_ascii_digit())).then(|| Self(name.to_ascii_lowercase().into()))
    }
}

impl Scalar for Network {
    const EXPECTED: &'static str = "a network like 192.0.2.0/24, or an IP address";

    fn read(text: &str) -> Option<Self> {
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>().ok().or_else(address).map(|net| Self(net.trunc()))
    }
}

impl Scalar for Endpoint {
    const EXPECTED: &'static str = "an IP address with port like 127.0.0.1:9090, or off";

    fn read(text: &str) -> Option<Self> {
        match text {
            "off" | "false" => Some(Self::Off),
            _ => text.parse().ok().map(Self::On),
        }
    }
}

impl Scalar for Text {
    const EXPECTED: &'static str = "text that is not empty, without control characters";
    const SECRET: bool = true;

    fn read(text: &str) -> Option<Self> {
        let is_valid = !text.is_empty() && !text.contains(char::is_control);
        is_valid.then(|| Self(text.into()))
    }
}

impl Scalar for Token {
    const EXPECTED: &'static str =
        "a token of 16 to 256 letters, digits and -._~+/=, as `openssl rand -hex 16` makes one";
    const SECRET: bool = true;

    fn read(text: &str) -> Option<Self> {
        // RFC 6750 2.1
        let is_valid = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~+/=".contains(&octet);
        ((16..=256).contains(&text.len()) && text.bytes().all(is_valid)).then(|| Self(text.into()))
    }
}

impl FromStr for HostName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::read(text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(Period::read("500ms"), Some(Period(Duration::from_millis(500))));
        assert_eq!(Period::read("1h"), Some(Period(Duration::from_secs(3600))));
        for bad in ["60", "0s", "", "-1s", "soon"] {
            assert_eq!(Period::read(bad), None, "{bad}");
        }
        assert_eq!(Seconds::read("2h"), Some(Seconds(7200)));
        for bad in ["1500ms", "0s", "200years"] {
            assert_eq!(Seconds::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(Size::read("64KiB"), Some(Size(65_536)));
        assert_eq!(Size::read("64 KiB"), Some(Size(65_536)));
        assert_eq!(Size::read("9B"), Some(Size(9)));
        for bad in ["64", "64kb", "0B", "KiB", "99999999999GiB", "-1B"] {
            assert_eq!(Size::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn host_names_are_checked() {
        let read = |text| HostName::read(text).map(|host| host.0.into_string());
        assert_eq!(read("Office.Example."), Some("office.example".to_owned()));
        assert_eq!(read("pbx"), Some("pbx".to_owned()));
        assert_eq!(read("[2001:DB8::1]"), Some("2001:db8::1".to_owned()));
        assert_eq!(read("192.0.2.1"), Some("192.0.2.1".to_owned()));
        for bad in ["", "a b", "office.example:5060", "-a.example", "a..b", "192.0.2", "192.0.2.256", "sip:a"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn networks_lose_their_host_part() {
        assert_eq!(Network::read("192.0.2.9/24"), "192.0.2.0/24".parse().ok().map(Network));
        assert_eq!(Network::read("192.0.2.9"), "192.0.2.9/32".parse().ok().map(Network));
        assert_eq!(Network::read("192.0.2.0/33"), None);
    }
}
