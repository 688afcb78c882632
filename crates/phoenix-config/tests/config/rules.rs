//! Rules between settings, errors collected in one run, warnings, and the typed values that come out.

use std::{num::NonZeroUsize, time::Duration};

use phoenix_config::{
    Environment, OidcIssuer, Reaction, RoleTimeouts, SessionCapPolicy, SignatureAlgorithm, Sources,
    WorkerCount,
};

use crate::{refused, valid};

fn from_env(list: &[(&str, &str)]) -> Sources {
    list.iter().fold(Sources::default(), |sources, (name, value)| sources.with_env(*name, *value))
}

/// What is reported about `key`, and nothing else, has these parts and no secret.
fn assert_contradiction(env: &[(&str, &str)], key: &str, parts: &[&str]) {
    let errors = refused(&from_env(env));
    let error = errors.errors().iter().find(|error| error.setting() == Some(key)).expect(key).to_string();
    for part in parts {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("hunter2") && !error.contains("aHVudGVyMg"));
    assert_eq!(errors.errors().len(), if key == "stack.project_id" { 2 } else { 1 }, "{errors}");
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
        (
            &[("PHOENIX_TRUSTED_HOPS", "1"), ("PHOENIX_TRUSTED_PROXIES", "10.0.0.1")],
            "server.trusted_hops",
            &["server.trusted_proxies = [\"10.0.0.1\"]", "unset server.trusted_hops"],
        ),
        (&[("PHOENIX_PROXY_PROTOCOL", "on")], "server.proxy_protocol", &["PHOENIX_TRUSTED_PROXIES"]),
        (
            &[("PHOENIX_PROXY_PROTOCOL", "on"), ("PHOENIX_TRUSTED_HOPS", "1")],
            "server.proxy_protocol",
            &["PHOENIX_TRUSTED_PROXIES"],
        ),
        (
            &[("PHOENIX_SPOE_LISTEN", "127.0.0.1:8081")],
            "forward_auth.spoe_listen",
            &["PHOENIX_TRUSTED_PROXIES", "no proxy is trusted"],
        ),
        (
            &[("PHOENIX_SPOE_LISTEN", "127.0.0.1:8080"), ("PHOENIX_TRUSTED_PROXIES", "10.0.0.1")],
            "forward_auth.spoe_listen",
            &["server.listen is the same address"],
        ),
        (&[("ENABLE_TEST_USER", "yes")], "accounts.test_user", &["production", "PHOENIX_ENV"]),
        (
            &[("STACK_SECRET_SERVER_KEY", "hunter2")],
            "stack.project_id",
            &["stack.secret_server_key is", "set STACK_PROJECT_ID"],
        ),
    ] {
        assert_contradiction(env, key, parts);
    }
}

#[test]
fn contradictions_about_https_are_refused() {
    for (env, key, parts) in [
        (
            &[("PHOENIX_TLS_REDIRECT_LISTEN", "0.0.0.0:80")][..],
            "tls.redirect_listen",
            &["no HTTPS", "or unset"][..],
        ),
        (&[("PHOENIX_TLS_ADMIN_CLIENT_CA", "ca.pem")], "tls.admin_client_ca", &["no HTTPS", "or unset"]),
        (
            &[("PHOENIX_TLS_CERTIFICATES", "both.pem"), ("PHOENIX_PUBLIC_URL", "http://a.example")],
            "server.public_url",
            &["by HTTPS", "https://"],
        ),
        (
            &[("PHOENIX_TLS_CERTIFICATES", "both.pem"), ("PHOENIX_TLS_REDIRECT_LISTEN", "127.0.0.1:8080")],
            "tls.redirect_listen",
            &["HTTPS is there: server.listen", "another port"],
        ),
        (
            &[("PHOENIX_TLS_CERTIFICATES", "both.pem"), ("PHOENIX_TLS_HSTS_PRELOAD", "true")],
            "tls.hsts_preload",
            &["for all subdomains", "at least 365d"],
        ),
        (
            &[
                ("PHOENIX_TLS_CERTIFICATES", "both.pem"),
                ("PHOENIX_TLS_HSTS_PRELOAD", "true"),
                ("PHOENIX_TLS_HSTS_SUBDOMAINS", "true"),
                ("PHOENIX_TLS_HSTS", "364d"),
            ],
            "tls.hsts_preload",
            &["for a year"],
        ),
    ] {
        assert_contradiction(env, key, parts);
    }
}

#[test]
fn mapped_networks_of_proxies_are_ipv4_and_each_is_kept_once() {
    let list = "::ffff:10.0.0.0/104, 10.0.0.0/8, 2001:db8::1/128, 2001:DB8::1, ::ffff:192.0.2.1";
    let config = valid(&from_env(&[("PHOENIX_TRUSTED_PROXIES", list)])).config;
    let shown: Vec<String> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "2001:db8::1/128", "192.0.2.1/32"]);
}

