//! Starts that must not happen: each ends by itself with the right exit code and one sentence that names what is
//! wrong, shows no secret, announces nothing and changes nothing.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use anyhow::{Context as _, Result};
use phoenix_testkit::certificates::Authority;
use phoenix_testkit::port;
use phoenix_testkit::postgres::{Postgres, database_name};

use super::support::{ADMIN, CommandLine, OTHER_PASSWORD, PASSWORD, login, me, phoenix, register, token};

const KEY: &str = "first-key-of-this-test-0123456789abcdef";
const OTHER_KEY: &str = "second-key-of-this-test-0123456789abcdef";

/// One start that must be refused.
struct Case {
    name: &'static str,
    /// Prepares the folder it starts in.
    prepare: fn(&Path) -> Result<()>,
    variables: Vec<(&'static str, String)>,
    code: i32,
    /// What the message must name.
    names: Vec<String>,
}

#[expect(clippy::unnecessary_wraps, reason = "one of several preparations, which may fail")]
fn nothing(_folder: &Path) -> Result<()> {
    Ok(())
}

/// Starts it and compares everything there is to see.
async fn is_refused(case: Case) -> Result<()> {
    let Case { name, prepare, variables, code, names } = case;
    let folder = tempfile::tempdir()?;
    prepare(folder.path())?;
    let before = contents(folder.path())?;
    let listen = format!("127.0.0.1:{}", port::free());
    let mut command = CommandLine::in_folder(folder.path())
        .env("PHOENIX_LISTEN", &listen)
        .env("PHOENIX_ADMIN_PASSWORD", OTHER_PASSWORD)
        .env("DB_CONNECTION_TIMEOUT", "2000");
    for (key, value) in variables {
        command = command.env(key, value);
    }
    let ran = command.run(&["serve"]).await;
    assert_eq!(ran.code, Some(code), "{name}: {ran:?}");
    for part in &names {
        assert!(ran.stderr.contains(part.as_str()), "{name}: {part:?} is missing: {ran:?}");
    }
    // Failures at run time are one line for people; a wrong configuration is a block for each error.
    let complaints = ran.stderr.lines().filter(|line| !line.starts_with('{')).count();
    assert!(code == 2 || complaints == 1, "{name}: one sentence: {ran:?}");
    assert_eq!(ran.stdout, "", "{name}: nothing is announced");
    for secret in [OTHER_PASSWORD, "hunter2", "not-the-password", "phoenix:phoenix", OTHER_KEY] {
        assert!(!ran.stderr.contains(secret), "{name}: {secret} is shown: {ran:?}");
    }
    assert!(!ran.stderr.contains("panicked"), "{name}: {ran:?}");
    assert!(TcpStream::connect(&listen).is_err(), "{name}: something listens");
    assert_eq!(contents(folder.path())?, before, "{name}: the folder was changed");
    Ok(())
}

/// Every file below the folder with its bytes.
fn contents(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.push((path.to_string_lossy().into_owned(), Vec::new()));
            found.extend(contents(&path)?);
        } else {
            found.push((path.to_string_lossy().into_owned(), fs::read(&path)?));
        }
    }
    found.sort();
    Ok(found)
}

