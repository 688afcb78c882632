//! Every setting of Phoenix, each defined once: where it is written, its type and bounds, its default, what it is
//! for. Reading, `config show`, the reference, the JSON schema and the example file all follow from this table.
//!
//! Does not own the whole that the sections make (`config.rs`) or rules between two settings (`checks.rs`).

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

use crate::{
    kinds::{
        Boolean, Bytes, CertificatePair, Choice, Database as DatabaseKind, Directory, Email, FilePath,
        GatewayRoutes, GatewayUpstreams, Integer, Issuer, LimitClasses, LimitRoutes, List, Milliseconds,
        Network, Optional, Page, Project, RedisServer, SecretText, SocketAddress, Span, Text, TimesOfRole,
        TrustedNetwork, WebOrigin, WebhookSecret, Workers,
        gateway_parts::{
            AUDIENCE, CA_FILE, CONNECT, DEADLINE, HEALTH_INTERVAL, HealthPath, IDLE, MAX_BODY,
            MAX_CONNECTIONS, PROTOCOL, SERVERS,
        },
    },
    setting::section,
    values::{
        ByteSize, CertificateFiles, DatabaseUrl, EmailAddress, Environment, ForwardAuthMode, ForwardedHeader,
        GatewayRoute, GatewayUpstream, LimitClass, LimitRoute, LogFormat, OidcIssuer, Origin, PageUrl,
        ProjectId, ProxyProtocol, Reaction, RedisUrl, Registration, RoleTimeouts, Secret, SessionCapPolicy,
        TlsVersion, UpstreamProtocol, WorkerCount,
    },
};

const MILLISECOND: u64 = 1;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

const fn span(min_ms: u64, max_ms: u64) -> Span {
    Span { min: Duration::from_millis(min_ms), max: Duration::from_millis(max_ms) }
}

section! {
    "server"
    /// Listening, connections and the limits of a request.
    pub struct Server {
        /// Address and port to listen on.
        ///
        /// Port 0 takes a free one, which is logged.
        listen: SocketAddr = "server.listen", "PHOENIX_LISTEN", SocketAddress => "127.0.0.1:8080";
        /// Origin under which browsers reach Phoenix, when it is not the one it listens on.
        public_url: Option<Origin> = "server.public_url", "PHOENIX_PUBLIC_URL", Optional(WebOrigin) => none;
        /// Further origins whose pages may call the API with cookies.
        allowed_origins: Vec<Origin> = "server.allowed_origins", "PHOENIX_ALLOWED_ORIGINS", List { of: WebOrigin, max: 64 } => "";
        /// Proxies that are believed about the addresses of their clients: networks or single addresses.
        ///
        /// Everybody else is the client itself, whatever its headers say.
        trusted_proxies: Vec<IpNet> = "server.trusted_proxies", "PHOENIX_TRUSTED_PROXIES", List { of: TrustedNetwork, max: 512 } => "";
        /// How many proxies every request passes, where their addresses are not known; 0 is none.
        ///
        /// Everybody who can connect is believed: only where nobody but the last proxy can. Not together with
        /// `server.trusted_proxies`.
        trusted_hops: u8 = "server.trusted_hops", "PHOENIX_TRUSTED_HOPS", Integer { min: 0_u8, max: 32 } => "0";
        /// The header in which trusted proxies name their clients; the other one is never read.
        ///
        /// Proxies write one of them and pass the other on as the client sent it, so believing both is believing anybody.
        forwarded_header: ForwardedHeader = "server.forwarded_header", "PHOENIX_FORWARDED_HEADER", Choice::<ForwardedHeader>::NEW => "x-forwarded-for";
        /// Whether connections from `server.trusted_proxies` begin with the PROXY protocol, version 1 or 2.
        ///
        /// With `on` they must, and are closed if they do not; nobody else may.
        proxy_protocol: ProxyProtocol = "server.proxy_protocol", "PHOENIX_PROXY_PROTOCOL", Choice::<ProxyProtocol>::NEW => "off";
        /// What the server is used for; production refuses what is unsafe.
        environment: Environment = "server.environment", "PHOENIX_ENV", Choice::<Environment>::NEW => "production";
        /// Threads that serve requests; 0 is one for each core.
        workers: WorkerCount = "server.workers", "PHOENIX_WORKERS", Workers { max: 256 } => "0";
        /// Most connections open at once; one more is closed as soon as it is accepted.
        max_connections: usize = "server.max_connections", "PHOENIX_MAX_CONNECTIONS", Integer { min: 1_usize, max: 1_000_000 } => "10000";
        /// Most connections open at once from one client's IPv4 address or IPv6 /64; more are closed.
        ///
        /// Connections of `server.trusted_proxies` count for the client that the PROXY protocol names, or for nobody.
        max_connections_per_address: usize = "server.max_connections_per_address", "PHOENIX_MAX_CONNECTIONS_PER_ADDRESS", Integer { min: 1_usize, max: 1_000_000 } => "1024";
        /// Time a new connection has to send its first byte.
        first_byte_timeout: Duration = "server.first_byte_timeout", "PHOENIX_FIRST_BYTE_TIMEOUT", span(100 * MILLISECOND, 5 * MINUTE) => "10s";
        /// Time a request has to send its complete head.
        ///
        /// A connection of HTTP/1.1 may be idle for as long, one of HTTP/2 for `server.write_timeout`, if that is longer.
        header_read_timeout: Duration = "server.header_read_timeout", "PHOENIX_HEADER_READ_TIMEOUT", span(100 * MILLISECOND, 5 * MINUTE) => "5s";
        /// Time a client may take nothing of what is sent to it; then its connection is closed.
        write_timeout: Duration = "server.write_timeout", "PHOENIX_WRITE_TIMEOUT", span(SECOND, HOUR) => "1m";
        /// Time a request has from its head to its answer.
        request_timeout: Duration = "server.request_timeout", "PHOENIX_REQUEST_TIMEOUT", span(100 * MILLISECOND, HOUR) => "30s";
        /// Age at which a connection is asked to close, so that load spreads over new nodes.
        max_connection_age: Duration = "server.max_connection_age", "PHOENIX_MAX_CONNECTION_AGE", span(SECOND, 7 * DAY) => "1h";
        /// Largest request head.
        max_header_bytes: ByteSize = "server.max_header_bytes", "PHOENIX_MAX_HEADER_BYTES", Bytes { min: ByteSize::from_kib(8), max: ByteSize::from_kib(256) } => "16KiB";
        /// Most header fields in a request.
        max_headers: usize = "server.max_headers", "PHOENIX_MAX_HEADERS", Integer { min: 16_usize, max: 256 } => "64";
        /// Largest request body of Phoenix's own API.
        max_body_bytes: ByteSize = "server.max_body_bytes", "PHOENIX_MAX_BODY_BYTES", Bytes { min: ByteSize::from_kib(1), max: ByteSize::from_mib(16) } => "64KiB";
        /// Time that requests have to finish when the server stops.
        drain_timeout: Duration = "server.drain_timeout", "PHOENIX_DRAIN_TIMEOUT", span(0, HOUR) => "30s";
        /// Time that idle connections stay open when the server stops, for requests that are on their way.
        ///
        /// Each is answered, and told to close its connection. Connections idle for longer are closed.
        drain_idle: Duration = "server.drain_idle", "PHOENIX_DRAIN_IDLE", span(0, 5 * MINUTE) => "5s";
        /// Time that the server goes on as before after it was told to stop, but says it is not ready.
        ///
        /// For load balancers that hear of it late: 5s or more in Kubernetes. Not where a successor takes over.
        drain_delay: Duration = "server.drain_delay", "PHOENIX_DRAIN_DELAY", span(0, 5 * MINUTE) => "0s";
        /// Unix socket over which a new process takes over from the running one without a failed request.
        ///
        /// The new one is started with the same path while the old one runs. Only the same user may.
        handover_socket: Option<PathBuf> = "server.handover_socket", "PHOENIX_HANDOVER_SOCKET", Optional(FilePath { example: "/run/phoenix/handover.sock" }) => none;
        /// Most requests at once on one HTTP/2 connection.
        http2_max_streams: u32 = "server.http2_max_streams", "PHOENIX_HTTP2_MAX_STREAMS", Integer { min: 1_u32, max: 10_000 } => "128";
    }
}

