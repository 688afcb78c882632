//! The look-up of a session is answered from its index, fast, among a hundred thousand.

use std::time::{Duration, Instant};

use phoenix_auth::model::{Timestamp, TokenHash};
use phoenix_auth::ports::{AccountStore, Activity, SessionStore};
use phoenix_store::postgres::{self, PgStore};
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::wait;

use crate::fixtures::{at, new_session, new_user};
use crate::harness::{BOUND, pg_config, pg_store};

const SESSIONS: u32 = 100_000;
const LOOK_UPS: u32 = 2_000;
/// Users and sessions with made-up, well spread hashes: SHA-256 of the session's number.
const FILL: &str = "
    INSERT INTO phoenix.users SELECT md5(n::text)::uuid, n || '@example.com', n || '@example.com', false, '$',
        'user', false, NULL, NULL, NULL, NULL, NULL, NULL, '{}', 0, 0, 0, NULL FROM generate_series(1, 1000) n;
    INSERT INTO phoenix.sessions SELECT md5('s' || n)::uuid, md5((n % 1000 + 1)::text)::uuid,
        sha256(n::text::bytea), NULL, NULL, 0, 9000000000000, 'password' FROM generate_series(1, 100000) n;
    INSERT INTO phoenix.session_activity SELECT md5('s' || n)::uuid, 0, 'curl', 'curl/8', '192.0.2.1'
        FROM generate_series(1, 100000) n;";

/// As many identities, endings, events and deliveries, so that an index is worth its while.
const FILL_OUTSIDE: &str = "
    INSERT INTO phoenix.identities SELECT 'stack:p', n::text, md5(n::text)::uuid FROM generate_series(1, 1000) n;
    INSERT INTO phoenix.ended_external_sessions SELECT sha256(('e' || n)::bytea), n FROM generate_series(1, 20000) n;
    INSERT INTO phoenix.webhook_deliveries SELECT 'd' || n, n FROM generate_series(1, 20000) n;
    INSERT INTO phoenix.security_events SELECT md5('v' || n)::uuid, n, 'token-replayed',
        md5((n % 1000 + 1)::text)::uuid, NULL, NULL, '' FROM generate_series(1, 20000) n;
    INSERT INTO phoenix.blocks SELECT decode(md5('k' || n), 'hex'), md5('b' || n)::uuid, 'auth', '', 'limit', '',
        n, n, NULL, NULL, n FROM generate_series(1, 20000) n;
    INSERT INTO phoenix.invalidations SELECT n, 'user', md5(n::text)::uuid, 0 FROM generate_series(1, 20000) n;
    UPDATE phoenix.invalidation_counter SET seq = 20000;";
const IDENTITY_UPDATE: &str = "text, text, text, boolean, text, text, text, text, text, text, bigint";
const SESSION: &str = "uuid, uuid, bytea, bigint, bigint, text, bigint, text, text, inet, inet, bytea, text";

async fn filled() -> (PgStore, String) {
    let url = Postgres::shared().create_database();
    let store = pg_store(pg_config(url.clone())).await;
    let server = Postgres::shared();
    let database = database_name(&url);
    server.execute(database, FILL).expect("fills");
    for table in ["users", "sessions", "session_activity"] {
        server.execute(database, &format!("VACUUM (ANALYZE) phoenix.{table}")).expect("vacuums");
    }
    (store, url)
}

fn text(name: &str) -> &'static str {
    postgres::statements().find(|(known, _)| *known == name).expect("a statement of this name").1
}

/// The plan of a statement prepared once for all parameters.
fn generic_plan(url: &str, types: &str, name: &str, values: &str) -> String {
    let statements = format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE p ({types}) AS {}; EXPLAIN EXECUTE p ({values})",
        text(name)
    );
    let rows = Postgres::shared().query(database_name(url), &statements).expect("plans");
    rows.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n")
}

