//! `phoenix config`, `health`, `migrate --status`, `openapi` and `errors`: what explains Phoenix to who runs it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use phoenix_testkit::{port, postgres::Postgres};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::support::{CommandLine, phoenix};

fn is_empty(folder: &Path) -> Result<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

#[tokio::test]
async fn the_example_is_a_valid_configuration_and_so_is_what_is_shown() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let phoenix = CommandLine::in_folder(folder.path());
    let example = phoenix.run(&["config", "example"]).await.succeeded();
    fs::write(folder.path().join("example.toml"), &example)?;
    // Every setting stands there as a comment. With the signs before them removed it must be valid as well, except for
    // what only the reader can fill in.
    let mut section = "";
    let line = |line| {
        section = if str::starts_with(line, '[') { line } else { section };
        let is_alone = section != "[stack]" && !line.starts_with("#admin_client_ca");
        if (is_setting(line) || is_part(line)) && is_alone { &line[1..] } else { line }
    };
    let enabled: Vec<&str> = example.lines().map(line).collect();
    assert_ne!(enabled.join("\n"), example.trim_end(), "the settings are comments");
    fs::write(folder.path().join("enabled.toml"), enabled.join("\n"))?;
    let shown = phoenix.run(&["config", "show"]).await.succeeded();
    fs::write(folder.path().join("shown.toml"), shown)?;
    for file in ["example.toml", "enabled.toml", "shown.toml"] {
        let check = phoenix.run(&["config", "check", "--config", file]).await.succeeded();
        assert_eq!(check, "The configuration is valid.\n");
    }
    Ok(())
}

/// `#name = value`, where there is a value
fn is_setting(line: &str) -> bool {
    let name = line
        .strip_prefix('#')
        .and_then(|rest| rest.split_once(" = "))
        .filter(|(_, value)| *value != "\"\"")
        .map(|(name, _)| name);
    name.is_some_and(|name| !name.is_empty() && name.chars().all(|letter| letter != ' '))
}

/// `#{ .. },` and `#]`: the lines after the first of a value that has several.
fn is_part(line: &str) -> bool {
    line.starts_with("#{") || line == "#]"
}

#[tokio::test]
async fn check_reports_every_error_and_what_only_the_start_would_find() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let phoenix = CommandLine::in_folder(folder.path());
    let wrong =
        ["config", "check", "--set", "server.workers=many", "--listen", "nowhere", "--set", "cache.x=1"];
    phoenix.run(&wrong).await.failed(2, &["3 errors", "server.workers", "server.listen", "cache.x"]);
    phoenix.run(&["config", "check", "--set", "no-equals-sign"]).await.failed(2, &["KEY=VALUE"]);
    let filter = ["config", "check", "--set", "log.filter=phoenix=loud"];
    phoenix.run(&filter).await.failed(2, &["PHOENIX_LOG", "phoenix=loud"]);
    let misspelt = phoenix.env("PHOENIX_LISTN", "127.0.0.1:1").run(&["config", "check"]).await;
    assert!(misspelt.stderr.contains("PHOENIX_LISTEN"), "{misspelt:?}");
    assert_eq!(misspelt.code, Some(0), "a warning is no error");
    assert!(is_empty(folder.path())?, "checking makes nothing");
    Ok(())
}

#[tokio::test]
async fn show_names_the_source_of_each_value_and_no_secret() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("phoenix.toml"), "[session]\nrefresh_grace = \"5s\"\n")?;
    fs::write(folder.path().join("key"), "hunter2-hunter2-hunter2-hunter2-hunter2\n")?;
    let phoenix = CommandLine::in_folder(folder.path())
        .env("DATABASE_URL", "postgres://someone:hunter2@db.example.com/name?password=hunter2")
        .env("REDIS_URL", "redis://:hunter2@cache.example.com:6379/0")
        .env("PHOENIX_SECRET_KEY_FILE", "key")
        .env("PHOENIX_ADMIN_PASSWORD", "hunter2");
    let text = phoenix.run(&["config", "show", "--listen", "127.0.0.1:7777"]).await;
    assert!(!format!("{text:?}").contains("hunter2"), "{text:?}");
    let text = text.succeeded();
    for part in ["db.example.com", "cache.example.com", "127.0.0.1:7777", "phoenix.toml:2", "command line"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    let shown = phoenix.run(&["config", "show", "--json"]).await;
    assert!(!format!("{shown:?}").contains("hunter2"), "{shown:?}");
    let shown = shown.json();
    assert_eq!(shown["session"]["refresh_grace"]["source"], "file");
    assert_eq!(shown["secrets"]["key"]["source"], "env");
    assert_eq!(shown["server"]["workers"]["source"], "default");
    Ok(())
}

