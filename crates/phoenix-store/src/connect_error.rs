//! Everything that can keep a store from being opened or migrated, each in one sentence for whoever starts Phoenix.

use std::path::PathBuf;
use std::time::Duration;

use crate::migrate::HistoryError;
use crate::tls::{TlsPeer, TlsProblem};

/// The cause of a [`ConnectError`], for the log.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a database cannot be used. No variant shows a password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be read.
    #[error(
        "the database address is not a PostgreSQL address such as postgres://user:password@host:5432/name"
    )]
    Address(#[source] Cause),
    /// The server is not trusted, or does not speak TLS though it must.
    #[error("the PostgreSQL server at {server} is not trusted: {problem}; {}", problem.remedy(TlsPeer::Postgres))]
    Tls {
        /// `host:port`, several separated by commas.
        server: String,
        /// What is wrong.
        problem: TlsProblem,
        /// What rustls said.
        #[source]
        source: Cause,
    },
    /// A file with certificates or a key that the address names.
    #[error("{parameter} in DATABASE_URL names {}, which cannot be used", path.display())]
    TlsFile {
        /// `sslrootcert`, `sslcert` or `sslkey`.
        parameter: &'static str,
        /// As in the address.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// No answer, or no server.
    #[error("no PostgreSQL server answers at {server}")]
    Unreachable {
        /// `host:port`, several separated by commas.
        server: String,
        /// What the network said.
        #[source]
        source: Cause,
    },
    /// Wrong password, or no such role.
    #[error("the PostgreSQL server at {server} refuses the password of role {role:?}, or has no such role")]
    CredentialsRefused {
        /// `host:port`.
        server: String,
        /// Who tried to sign in.
        role: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// No such database.
    #[error("the PostgreSQL server at {server} has no database {database:?}; create it first")]
    DatabaseMissing {
        /// `host:port`.
        server: String,
        /// Its name in the address.
        database: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// All connections are taken.
    #[error(
        "the PostgreSQL server at {server} accepts no more connections; raise its max_connections or lower DB_POOL_MAX"
    )]
    TooManyConnections {
        /// `host:port`.
        server: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// A standby, or `default_transaction_read_only`.
    #[error("the database at {server} is read-only: it is a standby, or default_transaction_read_only is on")]
    ReadOnly {
        /// `host:port`.
        server: String,
    },
    /// Older than supported.
    #[error("the PostgreSQL server at {server} is version {found}; version {needed} or later is needed")]
    ServerTooOld {
        /// `host:port`.
        server: String,
        /// Its major version.
        found: u32,
        /// The oldest supported major version.
        needed: u32,
    },
    /// The role may not create the schema.
    #[error(
        "role {role:?} may not create schema \"phoenix\" in the database; grant it CREATE or create the schema for it"
    )]
    SchemaForbidden {
        /// Who asked.
        role: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// The history of the schema does not fit this binary.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Migrations are missing.
    #[error(
        "the database schema is at version {found} and this binary needs {needed}; run `phoenix migrate`"
    )]
    NotMigrated {
        /// Newest applied version, 0 for an empty database.
        found: u32,
        /// Newest known version.
        needed: u32,
    },
    /// Another node is migrating.
    #[error(
        "another process has been migrating the database for more than {waited:?}; try again when it is done"
    )]
    MigrationBusy {
        /// How long we waited for it.
        waited: Duration,
    },
    /// A migration failed and was rolled back.
    #[error("migration {version} ({name}) failed and was rolled back")]
    MigrationFailed {
        /// Its number.
        version: u32,
        /// Its name.
        name: &'static str,
        /// What the database said.
        #[source]
        source: Cause,
    },
    /// The folder of the embedded database is something else.
    #[error("{} is not a directory, so no database can be kept there", path.display())]
    NotADirectory {
        /// What should be a directory.
        path: PathBuf,
    },
    /// The folder or file of the embedded database cannot be written.
    #[error("{} cannot be written by this user", path.display())]
    NotWritable {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// The file is something else.
    #[error("{} is not a Phoenix database; move it away or choose another folder", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: Cause,
    },
    /// No space is left.
    #[error("the disk that holds {} is full", path.display())]
    StorageFull {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: Cause,
    },
    /// Another process holds the embedded database.
    #[error("{} is locked by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: Cause,
    },
    /// Anything else: a defect or a broken database.
    #[error("the database failed while Phoenix tried to {step}")]
    Failed {
        /// What was being done.
        step: &'static str,
        /// What the database said.
        #[source]
        source: Cause,
    },
}

impl ConnectError {
    /// An unexpected failure of `step`.
    pub(crate) fn failed(step: &'static str, source: impl Into<Cause>) -> Self {
        Self::Failed { step, source: source.into() }
    }
}
