//! A running application: started as `phoenix serve` does, on a free port, ended by the test.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use phoenix::app::{App, World};
use phoenix::lifecycle::DrainTimes;
use phoenix::listener::{self, ConnectionLimits};
use phoenix_auth::model::TokenHash;
use phoenix_config::Config;
use phoenix_testkit::http::{Call, Client, Response};
use phoenix_testkit::wait;
use serde_json::{Value, json};

use super::device::FIREFOX;
use super::{ADMIN, Browser, ME, PASSWORD, SOON, assert_marked};

const STATUS: &str = "/api/phoenix/status";
/// Statements that run beside the requests.
const BACKGROUND: [&str; 15] = [
    "probe",
    "log_after",
    "notify",
    "recently_used",
    "event_insert",
    "expired_delete",
    "expired_doomed",
    "idle_scan",
    "idle_delete",
    "invalidation_trim",
    "event_trim",
    "delivery_trim",
    "ending_trim",
    "block_trim",
    "blocks_since",
];

/// How often each statement ran, without those that run beside the requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::http) struct Statements(BTreeMap<String, u64>);

/// A running application.
pub(in crate::http) struct Node {
    pub(in crate::http) app: App,
    pub(in crate::http) address: SocketAddr,
    pub(in crate::http) client: Client,
}

impl Node {
    pub(super) async fn start(config: Config, world: World) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), config, world).await
    }

    pub(super) async fn start_at(listen: SocketAddr, config: Config, world: World) -> Self {
        let app = App::build(&config, world).await.unwrap();
        app.start(&config).await.unwrap();
        app.auth.ensure_administrator(Some(ADMIN), Some(PASSWORD)).await.unwrap();
        app.auth.reconcile_special_accounts().await.unwrap();
        let socket = listener::bind(listen).unwrap();
        let address = socket.local_addr().unwrap();
        let (stack, limits) = (app.stack(&config).unwrap(), ConnectionLimits::of(&config));
        let accepting = listener::serve(socket, stack, limits, app.clock(), app.lifecycle.clone());
        app.lifecycle.spawn_connection(accepting);
        let client = Client::new(address).with_bound(Duration::from_mins(2));
        Self { app, address, client }
    }

    /// Ends the node in order, as a signal would; everything it owed the database is written.
    pub(in crate::http) async fn stop(self) {
        let times = DrainTimes { idle: Duration::ZERO, limit: SOON };
        assert!(self.app.lifecycle.drain(times).await, "a connection did not end");
        self.app.stop(SOON).await;
    }

    /// A client without a cookie.
    pub(in crate::http) fn browser(&self) -> Browser {
        Browser::new(self.client.clone())
    }

    /// A client with a fresh account.
    pub(in crate::http) async fn registered(&self, email: &str) -> Browser {
        let mut browser = self.browser();
        let response = browser.register(email).await;
        assert_eq!(response.status, 201, "{}", response.text());
        browser
    }

    /// A client that has signed in.
    pub(in crate::http) async fn signed_in(&self, email: &str) -> Browser {
        let mut browser = self.browser();
        let response = browser.login(email, PASSWORD).await;
        assert_eq!(response.status, 200, "{}", response.text());
        browser
    }

    /// The administrator, whose session is in memory, so that asking for the status costs no statement.
    pub(in crate::http) async fn administrator(&self) -> Browser {
        let mut browser = self.signed_in(ADMIN).await;
        browser.until_in_memory().await;
        browser
    }

    /// `GET /api/auth/me` with a token in the header, from the device that browsers here are.
    pub(in crate::http) async fn me(&self, token: &str) -> Response {
        let response = on_usual_device(self.client.get(ME).bearer(token)).send().await.unwrap();
        assert_marked(&response);
        response
    }

    /// Signs in for a token.
    pub(in crate::http) async fn token(&self, email: &str) -> String {
        let body = json!({"email": email, "password": PASSWORD, "transport": "bearer"});
        let response = on_usual_device(self.client.post("/api/auth/login").json(&body)).send().await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["token"].as_str().unwrap().to_owned()
    }

    /// What the token is kept under.
    pub(in crate::http) fn hash(&self, token: &str) -> TokenHash {
        TokenHash::of_presented(token, self.app.auth.keys()).unwrap()
    }
}

fn on_usual_device(call: Call<'_>) -> Call<'_> {
    FIREFOX.iter().fold(call, |call, (name, value)| call.header(name, value))
}

impl Browser {
    /// The full status; for the administrator.
    pub(in crate::http) async fn status(&mut self) -> Value {
        let response = self.get(STATUS).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }

    /// Counters of the statements that requests run; for the administrator.
    pub(in crate::http) async fn statements(&mut self) -> Statements {
        let status = self.status().await;
        let lines = status["database"]["statements"].as_array().unwrap().iter();
        let lines =
            lines.map(|line| (line["name"].as_str().unwrap().to_owned(), line["count"].as_u64().unwrap()));
        Statements(lines.filter(|(name, _)| !BACKGROUND.contains(&name.as_str())).collect())
    }

    /// Waits until this client is answered from memory: the lease is fresh and the session is kept.
    pub(in crate::http) async fn until_in_memory(&mut self) {
        // As the browser would: another device would be noticed.
        let browser = self.clone();
        wait::until(SOON, "an answer from memory", || {
            let mut browser = browser.clone();
            async move {
                let response = browser.me().await;
                assert_eq!(response.status, 200, "{}", response.text());
                response.header("x-cache-hit") == Some("l1")
            }
        })
        .await;
    }
}

impl Statements {
    /// How often a statement ran.
    pub(in crate::http) fn count(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("there is no statement {name}"))
    }

    /// How often each statement ran since `before`, without those that did not.
    pub(in crate::http) fn since(&self, before: &Self) -> BTreeMap<String, u64> {
        let delta = self.0.iter().map(|(name, count)| (name.clone(), count - before.count(name)));
        delta.filter(|(_, count)| *count > 0).collect()
    }
}