#[test]
fn contradictions_of_roles_places_and_providers_are_refused() {
    for (env, key, parts) in [
        (
            &[("PHOENIX_ROLE_TIMEOUTS", "user=1h/2h,admin=8d/9d")][..],
            "session.role_timeouts",
            &["the idle time of \"admin\" is longer than session.idle_timeout = \"7d\""][..],
        ),
        (
            &[("PHOENIX_ROLE_TIMEOUTS", "user=1h/31d")],
            "session.role_timeouts",
            &["the age of \"user\" is longer than session.absolute_timeout = \"30d\""],
        ),
        (
            &[("PHOENIX_ROLE_TIMEOUTS", "a=1h/2h,user=1m/1h")],
            "session.role_timeouts",
            &["the idle time of \"user\" is not longer than session.last_seen_step = \"1m\""],
        ),
        (
            &[("PHOENIX_ON_COUNTRY_CHANGE", "reauthenticate")],
            "session.on_country_change",
            &["geo.database, which is not set", "PHOENIX_GEOIP_DB", "PHOENIX_ON_COUNTRY_CHANGE"],
        ),
        (
            &[("PHOENIX_ON_IMPOSSIBLE_TRAVEL", "revoke")],
            "session.on_impossible_travel",
            &["geo.database, which is not set", "PHOENIX_GEOIP_DB", "PHOENIX_ON_IMPOSSIBLE_TRAVEL"],
        ),
        (
            &[("STACK_API_URL", "http://stack.internal:8102")],
            "stack.api_url",
            &["http://stack.internal:8102", "in the clear", "use https"],
        ),
        (
            &[("STACK_WEBHOOK_SECRET", "whsec_aHVudGVyMg==")],
            "stack.webhook_secret",
            &["none is set", "set STACK_PROJECT_ID", "unset STACK_WEBHOOK_SECRET"],
        ),
    ] {
        assert_contradiction(env, key, parts);
    }
}

#[test]
fn what_is_just_short_of_a_contradiction_is_allowed() {
    for env in [
        &[("PHOENIX_L1_TTL", "30s")][..],
        &[("PHOENIX_ROLE_TIMEOUTS", "admin=7d/30d,user=61s/61s")],
        &[("PHOENIX_ON_DEVICE_CHANGE", "revoke"), ("PHOENIX_ON_NETWORK_CHANGE", "reauthenticate")],
        &[("PHOENIX_ON_COUNTRY_CHANGE", "revoke"), ("PHOENIX_GEOIP_DB", "places.mmdb")],
        &[("STACK_API_URL", "http://127.0.0.1:8102"), ("STACK_POLL_INTERVAL", "0")],
    ] {
        valid(&from_env(env));
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
        webhook_secret = 'whsec_aHVudGVyMg=='
        allow_restricted = true
        [cache]
        outage_grace = '0'
        token_pool_entries = 7
        [session]
        max_per_user = 3
        max_policy = 'refuse'
        on_country_change = 'revoke'
        device_threshold = 80
        [geo]
        database = '/places.mmdb'
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
    assert_eq!(stack.api_url.to_string(), "https://api.stack-auth.com");
    assert_eq!((stack.allow_restricted, stack.allow_anonymous), (true, false));
    assert_eq!(stack.webhook_secret.as_ref().map(phoenix_config::Secret::expose), Some("whsec_aHVudGVyMg=="));
    assert_eq!(stack.poll_interval, Duration::from_mins(1));
    assert_eq!((config.cache.outage_grace, config.cache.token_pool_entries), (Duration::ZERO, 7));
    assert_eq!((config.session.max_per_user, config.session.max_policy), (3, SessionCapPolicy::Refuse));
    assert_eq!(config.session.on_country_change, Reaction::Revoke);
    assert_eq!(config.session.on_device_change, Reaction::Observe);
    assert_eq!(config.session.device_threshold, 80);
    assert_eq!(config.geo.database.as_deref(), Some(std::path::Path::new("/places.mmdb")));
}

#[test]
fn the_entries_of_lists() {
    let text = "
        [session]
        role_timeouts = ['admin = 1h/12h', 'user=90m/2d']
        [identity]
        issuers = [
            'https://A.example/t/  audience=x  algorithms=eddsa jwks=http://localhost:1/k?v=1 audience=a,b=c',
            'https://a.example/t audience=x',
        ]
    ";
    let loaded = valid(&Sources::from_toml(text));
    let times = |role: &str, idle: u64, absolute: u64| RoleTimeouts {
        role: role.to_owned(),
        idle: Duration::from_mins(idle),
        absolute: Duration::from_mins(absolute),
    };
    assert_eq!(
        loaded.config.session.role_timeouts,
        [times("admin", 60, 12 * 60), times("user", 90, 48 * 60)]
    );
    assert_eq!(
        loaded.config.identity.issuers,
        [
            OidcIssuer {
                issuer: "https://A.example/t/".to_owned(),
                audiences: vec!["x".to_owned(), "a,b=c".to_owned()],
                jwks: Some("http://localhost:1/k?v=1".to_owned()),
                algorithms: vec![SignatureAlgorithm::EdDsa],
            },
            OidcIssuer {
                issuer: "https://a.example/t".to_owned(),
                audiences: vec!["x".to_owned()],
                jwks: None,
                algorithms: SignatureAlgorithm::ALL.to_vec(),
            },
        ]
    );
    let again = valid(&Sources::from_toml(loaded.effective.to_text())).config;
    assert_eq!(again.identity.issuers, loaded.config.identity.issuers);
    assert_eq!(again.session.role_timeouts, loaded.config.session.role_timeouts);
}
