//! Numbered migrations, embedded in the binary, forward only. Decides what is to be done; running it belongs to
//! each database.

use phoenix_auth::model::Timestamp;
use sha2::{Digest, Sha256};

/// One step of the schema.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number; the first is 1, without gaps.
    pub version: u32,
    /// Its name, from its file.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// Steps for PostgreSQL.
pub const POSTGRES: &[Migration] = &[
    Migration {
        version: 1,
        name: "accounts_and_sessions",
        sql: include_str!("../../../../sql/migrations/postgres/0001_accounts_and_sessions.sql"),
    },
    Migration {
        version: 2,
        name: "outside_identities",
        sql: include_str!("../../../../sql/migrations/postgres/0002_outside_identities.sql"),
    },
    Migration {
        version: 3,
        name: "blocks",
        sql: include_str!("../../../../sql/migrations/postgres/0003_blocks.sql"),
    },
];

/// Steps for SQLite.
pub const SQLITE: &[Migration] = &[
    Migration {
        version: 1,
        name: "accounts_and_sessions",
        sql: include_str!("../../../../sql/migrations/sqlite/0001_accounts_and_sessions.sql"),
    },
    Migration {
        version: 2,
        name: "outside_identities",
        sql: include_str!("../../../../sql/migrations/sqlite/0002_outside_identities.sql"),
    },
    Migration {
        version: 3,
        name: "blocks",
        sql: include_str!("../../../../sql/migrations/sqlite/0003_blocks.sql"),
    },
];

/// The names of the indexes that the text of a step makes.
pub(crate) fn indexes_of(sql: &'static str) -> impl Iterator<Item = &'static str> {
    sql.lines().filter_map(|line| {
        let rest =
            line.strip_prefix("CREATE INDEX ").or_else(|| line.strip_prefix("CREATE UNIQUE INDEX "))?;
        rest.split_whitespace().next()
    })
}

/// A step that a database has taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// Its number.
    pub version: u32,
    /// Its name then.
    pub name: String,
    /// SHA-256 of its statements then.
    pub checksum: Vec<u8>,
    /// When, by the clock of the database.
    pub applied_at: Timestamp,
}

/// Where a database stands.
#[derive(Clone, Debug)]
pub struct MigrationStatus {
    /// Steps taken, oldest first.
    pub applied: Vec<Applied>,
    /// Steps this binary would take.
    pub pending: Vec<Migration>,
}

/// The history of a database does not fit this binary. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HistoryError {
    /// A newer binary was here.
    #[error(
        "the database schema is at version {database} and this binary knows only {binary}; upgrade Phoenix"
    )]
    TooNew {
        /// Newest applied version.
        database: u32,
        /// Newest version this binary knows.
        binary: u32,
    },
    /// A step is not what it was when it was taken.
    #[error(
        "migration {version} in the database is not the one in this binary; the database or the binary was altered"
    )]
    Changed {
        /// Its number.
        version: u32,
    },
}

impl Migration {
    /// SHA-256 of the statements. Line ends do not count, so that a checkout on Windows gives the same.
    #[must_use]
    pub fn checksum(&self) -> [u8; 32] {
        Sha256::digest(self.sql.replace("\r\n", "\n").as_bytes()).into()
    }
}

/// The newest version in `known`.
pub(crate) fn newest(known: &[Migration]) -> u32 {
    known.last().map_or(0, |migration| migration.version)
}

/// The steps in `known` that are not in `applied`, which is in order of version.
pub(crate) fn pending<'k>(
    known: &'k [Migration],
    applied: &[Applied],
) -> Result<&'k [Migration], HistoryError> {
    let binary = newest(known);
    if let Some(last) = applied.last().filter(|last| last.version > binary) {
        return Err(HistoryError::TooNew { database: last.version, binary });
    }
    for (known, applied) in known.iter().zip(applied) {
        if known.version != applied.version || applied.checksum != known.checksum() {
            return Err(HistoryError::Changed { version: known.version });
        }
    }
    Ok(known.get(applied.len()..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Migration] =
        &[Migration { version: 1, name: "one", sql: "a" }, Migration { version: 2, name: "two", sql: "b\n" }];

    fn applied(migration: &Migration) -> Applied {
        Applied {
            version: migration.version,
            name: migration.name.to_owned(),
            checksum: migration.checksum().to_vec(),
            applied_at: Timestamp::default(),
        }
    }

    #[test]
    fn versions_are_numbered_without_gaps() {
        for list in [POSTGRES, SQLITE] {
            let versions: Vec<u32> = list.iter().map(|migration| migration.version).collect();
            assert_eq!(versions, (1..=newest(list)).collect::<Vec<u32>>());
        }
        assert_eq!(newest(POSTGRES), newest(SQLITE));
    }

    #[test]
    fn what_is_missing_is_pending() {
        assert_eq!(pending(KNOWN, &[]).expect("fits").len(), 2);
        assert_eq!(pending(KNOWN, &[applied(&KNOWN[0])]).expect("fits")[0].version, 2);
        assert!(pending(KNOWN, &[applied(&KNOWN[0]), applied(&KNOWN[1])]).expect("fits").is_empty());
    }

    #[test]
    fn another_history_is_refused() {
        let newer = Applied { version: 3, ..applied(&KNOWN[1]) };
        assert_eq!(
            pending(KNOWN, &[applied(&KNOWN[0]), applied(&KNOWN[1]), newer]).expect_err("newer"),
            HistoryError::TooNew { database: 3, binary: 2 }
        );
        let changed = Applied { checksum: vec![0; 32], ..applied(&KNOWN[0]) };
        assert_eq!(pending(KNOWN, &[changed]).expect_err("changed"), HistoryError::Changed { version: 1 });
        let gap = applied(&KNOWN[1]);
        assert_eq!(pending(KNOWN, &[gap]).expect_err("gap"), HistoryError::Changed { version: 1 });
    }

    #[test]
    fn line_ends_do_not_change_a_checksum() {
        let windows = Migration { sql: "b\r\n", ..KNOWN[1] };
        assert_eq!(windows.checksum(), KNOWN[1].checksum());
    }
}
