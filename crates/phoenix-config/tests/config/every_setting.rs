//! Each setting: its default, the file, the environment, the command line, which of them wins, and what it refuses.

use phoenix_config::{ConfigError, Loaded, Sources, load};

use crate::{refused, valid};

/// Key, environment variable, default as TOML, two values as TOML, a value that is refused, part of the reason.
type Row = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const KEY_A: &str = r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#;
const KEY_B: &str = r#""bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb""#;
const WEBHOOK_A: &str = r#""whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw""#;
const WEBHOOK_B: &str = r#""whsec_AA==""#;
const UUID_A: &str = r#""0190163d-8694-739b-aea5-966c26f8ad91""#;
const UUID_B: &str = r#""0190163d-8694-739b-aea5-966c26f8ad92""#;

/// Every class, of which `api` and `search` have these settings.
macro_rules! classes {
    ($api:literal, $search:literal) => {
        concat!(
            r#"{ auth = { windows = ["5/15m"], block = "30m", key = "account", count = "failures" }, "#,
            r#"register = { windows = ["10/1h"], block = "none", key = "address", count = "all" }, "#,
            r#"credentials = { windows = ["60/1m"], block = "none", key = "address", count = "failures" }, "#,
            "api = { ",
            $api,
            " }, ",
            r#"upload = { windows = ["10/1m"], block = "10m", key = "principal", count = "all" }, "#,
            "search = { ",
            $search,
            " }, ",
            r#"ai = { windows = ["20/1m"], block = "5m", key = "principal", count = "all" }, "#,
            r#"webhooks = { windows = ["600/1m"], block = "none", key = "address", count = "all" } }"#
        )
    };
}

/// Every route, after these.
macro_rules! routes {
    ($($first:literal),*) => {
        concat!(
            "[", $($first, ", ",)*
            r#"{ methods = ["POST"], path = "/api/auth/login", class = "auth" }, "#,
            r#"{ methods = ["POST"], path = "/api/auth/password", class = "auth" }, "#,
            r#"{ methods = ["POST"], path = "/api/auth/register", class = "register" }, "#,
            r#"{ methods = ["POST"], path = "/api/phoenix/webhooks/stack", class = "webhooks" }, "#,
            r#"{ methods = ["POST", "PUT", "PATCH"], path = "/api/upload/{*rest}", class = "upload" }, "#,
            r#"{ methods = ["POST", "PUT", "PATCH"], path = "/api/uploads/{*rest}", class = "upload" }, "#,
            r#"{ methods = ["POST", "PUT", "PATCH"], path = "/api/{resource}/upload/{*rest}", class = "upload" }, "#,
            r#"{ methods = ["POST", "PUT", "PATCH"], path = "/api/{resource}/{id}/upload/{*rest}", class = "upload" }, "#,
            r#"{ methods = ["POST", "PUT", "PATCH"], path = "/upload/{*rest}", class = "upload" }, "#,
            r#"{ methods = ["POST", "PUT", "PATCH"], path = "/uploads/{*rest}", class = "upload" }, "#,
            r#"{ path = "/api/search/{*rest}", class = "search" }, "#,
            r#"{ path = "/api/{resource}/search/{*rest}", class = "search" }, "#,
            r#"{ path = "/search/{*rest}", class = "search" }, "#,
            r#"{ path = "/api/ai/{*rest}", class = "ai" }, "#,
            r#"{ path = "/api/{resource}/ai/{*rest}", class = "ai" }, "#,
            r#"{ path = "/api/{*rest}", class = "api" }, "#,
            r#"{ methods = ["POST", "PUT", "PATCH", "DELETE"], path = "/{*rest}", class = "api" }]"#
        )
    };
}

