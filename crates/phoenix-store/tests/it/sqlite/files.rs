//! Files and folders that cannot hold a database, and disks that fill up.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use futures_util::future::join_all;
use phoenix_auth::ports::{AccountStore, EndScope, SessionStore, StoreErrorKind};
use phoenix_store::migrate::HistoryError;
use phoenix_store::sqlite::{self, SqliteConfig, SqliteStore};
use phoenix_store::{ConnectError, StoreStatus};

use crate::fixtures::{new_session, new_user};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn refusal(config: &SqliteConfig) -> ConnectError {
    sqlite::migrate(config).expect_err("cannot be used")
}

#[test]
fn a_file_where_a_folder_should_be_is_named() {
    let folder = folder();
    let blocker = folder.path().join("data");
    fs::write(&blocker, "a file").expect("writes");
    for below in [blocker.clone(), blocker.join("deeper")] {
        let error = refusal(&SqliteConfig::in_folder(&below));
        assert!(matches!(error, ConnectError::NotADirectory { .. }), "{error:?}");
        assert!(error.to_string().contains("data"), "{error}");
    }
}

#[test]
fn a_folder_where_the_file_should_be_is_no_database() {
    let folder = folder();
    let config = SqliteConfig::in_folder(folder.path());
    fs::create_dir(&config.file).expect("makes a folder");
    assert!(matches!(refusal(&config), ConnectError::NotADatabase { .. }));
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let folder = folder();
    let config = SqliteConfig::in_folder(folder.path());
    let text = "not a database ".repeat(1000);
    fs::write(&config.file, &text).expect("writes");
    let error = refusal(&config);
    assert!(matches!(error, ConnectError::NotADatabase { .. }), "{error:?}");
    assert!(SqliteStore::open(config.clone()).is_err());
    assert_eq!(fs::read_to_string(&config.file).expect("reads"), text);
}

#[test]
fn a_new_database_is_for_its_owner_only() {
    let outer = folder();
    let config = SqliteConfig::in_folder(&outer.path().join("new/data"));
    sqlite::migrate(&config).expect("makes folders and file");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&config.file), 0o600);
    assert_eq!(mode(config.file.parent().expect("a folder")), 0o700);
}

#[test]
fn an_unmigrated_file_is_refused_and_status_makes_none() {
    let folder = folder();
    let config = SqliteConfig::in_folder(folder.path());
    assert_eq!(sqlite::status(&config).expect("answers").pending.len(), phoenix_store::migrate::SQLITE.len());
    assert!(!config.file.exists());
    let error = SqliteStore::open(config).expect_err("not migrated");
    assert!(matches!(error, ConnectError::NotMigrated { found: 0, .. }), "{error:?}");
}

#[tokio::test]
async fn what_the_first_version_stored_is_found_by_the_second() {
    let folder = folder();
    let config = SqliteConfig::in_folder(folder.path());
    let first = &phoenix_store::migrate::SQLITE[0];
    let connection = rusqlite::Connection::open(&config.file).expect("opens");
    let old = "
        CREATE TABLE migrations (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum BLOB NOT NULL,
            applied_ms INTEGER NOT NULL) STRICT;
        INSERT INTO users VALUES (zeroblob(16), 'ada@example.com', 'ada@example.com', 0, '$', 'user', 0, NULL, NULL,
            NULL, NULL, NULL, NULL, '{}', 0, 0, 0, NULL);
        INSERT INTO sessions VALUES (zeroblob(32), zeroblob(16), zeroblob(16), NULL, NULL, 0, 9000000000000,
            'password');
        INSERT INTO session_activity VALUES (zeroblob(16), 5, 'curl', 'curl/8', '192.0.2.1');";
    connection.execute_batch(first.sql).expect("the first step");
    connection.execute_batch(old).expect("fills");
    connection
        .execute("INSERT INTO migrations VALUES (1, ?1, ?2, 0)", (first.name, first.checksum()))
        .expect("fills");
    drop(connection);
    sqlite::migrate(&config).expect("takes the second step");
    let store = SqliteStore::open(config).expect("opens");
    let recent = store.recently_used(10).await.expect("answers");
    let (session, user) = (&recent[0].1.session, &recent[0].1.user);
    assert_eq!((session.last_ip, session.fingerprint, session.last_seen_at.as_millis()), (None, None, 5));
    assert_eq!(user.email.as_ref().map(phoenix_auth::model::Email::as_str), Some("ada@example.com"));
    let ended = store.end_sessions(EndScope::All(user.id), session.last_seen_at).await.expect("answers");
    assert_eq!(ended.acknowledge().count, 1);
}

#[test]
fn a_newer_or_altered_schema_is_refused_before_anything_is_changed() {
    for (alter, newer) in [
        ("INSERT INTO migrations VALUES (4000, 'future', x'00', 0)", true),
        ("UPDATE migrations SET checksum = x'00'", false),
    ] {
        let folder = folder();
        let config = SqliteConfig::in_folder(folder.path());
        sqlite::migrate(&config).expect("migrates");
        let connection = rusqlite::Connection::open(&config.file).expect("opens");
        connection.execute_batch(alter).expect("alters");
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("checkpoints");
        drop(connection);
        let before = fs::read(&config.file).expect("reads");
        for error in [refusal(&config), SqliteStore::open(config.clone()).expect_err("refused")] {
            match error {
                ConnectError::History(HistoryError::TooNew { database: 4000, .. }) => assert!(newer),
                ConnectError::History(HistoryError::Changed { version: 1 }) => assert!(!newer),
                other => panic!("{other:?}"),
            }
        }
        assert!(fs::read(&config.file).expect("reads") == before, "the file changed");
    }
}

#[tokio::test]
async fn a_full_disk_fails_writes_one_by_one_and_reads_go_on() {
    let folder = folder();
    let mut config = SqliteConfig::in_folder(folder.path());
    config.max_bytes = Some(256 * 1024);
    sqlite::migrate(&config).expect("fits");
    let store = SqliteStore::open(config.clone()).expect("opens");
    let user = new_user("first@example.com");
    let session = new_session(user.id);
    store.create_user(&user, Some(&session)).await.expect("fits").acknowledge();
    let mut made = 1;
    let mut refused = 0;
    for round in 0..20 {
        let names: Vec<String> = (0..100).map(|number| format!("u{round}-{number}@example.com")).collect();
        let writes = join_all(names.iter().map(async |name| store.create_user(&new_user(name), None).await));
        for end in writes.await {
            match end {
                Ok(created) => {
                    created.acknowledge();
                    made += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), StoreErrorKind::StorageFull, "{error:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 0, "the disk never filled");
    assert_eq!(store.users(None, 10_000).await.expect("reads go on").len(), made, "an answer was wrong");
    assert!(store.find_session(&session.token_hash, user.created_at).await.expect("reads go on").is_some());
    assert!(!store.healthy().await.expect("answers").read_only);
    store.close().await;
    config.max_bytes = None;
    let store = SqliteStore::open(config).expect("opens with room");
    store.create_user(&new_user("later@example.com"), None).await.expect("there is room").acknowledge();
}
