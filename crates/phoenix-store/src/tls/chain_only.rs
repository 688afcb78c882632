//! `sslmode=verify-ca`: the certificate must come from a trusted authority and be good now, but may have any name.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// Everything that rustls verifies, except for the name.
#[derive(Debug)]
pub(crate) struct ChainOnly(pub(crate) Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: all else is in order.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use phoenix_testkit::certificates::{Authority, Leaf};
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::ChainOnly;
    use crate::tls::{Authorities, provider};

    /// 2026-06-01.
    const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_hours(494_520));

    #[test]
    fn only_the_name_is_free() {
        let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
        let trusted = Authorities::none().with_pem(ours.pem().as_bytes()).expect("a certificate");
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted.roots()), provider());
        let verifier = ChainOnly(inner.build().expect("roots"));
        let name = ServerName::try_from("db.example").expect("a name");
        let accepts = |leaf: &Leaf| {
            let certificate = CertificateDer::from_pem_slice(leaf.certificate_pem.as_bytes()).expect("PEM");
            verifier.verify_server_cert(&certificate, &[], &name, &[], NOW).is_ok()
        };
        assert!(accepts(&ours.issue(&["db.example"])) && accepts(&ours.issue(&["other.example"])));
        assert!(!accepts(&ours.issue_expired(&["db.example"])), "expired");
        assert!(!accepts(&ours.issue_expired(&["other.example"])), "expired, with another name");
        assert!(!accepts(&foreign.issue(&["db.example"])), "another authority");
    }
}
