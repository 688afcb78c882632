//! Access tokens: what a test wants to stand in one, and how it is put together. Forged forms are in `forgery`;
//! the keys come from the caller.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::encoding::{base64url, uuid};
use super::forgery::{Forgery, forge};
use super::keys::{AudienceKeys, KeyIndex, UserType};

/// Seconds an access token lives.
pub const ACCESS_TOKEN_LIFETIME_S: i64 = 600;
/// A user signed up so long before the token was issued, in seconds.
const SIGNED_UP_BEFORE_S: i64 = 86_400;

/// The address that stands in front of the path of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerHost {
    /// The fake's own address, as a server of one's own would write it.
    Own,
    /// `https://api.stack-auth.com`.
    StackAuth,
    /// `https://api.hexclave.com`.
    Hexclave,
    /// Any other, for example `https://evil.example`.
    Other(String),
}

impl IssuerHost {
    /// The address in full; `own` is the fake's.
    #[must_use]
    pub fn url<'a>(&'a self, own: &'a str) -> &'a str {
        match self {
            Self::Own => own,
            Self::StackAuth => "https://api.stack-auth.com",
            Self::Hexclave => "https://api.hexclave.com",
            Self::Other(url) => url,
        }
    }
}

/// Claims that contradict each other though the signature is right. The real decoder refuses each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inconsistency {
    /// `is_anonymous` without `is_restricted`.
    AnonymousNotRestricted,
    /// `is_restricted` without `restricted_reason`.
    RestrictedWithoutReason,
    /// `restricted_reason` without `is_restricted`.
    ReasonWithoutRestricted,
    /// Audience `:anon`, but not `is_anonymous`.
    AnonAudienceOfRestricted,
    /// Audience `:anon` of a normal user.
    AnonAudienceOfNormal,
    /// `is_anonymous` with the plain audience.
    AnonymousWithPlainAudience,
    /// `is_anonymous` with the audience `:restricted`.
    AnonymousWithRestrictedAudience,
    /// Audience `:restricted` of a normal user.
    RestrictedAudienceOfNormal,
    /// `is_restricted` with the plain audience.
    RestrictedWithPlainAudience,
    /// Claims and audience of a normal user, issuer of anonymous users.
    IssuerOfAnotherType,
}

impl Inconsistency {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::AnonymousNotRestricted,
        Self::RestrictedWithoutReason,
        Self::ReasonWithoutRestricted,
        Self::AnonAudienceOfRestricted,
        Self::AnonAudienceOfNormal,
        Self::AnonymousWithPlainAudience,
        Self::AnonymousWithRestrictedAudience,
        Self::RestrictedAudienceOfNormal,
        Self::RestrictedWithPlainAudience,
        Self::IssuerOfAnotherType,
    ];
}

/// What stands in a token. Begins as a valid token of the given type; each method changes one thing.
#[derive(Clone, Debug)]
#[must_use = "a specification does nothing until it is minted"]
pub struct TokenSpec {
    pub(super) project: String,
    /// Decides the key, the audience and the issuer.
    pub(super) user_type: UserType,
    issuer_type: UserType,
    host: Option<IssuerHost>,
    pub(super) key: KeyIndex,
    now_s: i64,
    claims: Map<String, Value>,
    removed: Vec<String>,
    forgery: Option<Forgery>,
}

impl TokenSpec {
    /// A valid token of a new user in a new session, issued at `now_s` (unix seconds) for 600 s.
    pub fn new(project: &str, user_type: UserType, now_s: i64) -> Self {
        let mut spec = Self {
            project: project.to_owned(),
            user_type,
            issuer_type: user_type,
            host: None,
            key: KeyIndex::Legacy,
            now_s,
            claims: Map::new(),
            removed: Vec::new(),
            forgery: None,
        };
        let common = [
            ("sub", json!(uuid())),
            ("project_id", json!(project)),
            ("branch_id", json!("main")),
            ("refresh_token_id", json!(uuid())),
            ("role", json!("authenticated")),
            ("name", Value::Null),
            ("email", Value::Null),
            ("selected_team_id", Value::Null),
            ("email_verified", json!(user_type == UserType::Normal)),
            ("requires_totp_mfa", json!(false)),
            ("signed_up_at", json!(now_s - SIGNED_UP_BEFORE_S)),
            ("iat", json!(now_s)),
            ("exp", json!(now_s + ACCESS_TOKEN_LIFETIME_S)),
        ];
        spec.claims.extend(common.map(|(name, value)| (name.to_owned(), value)));
        spec.type_claims(user_type)
    }

    /// The claims that tell the type, without a change of key, audience or issuer.
    fn type_claims(self, user_type: UserType) -> Self {
        let reason = match user_type {
            UserType::Normal => Value::Null,
            UserType::Restricted => json!({ "type": "email_not_verified" }),
            UserType::Anonymous => json!({ "type": "anonymous" }),
        };
        self.claim("is_anonymous", user_type == UserType::Anonymous)
            .claim("is_restricted", user_type != UserType::Normal)
            .claim("restricted_reason", reason)
    }

