//! What the crate is told: providers, their keys' addresses, limits. Checked whole when [`crate::Identity`] is made.
//!
//! It reads neither the environment nor files.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use http::Uri;
use thiserror::Error;
use zeroize::Zeroizing;

/// Most issuers beside Stack Auth.
pub const MAX_ISSUERS: usize = 16;
/// Most audiences of one issuer, and most addresses of one Stack Auth server.
pub const MAX_NAMES: usize = 64;

/// Everything the crate is told.
#[derive(Clone, Debug, Default)]
pub struct IdentityConfig {
    /// The Stack Auth project whose tokens are accepted.
    pub stack: Option<StackConfig>,
    /// Other issuers, at most [`MAX_ISSUERS`].
    pub issuers: Vec<OidcIssuer>,
    /// Certificates (PEM) to trust beside Mozilla's list: those of a private authority.
    pub trusted_certificates: Option<String>,
    /// Times and sizes.
    pub limits: IdentityLimits,
}

/// A project of Stack Auth, also known as Hexclave.
#[derive(Clone)]
pub struct StackConfig {
    /// The project's id, a UUID.
    pub project_id: String,
    /// The key for calls from server to server (`ssk_…`).
    pub secret_server_key: Zeroizing<String>,
    /// The key of the project's browsers (`pck_…`), for projects that ask for it.
    pub publishable_client_key: Option<String>,
    /// Addresses of the API without `/api/v1`, such as `https://api.stack-auth.com`: at least one. The first is used
    /// for calls. All of them are accepted in the issuer of a token, and so is the other name of Stack Auth's own
    /// cloud (`api.stack-auth.com` and `api.hexclave.com`).
    pub api_urls: Vec<String>,
    /// Whether users that Stack Auth restricts (address not verified, restricted by an administrator) are accepted.
    pub allow_restricted: bool,
    /// Whether anonymous users are accepted. This includes that they are restricted.
    pub allow_anonymous: bool,
}

impl fmt::Debug for StackConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackConfig")
            .field("project_id", &self.project_id)
            .field("api_urls", &self.api_urls)
            .field("allow_restricted", &self.allow_restricted)
            .field("allow_anonymous", &self.allow_anonymous)
            .finish_non_exhaustive()
    }
}

/// An issuer of JWTs, OIDC or alike.
#[derive(Clone, Debug)]
pub struct OidcIssuer {
    /// The exact text of `iss`: an `https` address (`http` for loopback addresses only).
    pub issuer: String,
    /// Audiences of which a token must name one. At least one.
    pub audiences: Vec<String>,
    /// Where the keys are. `None`: the issuer's discovery document says it, at
    /// `{issuer}/.well-known/openid-configuration` (OIDC Discovery 1.0).
    pub jwks: Option<String>,
    /// What its tokens may be signed with. At least one; see [`Algorithm::ALL`].
    pub algorithms: Vec<Algorithm>,
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518 section 3.4).
    Es256,
    /// RSA PKCS#1 v1.5 with SHA-256 (RFC 7518 section 3.3), 2048 to 8192 bits.
    Rs256,
    /// Ed25519 (RFC 8037, also named `Ed25519` by RFC 9864).
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Es256, Self::Rs256, Self::EdDsa];

    /// By its name in a header or a key. There is no name for "none" and for shared secrets.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// Times and sizes.
#[derive(Clone, Debug)]
pub struct IdentityLimits {
    /// Longest time to connect to a provider.
    pub connect_timeout: Duration,
    /// Longest time of one exchange with a provider, from the look-up of its name to the last byte of the answer.
    pub total_timeout: Duration,
    /// Largest answer of a key or discovery address, in bytes.
    pub response_bytes: usize,
    /// Largest answer of Stack Auth's API, in bytes.
    pub api_response_bytes: usize,
    /// Shortest time between two fetches that were caused by tokens with unknown keys.
    pub unknown_key_pause: Duration,
    /// How long keys are good when the issuer does not say so by `Cache-Control: max-age`.
    pub key_lifetime: Duration,
    /// How long the last good keys are used while the issuer cannot be reached.
    pub keep_keys: Duration,
    /// How much the issuer's clock may differ from ours, for `exp` and `nbf`.
    pub leeway: Duration,
    /// Any number, another for each node: keeps nodes from refreshing keys at the same moment.
    pub jitter_seed: u64,
}

