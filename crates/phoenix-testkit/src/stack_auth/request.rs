//! A request as the API sees it: both header families read as one, the body parsed by its type, and who is calling.

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use serde_json::{Map, Value};

use super::Shared;
use super::decode::{AccessToken, decode};
use super::errors::{self, Failure};
use super::keys::UserType;
use super::state::{Project, User};

/// What a route was last called with.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers as received.
    pub headers: HeaderMap,
}

/// A whole request.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Incoming {
    pub(super) fn new(query: Option<&str>, headers: HeaderMap, body: Bytes) -> Self {
        let query = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        Self { query, headers, body }
    }

    /// The header `x-hexclave-NAME`, else `x-stack-NAME`. An empty one counts as absent.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let text = |family: &str| self.headers.get(format!("{family}{name}"))?.to_str().ok();
        text("x-hexclave-").or_else(|| text("x-stack-")).filter(|value| !value.is_empty())
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as an object, from JSON or a form. No body is an empty object.
    pub(super) fn object(&self) -> Result<Map<String, Value>, Failure> {
        let kind =
            self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match kind.split(';').next().unwrap_or_default() {
            "" => Ok(Map::new()),
            "application/json" => match serde_json::from_slice(&self.body) {
                Ok(Value::Object(object)) => Ok(object),
                Ok(_) => Err(errors::schema("body must be an object")),
                Err(_) => Err(errors::body_parsing("Invalid JSON in request body")),
            },
            "application/x-www-form-urlencoded" => Ok(form_urlencoded::parse(&self.body)
                .into_owned()
                .map(|(name, value)| (name, Value::String(value)))
                .collect()),
            other => Err(errors::body_parsing(&format!("Unknown content type in request body: {other}"))),
        }
    }
}

/// With which rights a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AccessType {
    /// A browser or app.
    Client,
    /// A backend.
    Server,
    /// The dashboard.
    Admin,
}

impl AccessType {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Admin => "admin",
        }
    }
}

/// Who is calling.
#[derive(Debug)]
pub(super) struct Auth {
    pub(super) project: String,
    pub(super) access: AccessType,
    /// The user of the access token, if there is one and the user still exists.
    pub(super) user: Option<User>,
    /// The session that the access token names, whether it still exists or not.
    pub(super) session: Option<String>,
}

/// Reads who is calling.
///
/// # Errors
/// The failures of section 5.3 of the reference, in the order of the real server: headers, token, key, project.
pub(super) fn parse_auth(shared: &Shared, request: &Incoming) -> Result<Auth, Failure> {
    let keys =
        ["publishable-client-key", "secret-server-key", "super-secret-admin-key", "admin-access-token"];
    let Some(access) = request.header("access-type") else {
        let any_key = keys.iter().any(|key| request.header(key).is_some());
        return Err(if any_key { errors::key_without_access_type() } else { errors::access_type_required() });
    };
    let access = match access {
        "client" => AccessType::Client,
        "server" => AccessType::Server,
        "admin" => AccessType::Admin,
        other => return Err(errors::invalid_access_type(other)),
    };
    let project = request.header("project-id");
    let project = project.ok_or_else(|| errors::access_type_without_project(access.as_str()))?;
    let token = read_token(shared, request, project)?;
    if request.header("admin-access-token").is_some() {
        return Err(errors::unparsable_admin_token());
    }
    let state = shared.state();
    let tenancy = state.tenancy(project);
    check_key(request, access, project, tenancy.map(|tenancy| &tenancy.project))?;
    let tenancy = tenancy.ok_or_else(|| errors::project_not_found(project))?;
    if let Some(branch) = request.header("branch-id").filter(|branch| *branch != "main") {
        return Err(errors::branch_does_not_exist(branch));
    }
    let user = token.as_ref().and_then(|token| tenancy.users.get(&token.user)).cloned();
    Ok(Auth { project: project.to_owned(), access, user, session: token.map(|token| token.session) })
}

fn read_token(shared: &Shared, request: &Incoming, project: &str) -> Result<Option<AccessToken>, Failure> {
    let Some(token) = request.header("access-token") else { return Ok(None) };
    let token = decode(
        token,
        shared.now_s(),
        &shared.own_url,
        |audience| shared.state().keys(audience),
        |kid| shared.state().is_dropped(kid),
    )?;
    if token.project != project {
        return Err(errors::invalid_project(project, &token.project));
    }
    let allows = |name: &str| request.header(name) == Some("true");
    let allows_anonymous = allows("allow-anonymous-user");
    match token.user_type {
        UserType::Anonymous if !allows_anonymous => Err(errors::anonymous_not_allowed()),
        UserType::Restricted if !allows_anonymous && !allows("allow-restricted-user") => {
            Err(errors::restricted_not_allowed(&token.restricted_reason))
        }
        _ => Ok(Some(token)),
    }
}

fn check_key(
    request: &Incoming,
    access: AccessType,
    id: &str,
    project: Option<&Project>,
) -> Result<(), Failure> {
    let fits = |given: &str, own: fn(&Project) -> &str| project.is_some_and(|project| own(project) == given);
    match access {
        AccessType::Client => match request.header("publishable-client-key") {
            Some(key) if !fits(key, |own| &own.publishable_client_key) => {
                Err(errors::invalid_key("INVALID_PUBLISHABLE_CLIENT_KEY", id))
            }
            None if project.is_some_and(|project| project.requires_publishable_client_key) => {
                Err(errors::publishable_key_required(id))
            }
            _ => Ok(()),
        },
        AccessType::Server => match request.header("secret-server-key") {
            None => Err(errors::server_key_required()),
            Some(key) if fits(key, |own| &own.secret_server_key) => Ok(()),
            Some(_) => Err(errors::invalid_key("INVALID_SECRET_SERVER_KEY", id)),
        },
        AccessType::Admin => match request.header("super-secret-admin-key") {
            None => Err(errors::admin_key_required()),
            Some(key) if fits(key, |own| &own.super_secret_admin_key) => Ok(()),
            Some(_) => Err(errors::invalid_key("INVALID_SUPER_SECRET_ADMIN_KEY", id)),
        },
    }
}
