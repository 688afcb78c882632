//! `phoenix doctor` on set-ups that are broken in one way each, and on a good one.

mod compose;
mod running;
mod servers;
mod settings;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;

use phoenix_testkit::certificates::Authority;
use phoenix_testkit::mmdb::{Mmdb, Value as Place};
use phoenix_testkit::port;
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::redis::Redis;
use phoenix_testkit::upstream::Upstream;
use serde_json::Value;
use tempfile::TempDir;

use super::support::{BINARY, CommandLine, Ran};

/// Drawn once with `openssl rand -base64 32`.
const KEY: &str = "fXsn0W8MwxG1kYc3yqPVtd0rQ0ESJr4cZ6uJmAt0LhM=";
/// Another.
const OTHER_KEY: &str = "m2W0x7VtYb8Lq1dKzEoH4ScRgPnUj5aTfCvX9iB3kNw=";

/// As production should be: commits reach the disk, enough memory.
fn good_postgres() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::builder().setting("shared_buffers", "128MB").start().expect("PostgreSQL"))
}

/// As production should be: a limit of memory, nothing thrown away.
fn good_redis() -> &'static Redis {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    SERVER.get_or_init(|| {
        let builder = Redis::builder().setting("maxmemory", "256mb").setting("appendonly", "yes");
        builder.start().expect("Redis")
    })
}

/// A folder with a secret key in a file, and what `phoenix doctor` is told.
struct SetUp {
    folder: TempDir,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl SetUp {
    /// Good, on the embedded database.
    fn embedded() -> Self {
        let set_up = Self {
            folder: tempfile::tempdir().expect("a folder"),
            variables: Vec::new(),
            arguments: vec!["doctor".to_owned(), "--json".to_owned()],
        };
        let key = set_up.file("key", KEY, 0o600);
        set_up
            .env("PHOENIX_SECRET_KEY_FILE", &key)
            .env("PHOENIX_PUBLIC_URL", "https://app.example")
            .env("PHOENIX_TRUSTED_PROXIES", "10.0.0.7")
            .env("PHOENIX_REGISTRATION", "closed")
            .env("PHOENIX_LISTEN", &format!("127.0.0.1:{}", port::free()))
            .env("PHOENIX_LIMITS_EXEMPT", "10.0.0.0/8")
            // What this machine offers is not what is tested.
            .env("PHOENIX_MAX_CONNECTIONS", "64")
            .env("PHOENIX_MAX_CONNECTIONS_PER_ADDRESS", "64")
    }

    /// Good, with PostgreSQL and Redis.
    fn servers() -> Self {
        let postgres = good_postgres();
        let url = postgres.create_database();
        Self::embedded().env("DATABASE_URL", &url).env("REDIS_URL", &good_redis().isolated().url)
    }

    /// The last value of a variable counts.
    fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Writes a file with this mode; returns its path.
    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn database(&self) -> &str {
        let url = self.variables.iter().rev().find(|(name, _)| name == "DATABASE_URL");
        database_name(&url.expect("with PostgreSQL").1)
    }

    fn commands(&self) -> CommandLine {
        let commands = CommandLine::in_folder(self.folder.path());
        self.variables.iter().fold(commands, |commands, (name, value)| commands.env(name, value.as_str()))
    }

    async fn run(&self) -> Ran {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.commands().run(&arguments).await
    }

    async fn migrate(&self) {
        self.commands().run(&["migrate"]).await.succeeded();
    }
}

fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {ran:?}"))
}

/// The findings of one check.
fn findings<'a>(report: &'a Value, id: &str) -> Vec<&'a Value> {
    let all = report["findings"].as_array().expect("findings");
    all.iter().filter(|finding| finding["id"] == id).collect()
}

fn ids<'a>(report: &'a Value, state: &str) -> Vec<&'a str> {
    let all = report["findings"].as_array().expect("findings").iter();
    all.filter(|finding| finding["state"] == state)
        .map(|finding| finding["id"].as_str().expect("an id"))
        .collect()
}

