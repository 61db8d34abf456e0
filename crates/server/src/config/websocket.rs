//! `ws`: who may open WebSocket connections (RFC 6455 10.2).
//!
//! Decides the syntax of an origin: as browsers write it, because it is compared as text.

use super::keys::section;
use super::scalar::{HostName, Scalar, scalars};

section! {
    /// `ws`: WebSocket connections.
    pub(crate) struct WebSocket {
        /// the origins of the web pages that may connect over WebSocket, like `https://office.example`; another page
        /// gets 403. Without any, all pages may, but in a browser whose address is in `trusted` only those of this
        /// server. Clients that are not browsers send no origin and are not checked
        origins: Vec<Origin> = Vec::new(),
    }
}

/// The origin of a web page: scheme, host, and port if it is not the scheme's default (RFC 6454 6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin(pub(crate) Box<str>);

scalars!(Origin);

impl Scalar for Origin {
    const EXPECTED: &'static str = "the origin of a web page, like https://office.example or http://192.0.2.1:8080";

    fn read(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (scheme, rest) = text.split_once("://")?;
        let default_port = match scheme {
            "http" => "80",
            "https" => "443",
            _ => return None,
        };
        // The last colon of an IPv6 address is within its brackets.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (rest, None),
        };
        HostName::read(host)?;
        port.map_or(Some(0), |port| port.parse::<u16>().ok().filter(|port| *port > 0))?;
        let port = port.filter(|port| *port != default_port).map(|port| format!(":{port}")).unwrap_or_default();
        Some(Self(format!("{scheme}://{host}{port}").into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        let read = |text| Origin::read(text).map(|origin| origin.0.into_string());
        assert_eq!(read("https://Office.Example"), Some("https://office.example".to_owned()));
        assert_eq!(read("https://office.example:443"), Some("https://office.example".to_owned()));
        assert_eq!(read("http://192.0.2.1:8080"), Some("http://192.0.2.1:8080".to_owned()));
        assert_eq!(read("http://[::1]:80"), Some("http://[::1]".to_owned()));
        assert_eq!(read("http://[::1]"), Some("http://[::1]".to_owned()));
        for bad in
            ["office.example", "ws://office.example", "https://office.example/", "https://a b", "https://a:0", "*"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
