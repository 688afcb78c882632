//! Outside identity providers: what the domain's ports ask, answered by `phoenix-identity`.
//!
//! Owns the translation between the two, and what runs beside requests to stay in step with a provider: `sync.rs` and `tell.rs`.

mod sync;
mod tell;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use phoenix_auth::model::{Email, Identity as Name, Moment, Profile, Provider, SessionId, Timestamp, UserId};
use phoenix_auth::ports::{EndedExternal, ExternalProfile, IdentityVerifier, VerifiedToken, VerifyError};
use phoenix_config::{Config, SignatureAlgorithm, Stack};
use phoenix_identity::{
    Algorithm, Identity, IdentityConfig, IdentityLimits, OidcIssuer, Refusal, StackConfig,
};
use zeroize::Zeroizing;

use sync::StackSync;

use crate::trust;

pub(crate) use sync::run as run_sync;
pub(crate) use webhooks::StackWebhooks;

/// How much a provider's clock may differ from ours.
const LEEWAY: Duration = Duration::from_mins(1);
/// Longest name taken over from a provider, in characters; longer ones are cut.
const MAX_NAME_CHARS: usize = 100;

/// All configured providers.
pub(crate) struct Providers {
    pub(crate) identity: Identity,
    /// Present with Stack Auth.
    pub(crate) stack: Option<StackSync>,
}

impl Providers {
    /// `None` when no provider is configured.
    pub(crate) fn of(config: &Config, seed: u64) -> anyhow::Result<Option<Arc<Self>>> {
        if config.stack.is_none() && config.identity.issuers.is_empty() {
            return Ok(None);
        }
        let identity = Identity::new(&IdentityConfig {
            stack: config.stack.as_ref().map(stack_config),
            issuers: config.identity.issuers.iter().map(issuer).collect(),
            trusted_certificates: trust::additional(config)?,
            limits: IdentityLimits {
                total_timeout: config.identity.request_timeout,
                connect_timeout: config.identity.request_timeout.min(Duration::from_secs(2)),
                unknown_key_pause: config.identity.key_cool_down,
                leeway: LEEWAY,
                jitter_seed: seed,
                ..IdentityLimits::default()
            },
        })?;
        let stack =
            config.stack.as_ref().map(|stack| StackSync::new(project_issuer(stack), stack.poll_interval));
        Ok(Some(Arc::new(Self { identity, stack })))
    }
}

/// How a Stack Auth project is named as an issuer, whichever of its hosts signed a token.
pub(crate) fn project_issuer(stack: &Stack) -> String {
    format!("stack:{}", stack.project_id)
}

fn stack_config(stack: &Stack) -> StackConfig {
    StackConfig {
        project_id: stack.project_id.to_string(),
        secret_server_key: Zeroizing::new(stack.secret_server_key.expose().to_owned()),
        publishable_client_key: Some(stack.publishable_client_key.clone()),
        api_urls: vec![stack.api_url.to_string()],
        allow_restricted: stack.allow_restricted,
        allow_anonymous: stack.allow_anonymous,
    }
}

fn issuer(issuer: &phoenix_config::OidcIssuer) -> OidcIssuer {
    let algorithm = |algorithm: &SignatureAlgorithm| match algorithm {
        SignatureAlgorithm::Es256 => Algorithm::Es256,
        SignatureAlgorithm::Rs256 => Algorithm::Rs256,
        SignatureAlgorithm::EdDsa => Algorithm::EdDsa,
    };
    OidcIssuer {
        issuer: issuer.issuer.clone(),
        audiences: issuer.audiences.clone(),
        jwks: issuer.jwks.clone(),
        algorithms: issuer.algorithms.iter().map(algorithm).collect(),
    }
}

#[async_trait]
impl IdentityVerifier for Providers {
    fn has_shape(&self, text: &str) -> bool {
        Identity::looks_like_token(text)
    }