/// Asserts that the check found this, and that its advice holds `advice`.
#[track_caller]
fn assert_found(ran: &Ran, id: &str, state: &str, advice: &str) {
    let report = report(ran);
    let found = findings(&report, id);
    let good = found.iter().any(|finding| {
        finding["state"] == state && finding["mend"].as_str().is_some_and(|mend| mend.contains(advice))
    });
    let failures = ids(&report, "failure");
    assert!(good, "{id} should be {state} with {advice:?}: {found:#?}; failures: {failures:?}");
    if state == "failure" && id != "configuration.readable" {
        assert_eq!(ran.code, Some(1), "{ran:?}");
    }
}

/// What of the machine that runs the tests, and of what else it does, may be worth a look.
fn of_this_machine(id: &str) -> bool {
    id.starts_with("system.") || id.ends_with(".latency")
}

// spec: G5
#[tokio::test]
async fn a_good_set_up_has_no_failure() {
    let set_up = SetUp::servers();
    set_up.migrate().await;
    let ran = set_up.run().await;
    let report = report(&ran);
    let failures: Vec<_> = ids(&report, "failure").into_iter().filter(|id| !of_this_machine(id)).collect();
    assert!(failures.is_empty(), "{failures:?}: {report:#}");
    let warnings: Vec<_> = ids(&report, "warning").into_iter().filter(|id| !of_this_machine(id)).collect();
    // A server for tests is not archived and has no replica.
    assert_eq!(warnings, ["postgres.backup", "redis.replicas"], "{report:#}");
    let skipped = ids(&report, "skipped");
    assert!(skipped.contains(&"embedded.folder") && skipped.contains(&"configuration.alerts"), "{skipped:?}");
}

