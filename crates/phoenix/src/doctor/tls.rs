//! Checks of HTTPS on our own address, and of whom outgoing connections trust.

use std::path::Path;
use std::sync::Arc;

use phoenix_config::{CertificateFiles, ConfigErrors};
use phoenix_http::CertificateReport;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::catalogue as check;
use super::finding::{Area, Finding};
use super::{Said, Subject, files, skip_rest};
use crate::tls::TlsServer;
use crate::trust;

/// Days before the end from which a certificate should be renewed.
const RENEW_DAYS: i64 = 14;
/// Days before the end from which it is late.
const LATE_DAYS: i64 = 3;

pub(super) fn judge(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = vec![trusted(subject)];
    let tls = &subject.config.tls;
    if tls.certificates.is_empty() {
        skip_rest(Area::Tls, &mut findings, "PHOENIX_TLS_CERTIFICATES is not set: HTTPS is done elsewhere");
        return findings;
    }
    findings.push(key_modes(subject));
    findings.push(hsts(subject));
    match TlsServer::open(subject.config, Arc::clone(&subject.world.clock)) {
        Ok(Some(server)) => {
            let certificates = server.report().certificates;
            findings.push(check::CERTIFICATES.ok(format!("{} with their keys", certificates.len())));
            findings.extend(certificates.iter().map(dates));
            findings.push(names(subject, &server, &certificates));
            for (files, certificate) in tls.certificates.iter().zip(&certificates) {
                findings.push(chain(subject, files, certificate));
            }
        }
        Ok(None) => skip_rest(Area::Tls, &mut findings, "there is no HTTPS"),
        Err(errors) => {
            findings.extend(unusable(&errors));
            skip_rest(Area::Tls, &mut findings, "a certificate cannot be used (tls.certificates)");
        }
    }
    findings
}

fn unusable(errors: &ConfigErrors) -> Vec<Finding> {
    let finding =
        |error: &phoenix_config::ConfigError| check::CERTIFICATES.failure(error.reason(), error.remedy());
    errors.errors().iter().map(finding).collect()
}

fn dates(certificate: &CertificateReport) -> Finding {
    let days = certificate.days_left;
    let found = format!("{} ends in {days} days, {}", certificate.file, certificate.not_after);
    let mend = "renew the certificate; the new file is read by itself";
    match days {
        ..LATE_DAYS => check::CERTIFICATE_DATES.failure(found, mend),
        LATE_DAYS..RENEW_DAYS => check::CERTIFICATE_DATES.warning(found, mend),
        _ => check::CERTIFICATE_DATES.ok(found),
    }
}

fn names(subject: &Subject<'_>, server: &TlsServer, certificates: &[CertificateReport]) -> Finding {
    let Some(url) = &subject.config.server.public_url else {
        return check::CERTIFICATE_NAMES.skipped("PHOENIX_PUBLIC_URL is not set");
    };
    let host = url.host().trim_start_matches('[').trim_end_matches(']');
    let has_address = certificates.iter().any(|one| one.names.iter().any(|name| name == host));
    let all: Vec<&str> = certificates.iter().flat_map(|one| one.names.iter().map(String::as_str)).collect();
    check::CERTIFICATE_NAMES.ok_or_failure(
        server.covers(host) || has_address,
        format!("{host}; the certificates are for {}", all.join(", ")),
        "get a certificate for the host of PHOENIX_PUBLIC_URL",
    )
}

fn chain(subject: &Subject<'_>, files: &CertificateFiles, certificate: &CertificateReport) -> Finding {
    let file = files.certificate.display();
    let mend = "use the file with the whole chain (fullchain.pem). With an authority of your own: every client must know \
                it, and PHOENIX_TRUST_FILE names it here";
    match verify(subject, &files.certificate, certificate) {
        Ok(()) => check::CERTIFICATE_CHAIN.ok(format!("{file} leads to an authority")),
        Err(reason) => check::CERTIFICATE_CHAIN.warning(format!("{file}: {reason}"), mend),
    }
}

/// As a client would that knows Mozilla's list and `tls.trust_file`.
fn verify(subject: &Subject<'_>, file: &Path, certificate: &CertificateReport) -> Result<(), String> {
    let roots = trust::authorities(subject.config).map_err(|error| error.said())?.roots();
    let text = std::fs::read(file).map_err(|error| error.to_string())?;
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_reason| "it cannot be read".to_owned())?;
    let (leaf, others) = chain.split_first().ok_or("it holds no certificate")?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .build()
        .map_err(|error| error.to_string())?;
    let name = certificate.names.iter().map(|name| name.replace('*', "any")).next();
    let name = name.and_then(|name| ServerName::try_from(name).ok()).ok_or("it has no name")?;
    let millis = u64::try_from(subject.world.clock.now().wall.as_millis()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_millis(millis));
    verifier.verify_server_cert(leaf, others, &name, &[], now).map(drop).map_err(|error| error.to_string())
}

fn key_modes(subject: &Subject<'_>) -> Finding {
    let keys = subject.config.tls.certificates.iter().map(|files| files.key.as_path());
    let open = files::open_to_all(keys, subject.in_container);
    let is_fine = open.is_empty();
    let found = if open.is_empty() {
        "closed to all others than owner and group".to_owned()
    } else {
        files::shown(&open)
    };
    check::KEY_MODES.ok_or_failure(is_fine, found, "chmod 600 the key, or 640 with a group of Phoenix's own")
}

fn hsts(subject: &Subject<'_>) -> Finding {
    let hsts = subject.config.tls.hsts;
    let days = hsts.as_secs() / 86_400;
    check::HSTS.ok_or_warning(days >= 180, format!("{days} days"), "set PHOENIX_TLS_HSTS=365d")
}

fn trusted(subject: &Subject<'_>) -> Finding {
    if subject.config.tls.trust_file.is_none() {
        return check::TRUST.ok("Mozilla's list");
    }
    match trust::authorities(subject.config) {
        Ok(authorities) => check::TRUST.ok(format!("Mozilla's list and {} more", authorities.added())),
        Err(error) => check::TRUST
            .failure(error.said(), "name a PEM file with certificates of authorities in PHOENIX_TRUST_FILE"),
    }
}