#[expect(clippy::disallowed_methods, reason = "the test measures the time of real look-ups")]
fn now() -> Instant {
    Instant::now()
}

async fn p95(store: &PgStore) -> Duration {
    let mut times = Vec::new();
    for number in 0..LOOK_UPS {
        let hash = hash_of(number * (SESSIONS / LOOK_UPS) + 1);
        let start = now();
        let found = store.find_session(&hash, Timestamp::default()).await.expect("answers");
        times.push(start.elapsed());
        assert!(found.is_some_and(|found| !found.superseded));
    }
    times.sort_unstable();
    times[times.len() * 95 / 100]
}

fn hash_of(number: u32) -> TokenHash {
    use sha2::{Digest, Sha256};
    TokenHash::from_bytes(Sha256::digest(number.to_string().as_bytes()).into())
}

// spec: A3
#[tokio::test]
async fn a_session_is_looked_up_in_its_covering_index_alone_and_fast() {
    let (store, url) = filled().await;
    let plan = generic_plan(&url, "bytea", "session_find", "'\\x00'");
    assert!(plan.contains("Index Only Scan using sessions_token_hash"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
    let plan = generic_plan(&url, "bytea, bigint", "session_find_previous", "'\\x00', 0");
    assert!(plan.contains("sessions_previous_token_hash") && !plan.contains("Seq Scan"), "{plan}");

    let p95 = p95(&store).await;
    assert!(p95 < Duration::from_millis(10), "{p95:?}");
    store.close();
    // Counted by the server itself: every look-up used the index, none went to the table behind it.
    let counted = "SELECT idx_scan, idx_tup_fetch FROM pg_stat_user_indexes \
                   WHERE indexrelname = 'sessions_token_hash'";
    wait::until(BOUND, "the server to have counted the look-ups", || async {
        let rows = Postgres::shared().query(database_name(&url), counted).expect("answers");
        let number = |column: usize| rows[0][column].as_deref().and_then(|text| text.parse::<u32>().ok());
        assert_eq!(number(1), Some(0), "rows fetched from the table");
        number(0) >= Some(LOOK_UPS)
    })
    .await;
}

// spec: A3
#[tokio::test]
async fn accounts_are_looked_up_through_an_index() {
    let (_store, url) = filled().await;
    let server = Postgres::shared();
    server.execute(database_name(&url), FILL_OUTSIDE).expect("fills");
    server.execute(database_name(&url), "ANALYZE").expect("a superuser may");
    for (name, types, values) in [
        ("credentials", "text", "'1@example.com'"),
        ("credentials_by_id", "uuid", "'00000000-0000-0000-0000-000000000001'"),
        ("sessions_of_user", "uuid, bigint", "'00000000-0000-0000-0000-000000000001', 500"),
        ("user_page", "uuid, bigint", "'00000000-0000-0000-0000-000000000001', 50"),
        ("other_administrator", "uuid", "'00000000-0000-0000-0000-000000000001'"),
        ("sessions_beyond_cap", "uuid, uuid, bigint, bigint, bigint", "NULL, NULL, 0, 0, 4"),
        ("identity_owner_lock", "text, text", "'stack:p', 'u'"),
        (
            "identity_update",
            IDENTITY_UPDATE,
            "'stack:p', 'u', '', false, NULL, NULL, NULL, NULL, NULL, NULL, 0",
        ),
        ("identities_of_user", "uuid", "NULL"),
        ("external_ended", "bytea", "'\\x00'"),
        ("external_opened", "bytea", "'\\x00'"),
        ("external_open", SESSION, "NULL, NULL, NULL, 0, 0, '', 0, '', '', NULL, NULL, NULL, ''"),
        ("session_end_each", "uuid[], bigint", "'{}', 0"),
        ("session_end_own", "uuid, uuid, bigint", "NULL, NULL, 0"),
        ("session_end_all", "uuid, bigint", "NULL, 0"),
        ("event_page", "uuid, bigint", "NULL, 100"),
        ("event_page_of_user", "uuid, bigint, uuid", "NULL, 100, NULL"),
        ("block_lift", "uuid, bigint, bigint", "NULL, 0, 1"),
        ("block_lift_keys", "bytea[], bigint, bigint", "'{}', 0, 1"),
        ("block_lift_every", "bigint, bigint, bigint", "0, 100, 1"),
        ("block_page", "uuid, bigint, bigint", "NULL, 0, 100"),
        ("block_page_of_class", "uuid, bigint, bigint, text", "NULL, 0, 100, 'auth'"),
        ("block_trim", "bigint, bigint", "0, 100"),
        ("event_trim", "bigint, bigint", "0, 100"),
        ("ending_trim", "bigint, bigint", "0, 100"),
        ("delivery_trim", "bigint, bigint", "0, 100"),
        ("activity_record", "uuid[], bigint[], inet[], bigint[]", "'{}', '{}', '{}', '{}'"),
    ] {
        let plan = generic_plan(&url, types, name, values);
        assert!(plan.contains("Index") && !plan.contains("Seq Scan"), "{name}:\n{plan}");
    }
    // The counter is a table of one row.
    let plan = generic_plan(&url, "bigint, bigint", "log_after", "1, 100")
        .replace("Seq Scan on invalidation_counter", "");
    assert!(plan.contains("invalidations_pkey") && !plan.contains("Seq Scan"), "{plan}");
    let plan = generic_plan(&url, "bigint, bytea, bigint, bigint", "blocks_since", "1, '', 0, 100")
        .replace("Seq Scan on block_counter", "");
    assert!(plan.contains("blocks_changed") && !plan.contains("Seq Scan"), "{plan}");
}

/// An update that touches no index stays on its page: half the log, and no index grows.
// spec: A3
#[tokio::test]
async fn noting_when_and_where_from_a_session_is_used_touches_no_index() {
    let url = Postgres::shared().create_database();
    let store = pg_store(pg_config(url.clone())).await;
    let user = new_user("ada@example.com");
    let session = new_session(user.id);
    store.create_user(&user, Some(&session)).await.expect("answers").acknowledge();
    for number in 1..=20_u8 {
        let ip = Some([192, 0, 2, number].into());
        let last = Activity { session_id: session.session.id, user_id: user.id, at: at(number.into()), ip };
        assert_eq!(store.record_activity(&[last]).await.expect("answers").into_inner(), 1);
    }
    store.close();
    let counted =
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'session_activity'";
    wait::until(BOUND, "the server to have counted the updates", || async {
        let rows = Postgres::shared().query(database_name(&url), counted).expect("answers");
        assert_eq!(rows[0][0], rows[0][1], "all of them on their page");
        rows[0][0].as_deref() == Some("20")
    })
    .await;
}

// spec: A8
#[tokio::test]
async fn cleaning_up_a_hundred_thousand_sessions_is_bounded_in_each_step() {
    let (store, url) = filled().await;
    // A tenth was used lately: the rest is idle.
    let use_some = "UPDATE phoenix.session_activity SET last_seen_ms = 1000 WHERE session_id IN \
                    (SELECT md5('s' || n)::uuid FROM generate_series(10, 100000, 10) n)";
    Postgres::shared().execute(database_name(&url), use_some).expect("updates");
    let at = Timestamp::from_millis;
    let first = store.remove_expired(at(2000), at(1000), 500).await.expect("answers").into_inner();
    assert_eq!(first, 500);
    let mut removed = first;
    for _ in 0..20 {
        removed += store.remove_expired(at(2000), at(1000), 10_000).await.expect("answers").into_inner();
    }
    assert_eq!(removed, u64::from(SESSIONS) * 9 / 10);
    let left = Postgres::shared().query(database_name(&url), "SELECT count(*) FROM phoenix.sessions");
    assert_eq!(left.expect("answers")[0][0].as_deref(), Some("10000"));
}
