//! A certificate with its chain and key, as servers show it, and what people want to know of it.

use std::path::Path;
use std::sync::Arc;

use phoenix_auth::model::Timestamp;
use phoenix_config::CertificateFiles;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::files::{PairContent, Unusable};

/// How PEM marks a key that needs a password (RFC 7468 section 11, and the older form of OpenSSL).
const ENCRYPTED_MARKS: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];

/// A certificate that may be shown.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) facts: Facts,
}

/// What stands in a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    /// DNS names in lower case, some with `*` for one label; then IP addresses (RFC 6125 section 6.4).
    pub(crate) names: Vec<String>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    /// In hexadecimal digits with colons, as other programs write it.
    pub(crate) serial: String,
}

impl Certificate {
    /// Understands the content of the files, and refuses what no client would accept at `now`.
    pub(crate) fn parse(
        files: &CertificateFiles,
        content: &PairContent,
        now: Timestamp,
        provider: &CryptoProvider,
    ) -> Result<Self, Unusable> {
        let chain = chain(&files.certificate, &content.certificate)?;
        let facts = chain.first().and_then(|leaf| Facts::of(leaf));
        let facts = facts.ok_or_else(|| Unusable::BrokenCertificate(files.certificate.clone(), 1))?;
        let key = key(&files.key, &content.key)?;
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                Unusable::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() }
            }
            _ => Unusable::StrangeKey(files.key.clone()),
        })?;
        if now > facts.not_after {
            return Err(Unusable::Expired(files.certificate.clone(), facts.not_after));
        }
        if now < facts.not_before {
            return Err(Unusable::NotYetValid(files.certificate.clone(), facts.not_before));
        }
        Ok(Self { certified: Arc::new(certified), facts })
    }
}

impl Facts {
    /// `None` when it is no certificate.
    pub(crate) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        let validity = parsed.validity();
        let time = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        rest.is_empty().then(|| Self {
            names: names(&parsed),
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
            serial: parsed.raw_serial_as_string(),
        })
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let Some(alternative) = alternative else { return Vec::new() };
    let mut names = Vec::new();
    for name in &alternative.value.general_names {
        if let GeneralName::DNSName(name) = name {
            names.push(name.trim_end_matches('.').to_ascii_lowercase());
        }
    }
    for name in &alternative.value.general_names {
        if let GeneralName::IPAddress(bytes) = name {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from));
            names.extend(address.ok().map(|address| address.to_string()));
        }
    }
    names
}

/// All certificates of a file, in their order; at least one.
pub(crate) fn chain(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let broken = || Unusable::BrokenCertificate(path.to_owned(), chain.len() + 1);
        chain.push(certificate.map_err(|_reason| broken())?);
    }
    if chain.is_empty() {
        return Err(Unusable::NoCertificate(path.to_owned()));
    }
    Ok(chain)
}

fn key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Unusable> {
    let holds = |mark: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    if ENCRYPTED_MARKS.into_iter().any(holds) {
        return Err(Unusable::EncryptedKey(path.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|_reason| Unusable::NoKey(path.to_owned()))
}