section! {
    "tls"
    /// HTTPS on `server.listen`. It is spoken as soon as there is a certificate.
    pub struct Tls {
        /// Certificates with their keys, in PEM files: `fullchain.pem:privkey.pem`, or one file that holds both.
        ///
        /// The first certificate of a file is the server's, those after it lead to its authority. With several, the one
        /// whose names fit what a client asks for is used, and the first one where none does. The files are read again
        /// when they change.
        certificates: Vec<CertificateFiles> = "tls.certificates", "PHOENIX_TLS_CERTIFICATES", List { of: CertificatePair, max: 64 } => "";
        /// Oldest version of TLS that clients may use.
        min_version: TlsVersion = "tls.min_version", "PHOENIX_TLS_MIN_VERSION", Choice::<TlsVersion>::NEW => "1.2";
        /// Address and port of plain HTTP on which every request is sent on to HTTPS, and nothing else is served.
        redirect_listen: Option<SocketAddr> = "tls.redirect_listen", "PHOENIX_TLS_REDIRECT_LISTEN", Optional(SocketAddress) => none;
        /// How long browsers remember to use HTTPS only (`Strict-Transport-Security`); 0 tells them nothing.
        ///
        /// Never told for `localhost` and loopback addresses, which other servers of the same machine use, too.
        hsts: Duration = "tls.hsts", "PHOENIX_TLS_HSTS", span(0, 800 * DAY) => "365d";
        /// Whether that is meant for all subdomains, too.
        hsts_subdomains: bool = "tls.hsts_subdomains", "PHOENIX_TLS_HSTS_SUBDOMAINS", Boolean => "false";
        /// Whether browsers may have the domain in the list they come with, which is hard to undo.
        ///
        /// Needs `tls.hsts_subdomains` and `tls.hsts` of at least a year (<https://hstspreload.org>).
        hsts_preload: bool = "tls.hsts_preload", "PHOENIX_TLS_HSTS_PRELOAD", Boolean => "false";
        /// PEM file with the authorities of administrators' client certificates.
        ///
        /// When it is set, administrators need such a certificate besides their session; others need none.
        admin_client_ca: Option<PathBuf> = "tls.admin_client_ca", "PHOENIX_TLS_ADMIN_CLIENT_CA", Optional(FilePath { example: "/etc/phoenix/tls/administrators.pem" }) => none;
        /// PEM file with authorities that outgoing connections trust beside Mozilla's list.
        ///
        /// It counts for the database, Redis, identity providers and the application. The system's own list is not used.
        trust_file: Option<PathBuf> = "tls.trust_file", "PHOENIX_TRUST_FILE", Optional(FilePath { example: "/etc/phoenix/authorities.pem" }) => none;
    }
}

