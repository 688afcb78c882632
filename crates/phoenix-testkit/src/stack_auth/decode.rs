//! How the server itself reads an access token: signature, issuer, times, and the agreement of the claims. It does
//! not ask whether the session still exists, and neither does Stack.

use std::sync::Arc;

use serde_json::Value;

use super::encoding::from_base64url;
use super::errors::{self, Failure};
use super::keys::{AudienceKeys, UserType};
use super::token::IssuerHost;

/// What a good token says.
#[derive(Debug)]
pub(super) struct AccessToken {
    pub(super) project: String,
    pub(super) user: String,
    pub(super) session: String,
    pub(super) user_type: UserType,
    pub(super) restricted_reason: Value,
}

/// Reads `token` at `now_s`. `keys` gives the keys of an audience, `is_dropped` tells key ids that are gone.
///
/// # Errors
/// `ACCESS_TOKEN_EXPIRED`, `UNPARSABLE_ACCESS_TOKEN`, or 500 where the real server fails an assertion.
pub(super) fn decode(
    token: &str,
    now_s: i64,
    own_url: &str,
    keys: impl Fn(&str) -> Arc<AudienceKeys>,
    is_dropped: impl Fn(&str) -> bool,
) -> Result<AccessToken, Failure> {
    let claims = verified_claims(token, keys, is_dropped).ok_or_else(errors::unparsable_access_token)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let unparsable = errors::unparsable_access_token;
    let audience = text("aud").ok_or_else(unparsable)?;
    let (project, audience_type) = split_audience(audience).ok_or_else(unparsable)?;
    let user = text("sub").ok_or_else(unparsable)?;
    let session = text("refresh_token_id").or_else(|| text("refreshTokenId")).ok_or_else(unparsable)?;
    let branch = text("branch_id").or_else(|| text("branchId")).unwrap_or("main");
    let issuer = text("iss").ok_or_else(unparsable)?;
    let expires = claims.get("exp").and_then(Value::as_i64).ok_or_else(unparsable)?;
    if branch != "main" || !issuer_fits(issuer, own_url, project, audience_type) {
        return Err(unparsable());
    }
    if expires <= now_s {
        return Err(errors::access_token_expired(expires, project, user, session));
    }
    let is_anonymous = claims.get("is_anonymous").and_then(Value::as_bool).unwrap_or(false);
    let is_restricted = claims.get("is_restricted").and_then(Value::as_bool).unwrap_or(is_anonymous);
    let restricted_reason = claims.get("restricted_reason").cloned().unwrap_or_default();
    let user_type = match (is_anonymous, is_restricted) {
        (true, true) => UserType::Anonymous,
        (false, true) => UserType::Restricted,
        (false, false) => UserType::Normal,
        (true, false) => return Err(assertion()),
    };
    if is_restricted == restricted_reason.is_null() || user_type != audience_type {
        return Err(assertion());
    }
    let owned = str::to_owned;
    Ok(AccessToken {
        project: owned(project),
        user: owned(user),
        session: owned(session),
        user_type,
        restricted_reason,
    })
}

/// The real server throws a `StackAssertionError`, which is no known error.
fn assertion() -> Failure {
    Failure::Plain(500, "Something went wrong.")
}

fn split_audience(audience: &str) -> Option<(&str, UserType)> {
    match audience.split_once(':') {
        None => Some((audience, UserType::Normal)),
        Some((project, "restricted")) => Some((project, UserType::Restricted)),
        Some((project, "anon")) => Some((project, UserType::Anonymous)),
        Some(_) => None,
    }
}

fn issuer_fits(issuer: &str, own_url: &str, project: &str, user_type: UserType) -> bool {
    let hosts = [IssuerHost::Own, IssuerHost::StackAuth, IssuerHost::Hexclave];
    hosts.iter().any(|host| user_type.issuer(host.url(own_url), project) == issuer)
}

fn verified_claims(
    token: &str,
    keys: impl Fn(&str) -> Arc<AudienceKeys>,
    is_dropped: impl Fn(&str) -> bool,
) -> Option<Value> {
    let (input, signature) = token.rsplit_once('.')?;
    let (header, payload) = input.split_once('.')?;
    let json = |part: &str| serde_json::from_slice::<Value>(&from_base64url(part)?).ok();
    let (header, claims) = (json(header)?, json(payload)?);
    if header.get("alg")?.as_str()? != "ES256" || header.get("crit").is_some() {
        return None;
    }
    let kid = header.get("kid")?.as_str()?;
    let keys = keys(claims.get("aud")?.as_str()?);
    let key = keys.both().into_iter().find(|key| key.kid == kid && !is_dropped(kid))?;
    key.verifies(input.as_bytes(), &from_base64url(signature)?).then_some(claims)
}
