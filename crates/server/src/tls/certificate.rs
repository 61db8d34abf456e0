//! What a certificate contains: its names and how long it is valid (RFC 5280 4.1.2.5, 4.2.1.6; RFC 5922 7.1).
//!
//! Decides which names identify a SIP domain. Must not decide whether a certificate is trusted.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The names and the validity of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateSummary {
    /// The domains of `sip:` URIs in subjectAltName, in lower case.
    pub(super) sip_domains: Vec<Box<str>>,
    /// The dNSNames in subjectAltName, in lower case.
    pub(super) dns_names: Vec<Box<str>>,
    /// The iPAddresses in subjectAltName.
    pub(super) addresses: Vec<IpAddr>,
    /// Start of the validity, since 1970-01-01 UTC.
    pub(crate) not_before: Duration,
    /// End of the validity, since 1970-01-01 UTC.
    pub(crate) not_after: Duration,
}

/// Whether a certificate is valid now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    /// It is.
    Valid,
    /// Not yet.
    TooEarly,
    /// No longer.
    Expired,
}

impl CertificateSummary {
    /// Parses a certificate; `None` if it is none.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let seconds = |timestamp: i64| Duration::from_secs(u64::try_from(timestamp).unwrap_or_default());
        let validity = parsed.validity();
        let mut summary = Self {
            not_before: seconds(validity.not_before.timestamp()),
            not_after: seconds(validity.not_after.timestamp()),
            ..Self::default()
        };
        let extension = parsed.subject_alternative_name().ok().flatten();
        for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::URI(uri) => summary.sip_domains.extend(sip_domain(uri)),
                GeneralName::DNSName(name) => summary.dns_names.push(name.to_ascii_lowercase().into()),
                GeneralName::IPAddress(octets) => summary.addresses.extend(address(octets)),
                _ => {}
            }
        }
        Some(summary)
    }

    /// Whether the certificate identifies this SIP domain (RFC 5922 7.1, 7.2). dNSNames count only if there is no
    /// `sip:` URI. Wildcards never match, and the common name is not considered, because both would let the holder of a
    /// certificate for another purpose stand for the domain.
    pub(super) fn identifies(&self, domain: &str) -> bool {
        self.identities().iter().any(|name| name.eq_ignore_ascii_case(domain))
    }

    /// The SIP domains that the certificate identifies, in lower case.
    pub(crate) fn identities(&self) -> &[Box<str>] {
        if self.sip_domains.is_empty() { &self.dns_names } else { &self.sip_domains }
    }

    /// Whether the certificate is for this address.
    pub(super) fn identifies_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// Whether a client that asks for this server name may get the certificate. A wildcard stands for one label (RFC 6125
    /// 6.4.3).
    pub(super) fn serves(&self, server_name: &str) -> bool {
        let covers = |name: &str| match name.strip_prefix("*.") {
            Some(parent) => server_name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
            None => name.eq_ignore_ascii_case(server_name),
        };
        self.dns_names.iter().chain(&self.sip_domains).any(|name| covers(name))
    }

    /// Whether it is valid now.
    pub(crate) fn validity(&self) -> Validity {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        match () {
            () if now < self.not_before => Validity::TooEarly,
            () if now > self.not_after => Validity::Expired,
            () => Validity::Valid,
        }
    }

    /// All its names, for an administrator.
    pub(crate) fn names(&self) -> String {
        let sip = self.sip_domains.iter().map(|domain| format!("sip:{domain}"));
        let names = sip.chain(self.dns_names.iter().map(ToString::to_string));
        let names: Vec<_> = names.chain(self.addresses.iter().map(ToString::to_string)).collect();
        if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
    }
}

/// The domain of a `sip:` URI without a user (RFC 5922 7.1). A URI with a user identifies that user only.
fn sip_domain(uri: &str) -> Option<Box<str>> {
    let (scheme, host) = uri.split_once(':')?;
    let is_domain = !host.is_empty() && !host.contains(['@', ';', '?', ':']);
    (scheme.eq_ignore_ascii_case("sip") && is_domain).then(|| host.to_ascii_lowercase().into())
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(sip: &[&str], dns: &[&str]) -> CertificateSummary {
        let boxed = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        CertificateSummary { sip_domains: boxed(sip), dns_names: boxed(dns), ..CertificateSummary::default() }
    }

    #[test]
    fn a_domain_is_identified_by_sip_uris_or_else_by_dns_names() {
        for (sip, dns, domain, expected) in [
            (&["office.example"][..], &[][..], "office.example", true),
            (&["office.example"], &["other.example"], "other.example", false),
            (&[], &["office.example"], "OFFICE.example", true),
            (&[], &["*.example"], "office.example", false),
            (&[], &["*.office.example"], "*.office.example.", false),
            (&[], &["sip.office.example"], "office.example", false),
            (&[], &[], "office.example", false),
        ] {
            assert_eq!(summary(sip, dns).identifies(domain), expected, "{sip:?} {dns:?} {domain}");
        }
    }

    #[test]
    fn a_wildcard_serves_one_label() {
        let wildcard = summary(&[], &["*.office.example"]);
        assert!(wildcard.serves("sip.office.example") && wildcard.serves("SIP.office.example"));
        assert!(!wildcard.serves("office.example") && !wildcard.serves("a.sip.office.example"));
    }

    #[test]
    fn only_a_sip_uri_without_a_user_names_a_domain() {
        assert_eq!(sip_domain("SIP:Office.Example").as_deref(), Some("office.example"));
        for other in ["sip:alice@office.example", "sips:office.example", "https://office.example", "sip:", "x"] {
            assert_eq!(sip_domain(other), None, "{other}");
        }
        assert_eq!((address(&[192, 0, 2, 1]), address(&[1])), (Some([192, 0, 2, 1].into()), None));
    }
}