section! {
    "data"
    /// Files of Phoenix's own.
    pub struct Data {
        /// Directory of the embedded database; made when it does not exist.
        dir: PathBuf = "data.dir", "PHOENIX_DATA_DIR", Directory => "./phoenix-data";
    }
}

section! {
    "database"
    /// The PostgreSQL database. The times of this section are plain milliseconds.
    pub struct Database {
        /// Database that holds the truth; when it is not set, the embedded one in `data.dir`.
        ///
        /// Parameters behind a `?` are libpq's: `sslmode` (`disable`, `prefer`, `require`, `verify-ca`, `verify-full`),
        /// `sslrootcert`, `sslcert` and `sslkey`, `channel_binding`. Under TLS the server is always verified, by
        /// `tls.trust_file` and Mozilla's list unless `sslrootcert` names a file; with `prefer`, the default, too, if the
        /// server offers TLS. Without `sslmode` there is no TLS to this machine.
        url: Option<DatabaseUrl> = "database.url", "DATABASE_URL", Optional(DatabaseKind) => none;
        /// Most connections to the database.
        pool_max: usize = "database.pool_max", "DB_POOL_MAX", Integer { min: 1_usize, max: 1000 } => "50";
        /// Connections kept open when there is nothing to do; at most `database.pool_max`.
        pool_min: usize = "database.pool_min", "DB_POOL_MIN", Integer { min: 0_usize, max: 1000 } => "10";
        /// Time to open a connection, and to wait for a free one.
        connection_timeout: Duration = "database.connection_timeout_ms", "DB_CONNECTION_TIMEOUT", Milliseconds { min: 1, max: 10 * MINUTE } => "5000";
        /// Time after which a connection that nobody uses is closed.
        idle_timeout: Duration = "database.idle_timeout_ms", "DB_IDLE_TIMEOUT", Milliseconds { min: 1, max: DAY } => "30000";
        /// Age at which a connection is replaced.
        max_lifetime: Duration = "database.max_lifetime_ms", "DB_MAX_LIFETIME", Milliseconds { min: 1, max: 7 * DAY } => "1800000";
        /// Time after which the database itself ends a statement.
        statement_timeout: Duration = "database.statement_timeout_ms", "DB_STATEMENT_TIMEOUT", Milliseconds { min: 1, max: HOUR } => "30000";
        /// Time that Phoenix waits for the answer to a query.
        query_timeout: Duration = "database.query_timeout_ms", "DB_QUERY_TIMEOUT", Milliseconds { min: 1, max: HOUR } => "15000";
        /// How often an operation that is safe to repeat is repeated after a lost connection.
        max_retries: u32 = "database.max_retries", "DB_MAX_RETRIES", Integer { min: 0_u32, max: 10 } => "3";
        /// Longest wait before the first repetition; later ones wait longer.
        retry_delay: Duration = "database.retry_delay_ms", "DB_RETRY_DELAY", Milliseconds { min: 0, max: MINUTE } => "1000";
        /// Log every statement with its duration, never its parameters.
        logging: bool = "database.logging", "DB_LOGGING", Boolean => "false";
    }
}

section! {
    "redis"
    /// The shared tier of caches.
    pub struct Redis {
        /// Redis; when it is not set, sessions are cached in the memory of each process only.
        ///
        /// One server is `redis://[user:password@]host:6379[/database]`, a cluster
        /// `redis-cluster://[user:password@]host:6379,host:6379`, and the master that sentinels name
        /// `redis-sentinel://[user:password@]host:26379,host:26379/service[/database]`, with `?sentinel_password=` if
        /// the sentinels have one of their own.
        /// `rediss`, `rediss-cluster` and `rediss-sentinel` are the same under TLS, with certificates that `tls.trust_file`
        /// or Mozilla's list vouches for.
        url: Option<RedisUrl> = "redis.url", "REDIS_URL", Optional(RedisServer) => none;
        /// Time that Redis has to answer a command before Phoenix goes on without it.
        command_timeout: Duration = "redis.command_timeout", "PHOENIX_REDIS_COMMAND_TIMEOUT", span(MILLISECOND, 10 * SECOND) => "50ms";
        /// Time to open a connection to Redis.
        connect_timeout: Duration = "redis.connect_timeout", "PHOENIX_REDIS_CONNECT_TIMEOUT", span(10 * MILLISECOND, MINUTE) => "1s";
    }
}

