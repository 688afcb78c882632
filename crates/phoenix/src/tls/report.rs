//! What administrators are told of HTTPS.

use std::sync::atomic::{AtomicU64, Ordering};

use phoenix_config::TlsVersion;
use phoenix_http::{CertificateReport, ClientAuthorityReport, TlsReport};

use super::TlsServer;
use super::watch::ends_soon;

const MILLIS_PER_DAY: i64 = 24 * 60 * 60 * 1000;

impl TlsServer {
    /// How HTTPS does.
    pub(crate) fn report(&self) -> TlsReport {
        let now = self.clock.now().wall;
        let held = self.held();
        let certificates = self.sources.certificates.iter().zip(&held.certificates).map(|(files, slot)| {
            let facts = &slot.current().facts;
            CertificateReport {
                file: files.certificate.display().to_string(),
                names: facts.names.clone(),
                serial: facts.serial.clone(),
                not_before: facts.not_before.to_string(),
                not_after: facts.not_after.to_string(),
                days_left: (facts.not_after.as_millis() - now.as_millis()).div_euclid(MILLIS_PER_DAY),
                expires_soon: ends_soon(facts.not_after, now),
                last_error: slot.error().map(str::to_owned),
            }
        });
        let client_authorities =
            self.sources.authorities.iter().zip(&held.authorities).next().map(|(file, slot)| {
                ClientAuthorityReport {
                    file: file.display().to_string(),
                    authorities: slot.current().count,
                    last_error: slot.error().map(str::to_owned),
                }
            });
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TlsReport {
            min_version: match self.sources.min_version {
                TlsVersion::V1_2 => "1.2",
                TlsVersion::V1_3 => "1.3",
            },
            certificates: certificates.collect(),
            client_authorities,
            handshakes: count(&self.counters.complete),
            resumed: count(&self.counters.resumed),
            failed: count(&self.counters.failed),
            plain: count(&self.counters.plain),
        }
    }
}
