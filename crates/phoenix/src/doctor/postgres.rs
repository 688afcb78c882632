//! Checks of PostgreSQL.

use std::time::Duration;

use phoenix_store::migrate::{HistoryError, MigrationStatus};
use phoenix_store::postgres::{PgFacts, inspect};

use super::catalogue as check;
use super::finding::{Area, Check, Finding};
use super::{Nodes, Said, Subject, bounded, millis, size, skip_rest};
use crate::database::DatabaseOptions;
use crate::entropy;

/// Connections that a node opens beside its pool: two shared ones and a listener.
const BESIDE_POOL: u64 = 3;
/// Oldest version that is still mended by PostgreSQL's project, and the oldest that Phoenix is tested with.
const OLDEST: u32 = 15;
/// Time of a round trip from which a database is far away.
const SLOW: Duration = Duration::from_millis(5);
/// Difference of clocks that is worth mending, and that breaks things.
const SKEW_MS: i64 = 1000;
const BAD_SKEW_MS: i64 = 30_000;
/// Age from which a transaction is in the way.
const OLD_TRANSACTION: Duration = Duration::from_mins(5);
/// Rows from which reading the whole table is slow.
const LARGE_TABLE: i64 = 10_000;
/// Whole reads of a large table that may be chance.
const FEW_READS: i64 = 50;
/// Smallest useful memory for a server of its own, in bytes.
const SMALL_BUFFERS: u64 = 100 << 20;
/// A segment is archived at least that often where anything is written.
const ARCHIVE_OLD: Duration = Duration::from_hours(25);

type Seen = Option<Result<PgFacts, String>>;

pub(super) async fn look(subject: &Subject<'_>) -> Seen {
    subject.config.database.url.as_ref()?;
    let seed = entropy::number(&*subject.world.entropy);
    let options = match DatabaseOptions::of(subject.config, seed) {
        Ok(DatabaseOptions::Postgres(options)) => options,
        Ok(DatabaseOptions::Sqlite(_)) => return None,
        Err(error) => return Some(Err(error.said())),
    };
    Some(bounded(inspect(&options, &*subject.world.clock, subject.lifecycle.tracker())).await)
}

pub(super) fn judge(subject: &Subject<'_>, seen: Seen, nodes: Nodes) -> Vec<Finding> {
    let mut findings = Vec::new();
    match seen {
        None => {
            skip_rest(
                Area::Postgres,
                &mut findings,
                "DATABASE_URL is not set: the embedded database is used",
            );
        }
        Some(Err(error)) => {
            let mend = "start it, or correct DATABASE_URL; docs/operations/troubleshooting.md lists messages";
            findings.push(check::PG_REACHABLE.failure(error, mend));
            skip_rest(Area::Postgres, &mut findings, "PostgreSQL cannot be used (postgres.reachable)");
        }
        Some(Ok(facts)) => {
            findings.extend(server(subject, &facts));
            findings.extend(ours(subject, &facts));
            findings.extend(settings(&facts));
            findings.push(connections(subject, &facts, nodes));
            findings.push(pool(subject, nodes));
        }
    }
    findings
}

