//! Claims of Stack Auth's access tokens: who may have issued them, for whom, and which of them belong together.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::config::{IdentityConfigError, MAX_NAMES, StackConfig, callable_base, count};
use crate::policy::Candidate;
use crate::policy::claims::{self, Now, NumericDate};
use crate::refusal::Refusal;
use crate::token::{SessionReference, VerifiedToken};

/// The provider's name.
pub(crate) const PROVIDER: &str = "stack";
/// The two names of Stack Auth's own cloud.
const CLOUD: [&str; 2] = ["https://api.stack-auth.com", "https://api.hexclave.com"];
/// The only branch whose tokens are accepted.
const BRANCH: &str = "main";

/// What kind of user a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserType {
    Normal,
    Restricted,
    Anonymous,
}

impl UserType {
    const ALL: [Self; 3] = [Self::Normal, Self::Restricted, Self::Anonymous];

    fn issuer(self, base: &str, project: &str) -> String {
        let path = match self {
            Self::Normal => "projects",
            Self::Restricted => "projects-restricted-users",
            Self::Anonymous => "projects-anonymous-users",
        };
        format!("{base}/api/v1/{path}/{project}")
    }

    /// By audience.
    fn named(audience: &str, project: &str) -> Option<Self> {
        match audience.strip_prefix(project)? {
            "" => Some(Self::Normal),
            ":restricted" => Some(Self::Restricted),
            ":anon" => Some(Self::Anonymous),
            _ => None,
        }
    }
}

/// What a project accepts.
pub(crate) struct StackPolicy {
    provider: Arc<str>,
    project: String,
    allow_restricted: bool,
    allow_anonymous: bool,
}

/// `restricted_reason` and the camel case names are what older servers send.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    aud: String,
    iat: NumericDate,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    #[serde(alias = "projectId")]
    project_id: Option<String>,
    #[serde(alias = "branchId")]
    branch_id: String,
    #[serde(alias = "refreshTokenId")]
    refresh_token_id: String,
    name: Option<String>,
    email: Option<String>,
    #[serde(alias = "emailVerified")]
    email_verified: Option<bool>,
    #[serde(alias = "isAnonymous")]
    is_anonymous: Option<bool>,
    #[serde(alias = "isRestricted")]
    is_restricted: Option<bool>,
    #[serde(alias = "restrictedReason")]
    restricted_reason: Option<IgnoredAny>,
}

/// The address of calls, the project, and every issuer to accept with the kind of user it is for.
pub(crate) struct StackNames {
    pub base: String,
    pub project: String,
    pub issuers: Vec<(String, UserType)>,
}

impl StackNames {
    pub(crate) fn new(config: &StackConfig) -> Result<Self, IdentityConfigError> {
        count("addresses of Stack Auth", config.api_urls.len(), MAX_NAMES)?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if config.project_id.is_empty() || !config.project_id.bytes().all(legal) {
            return Err(IdentityConfigError::ProjectId(config.project_id.clone()));
        }
        // Tokens write UUIDs in lower case; people may not.
        let project = config.project_id.to_ascii_lowercase();
        let mut bases: Vec<String> = Vec::new();
        for url in &config.api_urls {
            bases.push(callable_base("the address of Stack Auth", url)?);
        }
        let base = bases.first().cloned().unwrap_or_default();
        if bases.iter().any(|base| CLOUD.contains(&base.as_str())) {
            bases.extend(CLOUD.map(str::to_owned));
        }
        bases.sort_unstable();
        bases.dedup();
        let issuers_of = |base: &String| UserType::ALL.map(|user| (user.issuer(base, &project), user));
        let issuers = bases.iter().flat_map(issuers_of).collect();
        Ok(Self { base, project, issuers })
    }
}

impl StackPolicy {
    pub(crate) fn new(config: &StackConfig, project: String) -> Self {
        let StackConfig { allow_restricted, allow_anonymous, .. } = *config;
        Self { provider: Arc::from(PROVIDER), project, allow_restricted, allow_anonymous }
    }

    /// Judges the claims of a token from the issuer of `issuer_type`.
    pub(crate) fn judge(
        &self,
        payload: &[u8],
        issuer_type: UserType,
        now: Now,
    ) -> Result<Candidate, Refusal> {
        let claims: Claims = claims::parse(payload)?;
        let user = UserType::named(&claims.aud, &self.project).ok_or(Refusal::Audience)?;
        if claims.project_id.as_ref().is_some_and(|project| *project != self.project) {
            return Err(Refusal::Audience);
        }
        now.check(claims.exp, claims.nbf)?;
        if claims.branch_id != BRANCH || user != issuer_type || !claims.agree_with(user) {
            return Err(Refusal::Inconsistent);
        }
        let policy = match user {
            UserType::Anonymous if !self.allow_anonymous => Some(Refusal::AnonymousUser),
            UserType::Restricted if !self.allow_restricted => Some(Refusal::RestrictedUser),
            _ => None,
        };
        let token = VerifiedToken {
            provider: Arc::clone(&self.provider),
            subject: claims::id(claims.sub)?,
            session: SessionReference::Session(claims::id(claims.refresh_token_id)?),
            issued_at: claims.iat.0,
            expires_at: claims.exp.0,
            email_verified: claims.email.is_some() && claims.email_verified == Some(true),
            email: claims.email,
            name: claims.name,
            picture: None,
        };
        Ok(Candidate::new(token, policy))
    }
}

impl Claims {
    /// The four rules of Stack Auth's own decoder, of which the last two say that the audience tells the kind of user.
    fn agree_with(&self, user: UserType) -> bool {
        let anonymous = self.is_anonymous.unwrap_or(false);
        let restricted = self.is_restricted.unwrap_or(anonymous);
        // Where the claim does not exist yet, its reason does not either.
        let reason = self.restricted_reason.is_some() || (self.is_restricted.is_none() && anonymous);
        let anonymous_is_restricted = !anonymous || restricted;
        let reason_belongs = restricted == reason;
        let anonymous_audience = (user == UserType::Anonymous) == anonymous;
        let restricted_audience = (user == UserType::Restricted) == (restricted && !anonymous);
        anonymous_is_restricted && reason_belongs && anonymous_audience && restricted_audience
    }
}