section! {
    "cache"
    /// Caches of sessions and users. The database holds the truth; these may be lost at any time.
    pub struct Cache {
        /// Memory for cached sessions in this process; the least useful make room.
        l1_max_bytes: ByteSize = "cache.l1_max_bytes", "PHOENIX_L1_MAX_BYTES", Bytes { min: ByteSize::from_mib(1), max: ByteSize::from_gib(64) } => "64MiB";
        /// Longest time that a session stays in this process's cache.
        l1_ttl: Duration = "cache.l1_ttl", "PHOENIX_L1_TTL", span(SECOND, HOUR) => "5m";
        /// Shortest time that `cache.l1_ttl` is shortened to by itself when sessions are used again sooner.
        ///
        /// Where it is longer than `cache.l1_ttl`, nothing is shortened.
        l1_min_ttl: Duration = "cache.l1_min_ttl", "PHOENIX_L1_MIN_TTL", span(SECOND, HOUR) => "30s";
        /// Longest time that a session stays in Redis.
        l2_ttl: Duration = "cache.l2_ttl", "PHOENIX_L2_TTL", span(SECOND, HOUR) => "10m";
        /// How many tokens that do not exist are remembered, so that they cost no query.
        negative_entries: usize = "cache.negative_entries", "PHOENIX_NEGATIVE_ENTRIES", Integer { min: 1_usize, max: 10_000_000 } => "16384";
        /// How long a token that does not exist is remembered.
        negative_ttl: Duration = "cache.negative_ttl", "PHOENIX_NEGATIVE_TTL", span(100 * MILLISECOND, MINUTE) => "5s";
        /// Longest time from the acknowledgement of a revocation until every node refuses the session.
        revocation_bound: Duration = "cache.revocation_bound", "PHOENIX_REVOCATION_BOUND", span(200 * MILLISECOND, MINUTE) => "2s";
        /// How long signed-in users go on in an outage; 0 refuses them at once.
        ///
        /// An outage is when neither the database nor, through Redis, another node that reaches it can be asked.
        outage_grace: Duration = "cache.outage_grace", "PHOENIX_OUTAGE_GRACE", span(0, HOUR) => "5m";
        /// Most sessions loaded into memory at start, so that the first requests are fast; 0 is none.
        warm_entries: u32 = "cache.warm_entries", "PHOENIX_WARM_ENTRIES", Integer { min: 0_u32, max: 1_000_000 } => "10000";
        /// How many verified tokens of outside identity providers are remembered.
        token_pool_entries: usize = "cache.token_pool_entries", "PHOENIX_TOKEN_POOL_ENTRIES", Integer { min: 1_usize, max: 10_000_000 } => "65536";
    }
}

section! {
    "session"
    /// Lifetimes of sessions, how many a user may have, and what is done when one is used elsewhere.
    pub struct Session {
        /// Time without a request after which a session ends.
        idle_timeout: Duration = "session.idle_timeout", "PHOENIX_SESSION_IDLE_TIMEOUT", span(MINUTE, 400 * DAY) => "7d";
        /// Age at which a session ends, used or not; at least `session.idle_timeout`.
        absolute_timeout: Duration = "session.absolute_timeout", "PHOENIX_SESSION_ABSOLUTE_TIMEOUT", span(MINUTE, 400 * DAY) => "30d";
        /// How exactly the time of the last request is kept; shorter than `session.idle_timeout`.
        last_seen_step: Duration = "session.last_seen_step", "PHOENIX_LAST_SEEN_STEP", span(SECOND, 5 * MINUTE) => "60s";
        /// How long the token before a rotation is still accepted, for requests that were on their way.
        refresh_grace: Duration = "session.refresh_grace", "PHOENIX_REFRESH_GRACE", span(0, 5 * MINUTE) => "30s";
        /// How often ended sessions are deleted.
        cleanup_interval: Duration = "session.cleanup_interval", "PHOENIX_CLEANUP_INTERVAL", span(100 * MILLISECOND, DAY) => "60s";
        /// Most sessions deleted in one transaction.
        cleanup_batch: u32 = "session.cleanup_batch", "PHOENIX_CLEANUP_BATCH", Integer { min: 1_u32, max: 100_000 } => "1000";
        /// Most sessions of one user at once; 0 is any number.
        max_per_user: u32 = "session.max_per_user", "PHOENIX_SESSIONS_PER_USER", Integer { min: 0_u32, max: 10_000 } => "0";
        /// What happens when a user who has `session.max_per_user` sessions signs in once more.
        ///
        /// `evict_oldest` ends the session that was opened first; `refuse` opens no new one.
        max_policy: SessionCapPolicy = "session.max_policy", "PHOENIX_SESSIONS_PER_USER_POLICY", Choice::<SessionCapPolicy>::NEW => "evict_oldest";
        /// Shorter times for the sessions of users who have a role.
        ///
        /// No longer than `session.idle_timeout` and `session.absolute_timeout`; idle times longer than
        /// `session.last_seen_step`.
        role_timeouts: Vec<RoleTimeouts> = "session.role_timeouts", "PHOENIX_ROLE_TIMEOUTS", List { of: TimesOfRole { times: span(MINUTE, 400 * DAY) }, max: 32 } => "";
        /// What is done when a session is used on another device; `observe` only records it.
        ///
        /// `reauthenticate` refuses the request until the user signs in again there; `revoke` ends the session.
        on_device_change: Reaction = "session.on_device_change", "PHOENIX_ON_DEVICE_CHANGE", Choice::<Reaction>::NEW => "observe";
        /// What is done when a session is used from another network (IPv4 /24, IPv6 /48).
        ///
        /// Phones change networks often: anything but `observe` signs their users out.
        on_network_change: Reaction = "session.on_network_change", "PHOENIX_ON_NETWORK_CHANGE", Choice::<Reaction>::NEW => "observe";
        /// What is done when a session is used from another country.
        ///
        /// Other than `observe` needs `geo.database`.
        on_country_change: Reaction = "session.on_country_change", "PHOENIX_ON_COUNTRY_CHANGE", Choice::<Reaction>::NEW => "observe";
        /// What is done when a session is used too far from its last use for the time since.
        ///
        /// Other than `observe` needs `geo.database`, with places, not only countries.
        on_impossible_travel: Reaction = "session.on_impossible_travel", "PHOENIX_ON_IMPOSSIBLE_TRAVEL", Choice::<Reaction>::NEW => "observe";
        /// Difference from which a device counts as another: 0 is the same, 100 has nothing in common.
        device_threshold: u8 = "session.device_threshold", "PHOENIX_DEVICE_THRESHOLD", Integer { min: 1_u8, max: 100 } => "50";
        /// How long security events are kept.
        event_retention: Duration = "session.event_retention", "PHOENIX_EVENT_RETENTION", span(HOUR, 400 * DAY) => "90d";
    }
}

