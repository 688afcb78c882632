//! How these tests start `phoenix`, run its commands and speak to it. Asserts nothing about the product by itself.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use phoenix_testkit::http::{Client, Response};
use phoenix_testkit::process::{Builder, PhoenixProcess};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_phoenix");
/// A password that the rules accept.
pub(crate) const PASSWORD: &str = "violet-harbour-sixteen-lantern";
/// Another.
pub(crate) const OTHER_PASSWORD: &str = "copper-meadow-ninety-sparrow";
/// The administrator that [`phoenix`] is told to make.
pub(crate) const ADMIN: &str = "root@example.com";
/// Longest time of one command.
const COMMAND_BOUND: Duration = Duration::from_secs(30);
/// The cheapest hash that is allowed, patience for a machine that is busy with other tests, no limits, and no wait for
/// requests that nobody will send.
const CHEAP: [(&str, &str); 5] = [
    ("PHOENIX_DRAIN_IDLE", "0s"),
    ("PHOENIX_ARGON2_MEMORY", "7MiB"),
    ("PHOENIX_ARGON2_ITERATIONS", "5"),
    ("PHOENIX_HASH_WAIT", "30s"),
    // Tests that are not about limits ask as often as they like.
    ("PHOENIX_LIMITS_EXEMPT", "127.0.0.0/8,::1/128"),
];

/// A server on its own embedded database, without any configured account.
pub(crate) fn bare() -> Builder {
    let builder = PhoenixProcess::builder(BINARY);
    CHEAP.iter().fold(builder, |builder, (name, value)| builder.env(name, *value))
}

/// The same with [`ADMIN`] and [`PASSWORD`] as its administrator.
pub(crate) fn phoenix() -> Builder {
    bare().env("PHOENIX_ADMIN_EMAIL", ADMIN).env("PHOENIX_ADMIN_PASSWORD", PASSWORD)
}

/// Runs commands of the program in one folder, with nothing of the caller's environment.
pub(crate) struct CommandLine {
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl CommandLine {
    /// In `folder`, hence on the embedded database below it.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let variables = CHEAP.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { folder: folder.to_owned(), variables: variables.to_vec() }
    }

    /// In the folder of a server.
    pub(crate) fn beside(server: &PhoenixProcess) -> Self {
        Self::in_folder(&server.directory())
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Runs a command with nothing on its standard input.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_input(arguments, "").await
    }

    /// Runs a command; a command that goes on for longer than 30 seconds is killed and a failure.
    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let attempt = self.attempt(arguments, input);
        let ran = tokio::time::timeout(COMMAND_BOUND, attempt).await;
        let ran = ran.unwrap_or_else(|_| panic!("phoenix {arguments:?} went on for {COMMAND_BOUND:?}"));
        ran.unwrap_or_else(|error| panic!("phoenix {arguments:?} could not be run: {error:#}"))
    }

    async fn attempt(&self, arguments: &[&str], input: &str) -> Result<Ran> {
        let mut child = Command::new(BINARY)
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().context("its standard input")?;
        // A command that does not read its input may have closed it.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }
}

impl Ran {
    /// What it printed, once it is sure that it succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The JSON it printed, once it is sure that it succeeded.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let text = self.succeeded();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}): {text}"))
    }

    /// Asserts that it failed with this code and that the message holds all of `parts`.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing: {self:?}");
        }
    }
}

/// Registers with [`PASSWORD`] and asks for the token in the body.
pub(crate) async fn register(client: &Client, email: &str) -> Result<Response> {
    let body = json!({"email": email, "password": PASSWORD, "transport": "bearer"});
    client.post("/api/auth/register").json(&body).send().await
}

/// Signs in and asks for the token in the body.
pub(crate) async fn login(client: &Client, email: &str, password: &str) -> Result<Response> {
    let body = json!({"email": email, "password": password, "transport": "bearer"});
    client.post("/api/auth/login").json(&body).send().await
}

/// Changes the password from [`PASSWORD`] to [`OTHER_PASSWORD`].
pub(crate) async fn change_password(client: &Client, token: &str) -> Result<Response> {
    let body = json!({"currentPassword": PASSWORD, "newPassword": OTHER_PASSWORD});
    client.post("/api/auth/password").bearer(token).json(&body).send().await
}

/// Ends the session of `token`.
pub(crate) async fn logout(client: &Client, token: &str) -> Result<Response> {
    client.post("/api/auth/logout").bearer(token).send().await
}

/// The status that `GET /api/auth/me` answers with.
pub(crate) async fn me(client: &Client, token: &str) -> Result<u16> {
    Ok(client.get("/api/auth/me").bearer(token).send().await?.status.as_u16())
}

/// The token of an answer that must have this status.
#[track_caller]
pub(crate) fn token(response: &Response, status: u16) -> String {
    assert_eq!(response.status, status, "{}", response.text());
    response.json()["token"].as_str().expect("an answer with transport bearer holds a token").to_owned()
}