const CLASSES: &str = classes!(
    r#"windows = ["100/1m"], block = "5m", key = "principal", count = "all""#,
    r#"windows = ["30/1m"], block = "2m", key = "principal", count = "all""#
);
const CLASSES_A: &str = classes!(
    r#"windows = ["5/1s", "100/1m"], block = "none", key = "both", count = "failures""#,
    r#"windows = ["30/1m"], block = "2m", key = "principal", count = "all", observe = true"#
);
const CLASSES_B: &str = classes!(
    r#"windows = ["100/1m"], block = "31d", key = "address", count = "all", exempt = ["10.0.0.0/8"]"#,
    r#"windows = ["10000/1ms"], block = "1ms", key = "address", count = "all", networks = [{ cidr = "::/0", multiplier = 0.5 }, { cidr = "10.0.0.1", multiplier = 1000.0 }]"#
);
const ROUTES: &str = routes!();
const ROUTES_A: &str = routes!(r#"{ methods = ["GET", "HEAD"], path = "/a/{b}", class = "none" }"#);
const ROUTES_B: &str = routes!(r#"{ path = "/", class = "api" }"#, r#"{ path = "/x", class = "mine" }"#);

const UPSTREAMS_A: &str = r#"{ a = { servers = ["http://10.0.0.1:3000", "https://[::1]:8443"] } }"#;
const UPSTREAMS_B: &str = concat!(
    r#"{ b-1_c = { servers = ["https://b.example"], audience = "b", max_body = "0B", deadline = "1h", idle_timeout = "1d", "#,
    r#"connect_timeout = "10ms", protocol = "http2", max_connections = 65535, health_path = "/up?a=b", "#,
    r#"health_interval = "100ms", ca_file = "/ca.pem" }, c = { servers = ["http://c"] } }"#
);
const GATEWAY_ROUTES_A: &str = r#"[{ path = "/a" }, { path = "/b", auth = "required" }]"#;
const GATEWAY_ROUTES_B: &str = concat!(
    r#"[{ host = "*.a.example", methods = ["GET"], path = "/b/{*rest}", auth = "none", class = "none", max_body = "1024GiB", "#,
    r#"deadline = "100ms", idle_timeout = "1s", upstream = "c", same_origin = false, keep_credentials = true, "#,
    r#"keep_host = false, cors = ["https://a.example"], ambiguous_paths = "allow", "#,
    r#"request_headers = { set = { x-a = "(hidden)" }, remove = ["x-b"] }, response_headers = { remove = ["server"] } }, "#,
    r#"{ path = "/admin/{*rest}", roles = ["admin", "owner"], class = "mine", cors = [] }]"#
);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("server.listen", "PHOENIX_LISTEN", Some(r#""127.0.0.1:8080""#), r#""0.0.0.0:80""#, r#""[::]:0""#, "localhost:8080", "a host name is not an address"),
    ("server.public_url", "PHOENIX_PUBLIC_URL", None, r#""https://a.example""#, r#""http://b.example:81""#, "https://a.example/x", "no path"),
    ("server.allowed_origins", "PHOENIX_ALLOWED_ORIGINS", Some("[]"), r#"["https://a.example"]"#, r#"["https://a.example", "https://b.example"]"#, "https://a.example,*", "entry 2"),
    ("server.trusted_proxies", "PHOENIX_TRUSTED_PROXIES", Some("[]"), r#"["10.0.0.0/8"]"#, r#"["192.0.2.1", "2001:db8::/32"]"#, "10.0.0.0/8,proxy", "entry 2 is refused: it is neither an address"),
    ("server.trusted_hops", "PHOENIX_TRUSTED_HOPS", Some("0"), "1", "32", "33", "above the largest number allowed, 32"),
    ("server.forwarded_header", "PHOENIX_FORWARDED_HEADER", Some(r#""x-forwarded-for""#), r#""forwarded""#, r#""x-forwarded-for""#, "x-real-ip", "not one of the words"),
    ("server.proxy_protocol", "PHOENIX_PROXY_PROTOCOL", Some(r#""off""#), r#""on""#, r#""off""#, "v2", "not one of the words"),
    ("server.environment", "PHOENIX_ENV", Some(r#""production""#), r#""development""#, r#""test""#, "staging", "not one of the words"),
    ("server.workers", "PHOENIX_WORKERS", Some("0"), "1", "256", "257", "above the largest number allowed, 256"),
    ("server.max_connections", "PHOENIX_MAX_CONNECTIONS", Some("10000"), "1", "1000000", "0", "below the smallest number allowed, 1"),
    ("server.max_connections_per_address", "PHOENIX_MAX_CONNECTIONS_PER_ADDRESS", Some("1024"), "1", "2", "0", "below"),
    ("server.first_byte_timeout", "PHOENIX_FIRST_BYTE_TIMEOUT", Some(r#""10s""#), r#""1s""#, r#""2s""#, "10", "not a duration"),
    ("server.header_read_timeout", "PHOENIX_HEADER_READ_TIMEOUT", Some(r#""5s""#), r#""1s""#, r#""2s""#, "6m", "above the longest duration, 5m"),
    ("server.write_timeout", "PHOENIX_WRITE_TIMEOUT", Some(r#""1m""#), r#""1s""#, r#""2s""#, "2h", "above the longest duration, 1h"),
    ("server.request_timeout", "PHOENIX_REQUEST_TIMEOUT", Some(r#""30s""#), r#""1s""#, r#""2s""#, "0s", "below the shortest duration, 100ms"),
    ("server.max_connection_age", "PHOENIX_MAX_CONNECTION_AGE", Some(r#""1h""#), r#""1s""#, r#""2s""#, "8d", "above the longest duration, 7d"),
    ("server.max_header_bytes", "PHOENIX_MAX_HEADER_BYTES", Some(r#""16KiB""#), r#""8KiB""#, r#""256KiB""#, "257KiB", "above the largest size, 256KiB"),
    ("server.max_headers", "PHOENIX_MAX_HEADERS", Some("64"), "16", "256", "15", "below the smallest number allowed, 16"),
    ("server.max_body_bytes", "PHOENIX_MAX_BODY_BYTES", Some(r#""64KiB""#), r#""1KiB""#, r#""16MiB""#, "64KB", "not a size in bytes"),
    ("server.drain_timeout", "PHOENIX_DRAIN_TIMEOUT", Some(r#""30s""#), r#""0s""#, r#""1h""#, "-1s", "not a duration"),
    ("server.drain_idle", "PHOENIX_DRAIN_IDLE", Some(r#""5s""#), r#""0s""#, r#""5m""#, "6m", "above the longest duration, 5m"),
    ("server.drain_delay", "PHOENIX_DRAIN_DELAY", Some(r#""0s""#), r#""1s""#, r#""5m""#, "6m", "above the longest duration, 5m"),
    ("server.handover_socket", "PHOENIX_HANDOVER_SOCKET", None, r#""/a.sock""#, r#""b.sock""#, "a\0b", "NUL"),
    ("server.http2_max_streams", "PHOENIX_HTTP2_MAX_STREAMS", Some("128"), "1", "2", "many", "not a whole number"),
    ("tls.certificates", "PHOENIX_TLS_CERTIFICATES", Some("[]"), r#"["/a/c.pem:/a/k.pem"]"#, r#"["/both.pem", "c:k"]"#, "a:b,a:b:c", "entry 2 is refused: it has more than one \":\""),
    ("tls.min_version", "PHOENIX_TLS_MIN_VERSION", Some(r#""1.2""#), r#""1.3""#, r#""1.2""#, "1.1", "not one of the words"),
    ("tls.redirect_listen", "PHOENIX_TLS_REDIRECT_LISTEN", None, r#""0.0.0.0:80""#, r#""[::]:0""#, "localhost:80", "a host name is not an address"),
    ("tls.hsts", "PHOENIX_TLS_HSTS", Some(r#""365d""#), r#""0s""#, r#""800d""#, "801d", "above the longest duration, 800d"),
    ("tls.hsts_subdomains", "PHOENIX_TLS_HSTS_SUBDOMAINS", Some("false"), "true", "false", "maybe", "neither true nor false"),
    ("tls.hsts_preload", "PHOENIX_TLS_HSTS_PRELOAD", Some("false"), "true", "false", "maybe", "neither true nor false"),
    ("tls.admin_client_ca", "PHOENIX_TLS_ADMIN_CLIENT_CA", None, r#""/a.pem""#, r#""/b.pem""#, "a\0b", "NUL"),
    ("tls.trust_file", "PHOENIX_TRUST_FILE", None, r#""/a.pem""#, r#""b.pem""#, "a\0b", "NUL"),
    ("data.dir", "PHOENIX_DATA_DIR", Some(r#""./phoenix-data""#), r#""/a""#, r#""/b""#, "a\0b", "NUL"),
    ("database.url", "DATABASE_URL", None, r#""postgres://a/x""#, r#""postgresql://b/x""#, "mysql://a/x", "the scheme is not postgres://"),
    ("database.pool_max", "DB_POOL_MAX", Some("50"), "60", "1000", "1001", "above the largest number allowed, 1000"),
    ("database.pool_min", "DB_POOL_MIN", Some("10"), "0", "50", "-1", "below the smallest number allowed, 0"),
    ("database.connection_timeout_ms", "DB_CONNECTION_TIMEOUT", Some("5000"), "1", "2", "5s", "not a whole number"),
    ("database.idle_timeout_ms", "DB_IDLE_TIMEOUT", Some("30000"), "1", "2", "0", "below"),
    ("database.max_lifetime_ms", "DB_MAX_LIFETIME", Some("1800000"), "1", "2", "1.5", "not a whole number"),
    ("database.statement_timeout_ms", "DB_STATEMENT_TIMEOUT", Some("30000"), "1", "2", "0", "below"),
    ("database.query_timeout_ms", "DB_QUERY_TIMEOUT", Some("15000"), "1", "2", "99999999999999999999999", "above"),
    ("database.max_retries", "DB_MAX_RETRIES", Some("3"), "0", "10", "11", "above the largest number allowed, 10"),
    ("database.retry_delay_ms", "DB_RETRY_DELAY", Some("1000"), "0", "2", "60001", "above"),
    ("database.logging", "DB_LOGGING", Some("false"), "true", "false", "maybe", "neither true nor false"),
    ("redis.url", "REDIS_URL", None, r#""redis://a""#, r#""rediss://b:6380/1""#, "http://a", "the scheme is not redis://"),
    ("redis.command_timeout", "PHOENIX_REDIS_COMMAND_TIMEOUT", Some(r#""50ms""#), r#""1ms""#, r#""10s""#, "11s", "above"),
    ("redis.connect_timeout", "PHOENIX_REDIS_CONNECT_TIMEOUT", Some(r#""1s""#), r#""10ms""#, r#""1m""#, "1ms", "below"),
    ("cache.l1_max_bytes", "PHOENIX_L1_MAX_BYTES", Some(r#""64MiB""#), r#""1MiB""#, r#""64GiB""#, "1023KiB", "below the smallest size, 1MiB"),
    ("cache.l1_ttl", "PHOENIX_L1_TTL", Some(r#""5m""#), r#""1s""#, r#""1h""#, "61m", "above the longest duration, 1h"),
    ("cache.l1_min_ttl", "PHOENIX_L1_MIN_TTL", Some(r#""30s""#), r#""1s""#, r#""5m""#, "999ms", "below the shortest duration, 1s"),
    ("cache.l2_ttl", "PHOENIX_L2_TTL", Some(r#""10m""#), r#""1s""#, r#""1h""#, "999ms", "below the shortest duration, 1s"),
    ("cache.negative_entries", "PHOENIX_NEGATIVE_ENTRIES", Some("16384"), "1", "2", "0", "below"),
    ("cache.negative_ttl", "PHOENIX_NEGATIVE_TTL", Some(r#""5s""#), r#""1s""#, r#""2s""#, "2m", "above"),
    ("cache.revocation_bound", "PHOENIX_REVOCATION_BOUND", Some(r#""2s""#), r#""200ms""#, r#""1m""#, "199ms", "below the shortest duration, 200ms"),
    ("cache.outage_grace", "PHOENIX_OUTAGE_GRACE", Some(r#""5m""#), r#""0s""#, r#""1h""#, "61m", "above the longest duration, 1h"),
    ("cache.warm_entries", "PHOENIX_WARM_ENTRIES", Some("10000"), "0", "1000000", "1000001", "above the largest number allowed, 1000000"),
    ("cache.token_pool_entries", "PHOENIX_TOKEN_POOL_ENTRIES", Some("65536"), "1", "10000000", "0", "below the smallest number allowed, 1"),
    ("session.idle_timeout", "PHOENIX_SESSION_IDLE_TIMEOUT", Some(r#""7d""#), r#""2m""#, r#""30d""#, "401d", "above the longest duration, 400d"),
    ("session.absolute_timeout", "PHOENIX_SESSION_ABSOLUTE_TIMEOUT", Some(r#""30d""#), r#""7d""#, r#""400d""#, "a month", "not a duration"),
    ("session.last_seen_step", "PHOENIX_LAST_SEEN_STEP", Some(r#""1m""#), r#""1s""#, r#""5m""#, "301s", "above the longest duration, 5m"),
    ("session.refresh_grace", "PHOENIX_REFRESH_GRACE", Some(r#""30s""#), r#""0s""#, r#""5m""#, "6m", "above the longest duration, 5m"),
    ("session.cleanup_interval", "PHOENIX_CLEANUP_INTERVAL", Some(r#""1m""#), r#""1s""#, r#""2s""#, "0", "below"),
    ("session.cleanup_batch", "PHOENIX_CLEANUP_BATCH", Some("1000"), "1", "2", "0", "below"),
    ("session.max_per_user", "PHOENIX_SESSIONS_PER_USER", Some("0"), "1", "10000", "10001", "above the largest number allowed, 10000"),
    ("session.max_policy", "PHOENIX_SESSIONS_PER_USER_POLICY", Some(r#""evict_oldest""#), r#""refuse""#, r#""evict_oldest""#, "evict-newest", "not one of the words"),
    ("session.role_timeouts", "PHOENIX_ROLE_TIMEOUTS", Some("[]"), r#"["admin=1h/12h"]"#, r#"["a=2m/2m", "b-1_c=7d/30d"]"#, "admin=1h/12h,user=2h", "entry 2 is refused: it has no \"/\""),
    ("session.on_device_change", "PHOENIX_ON_DEVICE_CHANGE", Some(r#""observe""#), r#""reauthenticate""#, r#""revoke""#, "block", "not one of the words"),
    ("session.on_network_change", "PHOENIX_ON_NETWORK_CHANGE", Some(r#""observe""#), r#""reauthenticate""#, r#""revoke""#, "block", "not one of the words"),
    ("session.on_country_change", "PHOENIX_ON_COUNTRY_CHANGE", Some(r#""observe""#), r#""reauthenticate""#, r#""revoke""#, "block", "not one of the words"),
    ("session.on_impossible_travel", "PHOENIX_ON_IMPOSSIBLE_TRAVEL", Some(r#""observe""#), r#""reauthenticate""#, r#""revoke""#, "block", "not one of the words"),
    ("session.device_threshold", "PHOENIX_DEVICE_THRESHOLD", Some("50"), "1", "100", "101", "above the largest number allowed, 100"),
    ("session.event_retention", "PHOENIX_EVENT_RETENTION", Some(r#""90d""#), r#""1h""#, r#""400d""#, "59m", "below the shortest duration, 1h"),
    ("limits.enabled", "PHOENIX_LIMITS", Some("true"), "false", "true", "none", "neither true nor false"),
    ("limits.memory", "PHOENIX_LIMITS_MEMORY", Some(r#""64MiB""#), r#""1MiB""#, r#""64GiB""#, "1023KiB", "below the smallest size, 1MiB"),
    ("limits.ipv6_prefix", "PHOENIX_LIMITS_IPV6_PREFIX", Some("64"), "32", "128", "129", "above the largest number allowed, 128"),
    ("limits.exempt", "PHOENIX_LIMITS_EXEMPT", Some("[]"), r#"["10.0.0.0/8"]"#, r#"["192.0.2.7", "2001:db8::/32"]"#, "10.0.0.0/8,10.0.0.1/8", "entry 2 is refused: its address has bits beyond the prefix"),
    ("limits.legacy_headers", "PHOENIX_LIMITS_LEGACY_HEADERS", Some("true"), "false", "true", "2", "neither true nor false"),
    ("limits.classes", "PHOENIX_LIMITS_CLASSES", Some(CLASSES), CLASSES_A, CLASSES_B, "5", "expected a table of classes, found an integer"),
    ("limits.routes", "PHOENIX_LIMITS_ROUTES", Some(ROUTES), ROUTES_A, ROUTES_B, "{}", "expected an array of tables, found a table"),
    ("gateway.upstream", "PHOENIX_UPSTREAM", Some("[]"), r#"["http://localhost:3000"]"#, r#"["http://10.0.0.1:3000", "https://10.0.0.2"]"#, "http://localhost:3000,http://localhost:3000/x", "no path"),
    ("gateway.max_body", "PHOENIX_GATEWAY_MAX_BODY", Some(r#""100MiB""#), r#""0B""#, r#""1024GiB""#, "1025GiB", "above the largest size, 1024GiB"),
    ("gateway.deadline", "PHOENIX_GATEWAY_DEADLINE", Some(r#""1m""#), r#""100ms""#, r#""1h""#, "61m", "above the longest duration, 1h"),
    ("gateway.idle_timeout", "PHOENIX_GATEWAY_IDLE_TIMEOUT", Some(r#""5m""#), r#""1s""#, r#""1d""#, "999ms", "below the shortest duration, 1s"),
    ("gateway.connect_timeout", "PHOENIX_GATEWAY_CONNECT_TIMEOUT", Some(r#""3s""#), r#""10ms""#, r#""1m""#, "2m", "above the longest duration, 1m"),
    ("gateway.protocol", "PHOENIX_GATEWAY_PROTOCOL", Some(r#""auto""#), r#""http1""#, r#""http2""#, "http3", "not one of the words"),
    ("gateway.max_connections", "PHOENIX_GATEWAY_MAX_CONNECTIONS", Some("1024"), "1", "65535", "65536", "above the largest number allowed, 65535"),
    ("gateway.health_path", "PHOENIX_GATEWAY_HEALTH_PATH", None, r#""/up""#, r#""/api/health?full=1""#, "up", "begins with"),
    ("gateway.health_interval", "PHOENIX_GATEWAY_HEALTH_INTERVAL", Some(r#""5s""#), r#""100ms""#, r#""10m""#, "11m", "above the longest duration, 10m"),
    ("gateway.audience", "PHOENIX_GATEWAY_AUDIENCE", Some(r#""app""#), r#""planner""#, r#""https://a.example""#, "a\nb", "control character"),
    ("gateway.ca_file", "PHOENIX_GATEWAY_CA_FILE", None, r#""/ca.pem""#, r#""b.pem""#, "a\0b", "NUL"),
    ("gateway.upstreams", "PHOENIX_GATEWAY_UPSTREAMS", Some("{}"), UPSTREAMS_A, UPSTREAMS_B, "5", "expected a table of upstreams, found an integer"),
    ("gateway.routes", "PHOENIX_GATEWAY_ROUTES", Some("[]"), GATEWAY_ROUTES_A, GATEWAY_ROUTES_B, "{}", "expected an array of tables, found a table"),
    ("gateway.assertion_lifetime", "PHOENIX_ASSERTION_LIFETIME", Some(r#""1m""#), r#""10s""#, r#""1h""#, "9s", "below the shortest duration, 10s"),
    ("gateway.assertion_rotation", "PHOENIX_ASSERTION_ROTATION", Some(r#""30d""#), r#""1h""#, r#""400d""#, "59m", "below the shortest duration, 1h"),
    ("gateway.assertion_keys", "PHOENIX_ASSERTION_KEYS", Some("[]"), r#"["/a.pem"]"#, r#"["/a.pem", "b.pem"]"#, "/a.pem,b\0", "NUL"),
    ("forward_auth.enabled", "PHOENIX_FORWARD_AUTH", Some(r#""auto""#), r#""on""#, r#""off""#, "maybe", "not one of the words"),
    ("forward_auth.sign_in_url", "PHOENIX_SIGN_IN_URL", None, r#""https://a.example/in""#, r#""http://b.example:81/""#, "/sign-in", "starts with https://"),
    ("forward_auth.spoe_listen", "PHOENIX_SPOE_LISTEN", None, r#""127.0.0.1:8081""#, r#""[::1]:8081""#, "localhost:8081", "a host name is not an address"),
    ("geo.database", "PHOENIX_GEOIP_DB", None, r#""/a.mmdb""#, r#""b.mmdb""#, "a\0b", "NUL"),
    ("password.min_length", "PHOENIX_PASSWORD_MIN_LENGTH", Some("15"), "8", "64", "7", "below the smallest number allowed, 8"),
    ("password.argon2_memory", "PHOENIX_ARGON2_MEMORY", Some(r#""19MiB""#), r#""20MiB""#, r#""1GiB""#, "6MiB", "below the smallest size, 7MiB"),
    ("password.argon2_iterations", "PHOENIX_ARGON2_ITERATIONS", Some("2"), "3", "20", "0", "below the smallest number allowed, 1"),
    ("password.argon2_parallelism", "PHOENIX_ARGON2_PARALLELISM", Some("1"), "2", "16", "17", "above the largest number allowed, 16"),
    ("password.hash_workers", "PHOENIX_HASH_WORKERS", Some("0"), "1", "64", "65", "above the largest number allowed, 64"),
    ("password.hash_wait", "PHOENIX_HASH_WAIT", Some(r#""2s""#), r#""1s""#, r#""1m""#, "2 seconds", "not a duration"),
    ("accounts.registration", "PHOENIX_REGISTRATION", Some(r#""open""#), r#""closed""#, r#""open""#, "opne", "not one of the words"),
    ("accounts.admin_email", "PHOENIX_ADMIN_EMAIL", None, r#""a@localhost""#, r#""b@example.com""#, "a@b@c", "not an e-mail address"),
    ("accounts.admin_password", "PHOENIX_ADMIN_PASSWORD", None, KEY_A, KEY_B, "", "at least 1"),
    ("accounts.demo_mode", "ENABLE_DEMO_MODE", Some("false"), "true", "false", "2", "neither true nor false"),
    ("accounts.test_user", "ENABLE_TEST_USER", Some("false"), "true", "false", "x", "neither true nor false"),
    ("secrets.key", "PHOENIX_SECRET_KEY", None, KEY_A, KEY_B, "hunter2", "at least 32"),
    ("stack.project_id", "STACK_PROJECT_ID", None, UUID_A, UUID_B, "my-project", "not a UUID"),
    ("stack.secret_server_key", "STACK_SECRET_SERVER_KEY", None, KEY_A, KEY_B, "", "at least 1"),
    ("stack.publishable_client_key", "STACK_PUBLISHABLE_CLIENT_KEY", None, KEY_A, KEY_B, "a\nb", "control character"),
    ("stack.api_url", "STACK_API_URL", Some(r#""https://api.stack-auth.com""#), r#""https://a.example""#, r#""http://localhost:8102""#, "https://a.example/api", "no path"),
    ("stack.allow_restricted", "STACK_ALLOW_RESTRICTED_USERS", Some("false"), "true", "false", "x", "neither true nor false"),
    ("stack.allow_anonymous", "STACK_ALLOW_ANONYMOUS_USERS", Some("false"), "true", "false", "x", "neither true nor false"),
    ("stack.webhook_secret", "STACK_WEBHOOK_SECRET", None, WEBHOOK_A, WEBHOOK_B, "whsec_hunter2", "not base64"),
    ("stack.poll_interval", "STACK_POLL_INTERVAL", Some(r#""1m""#), r#""0s""#, r#""1h""#, "61m", "above the longest duration, 1h"),
    ("identity.issuers", "PHOENIX_OIDC_ISSUERS", Some("[]"), r#"["https://a.example audience=x"]"#, r#"["https://a.example/t audience=x audience=y jwks=https://a.example/k?v=1 algorithms=RS256+ES256", "http://[::1]:1 audience=x"]"#, "https://a.example audience=x,https://b.example", "entry 2 is refused: it names no audience"),
    ("identity.key_cool_down", "PHOENIX_JWKS_COOL_DOWN", Some(r#""30s""#), r#""1s""#, r#""1h""#, "0", "below the shortest duration, 1s"),
    ("identity.request_timeout", "PHOENIX_IDENTITY_TIMEOUT", Some(r#""5s""#), r#""100ms""#, r#""1m""#, "99ms", "below the shortest duration, 100ms"),
    ("log.format", "PHOENIX_LOG_FORMAT", Some(r#""auto""#), r#""human""#, r#""json""#, "xml", "not one of the words"),
    ("log.filter", "PHOENIX_LOG", Some(r#""info""#), r#""debug""#, r#""info,phoenix_http=debug""#, "\u{1b}", "control character"),
];

const SECRETS: &[&str] =
    &["accounts.admin_password", "secrets.key", "stack.secret_server_key", "stack.webhook_secret"];
/// Settings that are set together or not at all.
const TOGETHER: &[&str] = &["stack.project_id", "stack.secret_server_key", "stack.publishable_client_key"];
const URLS: &[&str] = &["database.url", "redis.url"];
/// Somewhere in them may be a secret: the values of headers.
const MAY_HOLD_SECRETS: &[&str] = &["gateway.routes"];

/// What else must be set for this setting to be allowed.
fn context(key: &str) -> Sources {
    match key {
        "server.proxy_protocol" | "forward_auth.spoe_listen" => {
            Sources::default().with_env("PHOENIX_TRUSTED_PROXIES", "10.0.0.1")
        }
        "tls.redirect_listen" | "tls.admin_client_ca" => {
            Sources::default().with_env("PHOENIX_TLS_CERTIFICATES", "both.pem")
        }
        "cache.l1_ttl" => Sources::default().with_env("PHOENIX_L1_MIN_TTL", "1s"),
        "session.on_country_change" | "session.on_impossible_travel" => {
            Sources::default().with_env("PHOENIX_GEOIP_DB", "/var/lib/places.mmdb")
        }
        "accounts.test_user" => Sources::default().with_env("PHOENIX_ENV", "test"),
        _ if key.starts_with("stack.") => {
            let all = [
                ("STACK_PROJECT_ID", UUID_A),
                ("STACK_SECRET_SERVER_KEY", "x"),
                ("STACK_PUBLISHABLE_CLIENT_KEY", "x"),
            ];
            let others = ROWS
                .iter()
                .filter(|row| row.0 != key)
                .filter_map(|row| all.iter().find(|(env, _)| *env == row.1));
            others.fold(Sources::default(), |sources, (env, value)| {
                sources.with_env(*env, value.trim_matches('"'))
            })
        }
        _ => Sources::default(),
    }
}

fn with_file(sources: Sources, key: &str, literal: &str) -> Sources {
    Sources { file: Sources::from_toml(format!("{key} = {literal}\n")).file, ..sources }
}

/// The literal as the environment has it.
fn as_text(literal: &str) -> String {
    let table: toml::Table = format!("x = {literal}").parse().expect(literal);
    match &table["x"] {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => {
            items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

fn assert_shown(loaded: &Loaded, key: &str, literal: Option<&str>, source: &str) {
    let setting = loaded.effective.get(key).expect(key);
    let literal = if SECRETS.contains(&key) && literal.is_some() { Some(r#""<redacted>""#) } else { literal };
    assert_eq!(setting.value.as_ref().map(ToString::to_string).as_deref(), literal, "{key}");
    assert_eq!(setting.source.kind(), source, "{key}");
}

#[test]
fn the_table_has_every_setting() {
    let loaded = valid(&Sources::default());
    let keys: Vec<&str> = loaded.effective.settings().iter().map(|setting| setting.key).collect();
    assert_eq!(ROWS.iter().map(|row| row.0).collect::<Vec<_>>(), keys);
}

#[test]
fn the_default() {
    let loaded = valid(&Sources::default());
    for (key, _, default, ..) in ROWS {
        assert_shown(&loaded, key, *default, "default");
    }
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn the_file_the_environment_and_the_command_line() {
    for (key, env, default, a, b, ..) in ROWS {
        let empty = context(key).with_env(*env, "");
        assert_shown(&valid(&with_file(empty.clone(), key, a)), key, Some(a), "file");
        assert_shown(&valid(&context(key).with_env(*env, as_text(a))), key, Some(a), "env");
        assert_shown(&valid(&context(key).with_override(*key, as_text(a))), key, Some(a), "flag");
        let file_and_env = with_file(context(key).with_env(*env, as_text(b)), key, a);
        assert_shown(&valid(&file_and_env), key, Some(b), "env");
        assert_shown(&valid(&file_and_env.with_override(*key, as_text(a))), key, Some(a), "flag");
        if !TOGETHER.contains(key) {
            assert_shown(&valid(&empty), key, *default, "default");
        }
    }
}

#[test]
fn a_value_that_is_refused_is_named_with_its_place_reason_and_remedy() {
    for (key, env, _, _, _, bad, reason) in ROWS {
        let sources = context(key).with_override(*key, *bad);
        let errors = refused(&sources);
        let error = errors.errors().iter().find(|error| error.setting() == Some(key)).expect(key);
        assert!(error.reason().contains(reason), "{key}: {error}");
        assert!(!error.remedy().is_empty(), "{key}: {error}");
        assert_eq!(
            error.source_of_value().map(ToString::to_string).as_deref(),
            Some("command line"),
            "{key}"
        );
        let is_shown = ![SECRETS, URLS, MAY_HOLD_SECRETS].concat().contains(key);
        assert_eq!(error.shown_value(), is_shown.then_some(*bad), "{key}");
        if !bad.is_empty() {
            let text = refused(&context(key).with_env(*env, *bad)).to_string();
            assert!(text.contains(&format!("environment variable {env}")) && text.contains(key), "{text}");
        }
    }
}

#[test]
fn a_value_of_the_wrong_type_in_the_file_is_refused() {
    for (key, _, _, a, ..) in ROWS {
        for wrong in ["1.5", "1979-05-27", "{ a = 1 }", "[1, 2]", "[[]]", "99999999999999999999"] {
            let errors = refused(&with_file(context(key), key, wrong));
            let is_of_it = |error: &&ConfigError| error.setting().is_some_and(|at| at.starts_with(key));
            let error = errors.errors().iter().find(is_of_it).expect(key);
            assert!(error.reason().contains("expected"), "{key} = {wrong}: {error}");
            assert!(error.to_string().contains("phoenix.toml:1"), "{key} = {wrong}: {error}");
        }
        let swapped = if a.starts_with(['"', '[']) { "true" } else { "\"no\"" };
        assert!(load(&with_file(context(key), key, swapped)).is_err(), "{key} = {swapped}");
    }
}

#[test]
fn booleans_from_text_are_lenient() {
    for (text, value) in [
        ("true", true),
        ("1", true),
        ("YES", true),
        ("on", true),
        ("false", false),
        ("0", false),
        ("No", false),
        ("off", false),
    ] {
        let loaded = valid(&Sources::default().with_env("DB_LOGGING", text));
        assert_eq!(loaded.config.database.logging, value, "{text}");
    }
}

#[test]
fn remedies_say_what_to_write() {
    for (key, value, remedy) in [
        ("server.listen", "localhost:8080", "write \"127.0.0.1:8080\""),
        ("server.listen", ":8080", "write \"0.0.0.0:8080\""),
        ("server.listen", "8080", "write \"127.0.0.1:8080\""),
        ("server.listen", "10.0.0.1", "add a port"),
        ("server.public_url", "https://A.example/", "write \"https://a.example\""),
        ("accounts.registration", "opne", "did you mean \"open\"?"),
        ("database.query_timeout_ms", "5s", "write 5000"),
        ("database.url", "mysql://a", "embedded database"),
        ("secrets.key", "short", "openssl rand -base64 32"),
        ("server.trusted_proxies", "10.1.0.0/8", "write \"10.0.0.0/8\", or \"10.1.0.0\" for the one address"),
        ("server.trusted_proxies", "0.0.0.0/0", "name the networks"),
        ("server.trusted_proxies", "::ffff:0.0.0.0/96", "name the networks"),
        ("server.trusted_proxies", "10.0.0.0/255.0.0.0", "a network or an address, such as"),
        ("server.trusted_proxies", "10.0.0.0/33", "a network or an address, such as"),
        ("server.trusted_proxies", "10.0.0.0/", "a network or an address, such as"),
        ("server.trusted_proxies", "10.0.0.0/+8", "a network or an address, such as"),
        ("server.trusted_proxies", "fe80::1%eth0", "a network or an address, such as"),
        ("server.workers", "many", "use a whole number from 0 to 256"),
        ("session.on_device_change", "revok", "did you mean \"revoke\"?"),
        ("session.role_timeouts", "admin", "such as \"admin=1h/12h\""),
        (
            "session.role_timeouts",
            "admin=1/2",
            "such as \"admin=1h/12h\", each time a duration from 1m to 400d",
        ),
        ("stack.webhook_secret", "secret-of-nobody", "copy the signing secret"),
        ("identity.issuers", "https://a.example", "\"https://a.example audience=my-app\""),
        ("identity.issuers", "http://a.example audience=x", "use https"),
        ("identity.issuers", "https://a.example audience=x algorithms=ES25", "did you mean \"ES256\"?"),
    ] {
        let errors = refused(&Sources::default().with_override(key, value));
        assert!(errors.errors()[0].remedy().contains(remedy), "{errors}");
    }
    for (line, remedy) in [
        ("server.workers = \"4\"", "without quotes"),
        ("server.request_timeout = 30", "write \"30s\""),
        ("database.query_timeout_ms = \"5s\"", "write 5000"),
    ] {
        let errors = refused(&Sources::from_toml(line));
        assert!(errors.errors()[0].remedy().contains(remedy), "{errors}");
    }
}