impl Default for IdentityLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            total_timeout: Duration::from_secs(5),
            response_bytes: 256 * 1024,
            api_response_bytes: 1024 * 1024,
            unknown_key_pause: Duration::from_secs(30),
            key_lifetime: Duration::from_mins(15),
            keep_keys: Duration::from_hours(24),
            leeway: Duration::from_mins(1),
            jitter_seed: 0,
        }
    }
}

/// What is wrong with the configuration.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum IdentityConfigError {
    /// Not an address that may be called.
    #[error(
        "{what} {url:?} must be an https address, or http with a loopback address, without user, query or fragment"
    )]
    Url {
        /// Which one.
        what: &'static str,
        /// As it was given.
        url: String,
    },
    /// A list that must not be empty is, or it is too long.
    #[error("{what} must be 1 to {most}, not {count}")]
    Count {
        /// Of what.
        what: &'static str,
        /// Most.
        most: usize,
        /// How many there are.
        count: usize,
    },
    /// The id of the project is not made of letters, digits, `-` and `_`.
    #[error("the project id {0:?} must be a UUID, such as 8a2f4a3e-0000-4000-8000-5b1f6a7c9d10")]
    ProjectId(String),
    /// A key of the project cannot be sent in a header. The key itself is not repeated here.
    #[error("{0} must be printable ASCII without spaces, and not empty")]
    Key(&'static str),
    /// Two providers with the same issuer.
    #[error("the issuer {0:?} is configured twice")]
    Twice(String),
    /// The additional certificates cannot be read.
    #[error("the trusted certificates must be PEM with at least one certificate")]
    Certificates,
    /// The TLS library refused our settings: a defect.
    #[error("TLS cannot be set up")]
    Tls,
}

/// An address that may be called: `https`, or `http` where it cannot leave the machine.
///
/// # Errors
/// Anything else, and addresses with a user, a query that is not asked for, or without a host.
pub(crate) fn callable(what: &'static str, url: &str) -> Result<Uri, IdentityConfigError> {
    let refused = || IdentityConfigError::Url { what, url: url.to_owned() };
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else { return Err(refused()) };
    let may = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback(host),
        _ => false,
    };
    if !may || host.is_empty() || authority.as_str().contains('@') || url.contains('#') {
        return Err(refused());
    }
    Ok(uri)
}

/// Like [`callable`], and without a query: other paths are appended to it. The result does not end with `/`.
pub(crate) fn callable_base(what: &'static str, url: &str) -> Result<String, IdentityConfigError> {
    let uri = callable(what, url)?;
    if uri.query().is_some() {
        return Err(IdentityConfigError::Url { what, url: url.to_owned() });
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether the number of `what` is 1 to `most`.
pub(crate) fn count(what: &'static str, count: usize, most: usize) -> Result<(), IdentityConfigError> {
    if (1..=most).contains(&count) { Ok(()) } else { Err(IdentityConfigError::Count { what, most, count }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_addresses_only() {
        for good in [
            "https://api.stack-auth.com",
            "https://10.0.0.1:8443/auth",
            "http://127.0.0.1:8102",
            "http://[::1]:8102",
            "http://localhost:8102/",
        ] {
            assert!(callable_base("address", good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.stack-auth.com",
            "http://10.0.0.1",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://[::2]",
            "ftp://localhost",
            "localhost:8102",
            "/keys",
            "",
            "https://user:password@example.com",
            "https://example.com/#a",
            "https://example.com/?a=b",
            "https://exa mple.com",
        ] {
            assert!(callable_base("address", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let config = StackConfig {
            project_id: "p".to_owned(),
            secret_server_key: Zeroizing::new("ssk_hidden".to_owned()),
            publishable_client_key: None,
            api_urls: Vec::new(),
            allow_restricted: false,
            allow_anonymous: false,
        };
        assert!(!format!("{config:?}").contains("hidden"));
    }
}
