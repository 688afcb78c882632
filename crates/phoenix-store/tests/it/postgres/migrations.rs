//! Migrations: by many nodes at once, beside an application's own tables, and never of a newer schema.

use futures_util::future::join_all;
use phoenix_auth::ports::{AccountStore, EndScope, SessionStore};
use phoenix_store::postgres::{self, PgStore};
use phoenix_store::{ConnectError, migrate::HistoryError};
use phoenix_testkit::postgres::{Postgres, database_name};
use tokio_util::task::TaskTracker;

use crate::fixtures::new_user;
use crate::harness::{pg_config, pg_store};

#[tokio::test]
async fn eight_nodes_that_start_at_once_migrate_once() {
    let server = Postgres::shared();
    let url = server.create_database();
    let tasks = TaskTracker::new();
    let config = pg_config(url.clone());
    let starts = join_all((0..8).map(|_| postgres::migrate(&config, &tasks))).await;
    for status in starts {
        let status = status.expect("every node succeeds");
        assert!(status.pending.is_empty());
        assert!(status.applied[0].applied_at.as_millis() > 1_700_000_000_000);
    }
    let steps =
        server.query(database_name(&url), "SELECT count(*) FROM phoenix.migrations").expect("answers");
    assert_eq!(steps[0][0].as_deref(), Some(postgres_steps().to_string().as_str()));
}

fn postgres_steps() -> usize {
    phoenix_store::migrate::POSTGRES.len()
}

#[tokio::test]
async fn status_changes_nothing_and_an_unmigrated_database_is_refused() {
    let server = Postgres::shared();
    let url = server.create_database();
    let tasks = TaskTracker::new();
    let config = pg_config(url.clone());
    let status = postgres::status(&config, &tasks).await.expect("answers");
    assert_eq!((status.applied.len(), status.pending.len()), (0, postgres_steps()));
    let refused = PgStore::connect(config, &tasks).await.expect_err("not migrated");
    assert!(matches!(refused, ConnectError::NotMigrated { found: 0, .. }), "{refused}");
    let schemas = "SELECT 1 FROM pg_namespace WHERE nspname = 'phoenix'";
    assert!(server.query(database_name(&url), schemas).expect("answers").is_empty());
}

#[tokio::test]
async fn a_newer_schema_is_refused_before_anything_is_changed() {
    let server = Postgres::shared();
    let url = server.create_database();
    let database = database_name(&url);
    pg_store(pg_config(url.clone())).await.close();
    server
        .execute(database, "INSERT INTO phoenix.migrations VALUES (4000, 'future', '\\x00', 0)")
        .expect("a superuser may");
    let before = server.query(database, "SELECT count(*) FROM pg_class").expect("answers");
    let tasks = TaskTracker::new();
    let refusals = [
        postgres::migrate(&pg_config(url.clone()), &tasks).await.map(drop),
        PgStore::connect(pg_config(url.clone()), &tasks).await.map(drop),
    ];
    for refused in refusals {
        let refused = refused.expect_err("the schema is newer");
        assert!(matches!(refused, ConnectError::History(HistoryError::TooNew { database: 4000, .. })));
        let text = refused.to_string();
        assert!(text.contains("4000") && text.contains("upgrade"), "{text}");
    }
    assert_eq!(server.query(database, "SELECT count(*) FROM pg_class").expect("answers"), before);
}

#[tokio::test]
async fn an_altered_history_is_refused() {
    let server = Postgres::shared();
    let url = server.create_database();
    pg_store(pg_config(url.clone())).await.close();
    let alter = "UPDATE phoenix.migrations SET checksum = '\\x00' WHERE version = 1";
    server.execute(database_name(&url), alter).expect("a superuser may");
    let refused = PgStore::connect(pg_config(url), &TaskTracker::new()).await.expect_err("altered");
    assert!(matches!(refused, ConnectError::History(HistoryError::Changed { version: 1 })), "{refused}");
}