/// The classes that Phoenix has by itself.
const LIMIT_CLASSES: &str = r#"{
    auth = { windows = ["5/15m"], block = "30m", key = "account", count = "failures" },
    register = { windows = ["10/1h"], key = "address" },
    credentials = { windows = ["60/1m"], key = "address", count = "failures" },
    api = { windows = ["100/1m"], block = "5m" },
    upload = { windows = ["10/1m"], block = "10m" },
    search = { windows = ["30/1m"], block = "2m" },
    ai = { windows = ["20/1m"], block = "5m" },
    webhooks = { windows = ["600/1m"], key = "address" },
}"#;

/// The routes that Phoenix has by itself.
const LIMIT_ROUTES: &str = r#"[
    { methods = ["POST"], path = "/api/auth/login", class = "auth" },
    { methods = ["POST"], path = "/api/auth/password", class = "auth" },
    { methods = ["POST"], path = "/api/auth/register", class = "register" },
    { methods = ["POST"], path = "/api/phoenix/webhooks/stack", class = "webhooks" },
    { methods = ["POST", "PUT", "PATCH"], path = "/api/upload/{*rest}", class = "upload" },
    { methods = ["POST", "PUT", "PATCH"], path = "/api/uploads/{*rest}", class = "upload" },
    { methods = ["POST", "PUT", "PATCH"], path = "/api/{resource}/upload/{*rest}", class = "upload" },
    { methods = ["POST", "PUT", "PATCH"], path = "/api/{resource}/{id}/upload/{*rest}", class = "upload" },
    { methods = ["POST", "PUT", "PATCH"], path = "/upload/{*rest}", class = "upload" },
    { methods = ["POST", "PUT", "PATCH"], path = "/uploads/{*rest}", class = "upload" },
    { path = "/api/search/{*rest}", class = "search" },
    { path = "/api/{resource}/search/{*rest}", class = "search" },
    { path = "/search/{*rest}", class = "search" },
    { path = "/api/ai/{*rest}", class = "ai" },
    { path = "/api/{resource}/ai/{*rest}", class = "ai" },
    { path = "/api/{*rest}", class = "api" },
    { methods = ["POST", "PUT", "PATCH", "DELETE"], path = "/{*rest}", class = "api" },
]"#;

