//! In front of an application, from both sides: what a client is answered, and what the application sees. The
//! application is a fake that remembers every request byte for byte.

mod agreement;
mod bad_upstreams;
mod browsers;
mod client_address;
mod credentials;
mod health;
mod identity;
mod kept_connections;
mod limits;
mod marks;
mod messages;
mod outage;
mod paths;
mod routes;
mod streams;

use phoenix_testkit::http::{Call, Response};
use phoenix_testkit::upstream::{Seen, Upstream};

use super::support::{Backend, Node, Site, assert_traced};
use crate::wire::Wire;

const ADA: &str = "ada@example.com";

/// Who may do what.
const ROUTES: &str = r#"[
    { path = "/open/{*rest}", auth = "none" },
    { path = "/members/{*rest}", auth = "required" },
    { path = "/staff/{*rest}", roles = ["admin"] },
    { path = "/kept/{*rest}", keep_credentials = true },
]"#;

/// A node in front of an application.
struct Front {
    site: Site,
    node: Node,
    app: Upstream,
}

impl Front {
    /// With [`ROUTES`] and nothing else.
    async fn new(backend: Backend) -> Self {
        Self::of(Site::new(backend), ROUTES).await
    }

    async fn of(site: Site, routes: &str) -> Self {
        let app = Upstream::start().unwrap();
        let site = site.with("PHOENIX_UPSTREAM", &app.origin()).with("PHOENIX_GATEWAY_ROUTES", routes);
        let node = site.node().await;
        Self { site, node, app }
    }

    async fn stop(self) {
        self.node.stop().await;
    }

    /// `GET`.
    async fn get(&self, path: &str) -> Response {
        answered(self.node.client.get(path)).await
    }

    /// `GET` with a token of ours.
    async fn get_as(&self, token: &str, path: &str) -> Response {
        answered(self.node.client.get(path).bearer(token)).await
    }

    /// The request as the application saw it, which it must have.
    #[track_caller]
    fn seen(&self) -> Seen {
        self.app.last().expect("the application was asked")
    }

    async fn wire(&self) -> Wire {
        Wire::open(self.node.address).await
    }
}

/// The answer, which tells of its way whoever gave it.
async fn answered(call: Call<'_>) -> Response {
    let response = call.send().await.unwrap();
    assert_traced(&response);
    response
}

/// Header fields that say who the caller is, by any name that an application could take for one.
fn identity(fields: &[(String, String)]) -> Vec<(String, String)> {
    let fields =
        fields.iter().map(|(name, value)| (name.to_ascii_lowercase().replace('_', "-"), value.clone()));
    let mut found: Vec<_> = fields.filter(|(name, _)| name.starts_with("x-phoenix-")).collect();
    found.sort();
    found
}

/// The application was told of nobody.
#[track_caller]
fn assert_anonymous(seen: &Seen) {
    assert_eq!(identity(&seen.headers), [], "{seen:?}");
    assert_eq!(identity(&seen.trailers), [], "{seen:?}");
}
