//! The user of the access token.

use serde_json::{Value, json};

use super::super::Shared;
use super::super::errors::{self, Failure};
use super::super::keys::UserType;
use super::super::reply::Reply;
use super::super::request::{AccessType, Incoming, parse_auth};
use super::super::state::User;

/// `GET /users/me`. It does not ask whether the session still exists; neither does Stack.
pub(super) fn me(shared: &Shared, request: &Incoming) -> Result<Reply, Failure> {
    let auth = parse_auth(shared, request)?;
    let user = auth.user.ok_or_else(errors::no_own_user)?;
    let mut body = client_shape(&user);
    if auth.access > AccessType::Client {
        body["server_metadata"] = Value::Null;
        body["last_active_at_millis"] = json!(shared.now_s() * 1000);
        body["country_code"] = Value::Null;
        body["risk_scores"] = json!({ "sign_up": { "bot": 0, "free_trial_abuse": 0 } });
    }
    Ok(Reply::json(&body))
}

fn client_shape(user: &User) -> Value {
    json!({
        "id": user.id,
        "display_name": user.name,
        "primary_email": user.email,
        "primary_email_verified": user.email.is_some() && user.user_type == UserType::Normal,
        "profile_image_url": null,
        "signed_up_at_millis": user.signed_up_at_s * 1000,
        "has_password": user.password.is_some(),
        "auth_with_email": user.password.is_some(),
        "otp_auth_enabled": false,
        "passkey_auth_enabled": false,
        "requires_totp_mfa": user.requires_mfa,
        "client_metadata": null,
        "client_read_only_metadata": null,
        "oauth_providers": [],
        "selected_team": null,
        "selected_team_id": null,
        "is_anonymous": user.user_type == UserType::Anonymous,
        "is_restricted": user.user_type != UserType::Normal,
        "restricted_reason": user.restricted_reason(),
    })
}