section! {
    "limits"
    /// Rate limits: how many requests a client may make in a time. Read again on `SIGHUP`, except for `limits.memory`.
    pub struct Limits {
        /// Whether anything is limited.
        enabled: bool = "limits.enabled", "PHOENIX_LIMITS", Boolean => "true";
        /// Memory of this process for the requests of clients; what is kept in it never exceeds that.
        ///
        /// When it is full, clients that are new share limits with their neighbours. Takes effect at a start.
        memory: ByteSize = "limits.memory", "PHOENIX_LIMITS_MEMORY", Bytes { min: ByteSize::from_mib(1), max: ByteSize::from_gib(64) } => "64MiB";
        /// How many bits of an IPv6 address tell clients apart: whoever has a network of that size is one client.
        ipv6_prefix: u8 = "limits.ipv6_prefix", "PHOENIX_LIMITS_IPV6_PREFIX", Integer { min: 32_u8, max: 128 } => "64";
        /// Networks whose requests are not limited at all.
        exempt: Vec<IpNet> = "limits.exempt", "PHOENIX_LIMITS_EXEMPT", List { of: Network, max: 256 } => "";
        /// Send `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` to older clients, too.
        legacy_headers: bool = "limits.legacy_headers", "PHOENIX_LIMITS_LEGACY_HEADERS", Boolean => "true";
        /// Classes of requests that are limited together, by name: `[limits.classes.api]` and below it their settings.
        ///
        /// Of a class that is there by default only what is written changes. The environment and the command line
        /// hold them as a TOML table, in place of all that the file has.
        classes: Vec<LimitClass> = "limits.classes", "PHOENIX_LIMITS_CLASSES", LimitClasses { built_in: LIMIT_CLASSES } => "{}";
        /// Which requests belong to which class: `[[limits.routes]]` and below it `path` and `class`.
        ///
        /// `{id}` is any one part of a path, `{*rest}` at its end anything or nothing. The most specific path counts;
        /// class `none` is not limited. They come before those that are there by default. The environment and the
        /// command line hold them as a TOML array of tables, in place of all that the file has.
        routes: Vec<LimitRoute> = "limits.routes", "PHOENIX_LIMITS_ROUTES", LimitRoutes { built_in: LIMIT_ROUTES } => "[]";
    }
}

section! {
    "gateway"
    /// The application that Phoenix stands in front of. `gateway.routes` is read again on `SIGHUP`; everything else takes
    /// effect at a start.
    pub struct Gateway {
        /// Servers of the application, which all answer the same: `http://host:port` or `https://host:port`.
        ///
        /// This is the upstream `default`. When it is not set, Phoenix answers its own paths only.
        upstream: Vec<Origin> = "gateway.upstream", "PHOENIX_UPSTREAM", SERVERS => "";
        /// Largest body of a request to an application.
        max_body: ByteSize = "gateway.max_body", "PHOENIX_GATEWAY_MAX_BODY", MAX_BODY => "100MiB";
        /// Time that an application has from the end of a request to the head of its answer.
        deadline: Duration = "gateway.deadline", "PHOENIX_GATEWAY_DEADLINE", DEADLINE => "60s";
        /// Longest pause within a body, or within a `WebSocket` or another tunnel.
        idle_timeout: Duration = "gateway.idle_timeout", "PHOENIX_GATEWAY_IDLE_TIMEOUT", IDLE => "5m";
        /// Time to open a connection to an application.
        connect_timeout: Duration = "gateway.connect_timeout", "PHOENIX_GATEWAY_CONNECT_TIMEOUT", CONNECT => "3s";
        /// What is spoken with applications; `auto` is HTTP/1.1, and with TLS HTTP/2 where the server offers it.
        ///
        /// Upgrades, such as `WebSocket`, need HTTP/1.1.
        protocol: UpstreamProtocol = "gateway.protocol", "PHOENIX_GATEWAY_PROTOCOL", PROTOCOL => "auto";
        /// Most requests at once to each server of an application; of more, the client is told to come back.
        max_connections: usize = "gateway.max_connections", "PHOENIX_GATEWAY_MAX_CONNECTIONS", MAX_CONNECTIONS => "1024";
        /// What servers are asked for to see whether they are up; when it is not set, requests alone tell.
        health_path: Option<String> = "gateway.health_path", "PHOENIX_GATEWAY_HEALTH_PATH", Optional(HealthPath) => none;
        /// How often servers are asked whether they are up.
        health_interval: Duration = "gateway.health_interval", "PHOENIX_GATEWAY_HEALTH_INTERVAL", HEALTH_INTERVAL => "5s";
        /// Audience of the assertions that the application `default` is sent; another upstream's is its name.
        audience: String = "gateway.audience", "PHOENIX_GATEWAY_AUDIENCE", AUDIENCE => "app";
        /// Certificates of authorities, PEM, that applications' certificates may come from, besides the system's.
        ca_file: Option<PathBuf> = "gateway.ca_file", "PHOENIX_GATEWAY_CA_FILE", Optional(CA_FILE) => none;
        /// Further applications by name: `[gateway.upstreams.reports]` and below it `servers` and their settings.
        ///
        /// What is not written is as it stands in `[gateway]`. The environment and the command line hold them as a TOML
        /// table, in place of all that the file has.
        upstreams: Vec<GatewayUpstream> = "gateway.upstreams", "PHOENIX_GATEWAY_UPSTREAMS", GatewayUpstreams => "{}";
        /// What holds for which requests: `[[gateway.routes]]` and below it `path` and what is not as by default.
        ///
        /// `{id}` is any one part of a path, `{*rest}` at its end anything or nothing. The most specific route counts,
        /// in any order. What has no route goes to the upstream `default`, with `auth = "optional"`. Preflights (CORS) of a
        /// route with `auth = "required"` or `roles` need a session, too, unless `cors` is written. The environment and
        /// the command line hold them as a TOML array of tables, in place of all that the file has.
        routes: Vec<GatewayRoute> = "gateway.routes", "PHOENIX_GATEWAY_ROUTES", GatewayRoutes => "[]";
        /// How long an assertion counts that tells an application who is asking.
        assertion_lifetime: Duration = "gateway.assertion_lifetime", "PHOENIX_ASSERTION_LIFETIME", span(10 * SECOND, HOUR) => "60s";
        /// Age at which the key that signs assertions is replaced; it stays published for as long as its assertions count.
        assertion_rotation: Duration = "gateway.assertion_rotation", "PHOENIX_ASSERTION_ROTATION", span(HOUR, 400 * DAY) => "30d";
        /// Files with the keys that sign assertions (P-256, PKCS #8, PEM), the first of which signs.
        ///
        /// When there are none, keys follow from the secret key and are replaced by themselves.
        assertion_keys: Vec<PathBuf> = "gateway.assertion_keys", "PHOENIX_ASSERTION_KEYS", List { of: FilePath { example: "/etc/phoenix/assertion.pem" }, max: 8 } => "";
    }
}

