//! The failures of the API: one function for each known error, with its status, code, text and details.

use serde_json::{Value, json};

/// How a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// A known error: JSON, and its code in a header.
    Known(KnownError),
    /// Status and text.
    Plain(u16, &'static str),
}

/// An error with a code.
#[derive(Debug)]
pub(super) struct KnownError {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) details: Option<Value>,
}

fn known(status: u16, code: &'static str, message: impl Into<String>) -> Failure {
    Failure::Known(KnownError { status, code, message: message.into(), details: None })
}

fn detailed(status: u16, code: &'static str, message: impl Into<String>, details: Value) -> Failure {
    Failure::Known(KnownError { status, code, message: message.into(), details: Some(details) })
}

pub(super) fn body_parsing(message: &str) -> Failure {
    known(400, "BODY_PARSING_ERROR", message)
}

pub(super) fn schema(message: &str) -> Failure {
    detailed(400, "SCHEMA_ERROR", message, json!({ "message": message }))
}

pub(super) fn invalid_access_type(given: &str) -> Failure {
    let message =
        format!("The x-stack-access-type header must be 'client', 'server', or 'admin', but was '{given}'.");
    known(400, "INVALID_ACCESS_TYPE", message)
}

pub(super) fn key_without_access_type() -> Failure {
    known(
        400,
        "PROJECT_KEY_WITHOUT_ACCESS_TYPE",
        "A key was given, but the x-stack-access-type header is missing.",
    )
}

pub(super) fn access_type_without_project(access_type: &str) -> Failure {
    let message = "The x-stack-access-type header was given, but the x-stack-project-id header was not.";
    detailed(400, "ACCESS_TYPE_WITHOUT_PROJECT_ID", message, json!({ "request_type": access_type }))
}

pub(super) fn access_type_required() -> Failure {
    known(400, "ACCESS_TYPE_REQUIRED", "You must specify an access level for this project.")
}

pub(super) fn insufficient_access_type(actual: &str, allowed: &[&str]) -> Failure {
    let details = json!({ "actual_access_type": actual, "allowed_access_types": allowed });
    let allowed = allowed.join("' or '");
    let message = format!("The x-stack-access-type header must be '{allowed}', but was '{actual}'.");
    detailed(401, "INSUFFICIENT_ACCESS_TYPE", message, details)
}

pub(super) fn project_not_found(project: &str) -> Failure {
    let message = format!("The current project with ID {project} was not found.");
    detailed(400, "CURRENT_PROJECT_NOT_FOUND", message, json!({ "project_id": project }))
}

pub(super) fn branch_does_not_exist(branch: &str) -> Failure {
    let message = format!("The branch with ID {branch} does not exist.");
    detailed(400, "BRANCH_DOES_NOT_EXIST", message, json!({ "branch_id": branch }))
}

pub(super) fn server_key_required() -> Failure {
    known(401, "SERVER_AUTHENTICATION_REQUIRED", "The secret server key must be provided.")
}

pub(super) fn admin_key_required() -> Failure {
    known(401, "ADMIN_AUTHENTICATION_REQUIRED", "The super secret admin key must be provided.")
}

pub(super) fn publishable_key_required(project: &str) -> Failure {
    let message = "The publishable client key must be provided.";
    detailed(401, "PUBLISHABLE_CLIENT_KEY_REQUIRED_FOR_PROJECT", message, json!({ "project_id": project }))
}

pub(super) fn invalid_key(code: &'static str, project: &str) -> Failure {
    let message = format!("The key is not valid for the project {project:?}.");
    detailed(401, code, message, json!({ "project_id": project }))
}

pub(super) fn unparsable_admin_token() -> Failure {
    known(401, "UNPARSABLE_ADMIN_ACCESS_TOKEN", "Admin access token is not parsable.")
}

pub(super) fn unparsable_access_token() -> Failure {
    known(401, "UNPARSABLE_ACCESS_TOKEN", "Access token is not parsable.")
}

pub(super) fn access_token_expired(expired_at_s: i64, project: &str, user: &str, session: &str) -> Failure {
    let details = json!({
        "expired_at_millis": expired_at_s * 1000, "project_id": project,
        "user_id": user, "refresh_token_id": session,
    });
    detailed(
        401,
        "ACCESS_TOKEN_EXPIRED",
        "Access token has expired. Please refresh it and try again.",
        details,
    )
}

pub(super) fn invalid_project(expected: &str, actual: &str) -> Failure {
    let message = "Access token not valid for this project.";
    let details = json!({ "project_id": expected, "actual_project_id": actual });
    detailed(401, "INVALID_PROJECT_FOR_ACCESS_TOKEN", message, details)
}

pub(super) fn restricted_not_allowed(reason: &Value) -> Failure {
    let message = "The user in the access token is in restricted state.";
    detailed(403, "RESTRICTED_USER_NOT_ALLOWED", message, json!({ "restricted_reason": reason }))
}

pub(super) fn anonymous_not_allowed() -> Failure {
    let message = "X-Stack-Access-Token is for an anonymous user, but anonymous users are not enabled.";
    known(401, "ANONYMOUS_AUTHENTICATION_NOT_ALLOWED", message)
}

pub(super) fn no_own_user() -> Failure {
    let message = "You have specified 'me' as a userId, but did not provide authentication for a user.";
    known(400, "CANNOT_GET_OWN_USER_WITHOUT_USER", message)
}

pub(super) fn user_id_does_not_exist(user: &str) -> Failure {
    let message = format!("The given user with the ID {user} does not exist.");
    detailed(400, "USER_ID_DOES_NOT_EXIST", message, json!({ "user_id": user }))
}

pub(super) fn refresh_token_not_found() -> Failure {
    let message = "Refresh token not found for this project, or the session has expired/been revoked.";
    known(401, "REFRESH_TOKEN_NOT_FOUND_OR_EXPIRED", message)
}

pub(super) fn cannot_delete_current_session() -> Failure {
    known(400, "CANNOT_DELETE_CURRENT_SESSION", "Cannot delete the current session.")
}

pub(super) fn email_password_mismatch() -> Failure {
    known(400, "EMAIL_PASSWORD_MISMATCH", "Wrong e-mail or password.")
}

pub(super) fn mfa_required(attempt_code: &str) -> Failure {
    let message = "Multi-factor authentication is required for this user.";
    detailed(400, "MULTI_FACTOR_AUTHENTICATION_REQUIRED", message, json!({ "attempt_code": attempt_code }))
}

pub(super) fn invalid_oauth_client(client: Option<&str>) -> Failure {
    let message = "The OAuth client ID or secret is invalid.";
    detailed(400, "INVALID_OAUTH_CLIENT_ID_OR_SECRET", message, json!({ "client_id": client }))
}