    /// Another `sub`.
    pub fn user(self, id: &str) -> Self {
        self.claim("sub", id)
    }

    /// Another session, the `refresh_token_id`.
    pub fn session(self, id: &str) -> Self {
        self.claim("refresh_token_id", id)
    }

    /// `iat` this many seconds after `now` (negative: before). `exp` stays.
    pub fn issued_in(self, seconds: i64) -> Self {
        let at = self.now_s + seconds;
        self.claim("iat", at)
    }

    /// `exp` this many seconds after `now` (negative: before). `iat` stays.
    pub fn expires_in(self, seconds: i64) -> Self {
        let at = self.now_s + seconds;
        self.claim("exp", at)
    }

    /// The address in front of the issuer's path; otherwise the one the fake is set to.
    pub fn issuer_host(mut self, host: IssuerHost) -> Self {
        self.host = Some(host);
        self
    }

    /// Signs with this key of the audience; otherwise with the legacy key, as Stack does.
    pub fn signed_with(mut self, key: KeyIndex) -> Self {
        self.key = key;
        self
    }

    /// Sets any claim, also `iss` and `aud`. The key stays.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a claim out, also `iss` and `aud`.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self.removed.push(name.to_owned());
        self
    }

    /// The form of old tokens: `branchId` and `refreshTokenId`, no `is_restricted`.
    pub fn legacy_claims(mut self) -> Self {
        for (old, new) in [("branchId", "branch_id"), ("refreshTokenId", "refresh_token_id")] {
            if let Some(value) = self.claims.remove(new) {
                self.claims.insert(old.to_owned(), value);
            }
        }
        self.without("is_restricted")
    }

    /// Makes the claims contradict each other. Key id and signature fit the audience.
    pub fn inconsistent(self, inconsistency: Inconsistency) -> Self {
        use Inconsistency as I;
        use UserType::{Anonymous, Normal, Restricted};
        let with = |spec: Self, audience, claims| spec.of_type(audience).type_claims(claims);
        match inconsistency {
            I::AnonymousNotRestricted => with(self, Anonymous, Anonymous)
                .claim("is_restricted", false)
                .claim("restricted_reason", Value::Null),
            I::RestrictedWithoutReason => {
                with(self, Restricted, Restricted).claim("restricted_reason", Value::Null)
            }
            I::ReasonWithoutRestricted => {
                with(self, Normal, Normal).claim("restricted_reason", json!({ "type": "email_not_verified" }))
            }
            I::AnonAudienceOfRestricted => with(self, Anonymous, Restricted),
            I::AnonAudienceOfNormal => with(self, Anonymous, Normal),
            I::AnonymousWithPlainAudience => with(self, Normal, Anonymous),
            I::AnonymousWithRestrictedAudience => with(self, Restricted, Anonymous),
            I::RestrictedAudienceOfNormal => with(self, Restricted, Normal),
            I::RestrictedWithPlainAudience => with(self, Normal, Restricted),
            I::IssuerOfAnotherType => {
                let mut spec = with(self, Normal, Normal);
                spec.issuer_type = Anonymous;
                spec
            }
        }
    }

    fn of_type(mut self, user_type: UserType) -> Self {
        (self.user_type, self.issuer_type) = (user_type, user_type);
        self
    }

    /// Makes a forgery of the token.
    pub fn forged(mut self, forgery: Forgery) -> Self {
        self.forgery = Some(forgery);
        self
    }

    /// All claims of the token.
    pub(super) fn payload(&self, default_host: &IssuerHost, own_url: &str) -> Value {
        let api = self.host.as_ref().unwrap_or(default_host).url(own_url);
        let mut claims = self.claims.clone();
        let fill = [
            ("iss", self.issuer_type.issuer(api, &self.project)),
            ("aud", self.user_type.audience(&self.project)),
        ];
        for (name, value) in fill {
            if !self.removed.iter().any(|removed| removed == name) {
                claims.entry(name).or_insert(Value::String(value));
            }
        }
        Value::Object(claims)
    }

    /// Puts the token together. `keys` gives the keys of an audience.
    pub(super) fn mint(
        &self,
        default_host: &IssuerHost,
        own_url: &str,
        keys: impl Fn(&str) -> Arc<AudienceKeys>,
    ) -> String {
        let payload = self.payload(default_host, own_url);
        let own = keys(&self.user_type.audience(&self.project));
        let key = own.get(self.key);
        match &self.forgery {
            None => sign(&json!({ "alg": "ES256", "kid": key.kid }), &payload, |input| key.sign(input)),
            Some(forgery) => forge(forgery, &payload, key, keys),
        }
    }
}

/// A token in the compact form of JWS (RFC 7515) with the signature that `signer` makes of header and payload.
pub(super) fn sign(header: &Value, payload: &Value, signer: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let input = format!("{}.{}", base64url(header.to_string()), base64url(payload.to_string()));
    let signature = signer(input.as_bytes());
    format!("{input}.{}", base64url(signature))
}
