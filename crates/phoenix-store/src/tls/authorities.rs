//! The authorities whose certificates are trusted: those on Mozilla's list, and certificates given by the operator. The
//! system's own list is not read: what is trusted does not depend on the image.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};

use super::provider;

/// Characters of a line of PEM (RFC 7468 section 2).
const PEM_LINE: usize = 64;

/// Whom outgoing connections trust.
#[derive(Clone, Default)]
pub struct Authorities {
    with_mozilla: bool,
    own: Vec<CertificateDer<'static>>,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Not PEM.
    #[error("the certificates are not PEM (-----BEGIN CERTIFICATE-----)")]
    Pem(#[source] pem::Error),
    /// No certificate, or none that could sign others.
    #[error("certificate number {0} cannot be used as an authority's")]
    Certificate(usize, #[source] rustls::Error),
    /// Nothing of use.
    #[error("it holds no certificate")]
    Empty,
    /// The TLS library refused our settings: a defect.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities")
            .field("with_mozilla", &self.with_mozilla)
            .field("own", &self.own.len())
            .finish()
    }
}

impl Authorities {
    /// The list that browsers of Mozilla have, as of the build.
    #[must_use]
    pub fn mozilla() -> Self {
        Self { with_mozilla: true, own: Vec::new() }
    }

    /// Nobody: only what is added.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// With the certificates of this text (PEM, at least one). Anything else in it, such as a key, is not looked at.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn with_pem(mut self, text: &[u8]) -> Result<Self, AuthorityError> {
        let mut scratch = RootCertStore::empty();
        let before = self.own.len();
        for (index, certificate) in CertificateDer::pem_slice_iter(text).enumerate() {
            let certificate = certificate.map_err(AuthorityError::Pem)?;
            scratch
                .add(certificate.clone())
                .map_err(|error| AuthorityError::Certificate(index + 1, error))?;
            self.own.push(certificate);
        }
        if self.own.len() == before { Err(AuthorityError::Empty) } else { Ok(self) }
    }

    /// How many certificates were added to the list.
    #[must_use]
    pub fn added(&self) -> usize {
        self.own.len()
    }

    /// Whether it is Mozilla's list and nothing else.
    #[must_use]
    pub fn is_mozilla(&self) -> bool {
        self.with_mozilla && self.own.is_empty()
    }

    /// As rustls wants them.
    #[must_use]
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        // All of them were looked at when they were added, and Mozilla's when they were published.
        roots.add_parsable_certificates(self.certificates().cloned());
        roots
    }

    /// A client that verifies chain and name, shows no certificate of its own, and offers no protocol by ALPN.
    ///
    /// # Errors
    /// [`AuthorityError::Setup`].
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, AuthorityError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(AuthorityError::Setup)?;
        Ok(Arc::new(config.with_root_certificates(self.roots()).with_no_client_auth()))
    }

    /// All of them in one text, Mozilla's too.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let mut text = String::new();
        for certificate in self.certificates() {
            text.push_str("-----BEGIN CERTIFICATE-----\n");
            let mut rest = STANDARD.encode(certificate);
            while rest.len() > PEM_LINE {
                let tail = rest.split_off(PEM_LINE);
                text.push_str(&rest);
                text.push('\n');
                rest = tail;
            }
            text.push_str(&rest);
            text.push_str("\n-----END CERTIFICATE-----\n");
        }
        text
    }

    fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        let mozilla = if self.with_mozilla { webpki_root_certs::TLS_SERVER_ROOT_CERTS } else { &[] };
        mozilla.iter().chain(&self.own)
    }
}

#[cfg(test)]
mod tests {
    use phoenix_testkit::certificates::Authority;

    use super::{Authorities, AuthorityError};

    #[test]
    fn what_is_added_comes_to_the_list() {
        let mozilla = Authorities::mozilla();
        let listed = mozilla.roots().len();
        assert!(listed > 100, "{listed}");
        let private = Authority::new("private");
        let both = mozilla.with_pem(private.pem().as_bytes()).expect("a certificate");
        assert_eq!((both.added(), both.roots().len()), (1, listed + 1));
        let alone = Authorities::none().with_pem(private.pem().as_bytes()).expect("a certificate");
        assert_eq!(alone.roots().len(), 1);
        assert!(both.client_config().is_ok() && !format!("{both:?}").contains("BEGIN"));
    }

    #[test]
    fn the_text_of_all_reads_as_the_same_list() {
        let both = Authorities::mozilla().with_pem(Authority::new("private").pem().as_bytes()).expect("good");
        let text = both.to_pem();
        assert!(text.lines().all(|line| line.len() <= 64));
        let again = Authorities::none().with_pem(text.as_bytes()).expect("what was written");
        assert_eq!(again.roots().roots, both.roots().roots);
    }

    #[test]
    fn what_holds_no_certificate_is_refused() {
        let refused = |text: &str| Authorities::mozilla().with_pem(text.as_bytes()).expect_err(text);
        let leaf = Authority::new("private").issue(&["a.example"]);
        for text in ["", "no certificate", &leaf.key_pem] {
            assert!(matches!(refused(text), AuthorityError::Empty), "{text}");
        }
        let cut = "-----BEGIN CERTIFICATE-----\nMIIB";
        assert!(matches!(refused(cut), AuthorityError::Pem(_)));
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let second = format!("{}{junk}", Authority::new("private").pem());
        assert!(matches!(refused(&second), AuthorityError::Certificate(2, _)));
    }
}
