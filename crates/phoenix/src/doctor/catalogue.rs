//! Every check with its id and why it matters. What decides is in the file of its area.

use super::finding::{Area, Check};

macro_rules! checks {
    ($($name:ident = $area:ident $id:literal, $why:literal;)*) => {
        $(pub(super) const $name: Check = Check { id: $id, area: Area::$area, why: $why };)*
        /// All of them, in the order in which they are shown.
        pub(super) const ALL: &[Check] = &[$($name),*];
    };
}

checks! {
    READABLE = Configuration "configuration.readable", "Phoenix does not start with a configuration that is wrong.";
    VARIABLES = Configuration "configuration.variables", "A misspelt variable does nothing, and nobody notices.";
    ENVIRONMENT = Configuration "configuration.environment", "Production refuses what is unsafe; development does not.";
    DEMO = Configuration "configuration.demo-accounts", "Their passwords are published: anybody can sign in.";
    TEST_USER = Configuration "configuration.test-user", "Its password is known: anybody can sign in.";
    REGISTRATION = Configuration "configuration.registration", "With open registration anybody can have an account.";
    PUBLIC_URL = Configuration "configuration.public-url", "Cookies and the check of origins follow it; over plain HTTP sessions can be read on the way.";
    PROXIES = Configuration "configuration.trusted-proxies", "Who is trusted decides whose address counts: too few and all clients share one limit, too many and addresses can be forged.";
    SESSION_TIMES = Configuration "configuration.session-times", "A stolen session is of use for as long as it lives.";
    GRACE = Configuration "configuration.outage-grace", "In an outage a revoked session may be served for that long.";
    LIMITS = Configuration "configuration.limits", "Without limits passwords can be guessed as fast as the machine hashes.";
    EXEMPT = Configuration "configuration.limits-exempt", "Whoever is exempt is not limited at all.";
    LIMITS_MEMORY = Configuration "configuration.limits-memory", "When it is full, clients that are new share limits with their neighbours.";
    PASSWORDS = Configuration "configuration.passwords", "Short passwords are guessed.";
    GEO = Configuration "configuration.geo-database", "Addresses move: places from an old file are often wrong.";
    LOG_FORMAT = Configuration "configuration.log-format", "Programs that collect logs read JSON.";
    LOG_LEVEL = Configuration "configuration.log-level", "Debug lines fill disks and slow requests down.";
    THRESHOLDS = Configuration "configuration.alerts", "Nobody looks at a dashboard at night: thresholds and receivers have to be set and tried.";

    KEY_SET = Secrets "secrets.key-set", "Without a key of your own, one lies in the database and in every backup of it.";
    KEY_STRENGTH = Secrets "secrets.key-strength", "Whoever guesses the key can make tokens' hashes and assertions.";
    SOURCES = Secrets "secrets.sources", "A secret on a command line can be read by every user of the machine.";
    CONFIG_MODE = Secrets "secrets.config-file-mode", "A file with secrets that others may read is no secret.";
    FILE_MODES = Secrets "secrets.file-modes", "A file with secrets that others may read is no secret.";
    FIRST_PASSWORD = Secrets "secrets.first-password", "It is needed at the first start only, and counts until it is changed.";

    PG_REACHABLE = Postgres "postgres.reachable", "Without the database nobody can sign in.";
    PG_VERSION = Postgres "postgres.version", "Phoenix is tested with version 15 and later; old ones get no fixes.";
    PG_WRITABLE = Postgres "postgres.writable", "A read-only database opens and ends no session.";
    PG_TLS = Postgres "postgres.tls", "Password hashes and session hashes cross the network.";
    PG_LATENCY = Postgres "postgres.latency", "Every look-up that misses the caches waits that long.";
    PG_CLOCK = Postgres "postgres.clock", "Sessions end by the clock; nodes must agree on it.";
    PG_SCHEMA = Postgres "postgres.schema", "The statements of this binary need its schema.";
    PG_KEY = Postgres "postgres.key-fingerprint", "With another key none of the stored sessions can be found.";
    PG_INDEXES = Postgres "postgres.indexes", "Without its index a look-up reads the whole table.";
    PG_INDEX_USE = Postgres "postgres.index-use", "A large table that is read as a whole slows everything down.";
    PG_CONNECTIONS = Postgres "postgres.connections", "When all connections are taken, requests fail.";
    PG_POOL = Postgres "postgres.pool-size", "More connections than the server's cores can use make it slower, not faster.";
    PG_FSYNC = Postgres "postgres.fsync", "Without it a crash can lose or damage everything.";
    PG_PAGES = Postgres "postgres.full-page-writes", "Without it a crash can damage pages.";
    PG_COMMIT = Postgres "postgres.synchronous-commit", "Phoenix turns it on for its own writes; where it is off by default, others lose commits.";
    PG_MEMORY = Postgres "postgres.memory", "What is not in memory is read from the disk.";
    PG_TIMEOUTS = Postgres "postgres.timeouts", "A server that ends idle connections or transactions early makes requests fail.";
    PG_VACUUM = Postgres "postgres.autovacuum", "Dead rows make tables grow and reads slow.";
    PG_TRANSACTIONS = Postgres "postgres.long-transactions", "An old transaction keeps dead rows alive and blocks migrations.";
    PG_POOLER = Postgres "postgres.pooler", "A pooler in transaction mode breaks prepared statements, LISTEN and settings of the session.";
    PG_BACKUP = Postgres "postgres.backup", "The database is the truth. Without a backup it is lost with its disk.";

    EMBEDDED_FOLDER = Embedded "embedded.folder", "The database is made and written there.";
    EMBEDDED_MODE = Embedded "embedded.folder-mode", "The file holds password hashes.";
    EMBEDDED_DISK = Embedded "embedded.disk", "SQLite needs the locks of a local disk; what is in a container's own layer is gone with it.";
    EMBEDDED_SPACE = Embedded "embedded.free-space", "On a full disk nobody can sign in.";
    EMBEDDED_SCHEMA = Embedded "embedded.schema", "The statements of this binary need its schema.";
    EMBEDDED_INTEGRITY = Embedded "embedded.integrity", "A damaged file gives wrong answers, or none.";
    EMBEDDED_KEY = Embedded "embedded.key-fingerprint", "With another key none of the stored sessions can be found.";
    EMBEDDED_LOG = Embedded "embedded.log-size", "A log that is not folded into the file makes reads slow and the start long.";
    EMBEDDED_NODES = Embedded "embedded.one-node", "The embedded database serves one process: there is no second node to take over.";
    EMBEDDED_BACKUP = Embedded "embedded.backup", "The file is the truth. Without a backup it is lost with its disk.";

    REDIS_REACHABLE = Redis "redis.reachable", "Without Redis each node limits by itself and asks the database more.";
    REDIS_VERSION = Redis "redis.version", "Phoenix is tested with version 6.2 and later; old ones get no fixes.";
    REDIS_TLS = Redis "redis.tls", "Sessions are sealed, but the password and who is limited cross the network.";
    REDIS_LATENCY = Redis "redis.latency", "A look-up in the second tier waits that long, and a slow Redis counts as down.";
    REDIS_CLOCK = Redis "redis.clock", "Shared limits go by the clock of Redis.";
    REDIS_EVICTION = Redis "redis.eviction", "Redis that throws keys away forgets counts and blocks: limits let through too much.";
    REDIS_MEMORY = Redis "redis.memory", "A full Redis refuses writes, and limits are kept by each node alone.";
    REDIS_PERSISTENCE = Redis "redis.persistence", "Without a copy on disk a restart forgets what nodes that are gone have counted.";
    REDIS_CLIENTS = Redis "redis.clients", "When all connections are taken, nodes go on without Redis.";
    REDIS_REPLICAS = Redis "redis.replicas", "Without a replica Redis is gone until it is restarted.";
    REDIS_CLUSTER = Redis "redis.cluster-state", "A cluster that is not whole refuses keys.";

    APP_SERVERS = Gateway "gateway.servers", "Requests to an application that cannot be reached are answered with 502.";
    APP_OWN = Gateway "gateway.own-address", "A gateway that sends requests to itself answers 508.";
    APP_TLS = Gateway "gateway.tls", "Over plain HTTP requests and answers can be read and changed on the way.";
    APP_HEALTH = Gateway "gateway.health", "With a health path a server that is down is noticed before a request is.";
    APP_KEYS = Gateway "gateway.assertion-keys", "Applications believe whoever has the key of assertions.";

    CERTIFICATES = Tls "tls.certificates", "Clients refuse what has expired or has another key.";
    CERTIFICATE_DATES = Tls "tls.expiry", "From that day on no client connects.";
    CERTIFICATE_NAMES = Tls "tls.names", "Browsers refuse a certificate that is for another name.";
    CERTIFICATE_CHAIN = Tls "tls.chain", "Clients that do not find a way to an authority refuse the certificate.";
    KEY_MODES = Tls "tls.key-modes", "Who has the key can be the server.";
    HSTS = Tls "tls.hsts", "Without it a browser can be led to plain HTTP.";
    TRUST = Tls "tls.trust-file", "With a file that cannot be used Phoenix does not start.";

    PROVIDER_KEYS = Identity "identity.keys", "Without the provider's keys none of its tokens can be verified.";
    WEBHOOKS = Identity "identity.webhooks", "Without webhooks a user deleted at the provider is noticed by asking only.";

    FILES = System "system.file-descriptors", "Each connection takes one, and in front of an application one more; without them connections are refused.";
    SOMAXCONN = System "system.somaxconn", "Connections that arrive at once wait in a queue of that length; more are dropped.";
    SYN_BACKLOG = System "system.syn-backlog", "Half-open connections wait in a queue of that length.";
    PORTS = System "system.port-range", "Each connection to an application or a database takes a port.";
    MEMORY = System "system.memory", "A process above its memory limit is killed.";
    CORES = System "system.cores", "Hashing a password takes a core for about 30 ms.";
    TIME = System "system.time", "Sessions, tokens and certificates go by the clock.";

    RUNNING = Server "server.answers", "A server that does not answer serves nobody.";
    READY = Server "server.ready", "Load balancers leave out a server that is not ready.";
    SAME_VERSION = Server "server.version", "What was checked here is not what runs there.";
    STATUS = Server "server.status", "Degraded means that the database or Redis does not answer.";
    ADDRESSES = Server "server.client-addresses", "Limits and blocks go by the address that the server sees.";
}

/// The checks of an area.
pub(super) fn of(area: Area) -> impl Iterator<Item = Check> {
    ALL.iter().copied().filter(move |check| check.area == area)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_begin_with_their_area() {
        let ids: BTreeSet<_> = ALL.iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), ALL.len());
        for check in ALL {
            let (area, what) = check.id.split_once('.').expect("an area and a name");
            assert_eq!(area, check.area.name());
            assert!(what.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", check.id);
            assert!(check.why.ends_with('.'), "{}", check.id);
        }
        for area in Area::ALL {
            assert!(of(area).next().is_some(), "{area:?} has no check");
        }
    }
}
