//! A client that keeps its session cookie and says where its requests come from, as browsers do.

use http::Method;
use phoenix_testkit::http::{Client, Response};
use serde_json::{Value, json};

use super::{ME, PASSWORD, assert_marked};

const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const COOKIE: &str = "phoenix_session";

/// A browser with at most one session.
#[derive(Clone, Debug)]
pub(in crate::http) struct Browser {
    client: Client,
    token: Option<String>,
}

impl Browser {
    pub(super) fn new(client: Client) -> Self {
        Self { client, token: None }
    }

    /// The same cookie on another node.
    pub(in crate::http) fn at(&self, client: &Client) -> Self {
        Self { client: client.clone(), token: self.token.clone() }
    }

    /// A browser with this cookie.
    pub(in crate::http) fn with_token(client: &Client, token: &str) -> Self {
        Self { client: client.clone(), token: Some(token.to_owned()) }
    }

    pub(in crate::http) fn client(&self) -> &Client {
        &self.client
    }

    /// The token in the cookie.
    pub(in crate::http) fn token(&self) -> String {
        self.token.clone().expect("the browser has a session cookie")
    }

    pub(in crate::http) fn has_cookie(&self) -> bool {
        self.token.is_some()
    }

    /// Sends a request from a page of this site.
    pub(in crate::http) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Response {
        let client = self.client.clone();
        let mut call = client.request(method.clone(), path).header("user-agent", USER_AGENT);
        if let Some(token) = &self.token {
            call = call.header("cookie", &format!("theme=dark; {COOKIE}={token}"));
        }
        if !method.is_safe() {
            call = call.header("sec-fetch-site", "same-origin");
        }
        if let Some(body) = body {
            call = call.json(body);
        }
        let response = call.send().await.unwrap();
        assert_marked(&response);
        self.keep_cookie(&response);
        response
    }

    fn keep_cookie(&mut self, response: &Response) {
        let Some(cookie) = response.header("set-cookie") else { return };
        let mut parts = cookie.split("; ");
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).unwrap();
        assert_eq!(name, COOKIE);
        let age = parts.next().unwrap();
        assert_eq!(parts.collect::<Vec<_>>(), ["Path=/", "HttpOnly", "SameSite=Lax"]);
        self.token = (age != "Max-Age=0").then(|| value.to_owned());
        assert_eq!(self.token.is_none(), value.is_empty());
    }

    pub(in crate::http) async fn get(&mut self, path: &str) -> Response {
        self.send(Method::GET, path, None).await
    }

    pub(in crate::http) async fn post(&mut self, path: &str, body: &Value) -> Response {
        self.send(Method::POST, path, Some(body)).await
    }

    /// A POST without a body.
    pub(in crate::http) async fn act(&mut self, path: &str) -> Response {
        self.send(Method::POST, path, None).await
    }

    pub(in crate::http) async fn patch(&mut self, path: &str, body: &Value) -> Response {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub(in crate::http) async fn delete(&mut self, path: &str) -> Response {
        self.send(Method::DELETE, path, None).await
    }

    pub(in crate::http) async fn me(&mut self) -> Response {
        self.get(ME).await
    }

    pub(in crate::http) async fn login(&mut self, email: &str, password: &str) -> Response {
        self.post("/api/auth/login", &json!({"email": email, "password": password})).await
    }

    pub(in crate::http) async fn register(&mut self, email: &str) -> Response {
        self.post("/api/auth/register", &json!({"email": email, "password": PASSWORD})).await
    }

    /// One's own sessions.
    pub(in crate::http) async fn sessions(&mut self) -> Vec<Value> {
        let response = self.get("/api/auth/sessions").await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["sessions"].as_array().unwrap().clone()
    }

    /// Id of the user who is signed in.
    pub(in crate::http) async fn user_id(&mut self) -> String {
        self.me().await.json()["user"]["id"].as_str().unwrap().to_owned()
    }

    /// Id of the session.
    pub(in crate::http) async fn session_id(&mut self) -> String {
        self.me().await.json()["session"]["id"].as_str().unwrap().to_owned()
    }
}