section! {
    "forward_auth"
    /// Beside another proxy, which asks Phoenix about each request (`/api/phoenix/verify`, Envoy's external
    /// authorization, HAProxy's SPOE). Only `server.trusted_proxies` may ask.
    pub struct ForwardAuth {
        /// Whether proxies may ask over HTTP and gRPC; `auto`: where Phoenix itself forwards no requests.
        ///
        /// Where it does, a page's script could ask by way of a proxy in front, and read the assertion of its user.
        /// HAProxy's port is not concerned.
        enabled: ForwardAuthMode = "forward_auth.enabled", "PHOENIX_FORWARD_AUTH", Choice::<ForwardAuthMode>::NEW => "auto";
        /// Page to which browsers are sent to sign in, instead of 401.
        ///
        /// Where they wanted to go is added as `rd`, if it is at `server.public_url` or one of
        /// `server.allowed_origins`.
        sign_in_url: Option<PageUrl> = "forward_auth.sign_in_url", "PHOENIX_SIGN_IN_URL", Optional(Page) => none;
        /// Address and port for HAProxy (SPOE); when it is not set, there is none.
        ///
        /// The protocol has no encryption and no password: an address that only HAProxy reaches.
        spoe_listen: Option<SocketAddr> = "forward_auth.spoe_listen", "PHOENIX_SPOE_LISTEN", Optional(SocketAddress) => none;
    }
}

section! {
    "geo"
    /// Where addresses are.
    pub struct Geo {
        /// MMDB file (`MaxMind`'s format) that tells the country and, where it can, the place of an address.
        ///
        /// When it is not set, no country and no place is known.
        database: Option<PathBuf> = "geo.database", "PHOENIX_GEOIP_DB", Optional(FilePath { example: "/var/lib/GeoIP/GeoLite2-City.mmdb" }) => none;
    }
}

section! {
    "password"
    /// Rules for passwords and the cost of their hashes (Argon2id).
    pub struct Password {
        /// Fewest characters of a new password (NIST SP 800-63B-4 asks for 15 where it is the only factor).
        min_length: usize = "password.min_length", "PHOENIX_PASSWORD_MIN_LENGTH", Integer { min: 8_usize, max: 64 } => "15";
        /// Memory for one hash.
        ///
        /// With `password.argon2_iterations` at least one of OWASP's sets: 46MiB and 1, 19MiB and 2, 12MiB and 3,
        /// 9MiB and 4, 7MiB and 5.
        argon2_memory: ByteSize = "password.argon2_memory", "PHOENIX_ARGON2_MEMORY", Bytes { min: ByteSize::from_mib(7), max: ByteSize::from_gib(1) } => "19MiB";
        /// Passes over that memory.
        argon2_iterations: u32 = "password.argon2_iterations", "PHOENIX_ARGON2_ITERATIONS", Integer { min: 1_u32, max: 20 } => "2";
        /// Lanes of one hash.
        argon2_parallelism: u32 = "password.argon2_parallelism", "PHOENIX_ARGON2_PARALLELISM", Integer { min: 1_u32, max: 16 } => "1";
        /// Threads that hash passwords; 0 is one fewer than there are cores, at least 1.
        hash_workers: WorkerCount = "password.hash_workers", "PHOENIX_HASH_WORKERS", Workers { max: 64 } => "0";
        /// Longest wait for a hashing thread; then the server says that it is busy.
        hash_wait: Duration = "password.hash_wait", "PHOENIX_HASH_WAIT", span(10 * MILLISECOND, MINUTE) => "2s";
    }
}

section! {
    "accounts"
    /// Who may have an account, and who has one from the start.
    pub struct Accounts {
        /// Whether anyone can make an account.
        registration: Registration = "accounts.registration", "PHOENIX_REGISTRATION", Choice::<Registration>::NEW => "open";
        /// E-mail address of the first administrator.
        admin_email: Option<EmailAddress> = "accounts.admin_email", "PHOENIX_ADMIN_EMAIL", Optional(Email) => none;
        /// Password of the first administrator; when it is not set, one is made and printed once.
        admin_password: Option<Secret> = "accounts.admin_password", "PHOENIX_ADMIN_PASSWORD", Optional(SecretText { min_bytes: 1, max_bytes: 1024, remedy: "use a password of 1 to 1024 bytes" }) => none;
        /// Two accounts with published passwords for visitors, who cannot change them.
        demo_mode: bool = "accounts.demo_mode", "ENABLE_DEMO_MODE", Boolean => "false";
        /// Make a user with a known password; refused in production.
        test_user: bool = "accounts.test_user", "ENABLE_TEST_USER", Boolean => "false";
    }
}

