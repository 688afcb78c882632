//! Where an issuer's keys come from: a fixed address, or the one that its discovery document names. One load is one or
//! two exchanges. Nothing is kept here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use serde::Deserialize;
use thiserror::Error;

use crate::config::{Algorithm, IdentityConfigError, callable, callable_base};
use crate::http::{Fetch, FetchError};
use crate::keys::jwk::KeySet;
use crate::stack_api::effective_status;

/// Where the keys are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Stack Auth's address, whose answers may have another status than it seems.
    Stack(Uri),
    /// The configured address.
    Fixed(Uri),
    /// The discovery document (OIDC Discovery 1.0 section 4) of this issuer, word by word.
    Discovery { document: Uri, issuer: String },
}

impl Place {
    /// Stack Auth's keys for all three kinds of users. The set is not narrowed to the kinds that are allowed, so that
    /// the others get a clear refusal, and cannot cause fetches with keys that would be unknown.
    pub(crate) fn stack(base: &str, project: &str) -> Result<Self, IdentityConfigError> {
        let url = format!(
            "{base}/api/v1/projects/{project}/.well-known/jwks.json?include_restricted=true&include_anonymous=true"
        );
        callable("the address of Stack Auth's keys", &url).map(Self::Stack)
    }

    /// The keys of another issuer.
    pub(crate) fn issuer(issuer: &str, jwks: Option<&str>) -> Result<Self, IdentityConfigError> {
        let base = callable_base("the issuer", issuer)?;
        if let Some(jwks) = jwks {
            return callable("the address of the issuer's keys", jwks).map(Self::Fixed);
        }
        let document = callable("the issuer", &format!("{base}/.well-known/openid-configuration"))?;
        Ok(Self::Discovery { document, issuer: issuer.to_owned() })
    }
}

/// All that a load needs.
pub(crate) struct Origin {
    pub place: Place,
    pub algorithms: Vec<Algorithm>,
    pub fetch: Arc<dyn Fetch>,
    /// Largest answer, in bytes.
    pub bytes: usize,
}

/// A load that succeeded: at least one key.
pub(crate) struct LoadedKeys {
    pub set: Arc<KeySet>,
    /// What the issuer says how long they are good.
    pub max_age: Option<Duration>,
}

/// Why a load failed.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// The exchange failed.
    #[error("ask the issuer")]
    Fetch(#[from] FetchError),
    /// The answer is not 200.
    #[error("the issuer answered with status {0}")]
    Status(StatusCode),
    /// The document is no discovery document, or it names no address that may be called.
    #[error("the discovery document is unusable")]
    Discovery,
    /// The document is of another issuer.
    #[error("the discovery document names another issuer")]
    OtherIssuer,
    /// The answer is no key set.
    #[error("the answer is not a key set")]
    NotKeys,
    /// A set without a key that we can use. It never replaces a good one.
    #[error("the key set has no usable key")]
    NoKeys,
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

impl Origin {
    /// Fetches the keys.
    pub(crate) async fn load(self: Arc<Self>) -> Result<LoadedKeys, LoadError> {
        let keys = match &self.place {
            Place::Stack(uri) | Place::Fixed(uri) => uri.clone(),
            Place::Discovery { document, issuer } => self.discover(document, issuer).await?,
        };
        let answer = self.get(&keys).await?;
        let set = KeySet::parse(answer.body(), &self.algorithms).ok_or(LoadError::NotKeys)?;
        if set.len() == 0 {
            return Err(LoadError::NoKeys);
        }
        Ok(LoadedKeys { set: Arc::new(set), max_age: max_age(answer.headers()) })
    }

    async fn discover(&self, document: &Uri, issuer: &str) -> Result<Uri, LoadError> {
        let answer = self.get(document).await?;
        let found: DiscoveryDocument =
            serde_json::from_slice(answer.body()).map_err(|_| LoadError::Discovery)?;
        if found.issuer != issuer {
            return Err(LoadError::OtherIssuer);
        }
        let keys = callable("jwks_uri", &found.jwks_uri).map_err(|_| LoadError::Discovery)?;
        // An issuer elsewhere must not send us to a service of this machine.
        if keys.scheme() != document.scheme() {
            return Err(LoadError::Discovery);
        }
        Ok(keys)
    }

    async fn get(&self, uri: &Uri) -> Result<Response<Bytes>, LoadError> {
        let mut request = Request::new(());
        *request.uri_mut() = uri.clone();
        request.headers_mut().insert(ACCEPT, http::HeaderValue::from_static("application/json"));
        let answer = self.fetch.fetch(request, self.bytes).await?;
        let status = match self.place {
            Place::Stack(_) => effective_status(&answer).ok_or(LoadError::NotKeys)?,
            Place::Fixed(_) | Place::Discovery { .. } => answer.status(),
        };
        if status == StatusCode::OK { Ok(answer) } else { Err(LoadError::Status(status)) }
    }
}

/// `max-age` (RFC 9111 section 5.2.2.1) in seconds; zero for answers that are not to be kept.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut age = None;
    for directive in fields.flat_map(|field| field.split(',')).map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        if name.eq_ignore_ascii_case("max-age") {
            age = age.or_else(|| value.trim_matches('"').parse().ok().map(Duration::from_secs));
        }
    }
    age
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn max_age_is_found_among_other_directives() {
        let age = |text: &'static str| {
            max_age(&HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(text))]))
        };
        assert_eq!(age("public, max-age=3600"), Some(Duration::from_hours(1)));
        assert_eq!(age("Max-Age=\"60\""), Some(Duration::from_mins(1)));
        assert_eq!(age("max-age=3600, no-store"), Some(Duration::ZERO));
        for without in ["public", "max-age", "max-age=-1", "max-age=a", "s-maxage=5", ""] {
            assert_eq!(age(without), None, "{without}");
        }
        assert_eq!(max_age(&HeaderMap::new()), None);
    }

    #[test]
    fn the_document_is_below_the_issuer_and_addresses_are_checked() {
        let document = |issuer: &str| match Place::issuer(issuer, None) {
            Ok(Place::Discovery { document, .. }) => document.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(document("https://id.example/a"), "https://id.example/a/.well-known/openid-configuration");
        assert_eq!(document("https://id.example/"), "https://id.example/.well-known/openid-configuration");
        assert!(Place::issuer("http://id.example", None).is_err());
        assert!(Place::issuer("https://id.example", Some("http://id.example/keys")).is_err());
        assert!(Place::issuer("https://id.example", Some("https://id.example/keys?v=1")).is_ok());
    }
}