    async fn verify(&self, token: &str, now: Moment) -> Result<VerifiedToken, VerifyError> {
        let seconds = now.wall.as_millis().div_euclid(1000);
        let verified = self.identity.verify(token, seconds, now.mono).await.map_err(|refusal| {
            tracing::debug!(refusal = refusal.label(), "a token of an identity provider was refused");
            refused(refusal)
        })?;
        let (provider, issuer) = match (&*verified.provider, &self.stack) {
            ("stack", Some(stack)) => (Provider::Stack, stack.issuer()),
            (issuer, _) => (Provider::Oidc, issuer),
        };
        let session = verified.session.to_string();
        if session.chars().any(char::is_control) {
            return Err(VerifyError::Invalid);
        }
        Ok(VerifiedToken {
            provider,
            identity: Name::new(issuer, &verified.subject).ok_or(VerifyError::Invalid)?,
            session,
            issued_at: Timestamp::from_millis(verified.issued_at.saturating_mul(1000)),
            expires_at: Timestamp::from_millis(verified.expires_at.saturating_mul(1000)).plus(LEEWAY),
            user: external_profile(
                verified.email.as_deref(),
                verified.email_verified,
                verified.name.as_deref(),
                verified.picture.as_deref(),
            ),
        })
    }

    fn seen(&self, token: &VerifiedToken, user_id: UserId, session_id: SessionId) {
        if let (Some(stack), Provider::Stack) = (&self.stack, token.provider) {
            let names = (token.identity.subject(), &*token.session);
            stack.seen(names, (user_id, session_id), token.expires_at);
        }
    }

    fn ended(&self, sessions: &[EndedExternal]) {
        if let Some(stack) = &self.stack {
            stack.endings.note(stack.issuer(), sessions);
        }
    }
}

fn refused(refusal: Refusal) -> VerifyError {
    match refusal {
        Refusal::KeysUnavailable => VerifyError::Unavailable,
        Refusal::Expired => VerifyError::Expired,
        Refusal::RestrictedUser | Refusal::AnonymousUser => VerifyError::NotAllowed,
        Refusal::Malformed
        | Refusal::TokenType
        | Refusal::UnknownIssuer
        | Refusal::UnknownKey
        | Refusal::Algorithm
        | Refusal::Signature
        | Refusal::NotYetValid
        | Refusal::Audience
        | Refusal::Inconsistent => VerifyError::Invalid,
    }
}

/// What a provider says about a user, as far as it meets our own bounds.
fn external_profile(
    email: Option<&str>,
    email_verified: bool,
    name: Option<&str>,
    picture: Option<&str>,
) -> ExternalProfile {
    let email = email.and_then(|email| Email::parse(email).ok());
    let printable = |name: &str| -> String {
        name.trim().chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
    };
    let fits = |profile: Profile| profile.check().is_ok().then_some(profile);
    let named = fits(Profile { username: name.map(printable), ..Profile::default() }).unwrap_or_default();
    let pictured = fits(Profile { image_url: picture.map(str::to_owned), ..Profile::default() });
    ExternalProfile {
        email_verified: email_verified && email.is_some(),
        email,
        profile: Profile { image_url: pictured.and_then(|profile| profile.image_url), ..named },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_meet_our_bounds_is_left_out() {
        let long = "n".repeat(300);
        let profile = external_profile(Some("not an address"), true, Some(&long), Some("http://x"));
        assert_eq!((profile.email, profile.email_verified), (None, false));
        assert_eq!(profile.profile.username.map(|name| name.len()), Some(MAX_NAME_CHARS));
        assert_eq!(profile.profile.image_url, None);
        let profile =
            external_profile(Some("a@b.example"), true, Some(" \u{7} "), Some("https://x.example/p.png"));
        assert!(profile.email_verified);
        assert_eq!(profile.profile.username, None);
        assert_eq!(profile.profile.image_url.as_deref(), Some("https://x.example/p.png"));
    }
}
