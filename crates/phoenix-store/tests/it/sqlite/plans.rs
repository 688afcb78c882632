//! No statement that a request waits for reads a whole table.

use phoenix_store::sqlite::{self, SqliteConfig};

/// Reads that are whole by their nature: one-row tables, existence of any row, a page in order of the key, the sessions
/// that fill the caches once at start, and what an operator does while the server stands still.
const WHOLE: [&str; 13] = [
    "user_exists",
    "user_page_first",
    "user_insert",
    "counter_next",
    "block_counter_next",
    "blocks_since",
    "log_after",
    "probe",
    "recently_used",
    "session_delete_every",
    "ending_delete_every",
    "block_delete_every",
    "sign_out_every",
];

// spec: A3
#[test]
fn every_look_up_uses_an_index() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = SqliteConfig::in_folder(folder.path());
    sqlite::migrate(&config).expect("migrates");
    let connection = rusqlite::Connection::open(&config.file).expect("opens");
    for (name, text) in sqlite::statements() {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).expect("prepares");
        let lines = plan.raw_query().mapped(|row| row.get::<_, String>(3)).collect::<Result<Vec<_>, _>>();
        let lines = lines.expect("explains");
        let whole = |line: &String| {
            line.starts_with("SCAN ") && !line.contains(" USING ") && line != "SCAN CONSTANT ROW"
        };
        let scans = lines.iter().any(whole);
        assert!(!scans || WHOLE.contains(&name), "{name}: {lines:?}");
        if name == "session_find" {
            assert!(lines[0].contains("USING PRIMARY KEY (token_hash=?)"), "{lines:?}");
        }
    }
}