fn case(
    name: &'static str,
    prepare: fn(&Path) -> Result<()>,
    variables: &[(&'static str, &str)],
    code: i32,
    names: &[&str],
) -> Case {
    let variables = variables.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    Case { name, prepare, variables, code, names: names.iter().map(|&name| name.to_owned()).collect() }
}

// spec: D15
#[tokio::test]
async fn folders_and_files_that_cannot_be_used() -> Result<()> {
    let cases = [
        case(
            "the data folder is a file",
            |folder| Ok(fs::write(folder.join("data"), "mine")?),
            &[("PHOENIX_DATA_DIR", "data")],
            1,
            &["data", "not a directory"],
        ),
        case(
            "the data folder is below a file",
            |folder| Ok(fs::write(folder.join("file"), "mine")?),
            &[("PHOENIX_DATA_DIR", "file/data")],
            1,
            &["file/data", "not a directory"],
        ),
        case(
            "the data folder cannot be made",
            nothing,
            &[("PHOENIX_DATA_DIR", "/sys/phoenix")],
            1,
            &["/sys/phoenix"],
        ),
        case(
            "phoenix.db is garbage",
            |folder| Ok(fs::write(folder.join("phoenix.db"), vec![b'x'; 8192])?),
            &[("PHOENIX_DATA_DIR", ".")],
            1,
            &["phoenix.db", "not a Phoenix database"],
        ),
        case(
            "phoenix.db is a folder",
            |folder| Ok(fs::create_dir(folder.join("phoenix.db"))?),
            &[("PHOENIX_DATA_DIR", ".")],
            1,
            &["phoenix.db", "not a Phoenix database"],
        ),
    ];
    for case in cases {
        is_refused(case).await?;
    }
    Ok(())
}

// spec: A12
#[tokio::test]
async fn configurations_that_cannot_be_used() -> Result<()> {
    let toml: fn(&Path) -> Result<()> =
        |folder| Ok(fs::write(folder.join("phoenix.toml"), "[server]\nlissten = \"127.0.0.1:1\"\n")?);
    let cases = [
        case(
            "several errors are reported together",
            nothing,
            &[
                ("PHOENIX_WORKERS", "many"),
                ("DB_POOL_MAX", "0"),
                ("PHOENIX_L1_TTL", "soon"),
                ("PHOENIX_SECRET_KEY", "hunter2"),
            ],
            2,
            &["4 errors", "PHOENIX_WORKERS", "DB_POOL_MAX", "PHOENIX_L1_TTL", "PHOENIX_SECRET_KEY"],
        ),
        case("an unknown key in the file", toml, &[], 2, &["phoenix.toml:2", "lissten", "server.listen"]),
        case(
            "a file that is no TOML",
            |folder| Ok(fs::write(folder.join("phoenix.toml"), "hunter2 = [")?),
            &[],
            2,
            &["phoenix.toml"],
        ),
        case("a file that is not there", nothing, &[("PHOENIX_CONFIG", "absent.toml")], 2, &["absent.toml"]),
        case("an address that is none", nothing, &[("PHOENIX_LISTEN", "everywhere")], 2, &["PHOENIX_LISTEN"]),
        case(
            "a switch that is neither",
            nothing,
            &[("ENABLE_DEMO_MODE", "perhaps")],
            2,
            &["ENABLE_DEMO_MODE"],
        ),
        case(
            "control characters",
            nothing,
            &[("PHOENIX_LOG_FORMAT", "\u{1b}[2Jjson\nok")],
            2,
            &["PHOENIX_LOG_FORMAT"],
        ),
        case(
            "a log filter that is none",
            nothing,
            &[("PHOENIX_LOG", "phoenix=loud")],
            2,
            &["PHOENIX_LOG", "phoenix=loud"],
        ),
        case(
            "the test user in production",
            nothing,
            &[("ENABLE_TEST_USER", "true")],
            2,
            &["ENABLE_TEST_USER", "production"],
        ),
        case(
            "another kind of database",
            nothing,
            &[("DATABASE_URL", "mysql://root:hunter2@localhost/x")],
            2,
            &["DATABASE_URL", "postgres://"],
        ),
    ];
    for case in cases {
        is_refused(case).await?;
    }
    Ok(())
}

#[tokio::test]
async fn postgresql_servers_that_cannot_be_used() -> Result<()> {
    let postgres = Postgres::shared();
    let closed = port::free();
    let empty = postgres.create_database();
    let read_only = postgres.create_database();
    postgres.set_read_only(database_name(&read_only), true)?;
    let unreachable = format!("postgres://phoenix:hunter2@127.0.0.1:{closed}/phoenix");
    let with = |url: &str, name, names: &[&str]| case(name, nothing, &[("DATABASE_URL", url)], 1, names);
    let server = format!("127.0.0.1:{}", postgres.port());
    let cases = [
        with(&unreachable, "nobody there", &["PostgreSQL", &format!("127.0.0.1:{closed}")]),
        with(
            &postgres.url_with_wrong_password(database_name(&empty)),
            "a wrong password",
            &[&server, "\"phoenix\""],
        ),
        with(&postgres.url("not_made"), "no such database", &[&server, "not_made"]),
        with(&read_only, "a read-only database", &[&server, "read-only"]),
        with(&format!("{empty}?sslmode=require"), "TLS", &["sslmode=disable", "does not speak TLS"]),
        with(
            &format!("{empty}?sslmode=require&sslrootcert=/none.pem"),
            "no file",
            &["sslrootcert", "/none.pem"],
        ),
    ];
    for case in cases {
        is_refused(case).await?;
    }
    let tables = "SELECT count(*) FROM pg_namespace WHERE nspname = 'phoenix'";
    let made = postgres.query(database_name(&empty), tables)?;
    assert_eq!(made, [[Some("0".to_owned())]], "no refused start made anything");
    Ok(())
}

// spec: G4
#[tokio::test]
async fn servers_that_are_not_trusted() -> Result<()> {
    let (ours, postgres) = (Authority::new("ours"), Postgres::builder().fsync(false).start()?);
    postgres.serve_tls(&ours.issue_local(), &ours)?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_str().context("UTF-8")?.to_owned())
    };
    let url = format!("{}?sslmode=require", postgres.create_database());
    let (trusted, empty) = (file("ours.pem", &ours.pem())?, file("empty.pem", "")?);
    is_refused(case(
        "an unknown authority",
        nothing,
        &[("DATABASE_URL", &url)],
        1,
        &["no authority", "PHOENIX_TRUST_FILE", "sslrootcert"],
    ))
    .await?;
    let variables = [("DATABASE_URL", &*url), ("PHOENIX_TRUST_FILE", &*empty)];
    is_refused(case(
        "an empty file",
        nothing,
        &variables,
        1,
        &["PHOENIX_TRUST_FILE", "empty.pem", "no certificate"],
    ))
    .await?;
    let variables = [("DATABASE_URL", &*url), ("PHOENIX_TRUST_FILE", &*trusted)];
    postgres.serve_tls(&ours.issue(&["db.example"]), &ours)?;
    is_refused(case("another name", nothing, &variables, 1, &["other names", "subjectAltName"])).await?;
    postgres.serve_tls(&ours.issue_expired(&["127.0.0.1"]), &ours)?;
    is_refused(case("an old certificate", nothing, &variables, 1, &["expired", "renew"])).await
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_left_alone() -> Result<()> {
    let postgres = Postgres::shared();
    let url = postgres.create_database();
    let folder = tempfile::tempdir()?;
    let command = CommandLine::in_folder(folder.path()).env("DATABASE_URL", &url);
    command.run(&["migrate"]).await.succeeded();
    let newer = "INSERT INTO phoenix.migrations (version, name, checksum, applied_ms) VALUES (9000, 'later', '\\x00', 0)";
    postgres.execute(database_name(&url), newer)?;
    is_refused(case("a newer schema", nothing, &[("DATABASE_URL", &url)], 1, &["9000", "upgrade"])).await
}

#[tokio::test]
async fn a_port_that_is_taken_is_found_out_before_anything_is_made() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let folder = tempfile::tempdir()?;
    let command = CommandLine::in_folder(folder.path()).env("PHOENIX_LISTEN", &address);
    let ran = command.run(&["serve"]).await;
    ran.failed(1, &[&address, "PHOENIX_LISTEN", "in use"]);
    assert_eq!((ran.stderr.lines().count(), ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert_eq!(contents(folder.path())?, [], "nothing is made");
    Ok(())
}

/// With both databases: another key is refused until it is accepted, which signs everybody out.
async fn another_key_is_refused_until_it_is_accepted(database: Option<String>) -> Result<()> {
    let (mut start, folder) = (phoenix().env("PHOENIX_SECRET_KEY", KEY), tempfile::tempdir()?);
    let data = folder.path().join("data").to_string_lossy().into_owned();
    start = start.env("PHOENIX_DATA_DIR", &data);
    let mut command = CommandLine::in_folder(folder.path())
        .env("PHOENIX_SECRET_KEY", OTHER_KEY)
        .env("PHOENIX_DATA_DIR", &data)
        .env("PHOENIX_LISTEN", "127.0.0.1:0");
    if let Some(url) = &database {
        start = start.env("DATABASE_URL", url);
        command = command.env("DATABASE_URL", url);
    }
    let server = start.clone().start()?;
    let session = token(&register(&server.client(), "ada@example.com").await?, 201);
    server.terminate()?;

    for arguments in [&["serve"][..], &["user", "list"]] {
        let ran = command.run(arguments).await;
        ran.failed(1, &["PHOENIX_SECRET_KEY", "phoenix migrate --new-secret-key"]);
        assert!(ran.stdout.is_empty() && !ran.stderr.contains("-key-of-this-test"), "{ran:?}");
    }
    server.restart()?;
    assert_eq!(me(&server.client(), &session).await?, 200, "the refused key did no harm");
    server.terminate()?;

    command.run(&["migrate", "--new-secret-key"]).await.succeeded();
    let server = start.env("PHOENIX_SECRET_KEY", OTHER_KEY).start()?;
    assert_eq!(me(&server.client(), &session).await?, 401, "everybody is signed out");
    let sessions = command.run(&["session", "list", "ada@example.com", "--json"]).await.json();
    assert_eq!(sessions.as_array().map(Vec::len), Some(0), "{sessions}");
    for email in ["ada@example.com", ADMIN] {
        assert_eq!(login(&server.client(), email, PASSWORD).await?.status, 200, "{email} still exists");
    }
    Ok(())
}

// spec: D15
#[tokio::test]
async fn another_secret_key_on_the_embedded_database() -> Result<()> {
    another_key_is_refused_until_it_is_accepted(None).await
}

#[tokio::test]
async fn another_secret_key_on_postgresql() -> Result<()> {
    another_key_is_refused_until_it_is_accepted(Some(Postgres::shared().create_database())).await
}