#[tokio::test]
async fn exit_codes_tell_the_worst_and_strict_counts_warnings() {
    let set_up = SetUp::embedded();
    set_up.migrate().await;
    let ran = set_up.run().await;
    let found = report(&ran);
    let failed = !ids(&found, "failure").is_empty();
    assert_eq!(ran.code, Some(i32::from(failed)), "{found:#}");
    assert!(findings(&found, "embedded.backup").iter().any(|finding| finding["state"] == "warning"));
    let strict = set_up.arg("--strict").run().await;
    assert_eq!(strict.code, Some(1), "{strict:?}");
    assert_eq!(report(&strict)["summary"]["failure"], found["summary"]["failure"]);
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_is_told_as_findings() {
    let set_up = SetUp::embedded().env("PHOENIX_WORKERS", "many").env("DB_POOL_MAX", "0");
    let ran = set_up.run().await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_found(&ran, "configuration.readable", "failure", "");
    let report = report(&ran);
    assert_eq!(findings(&report, "configuration.readable").len(), 2, "{report:#}");
    assert_eq!(findings(&report, "postgres.reachable")[0]["state"], "skipped");
}

#[tokio::test]
async fn secrets_that_others_can_read_are_found() {
    let set_up = SetUp::embedded();
    let key = set_up.file("open-key", OTHER_KEY, 0o644);
    assert_found(
        &set_up.env("PHOENIX_SECRET_KEY_FILE", &key).run().await,
        "secrets.file-modes",
        "failure",
        "chmod 600",
    );

    let set_up = SetUp::embedded().env("PHOENIX_SECRET_KEY_FILE", "");
    set_up.file("phoenix.toml", &format!("[secrets]\nkey = \"{KEY}\"\n"), 0o644);
    let ran = set_up.run().await;
    assert_found(&ran, "secrets.config-file-mode", "failure", "chmod 600");
    assert!(!ran.stdout.contains(KEY));
    set_up.file("phoenix.toml", &format!("[secrets]\nkey = \"{KEY}\"\n"), 0o600);
    assert_found(&set_up.run().await, "secrets.config-file-mode", "ok", "");

    let set_up = SetUp::embedded().env("PHOENIX_SECRET_KEY_FILE", "").arg("--set");
    let ran = set_up.arg(&format!("secrets.key={KEY}")).run().await;
    assert_found(&ran, "secrets.sources", "failure", "PHOENIX_SECRET_KEY_FILE");
}

// spec: G5
#[tokio::test]
async fn keys_of_assertions_with_which_no_start_comes_about_are_found() {
    for (mode, state, advice) in
        [(0o600, "ok", ""), (0o660, "failure", "chmod 600"), (0o604, "failure", "chmod 600")]
    {
        let set_up = SetUp::embedded();
        let key = set_up.file("assertion.pem", "a key", mode);
        let ran = set_up.env("PHOENIX_ASSERTION_KEYS", &key).run().await;
        assert_found(&ran, "gateway.assertion-keys", state, advice);
    }
}

// spec: G5
#[tokio::test]
async fn headers_that_routes_set_count_as_secrets() {
    let route = |headers: &str| format!("{{ path = \"/x\", {headers} }}");
    for (headers, mode, state, advice) in [
        ("request_headers = { set = { authorization = \"Basic canary\" } }", 0o644, "failure", "chmod 600"),
        ("request_headers = { set = { x-api-key = \"canary\" } }", 0o644, "failure", "chmod 600"),
        ("request_headers = { set = { x-tenant = \"canary\" } }", 0o644, "warning", "chmod 600"),
        ("request_headers = { set = { x-api-key = \"canary\" } }", 0o640, "ok", ""),
        ("response_headers = { set = { x-frame-options = \"DENY\" } }", 0o644, "ok", ""),
    ] {
        let set_up = SetUp::embedded();
        set_up.file("phoenix.toml", &format!("[gateway]\nroutes = [{}]\n", route(headers)), mode);
        let ran = set_up.run().await;
        assert_found(&ran, "secrets.config-file-mode", state, advice);
        assert!(!ran.stdout.contains("canary"), "{}", ran.stdout);
    }
    let routes = format!("gateway.routes=[{}]", route("request_headers = { set = { x-key = \"canary\" } }"));
    let ran = SetUp::embedded().arg("--set").arg(&routes).run().await;
    assert_found(&ran, "secrets.sources", "failure", "into phoenix.toml");
}

#[tokio::test]
async fn what_is_wrong_with_the_embedded_database_is_found() {
    let set_up = SetUp::embedded();
    set_up.migrate().await;
    let folder = set_up.folder.path().join("phoenix-data");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("its mode");
    assert_found(&set_up.run().await, "embedded.folder-mode", "failure", "chmod 700");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("its mode");
    let ran = set_up.run().await;
    assert_found(&ran, "embedded.integrity", "ok", "");
    assert_found(&ran, "embedded.folder-mode", "ok", "");
    let found = findings(&report(&ran), "embedded.folder-mode")[0]["found"].to_string();
    assert!(found.contains("phoenix-data is 0700") && found.contains("phoenix.db is 0600"), "{found}");
    assert_found(&ran, "embedded.key-fingerprint", "ok", "");
    damage(&folder.join("phoenix.db"));
    assert_found(&set_up.run().await, "embedded.integrity", "failure", "restore a backup");
}

/// Overwrites everything but the head.
fn damage(file: &Path) {
    let mut bytes = fs::read(file).expect("readable");
    bytes.iter_mut().skip(4096).for_each(|byte| *byte = 0x5a);
    fs::write(file, bytes).expect("written");
}

#[tokio::test]
async fn a_database_that_says_nothing_costs_a_few_seconds_only() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("its address");
    let set_up = SetUp::embedded()
        .env("DATABASE_URL", &format!("postgres://a:b@{address}/d"))
        .env("REDIS_URL", &format!("redis://{address}"))
        .env("PHOENIX_UPSTREAM", &format!("http://{address}"))
        .env("PHOENIX_GATEWAY_HEALTH_PATH", "/healthz");
    // Bounded by the support's 30 s for a command; each look by 3 s.
    let ran = set_up.run().await;
    assert_found(&ran, "postgres.reachable", "failure", "DATABASE_URL");
    assert_found(&ran, "redis.reachable", "failure", "REDIS_URL");
    assert_found(&ran, "gateway.servers", "failure", "PHOENIX_UPSTREAM");
    assert!(ran.stdout.contains("no answer within 3 s"), "{}", ran.stdout);
}