section! {
    "secrets"
    /// Keys.
    pub struct Secrets {
        /// Key under which session tokens are stored; when it is not set, one is made and kept in the database.
        ///
        /// Every node of a cluster needs the same. Make one with `openssl rand -base64 32`.
        key: Option<Secret> = "secrets.key", "PHOENIX_SECRET_KEY", Optional(SecretText { min_bytes: 32, max_bytes: 1024, remedy: "make one with `openssl rand -base64 32`" }) => none;
    }
}

section! {
    "stack"
    /// The Stack Auth (now Hexclave) project whose tokens are accepted. The project and its two keys are set together
    /// or not at all; without them `stack.webhook_secret` is refused and the others do nothing.
    pub(crate) struct StackSettings {
        /// The project.
        ///
        /// `HEXCLAVE_PROJECT_ID` is another name of the variable.
        project_id: Option<ProjectId> = "stack.project_id", "STACK_PROJECT_ID", Optional(Project) => none;
        /// The key that servers use.
        ///
        /// `HEXCLAVE_SECRET_SERVER_KEY` and `HEXCLAVE_SECRET_SERVER_KEY_FILE` are other names of the variables.
        secret_server_key: Option<Secret> = "stack.secret_server_key", "STACK_SECRET_SERVER_KEY", Optional(SecretText { min_bytes: 1, max_bytes: 1024, remedy: "copy the secret server key from the Stack Auth dashboard" }) => none;
        /// The key that browsers use; not a secret.
        ///
        /// `HEXCLAVE_PUBLISHABLE_CLIENT_KEY` is another name of the variable.
        publishable_client_key: Option<String> = "stack.publishable_client_key", "STACK_PUBLISHABLE_CLIENT_KEY", Optional(Text { max_bytes: 1024, what: "the publishable client key from the Stack Auth dashboard" }) => none;
        /// Where the provider's API is, when it is not the hosted one; `http` only on this machine.
        api_url: Origin = "stack.api_url", "STACK_API_URL", WebOrigin => "https://api.stack-auth.com";
        /// Let in users whom the provider restricts, for example until their e-mail address is verified.
        allow_restricted: bool = "stack.allow_restricted", "STACK_ALLOW_RESTRICTED_USERS", Boolean => "false";
        /// Let in anonymous users, who have not signed up.
        allow_anonymous: bool = "stack.allow_anonymous", "STACK_ALLOW_ANONYMOUS_USERS", Boolean => "false";
        /// Key that signs the provider's webhooks; without it none is accepted.
        webhook_secret: Option<Secret> = "stack.webhook_secret", "STACK_WEBHOOK_SECRET", Optional(WebhookSecret(SecretText { min_bytes: 8, max_bytes: 1024, remedy: "copy the signing secret of the webhook endpoint from the dashboard: whsec_ and base64" })) => none;
        /// How often sessions in use are checked at the provider; 0 is never.
        poll_interval: Duration = "stack.poll_interval", "STACK_POLL_INTERVAL", span(0, HOUR) => "60s";
    }
}

section! {
    "identity"
    /// Outside identity providers (OIDC) whose signed tokens are accepted.
    pub struct Identity {
        /// The providers, each with the audiences of its tokens.
        ///
        /// An issuer is compared byte for byte with the `iss` of a token, an audience with its `aud`. Without `jwks=`
        /// the keys are found through the issuer's `/.well-known/openid-configuration`; without `algorithms=` `ES256`,
        /// `RS256` and `EdDSA` are allowed.
        issuers: Vec<OidcIssuer> = "identity.issuers", "PHOENIX_OIDC_ISSUERS", List { of: Issuer, max: 16 } => "";
        /// How long keys are not fetched again after a token named one that its provider does not have.
        key_cool_down: Duration = "identity.key_cool_down", "PHOENIX_JWKS_COOL_DOWN", span(SECOND, HOUR) => "30s";
        /// Time that a provider has to answer.
        request_timeout: Duration = "identity.request_timeout", "PHOENIX_IDENTITY_TIMEOUT", span(100 * MILLISECOND, MINUTE) => "5s";
    }
}

section! {
    "log"
    /// Log lines.
    pub struct Log {
        /// How lines are written; `auto` is human on a terminal and JSON otherwise.
        format: LogFormat = "log.format", "PHOENIX_LOG_FORMAT", Choice::<LogFormat>::NEW => "auto";
        /// Which lines are written: a level, or levels for parts, such as `info,phoenix_http=debug`.
        filter: String = "log.filter", "PHOENIX_LOG", Text { max_bytes: 1024, what: "a level (error, warn, info, debug, trace), or directives such as \"info,phoenix_http=debug\"" } => "info";
    }
}
