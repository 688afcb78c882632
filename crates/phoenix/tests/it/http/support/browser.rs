//! A client that keeps its cookies, of the session and of the device, and says where its requests come from, as browsers do.

use std::net::{Ipv4Addr, SocketAddr};

use http::Method;
use phoenix_testkit::http::{Client, Response};
use phoenix_testkit::wait;
use serde_json::{Value, json};

use super::device::{Device, FIREFOX};
use super::{ME, PASSWORD, SOON, assert_marked, place};

const EVENTS: &str = "/api/auth/security-events";
const COOKIE: &str = "phoenix_session";
const DEVICE_COOKIE: &str = "phoenix_device";

/// A browser with at most one session.
#[derive(Clone, Debug)]
pub(in crate::http) struct Browser {
    client: Client,
    token: Option<String>,
    /// What marks it as a device that an account knows.
    mark: Option<String>,
    device: Device,
    /// Address that requests come from, when it is not the usual one.
    from: Option<(Ipv4Addr, SocketAddr)>,
}

impl Browser {
    pub(super) fn new(client: Client) -> Self {
        Self { client, token: None, mark: None, device: FIREFOX, from: None }
    }

    /// The same cookie on another node.
    pub(in crate::http) fn at(&self, client: &Client) -> Self {
        Self { client: client.clone(), ..self.clone() }
    }

    /// A browser with this cookie.
    pub(in crate::http) fn with_token(client: &Client, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::new(client.clone()) }
    }

    /// The same cookie in another browser.
    pub(in crate::http) fn on(&self, device: Device) -> Self {
        Self { device, ..self.clone() }
    }

    /// The same cookie in requests from this address to the node at `node`.
    pub(in crate::http) fn from(&self, address: [u8; 4], node: SocketAddr) -> Self {
        Self { from: Some((address.into(), node)), ..self.clone() }
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
        let mut headers: Vec<(&str, String)> = Vec::new();
        headers.extend(self.device.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let cookies = [(COOKIE, &self.token), (DEVICE_COOKIE, &self.mark)];
        let cookies = cookies.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
        let cookies: Vec<String> = cookies.collect();
        if !cookies.is_empty() {
            headers.push(("cookie", format!("theme=dark; {}", cookies.join("; "))));
        }
        if !method.is_safe() {
            headers.push(("sec-fetch-site", "same-origin".to_owned()));
        }
        let response = if let Some((source, node)) = self.from {
            place::send(source, node, method, path, &headers, body).await
        } else {
            let call = client.request(method, path);
            let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
            match body {
                Some(body) => call.json(body).send().await.unwrap(),
                None => call.send().await.unwrap(),
            }
        };
        assert_marked(&response);
        self.keep_cookie(&response);
        response
    }

    fn keep_cookie(&mut self, response: &Response) {
        for cookie in response.headers.get_all("set-cookie") {
            let mut parts = cookie.to_str().unwrap().split("; ");
            let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).unwrap();
            let age = parts.next().unwrap();
            assert_eq!(parts.collect::<Vec<_>>(), ["Path=/", "HttpOnly", "SameSite=Lax"]);
            if name == DEVICE_COOKIE {
                self.mark = Some(value.to_owned());
                continue;
            }
            assert_eq!(name, COOKIE);
            self.token = (age != "Max-Age=0").then(|| value.to_owned());
            assert_eq!(self.token.is_none(), value.is_empty());
        }
    }

    /// A browser without a session on a device with the mark of this one.
    pub(in crate::http) fn on_the_same_device(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// What marks the device.
    pub(in crate::http) fn mark(&self) -> Option<&str> {
        self.mark.as_deref()
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

    /// One's own security events, the latest first, once there are `count` of them.
    pub(in crate::http) async fn events(&mut self, count: usize) -> Vec<Value> {
        let browser = self.clone();
        wait::for_some(SOON, &format!("{count} security events"), || {
            let mut browser = browser.clone();
            async move {
                let response = browser.get(&format!("{EVENTS}?limit=200")).await;
                assert_eq!(response.status, 200, "{}", response.text());
                let events = response.json()["events"].as_array().unwrap().clone();
                assert!(events.len() <= count, "more than {count}: {events:?}");
                (events.len() == count).then_some(events)
            }
        })
        .await
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
