//! Rules between settings, errors collected in one run, warnings, and the typed values that come out.

use std::{num::NonZeroUsize, time::Duration};

use phoenix_config::{Environment, Sources, WorkerCount};

use crate::{refused, valid};

fn from_env(list: &[(&str, &str)]) -> Sources {
    list.iter().fold(Sources::default(), |sources, (name, value)| sources.with_env(*name, *value))
}

#[test]
fn contradictions_are_refused() {
    for (env, key, parts) in [
        (
            &[("DB_POOL_MAX", "5")][..],
            "database.pool_min",
            &["10", "database.pool_max = 5 (environment variable DB_POOL_MAX)"][..],
        ),
        (
            &[("PHOENIX_SESSION_IDLE_TIMEOUT", "31d")],
            "session.absolute_timeout",
            &["\"30d\"", "shorter than session.idle_timeout = \"31d\""],
        ),
        (&[("PHOENIX_SESSION_IDLE_TIMEOUT", "1m")], "session.last_seen_step", &["not shorter"]),
        (
            &[("PHOENIX_ARGON2_MEMORY", "12MiB")],
            "password.argon2_iterations",
            &["OWASP", "at least 3", "at least 19MiB"],
        ),
        (
            &[("PHOENIX_ARGON2_ITERATIONS", "1")],
            "password.argon2_iterations",
            &["OWASP", "at least 2", "at least 46MiB"],
        ),
        (
            &[("PHOENIX_ARGON2_MEMORY", "8MiB"), ("PHOENIX_ARGON2_ITERATIONS", "4")],
            "password.argon2_iterations",
            &["at least 5", "9MiB"],
        ),
        (&[("ENABLE_TEST_USER", "yes")], "accounts.test_user", &["production", "PHOENIX_ENV"]),
        (
            &[("STACK_SECRET_SERVER_KEY", "hunter2")],
            "stack.project_id",
            &["stack.secret_server_key is", "set STACK_PROJECT_ID"],
        ),
    ] {
        let errors = refused(&from_env(env));
        let error = errors.errors().iter().find(|error| error.setting() == Some(key)).expect(key).to_string();
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("hunter2"));
    }
}

#[test]
fn owasp_minima_are_allowed() {
    for (memory, iterations) in
        [("46MiB", "1"), ("19MiB", "2"), ("12MiB", "3"), ("9MiB", "4"), ("7MiB", "5"), ("1GiB", "1")]
    {
        let sources =
            from_env(&[("PHOENIX_ARGON2_MEMORY", memory), ("PHOENIX_ARGON2_ITERATIONS", iterations)]);
        assert_eq!(valid(&sources).config.password.argon2_iterations.to_string(), iterations);
    }
}

#[test]
fn all_errors_of_one_run_are_reported() {
    let sources = Sources::from_toml("[server]\nworkers = 300\nlisen = 1\n[databse]\nx = 1\n")
        .with_env("DATABASE_URL", "mysql://u:hunter2@h/d")
        .with_env("PHOENIX_LOG_FORMAT", "xml")
        .with_env("DB_POOL_MIN", "60")
        .with_override("server.request_timeout", "1")
        .with_override("server.lsten", "x");
    let errors = refused(&sources);
    let keys: Vec<&str> = errors.errors().iter().filter_map(phoenix_config::ConfigError::setting).collect();
    assert_eq!(
        keys,
        [
            "databse",
            "server.lisen",
            "server.lsten",
            "server.workers",
            "server.request_timeout",
            "database.url",
            "log.format"
        ],
        "{errors}"
    );
    let text = errors.to_string();
    assert!(text.starts_with("the configuration has 7 errors\n") && !text.contains("hunter2"), "{text}");
    for place in ["phoenix.toml:2", "environment variable PHOENIX_LOG_FORMAT", "command line"] {
        assert!(text.contains(place), "{text}");
    }
}

#[test]
fn a_broken_file_hides_no_other_error_and_causes_none() {
    let sources = Sources::from_toml("[database]\npool_max = 60\nurl = \n").with_env("DB_POOL_MIN", "55");
    assert_eq!(refused(&sources).errors().len(), 1);
    let errors = refused(&sources.with_env("PHOENIX_WORKERS", "x"));
    assert_eq!(errors.errors().len(), 2, "{errors}");
}

#[test]
fn values_cannot_forge_lines_of_output() {
    let errors = refused(&Sources::default().with_env("PHOENIX_LOG_FORMAT", "x\n  reason: none\u{1b}[2J"));
    assert_eq!(errors.to_string().lines().count(), 7, "{errors}");
    assert!(!errors.to_string().contains('\u{1b}'));
}

#[test]
fn warnings_do_not_stop() {
    let sources =
        from_env(&[("PHOENIX_LISEN", "x"), ("PHOENIX_SERVICE_HOST", "10.0.0.1"), ("DB_UNKNOWN", "x")]);
    let loaded = valid(&sources.with_override("secrets.key", "k".repeat(32)));
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].contains("did you mean PHOENIX_LISTEN?"));
    assert!(loaded.warnings[1].contains("PHOENIX_SECRET_KEY_FILE") && !loaded.warnings[1].contains("kkk"));
}

#[test]
fn the_typed_values() {
    let text = "
        [server]
        listen = '[::1]:0'
        allowed_origins = ['https://a.example', 'HTTPS://A.example:443']
        environment = 'test'
        workers = 3
        max_body_bytes = 2048
        [database]
        url = 'postgres://me:hunter2@db/app?sslmode=verify-full'
        query_timeout_ms = 1500
        [redis]
        url = 'rediss://cache'
        [stack]
        project_id = '0190163D-8694-739B-AEA5-966C26F8AD91'
        secret_server_key = 'hunter2'
        publishable_client_key = 'pck'
        [secrets]
        key = '01234567890123456789012345678901'
    ";
    let config = valid(&Sources::from_toml(text)).config;
    assert_eq!(config.server.listen.port(), 0);
    assert_eq!(config.server.allowed_origins.len(), 1, "equal origins are one");
    assert_eq!(config.server.environment, Environment::Test);
    assert_eq!(
        config.server.workers,
        NonZeroUsize::new(3).map_or(WorkerCount::Automatic, WorkerCount::Exactly)
    );
    assert_eq!(config.password.hash_workers.or_automatic(NonZeroUsize::MIN), NonZeroUsize::MIN);
    assert_eq!(config.server.max_body_bytes.bytes(), 2048);
    assert_eq!(config.database.query_timeout, Duration::from_millis(1500));
    assert_eq!(config.session.idle_timeout, Duration::from_hours(7 * 24));
    assert_eq!(config.password.argon2_memory.kib(), 19 * 1024);
    let url = config.database.url.expect("set");
    assert!(url.tls_required() && url.expose().contains("hunter2"));
    assert!(config.redis.url.expect("set").tls_required());
    let stack = config.stack.expect("complete");
    assert_eq!(stack.project_id.as_str(), "0190163d-8694-739b-aea5-966c26f8ad91");
    assert_eq!(stack.secret_server_key.expose(), "hunter2");
    assert_eq!(config.secrets.key.expect("set").expose().len(), 32);
}
