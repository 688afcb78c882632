//! Several handles on one file, and stores that end in all ways.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use phoenix_auth::model::Seq;
use phoenix_auth::ports::{AccountStore, InvalidationLog, NewSession, SessionStore, StoreErrorKind};
use phoenix_store::sqlite::{self, SqliteConfig, SqliteStore};

use crate::fixtures::{new_session, new_user};

fn open(folder: &tempfile::TempDir) -> SqliteStore {
    let config = SqliteConfig::in_folder(folder.path());
    sqlite::migrate(&config).expect("migrates");
    SqliteStore::open(config).expect("opens")
}

#[tokio::test]
async fn two_handles_on_one_file_see_each_others_commits_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (left, right) = (open(&folder), open(&folder));
    for number in 0..20 {
        let (writer, reader) = if number % 2 == 0 { (&left, &right) } else { (&right, &left) };
        let user = new_user(&format!("u{number}@example.com"));
        let session = new_session(user.id);
        writer.create_user(&user, Some(&session)).await.expect("answers").acknowledge();
        assert!(reader.find_session(&session.token_hash, user.created_at).await.expect("answers").is_some());
    }
    let users = |side: &str| -> Vec<_> {
        (0..50).map(|number| new_user(&format!("{side}{number}@example.com"))).collect()
    };
    let (of_left, of_right) = (users("left"), users("right"));
    let (one, other) = tokio::join!(
        join_all(of_left.iter().map(|user| left.create_user(user, None))),
        join_all(of_right.iter().map(|user| right.create_user(user, None))),
    );
    for end in one.into_iter().chain(other) {
        end.expect("nobody is locked out").acknowledge();
    }
    assert_eq!(left.users(None, 1000).await.expect("answers").len(), 120);
    assert_eq!(right.users(None, 1000).await.expect("answers").len(), 120);
}

#[tokio::test]
async fn a_store_dropped_without_being_closed_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for number in 0..5 {
        let store = open(&folder);
        store
            .create_user(&new_user(&format!("u{number}@example.com")), None)
            .await
            .expect("answers")
            .acknowledge();
        assert_eq!(store.users(None, 100).await.expect("answers").len(), number + 1);
    }
}

#[tokio::test]
async fn a_closed_store_commits_what_was_queued_and_refuses_the_rest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Arc::new(open(&folder));
    let users: Vec<_> = (0..200).map(|number| new_user(&format!("u{number}@example.com"))).collect();
    let writes = join_all(users.iter().map(|user| store.create_user(user, None)));
    let (ends, ()) = tokio::join!(writes, store.close());
    let made = ends.iter().filter(|end| end.is_ok()).count();
    let late = store.create_user(&new_user("late@example.com"), None).await.expect_err("closed");
    assert_eq!(late.kind(), StoreErrorKind::Unavailable);
    assert_eq!(store.users(None, 1000).await.expect("reads go on").len(), made);
    // Folded into the file: the log beside it is empty or gone.
    let log = folder.path().join("phoenix.db-wal");
    assert_eq!(std::fs::metadata(log).map_or(0, |log| log.len()), 0);
    store.close().await;
    assert_eq!(open(&folder).users(None, 1000).await.expect("answers").len(), made);
}

#[tokio::test]
async fn writes_that_arrive_together_share_commits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(&folder);
    let frames = || {
        let connection = rusqlite::Connection::open(folder.path().join("phoenix.db")).expect("opens");
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(1);
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], count).expect("counts")
    };
    let before = frames();
    let users: Vec<_> = (0..200).map(|number| new_user(&format!("u{number}@example.com"))).collect();
    let ends = join_all(users.iter().map(|user| store.create_user(user, None))).await;
    for end in ends {
        end.expect("answers").acknowledge();
    }
    // Each commit writes every page it changed once more; alone, each would write at least two.
    let written = frames() - before;
    assert!(written < 200, "{written} pages for 200 writes");
    assert_eq!(store.log_after(Seq(0), 0).await.expect("answers").last.0, 0);
    assert_eq!(store.stats().writes_waiting, 0);
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_nobody_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(&folder);
    let users: Vec<_> = (0..50).map(|number| new_user(&format!("u{number}@example.com"))).collect();
    // While another process holds the lock no write can be done before its caller is gone.
    let other = rusqlite::Connection::open(folder.path().join("phoenix.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let gone = join_all(users.iter().map(|user| store.create_user(user, None)));
    assert!(tokio::time::timeout(Duration::ZERO, gone).await.is_err());
    other.execute_batch("ROLLBACK").expect("unlocks");
    store.create_user(&new_user("stays@example.com"), None).await.expect("answers").acknowledge();
    assert!(!store.users(None, 100).await.expect("answers").is_empty());
}

#[tokio::test]
async fn a_write_that_fails_takes_nobody_in_its_group_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(&folder);
    let user = new_user("ada@example.com");
    let first = new_session(user.id);
    store.create_user(&user, Some(&first)).await.expect("answers").acknowledge();
    // Every third presents a token that exists, which no client can: a defect.
    let sessions: Vec<NewSession> = (0..60)
        .map(|number| {
            let session = new_session(user.id);
            let token_hash = if number % 3 == 0 { first.token_hash } else { session.token_hash };
            NewSession { token_hash, ..session }
        })
        .collect();
    let ends = join_all(sessions.iter().map(|session| store.open_session(session, 0, None, None))).await;
    for (number, end) in ends.into_iter().enumerate() {
        match end {
            Ok(_) => assert!(number % 3 != 0),
            Err(error) => assert!(number % 3 == 0 && error.kind() == StoreErrorKind::Internal, "{error:?}"),
        }
    }
    assert_eq!(store.sessions_of(user.id, 100).await.expect("answers").len(), 41);
}

#[tokio::test]
async fn a_lock_held_by_another_process_is_waited_for_only_so_long() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = SqliteConfig::in_folder(folder.path());
    config.busy_timeout = Duration::from_millis(200);
    sqlite::migrate(&config).expect("migrates");
    let store = SqliteStore::open(config.clone()).expect("opens");
    let other = rusqlite::Connection::open(&config.file).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let users: Vec<_> = (0..50).map(|number| new_user(&format!("u{number}@example.com"))).collect();
    let writes = join_all(users.iter().map(|user| store.create_user(user, None)));
    let ends = tokio::time::timeout(Duration::from_secs(5), writes).await.expect("bounded");
    assert!(ends.iter().all(|end| end.as_ref().is_err_and(|e| e.kind() == StoreErrorKind::TimedOut)));
    assert!(!store.has_users().await.expect("reads go on"));
    other.execute_batch("ROLLBACK").expect("unlocks");
    store.create_user(&users[0], None).await.expect("answers").acknowledge();
}
