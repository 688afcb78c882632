//! Secrets: never shown, and readable from files.

use std::fs;

use phoenix_config::{Loaded, Sources, load};
use tempfile::TempDir;

use crate::{refused, valid};

const CANARY: &str = "canary-0123456789-0123456789-0123456789";

fn secret_file(content: &[u8]) -> (TempDir, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("secret");
    fs::write(&path, content).expect("written");
    let path = path.to_str().expect("UTF-8").to_owned();
    (dir, path)
}

/// Every text that could reach a person or a log.
fn everything_shown(loaded: &Loaded) -> String {
    let Loaded { config, warnings, effective } = loaded;
    format!("{config:?}{config:#?}{warnings:?}{effective:?}{}{}", effective.to_text(), effective.to_json())
}

#[test]
fn a_secret_is_never_shown() {
    let url = format!("postgres://me:{CANARY}@db/app?password={CANARY}");
    let sources =
        Sources::from_toml(format!("secrets.key = '{CANARY}'\nredis.url = 'redis://:{CANARY}@cache'\n"))
            .with_env("DATABASE_URL", url)
            .with_env("PHOENIX_ADMIN_PASSWORD", CANARY)
            .with_env("STACK_PROJECT_ID", "0190163d-8694-739b-aea5-966c26f8ad91")
            .with_env("STACK_PUBLISHABLE_CLIENT_KEY", "pck")
            .with_env("STACK_WEBHOOK_SECRET", "whsec_canary0123456789")
            .with_override("stack.secret_server_key", CANARY);
    let shown = everything_shown(&valid(&sources)) + &format!("{sources:?}{sources:#?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("postgres://me:<redacted>@db/app"), "{shown}");
    let config = valid(&sources).config;
    assert_eq!(config.secrets.key.as_ref().map(phoenix_config::Secret::expose), Some(CANARY));
    assert_eq!(config.secrets.key.map(|key| key.to_string()).as_deref(), Some("<redacted>"));
}

#[test]
fn a_refused_secret_is_never_shown() {
    let long = "canary".repeat(1000);
    let in_files = [
        format!("secrets.key = 'canary'\nstack.secret_server_key = '{long}'"),
        format!("secrets.key = ['{CANARY}']\ndatabase.url = 'canary'"),
        format!("secrets.kye = '{CANARY}'\nkey = '{CANARY}'\n[secret]\nkey = '{CANARY}'"),
        format!("secrets.key = '{CANARY}'\nsecrets.key = '{CANARY}'"),
        format!("secrets.key = {CANARY}"),
        format!("secrets.key = '{CANARY}"),
        format!("secrets.key = \"{CANARY}\\q\""),
        format!("secrets.key = '{CANARY}' {CANARY}"),
        format!("redis.url = 'redis://u:1/{CANARY}@h'\ndatabase.url = 'postgres://u:{CANARY}#@h'"),
    ];
    let mut shown: Vec<String> =
        in_files.into_iter().map(|text| refused(&Sources::from_toml(text)).to_string()).collect();
    for name in ["PHOENIX_SECRET_KEY", "DATABASE_URL", "REDIS_URL", "PHOENIX_ADMIN_PASSWORD"] {
        let errors = refused(&Sources::default().with_env(name, long.clone() + "\n"));
        shown.push(format!("{errors}{errors:?}"));
    }
    for secret in ["canary", "whsec_canary", "whsec_canary-0123456789", "Whsec_canary0123456789"] {
        let errors = refused(&Sources::default().with_env("STACK_WEBHOOK_SECRET", secret));
        shown.push(format!("{errors}{errors:?}"));
    }
    for text in shown {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn the_value_of_a_header_that_a_route_sets_is_never_shown() {
    let headers = format!("{{ set = {{ authorization = 'Basic {CANARY}', X-Api-Key = '{CANARY}' }} }}");
    let route = format!("{{ path = '/x', request_headers = {headers}, response_headers = {headers} }}");
    let loaded = valid(&Sources::from_toml(format!("gateway.routes = [{route}]")));
    let shown = everything_shown(&loaded);
    assert!(!shown.contains("canary"), "{shown}");
    let line = "request_headers = { set = { authorization = \"(hidden)\", x-api-key = \"(hidden)\" } }";
    assert!(loaded.effective.to_text().contains(line), "{shown}");
    assert_eq!(loaded.config.gateway.routes[0].request_headers.set[1].1, CANARY);
    for (set, reason) in [
        (format!("{{ host = '{CANARY}' }}"), "Phoenix alone says"),
        (format!("{{ x-key = '{CANARY}é' }}"), "not ASCII"),
        (format!("{{ x-key = ['{CANARY}'] }}"), "expected a string"),
        (format!("['x-key: {CANARY}']"), "expected a table"),
        (format!("'x-key: {CANARY}'"), "expected a table"),
    ] {
        for headers in [format!("{{ set = {set} }}"), set.clone()] {
            let routes = format!("[{{ path = '/x', request_headers = {headers} }}]");
            let errors = refused(&Sources::from_toml(format!("gateway.routes = {routes}")));
            let in_variable = refused(&Sources::default().with_env("PHOENIX_GATEWAY_ROUTES", &routes));
            let shown = format!("{errors}{errors:?}{in_variable}{in_variable:?}");
            assert!(!shown.contains("canary"), "{shown}");
            assert!(shown.contains(reason) || shown.contains("there is no such setting"), "{shown}");
        }
    }
    // What cannot be taken apart at all.
    for text in [format!("[{route}"), format!("{{ a = {route} }}"), format!("'{CANARY}'"), CANARY.to_owned()]
    {
        let errors = refused(&Sources::default().with_env("PHOENIX_GATEWAY_ROUTES", text));
        let shown = format!("{errors}{errors:?}");
        assert!(!shown.contains("canary") && shown.contains("gateway.routes"), "{shown}");
    }
}

#[test]
fn a_secret_can_be_in_a_file() {
    for (content, secret) in [
        (format!("{CANARY}\n"), CANARY.to_owned()),
        (format!("{CANARY}\r\n"), CANARY.to_owned()),
        (CANARY.to_owned(), CANARY.to_owned()),
        (format!(" {CANARY}\n\n"), format!(" {CANARY}\n")),
    ] {
        let (_dir, path) = secret_file(content.as_bytes());
        let loaded = valid(&Sources::default().with_env("PHOENIX_SECRET_KEY_FILE", path.clone()));
        assert!(!everything_shown(&loaded).contains("canary"));
        let setting = loaded.effective.get("secrets.key").expect("a setting");
        assert_eq!(setting.source.to_string(), format!("file {path} named by PHOENIX_SECRET_KEY_FILE"));
        assert_eq!(loaded.config.secrets.key.expect("set").expose(), secret);
    }
    let (_dir, path) = secret_file(b"postgres://me:hunter2@db/app\n");
    let loaded = valid(&Sources::default().with_env("DATABASE_URL_FILE", path));
    assert_eq!(loaded.config.database.url.expect("set").expose(), "postgres://me:hunter2@db/app");
}

#[test]
fn both_a_secret_and_its_file_are_refused() {
    let (_dir, path) = secret_file(CANARY.as_bytes());
    let sources =
        Sources::default().with_env("PHOENIX_SECRET_KEY_FILE", path).with_env("PHOENIX_SECRET_KEY", CANARY);
    let errors = refused(&sources).to_string();
    assert!(errors.contains("both PHOENIX_SECRET_KEY and PHOENIX_SECRET_KEY_FILE are set"), "{errors}");
    assert!(!errors.contains("canary"));
    assert!(load(&sources.with_env("PHOENIX_SECRET_KEY", "")).is_ok(), "an empty variable counts as not set");
}

#[test]
fn a_secret_file_that_is_no_use_is_refused() {
    let too_large = vec![b'x'; 64 * 1024 + 1];
    for (content, message) in [
        (&b""[..], "the file is empty"),
        (b"\n", "the file is empty"),
        (b"canary\xff", "not UTF-8"),
        (b"canary", "at least 32"),
        (&too_large, "larger than 64 KiB"),
    ] {
        let (_dir, path) = secret_file(content);
        let errors =
            refused(&Sources::default().with_env("PHOENIX_SECRET_KEY_FILE", path.clone())).to_string();
        assert!(errors.contains(message) && errors.contains(&path) && !errors.contains("canary"), "{errors}");
    }
    for (path, message) in [("/nonexistent/secret", "cannot be read"), ("/dev/zero", "not a regular file")] {
        let errors = refused(&Sources::default().with_env("PHOENIX_SECRET_KEY_FILE", path)).to_string();
        assert!(errors.contains(message) && errors.contains(path), "{errors}");
    }
}