fn server(subject: &Subject<'_>, facts: &PgFacts) -> Vec<Finding> {
    let is_remote = subject.config.database.url.as_ref().is_some_and(|url| !is_local(url.expose()));
    let has_tls = !facts.tls.is_empty();
    vec![
        check::PG_REACHABLE.ok(format!("connected in {}", millis(facts.connect))),
        check::PG_VERSION.ok_or_failure(
            facts.version >= OLDEST,
            format!("PostgreSQL {}", text(facts, "server_version")),
            "upgrade PostgreSQL to 15 or later",
        ),
        check::PG_WRITABLE.ok_or_failure(
            !facts.read_only,
            if facts.read_only { "read-only" } else { "takes writes" },
            "point DATABASE_URL to the primary; look for default_transaction_read_only",
        ),
        check::PG_TLS.ok_or_warning(
            has_tls || !is_remote,
            match (has_tls, is_remote) {
                (true, _) => facts.tls.as_str(),
                (false, false) => "not encrypted, on this machine",
                (false, true) => "not encrypted, over the network",
            },
            "turn ssl on at the server and add ?sslmode=verify-full to DATABASE_URL",
        ),
        check::PG_LATENCY.ok_or_warning(
            facts.round_trip <= SLOW,
            format!("{} for a question and its answer", millis(facts.round_trip)),
            "put Phoenix and PostgreSQL into one zone",
        ),
        clock(check::PG_CLOCK, facts.clock_ahead_ms),
        check::PG_TRANSACTIONS.ok_or_warning(
            facts.oldest_transaction < OLD_TRANSACTION,
            format!("the oldest is {} s old", facts.oldest_transaction.as_secs()),
            "find it in pg_stat_activity (xact_start) and end it; set idle_in_transaction_session_timeout for its role",
        ),
        check::PG_POOLER.ok_or_failure(
            !facts.is_pooled,
            if facts.is_pooled { "two connections share a server process" } else { "none in transaction mode" },
            "connect to PostgreSQL itself, or set pool_mode = session for Phoenix; it has a pool of its own",
        ),
    ]
}

/// How far a clock is ahead of or behind ours.
pub(super) fn clock(which: Check, ahead_ms: i64) -> Finding {
    let found = format!("{} ms {} ours", ahead_ms.abs(), if ahead_ms < 0 { "behind" } else { "ahead of" });
    let mend = "turn on NTP (chrony or systemd-timesyncd) on both machines";
    match ahead_ms.abs() {
        skew if skew <= SKEW_MS => which.ok(found),
        skew if skew <= BAD_SKEW_MS => which.warning(found, mend),
        _ => which.failure(found, mend),
    }
}

fn ours(subject: &Subject<'_>, facts: &PgFacts) -> Vec<Finding> {
    let mut broken =
        facts.missing_indexes.iter().map(|name| format!("{name} is missing")).collect::<Vec<_>>();
    broken.extend(facts.invalid_indexes.iter().map(|name| format!("{name} is invalid")));
    let mend = match (facts.invalid_indexes.first(), facts.missing_indexes.first()) {
        (Some(name), _) => format!("REINDEX INDEX CONCURRENTLY phoenix.{name};"),
        (None, Some(name)) => format!("make it again as in sql/migrations/postgres: CREATE INDEX {name} ..."),
        (None, None) => String::new(),
    };
    vec![
        schema(check::PG_SCHEMA, &facts.schema),
        key(subject, check::PG_KEY, facts.fingerprint.as_deref()),
        check::PG_INDEXES.ok_or_failure(
            broken.is_empty(),
            if broken.is_empty() { format!("{} are valid", facts.valid_indexes) } else { broken.join(", ") },
            &mend,
        ),
        index_use(facts),
        vacuum(facts),
        backup(facts),
    ]
}

/// Where a schema stands.
pub(super) fn schema(which: Check, schema: &Result<MigrationStatus, HistoryError>) -> Finding {
    let newest = |status: &MigrationStatus| status.applied.last().map_or(0, |step| step.version);
    match schema {
        Ok(status) if status.pending.is_empty() => which.ok(format!("version {}", newest(status))),
        Ok(status) if status.applied.is_empty() => {
            which.warning("there is none yet", "run `phoenix migrate`, or start Phoenix, which does it")
        }
        Ok(status) => which.failure(
            format!("version {}, and {} steps are missing", newest(status), status.pending.len()),
            "run `phoenix migrate`, or start Phoenix, which does it",
        ),
        Err(error) => which.failure(error.to_string(), "use the newest binary, or restore a backup"),
    }
}

