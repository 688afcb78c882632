//! What is written to standard output and standard error: JSON a machine can read, and no secret.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use phoenix_testkit::http::Response;
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::process::Builder;
use serde_json::{Value, json};

use super::support::{
    ADMIN, OTHER_PASSWORD, PASSWORD, bare, change_password, login, logout, phoenix, register, token,
};

const EMAIL: &str = "ada.lovelace@example.com";
/// Everything of ours, and whatever libraries say that is not about single bytes.
const EVERYTHING: &str = "debug,phoenix=trace,phoenix_http=trace,phoenix_auth=trace,phoenix_store=trace";

/// Remembers what must not be logged, and which answers must be.
#[derive(Default)]
struct Seen {
    secrets: Vec<String>,
    /// Request id to status.
    requests: BTreeMap<String, u64>,
}

impl Seen {
    fn note(&mut self, response: Response) -> Result<Response> {
        let id = response.header("x-request-id").context("every answer has an id")?.to_owned();
        let earlier = self.requests.insert(id, response.status.as_u16().into());
        assert_eq!(earlier, None, "ids are not repeated");
        self.secrets.extend(response.header("set-cookie").and_then(cookie_value));
        Ok(response)
    }

    fn secret(&mut self, text: String) -> String {
        self.secrets.push(text.clone());
        text
    }
}

fn cookie_value(cookie: &str) -> Option<String> {
    Some(cookie.split_once('=')?.1.split(';').next()?.to_owned()).filter(|value| !value.is_empty())
}

async fn nothing_secret_is_written(start: Builder) -> Result<()> {
    let server = start
        .env("PHOENIX_LOG", EVERYTHING)
        .env("DB_LOGGING", "true")
        .env("PHOENIX_SECRET_KEY", "a-key-that-nobody-must-ever-read-anywhere")
        .start()?;
    let client = &server.client();
    let mut seen = Seen::default();
    seen.secrets.extend([PASSWORD, OTHER_PASSWORD, EMAIL].map(str::to_owned));
    seen.secret("a-key-that-nobody-must-ever-read-anywhere".to_owned());

    let first = seen.note(register(client, EMAIL).await?)?;
    let first = seen.secret(token(&first, 201));
    seen.note(register(client, EMAIL).await?)?;
    seen.note(login(client, EMAIL, "wrong-horse-battery-staple").await?)?;
    seen.secret("wrong-horse-battery-staple".to_owned());
    let second = seen.note(client.post("/api/auth/refresh").bearer(&first).send().await?)?;
    let second = seen.secret(token(&second, 200));
    let changed = seen.note(change_password(client, &second).await?)?;
    let changed = seen.secret(token(&changed, 200));
    let body = json!({"email": EMAIL, "password": OTHER_PASSWORD});
    let cookie = seen.note(client.post("/api/auth/login").json(&body).send().await?)?;
    let cookie = cookie.header("set-cookie").and_then(cookie_value).context("a cookie")?;
    let sent = format!("phoenix_session={cookie}");
    seen.note(client.get("/api/auth/sessions").header("cookie", &sent).send().await?)?;
    // Tokens that are not valid, in every place where one may be, and where none should be.
    let (start, last) = changed.split_at(changed.len() - 1);
    let wrong = format!("{start}{}", if last == "A" { "B" } else { "A" });
    for bad in [&wrong, "phx_s_tooshort", "not-ours-at-all-but-perhaps-of-another-service"] {
        let bad = seen.secret(bad.to_owned());
        seen.note(client.get("/api/auth/me").bearer(&bad).send().await?)?;
        seen.note(
            client.get("/api/auth/me").header("cookie", &format!("phoenix_session={bad}")).send().await?,
        )?;
        seen.note(client.get(&format!("/api/auth/sessions/{bad}?token={bad}")).send().await?)?;
        let broken = format!("{{\"email\": \"{EMAIL}\", \"password\": \"{bad}\"");
        let call = client.post("/api/auth/login").header("content-type", "application/json");
        seen.note(call.body(broken).send().await?)?;
    }
    seen.note(logout(client, &changed).await?)?;
    server.terminate()?;

    for (name, text) in [("stdout", server.stdout()), ("stderr", server.stderr())] {
        for secret in &seen.secrets {
            assert!(!text.contains(secret.as_str()), "{name} shows {secret}:\n{}", around(&text, secret));
        }
    }
    every_request_is_logged_with_its_id(&server.stderr(), &seen)
}

/// The line with the secret, for the failure's message.
fn around<'a>(text: &'a str, secret: &str) -> &'a str {
    text.lines().find(|line| line.contains(secret)).unwrap_or("")
}

fn every_request_is_logged_with_its_id(stderr: &str, seen: &Seen) -> Result<()> {
    let mut logged = BTreeMap::new();
    for line in stderr.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("a line of JSON: {line}"))?;
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{event}");
        if event["message"] == "request" {
            let id = event["span"]["id"].as_str().with_context(|| format!("an id: {event}"))?;
            logged.insert(id.to_owned(), event["status"].as_u64().context("a status")?);
        }
    }
    for (id, status) in &seen.requests {
        assert_eq!(logged.get(id), Some(status), "request {id}");
    }
    Ok(())
}

// spec: D15
#[tokio::test]
async fn no_secret_is_written_with_the_embedded_database() -> Result<()> {
    nothing_secret_is_written(phoenix()).await
}

#[tokio::test]
async fn no_secret_is_written_with_postgresql() -> Result<()> {
    let url = Postgres::shared().create_database();
    nothing_secret_is_written(phoenix().env("DATABASE_URL", url)).await
}

#[tokio::test]
async fn an_outage_is_logged_with_its_request_and_without_the_address_s_password() -> Result<()> {
    let postgres = Postgres::start()?;
    let url = postgres.create_database().replace("phoenix:phoenix@", "phoenix:phoenix-hunter2@");
    postgres.execute("postgres", "ALTER ROLE phoenix PASSWORD 'phoenix-hunter2'")?;
    let server = bare()
        .env("DATABASE_URL", url)
        .env("DB_POOL_MIN", "1")
        .env("DB_QUERY_TIMEOUT", "2000")
        .env("PHOENIX_LOG", EVERYTHING)
        .env("PHOENIX_ADMIN_EMAIL", ADMIN)
        .env("PHOENIX_ADMIN_PASSWORD", PASSWORD)
        .start()?;
    postgres.kill()?;
    let refused = login(&server.client(), ADMIN, PASSWORD).await?;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let id = refused.header("x-request-id").context("an id")?.to_owned();
    server.terminate()?;
    let stderr = server.stderr();
    assert!(!stderr.contains("hunter2"), "{}", around(&stderr, "hunter2"));
    let lines: Vec<&str> = stderr.lines().filter(|line| line.contains(&id)).collect();
    assert!(lines.iter().any(|line| line.contains("\"ERROR\"") && line.contains("cause")), "{lines:#?}");
    Ok(())
}
