//! `phoenix doctor` on the installation that `deploy/compose` describes, without a container engine: its settings, its
//! secrets, and servers with the settings that it gives them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use phoenix_testkit::port;
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::process::{Builder, PhoenixProcess};
use phoenix_testkit::redis::Redis;
use phoenix_testkit::upstream::Upstream;
use serde_json::Value;

use super::{findings, ids, of_this_machine, report};
use crate::process::support::{BINARY, Ran};

/// What is worth a look in the example, and why it stays.
const EXPECTED: [(&str, &str); 5] = [
    ("configuration.registration", "whoever tries the example makes an account"),
    ("gateway.health", "the example's application has one server and no path for it"),
    ("postgres.backup", "where backups go, the example cannot know"),
    ("redis.replicas", "one machine"),
    ("secrets.first-password", "a later start needs it no more; the example cannot know which start it is"),
];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/compose")
}

fn services() -> Value {
    let text = fs::read_to_string(deploy().join("compose.yaml")).expect("the example");
    let compose: Value = serde_saphyr::from_str(&text).expect("YAML");
    compose["services"].clone()
}

/// The secrets that the script makes, in a folder of their own.
fn secrets(folder: &Path) -> PathBuf {
    let script = folder.join("make-secrets.sh");
    fs::copy(deploy().join("make-secrets.sh"), &script).expect("copied");
    let made = Command::new("sh").arg(&script).output().expect("a shell");
    assert!(made.status.success(), "{made:?}");
    let secrets = folder.join("secrets");
    for file in fs::read_dir(&secrets).expect("the secrets") {
        // On a machine they would be open to others; in a container there are no others.
        let path = file.expect("a file").path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode");
    }
    secrets
}

fn secret(secrets: &Path, name: &str) -> String {
    fs::read_to_string(secrets.join(name)).unwrap_or_else(|error| panic!("secret {name}: {error}"))
}

/// PostgreSQL with the settings on its command line.
fn postgres(service: &Value) -> Postgres {
    let words: Vec<&str> =
        service["command"].as_array().expect("words").iter().filter_map(Value::as_str).collect();
    // What the image has by default, and the test kit has not.
    let mut builder = Postgres::builder().setting("shared_buffers", "128MB");
    let mut count = 0;
    for pair in words.windows(2).filter(|pair| pair[0] == "-c") {
        let (name, value) = pair[1].split_once('=').expect("name=value");
        builder = builder.setting(name, value);
        count += 1;
    }
    assert!(count > 0, "{words:?}");
    builder.start().expect("PostgreSQL")
}

/// Redis with the settings that it is told over standard input.
fn redis(service: &Value, secrets: &Path) -> Redis {
    let script = service["command"][2].as_str().expect("a script");
    let settings = script.split('\'').nth(1).expect("settings in quotes");
    let mut builder = Redis::builder();
    let mut count = 0;
    for setting in settings.split("\\n").filter(|setting| !setting.is_empty()) {
        let (name, value) = setting.split_once(' ').expect("a name and a value");
        builder = match name {
            "requirepass" => builder.requirepass(&secret(secrets, "redis_password")),
            // The test kit's own.
            "dir" => builder,
            _ => builder.setting(name, value),
        };
        count += 1;
    }
    assert!(count >= 5, "{settings}");
    builder.start().expect("Redis")
}

/// The example with everything in it that runs here.
struct Example {
    folder: tempfile::TempDir,
    environment: BTreeMap<String, String>,
    _servers: (Postgres, Redis, Upstream),
}

impl Example {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let secrets = secrets(folder.path());
        let services = services();
        let (postgres, redis) = (postgres(&services["postgres"]), redis(&services["redis"], &secrets));
        let app = Upstream::start().expect("an application");
        // The addresses of the container network lead to what runs here.
        let database = secret(&secrets, "database_url");
        assert!(database.ends_with("@postgres:5432/phoenix"), "{database}");
        fs::write(secrets.join("database_url"), postgres.create_database()).expect("written");
        let cache = secret(&secrets, "redis_url").replace("redis:6379", &redis.address().to_string());
        fs::write(secrets.join("redis_url"), cache).expect("written");
        let port = port::free().to_string();
        let given = services["phoenix"]["environment"].as_object().expect("an environment");
        let here = |value: &Value| {
            let value = value.as_str().expect("text");
            value
                .replace("/run/secrets", secrets.to_str().expect("UTF-8"))
                .replace("http://app:3000", &app.origin())
                .replace(":8080", &format!(":{port}"))
        };
        let environment = given.iter().map(|(name, value)| (name.clone(), here(value))).collect();
        Self { folder, environment, _servers: (postgres, redis, app) }
    }

    fn start(&self) -> PhoenixProcess {
        let builder = PhoenixProcess::builder(BINARY);
        let with = |builder: Builder, (name, value): (&String, &String)| builder.env(name, value.as_str());
        self.environment.iter().fold(builder, with).start().expect("it starts")
    }

    /// `docker compose exec phoenix /phoenix doctor --json`.
    async fn examine(&self) -> Ran {
        let mut command = tokio::process::Command::new(BINARY);
        command.args(["doctor", "--json"]).current_dir(self.folder.path()).stdin(Stdio::null());
        let output = command.env_clear().envs(&self.environment).output().await.expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

// spec: G5
#[tokio::test]
async fn the_example_for_compose_is_fit_but_for_what_is_explained() {
    let example = Example::new();
    let _server = example.start();
    let report = report(&example.examine().await);
    let of_the_example =
        |state| ids(&report, state).into_iter().filter(|id| !of_this_machine(id)).collect::<Vec<_>>();
    assert_eq!(of_the_example("failure"), Vec::<&str>::new(), "{report:#}");
    let mut warnings = of_the_example("warning");
    warnings.sort_unstable();
    assert_eq!(warnings, EXPECTED.map(|(id, _why)| id), "{report:#}");
    // It was looked at as a whole: nothing is green because it was left out.
    for id in ["postgres.reachable", "redis.eviction", "gateway.servers", "server.answers", "server.status"] {
        assert_eq!(findings(&report, id)[0]["state"], "ok", "{id}: {report:#}");
    }
}
