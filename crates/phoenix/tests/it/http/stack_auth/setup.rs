//! An installation that accepts the tokens of a Stack Auth project, and what the tests here ask of it.

use std::sync::Arc;
use std::time::Duration;

use phoenix_auth::ports::Clock;
use phoenix_testkit::http::{Client, Response};
use phoenix_testkit::stack_auth::{FakeStackAuth, NewUser, Options, SignedIn};
use phoenix_testkit::wait;
use serde_json::Value;

use crate::http::support::{Backend, Browser, ME, Node, SOON, Site, assert_marked};

/// Of every installation here.
pub(super) const BOUND: Duration = Duration::from_secs(2);
pub(super) const USERS: &str = "/api/admin/users";
pub(super) const SESSIONS: &str = "/api/auth/sessions";

/// A provider and an installation that accepts its tokens.
pub(super) struct Setup {
    pub(super) fake: FakeStackAuth,
    pub(super) site: Site,
}

impl Setup {
    /// Provider and nodes share a clock that only the test moves; sessions are not checked at the provider.
    pub(super) fn new(backend: Backend) -> Self {
        let site = Site::new(backend);
        let clock = Arc::clone(&site.clock);
        let seconds = move || clock.now().wall.as_millis().div_euclid(1000);
        let fake = Options::default().clock(seconds).start().unwrap();
        Self::of(site, fake).with("STACK_POLL_INTERVAL", "0s")
    }

    /// Provider and nodes have the system's clock; sessions are checked every second.
    pub(super) fn in_real_time(backend: Backend) -> Self {
        let fake = FakeStackAuth::start().unwrap();
        Self::of(Site::new(backend).in_real_time(), fake).with("STACK_POLL_INTERVAL", "1s")
    }

    fn of(site: Site, fake: FakeStackAuth) -> Self {
        let project = fake.project().clone();
        let site = site
            .with("STACK_PROJECT_ID", &project.id)
            .with("STACK_SECRET_SERVER_KEY", &project.secret_server_key)
            .with("STACK_PUBLISHABLE_CLIENT_KEY", &project.publishable_client_key)
            .with("STACK_API_URL", fake.url())
            .with("PHOENIX_REVOCATION_BOUND", "2s");
        Self { fake, site }
    }

    /// Changes a setting, for nodes started from now on.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.site = self.site.with(name, value);
        self
    }

    pub(super) async fn node(&self) -> Node {
        self.site.node().await
    }

    /// Moves the clock that provider and nodes share.
    pub(super) fn pass(&self, time: Duration) {
        self.site.clock.advance(time);
    }

    /// A new user, signed in at the provider.
    pub(super) fn sign_up(&self, email: &str) -> SignedIn {
        self.fake.sign_up(NewUser::normal().name("Ada Lovelace").email(email))
    }
}

/// `GET /api/auth/me` with these headers.
pub(super) async fn me_with(client: &Client, headers: &[(&str, &str)]) -> Response {
    let call = headers.iter().fold(client.get(ME), |call, (name, value)| call.header(name, value));
    let response = call.send().await.unwrap();
    assert_marked(&response);
    response
}

/// The token is accepted here. Returns what `/me` says.
#[track_caller]
pub(super) fn accepted(node: &Node, token: &str) -> impl Future<Output = Value> {
    let place = std::panic::Location::caller();
    async move {
        let response = node.me(token).await;
        assert_eq!(response.status, 200, "{place}: {}", response.text());
        response.json()
    }
}

/// Id of the session, as Phoenix names it.
pub(super) fn session_id(me: &Value) -> String {
    me["session"]["id"].as_str().unwrap().to_owned()
}

/// Id of the user, as Phoenix names it.
pub(super) fn user_id(me: &Value) -> String {
    me["user"]["id"].as_str().unwrap().to_owned()
}

impl Browser {
    /// All accounts but the administrator's; for the administrator.
    pub(super) async fn accounts(&mut self) -> Vec<Value> {
        let response = self.get(USERS).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let users = response.json()["users"].as_array().unwrap().clone();
        users.into_iter().filter(|user| user["role"] != "admin").collect()
    }

    /// Waits until an event of this kind is noted for a user; for the administrator.
    pub(super) async fn until_noted(&mut self, user: &str, kind: &str) {
        let path = format!("{USERS}/{user}/security-events");
        wait::until(SOON, kind, || {
            let (mut browser, path) = (self.clone(), path.clone());
            async move {
                let response = browser.get(&path).await;
                assert_eq!(response.status, 200, "{}", response.text());
                response.json()["events"].as_array().unwrap().iter().any(|event| event["kind"] == kind)
            }
        })
        .await;
    }

    /// The sessions of a user; for the administrator.
    pub(super) async fn sessions_of(&mut self, user: &str) -> Vec<Value> {
        let response = self.get(&format!("{USERS}/{user}/sessions")).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["sessions"].as_array().unwrap().clone()
    }
}
