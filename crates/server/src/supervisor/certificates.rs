//! The renewal of certificates while the server runs: at a reload, and when their files change.
//!
//! Decides what the log and the metrics say about it. Files that cannot be used leave the previous certificates in force.
//! Must not read certificates itself: see `crate::tls`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;

use crate::config::Loaded;
use crate::metrics::Gauge;
use crate::tls::{ActiveTls, Material, Renewal, TlsFiles, Validity};

/// Watches the files of the certificates in force.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    renewal: Renewal,
}

impl Certificates {
    /// With those of this configuration in force.
    pub(super) fn new(loaded: &Loaded, active: &ActiveTls) -> Self {
        let mut certificates = Self::default();
        certificates.apply(loaded, active);
        certificates
    }

    /// For the certificates of a configuration that is in force, or will be. The listeners keep theirs if there are none
    /// any more, because a reload does not change `listen`.
    pub(super) fn apply(&mut self, loaded: &Loaded, active: &ActiveTls) {
        let (Some(files), Some(material)) = (files(loaded), &loaded.tls) else { return };
        // They were read a moment ago.
        self.renewal.has_changed(&files);
        publish(material);
        active.replace(Some(Arc::clone(material)));
    }

    /// Uses the files again if they have changed.
    pub(super) fn poll(&mut self, loaded: &Loaded, active: &ActiveTls) {
        match files(loaded).and_then(|files| self.renewal.poll(&files)) {
            None => {}
            Some(Ok(material)) => {
                let material = Arc::new(material);
                publish(&material);
                active.replace(Some(Arc::clone(&material)));
                // After that, so that the next connection gets what the line says.
                tracing::info!("renewed certificates are in use: {}", describe(&material));
            }
            Some(Err(error)) => {
                Gauge::CertificateRefused.set_flag(true);
                tracing::error!("renewed certificates were refused, the previous ones stay in use: {error}");
            }
        }
    }
}

fn files(loaded: &Loaded) -> Option<TlsFiles> {
    loaded.config.tls.files(loaded.file.as_deref()?)
}

/// Updates the metrics, and warns of certificates that peers will refuse.
fn publish(material: &Material) {
    Gauge::CertificateRefused.set_flag(false);
    let expiries = material.certificates.iter().map(|(_, certificate)| certificate.not_after);
    Gauge::CertificateExpiry.set_seconds(expiries.min().unwrap_or_default());
    if material.authority_count == 0 {
        tracing::warn!(
            "there are no certificate authorities: TLS connections to other servers fail (see `tls.authorities`)"
        );
    }
    for (file, certificate) in &material.certificates {
        let file = file.display();
        match certificate.validity() {
            Validity::Valid => {}
            Validity::Expired => {
                tracing::warn!("the certificate in {file} is not valid since {}", date(certificate.not_after));
            }
            Validity::TooEarly => {
                tracing::warn!("the certificate in {file} is not valid before {}", date(certificate.not_before));
            }
        }
    }
}

fn describe(material: &Material) -> String {
    let each = material.certificates.iter();
    let texts = each.map(|(_, it)| format!("{} until {}", it.names(), date(it.not_after)));
    texts.collect::<Vec<_>>().join("; ")
}

fn date(since_1970: Duration) -> impl std::fmt::Display {
    format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since_1970)
}
