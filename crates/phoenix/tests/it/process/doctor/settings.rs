//! Settings that are broken in one way each.

use super::{SetUp, assert_found, findings, report};

/// Variables, id, state, a part of the advice.
type Broken = (&'static [(&'static str, &'static str)], &'static str, &'static str, &'static str);

/// Settings alone, each broken in one way.
const SETTINGS: &[Broken] = &[
    (&[("PHOENIX_PULIC_URL", "x")], "configuration.variables", "warning", "docs/config.md"),
    (&[("PHOENIX_ENV", "development")], "configuration.environment", "warning", "PHOENIX_ENV=production"),
    (&[("ENABLE_DEMO_MODE", "true")], "configuration.demo-accounts", "failure", "ENABLE_DEMO_MODE"),
    (
        &[("PHOENIX_ENV", "development"), ("ENABLE_TEST_USER", "true")],
        "configuration.test-user",
        "failure",
        "ENABLE_TEST_USER",
    ),
    (
        &[("PHOENIX_REGISTRATION", "open")],
        "configuration.registration",
        "warning",
        "PHOENIX_REGISTRATION=closed",
    ),
    (&[("PHOENIX_PUBLIC_URL", "http://app.example")], "configuration.public-url", "failure", "https://"),
    (
        &[("PHOENIX_TRUSTED_PROXIES", "")],
        "configuration.trusted-proxies",
        "warning",
        "PHOENIX_TRUSTED_PROXIES",
    ),
    (
        &[("PHOENIX_TRUSTED_PROXIES", ""), ("PHOENIX_TRUSTED_HOPS", "1")],
        "configuration.trusted-proxies",
        "warning",
        "PHOENIX_TRUSTED_HOPS",
    ),
    (&[("PHOENIX_LIMITS", "false")], "configuration.limits", "failure", "PHOENIX_LIMITS"),
    (
        &[("PHOENIX_LIMITS_CLASSES", "{ auth = { observe = true } }")],
        "configuration.limits",
        "failure",
        "observe = false",
    ),
    (
        &[("PHOENIX_LIMITS_EXEMPT", "0.0.0.0/0")],
        "configuration.limits-exempt",
        "failure",
        "PHOENIX_LIMITS_EXEMPT",
    ),
    (
        &[("PHOENIX_SESSION_ABSOLUTE_TIMEOUT", "365d")],
        "configuration.session-times",
        "warning",
        "ABSOLUTE_TIMEOUT",
    ),
    (&[("PHOENIX_OUTAGE_GRACE", "1h")], "configuration.outage-grace", "warning", "PHOENIX_OUTAGE_GRACE"),
    (&[("PHOENIX_PASSWORD_MIN_LENGTH", "8")], "configuration.passwords", "warning", "MIN_LENGTH"),
    (&[("PHOENIX_LOG", "debug")], "configuration.log-level", "warning", "PHOENIX_LOG=info"),
    (&[("PHOENIX_LOG_FORMAT", "human")], "configuration.log-format", "warning", "PHOENIX_LOG_FORMAT=json"),
    (&[("PHOENIX_GEOIP_DB", "/nowhere.mmdb")], "configuration.geo-database", "failure", "PHOENIX_GEOIP_DB"),
    (&[("PHOENIX_SECRET_KEY_FILE", "")], "secrets.key-set", "warning", "openssl rand -base64 32"),
    (
        &[("PHOENIX_SECRET_KEY_FILE", ""), ("PHOENIX_SECRET_KEY", "change-me-change-me-change-me-change-me")],
        "secrets.key-strength",
        "failure",
        "openssl rand -base64 32",
    ),
    (
        &[
            ("PHOENIX_ADMIN_EMAIL", "a@b.example"),
            ("PHOENIX_ADMIN_PASSWORD", "violet-harbour-sixteen-lantern"),
        ],
        "secrets.first-password",
        "warning",
        "unset PHOENIX_ADMIN_PASSWORD",
    ),
    (&[("PHOENIX_DATA_DIR", "/dev/null/data")], "embedded.folder", "failure", "PHOENIX_DATA_DIR"),
    (&[("PHOENIX_DATA_DIR", "/dev/shm/phoenix-doctor")], "embedded.disk", "failure", "DATABASE_URL"),
    (&[("PHOENIX_UPSTREAM", "http://127.0.0.1:1")], "gateway.servers", "failure", "PHOENIX_UPSTREAM"),
    (&[("PHOENIX_UPSTREAM", "https://app.example")], "gateway.own-address", "failure", "PHOENIX_UPSTREAM"),
    (&[("PHOENIX_UPSTREAM", "http://203.0.113.9:80")], "gateway.tls", "warning", "https://"),
    (&[("PHOENIX_UPSTREAM", "http://127.0.0.1:1")], "gateway.health", "warning", "HEALTH_PATH"),
    (&[("PHOENIX_ASSERTION_KEYS", "/nowhere.pem")], "gateway.assertion-keys", "failure", "openssl genpkey"),
    (&[("PHOENIX_TRUST_FILE", "/nowhere.pem")], "tls.trust-file", "failure", "PHOENIX_TRUST_FILE"),
    (
        &[("PHOENIX_OIDC_ISSUERS", "http://127.0.0.1:1 audience=app")],
        "identity.keys",
        "failure",
        "docs/operations/identity.md",
    ),
    (&[("PHOENIX_MAX_CONNECTIONS", "1000000")], "system.file-descriptors", "failure", "LimitNOFILE=1000200"),
    (&[("PHOENIX_L1_MAX_BYTES", "64GiB")], "system.memory", "failure", "PHOENIX_L1_MAX_BYTES"),
];

// spec: G5
#[tokio::test]
async fn broken_settings_are_found_with_advice() {
    for (variables, id, state, advice) in SETTINGS {
        let set_up =
            variables.iter().fold(SetUp::embedded(), |set_up, (name, value)| set_up.env(name, value));
        assert_found(&set_up.run().await, id, state, advice);
    }
}

#[tokio::test]
async fn whom_the_limits_leave_out_is_counted_in_all_lists() {
    let class = r#"{ auth = { exempt = ["192.0.2.0/24", "198.51.100.0/24"] } }"#;
    for (everywhere, classes, expected) in [
        ("", "", "nobody"),
        ("10.1.0.0/16", "", "1 networks"),
        ("", class, "0 networks from everything, 2 from single classes"),
        ("10.1.0.0/16", class, "1 networks from everything, 2 from single classes"),
    ] {
        let set_up = SetUp::embedded().env("PHOENIX_LIMITS_EXEMPT", everywhere);
        let set_up = if classes.is_empty() { set_up } else { set_up.env("PHOENIX_LIMITS_CLASSES", classes) };
        let report = report(&set_up.run().await);
        assert_eq!(findings(&report, "configuration.limits-exempt")[0]["found"], expected);
    }
}