#[tokio::test]
async fn what_programs_read_is_complete() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let phoenix = CommandLine::in_folder(folder.path());
    let schema = phoenix.run(&["config", "schema"]).await.json();
    assert!(schema["properties"]["server"]["properties"]["listen"].is_object(), "{schema}");
    let openapi = phoenix.run(&["openapi"]).await.json();
    assert!(openapi["paths"]["/api/auth/login"]["post"].is_object());
    let errors = phoenix.run(&["errors"]).await.succeeded();
    assert!(errors.contains("| 401 | `invalid-credentials` |"), "{errors}");
    let reference = phoenix.run(&["config", "reference"]).await.succeeded();
    assert!(reference.contains("PHOENIX_LISTEN"), "{reference}");
    let version = phoenix.run(&["--version"]).await.succeeded();
    assert!(version.starts_with("phoenix "), "{version}");
    let help = phoenix.run(&["--help"]).await.succeeded();
    for command in ["serve", "migrate", "user", "session", "config", "health", "openapi", "errors"] {
        assert!(help.contains(command), "{help}");
    }
    assert!(is_empty(folder.path())?, "reading makes nothing");
    Ok(())
}

#[tokio::test]
async fn health_asks_the_running_server() -> Result<()> {
    let server = phoenix().start()?;
    let address = server.address().to_string();
    let phoenix =
        CommandLine::beside(&server).env("PHOENIX_LISTEN", format!("0.0.0.0:{}", server.address().port()));
    assert_eq!(phoenix.run(&["health"]).await.succeeded(), "ready\n", "a server that listens everywhere");
    let asked = phoenix.run(&["health", "--address", &address, "--json"]).await.json();
    assert_eq!(asked["ready"], true);
    server.pause()?;
    let hung = phoenix.run(&["health", "--timeout", "1"]).await;
    server.resume()?;
    hung.failed(1, &[&address, "within 1 s"]);
    let free = format!("127.0.0.1:{}", port::free());
    phoenix.run(&["health", "--address", &free]).await.failed(1, &[&free]);
    let ran = phoenix.run(&["health", "--address", &free, "--json"]).await;
    let answer: Value = serde_json::from_str(&ran.stdout)?;
    assert_eq!((ran.code, &answer["ready"]), (Some(1), &false.into()), "{answer}");
    Ok(())
}

/// Answers every request on one connection after the other like this, and is no Phoenix.
async fn somebody_else(tasks: &mut JoinSet<()>, answer: &'static str) -> Result<SocketAddr> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let _asked = stream.read(&mut [0; 1024]).await;
            let _told = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok(address)
}

#[tokio::test]
async fn health_believes_nobody_but_phoenix() -> Result<()> {
    let mut tasks = JoinSet::new();
    let folder = tempfile::tempdir()?;
    let phoenix = CommandLine::in_folder(folder.path());
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{\"canary\":\"well\"}",
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n",
        "HTTP/1.1 200 OK\r\nx-phoenix-version: 1\r\ncontent-length: 6\r\n\r\ncanary",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 6\r\n\r\ncanary",
        "HTTP/1.1 302 Found\r\nlocation: /canary\r\ncontent-length: 0\r\n\r\n",
    ] {
        let address = somebody_else(&mut tasks, answer).await?.to_string();
        let ran = phoenix.run(&["health", "--address", &address]).await;
        ran.failed(1, &[&address, "is not Phoenix"]);
        assert!(!format!("{ran:?}").contains("canary"), "{ran:?}");
        let ran = phoenix.run(&["health", "--address", &address, "--json"]).await;
        let told: Value = serde_json::from_str(&ran.stdout)?;
        assert_eq!((ran.code, &told["ready"]), (Some(1), &false.into()), "{told}");
    }
    let draining = "HTTP/1.1 503 Service Unavailable\r\nx-phoenix-version: 1\r\ncontent-length: 14\r\n\r\nshutting down\n";
    let address = somebody_else(&mut tasks, draining).await?.to_string();
    phoenix.run(&["health", "--address", &address]).await.failed(1, &["is not ready: shutting down"]);
    Ok(())
}

async fn migrations_are_shown_and_taken_once(phoenix: CommandLine) -> Result<()> {
    let status = ["migrate", "--status", "--json"];
    let before = phoenix.run(&status).await.json();
    assert_eq!(before["applied"].as_array().map(Vec::len), Some(0), "{before}");
    let pending = before["pending"].as_array().map(Vec::len);
    assert!(pending > Some(0), "{before}");
    let taken = phoenix.run(&["migrate", "--json"]).await.json();
    assert_eq!(taken["applied"].as_array().map(Vec::len), pending, "{taken}");
    assert_eq!(phoenix.run(&status).await.json(), taken);
    assert_eq!(phoenix.run(&["migrate", "--json"]).await.json(), taken, "a second time changes nothing");
    let text = phoenix.run(&["migrate", "--status"]).await.succeeded();
    assert!(text.contains("applied") && !text.contains("pending"), "{text}");
    Ok(())
}

// spec: D15
#[tokio::test]
async fn migrations_of_the_embedded_database() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let phoenix = CommandLine::in_folder(folder.path());
    phoenix.run(&["migrate", "--status"]).await.succeeded();
    assert!(is_empty(folder.path())?, "asking makes nothing");
    migrations_are_shown_and_taken_once(phoenix).await
}

#[tokio::test]
async fn migrations_of_postgresql() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = Postgres::shared().create_database();
    migrations_are_shown_and_taken_once(CommandLine::in_folder(folder.path()).env("DATABASE_URL", url)).await
}