#[tokio::test]
async fn certificates_are_looked_at_for_dates_names_chain_and_modes() {
    let authority = Authority::new("private");
    let set_up = SetUp::embedded();
    let expired = authority.issue_expired(&["app.example"]);
    let certificate = set_up.file("expired.pem", &expired.certificate_pem, 0o644);
    let key = set_up.file("expired.key", &expired.key_pem, 0o644);
    let ran = set_up.env("PHOENIX_TLS_CERTIFICATES", &format!("{certificate}:{key}")).run().await;
    assert_found(&ran, "tls.certificates", "failure", "renew the certificate");
    assert_found(&ran, "tls.key-modes", "failure", "chmod 600");

    let set_up = SetUp::embedded();
    let other = authority.issue(&["other.example"]);
    let certificate = set_up.file("other.pem", &other.certificate_pem, 0o644);
    let key = set_up.file("other.key", &other.key_pem, 0o600);
    let trust = set_up.file("trust.pem", &authority.pem(), 0o644);
    let set_up =
        set_up.env("PHOENIX_TLS_CERTIFICATES", &format!("{certificate}:{key}")).env("PHOENIX_TLS_HSTS", "0");
    let ran = set_up.run().await;
    assert_found(&ran, "tls.names", "failure", "PHOENIX_PUBLIC_URL");
    assert_found(&ran, "tls.chain", "warning", "fullchain.pem");
    assert_found(&ran, "tls.hsts", "warning", "PHOENIX_TLS_HSTS");
    assert_found(&ran, "tls.expiry", "ok", "");
    let good = set_up.env("PHOENIX_PUBLIC_URL", "https://other.example").env("PHOENIX_TRUST_FILE", &trust);
    let ran = good.run().await;
    assert_found(&ran, "tls.names", "ok", "");
    assert_found(&ran, "tls.chain", "ok", "");
    let wrong = set_up_with_wrong_key(&authority);
    assert_found(&wrong.run().await, "tls.certificates", "failure", "issued together");
}

fn set_up_with_wrong_key(authority: &Authority) -> SetUp {
    let set_up = SetUp::embedded();
    let certificate = set_up.file("a.pem", &authority.issue(&["app.example"]).certificate_pem, 0o644);
    let key = set_up.file("b.key", &authority.issue(&["app.example"]).key_pem, 0o600);
    set_up.env("PHOENIX_TLS_CERTIFICATES", &format!("{certificate}:{key}"))
}

#[tokio::test]
async fn an_old_file_of_places_and_a_good_application_are_seen() {
    let set_up = SetUp::embedded();
    let file = set_up.folder.path().join("places.mmdb");
    let places = Mmdb::new("GeoLite2-City").network("203.0.113.0", 24, Place::country("DE"));
    fs::write(&file, places.encode()).expect("written");
    let app = Upstream::start().expect("an application");
    let ran = set_up
        .env("PHOENIX_GEOIP_DB", file.to_str().expect("UTF-8"))
        .env("PHOENIX_UPSTREAM", &app.origin())
        .env("PHOENIX_GATEWAY_HEALTH_PATH", "/")
        .run()
        .await;
    let report = report(&ran);
    let found = findings(&report, "configuration.geo-database")[0]["found"].as_str().expect("text");
    assert!(found.contains("GeoLite2-City") && found.contains("days old"), "{found}");
    assert_found(&ran, "gateway.servers", "ok", "");
    assert_found(&ran, "gateway.health", "ok", "");
}

#[tokio::test]
async fn a_low_limit_of_files_is_found() {
    let set_up = SetUp::embedded();
    let mut command = tokio::process::Command::new("prlimit");
    command.args(["--nofile=256:256", BINARY, "doctor", "--json"]).current_dir(set_up.folder.path());
    command.env_clear().envs(set_up.variables.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
    let output = command.output().await.expect("prlimit (package util-linux) runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) };
    assert_found(&ran, "system.file-descriptors", "failure", "LimitNOFILE=264");
}

#[tokio::test]
async fn text_is_for_people_and_the_list_names_every_check() {
    let set_up = SetUp::embedded().env("ENABLE_DEMO_MODE", "true");
    let text = set_up.commands().run(&["doctor"]).await;
    assert_eq!(text.code, Some(1));
    assert!(text.stdout.contains("failure   configuration.demo-accounts"), "{}", text.stdout);
    assert!(text.stdout.contains("do:  unset ENABLE_DEMO_MODE"), "{}", text.stdout);
    assert!(!text.stdout.contains('\x1b'), "no colour where nobody watches");
    let json = report(&set_up.run().await);
    let list = set_up.commands().run(&["doctor", "--list"]).await.succeeded();
    for finding in json["findings"].as_array().expect("findings") {
        let id = finding["id"].as_str().expect("an id");
        assert!(list.contains(&format!("`{id}`")), "{id}");
    }
}
