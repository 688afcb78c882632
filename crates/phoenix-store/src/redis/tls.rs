//! TLS to Redis: turns plain places into places under TLS, and explains failures.
//!
//! The driver makes the connections itself and takes certificates, not a configuration of rustls. So it is given all
//! authorities as text, or nothing when they are exactly Mozilla's, which it has itself.

use std::fmt;
use std::sync::Arc;

use redis::cluster::ClusterClientBuilder;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError, TlsCertificates, TlsMode,
};

use crate::tls::{Authorities, TlsPeer, TlsProblem, provider};

/// How to speak TLS. Without it everything goes in the clear.
pub(super) struct RedisTls {
    certificates: Option<TlsCertificates>,
    /// An address with the same, read. The driver gives them no name that could be kept instead.
    pattern: ConnectionAddr,
}

impl RedisTls {
    pub(super) fn new(trusted: &Authorities) -> Result<Self, RedisError> {
        // The driver asks for the default of the process and takes no other. The first one stays, and is ours unless the
        // program chose one.
        let _chosen_before = Arc::unwrap_or_clone(provider()).install_default();
        if trusted.is_mozilla() {
            let pattern = "rediss://localhost".into_connection_info()?.addr().clone();
            return Ok(Self { certificates: None, pattern });
        }
        let certificates =
            TlsCertificates { client_tls: None, root_cert: Some(trusted.to_pem().into_bytes()) };
        let client = Client::build_with_tls("rediss://localhost", certificates.clone())?;
        let pattern = client.get_connection_info().addr().clone();
        Ok(Self { certificates: Some(certificates), pattern })
    }

    /// The same place under TLS, with the name and the certificate verified.
    pub(super) fn protect(&self, info: ConnectionInfo) -> ConnectionInfo {
        let mut protected = self.pattern.clone();
        if let ConnectionAddr::TcpTls { host, port, insecure, .. } = &mut protected
            && let ConnectionAddr::Tcp(to, at) = info.addr()
        {
            (*host, *port, *insecure) = (to.clone(), *at, false);
        }
        info.set_addr(protected)
    }

    /// The same for all nodes of a cluster.
    pub(super) fn protect_cluster(&self, builder: ClusterClientBuilder) -> ClusterClientBuilder {
        let builder = builder.tls(TlsMode::Secure);
        match &self.certificates {
            Some(certificates) => builder.certs(certificates.clone()),
            None => builder,
        }
    }
}

/// An error with what would help, if TLS is what failed.
pub(super) struct Explained<'a>(pub(super) &'a RedisError);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TlsProblem::of(self.0) {
            Some(problem) => {
                write!(f, "{problem}; {} ({})", problem.remedy(TlsPeer::Redis), self.0)
            }
            None => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use phoenix_testkit::certificates::Authority;
    use redis::{ConnectionAddr, IntoConnectionInfo as _, RedisError};
    use rustls::CertificateError;

    use super::{Explained, RedisTls};
    use crate::tls::Authorities;

    #[test]
    fn places_keep_everything_but_the_clear() {
        let private = Authorities::mozilla().with_pem(Authority::new("private").pem().as_bytes());
        for trusted in [Authorities::mozilla(), private.expect("a certificate")] {
            let tls = RedisTls::new(&trusted).expect("certificates");
            let plain = "redis://me:secret@cache:6380/3".into_connection_info().expect("an address");
            let protected = tls.protect(plain);
            assert_eq!(protected.addr().to_string(), "cache:6380");
            assert_eq!(protected.redis_settings().password(), Some("secret"));
            assert_eq!(protected.redis_settings().db(), 3);
            let ConnectionAddr::TcpTls { insecure, tls_params, .. } = protected.addr() else {
                panic!("in the clear")
            };
            assert!(!insecure && tls_params.is_some() != trusted.is_mozilla());
        }
    }

    #[test]
    fn certificates_are_explained_and_other_errors_are_themselves() {
        let error = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = RedisError::from(io::Error::new(io::ErrorKind::InvalidData, error));
        let text = Explained(&error).to_string();
        assert!(text.contains("PHOENIX_TRUST_FILE") && text.contains("UnknownIssuer"), "{text}");
        let other = RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(Explained(&other).to_string(), other.to_string());
    }
}
