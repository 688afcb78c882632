//! The OpenAPI 3.1 description, made from the handlers themselves.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::routes;

#[derive(OpenApi)]
#[openapi(
    info(title = "Phoenix", description = "Authentication and API protection.", license(name = "Apache-2.0 OR MIT")),
    paths(
        routes::register::handle,
        routes::login::handle,
        routes::logout::handle,
        routes::password::handle,
        routes::refresh::handle,
        routes::me::handle,
        routes::own_sessions_list::handle,
        routes::own_session_end::handle,
        routes::own_sessions_end::handle,
        routes::own_events::handle,
        routes::events_list::handle,
        routes::user_events::handle,
        routes::stack_webhook::handle,
        routes::users_list::handle,
        routes::user_get::handle,
        routes::user_patch::handle,
        routes::sessions_list::handle,
        routes::sessions_end::handle,
        routes::user_session_end::handle,
        routes::blocks_list::handle,
        routes::block_add::handle,
        routes::block_lift::handle,
        routes::status::handle,
        routes::whoami::handle,
        routes::status_post::handle,
        routes::openapi::handle,
        routes::jwks::handle,
        routes::healthz::handle,
        routes::readyz::handle,
    ),
    modifiers(&Credentials)
)]
struct Description;

/// How a session is presented.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let cookie = ApiKey::Cookie(ApiKeyValue::new("__Host-phoenix_session"));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
    }
}

/// The description as JSON text, ending in a line break.
#[must_use]
pub fn json() -> String {
    let mut text = Description::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    /// Every route of the router is described: the two lists are compared by their texts.
    #[test]
    fn every_route_is_described() {
        let described = super::json();
        let source = include_str!("routes/mod.rs");
        let routes =
            source.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")?.split('"').next());
        let mut seen = 0;
        for route in routes.filter(|route| *route != "/api/auth/signout") {
            assert!(described.contains(&format!("\"{route}\"")), "{route} is not described");
            seen += 1;
        }
        assert!(seen >= 13);
    }
}