/// Whether the key is the one that sessions are stored under.
pub(super) fn key(subject: &Subject<'_>, which: Check, stored: Option<&[u8]>) -> Finding {
    match (subject.keys(), stored) {
        (None, _) => which.skipped("PHOENIX_SECRET_KEY is not set; the key is in the database"),
        (Some(_), None) => which.ok("no key was used yet"),
        (Some(keys), Some(stored)) => which.ok_or_failure(
            keys.fingerprint() == stored,
            if keys.fingerprint() == stored { "the same key" } else { "another key than before" },
            "set the old PHOENIX_SECRET_KEY again, or accept the new one, which signs everybody out: `phoenix migrate \
             --new-secret-key`",
        ),
    }
}

fn index_use(facts: &PgFacts) -> Finding {
    let is_slow = |table: &&phoenix_store::postgres::PgTable| {
        let rows_each = table.whole_read_rows / table.whole_reads.max(1);
        table.live >= LARGE_TABLE
            && table.whole_reads > FEW_READS
            && table.whole_reads > table.index_reads / 10
            && rows_each > LARGE_TABLE / 2
    };
    match facts.tables.iter().find(is_slow) {
        None => check::PG_INDEX_USE.ok("large tables are read by index"),
        Some(table) => check::PG_INDEX_USE.warning(
            format!(
                "{} ({} rows) was read as a whole {} times, by index {} times",
                table.name, table.live, table.whole_reads, table.index_reads
            ),
            format!(
                "ANALYZE phoenix.{}; then look at the plans of the slow statements in the status",
                table.name
            ),
        ),
    }
}

fn vacuum(facts: &PgFacts) -> Finding {
    if text(facts, "autovacuum") != "on" {
        return check::PG_VACUUM.failure("off", "set autovacuum = on in postgresql.conf");
    }
    let dead = facts.tables.iter().find(|table| table.dead > LARGE_TABLE && table.dead > table.live);
    match dead {
        None => check::PG_VACUUM.ok("on, few dead rows"),
        Some(table) => check::PG_VACUUM.warning(
            format!("{} has {} dead rows and {} live ones", table.name, table.dead, table.live),
            format!("VACUUM (ANALYZE) phoenix.{}; and look for old transactions", table.name),
        ),
    }
}

fn backup(facts: &PgFacts) -> Finding {
    let mode = text(facts, "archive_mode");
    let mend = "see docs/operations/backup.md: archive the log (archive_mode, archive_command), or dump every night and \
                try to restore";
    if !matches!(mode, "on" | "always") {
        let replicas = facts.replicas.unwrap_or_default();
        let found = format!("no backup can be seen from here: archive_mode is off, {replicas} replicas");
        return check::PG_BACKUP.warning(found, mend);
    }
    match (facts.archiver.is_failing, facts.archiver.last) {
        (true, _) => check::PG_BACKUP.failure("the latest attempt to archive failed", mend),
        (false, Some(age)) => check::PG_BACKUP.ok_or_warning(
            age < ARCHIVE_OLD,
            format!("the log was archived {} min ago", age.as_secs() / 60),
            mend,
        ),
        (false, None) => check::PG_BACKUP.warning("archive_mode is on, but nothing was archived yet", mend),
    }
}

fn settings(facts: &PgFacts) -> Vec<Finding> {
    let is_on = |name| text(facts, name) == "on";
    let commit = text(facts, "synchronous_commit");
    let (buffers, work) = (number(facts, "shared_buffers"), number(facts, "work_mem"));
    let ended = ["idle_session_timeout", "transaction_timeout"];
    let ended: Vec<_> = ended.into_iter().filter(|name| number(facts, name) > 0).collect();
    vec![
        check::PG_FSYNC.ok_or_failure(
            is_on("fsync"),
            text(facts, "fsync"),
            "set fsync = on in postgresql.conf and restart",
        ),
        check::PG_PAGES.ok_or_failure(
            is_on("full_page_writes"),
            text(facts, "full_page_writes"),
            "set full_page_writes = on in postgresql.conf",
        ),
        check::PG_COMMIT.ok_or_warning(
            commit != "off",
            commit,
            "set synchronous_commit = on in postgresql.conf",
        ),
        check::PG_MEMORY.ok_or_warning(
            buffers >= SMALL_BUFFERS,
            format!("shared_buffers {}, work_mem {}", size(buffers), size(work)),
            "set shared_buffers to about a quarter of the memory of a machine of its own",
        ),
        check::PG_TIMEOUTS.ok_or_warning(
            ended.is_empty(),
            if ended.is_empty() {
                "none in the way".to_owned()
            } else {
                format!("{} is set", ended.join(", "))
            },
            "set it to 0 for Phoenix' role: ALTER ROLE ... SET ...; Phoenix sets time-outs of its own",
        ),
    ]
}

