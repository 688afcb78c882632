//! Entries of lists that have several parts: the times of a role, an outside identity provider, a
//! certificate's files. Owns what the parts
//! are; how an entry is written, and what it may hold, is in `kinds/`.

use std::path::PathBuf;
use std::time::Duration;

use super::Choices;

/// Shorter times for the sessions of users who have a role. Written `admin=1h/12h`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleTimeouts {
    /// The role: 1 to 32 characters of a-z, 0-9, `-` and `_`, the first a letter.
    pub role: String,
    /// Time without a request after which such a session ends; at most `session.idle_timeout`.
    pub idle: Duration,
    /// Age at which such a session ends; at least `idle`, at most `session.absolute_timeout`.
    pub absolute: Duration,
}

/// An outside identity provider whose signed tokens (JWT, RFC 7519) are accepted. Written
/// `https://issuer.example audience=my-app`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcIssuer {
    /// What its tokens say in `iss`, as written: compared byte for byte (RFC 7519, section 4.1.1). An `https` URL, or
    /// `http` on a loopback host, without query and fragment.
    pub issuer: String,
    /// What its tokens say in `aud`; one of these is enough. 1 to 8, each of 1 to 512 bytes.
    pub audiences: Vec<String>,
    /// Where its keys are (RFC 7517, section 5): an `https` URL, or `http` on a loopback host. When it is not set, the
    /// place that the provider's own description names (OIDC Discovery 1.0, section 4).
    pub jwks: Option<String>,
    /// Algorithms that its tokens may be signed with; at least one, each once.
    pub algorithms: Vec<SignatureAlgorithm>,
}

/// An algorithm for the signature of a token (RFC 7518, section 3.1; RFC 8037, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// `ES256`: ECDSA on P-256 with SHA-256.
    Es256,
    /// `RS256`: RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// `EdDSA`: Ed25519.
    EdDsa,
}

impl SignatureAlgorithm {
    /// Every algorithm, in the order in which they are used when a setting does not name them.
    pub const ALL: [Self; 3] = [Self::Es256, Self::Rs256, Self::EdDsa];

    /// The name in the `alg` of a token's header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl Choices for SignatureAlgorithm {
    const ALL: &'static [(&'static str, Self)] = &[
        (Self::Es256.as_str(), Self::Es256),
        (Self::Rs256.as_str(), Self::Rs256),
        (Self::EdDsa.as_str(), Self::EdDsa),
    ];
}

/// A certificate and its key, in PEM files. Written `fullchain.pem:privkey.pem`, or as one file that holds both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The server's certificate first, then those that lead to its authority.
    pub certificate: PathBuf,
    /// The private key; the same file when it holds both.
    pub key: PathBuf,
}
