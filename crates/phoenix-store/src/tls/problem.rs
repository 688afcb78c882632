//! Why a server was not trusted, in words for whoever operates it.
//!
//! Read from the text of the error: the Redis client passes on nothing else of what a cluster's nodes failed with. The
//! texts are rustls', and the tests with real servers find a version of it that says something else.

use std::error::Error;
use std::fmt;

/// What the connection leads to. Decides what would help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsPeer {
    /// The database.
    Postgres,
    /// Redis, in any form.
    Redis,
}

/// Why no trusted TLS came about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsProblem {
    /// The certificate comes from nobody who is trusted.
    UnknownIssuer,
    /// The certificate is for other names than the one in the address.
    WrongName,
    /// The certificate is out of date.
    Expired,
    /// The certificate counts later.
    NotYetValid,
    /// The certificate is an authority's: a self-signed one with `CA:TRUE`.
    AuthorityAsServer,
    /// Anything else that is wrong with the certificate.
    BadCertificate,
    /// The server wants a certificate from us, or does not like ours.
    ClientCertificate,
    /// The server does not speak TLS here.
    NotOffered,
    /// The two found no version or cipher in common.
    Handshake,
}

impl TlsProblem {
    /// `None` when the error is no problem of TLS.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push('\n');
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::of_text(&text)
    }

    fn of_text(text: &str) -> Option<Self> {
        let has = |part: &str| text.contains(part);
        if has("invalid peer certificate") {
            return Some(if has("UnknownIssuer") {
                Self::UnknownIssuer
            } else if has("not valid for") || has("NotValidForName") {
                Self::WrongName
            } else if has("not valid yet") || has("NotValidYet") {
                Self::NotYetValid
            } else if has("expired") || has("Expired") {
                Self::Expired
            } else if has("CaUsedAsEndEntity") {
                Self::AuthorityAsServer
            } else {
                Self::BadCertificate
            });
        }
        if has("server does not support TLS") || has("received corrupt message") {
            return Some(Self::NotOffered);
        }
        if has("CertificateRequired") || has("received fatal alert: BadCertificate") || has("UnknownCA") {
            return Some(Self::ClientCertificate);
        }
        (has("fatal alert") || has("peer is incompatible")).then_some(Self::Handshake)
    }

    /// What would help.
    #[must_use]
    pub fn remedy(self, peer: TlsPeer) -> &'static str {
        match (self, peer) {
            (Self::UnknownIssuer, TlsPeer::Postgres) => {
                "name a file with its authority's certificate in PHOENIX_TRUST_FILE, or as sslrootcert in DATABASE_URL; \
                 sslmode=disable goes without TLS"
            }
            (Self::UnknownIssuer, TlsPeer::Redis) => {
                "name a file with its authority's certificate in PHOENIX_TRUST_FILE"
            }
            (Self::WrongName, TlsPeer::Postgres) => {
                "use a name of its certificate in DATABASE_URL (names are in subjectAltName; the common name does not \
                 count), or sslmode=verify-ca if its authority serves nobody else"
            }
            (Self::WrongName, TlsPeer::Redis) => {
                "use a name of its certificate in REDIS_URL (names are in subjectAltName; the common name does not count); \
                 nodes of a cluster and masters that sentinels name must announce such a name or address"
            }
            (Self::Expired, _) => "renew its certificate",
            (Self::NotYetValid, _) => "compare the clocks of both machines",
            (Self::AuthorityAsServer, _) => {
                "give it a certificate with basicConstraints=CA:FALSE, and name the file with its authority's certificate in \
                 PHOENIX_TRUST_FILE"
            }
            (Self::BadCertificate, _) => "look at its certificate with `openssl x509 -text`",
            (Self::ClientCertificate, TlsPeer::Postgres) => {
                "name a certificate that it accepts as sslcert and sslkey in DATABASE_URL"
            }
            (Self::ClientCertificate, TlsPeer::Redis) => {
                "set tls-auth-clients to no at the server: Phoenix shows Redis no certificate, and signs in by password"
            }
            (Self::NotOffered, TlsPeer::Postgres) => {
                "turn TLS on at the server (ssl = on); sslmode=disable goes without it"
            }
            (Self::NotOffered, TlsPeer::Redis) => "use the server's tls-port, or redis:// to go without TLS",
            (Self::Handshake, _) => "the server must speak TLS 1.2 or 1.3",
        }
    }
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => "its certificate comes from no authority that is trusted",
            Self::WrongName => "its certificate is for other names",
            Self::Expired => "its certificate has expired",
            Self::NotYetValid => "its certificate is not valid yet",
            Self::AuthorityAsServer => "its certificate is an authority's, not a server's",
            Self::BadCertificate => "its certificate cannot be accepted",
            Self::ClientCertificate => "it asks for a certificate of Phoenix, or refuses the one it got",
            Self::NotOffered => "it does not speak TLS",
            Self::Handshake => "TLS did not come about",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use rustls::{AlertDescription, CertificateError, InvalidMessage, OtherError};

    use super::{TlsPeer, TlsProblem};

    fn of(error: rustls::Error) -> Option<TlsProblem> {
        // As tokio-rustls hands it on.
        TlsProblem::of(&io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn each_refusal_has_its_words() {
        let name = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("expired.example").expect("a name"),
            presented: vec!["b.example".to_owned()],
        };
        let authority = OtherError(Arc::new(io::Error::other("CaUsedAsEndEntity")));
        for (error, problem) in [
            (CertificateError::UnknownIssuer, TlsProblem::UnknownIssuer),
            (name, TlsProblem::WrongName),
            (CertificateError::NotValidForName, TlsProblem::WrongName),
            (CertificateError::Expired, TlsProblem::Expired),
            (CertificateError::NotValidYet, TlsProblem::NotYetValid),
            (CertificateError::Other(authority), TlsProblem::AuthorityAsServer),
            (CertificateError::BadSignature, TlsProblem::BadCertificate),
        ] {
            assert_eq!(of(rustls::Error::InvalidCertificate(error.clone())), Some(problem), "{error:?}");
        }
        let alert = |alert| of(rustls::Error::AlertReceived(alert));
        assert_eq!(alert(AlertDescription::CertificateRequired), Some(TlsProblem::ClientCertificate));
        assert_eq!(alert(AlertDescription::HandshakeFailure), Some(TlsProblem::Handshake));
        let plain = of(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType));
        assert_eq!(plain, Some(TlsProblem::NotOffered));
    }

    #[test]
    fn other_errors_are_none() {
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::UnexpectedEof, io::ErrorKind::TimedOut]
        {
            assert_eq!(TlsProblem::of(&io::Error::from(kind)), None);
        }
    }

    #[test]
    fn redis_is_not_told_of_parameters_that_it_has_not() {
        for problem in [
            TlsProblem::UnknownIssuer,
            TlsProblem::WrongName,
            TlsProblem::ClientCertificate,
            TlsProblem::NotOffered,
        ] {
            assert!(!problem.remedy(TlsPeer::Redis).contains("ssl"), "{problem}");
            assert!(
                problem.remedy(TlsPeer::Postgres).contains("DATABASE_URL")
                    || problem.remedy(TlsPeer::Postgres).contains("sslmode")
            );
        }
    }
}