fn connections(subject: &Subject<'_>, facts: &PgFacts, nodes: Nodes) -> Finding {
    let each =
        u64::try_from(subject.config.database.pool_max).unwrap_or(u64::MAX).saturating_add(BESIDE_POOL);
    let needed = each.saturating_mul(nodes.count.into());
    let reserved = number(facts, "superuser_reserved_connections") + number(facts, "reserved_connections");
    let all = number(facts, "max_connections");
    let others = u64::try_from(facts.connections.saturating_sub(facts.ours).saturating_sub(1)).unwrap_or(0);
    let free = all.saturating_sub(reserved).saturating_sub(others);
    let found = format!(
        "{} nodes ({}) may open {needed}; of {all}, {reserved} are reserved and {others} used by others",
        nodes.count, nodes.by
    );
    let fitting = (free / u64::from(nodes.count.max(1))).saturating_sub(BESIDE_POOL);
    let mend = format!(
        "lower DB_POOL_MAX to at most {fitting}, or raise max_connections to at least {}",
        needed + reserved + others
    );
    check::PG_CONNECTIONS.ok_or_failure(needed <= free, found, &mend)
}

fn pool(subject: &Subject<'_>, nodes: Nodes) -> Finding {
    let all = subject.config.database.pool_max.saturating_mul(usize::try_from(nodes.count).unwrap_or(1));
    let found = format!("{} for each of {} nodes", subject.config.database.pool_max, nodes.count);
    let mend = "lower DB_POOL_MAX: a few for each core of the server are enough";
    check::PG_POOL.ok_or_warning((4..=400).contains(&all), found, mend)
}

fn text<'a>(facts: &'a PgFacts, name: &str) -> &'a str {
    facts.settings.get(name).map_or("", String::as_str)
}

fn number(facts: &PgFacts, name: &str) -> u64 {
    text(facts, name).parse().unwrap_or_default()
}

/// Whether all hosts of an address are this machine. Whatever is not understood is not.
pub(super) fn is_local(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, query) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    if hosts.is_empty() {
        return query.contains("host=/") || query.contains("host=%2F");
    }
    hosts
        .split(',')
        .all(|host| ["localhost", "127.", "[::1]", "%2F", "%2f"].iter().any(|local| host.starts_with(local)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn what_is_not_this_machine_is_the_network() {
        for (url, local) in [
            ("postgres://a:b@localhost:5432/d", true),
            ("postgres://a:b@127.0.0.1/d", true),
            ("postgres://a@[::1]:1/d", true),
            ("postgres://a@%2Frun%2Fpostgresql/d", true),
            ("postgres:///d?host=/run/postgresql", true),
            ("postgres://a:localhost@db/d", false),
            ("postgres://a@localhost,db/d", false),
            ("rediss://:x@cache.example:6379/0", false),
        ] {
            assert_eq!(is_local(url), local, "{url}");
        }
    }

    #[test]
    fn clocks_that_differ_are_told_by_how_much() {
        for (ahead, state) in [
            (0, State::Ok),
            (-900, State::Ok),
            (1500, State::Warning),
            (-29_000, State::Warning),
            (31_000, State::Failure),
            (-3_600_000, State::Failure),
        ] {
            assert_eq!(clock(check::PG_CLOCK, ahead).state, state, "{ahead}");
        }
        assert_eq!(clock(check::PG_CLOCK, -1500).found, "1500 ms behind ours");
    }
}
