//! The way of a token: shape, issuer, claims, key, signature, policy. In that order, because each step costs more than
//! the one before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::config::{
    Algorithm, IdentityConfig, IdentityConfigError, IdentityLimits, MAX_ISSUERS, MAX_NAMES, OidcIssuer,
    StackConfig, count,
};
use crate::http::{Fetch, HttpsClient};
use crate::jws::{self, Jws};
use crate::keys::origin::{Origin, Place};
use crate::keys::source::{KeySetStats, KeySource};
use crate::policy::claims::{self, Now};
use crate::policy::oidc::OidcPolicy;
use crate::policy::stack::{PROVIDER, StackNames, StackPolicy, UserType};
use crate::refusal::Refusal;
use crate::stack_api::StackApi;
use crate::token::VerifiedToken;

/// The configured providers. A clone is the same.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    /// By the exact text of `iss`.
    issuers: HashMap<String, Issuer>,
    sources: Vec<Arc<KeySource>>,
    stack: Option<StackApi>,
    leeway_seconds: i64,
}

struct Issuer {
    algorithms: Vec<Algorithm>,
    rules: Rules,
    keys: Arc<KeySource>,
}

enum Rules {
    Stack(Arc<StackPolicy>, UserType),
    Oidc(OidcPolicy),
}

impl Identity {
    /// Checks the configuration. Nothing is fetched.
    ///
    /// # Errors
    /// See [`IdentityConfigError`].
    pub fn new(config: &IdentityConfig) -> Result<Self, IdentityConfigError> {
        Self::with_fetch(config, Arc::new(HttpsClient::new(config)?))
    }

    pub(crate) fn with_fetch(
        config: &IdentityConfig,
        fetch: Arc<dyn Fetch>,
    ) -> Result<Self, IdentityConfigError> {
        if config.issuers.len() > MAX_ISSUERS {
            count("issuers", config.issuers.len(), MAX_ISSUERS)?;
        }
        let leeway = config.limits.leeway.as_secs();
        let mut builder = Builder {
            fetch,
            limits: &config.limits,
            inner: Inner {
                issuers: HashMap::new(),
                sources: Vec::new(),
                stack: None,
                leeway_seconds: i64::try_from(leeway).unwrap_or(i64::MAX),
            },
        };
        if let Some(stack) = &config.stack {
            builder.add_stack(stack)?;
        }
        for issuer in &config.issuers {
            builder.add_issuer(issuer)?;
        }
        Ok(Self(Arc::new(builder.inner)))
    }

    /// Whether a text has the shape of a token at all: three parts of base64url, at most 8 KiB, beginning with `eyJ`.
    #[must_use]
    pub fn looks_like_token(text: &str) -> bool {
        jws::looks_like_token(text)
    }

    /// Verifies a token. It waits only when the key is not at hand, and then for at most one exchange with the issuer
    /// (two with discovery), which it shares with all who wait.
    ///
    /// `wall_seconds`: seconds since 1970. `mono`: the time on a clock that never goes back, the same for all calls.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn verify(
        &self,
        token: &str,
        wall_seconds: i64,
        mono: Duration,
    ) -> Result<VerifiedToken, Refusal> {
        let jws = Jws::parse(token)?;
        let issuer = claims::issuer(&jws.payload)?;
        let issuer = self.0.issuers.get(&issuer).ok_or(Refusal::UnknownIssuer)?;
        if !issuer.algorithms.contains(&jws.algorithm) {
            return Err(Refusal::Algorithm);
        }
        let now = Now { wall_seconds, leeway_seconds: self.0.leeway_seconds };
        let candidate = match &issuer.rules {
            // It has several keys and always names one.
            Rules::Stack(..) if jws.key_id.is_none() => return Err(Refusal::Malformed),
            Rules::Stack(policy, user) => policy.judge(&jws.payload, *user, now)?,
            Rules::Oidc(policy) => policy.judge(&jws.payload, jws.signing_input, now)?,
        };
        let key = issuer.keys.key(jws.key_id.as_deref(), jws.algorithm, mono).await?;
        let proof = key.verify(jws.signing_input.as_bytes(), &jws.signature)?;
        candidate.proven(proof)
    }

    /// Fetches the keys that are due, all issuers at the same time, and returns when to call next, on the clock of
    /// `mono`. To be called at the start and then every few seconds by a background task: keys that an issuer has
    /// withdrawn are forgotten by nothing else.
    pub async fn refresh_keys(&self, mono: Duration) -> Duration {
        let due = join_all(self.0.sources.iter().map(|source| source.refresh(mono))).await;
        due.into_iter().min().unwrap_or(Duration::MAX)
    }

    /// What is known about the keys of each issuer: Stack Auth first, then in the order of the configuration.
    #[must_use]
    pub fn stats(&self, mono: Duration) -> Vec<KeySetStats> {
        self.0.sources.iter().map(|source| source.stats(mono)).collect()
    }

    /// Stack Auth's API, if a project is configured.
    #[must_use]
    pub fn stack(&self) -> Option<&StackApi> {
        self.0.stack.as_ref()
    }
}

struct Builder<'a> {
    fetch: Arc<dyn Fetch>,
    limits: &'a IdentityLimits,
    inner: Inner,
}

impl Builder<'_> {
    fn add_stack(&mut self, config: &StackConfig) -> Result<(), IdentityConfigError> {
        let names = StackNames::new(config)?;
        let place = Place::stack(&names.base, &names.project)?;
        let keys = self.add_source(PROVIDER, place, &[Algorithm::Es256]);
        let bytes = self.limits.api_response_bytes;
        let api = StackApi::new(config, names.base, &names.project, Arc::clone(&self.fetch), bytes)?;
        self.inner.stack = Some(api);
        let policy = Arc::new(StackPolicy::new(config, names.project));
        for (issuer, user) in names.issuers {
            let rules = Rules::Stack(Arc::clone(&policy), user);
            self.add(issuer, Issuer { algorithms: vec![Algorithm::Es256], rules, keys: Arc::clone(&keys) })?;
        }
        Ok(())
    }

    fn add_issuer(&mut self, config: &OidcIssuer) -> Result<(), IdentityConfigError> {
        let OidcIssuer { issuer, audiences, jwks, algorithms } = config;
        count("audiences of an issuer", audiences.len(), MAX_NAMES)?;
        count("algorithms of an issuer", algorithms.len(), Algorithm::ALL.len())?;
        let place = Place::issuer(issuer, jwks.as_deref())?;
        let keys = self.add_source(issuer, place, algorithms);
        let rules = Rules::Oidc(OidcPolicy::new(Arc::from(issuer.as_str()), audiences.clone()));
        self.add(issuer.clone(), Issuer { algorithms: algorithms.clone(), rules, keys })
    }

    fn add_source(&mut self, provider: &str, place: Place, algorithms: &[Algorithm]) -> Arc<KeySource> {
        let (fetch, bytes) = (Arc::clone(&self.fetch), self.limits.response_bytes);
        let origin = Origin { place, algorithms: algorithms.to_vec(), fetch, bytes };
        let source = Arc::new(KeySource::new(Arc::from(provider), origin, self.limits.clone()));
        self.inner.sources.push(Arc::clone(&source));
        source
    }

    fn add(&mut self, name: String, issuer: Issuer) -> Result<(), IdentityConfigError> {
        if self.inner.issuers.contains_key(&name) {
            return Err(IdentityConfigError::Twice(name));
        }
        self.inner.issuers.insert(name, issuer);
        Ok(())
    }
}