#[tokio::test]
async fn an_applications_own_tables_of_the_same_names_are_left_alone() {
    let server = Postgres::shared();
    let url = server.create_database();
    let database = database_name(&url);
    let theirs = "CREATE TABLE public.users (name text); CREATE TABLE public.sessions (name text); \
                  CREATE TABLE public.migrations (name text); INSERT INTO public.users VALUES ('theirs')";
    server.execute(database, theirs).expect("a superuser may");
    let path = format!("ALTER DATABASE {database} SET search_path = public");
    server.execute("postgres", &path).expect("a superuser may");
    let store = pg_store(pg_config(url.clone())).await;
    store.create_user(&new_user("ada@example.com"), None).await.expect("answers").acknowledge();
    let users = server.query(database, "SELECT name FROM public.users").expect("answers");
    assert_eq!(users, [[Some("theirs".to_owned())]]);
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public'";
    assert_eq!(server.query(database, columns).expect("answers"), [[Some("3".to_owned())]]);
}

/// A database of the first version, with an account and a session in it.
const OLD_ROWS: &str = "
    INSERT INTO phoenix.users VALUES ('00000000-0000-7000-8000-000000000001', 'ada@example.com', 'ada@example.com',
        false, '$', 'user', false, NULL, NULL, NULL, NULL, NULL, NULL, '{}', 0, 0, 0, NULL);
    INSERT INTO phoenix.sessions VALUES ('00000000-0000-7000-8000-000000000002',
        '00000000-0000-7000-8000-000000000001', sha256('1'), NULL, NULL, 0, 9000000000000, 'password');
    INSERT INTO phoenix.session_activity VALUES ('00000000-0000-7000-8000-000000000002', 5, 'curl', 'curl/8',
        '192.0.2.1');";

#[tokio::test]
async fn what_the_first_version_stored_is_found_by_the_second() {
    let server = Postgres::shared();
    let url = server.create_database();
    let tasks = TaskTracker::new();
    let database = database_name(&url);
    let first = &phoenix_store::migrate::POSTGRES[0];
    let checksum = first.checksum().map(|byte| format!("{byte:02x}")).concat();
    let old = format!(
        "CREATE SCHEMA phoenix; CREATE TABLE phoenix.migrations (version integer PRIMARY KEY, name text NOT NULL, \
         checksum bytea NOT NULL, applied_ms bigint NOT NULL); {} {OLD_ROWS} \
         INSERT INTO phoenix.migrations VALUES (1, '{}', '\\x{checksum}', 0); \
         GRANT ALL ON SCHEMA phoenix TO phoenix; ALTER SCHEMA phoenix OWNER TO phoenix; \
         DO $$ DECLARE t text; BEGIN FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'phoenix' \
         LOOP EXECUTE format('ALTER TABLE phoenix.%I OWNER TO phoenix', t); END LOOP; END $$;",
        first.sql, first.name
    );
    server.execute(database, &old).expect("a superuser may");
    // Columns with constant defaults and new tables only: no table is written anew.
    let files = "SELECT relname, relfilenode FROM pg_class WHERE relname IN \
                 ('users', 'sessions', 'session_activity', 'sessions_token_hash') ORDER BY relname";
    let before = server.query(database, files).expect("answers");
    let refused = PgStore::connect(pg_config(url.clone()), &tasks).await.expect_err("one step is missing");
    assert!(matches!(refused, ConnectError::NotMigrated { found: 1, .. }), "{refused}");
    let store = pg_store(pg_config(url.clone())).await;
    assert_eq!(server.query(database, files).expect("answers"), before);
    let recent = store.recently_used(10).await.expect("answers");
    let (session, user) = (&recent[0].1.session, &recent[0].1.user);
    assert_eq!((session.last_ip, session.fingerprint, session.last_seen_at.as_millis()), (None, None, 5));
    assert_eq!(user.email.as_ref().map(phoenix_auth::model::Email::as_str), Some("ada@example.com"));
    let scope = EndScope::All(user.id);
    let ended = store.end_sessions(scope, session.last_seen_at).await.expect("answers").acknowledge();
    assert_eq!((ended.count, ended.external.len()), (1, 0));
}
